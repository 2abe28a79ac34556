use super::*;
use crate::engine::Data;
use crate::hash;
use crate::repository::Origin;
use crate::testing::{Sample, StoreServer, content, git, path, until, write};
use dds_core::engine::DataEngine;
use dds_core::{Digest, Located, RepoUrl, Resolver, Source, Versioning, request as rq};
use std::path::Path;

/// A sample whose objects are on `server` only, with an own small setting for what is large.
fn far_away(server: &StoreServer) -> (Sample, RepoPath) {
    let sample = Sample::new();
    let big = path("data/set/plain.jpg");
    let config = format!(
        "[core]\nremote = far\n['remote \"far\"']\nurl = http://127.0.0.1:{}/base\nauth = basic\nuser = user\n",
        server.port
    );
    write(&sample.repo.join(".dvc/config"), config.as_bytes());
    write(&sample.repo.join(".dvc/config.local"), b"['remote \"far\"']\npassword = pass\n");
    git(&sample.repo, &["commit", "-qam", "far"]);
    for store in [sample.home.path().join("remote"), sample.repo.join(".dvc/cache")] {
        for file in files_below(&store) {
            let key = file.strip_prefix(&store).unwrap().to_str().unwrap().to_owned();
            server.kept.lock().unwrap().insert(format!("/base/{key}"), std::fs::read(&file).unwrap().into());
        }
        std::fs::remove_dir_all(&store).unwrap();
    }
    (sample, big)
}

