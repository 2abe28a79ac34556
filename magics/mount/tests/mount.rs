//! Mounted folders as programs see them, with FUSE and with copies, and what is left when a process
//! is killed. Where `/dev/fuse` cannot be opened, the copies alone are tested.

#[path = "support/memory.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod memory;
#[path = "support/repo.rs"]
mod repo;
#[path = "support/session.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod session;

use dds_core::engine::MountEngine;
use dds_core::request as rq;
use dds_core::{Cx, Kind, Located, RepoPath, RepoUrl, Resolver};
use serde_json::json;
use session::{Session, fuse_works, is_mounted, names, soon, ways};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
#[expect(non_snake_case, reason = "the name holds the role, by which the harness finds it")]
fn played_as__mount() {
    session::play_mount_process();
}

#[test]
#[expect(non_snake_case, reason = "the name holds the role, by which the harness finds it")]
fn played_as__owner() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) != Some("__owner") {
        return;
    }
    let (repo, dir) = (std::env::var("TEST_REPO").unwrap(), std::env::var("TEST_DIR").unwrap());
    let root = PathBuf::from(&repo);
    let mounts = dds_mount::Mounts::with_opener(session::config(&root), Arc::new(repo::Folders));
    let via = std::env::var("TEST_VIA").unwrap();
    let request = rq::Mount { url: repo, dir, via, ..Default::default() };
    mounts.mount(&request, &Cx::silent("/")).unwrap();
    fs::write(root.join("mounted"), "").unwrap();
    // Until the test kills us or closes our stdin.
    let _ = std::io::stdin().read(&mut [0]);
    mounts.shutdown();
    std::process::exit(0);
}

/// One suite for both ways.
#[test]
fn the_folder_is_the_repository() {
    for way in ways() {
        let session = Session::new();
        for kind in ["plain", "sizeless"] {
            let repo = session.repo(kind);
            let outcome = session.mount(&repo, kind, way).unwrap();
            assert_eq!(
                (&outcome.json["way"], &outcome.json["files"]),
                (&way.into(), &7.into()),
                "{outcome:?}"
            );
            assert_eq!(outcome.json["commit"], repo::commit("1"));
            conforms(&session.at(kind), way);
            let gone = session.unmount(kind).unwrap();
            assert!(gone.summary.starts_with("unmounted "), "{gone:?}");
            assert!(!session.at(kind).exists(), "the folder was made by mount, so it goes with it");
        }
    }
}

fn conforms(dir: &Path, way: &str) {
    let expected = repo::repository("plain", &repo::commit("1"), "x");
    assert_eq!(names(dir), ["a.txt", "big.bin", "deep", "dir one", "empty", "old.txt"]);
    assert_eq!(names(&dir.join("dir one")), ["a..b", "ü b.bin"]);
    for name in expected.names() {
        let file = dir.join(&name);
        let meta = fs::symlink_metadata(&file).unwrap();
        assert!(meta.is_file() && meta.len() == expected.bytes(&name).len() as u64, "{way} {name}");
        let mode = if way == "fuse" { 0o644 } else { 0o444 };
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{way} {name}");
        assert!(fs::read(&file).unwrap() == expected.bytes(&name), "{way} {name}");
    }
    // Parts of a file, by position and by seeking, small and large.
    for name in ["dir one/ü b.bin", "big.bin"] {
        let (bytes, mut file) = (expected.bytes(name), File::open(dir.join(name)).unwrap());
        for offset in [0, 1, 4095, 131_072, bytes.len() - 10] {
            let mut part = [0; 10];
            file.read_exact_at(&mut part, offset as u64).unwrap();
            assert_eq!(part, bytes[offset..offset + 10], "{way} {name} {offset}");
        }
        file.seek(SeekFrom::End(-3)).unwrap();
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).unwrap();
        assert_eq!(tail, bytes[bytes.len() - 3..]);
        assert_eq!(file.read_at(&mut [0; 4], bytes.len() as u64 + 9).unwrap(), 0);
    }
    // Many threads at once.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for name in expected.names() {
                    assert!(fs::read(dir.join(&name)).unwrap() == expected.bytes(&name), "{way} {name}");
                }
            });
        }
    });
    let missing = fs::read(dir.join("dir one/none")).unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(fs::read(dir.join("a.txt/x")).unwrap_err().kind(), std::io::ErrorKind::NotADirectory);
    if way == "fuse" {
        let ino = fs::metadata(dir.join("a.txt")).unwrap().ino();
        assert_eq!(ino, fs::metadata(dir.join("a.txt")).unwrap().ino());
    } else if !rustix::process::geteuid().is_root() {
        // Root may write into files that forbid it.
        assert_eq!(
            fs::write(dir.join("a.txt"), "x").unwrap_err().kind(),
            std::io::ErrorKind::PermissionDenied
        );
    }
    let listed = Command::new("ls").arg("-laR").arg(dir).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
}

