//! Where a command is called from: the repository around the current folder, found as the `dagshub`
//! client finds it.
//!
//! A clone whose remote is on the configured DagsHub host stands for the repository there; any other for
//! itself. Only Git's configuration is read; nothing is run and nothing is asked of the network.

use dds_core::repo_url::Credentials;
use dds_core::{Config, Cx, Error, RepoPath, RepoTarget, RepoUrl, Result, Secret};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A repository and the place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    pub url: RepoUrl,
    /// The root of the working tree.
    pub root: PathBuf,
    /// The current folder below it.
    pub below: RepoPath,
}

/// The repository around `at`, which is absolute; none outside of any. Like Git, it does not look beyond
/// the file system that `at` is on: a folder mounted by another process is no part of the tree around it.
pub fn around(at: &Path, config: &Config) -> Result<Option<Here>> {
    let Some((root, below)) = working_tree(at)? else { return Ok(None) };
    let url = hub_remote(&root, config).unwrap_or_else(|| {
        let rev = open(&root).and_then(|git| detached(&git));
        RepoUrl::Local { path: root.clone(), rev }
    });
    Ok(Some(Here { url, root, below }))
}

/// The root of the working tree around `at`, and the way down from it.
pub fn working_tree(at: &Path) -> Result<Option<(PathBuf, RepoPath)>> {
    let device = |dir: &Path| std::fs::metadata(dir).ok().map(|m| m.dev());
    let here = at.ancestors().find_map(device);
    for dir in at.ancestors() {
        if device(dir).is_some_and(|d| Some(d) != here) {
            break;
        }
        if dir.join(".git").exists() {
            let below = at.strip_prefix(dir).unwrap_or(Path::new(""));
            let text =
                below.to_str().ok_or_else(|| Error::usage(format!("{} is not UTF-8", at.display())))?;
            return Ok(Some((dir.to_owned(), RepoPath::parse(text)?)));
        }
    }
    Ok(None)
}

/// `DIR@REV[:PATH]` where `DIR` is a repository of this machine; a revision may hold slashes, as
/// `origin/main` does. None for anything else, also where a file has that very name.
///
/// Errors (`Usage`, `Format`): a revision or a path that cannot be one.
pub fn at_revision(text: &str, cx: &Cx) -> Result<Option<RepoTarget>> {
    if RepoTarget::looks_like_url(text) || cx.absolute(text).exists() {
        return Ok(None);
    }
    for (at, _) in text.match_indices('@') {
        let (dir, rest) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        if dir.is_empty() || open(&cx.absolute(dir)).is_none() {
            continue;
        }
        let (rev, path) = rest.split_once(':').unwrap_or((rest, ""));
        let url = RepoUrl::Local { path: dir.into(), rev: Some(RepoUrl::revision(rev)?) };
        return Ok(Some(RepoTarget { url, path: RepoPath::parse(path)? }));
    }
    Ok(None)
}

/// What `mount [URL] [DIR]` means: one word alone is a URL where it looks like one, else the folder for
/// the repository around.
pub fn to_mount(url: &str, dir: &str, config: &Config, cx: &Cx) -> Result<(RepoUrl, PathBuf)> {
    let (url, dir) = (url.trim(), dir.trim());
    if !url.is_empty() && (!dir.is_empty() || RepoTarget::looks_like_url(url)) {
        let url = match at_revision(url, cx)? {
            Some(target) if target.path.is_root() => target.url,
            _ => RepoUrl::parse(url)?,
        };
        let named = if dir.is_empty() { name_of(&url) } else { dir.to_owned() };
        return Ok((url, cx.absolute(named)));
    }
    if !url.is_empty() && open(&cx.absolute(url)).is_some() {
        return Err(Error::usage(format!("{url} is a repository, and no folder to mount on was given"))
            .hint(format!("write: mount {url} DIR")));
    }
    let here = around(&cx.cwd, config)?.ok_or_else(|| {
        Error::usage(format!("{} is in no Git repository", cx.cwd.display()))
            .hint("write: mount URL DIR, or call it inside a clone")
    })?;
    let beside = || {
        here.root.with_file_name(format!(
            "{}-mount",
            name_of(&RepoUrl::Local { path: here.root.clone(), rev: None })
        ))
    };
    let named = if url.is_empty() { beside() } else { cx.absolute(url) };
    Ok((here.url, named))
}

/// The repository's own name.
fn name_of(url: &RepoUrl) -> String {
    let plain = url.plain();
    let last = plain.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let name = last.strip_suffix(".git").unwrap_or(last);
    if name.is_empty() { "repository".to_owned() } else { name.to_owned() }
}

/// The repository on the configured host that a remote of this clone names; `origin` is asked first.
fn hub_remote(root: &Path, config: &Config) -> Option<RepoUrl> {
    let git = open(root)?;
    let names = git.remotes().ok()?;
    let mut names: Vec<String> = names.iter().filter_map(|n| n.ok().flatten().map(str::to_owned)).collect();
    names.sort_by_key(|n| n != "origin");
    let checked_out = git.find_reference("HEAD").ok().and_then(|h| {
        let target = h.symbolic_target().ok().flatten()?.to_owned();
        target.strip_prefix("refs/heads/").map(str::to_owned)
    });
    let checked_out = checked_out.or_else(|| detached(&git));
    names.iter().find_map(|name| {
        let remote = git.find_remote(name).ok()?;
        let (owner, repo, credentials) = on_host(remote.url().ok()?, &config.dagshub_host)?;
        let base = config.dagshub_host.trim_end_matches('/').to_owned();
        Some(RepoUrl::Hub { base, owner, repo, rev: checked_out.clone(), credentials })
    })
}

