use super::super::tests::settled;
use super::super::{Common, git_http};
use super::*;
use crate::testing::{Sample, content, git, write};
use std::io::Read;
use tokio::sync::Semaphore;

fn site(dir: &Path) -> Site {
    let common = Common {
        token: None,
        read_only: true,
        addr: ([127, 0, 0, 1], 0).into(),
        git_places: Arc::new(Semaphore::new(git_http::MAX_PROCESSES)),
        access_log: None,
    };
    Site::open(dir, Arc::new(common)).unwrap()
}

/// What a first request leaves behind: a snapshot, and verified bytes.
fn ask_first(site: &Site, owner: &str, name: &str) {
    let repository = &site.repository(owner, name).unwrap().repository;
    let snapshot = repository.snapshot(repository.resolve(Some("main")).unwrap().commit).unwrap();
    for (path, node) in snapshot.below(&Default::default()) {
        repository.read(&crate::testing::path(path), node).unwrap();
    }
}

fn target(owner: &str) -> String {
    format!("/api/v1/repos/{owner}/art/raw/main/data/set/plain.jpg")
}

fn bytes(ready: Option<Ready>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    ready?.file.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

/// Asks until the file is ready, which what changed just now is not.
fn until_ready(site: &Site, prepared: &Prepared, owner: &str) -> Ready {
    let mut ready = None;
    crate::testing::until("the file to be ready", || {
        ask_first(site, owner, "art");
        ready = prepared.get(site, &target(owner));
        ready.is_some()
    });
    let ready = ready.unwrap();
    assert_eq!(std::fs::read(&ready.answer.place).unwrap(), content("plain.jpg"));
    ready
}

#[test]
fn only_what_is_known_is_ready_and_only_as_long_as_it_is() {
    let sample = Sample::new();
    settled(&sample);
    let (site, prepared) = (site(&sample.repo), Prepared::default());
    let get = || bytes(prepared.get(&site, &target("local")));
    assert!(get().is_none(), "nothing was asked yet");
    until_ready(&site, &prepared, "local");
    assert_eq!(bytes(Some(until_ready(&site, &prepared, "local"))), Some(content("plain.jpg")));
    assert_eq!(prepared.0.read().unwrap().len(), 1);
    for other in ["README.md", "data/set", "data/set/none.jpg", "../x"] {
        assert!(prepared.get(&site, &format!("/api/v1/repos/local/art/raw/main/{other}")).is_none());
    }
    // The branch moves: what it named is ready no more.
    git(&sample.repo, &["commit", "-q", "--allow-empty", "-m", "More"]);
    assert!(get().is_none());
    until_ready(&site, &prepared, "local");
    // Other bytes in the same file.
    let shared = site.repository("local", "art").unwrap();
    let digest = crate::hash::md5(&content("plain.jpg"));
    let at = shared.repository.stores().cache().path(&digest, crate::store::Layout::V3);
    std::fs::set_permissions(&at, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let ready = until_ready(&site, &prepared, "local");
    std::fs::write(&at, content("plain.jpg").to_ascii_uppercase()).unwrap();
    assert!(!ready.is_still() && get().is_none());
    std::fs::remove_file(&at).unwrap();
    assert!(get().is_none_or(|bytes| bytes == content("plain.jpg")), "from the remote");
}

#[test]
fn no_link_leads_out_to_another_repository() {
    let sample = Sample::new();
    let root = sample.home.path().join("class");
    for to in ["class/ana", "private"] {
        std::fs::create_dir_all(sample.home.path().join(to)).unwrap();
        let to = sample.home.path().join(to).join("art");
        assert!(
            std::process::Command::new("cp").arg("-a").arg(&sample.repo).arg(to).status().unwrap().success()
        );
    }
    settled(&sample);
    let (site, prepared) = (site(&root), Prepared::default());
    let get = || bytes(prepared.get(&site, &target("ana")));
    for moved in ["class/ana/art", "class/ana"] {
        until_ready(&site, &prepared, "ana");
        let (moved, away) = (sample.home.path().join(moved), sample.home.path().join("away"));
        std::fs::rename(&moved, &away).unwrap();
        assert!(get().is_none());
        std::os::unix::fs::symlink(&away, &moved).unwrap();
        assert!(get().is_none(), "{}", moved.display());
        std::fs::remove_file(&moved).unwrap();
        std::fs::rename(&away, &moved).unwrap();
    }
}

#[test]
fn a_cache_elsewhere_is_used_and_what_is_kept_is_bounded() {
    let sample = Sample::new();
    let elsewhere = sample.home.path().join("elsewhere");
    std::fs::rename(sample.repo.join(".dvc/cache"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, sample.repo.join(".dvc/cache")).unwrap();
    let root = sample.home.path().join("class");
    std::fs::create_dir_all(root.join("ana")).unwrap();
    std::fs::rename(&sample.repo, root.join("ana/art")).unwrap();
    write(&root.join("ana/x.txt"), b"x");
    settled(&sample);
    let (site, prepared) = (site(&root), Prepared::default());
    until_ready(&site, &prepared, "ana");
    for n in 0..=MAX_PREPARED {
        prepared.get(&site, &format!("{}?{n}", target("ana")));
    }
    assert!(prepared.0.read().unwrap().len() <= MAX_PREPARED);
    prepared.get(&site, &format!("{}?{}", target("ana"), "x".repeat(MAX_TARGET)));
    assert!(prepared.0.read().unwrap().keys().all(|target| target.len() <= MAX_TARGET));
    until_ready(&site, &prepared, "ana");
}