#[test]
fn a_mount_of_a_commit_and_one_that_is_read_only_refuse_every_change() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let repo = session.repo("plain");
    let pinned = format!("{}@{}", repo.display(), repo::commit("1"));
    for (url, read_only) in [(pinned, false), (repo.display().to_string(), true)] {
        let request = rq::Mount { url, dir: "data".into(), read_only, ..Default::default() };
        let made = session.mounts.mount(&request, &session.cx).unwrap();
        assert!(made.summary.contains("read-only") && made.json["read_only"] == true, "{made:?}");
        let dir = session.at("data");
        let refused = |what: std::io::Result<()>| {
            assert_eq!(what.unwrap_err().raw_os_error(), Some(rustix::io::Errno::ROFS.raw_os_error()));
        };
        refused(fs::write(dir.join("a.txt"), "x"));
        refused(fs::write(dir.join("new"), "x"));
        refused(fs::remove_file(dir.join("a.txt")));
        refused(fs::create_dir(dir.join("new")));
        refused(fs::rename(dir.join("a.txt"), dir.join("b.txt")));
        refused(fs::set_permissions(dir.join("a.txt"), fs::Permissions::from_mode(0o777)));
        refused(std::os::unix::fs::symlink("a.txt", dir.join("link")));
        let status = session.mounts.status(&rq::Status { dir: "data".into() }, &session.cx).unwrap_err();
        assert!(status.kind == Kind::Usage && status.hint.unwrap().contains("mount a branch"));
        session.unmount("data").unwrap();
    }
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    for way in ways() {
        let session = Session::new();
        let repo = session.repo("damaged");
        if way == "copy" {
            let error = session.mount(&repo, "data", way).unwrap_err();
            assert_eq!(error.kind, Kind::Corrupt);
            assert!(error.message.contains("dir one/ü b.bin"), "{error}");
            assert!(!session.at("data").exists());
            continue;
        }
        session.mount(&repo, "data", way).unwrap();
        let dir = session.at("data");
        for _ in 0..2 {
            let error = fs::read(dir.join("dir one/ü b.bin")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
        }
        assert_eq!(fs::read(dir.join("dir one/a..b")).unwrap().len(), 7, "the others are read");
        soon("the note about the damage", || !session.mounts.problems(&dir).unwrap().is_empty());
        let problems = session.mounts.problems(&dir).unwrap();
        assert!(problems.len() == 1 && problems[0].contains("dir one/ü b.bin"), "{problems:?}");
        let listed = session.mounts.mounts(&rq::Mounts {}, &session.cx).unwrap();
        assert!(listed.detail.contains("1 problem") && listed.detail.contains("ü b.bin"), "{listed:?}");
    }
}

