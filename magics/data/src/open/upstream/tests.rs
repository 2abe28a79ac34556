use super::*;
use crate::open::open_repo;
use crate::serve::ServeOptions;
use crate::testing::{NAMES, Sample, content, git, path, write};
use dds_core::{RepoPath, RepoUrl, Secret, Source, Versioning};

fn url(server: &crate::Server, rev: &str) -> RepoUrl {
    RepoUrl::parse(&format!("{}.git{rev}", server.repo_url())).unwrap()
}

/// The names of the loose and packed blobs in the copy.
fn blobs_in_cache(cache: &Path) -> usize {
    let copy = std::fs::read_dir(cache.join("git")).unwrap().flatten().find(|e| e.path().is_dir()).unwrap();
    let list = git(&copy.path(), &["cat-file", "--batch-check=%(objecttype)", "--batch-all-objects"]);
    list.lines().filter(|l| *l == "blob").count()
}

#[test]
fn trees_come_first_and_contents_when_they_are_read() {
    let sample = Sample::new();
    // A remote over HTTP, since one of this machine is not for repositories from elsewhere.
    let store = crate::testing::StoreServer::start();
    for file in walk(&sample.home.path().join("remote")) {
        let key = file.strip_prefix(sample.home.path().join("remote")).unwrap().to_str().unwrap().to_owned();
        store.kept.lock().unwrap().insert(format!("/r/{key}"), std::fs::read(&file).unwrap().into());
    }
    let config =
        format!("[core]\nremote = s\n['remote \"s\"']\nurl = http://user:pass@127.0.0.1:{}/r\n", store.port);
    write(&sample.repo.join(".dvc/config"), config.as_bytes());
    git(&sample.repo, &["commit", "-qam", "remote"]);
    let server = sample.serve(ServeOptions::default());
    let (config, cx) = (sample.config("cache"), sample.cx());
    let repo = open_repo(&url(&server, ""), &config, &cx).unwrap();
    assert_eq!((repo.branch().as_deref(), repo.commit()), (Some("main"), sample.head()));
    // Only what DVC reads was fetched: its configuration, .dvcignore and the .dvc file.
    assert_eq!(blobs_in_cache(&config.cache_dir), 3);
    let all = repo.list(&RepoPath::root(), true, &cx).unwrap();
    for name in NAMES {
        let at = path(&format!("data/set/{name}"));
        assert!(all.iter().any(|e| e.path == at && e.versioning == Versioning::Dvc), "{at}");
        assert_eq!(repo.read(&at, &cx).unwrap(), content(name));
    }
    assert_eq!(blobs_in_cache(&config.cache_dir), 3);
    let readme = repo.stat(&path("README.md"), &cx).unwrap();
    assert_eq!((readme.size, readme.versioning), (Some(6), Versioning::Git));
    assert_eq!(repo.read(&path("README.md"), &cx).unwrap(), b"# Art\n");
    assert_eq!(repo.read_range(&path("notes/ü a..b.txt"), 1..2, &cx).unwrap(), b"i");
    // A new commit is seen after a refresh, and an old one stays readable by its hash.
    let old = sample.head();
    write(&sample.repo.join("README.md"), b"# New\n");
    git(&sample.repo, &["commit", "-qam", "new"]);
    assert!(repo.refresh(&cx).unwrap() && !repo.refresh(&cx).unwrap());
    assert_eq!(repo.read(&path("README.md"), &cx).unwrap(), b"# New\n");
    drop(server);
    let pinned =
        open_repo(&RepoUrl::parse(&repo.id().replace(&repo.commit(), &old)).unwrap(), &config, &cx).unwrap();
    assert_eq!(pinned.read(&path("README.md"), &cx).unwrap(), b"# Art\n");
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_token_is_sent_and_stays_out_of_the_cache_and_of_errors() {
    let sample = Sample::new();
    let server =
        sample.serve(ServeOptions { token: Some(Secret::new("t0ken-canary")), ..ServeOptions::default() });
    let (config, cx) = (sample.config("cache"), sample.cx());
    let open = |token: &str| {
        let url = url(&server, "@main").with_token(&Secret::new(token), "https://x");
        open_repo(&url, &config, &cx)
    };
    for wrong in ["", "wr0ng-canary"] {
        let e = open(wrong).err().unwrap();
        assert_eq!(e.kind, Kind::Unauthorized, "{e}");
        assert!(!format!("{e:?}").contains("canary") && e.hint.is_some(), "{e:?}");
    }
    let repo = open("t0ken-canary").unwrap();
    assert_eq!(repo.read(&path("README.md"), &cx).unwrap(), b"# Art\n");
    // A folder of this machine is no remote for a repository from elsewhere.
    let e = repo.list(&path("data/set"), true, &cx).unwrap_err();
    assert!(e.hint.unwrap().contains("folder of another machine"), "{}", e.message);
    for file in walk(&config.cache_dir) {
        // What is being written behind the reader's back has another name in a moment.
        let Ok(bytes) = std::fs::read(&file) else { continue };
        assert!(!bytes.windows(6).any(|w| w == b"canary"), "{}", file.display());
    }
}

#[test]
fn what_is_not_there_is_told_so() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let (config, cx) = (sample.config("cache"), sample.cx());
    let e = open_repo(&url(&server, "@nowhere"), &config, &cx).err().unwrap();
    assert!(e.kind == Kind::NotFound && e.hint.unwrap().contains("main"), "{}", e.message);
    let missing = RepoUrl::parse(&format!("{}/local/none.git", server.url())).unwrap();
    let e = open_repo(&missing, &config, &cx).err().unwrap();
    assert!(e.message.contains("none.git"), "{e}");
    cx.cancel.cancel();
    assert_eq!(open_repo(&url(&server, ""), &config, &cx).err().unwrap().kind, Kind::Interrupted);
}
