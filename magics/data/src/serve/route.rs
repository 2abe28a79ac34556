//! Request paths: decoded once, matched exactly.

use crate::percent;
use dds_core::{Error, RepoPath, Result};

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Health,
    User,
    Repo,
    Branches,
    Branch(String),
    Commit(String),
    Storage,
    /// Revision and path, not yet told apart: both may hold slashes.
    Content(Vec<String>),
    Raw(Vec<String>),
    InfoRefs,
    UploadPack,
}

impl Route {
    /// `name` is the one repository that is served. Errors: `NotFound`, or `Usage` for a path that is
    /// not decodable.
    pub fn of(path: &str, name: &str) -> Result<Self> {
        let nothing = || Error::not_found("nothing is here");
        let decoded: Option<Vec<String>> =
            path.strip_prefix('/').ok_or_else(nothing)?.split('/').map(percent::decode).collect();
        let decoded = decoded.ok_or_else(|| Error::usage("the path is not percent-encoded UTF-8"))?;
        let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let rest = |parts: &[&str]| -> Vec<String> {
            parts.iter().flat_map(|p| p.split('/')).filter(|p| !p.is_empty()).map(str::to_owned).collect()
        };
        let git = format!("{name}.git");
        match parts.as_slice() {
            ["healthz"] => return Ok(Self::Health),
            ["local", repo, "info", "refs"] if *repo == git || *repo == name => return Ok(Self::InfoRefs),
            ["local", repo, "git-upload-pack"] if *repo == git || *repo == name => {
                return Ok(Self::UploadPack);
            }
            _ => {}
        }
        let ["api", "v1", below @ ..] = parts.as_slice() else { return Err(nothing()) };
        match below {
            ["user"] => Ok(Self::User),
            ["repos", "local", repo, what @ ..] if *repo == name => match what {
                [] | [""] => Ok(Self::Repo),
                ["branches"] => Ok(Self::Branches),
                ["branches", branch @ ..] => Ok(Self::Branch(rest(branch).join("/"))),
                ["commits", commit] => Ok(Self::Commit((*commit).to_owned())),
                ["storage"] => Ok(Self::Storage),
                ["content", of @ ..] if !of.is_empty() => Ok(Self::Content(rest(of))),
                ["raw", of @ ..] if !of.is_empty() => Ok(Self::Raw(rest(of))),
                _ => Err(nothing()),
            },
            ["repos", owner, repo, ..] => {
                Err(Error::not_found(format!("there is no repository {owner}/{repo}"))
                    .hint(format!("this server has local/{name}")))
            }
            _ => Err(nothing()),
        }
    }
}

/// A revision has at most so many segments; each cut costs a look into the repository.
pub const MAX_REV_SEGMENTS: usize = 64;

/// The ways to cut `parts` into a revision and a path, shortest revision first.
pub fn splits(parts: &[String]) -> impl Iterator<Item = (String, Result<RepoPath>)> + '_ {
    (1..=parts.len().min(MAX_REV_SEGMENTS)).map(|n| {
        let (rev, path) = parts.split_at(n);
        // `.` stands for the root where a client joins URLs by text.
        let path = path.join("/");
        (rev.join("/"), RepoPath::parse(&path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_paths() {
        let of = |p: &str| Route::of(p, "art").unwrap();
        assert_eq!(of("/api/v1/repos/local/art"), Route::Repo);
        assert_eq!(of("/api/v1/repos/local/art/branches/a/b"), Route::Branch("a/b".into()));
        assert_eq!(of("/api/v1/repos/local/art/branches/a%2Fb"), Route::Branch("a/b".into()));
        assert_eq!(
            of("/api/v1/repos/local/art/content/main/a%2Fb%20c/"),
            Route::Content(vec!["main".into(), "a".into(), "b c".into()])
        );
        assert_eq!(of("/local/art.git/info/refs"), Route::InfoRefs);
    }

    #[test]
    fn a_long_path_is_cut_a_few_times_only() {
        let parts = vec!["a".to_owned(); 10_000];
        assert_eq!(splits(&parts).count(), MAX_REV_SEGMENTS);
        assert_eq!(splits(&parts[..3]).count(), 3);
    }

    #[test]
    fn everything_else_is_not_here() {
        for p in [
            "/",
            "",
            "/api",
            "/api/v1/repos/local/other",
            "/api/v1/repos/x/art",
            "/static/../../etc/passwd",
            "/api/v1/repos/local/art/content",
            "/local/art.git/config",
            "/local/art.git/objects/info/packs",
            "/api/v1/repos/local/art/raw/%ff",
            "/api/v1/repos/local/art/raw/%",
            "//healthz",
            "/healthz/",
        ] {
            assert!(Route::of(p, "art").is_err(), "{p}");
        }
    }

    #[test]
    fn dots_never_become_a_path() {
        for p in ["main/..", "main/%2e%2e/x", "main/a/%2e%2e/x", "main/a%5c..%5cx", "main/%00"] {
            let Ok(Route::Raw(parts)) = Route::of(&format!("/api/v1/repos/local/art/raw/{p}"), "art") else {
                continue;
            };
            let (rev, path) = splits(&parts).next().unwrap();
            assert!(rev == "main" && path.is_err(), "{p}: {path:?}");
        }
        // Decoded once only: `%252e` is a name with a percent sign.
        let Route::Raw(parts) = Route::of("/api/v1/repos/local/art/raw/main/%252e%252e", "art").unwrap()
        else {
            panic!()
        };
        assert_eq!(splits(&parts).next().unwrap().1.unwrap().as_str(), "%2e%2e");
    }
}