#[test]
fn listing_fetches_nothing_and_reading_is_counted() {
    for way in ways() {
        let session = Session::new();
        let repo = session.repo("plain");
        session.mount(&repo, "data", way).unwrap();
        let dir = session.at("data");
        assert_eq!(names(&dir).len(), 6);
        let all = session.mounts.stats(&dir).unwrap();
        let expected = repo::repository("plain", &repo::commit("1"), "x");
        let bytes: usize = expected.names().iter().map(|name| expected.bytes(name).len()).sum();
        assert_eq!((all.files_listed, all.bytes_listed), (7, bytes as u64));
        if way == "copy" {
            assert_eq!((all.files_streamed, all.bytes_streamed), (7, all.bytes_listed));
            continue;
        }
        assert_eq!((all.files_streamed, all.bytes_streamed, all.reads_served), (0, 0, 0));
        assert_eq!(fs::read(dir.join("a.txt")).unwrap(), b"first\n");
        // A command of the owner reads the same file, and another, without the kernel.
        for name in ["a.txt", "dir one/a..b"] {
            let Located::Remote { source, path } = session.mounts.resolve(&dir.join(name)) else { panic!() };
            assert_eq!(path.as_str(), name);
            source.read(&path, &session.cx).unwrap();
        }
        let read = session.mounts.stats(&dir).unwrap();
        assert_eq!((read.files_streamed, read.bytes_streamed), (2, 6 + 7));
        assert_eq!((read.reads_served, read.bytes_served), (1, 6));
        let listed = session.mounts.mounts(&rq::Mounts {}, &session.cx).unwrap();
        let row = &listed.json["mounts"][0];
        assert_eq!((&row["files_streamed"], &row["bytes_streamed"]), (&2.into(), &13.into()));
        assert_eq!((&row["way"], &row["alive"]), (&"fuse".into(), &true.into()));
        assert!(listed.detail.contains("data") && listed.detail.contains("read 2 files, 13 B"), "{listed:?}");
    }
}

#[test]
fn paths_lead_to_the_innermost_mount() {
    let session = Session::new();
    let (plain, other) = (session.repo("plain"), session.repo("sizeless"));
    session.mount(&plain, "one", "copy").unwrap();
    session.mount(&other, "one-more", "copy").unwrap();
    let remote = |path: &str| match session.mounts.resolve(&session.at(path)) {
        Located::Remote { source, path } => Some((source.id(), path.to_string())),
        Located::Local(_) => None,
    };
    let id = |repo: &Path| format!("{}@{}", repo.display(), repo::commit("1"));
    assert_eq!(remote("one/dir one/x"), Some((id(&plain), "dir one/x".into())));
    assert_eq!(remote("one"), Some((id(&plain), String::new())));
    assert_eq!(remote("one-more/y"), Some((id(&other), "y".into())));
    assert_eq!(remote("on"), None);
    assert_eq!(remote("one-morer"), None);
    let url = RepoUrl::Local { path: plain.clone(), rev: None };
    let (a, b) =
        (session.mounts.open(&url, &session.cx).unwrap(), session.mounts.open(&url, &session.cx).unwrap());
    assert!(Arc::ptr_eq(&a, &b), "opened once, then shared");
    session.unmount("one").unwrap();
    assert_eq!(remote("one/a.txt"), None);
}

#[test]
fn the_folder_to_mount_on_has_rules() {
    for way in ways() {
        let session = Session::new();
        let repo = session.repo("plain");
        fs::create_dir(session.at("full")).unwrap();
        fs::write(session.at("full/x"), "x").unwrap();
        session.mount(&repo, "data", way).unwrap();
        for (dir, part) in [
            ("full", "not empty"),
            ("full/x", "is a file"),
            ("data", "is mounted already"),
            ("data/dir one", "lies inside the mounted folder"),
            ("", "in no Git repository"),
        ] {
            let error = session.mount(&repo, dir, way).unwrap_err();
            assert_eq!(error.kind, Kind::Usage, "{way} {dir}: {error}");
            assert!(error.message.contains(part) && error.hint.is_some(), "{way} {dir}: {error}");
        }
        let error = session.unmount("full").unwrap_err();
        assert!(error.kind == Kind::NotFound && error.hint.unwrap().contains("data"));
        let error = session.mount(&session.at("no.repo"), "new", way).unwrap_err();
        assert_eq!(error.kind, Kind::NotFound);
        assert!(!session.at("new").exists(), "an error leaves no folder");
        assert_eq!(names(&session.at("data")).len(), 6, "what was mounted stays");
        // A session that ends takes everything off.
        session.mounts.shutdown();
        assert!(!is_mounted(&session.at("data")) && !session.at("data").exists());
    }
    let session = Session::new();
    let repo = session.repo("large");
    let error = session.mount(&repo, "data", "copy").unwrap_err();
    assert_eq!(error.kind, Kind::Limit);
    assert!(!session.at("data").exists());
    assert_eq!(session.mount(&repo, "data", "magic").unwrap_err().kind, Kind::Usage);
}