fn open(root: &Path) -> Option<git2::Repository> {
    let none: [&Path; 0] = [];
    git2::Repository::open_ext(root, git2::RepositoryOpenFlags::NO_SEARCH, none).ok()
}

/// The commit that is checked out where no branch is.
fn detached(git: &git2::Repository) -> Option<String> {
    git.find_reference("HEAD").ok()?.target().map(|commit| commit.to_string())
}

/// `OWNER`, `REPO` and the login of `URL/OWNER/REPO.git` on `host`.
fn on_host(remote: &str, host: &str) -> Option<(String, String, Option<Credentials>)> {
    let (url, host): (reqwest::Url, reqwest::Url) = (remote.parse().ok()?, host.parse().ok()?);
    if url.host_str() != host.host_str() || url.port_or_known_default() != host.port_or_known_default() {
        return None;
    }
    let prefix = host.path().trim_end_matches('/');
    let path = url.path().strip_prefix(prefix)?.trim_matches('/');
    let (owner, repo) = path.strip_suffix(".git").unwrap_or(path).split_once('/')?;
    // The parser of URLs decides what a name is.
    RepoUrl::parse(&format!("dagshub://{owner}/{repo}")).ok()?;
    let credentials = (!url.username().is_empty()).then(|| Credentials {
        user: crate::percent::decode(url.username()).unwrap_or_default(),
        password: Secret::new(url.password().and_then(crate::percent::decode).unwrap_or_default()),
    });
    Some((owner.to_owned(), repo.to_owned(), credentials))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config, git, path, write};

    fn clone(url: &str) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("art");
        std::fs::create_dir_all(root.join("deep/er")).unwrap();
        git(&root, &["init", "-q", "-b", "work"]);
        git(&root, &["remote", "add", "origin", url]);
        let config = Config { dagshub_host: "http://hub.example:80".into(), ..config(dir.path()) };
        (dir, config)
    }

    #[test]
    fn a_clone_of_the_host_stands_for_the_repository_there() {
        for (remote, hub) in [
            ("http://hub.example/team/photos.git", true),
            ("http://me:s3cret@hub.example:80/team/photos.git", true),
            ("http://hub.example/team/photos", true),
            ("http://hub.example/team/more/photos.git", false),
            ("http://other.example/team/photos.git", false),
            ("http://hub.example:81/team/photos.git", false),
            ("git@hub.example:team/photos.git", false),
            ("/somewhere/photos.git", false),
        ] {
            let (dir, config) = clone(remote);
            let root = dir.path().join("art");
            let here = around(&root.join("deep/er"), &config).unwrap().unwrap();
            assert_eq!(here.below, path("deep/er"));
            if hub {
                assert_eq!(here.url.to_string(), "http://hub.example:80/team/photos@work", "{remote}");
                assert!(!format!("{here:?}").contains("s3cret"));
            } else {
                assert_eq!(here.url, RepoUrl::Local { path: root.clone(), rev: None }, "{remote}");
            }
        }
        let outside = tempfile::tempdir().unwrap();
        assert_eq!(around(outside.path(), &config(outside.path())).unwrap(), None);
    }

    #[test]
    fn a_commit_that_is_checked_out_is_the_one_that_is_meant() {
        for remote in ["http://hub.example/team/photos.git", "/somewhere/photos.git"] {
            let (dir, config) = clone(remote);
            let root = dir.path().join("art");
            git(&root, &["commit", "-q", "--allow-empty", "-m", "one"]);
            git(&root, &["checkout", "-q", "--detach"]);
            let head = git(&root, &["rev-parse", "HEAD"]);
            assert_eq!(around(&root, &config).unwrap().unwrap().url.rev(), Some(head.as_str()), "{remote}");
        }
    }

    #[test]
    fn what_one_word_means_to_mount() {
        let (dir, config) = clone("http://hub.example/team/photos.git");
        let root = dir.path().join("art");
        write(&root.join("x"), b"x");
        let cx = Cx::silent(root.join("deep"));
        let of = |url: &str, dir: &str| to_mount(url, dir, &config, &cx).map(|(u, d)| (u.to_string(), d));
        let hub = "http://hub.example:80/team/photos@work".to_owned();
        assert_eq!(of("", "").unwrap(), (hub.clone(), dir.path().join("art-mount")));
        assert_eq!(of("data", "").unwrap(), (hub, root.join("deep/data")));
        assert_eq!(of("dagshub://o/r@v1", "").unwrap(), ("dagshub://o/r@v1".into(), root.join("deep/r")));
        assert_eq!(of("git@h:o/r.git", "").unwrap().1, root.join("deep/r"));
        assert_eq!(of("..", "d").unwrap(), ("..".into(), root.join("deep/d")));
        let e = to_mount("..", "", &config, &cx).unwrap_err();
        assert!(
            e.message.contains("no folder to mount on") && e.hint.unwrap().contains("mount .. DIR"),
            "{}",
            e.message
        );
        let nowhere = tempfile::tempdir().unwrap();
        let e = to_mount("d", "", &config, &Cx::silent(nowhere.path())).unwrap_err();
        assert!(e.message.contains("no Git repository"), "{e}");
    }
}
