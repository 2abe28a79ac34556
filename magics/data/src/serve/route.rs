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
    /// A new repository of the user's, or of an owner's who is not yet known to exist.
    Create(Option<String>),
}

/// What a path asks for, and of which repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// Owner and name, not yet known to exist; none for what concerns the server.
    pub repository: Option<(String, String)>,
    pub route: Route,
}

impl Route {
    /// Errors: `NotFound`, or `Usage` for a path that is not decodable.
    pub fn of(path: &str) -> Result<At> {
        let nothing = || Error::not_found("nothing is here");
        let decoded: Option<Vec<String>> =
            path.strip_prefix('/').ok_or_else(nothing)?.split('/').map(percent::decode).collect();
        let decoded = decoded.ok_or_else(|| Error::usage("the path is not percent-encoded UTF-8"))?;
        let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let rest = |parts: &[&str]| -> Vec<String> {
            parts.iter().flat_map(|p| p.split('/')).filter(|p| !p.is_empty()).map(str::to_owned).collect()
        };
        let server = |route| Ok(At { repository: None, route });
        let of = |owner: &str, name: &str, route| {
            Ok(At { repository: Some((owner.to_owned(), name.to_owned())), route })
        };
        let git = |name: &'_ str| name.strip_suffix(".git").unwrap_or(name).to_owned();
        match parts.as_slice() {
            ["healthz"] => return server(Self::Health),
            [owner, repo, "info", "refs"] => return of(owner, &git(repo), Self::InfoRefs),
            [owner, repo, "git-upload-pack"] => return of(owner, &git(repo), Self::UploadPack),
            _ => {}
        }
        let ["api", "v1", below @ ..] = parts.as_slice() else { return Err(nothing()) };
        match below {
            ["user"] => server(Self::User),
            ["user", "repos"] => server(Self::Create(None)),
            ["org", owner, "repos"] => server(Self::Create(Some((*owner).to_owned()))),
            ["repos", owner, repo, what @ ..] => {
                let route = match what {
                    [] | [""] => Self::Repo,
                    ["branches"] => Self::Branches,
                    ["branches", branch @ ..] => Self::Branch(rest(branch).join("/")),
                    ["commits", commit] => Self::Commit((*commit).to_owned()),
                    ["storage"] => Self::Storage,
                    ["content", of @ ..] if !of.is_empty() => Self::Content(rest(of)),
                    ["raw", of @ ..] if !of.is_empty() => Self::Raw(rest(of)),
                    _ => return Err(nothing()),
                };
                of(owner, repo, route)
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
        let of = |p: &str| {
            let at = Route::of(p).unwrap();
            assert_eq!(at.repository, Some(("local".to_owned(), "art".to_owned())), "{p}");
            at.route
        };
        assert_eq!(of("/api/v1/repos/local/art"), Route::Repo);
        assert_eq!(of("/api/v1/repos/local/art/branches/a/b"), Route::Branch("a/b".into()));
        assert_eq!(of("/api/v1/repos/local/art/branches/a%2Fb"), Route::Branch("a/b".into()));
        assert_eq!(
            of("/api/v1/repos/local/art/content/main/a%2Fb%20c/"),
            Route::Content(vec!["main".into(), "a".into(), "b c".into()])
        );
        assert_eq!(of("/local/art.git/info/refs"), Route::InfoRefs);
        assert_eq!(of("/local/art/info/refs"), Route::InfoRefs);
        let made = |p: &str| Route::of(p).unwrap();
        assert_eq!(made("/api/v1/user/repos").route, Route::Create(None));
        assert_eq!(made("/api/v1/org/a%2Fb/repos").route, Route::Create(Some("a/b".into())));
        let healthy = Route::of("/healthz").unwrap();
        assert_eq!(healthy, At { repository: None, route: Route::Health });
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
            "/api/v1/repos",
            "/api/v1/repos/local",
            "/static/../../etc/passwd",
            "/api/v1/repos/local/art/content",
            "/local/art.git/config",
            "/local/art.git/objects/info/packs",
            "/api/v1/repos/local/art/raw/%ff",
            "/api/v1/repos/local/art/raw/%",
            "//healthz",
            "/healthz/",
        ] {
            assert!(Route::of(p).is_err(), "{p}");
        }
    }

    #[test]
    fn dots_never_become_a_path() {
        for p in ["main/..", "main/%2e%2e/x", "main/a/%2e%2e/x", "main/a%5c..%5cx", "main/%00"] {
            let Ok(At { route: Route::Raw(parts), .. }) =
                Route::of(&format!("/api/v1/repos/local/art/raw/{p}"))
            else {
                continue;
            };
            let (rev, path) = splits(&parts).next().unwrap();
            assert!(rev == "main" && path.is_err(), "{p}: {path:?}");
        }
        // Decoded once only: `%252e` is a name with a percent sign.
        let Route::Raw(parts) = Route::of("/api/v1/repos/local/art/raw/main/%252e%252e").unwrap().route
        else {
            panic!()
        };
        assert_eq!(splits(&parts).next().unwrap().1.unwrap().as_str(), "%2e%2e");
    }
}
