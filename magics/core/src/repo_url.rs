//! Where a repository is: `http(s)://HOST[:PORT]/OWNER/REPO[@REV]`, `dagshub://OWNER/REPO[@REV]`,
//! a Git repository on another machine (`https://HOST/….git[@REV]`, `ssh://HOST/….git[@REV]`,
//! `USER@HOST:….git[@REV]`) or a local folder, each optionally followed by `:PATH` where a command takes a
//! file.

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
    /// A Git repository on another machine. `url` is what `git` takes, without credentials.
    Git { url: String, rev: Option<String>, credentials: Option<Credentials> },
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
            return match split_git(text) {
                Some((url, rev)) => parse_git_http(text, url, rev),
                None => parse_hub(text),
            };
        }
        if lower.starts_with("ssh://") {
            return parse_git_ssh(text);
        }
        if is_scp_like(text) {
            return parse_git_scp(text);
        }
        let text = match lower.strip_prefix("file://") {
            Some(path) if path.starts_with('/') => text.get("file://".len()..).unwrap_or_default(),
            _ => text,
        };
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("dagshub://") {
            let (owner, repo, rev) = owner_repo_rev(text, &text["dagshub://".len()..])?;
            return Ok(Self::DagsHub { owner, repo, rev });
        }
        if text.contains("://") || lower.starts_with("ext::") {
            return Err(bad(text, "its scheme is not one of http, https, ssh, file, dagshub"));
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
            Self::Hub { rev, .. }
            | Self::DagsHub { rev, .. }
            | Self::Git { rev, .. }
            | Self::Local { rev, .. } => rev.as_deref(),
        }
    }

    /// `text` as a revision: no option, no control characters. Errors (`Usage`).
    pub fn revision(text: &str) -> Result<String> {
        checked(text, text)
    }

    /// The same repository at another revision.
    pub fn at(&self, revision: impl Into<String>) -> Self {
        let mut url = self.clone();
        match &mut url {
            Self::Hub { rev, .. }
            | Self::DagsHub { rev, .. }
            | Self::Git { rev, .. }
            | Self::Local { rev, .. } => *rev = Some(revision.into()),
        }
        url
    }

    /// The same repository with an access token, where a token has a place; `dagshub_host` is the
    /// configured host.
    pub fn with_token(self, token: &Secret, dagshub_host: &str) -> Self {
        if token.is_empty() {
            return self;
        }
        let credentials = Some(Credentials { user: String::new(), password: token.clone() });
        match self {
            Self::Hub { base, owner, repo, rev, .. } => Self::Hub { base, owner, repo, rev, credentials },
            Self::DagsHub { owner, repo, rev } => Self::Hub {
                base: dagshub_host.trim_end_matches('/').to_owned(),
                owner,
                repo,
                rev,
                credentials,
            },
            Self::Git { url, rev, .. } if url.starts_with("http") => Self::Git { url, rev, credentials },
            other => other,
        }
    }

    /// The repository without revision and credentials.
    pub fn plain(&self) -> String {
        match self {
            Self::Hub { base, owner, repo, .. } => format!("{base}/{owner}/{repo}"),
            Self::DagsHub { owner, repo, .. } => format!("dagshub://{owner}/{repo}"),
            Self::Git { url, .. } => url.clone(),
            Self::Local { path, .. } => path.display().to_string(),
        }
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
        text.contains("://") || is_scp_like(text)
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
            None if is_scp_like(text) => {
                let after_host = text.find(':').map_or(0, |at| at + 1);
                match text[after_host..].split_once(':') {
                    Some((before, path)) => (&text[..after_host + before.len()], path),
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

/// `….git` and what stands behind its `@`; none when the path does not end so.
fn split_git(text: &str) -> Option<(&str, Option<&str>)> {
    let path = text.find("://").map_or(0, |at| at + 3);
    let end = path + text[path..].find('/')?;
    let trimmed = text.trim_end_matches('/');
    if trimmed.len() > end && trimmed.ends_with(".git") {
        return Some((trimmed, None));
    }
    let at = end + text[end..].find(".git@")? + ".git".len();
    Some((&text[..at], Some(&text[at + 1..])))
}

/// `USER@HOST:PATH.git`, as `scp` writes it.
fn is_scp_like(text: &str) -> bool {
    let Some((authority, path)) = text.split_once(':') else { return false };
    let plain = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let named = authority.split_once('@').is_some_and(|(user, host)| plain(user) && plain(host));
    named && (path.ends_with(".git") || path.contains(".git@") || path.contains(".git:"))
}

fn parse_git_http(text: &str, url: &str, rev: Option<&str>) -> Result<RepoUrl> {
    let (scheme, authority, path) = http_parts(text, url)?;
    let (credentials, host) = host_and_credentials(text, authority)?;
    let path = git_path(text, path)?;
    let rev = rev.map(|r| checked(text, r)).transpose()?;
    Ok(RepoUrl::Git { url: format!("{scheme}://{host}/{path}"), rev, credentials })
}

fn parse_git_ssh(text: &str) -> Result<RepoUrl> {
    let (url, rev) = split_git(text).ok_or_else(|| bad(text, "its path does not end with .git"))?;
    let (scheme, authority, path) = http_parts(text, url)?;
    let (user, address) = match authority.rsplit_once('@') {
        Some((user, address)) => (Some(user), address),
        None => (None, authority),
    };
    let (host, port) = address.split_once(':').map_or((address, None), |(h, p)| (h, Some(p)));
    let plain = |t: &str| {
        !t.is_empty()
            && !t.starts_with('-')
            && t.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    if !plain(host) || user.is_some_and(|u| !plain(u)) || port.is_some_and(|p| p.parse::<u16>().is_err()) {
        return Err(bad(text, "its user or host is not a plain name"));
    }
    let path = git_path(text, path)?;
    let rev = rev.map(|r| checked(text, r)).transpose()?;
    Ok(RepoUrl::Git { url: format!("{scheme}://{authority}/{path}"), rev, credentials: None })
}

fn parse_git_scp(text: &str) -> Result<RepoUrl> {
    let (authority, rest) = text.split_once(':').ok_or_else(|| bad(text, "it has no path"))?;
    let (path, rev) = match rest.split_once(".git@") {
        Some((path, rev)) => (format!("{path}.git"), Some(checked(text, rev)?)),
        None => (rest.to_owned(), None),
    };
    if authority.starts_with('-') || authority.contains("@-") || path.starts_with('-') {
        return Err(bad(text, "its user, host or path begins with '-'"));
    }
    if !path.ends_with(".git") {
        return Err(bad(text, "its path does not end with .git"));
    }
    let path = git_path(text, &path)?;
    Ok(RepoUrl::Git { url: format!("{authority}:{path}"), rev, credentials: None })
}

/// The path of a Git repository on another machine.
fn git_path(text: &str, path: &str) -> Result<String> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || "?#\\@".contains(c);
    if path.contains(odd) || path.split('/').any(|part| part == ".." || part.starts_with('-')) {
        return Err(bad(text, "its path is not one of a repository"));
    }
    Ok(path.to_owned())
}

/// Scheme in lower case, authority, path.
fn http_parts<'a>(text: &str, url: &'a str) -> Result<(String, &'a str, &'a str)> {
    let Some((scheme, rest)) = url.split_once("://") else { return Err(bad(text, "it has no scheme")) };
    let Some((authority, path)) = rest.split_once('/') else {
        return Err(bad(text, "OWNER/REPO is missing after the host"));
    };
    Ok((scheme.to_ascii_lowercase(), authority, path))
}

fn host_and_credentials<'a>(text: &str, authority: &'a str) -> Result<(Option<Credentials>, &'a str)> {
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
        Credentials { user: decoded(user), password: Secret::new(decoded(password)) }
    });
    Ok((credentials, host))
}

