//! Where a repository is: `http(s)://HOST[:PORT]/OWNER/REPO[@REV]`, `dagshub://OWNER/REPO[@REV]`
//! or a local folder, each optionally followed by `:PATH` where a command takes a file.

use crate::{Error, RepoPath, Result, Secret};
use std::fmt;
use std::path::PathBuf;

/// A repository and, optionally, the revision to pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepoUrl {
    /// A server that speaks DagsHub's API. `base` is `http(s)://HOST[:PORT]` without credentials.
    Hub { base: String, owner: String, repo: String, rev: Option<String>, credentials: Option<Credentials> },
    /// `dagshub://OWNER/REPO`: the host comes from the configuration.
    DagsHub { owner: String, repo: String, rev: Option<String> },
    /// A Git working tree or a bare repository on this machine.
    Local { path: PathBuf, rev: Option<String> },
}

/// User information that stood in a URL. Never printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: Secret,
}

impl RepoUrl {
    /// Parses a repository URL or a local path.
    ///
    /// Errors (`Usage`) say which form is expected. Owner, repository and revision may not begin
    /// with `-` and may not hold control characters.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("http://") || lower.starts_with("https://") {
            return parse_hub(text);
        }
        if lower.starts_with("dagshub://") {
            let (owner, repo, rev) = owner_repo_rev(text, &text["dagshub://".len()..])?;
            return Ok(Self::DagsHub { owner, repo, rev });
        }
        if text.contains("://") || lower.starts_with("ext::") {
            return Err(bad(text, "its scheme is not one of http, https, dagshub"));
        }
        if text.is_empty() {
            return Err(bad(text, "it is empty"));
        }
        let (path, rev) = match text.rsplit_once('@') {
            Some((p, r)) if !p.is_empty() && !r.is_empty() && !r.contains('/') => {
                (p, Some(checked(text, r)?))
            }
            _ => (text, None),
        };
        if path.contains('\0') {
            return Err(bad(text, "it holds a NUL"));
        }
        Ok(Self::Local { path: PathBuf::from(path), rev })
    }

    pub fn rev(&self) -> Option<&str> {
        match self {
            Self::Hub { rev, .. } | Self::DagsHub { rev, .. } | Self::Local { rev, .. } => rev.as_deref(),
        }
    }

    /// The same repository at another revision.
    pub fn at(&self, revision: impl Into<String>) -> Self {
        let mut url = self.clone();
        match &mut url {
            Self::Hub { rev, .. } | Self::DagsHub { rev, .. } | Self::Local { rev, .. } => {
                *rev = Some(revision.into())
            }
        }
        url
    }
}

/// A repository followed by a path inside it: `URL[@REV][:PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoTarget {
    pub url: RepoUrl,
    pub path: RepoPath,
}

impl RepoTarget {
    /// Whether `text` names a repository by URL rather than a file of this machine.
    pub fn looks_like_url(text: &str) -> bool {
        text.contains("://")
    }

    pub fn parse(text: &str) -> Result<Self> {
        let (url, path) = match text.split_once("://") {
            Some((scheme, rest)) => {
                // The first `/` ends the authority, whose port has a colon of its own.
                let authority = if scheme.eq_ignore_ascii_case("dagshub") {
                    0
                } else {
                    rest.find('/').unwrap_or(rest.len())
                };
                match rest[authority..].split_once(':') {
                    Some((before, path)) => (&text[..scheme.len() + 3 + authority + before.len()], path),
                    None => (text, ""),
                }
            }
            None => match text.rsplit_once(':') {
                Some((dir, path)) if !dir.is_empty() => (dir, path),
                _ => (text, ""),
            },
        };
        Ok(Self { url: RepoUrl::parse(url)?, path: RepoPath::parse(path)? })
    }
}

