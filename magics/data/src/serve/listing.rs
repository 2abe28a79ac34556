//! The JSON answers: repository record, branches, commits and listings, in DagsHub's shapes.

use super::route::{Route, splits};
use super::{CHANGES_EXTENSION, EXTENSIONS_HEADER, RECURSIVE_EXTENSION, Shared, json};
use crate::percent;
use crate::repository::{CommitInfo, Revision};
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use dds_core::timestamp::rfc3339;
use dds_core::{Entry, EntryKind, Error, RepoPath, Result, Versioning};
use serde_json::{Value, json};

/// Answers what concerns no repository.
pub fn of_server(route: &Route) -> Result<Response<Body>> {
    let value = match route {
        Route::Health => json!({"status": "ok"}),
        Route::User => user("local"),
        _ => return Err(Error::not_found("nothing is here")),
    };
    Ok(json(StatusCode::OK, &value))
}

/// Answers every route of a repository that gives JSON.
pub fn get(shared: &Shared, route: &Route, base: &str, query: &str) -> Result<Response<Body>> {
    let repository = &shared.repository;
    let value = match route {
        Route::Repo => {
            let mut response = json(StatusCode::OK, &record(shared, base));
            let extensions = HeaderValue::from_str(&format!("{RECURSIVE_EXTENSION},{CHANGES_EXTENSION}"))
                .map_err(|e| Error::internal(e.to_string()))?;
            response.headers_mut().insert(EXTENSIONS_HEADER, extensions);
            return Ok(response);
        }
        Route::Branches => {
            let mut all = Vec::new();
            for (name, oid) in repository.branches() {
                all.push(
                    json!({"name": name, "commit": commit(shared, base, &repository.commit_info(oid)?)}),
                );
            }
            Value::Array(all)
        }
        Route::Branch(name) => {
            let found = repository.branches().into_iter().find(|(n, _)| n == name);
            let (_, oid) = found.ok_or_else(|| Error::not_found(format!("there is no branch {name:?}")))?;
            json!({"name": name, "commit": commit(shared, base, &repository.commit_info(oid)?)})
        }
        Route::Commit(rev) => {
            let revision = repository.resolve(Some(rev))?;
            json!({"commit": commit(shared, base, &repository.commit_info(revision.commit)?)})
        }
        Route::Storage => json!([]),
        Route::Content(rest) => {
            let (revision, path) = resolve(shared, rest)?;
            content(shared, base, &revision, &path, wants(query, "recursive"))?
        }
        Route::Health
        | Route::User
        | Route::Create(_)
        | Route::Raw(_)
        | Route::InfoRefs
        | Route::UploadPack => {
            return Err(Error::not_found("nothing is here"));
        }
    };
    Ok(json(StatusCode::OK, &value))
}

/// Answers who has made a repository.
pub fn created(shared: &Shared, base: &str) -> Response<Body> {
    json(StatusCode::CREATED, &record(shared, base))
}

/// Tells revision and path apart: a branch name may hold slashes.
pub fn resolve(shared: &Shared, rest: &[String]) -> Result<(Revision, RepoPath)> {
    let mut first = None;
    for (rev, path) in splits(rest) {
        match shared.repository.resolve(Some(&rev)) {
            Ok(revision) => return path.map(|path| (revision, path)).map_err(|e| Error::usage(e.message)),
            Err(e) => first = first.or(Some(e)),
        }
    }
    Err(first.unwrap_or_else(|| Error::usage("a revision is missing")))
}

fn content(
    shared: &Shared,
    base: &str,
    revision: &Revision,
    path: &RepoPath,
    recursive: bool,
) -> Result<Value> {
    let snapshot = shared.repository.snapshot(revision.commit)?;
    let commit = revision.commit.to_string();
    let entry = |e: &Entry| entry(shared, base, &commit, e);
    if snapshot.get(path).is_some() {
        return Ok(entry(&snapshot.stat(path)?));
    }
    Ok(snapshot.list(path, recursive)?.iter().map(entry).collect())
}

fn entry(shared: &Shared, base: &str, commit: &str, e: &Entry) -> Value {
    let api = format!("{base}/api/v1/repos/{}", shared.path());
    let path = percent::path(e.path.as_str());
    let mut value = json!({
        "path": e.path.as_str(),
        "type": match e.kind { EntryKind::Dir => "dir", EntryKind::File => "file" },
        "size": e.size.unwrap_or(0),
        "hash": e.digest.map(|d| d.to_string()).unwrap_or_default(),
        "versioning": match e.versioning { Versioning::Dvc => "dvc", Versioning::Bucket => "bucket", _ => "git" },
        "download_url": format!("{api}/raw/{commit}/{path}"),
        "content_url": format!("{api}/content/{commit}/{path}"),
    });
    if let (EntryKind::File, None, Some(fields)) = (e.kind, e.size, value.as_object_mut()) {
        // The number is required by DagsHub's clients; this says that it means nothing.
        fields.insert("missing".into(), true.into());
    }
    if let (true, Some(fields)) = (e.executable, value.as_object_mut()) {
        fields.insert("executable".into(), true.into());
    }
    value
}

fn user(name: &str) -> Value {
    json!({"id": 1, "login": name, "full_name": name, "avatar_url": "", "username": name,
           "public_email": null, "website": null, "company": null, "description": null})
}

fn record(shared: &Shared, base: &str) -> Value {
    let repository = &shared.repository;
    let branch = repository.default_branch();
    let newest = repository.resolve(None).and_then(|r| repository.commit_info(r.commit));
    let time = newest.map_or_else(|_| rfc3339(0), |c| rfc3339(c.time));
    let (owner, path) = (&shared.owner, shared.path());
    json!({
        "id": 1, "owner": user(owner), "name": shared.name, "full_name": format!("{owner}/{}", shared.name),
        "description": "", "private": shared.common.token.is_some(), "fork": false, "parent": null,
        "empty": repository.branches().is_empty(), "mirror": false, "size": 0,
        "html_url": format!("{base}/{path}"), "ssh_url": null,
        "clone_url": format!("{base}/{path}.git"), "website": null,
        "stars_count": 0, "forks_count": 0, "watchers_count": 0, "open_issues_count": 0,
        "default_branch": branch, "created_at": time, "updated_at": time,
        "permissions": {"admin": false, "push": !shared.common.read_only, "pull": true},
    })
}

fn commit(shared: &Shared, base: &str, c: &CommitInfo) -> Value {
    let author = json!({"name": c.author.0, "email": c.author.1, "username": c.author.0});
    json!({
        "id": c.id, "message": c.message,
        "url": format!("{base}/{}/commit/{}", shared.path(), c.id),
        "author": author, "committer": author, "added": null, "removed": null, "modified": null,
        "timestamp": rfc3339(c.time),
    })
}

/// Whether a flag is set in a query string: `name`, `name=true`, `name=True`, `name=1`.
fn wants(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
        key == name && matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        assert!(wants("include_size=True&recursive=true", "recursive") && wants("recursive", "recursive"));
        assert!(!wants("recursive=false", "recursive") && !wants("", "recursive"));
    }
}