/// Without percent-encoding, which `@`, `:` and `/` need in a URL.
fn decoded(part: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(part).decode_utf8();
    decoded.map_or_else(|_| part.to_owned(), std::borrow::Cow::into_owned)
}

fn parse_hub(text: &str) -> Result<RepoUrl> {
    let (scheme, authority, path) = http_parts(text, text)?;
    let (credentials, host) = host_and_credentials(text, authority)?;
    let (owner, repo, rev) = owner_repo_rev(text, path)?;
    Ok(RepoUrl::Hub { base: format!("{scheme}://{host}"), owner, repo, rev, credentials })
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
        .hint("write http(s)://HOST[:PORT]/OWNER/REPO[@REV], dagshub://OWNER/REPO[@REV], https://HOST/PATH.git[@REV], USER@HOST:PATH.git[@REV] or the path of a local Git repository")
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
        f.write_str(&self.plain())?;
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
        for (text, password) in [("a%40b%3Ac%20d", "a@b:c d"), ("100%", "100%"), ("%ff", "%ff")] {
            let u = RepoUrl::parse(&format!("https://user:{text}@hub.example/o/r.git")).unwrap();
            let RepoUrl::Git { credentials: Some(c), .. } = &u else { panic!() };
            assert_eq!(c.password.expose(), password);
        }
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
            "file://host/etc",
            "git://h/o/r.git",
            "ssh://-oProxyCommand=id/r.git",
            "ssh://h/-x.git",
            "ssh://h/r",
            "-oX@h:r.git",
            "a@-h:r.git",
            "a@h:-r.git",
            "https://h/o/r.git@-f",
            "https://h/o/../r.git",
            "https://h/o r.git",
            "https://h/r.git@",
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
    fn git_repositories_on_other_machines() {
        for (text, url, rev) in [
            ("https://h.example/a/b/c.git", "https://h.example/a/b/c.git", None),
            ("HTTP://u:s3cret@h:80/r.git@v1.0", "http://h:80/r.git", Some("v1.0")),
            ("https://h/r.git/", "https://h/r.git", None),
            ("ssh://git@h:22/o/r.git@feature/x", "ssh://git@h:22/o/r.git", Some("feature/x")),
            ("git@h.example:o/r.git", "git@h.example:o/r.git", None),
            ("git@h:o/r.git@main", "git@h:o/r.git", Some("main")),
        ] {
            let parsed = RepoUrl::parse(text).unwrap();
            let RepoUrl::Git { url: got, .. } = &parsed else { panic!("{text}: {parsed:?}") };
            assert_eq!((got.as_str(), parsed.rev()), (url, rev), "{text}");
            assert!(RepoTarget::looks_like_url(text));
            assert!(!format!("{parsed} {parsed:?}").contains("s3cret"));
            let with_path = RepoTarget::parse(&format!("{text}:a/b c.jpg")).unwrap();
            assert_eq!((with_path.url, with_path.path.as_str()), (parsed, "a/b c.jpg"), "{text}");
        }
        assert_eq!(
            RepoUrl::parse("file:///a b/r@x").unwrap(),
            RepoUrl::Local { path: "/a b/r".into(), rev: Some("x".into()) }
        );
        for (text, hub) in [("https://h/o/r", true), ("https://h/o/r.git2", true), ("./x:y.git", false)] {
            let parsed = RepoUrl::parse(text).unwrap();
            assert_eq!(matches!(parsed, RepoUrl::Hub { .. }), hub, "{text}");
        }
        let e = RepoUrl::parse("https://user:s3cret@h/o/../r.git").unwrap_err();
        assert!(!format!("{e:?}").contains("s3cret"), "{e}");
        let token = RepoUrl::parse("https://h/r.git").unwrap().with_token(&Secret::new("t0ken"), "https://x");
        assert!(
            matches!(&token, RepoUrl::Git { credentials: Some(c), .. } if c.password.expose() == "t0ken")
        );
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