#[test]
fn an_upload_shows_without_mounting_again() {
    for way in ways() {
        let session = Session::new();
        let repo = session.repo("plain");
        session.mount(&repo, "data", way).unwrap();
        let (dir, cx) = (session.at("data"), &session.cx);
        let pinned = repo.with_file_name(format!("plain.repo@{}", repo::commit("1")));
        session.mount(&pinned, "pinned", way).unwrap();
        session.mount(&repo, "other", way).unwrap();
        // The kernel now knows these names, sizes and bytes.
        assert_eq!(fs::read(dir.join("a.txt")).unwrap(), b"first\n");
        assert!(!dir.join("dir one/new.txt").exists() && dir.join("old.txt").exists());
        let mut held = File::open(dir.join("a.txt")).unwrap();
        let same = fs::metadata(dir.join("dir one/a..b")).unwrap();

        repo::push(&repo, "2");
        let url = RepoUrl::Local { path: repo.clone(), rev: None };
        // An upload into the folder refreshes the source that it went through, and the folder follows.
        let Located::Remote { source, .. } = session.mounts.resolve(&dir) else { panic!() };
        assert!(source.refresh(cx).unwrap());
        assert!(dir.join("dir one/new.txt").exists());
        assert!(!session.at("other/dir one/new.txt").exists());
        // An upload to the URL is told to all mounts of it.
        session.mounts.refresh(&url, cx).unwrap();
        assert!(session.at("other/dir one/new.txt").exists());
        assert_eq!(names(&dir.join("dir one")), ["a..b", "new.txt", "ü b.bin"], "{way}");
        assert_eq!(fs::read(dir.join("dir one/new.txt")).unwrap(), b"new\n");
        assert_eq!(fs::read(dir.join("a.txt")).unwrap(), b"second version\n");
        assert_eq!(fs::metadata(dir.join("a.txt")).unwrap().len(), 15);
        assert!(!dir.join("old.txt").exists());
        let mut before = String::new();
        held.read_to_string(&mut before).unwrap();
        assert_eq!(before, "first\n", "what was open reads on as it was");
        let now = fs::metadata(dir.join("dir one/a..b")).unwrap();
        assert_eq!((now.ino(), now.modified().unwrap()), (same.ino(), same.modified().unwrap()));
        let Located::Remote { source, .. } = session.mounts.resolve(&dir) else { panic!() };
        assert!(source.id().ends_with(&repo::commit("2")));
        assert_eq!(session.mounts.stats(&dir).unwrap().files_listed, 7);
        // A commit is pinned.
        assert!(!session.at("pinned/dir one/new.txt").exists());
        session.mounts.refresh(&url, cx).unwrap();
        session.unmount("data").unwrap();
        assert!(!dir.exists());
    }
}

#[test]
fn copies_that_the_user_changed_are_kept_and_named() {
    let session = Session::new();
    session.mount(&session.repo("plain"), "data", "copy").unwrap();
    let file = session.at("data/dir one/a..b");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&file, "own work").unwrap();
    let outcome = session.unmount("data").unwrap();
    assert_eq!(outcome.json["kept"][0], "dir one/a..b");
    assert!(outcome.summary.ends_with("6 copies removed, 1 file kept that you changed"), "{outcome:?}");
    assert_eq!(names(&session.at("data")), ["dir one"]);
    assert_eq!(fs::read(&file).unwrap(), b"own work");
}

#[test]
fn a_read_that_waits_does_not_hold_others_or_the_end() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    session.mount(&session.repo("stuck"), "data", "fuse").unwrap();
    let dir = session.at("data");
    let file = dir.join("stuck");
    let begun = Arc::new(std::sync::Barrier::new(13));
    let stuck: Vec<_> = (0..12)
        .map(|_| {
            let (file, begun) = (File::open(&file).unwrap(), begun.clone());
            std::thread::spawn(move || {
                begun.wait();
                file.read_at(&mut [0], 0).map(|_| ())
            })
        })
        .collect();
    begun.wait();
    assert_eq!(fs::read(dir.join("a")).unwrap().len(), 10);
    assert_eq!(names(&dir), ["a", "stuck"]);
    session.unmount("data").unwrap();
    for thread in stuck {
        assert!(thread.join().unwrap().is_err());
    }
}