fn parse_hub(text: &str) -> Result<RepoUrl> {
    let Some((scheme, rest)) = text.split_once("://") else { return Err(bad(text, "it has no scheme")) };
    let Some((authority, path)) = rest.split_once('/') else {
        return Err(bad(text, "OWNER/REPO is missing after the host"));
    };
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((u, h)) => (Some(u), h),
        None => (None, authority),
    };
    if host.is_empty() || host.chars().any(|c| c.is_control() || c.is_whitespace() || "\\?#@".contains(c)) {
        return Err(bad(text, "its host is not a host name"));
    }
    if host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']') && port.parse::<u16>().is_err()) {
        return Err(bad(text, "its port is not a number"));
    }
    let credentials = userinfo.map(|u| {
        let (user, password) = u.split_once(':').unwrap_or((u, ""));
        Credentials { user: user.to_owned(), password: Secret::new(password) }
    });
    let (owner, repo, rev) = owner_repo_rev(text, path)?;
    Ok(RepoUrl::Hub {
        base: format!("{}://{host}", scheme.to_ascii_lowercase()),
        owner,
        repo,
        rev,
        credentials,
    })
}

fn owner_repo_rev(text: &str, path: &str) -> Result<(String, String, Option<String>)> {
    let Some((owner, rest)) = path.split_once('/') else { return Err(bad(text, "OWNER/REPO is missing")) };
    let (repo, rev) = match rest.split_once('@') {
        Some((_, "")) => return Err(bad(text, "the revision after '@' is empty")),
        Some((repo, rev)) => (repo, Some(checked(text, rev)?)),
        None => (rest, None),
    };
    if owner.contains('@') {
        // A password with a '/' in it: taken for an owner, it would be shown.
        return Err(bad(text, "OWNER holds an '@'; give a password with a '/' by --token, not in the URL"));
    }
    let repo = repo.trim_end_matches('/');
    if repo.contains('/') {
        return Err(bad(text, "there is more than OWNER/REPO"));
    }
    Ok((checked(text, owner)?, checked(text, repo)?, rev))
}

fn checked(text: &str, part: &str) -> Result<String> {
    let unsafe_text = part.is_empty()
        || part.starts_with('-')
        || part == "."
        || part == ".."
        || part.contains("..")
        || part.chars().any(|c| c.is_control() || c.is_whitespace() || "?#\\:%".contains(c));
    if unsafe_text {
        return Err(bad(text, &format!("{part:?} is not a name")));
    }
    Ok(part.to_owned())
}

fn bad(text: &str, why: &str) -> Error {
    // A URL may hold a password, and a password may hold anything: what stands before an '@' is shown
    // only where it can hardly be one.
    let shown = match text.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((before, after)) if !is_plain(before) || after.contains('/') => {
                format!("{scheme}://***@{after}")
            }
            _ => text.to_owned(),
        },
        None => text.to_owned(),
    };
    // The reason may quote a part.
    let hidden =
        shown != text && why.starts_with('"') && !shown.contains(why.split('"').nth(1).unwrap_or(""));
    let why = if hidden { "a part of it is not a name" } else { why };
    Error::usage(format!("not a repository URL: {shown:?}: {why}"))
        .hint("write http(s)://HOST[:PORT]/OWNER/REPO[@REV], dagshub://OWNER/REPO[@REV] or the path of a local Git repository")
}

/// Whether `text` is `HOST/OWNER/REPO` with a host that no user name looks like: an address, `localhost`
/// with or without a port, or a dotted name without one.
fn is_plain(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let [host, _, _] = parts.as_slice() else { return false };
    let local =
        |h: &str| h.parse::<std::net::SocketAddr>().is_ok() || h.strip_prefix("localhost") == Some("");
    let port = host.strip_prefix("localhost:").is_some_and(|p| p.parse::<u16>().is_ok());
    !text.contains('@') && (local(host) || port || host.contains('.') && !host.contains(':'))
}

