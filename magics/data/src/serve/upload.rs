//! `PUT content/{branch}/{folder}`: a multipart form with files, made into one commit.

use super::{FILE_NAME_HEADER, Shared, json};
use crate::percent;
use crate::repository::{self, Choice, NewFile, Upload, Uploaded};
use crate::runtime;
use axum::body::Body;
use axum::extract::{FromRequest, Multipart};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use dds_core::{Error, Kind, RepoPath, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// DagsHub's clients send at most 100.
pub const MAX_FILES_PER_UPLOAD: usize = 1000;
/// Files that one upload removes, and what else it says of files that it does not bring.
pub const MAX_CHANGES_PER_UPLOAD: usize = 100_000;
const MAX_FIELD_BYTES: usize = 64 << 10;
/// Without a byte for so long, an upload is given up.
const BODY_IDLE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Form {
    summary: String,
    choice: String,
    commit_choice: String,
    new_branch: String,
    last_commit: String,
    dvc_dir: bool,
    files: Vec<NewFile>,
    removed: Vec<RepoPath>,
    modes: BTreeMap<RepoPath, bool>,
    dvc_folders: Vec<RepoPath>,
}

pub async fn put(shared: Arc<Shared>, rest: Vec<String>, request: Request<Body>) -> Result<Response<Body>> {
    if shared.common.read_only {
        return Err(Error::new(Kind::Unauthorized, "this server is read-only")
            .hint("start it without --read-only to take uploads"));
    }
    let target = shared.clone();
    let (branch, dir) = runtime::blocking(move || branch_and_folder(&target, &rest)).await?;
    let multipart = Multipart::from_request(request, &())
        .await
        .map_err(|e| Error::usage(format!("not a multipart form: {}", e.body_text())))?;
    let form = tokio::time::timeout(Duration::from_secs(24 * 3600), read_form(&shared, &dir, multipart))
        .await
        .map_err(|_| Error::usage("the upload took too long"))??;
    if form.files.is_empty() && form.removed.is_empty() {
        return Err(Error::usage("the form holds no `files`"));
    }
    let choice = match form.choice.as_str() {
        "" | "auto" => Choice::Auto,
        "git" => Choice::Git,
        "dvc" => Choice::Dvc,
        other => return Err(Error::usage(format!("versioning {other:?} is not one of auto, git, dvc"))),
    };
    let new_branch = match form.commit_choice.as_str() {
        "" | "direct" => None,
        "commit-to-new-branch" => Some(form.new_branch),
        other => return Err(Error::usage(format!("commit_choice {other:?} is not known"))),
    };
    let mut dvc_dirs = form.dvc_folders;
    if form.dvc_dir {
        dvc_dirs.push(dir);
    }
    let up = Upload {
        dvc_dirs,
        files: form.files,
        removed: form.removed,
        modes: form.modes,
        choice,
        summary: summary(&form.summary),
        branch,
        new_branch,
        last_commit: Some(form.last_commit).filter(|c| !c.is_empty()),
        to_be_pushed: false,
    };
    let uploaded = runtime::blocking(move || repository::upload(&shared.repository, up)).await?;
    let (mut response, commit) = match uploaded {
        Uploaded::Committed { commit } => {
            (json(StatusCode::OK, &serde_json::json!({"commit": commit})), commit)
        }
        Uploaded::Unchanged { commit } => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            (response, commit)
        }
    };
    let tag = HeaderValue::from_str(&commit).map_err(|e| Error::internal(e.to_string()))?;
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

/// One line without control characters.
fn summary(text: &str) -> String {
    let line: String = text.lines().next().unwrap_or("").chars().filter(|c| !c.is_control()).collect();
    if line.trim().is_empty() { "Upload files".to_owned() } else { line }
}

/// A branch that exists wins over the first segment, which may be a branch still to be made.
fn branch_and_folder(shared: &Shared, rest: &[String]) -> Result<(String, RepoPath)> {
    let branches = shared.repository.branches();
    let mut first = None;
    for (rev, path) in super::route::splits(rest) {
        let path =
            path.and_then(|p| RepoPath::parse_writable(p.as_str())).map_err(|e| Error::usage(e.message));
        if branches.iter().any(|(b, _)| *b == rev) {
            return Ok((rev, path?));
        }
        first = first.or(Some((rev, path)));
    }
    let (rev, path) = first.ok_or_else(|| Error::usage("a branch is missing"))?;
    Ok((rev, path?))
}

async fn read_form(shared: &Arc<Shared>, dir: &RepoPath, mut multipart: Multipart) -> Result<Form> {
    let broken = |e: axum::extract::multipart::MultipartError| {
        let kind = if e.status() == StatusCode::PAYLOAD_TOO_LARGE { Kind::Limit } else { Kind::Usage };
        Error::new(kind, format!("the form broke off: {}", e.body_text()))
    };
    let idle = || Error::usage("the upload stopped sending");
    let mut form = Form::default();
    loop {
        let next = tokio::time::timeout(BODY_IDLE, multipart.next_field()).await.map_err(|_| idle())?;
        let Some(mut field) = next.map_err(broken)? else { return Ok(form) };
        let name = field.name().unwrap_or("").to_owned();
        if name == "files" {
            if form.files.len() >= MAX_FILES_PER_UPLOAD {
                return Err(Error::new(
                    Kind::Limit,
                    format!("more than {MAX_FILES_PER_UPLOAD} files in one upload"),
                ));
            }
            let exact = field.headers().get(FILE_NAME_HEADER).and_then(|v| v.to_str().ok());
            let path = match exact.map(percent::decode) {
                Some(Some(name)) => file_path(dir, &name)?,
                Some(None) => return Err(Error::usage("a file's name is not percent-encoded UTF-8")),
                None => file_path(dir, &form_name(field.file_name().unwrap_or("")))?,
            };
            let mut bytes = shared.repository.stores().cache().writer()?;
            loop {
                let chunk = tokio::time::timeout(BODY_IDLE, field.chunk()).await.map_err(|_| idle())?;
                let Some(chunk) = chunk.map_err(broken)? else { break };
                bytes.write(&chunk)?;
            }
            form.files.push(NewFile { path, bytes: bytes.stage() });
            continue;
        }
        let mut text = Vec::new();
        loop {
            let chunk = tokio::time::timeout(BODY_IDLE, field.chunk()).await.map_err(|_| idle())?;
            let Some(chunk) = chunk.map_err(broken)? else { break };
            text.extend_from_slice(&chunk);
            if text.len() > MAX_FIELD_BYTES {
                return Err(Error::new(Kind::Limit, format!("the field {name:?} is too long")));
            }
        }
        let text =
            String::from_utf8(text).map_err(|_| Error::usage(format!("the field {name:?} is not UTF-8")))?;
        match name.as_str() {
            "commit_summary" => form.summary = text,
            "versioning" => form.choice = text.to_ascii_lowercase(),
            "commit_choice" => form.commit_choice = text,
            "new_branch_name" => form.new_branch = text,
            "last_commit" => form.last_commit = text.trim().to_owned(),
            "removed" | "executable" | "not_executable" | "dvc_folders" => {
                if form.removed.len() + form.modes.len() + form.dvc_folders.len() >= MAX_CHANGES_PER_UPLOAD {
                    return Err(Error::new(
                        Kind::Limit,
                        format!("more than {MAX_CHANGES_PER_UPLOAD} changes in one upload"),
                    ));
                }
                let path = file_path(dir, &text)?;
                match name.as_str() {
                    "removed" => form.removed.push(path),
                    "dvc_folders" => form.dvc_folders.push(path),
                    other => drop(form.modes.insert(path, other == "executable")),
                }
            }
            "is_dvc_dir" => form.dvc_dir = text.eq_ignore_ascii_case("true") || text == "1",
            _ => {}
        }
    }
}

/// Forms escape three characters of names (WHATWG HTML, form submission): they are turned back.
fn form_name(name: &str) -> String {
    name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

/// The file's path inside the repository.
fn file_path(dir: &RepoPath, name: &str) -> Result<RepoPath> {
    let below = RepoPath::parse_writable(name).map_err(|e| Error::usage(e.message))?;
    if below.is_root() {
        return Err(Error::usage("a file has no name"));
    }
    RepoPath::parse_writable(dir.join(&below).as_str()).map_err(|e| Error::usage(e.message))
}