#[test]
fn a_folder_in_use_is_unmounted_all_the_same() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    session.mount(&session.repo("plain"), "data", "fuse").unwrap();
    let held = File::open(session.at("data/big.bin")).unwrap();
    let inside = File::open(session.at("data/dir one")).unwrap();
    session.unmount("data").unwrap();
    assert!(!session.at("data").exists());
    drop((held, inside));
}

#[test]
fn a_mount_that_somebody_else_took_off_is_noticed() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let repo = session.repo("plain");
    session.mount(&repo, "data", "fuse").unwrap();
    dds_mount::mount_point::detach(&session.at("data")).unwrap();
    let mount = session.mounts.table().mounts().remove(0);
    soon("the mount process has ended", || !mount.is_alive());
    assert!(matches!(session.mounts.resolve(&session.at("data/a.txt")), Located::Local(_)));
    assert_eq!(session.mounts.stats(&session.at("data")).unwrap_err().kind, Kind::Unavailable);
    session.mount(&repo, "data", "fuse").unwrap();
    assert_eq!(fs::read(session.at("data/a.txt")).unwrap(), b"first\n");
}

#[test]
fn killing_the_mount_process_leaves_no_dead_folder() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let repo = session.repo("plain");
    session.mount(&repo, "data", "fuse").unwrap();
    let dir = session.at("data");
    kill(mount_process(&session));
    soon("the folder is free", || !is_mounted(&dir));
    assert!(fs::read_dir(&dir).unwrap().next().is_none());
    let outcome = session.mounts.mounts(&rq::Mounts {}, &session.cx).unwrap();
    assert!(
        outcome.json["mounts"][0]["alive"] == false || outcome.detail.contains("has ended"),
        "{outcome:?}"
    );
    session.mount(&repo, "data", "fuse").unwrap();
    assert_eq!(names(&dir).len(), 6);
}

fn mount_process(session: &Session) -> u32 {
    match &session.mounts.table().mounts()[0].way {
        dds_mount::table::Way::Fuse(process) => process.pid(),
        dds_mount::table::Way::Copy(_) | dds_mount::table::Way::Stream(_) => panic!("mounted by FUSE"),
    }
}

fn kill(pid: u32) {
    signal(pid, rustix::process::Signal::KILL);
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

/// An owner in a process of its own.
struct Owner {
    child: Child,
    dir: PathBuf,
    _session: Session,
}

impl Owner {
    fn start() -> Self {
        Self::start_as("fuse", |_| {})
    }

    fn start_as(via: &str, change: impl FnOnce(&mut Command)) -> Self {
        let session = Session::new();
        let (repo, dir) = (session.repo("plain"), session.at("data"));
        for folder in [&session.root, &repo] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        }
        // Another user may not reach the build folder. `cp` writes it, so that no thread of ours that
        // starts a process just now holds it open for writing, which would refuse its execution.
        let program = session.root.join("owner");
        let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status().unwrap();
        assert!(copied.success());
        let mut command = Command::new(program);
        command
            .arg("__owner")
            .env("TEST_REPO", &repo)
            .env("TEST_DIR", &dir)
            .env("TEST_VIA", via)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        change(&mut command);
        let child = command.spawn().unwrap();
        soon("the owner has mounted", || repo.join("mounted").exists());
        assert_eq!(names(&dir).len(), 6);
        Self { child, dir, _session: session }
    }

    fn kill(&mut self) {
        kill(self.child.id());
        self.child.wait().unwrap();
    }
}

/// Where the tests run as root, an owner that may not mount can be made.
#[test]
fn a_user_who_may_not_mount_gets_copies() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    const NOBODY: u32 = 65_534;
    let mut owner = Owner::start_as("auto", |command| {
        command.uid(NOBODY).gid(NOBODY);
    });
    let fuse_is_closed = fs::metadata("/dev/fuse").map_or(true, |meta| meta.mode() & 0o006 != 0o006);
    if fuse_is_closed {
        assert!(!is_mounted(&owner.dir));
        assert_eq!(fs::read(owner.dir.join("a.txt")).unwrap(), b"first\n");
    }
    drop(owner.child.stdin.take());
    owner.child.wait().unwrap();
    assert!(!owner.dir.exists(), "its session ended in good order and left nothing");
}