impl fmt::Display for RepoUrl {
    /// The URL without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub { base, owner, repo, .. } => write!(f, "{base}/{owner}/{repo}")?,
            Self::DagsHub { owner, repo, .. } => write!(f, "dagshub://{owner}/{repo}")?,
            Self::Local { path, .. } => write!(f, "{}", path.display())?,
        }
        match self.rev() {
            Some(rev) => write!(f, "@{rev}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        let u = RepoUrl::parse("http://127.0.0.1:8080/local/art@main").unwrap();
        assert_eq!(
            u,
            RepoUrl::Hub {
                base: "http://127.0.0.1:8080".into(),
                owner: "local".into(),
                repo: "art".into(),
                rev: Some("main".into()),
                credentials: None
            }
        );
        assert_eq!(u.to_string(), "http://127.0.0.1:8080/local/art@main");
        assert_eq!(
            RepoUrl::parse("dagshub://team/chest-xrays").unwrap().to_string(),
            "dagshub://team/chest-xrays"
        );
        assert_eq!(
            RepoUrl::parse("./my repo@v1.0").unwrap(),
            RepoUrl::Local { path: "./my repo".into(), rev: Some("v1.0".into()) }
        );
        assert_eq!(RepoUrl::parse("http://h/o/r@feature/x").unwrap().rev(), Some("feature/x"));
    }

    #[test]
    fn a_password_is_kept_but_never_shown() {
        let u = RepoUrl::parse("https://user:s3cret@hub.example/o/r").unwrap();
        let RepoUrl::Hub { credentials: Some(c), .. } = &u else { panic!() };
        assert_eq!((c.user.as_str(), c.password.expose()), ("user", "s3cret"));
        assert!(!format!("{u} {u:?}").contains("s3cret"));
        for broken in [
            "https://user:s3cret@hub.example",
            "https://user:s3cret@hub.example/o",
            "https://user:s3cret@hub.example/o/r/x/y",
            "https://user:s3cret@/o/r",
            "https://user:s3cret/x@hub.example/o/r",
            "https://user:x/s3cret@hub.example/o/r",
            "https://user:x/s3cret@hub.example/o",
            "https://user:x/s3cret%/y@hub.example/o/r",
            "https://user:s3cret/x/y/z@hub.example/o/r",
            "https://s3cret/x@y@hub.example/o",
            "https://user:s3cret/x/y@hub.example/o/r",
        ] {
            let e = RepoUrl::parse(broken).unwrap_err();
            assert!(!format!("{e} {e:?}").contains("s3cret"), "{e}");
        }
        let e = RepoUrl::parse("http://127.0.0.1:8080/local/art@a..b").unwrap_err();
        assert!(e.message.contains("http://127.0.0.1:8080/local/art@a..b"), "{e}");
    }

    #[test]
    fn refuses_option_injection_and_other_schemes() {
        for t in [
            "http://h/-x/r",
            "http://h/o/--upload-pack=x",
            "http://h/o/r@-f",
            "ext::sh -c id",
            "file:///etc",
            "ftp://h/o/r",
            "http://h",
            "http://h/o",
            "http://h/o/r@",
            "",
            "http://h/o/r\r\nX: y",
            "http:///o/r",
            "http://h/../r",
            "http://h/o/..",
            "http://h/o/r@a..b",
            "http://h/o/%2e%2e",
        ] {
            assert!(RepoUrl::parse(t).is_err(), "{t}");
        }
    }

    #[test]
    fn targets() {
        let t = RepoTarget::parse("http://127.0.0.1:80/local/art@main:animals/a b.jpg").unwrap();
        assert_eq!(
            (t.url.to_string().as_str(), t.path.as_str()),
            ("http://127.0.0.1:80/local/art@main", "animals/a b.jpg")
        );
        let t = RepoTarget::parse("http://127.0.0.1:80/local/art").unwrap();
        assert!(t.path.is_root());
        let t = RepoTarget::parse("dagshub://o/r:x").unwrap();
        assert_eq!((t.url.to_string().as_str(), t.path.as_str()), ("dagshub://o/r", "x"));
        assert!(RepoTarget::parse("http://h/o/r:../x").is_err());
    }
}