fn files_below(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

fn open(sample: &Sample, settings: Settings) -> Local {
    let outside = crate::open::outside(&sample.config("cache"), Origin::Here);
    let cache = outside.cache.clone();
    let repository = Repository::open_with(&sample.repo, Some(outside), None).unwrap();
    Local::open(repository, None, cache, settings, &sample.cx()).unwrap()
}

#[test]
fn what_only_a_remote_has_is_listed_and_read() {
    let server = StoreServer::start();
    let (sample, _) = far_away(&server);
    let cx = sample.cx();
    let local = open(&sample, Settings::default());
    assert_eq!(server.seen("GET"), 1, "opening fetches the manifest and nothing else");
    let set = path("data/set");
    let all = local.list(&set, true, &cx).unwrap();
    assert_eq!(all.len(), crate::testing::NAMES.len());
    for name in crate::testing::NAMES {
        let at = set.join(&path(name));
        let entry = local.stat(&at, &cx).unwrap();
        assert_eq!((entry.size, entry.versioning), (Some(content(name).len() as u64), Versioning::Dvc));
        assert_eq!(local.read(&at, &cx).unwrap(), content(name));
        assert_eq!(local.read_range(&at, 3..9, &cx).unwrap(), content(name)[3..9]);
    }
    let gets = server.seen("GET");
    let log = server.log.lock().unwrap().clone();
    assert_eq!(gets, 1 + crate::testing::NAMES.len(), "each object is fetched once: {log:#?}");
    // Another opening finds all of it in the cache.
    let again = open(&sample, Settings::default());
    let digest = hash::md5(&content("plain.jpg"));
    until("it is kept", || again.cache.contains(&digest));
    assert_eq!(again.read(&set.join(&path("plain.jpg")), &cx).unwrap(), content("plain.jpg"));
    assert_eq!(server.seen("GET"), gets);
    assert!(!sample.repo.join(".dvc/cache").exists(), "the repository itself is left as it was");
}

#[test]
fn large_files_of_a_remote_come_in_blocks() {
    let server = StoreServer::start();
    let (sample, big) = far_away(&server);
    let settings = Settings { small_bytes: 100, block_bytes: 64, ..Settings::default() };
    let local = open(&sample, settings);
    let want = content("plain.jpg");
    assert!(want.len() > 400);
    assert_eq!(local.read_range(&big, 70..90, &sample.cx()).unwrap(), want[70..90]);
    assert_eq!(local.read(&big, &sample.cx()).unwrap(), want);
}

#[test]
fn a_damaged_or_missing_object_is_told_and_never_given_out() {
    let server = StoreServer::start();
    let (sample, big) = far_away(&server);
    let digest = hash::md5(&content("plain.jpg"));
    let key = key(&digest);
    server.kept.lock().unwrap().insert(key.clone(), "other".into());
    let cx = sample.cx();
    let local = open(&sample, Settings::default());
    assert_eq!(local.read(&big, &cx).unwrap_err().kind, Kind::Corrupt);
    server.kept.lock().unwrap().remove(&key);
    let local = open(&sample, Settings::default());
    let e = local.read(&big, &cx).unwrap_err();
    assert!(e.kind == Kind::NotFound && e.message.contains("cache, far"), "{e}");
    assert_eq!(local.stat(&big, &cx).unwrap().size, None);
    // A password that is not right is told as that.
    write(&sample.repo.join(".dvc/config.local"), b"['remote \"far\"']\npassword = hunter2\n");
    let local = open(&sample, Settings::default());
    let e = local.read(&big, &cx).unwrap_err();
    assert!(e.kind == Kind::Unauthorized && !format!("{e:?}").contains("hunter2"), "{e:?}");
    assert_eq!(local.stat(&big, &cx).unwrap_err().kind, Kind::Unauthorized);
}

/// As a disk or a careless hand damages it: other bytes of the same length, and a file cut off.
#[test]
fn a_damaged_copy_in_the_cache_is_fetched_again() {
    use std::os::unix::fs::PermissionsExt;
    let server = StoreServer::start();
    let (sample, at) = far_away(&server);
    let (want, cx) = (content("plain.jpg"), sample.cx());
    let digest = hash::md5(&want);
    let fetched = || {
        let log = server.log.lock().unwrap();
        log.iter().filter(|line| **line == format!("GET {}", key(&digest))).count()
    };
    let first = open(&sample, Settings::default());
    assert_eq!(first.read(&at, &cx).unwrap(), want);
    until("it is kept", || first.cache.contains(&digest));
    let copy = first.cache.path(&digest, crate::store::Layout::V3);
    let mut flipped = want.clone();
    flipped[7] ^= 1;
    let short = &want[..9];
    for (has_verified, damaged, whole) in [
        (true, &flipped[..], true),
        (true, short, false),
        (true, &flipped[..], false),
        (false, short, true),
        (false, &flipped[..], true),
        (false, &flipped[..], false),
    ] {
        let local = open(&sample, Settings::default());
        if has_verified {
            assert_eq!(local.read(&at, &cx).unwrap(), want);
        }
        let before = fetched();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(&copy, damaged).unwrap();
        let read = if whole { local.read(&at, &cx) } else { local.read_range(&at, 3..40, &cx) };
        let want_read = if whole { &want[..] } else { &want[3..40] };
        assert_eq!(read.unwrap(), want_read, "{has_verified} {whole}");
        assert_eq!(fetched(), before + 1, "{has_verified} {whole}");
        until("the good one is kept", || std::fs::read(&copy).is_ok_and(|kept| kept == want));
    }
}

/// Where it lies on the server.
fn key(digest: &Digest) -> String {
    format!("/base/{}", digest.store_path().unwrap())
}

#[test]
fn what_is_announced_is_fetched_ahead() {
    let server = StoreServer::start();
    let (sample, _) = far_away(&server);
    let local = open(&sample, Settings::default());
    let paths: Vec<RepoPath> = crate::testing::NAMES.iter().map(|n| path(&format!("data/set/{n}"))).collect();
    local.announce(&paths);
    until("all are fetched", || server.seen("GET") == 1 + paths.len());
    for (at, name) in paths.iter().zip(crate::testing::NAMES) {
        assert_eq!(local.read(at, &sample.cx()).unwrap(), content(name));
    }
    assert_eq!(server.seen("GET"), 1 + paths.len());
}

struct NoMounts;

impl Resolver for NoMounts {
    fn resolve(&self, path: &Path) -> Located {
        Located::Local(path.to_owned())
    }

    fn open(&self, _: &RepoUrl, _: &Cx) -> Result<Arc<dyn Source>> {
        Err(Error::internal("nothing is opened by URL here"))
    }
}

#[test]
fn an_upload_brings_its_objects_to_the_remote_before_the_commit() {
    let server = StoreServer::start();
    let (sample, _) = far_away(&server);
    write(&sample.home.path().join("new.jpg"), b"new");
    let data = Data::new(Arc::new(sample.config("cache")), Arc::new(NoMounts));
    let upload = rq::Upload {
        files: vec!["new.jpg".into()],
        to: "art/data/set".into(),
        versioning: "dvc".into(),
        ..rq::Upload::default()
    };
    // Refused by the remote, nothing is committed.
    let head = sample.head();
    write(&sample.repo.join(".dvc/config.local"), b"['remote \"far\"']\npassword = wrong\n");
    assert_eq!(data.upload(&upload, &sample.cx()).unwrap_err().kind, Kind::Unauthorized);
    assert_eq!(sample.head(), head);
    write(&sample.repo.join(".dvc/config.local"), b"['remote \"far\"']\npassword = pass\n");
    data.upload(&upload, &sample.cx()).unwrap();
    assert_ne!(sample.head(), head);
    let kept = server.kept.lock().unwrap();
    assert_eq!(kept[&key(&hash::md5(b"new"))], "new");
    let log = server.log.lock().unwrap().clone();
    let last = log.iter().rfind(|l| l.starts_with("POST")).unwrap();
    assert!(last.ends_with(".dir"), "the manifest comes after what it names: {last}");
}