#[test]
fn killing_the_owner_unmounts() {
    if !fuse_works() {
        return;
    }
    let mut owner = Owner::start();
    owner.kill();
    soon("the folder is free", || !is_mounted(&owner.dir));
    assert!(fs::read_dir(&owner.dir).unwrap().next().is_none());
}

#[test]
fn killing_owner_and_mount_process_unmounts_too() {
    if !fuse_works() {
        return;
    }
    let mut owner = Owner::start();
    // Stopped, the owner cannot clean up; only the watcher is left.
    signal(owner.child.id(), rustix::process::Signal::STOP);
    kill(children(owner.child.id())[0]);
    soon("the folder is free", || !is_mounted(&owner.dir));
    owner.kill();
    assert!(fs::read_dir(&owner.dir).unwrap().next().is_none());
}

/// Child processes of all threads of `pid`.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let found: Vec<u32> = tasks
        .filter_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok())
        .flat_map(|text| text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>())
        .collect();
    assert!(!found.is_empty(), "{pid} has no child");
    found
}

#[test]
fn a_dead_mount_left_over_is_taken_off_by_unmount_or_the_next_mount() {
    if !fuse_works() {
        return;
    }
    for unmount_first in [true, false] {
        // What the end of a whole container leaves: a mount without any process.
        let mut owner = Owner::start();
        signal(owner.child.id(), rustix::process::Signal::STOP);
        let process = children(owner.child.id())[0];
        kill(children(process)[0]);
        kill(process);
        owner.kill();
        soon("the mount is dead", || fs::symlink_metadata(&owner.dir).is_err());
        assert!(is_mounted(&owner.dir));
        let session = Session::new();
        let (repo, dir) = (session.repo("plain"), owner.dir.to_str().unwrap());
        if unmount_first {
            let outcome = session.unmount(dir).unwrap();
            assert!(outcome.summary.contains("whose mount process was gone"), "{outcome:?}");
            assert!(!is_mounted(&owner.dir) && session.unmount(dir).is_err());
        }
        session.mount(&repo, dir, "fuse").unwrap();
        assert_eq!(names(&owner.dir).len(), 6);
        assert!(!dds_mount::mount_point::reap(&owner.dir), "a living mount is not taken off");
    }
}

/// Prints the figure; asserts only that every byte is right.
#[test]
fn reading_in_order_through_the_mount_hides_latency() {
    for way in ways() {
        let session = Session::new();
        let repo = session.repo("grid");
        let start = Instant::now();
        session.mount(&repo, "data", way).unwrap();
        let mounted = start.elapsed();
        let expected = repo::repository("grid", &repo::commit("1"), "x");
        let start = Instant::now();
        let (mut count, mut first) = (0, Duration::ZERO);
        for class in names(&session.at("data")) {
            for name in names(&session.at("data").join(&class)) {
                let path = format!("{class}/{name}");
                let bytes = fs::read(session.at("data").join(&path)).unwrap();
                assert!(bytes == expected.bytes(&path), "{way} {path}");
                if count == 0 {
                    first = start.elapsed();
                }
                count += 1;
            }
        }
        let ours = start.elapsed();
        assert_eq!(count, 360);
        let floor = Instant::now();
        let (raw, all) = (repo::repository("grid", "1", "x"), expected.names());
        let next = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..memory::CONNECTIONS {
                scope.spawn(|| {
                    while let Some(name) = all.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                        raw.fetch(raw.bytes(name));
                    }
                });
            }
        });
        let floor = floor.elapsed();
        eprintln!(
            "{way}: mounted in {mounted:.2?}; 360 files in {ours:.2?} (first {first:.2?}), floor {floor:.2?}: {:.2} x",
            ours.as_secs_f64() / floor.as_secs_f64()
        );
    }
}

#[test]
fn an_interrupt_ends_a_mount_that_waits_and_leaves_nothing() {
    for way in ways() {
        let session = Session::new();
        let repo = session.repo("plain");
        session.cx.cancel.cancel();
        let error = session.mount(&repo, "data", way).unwrap_err();
        assert_eq!(error.kind, Kind::Interrupted, "{way}: {error}");
        assert!(!is_mounted(&session.at("data")) && !session.at("data").exists(), "{way}");
        session.cx.cancel.reset();
        session.mount(&repo, "data", way).unwrap();
    }
}

#[test]
fn an_order_can_be_told() {
    for way in ways() {
        let session = Session::new();
        session.mount(&session.repo("plain"), "data", way).unwrap();
        let order = ["empty", "a.txt"].map(|name| RepoPath::parse(name).unwrap());
        session.mounts.follow(&session.at("data"), &order).unwrap();
        // By the command: below a folder, absolute, and lines that name nothing.
        let list = session.at("list.txt");
        fs::write(&list, format!("a..b\n{}/a.txt\n\nno such\n/x\n", session.at("data").display())).unwrap();
        let order = |dir: &str, list: Option<&Path>, clear| {
            let list = list.map(|list| list.display().to_string());
            session.mounts.order(&rq::Order { dir: dir.into(), list, clear }, &session.cx)
        };
        let told = order("data/dir one", Some(&list), false);
        match way {
            "fuse" => {
                let told = told.unwrap().json;
                assert_eq!((&told["files"], &told["unknown"]), (&json!(2), &json!(2)), "{told:?}");
                let nothing = order("data", Some(&session.at("data/a.txt")), false);
                assert!(nothing.unwrap_err().message.contains("none of the 1 line"));
                assert!(order("data", None, true).unwrap().summary.contains("no order"));
            }
            "copy" => assert!(told.unwrap().summary.contains("already")),
            _ => assert_eq!(told.unwrap_err().kind, Kind::Usage),
        }
        assert_eq!(order("data", None, false).unwrap_err().kind, Kind::Usage);
        assert_eq!(order("elsewhere", Some(&list), false).unwrap_err().kind, Kind::NotFound);
    }
}

#[test]
fn an_interrupt_while_the_mount_process_lists_is_answered_at_once() {
    if !fuse_works() {
        return;
    }
    for kind in ["listless", "deaf"] {
        let session = Session::new();
        let repo = session.repo(kind);
        let error = std::thread::scope(|scope| {
            let mounting = scope.spawn(|| session.mount(&repo, "data", "fuse").unwrap_err());
            soon("the mount process lists", || repo.join("listing").exists());
            session.cx.cancel.cancel();
            // Well below what asking a process that hears nothing takes; on an idle machine 0.2 s.
            let deadline = Instant::now() + Duration::from_secs(4);
            while !mounting.is_finished() {
                assert!(Instant::now() < deadline, "{kind}: no answer");
                std::thread::sleep(Duration::from_millis(5));
            }
            mounting.join().unwrap()
        });
        assert_eq!(error.kind, Kind::Interrupted, "{kind}: {error}");
        assert!(!is_mounted(&session.at("data")) && !session.at("data").exists(), "{kind}");
    }
}

#[test]
fn ordinary_programs_ask_nothing_that_is_logged() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let log_file = session::log_of(std::process::id());
    fs::write(&log_file, "").unwrap();
    session.mount(&session.repo("plain"), "data", "fuse").unwrap();
    let script = "cat data/a.txt data/big.bin && cp data/big.bin copy && cp -a data copies && ls -laR data \
        && test -r data/a.txt && sync data/a.txt; \
        ! command -v python3 || python3 -c 'import os
f = open(\"data/a.txt\"); f.isatty(); f.read(); os.access(f.name, 4); f.close(); os.listxattr(f.name)'";
    let output = Command::new("sh").args(["-c", script]).current_dir(&session.root).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || told.contains("not supported"), "{told}");
    assert_eq!(fs::read(session.at("copies/a.txt")).unwrap(), b"first\n");
    let log = fs::read_to_string(&log_file).unwrap();
    fs::remove_file(&log_file).unwrap();
    assert!(log.contains("listening"), "{log}");
    assert!(!log.contains("Not Implemented"), "{log}");
}
