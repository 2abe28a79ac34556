//! Written mounts: what programs write is staged, survives every end of the mount, and becomes a commit.

#[path = "support/memory.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod memory;
#[path = "support/repo.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod repo;
#[path = "support/session.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod session;

use dds_core::engine::MountEngine;
use dds_core::request as rq;
use dds_core::{Error, Kind, Outcome};
use dds_data::{ServeOptions, Server, create};
use session::{Session, fuse_works, names, soon};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
#[expect(non_snake_case, reason = "the name holds the role, by which the harness finds it")]
fn played_as__mount() {
    session::play_mount_process();
}

fn git(repo: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
        .args(args)
        .current_dir(repo)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

struct Served {
    repo: PathBuf,
    server: Server,
}

/// A repository with a DVC folder `images` and two files of Git, served.
fn serve(session: &Session) -> Served {
    let (files, repo) = (session.at("images"), session.at("art"));
    for i in 0..6 {
        let class = files.join(format!("class {}", i / 3));
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join(format!("{i}.bin")), memory::noise(2_000 + i, i as u64 + 1)).unwrap();
    }
    let text = |name: &str, text: &str| (dds_core::RepoPath::parse(name).unwrap(), text.to_owned());
    let git_files = vec![text("README.md", "# Art\n"), text("notes/a.txt", "a\n")];
    let options = create::Options { git_files, ..Default::default() };
    create::git_dvc_repo(&files, &repo, &options, &session.cx).unwrap();
    let options = ServeOptions {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        token: None,
        read_only: false,
        access_log: None,
    };
    Served { server: Server::start(&repo, options, &session.cx).unwrap(), repo }
}

fn mount(session: &Session, url: &str, dir: &str) -> Outcome {
    let request = rq::Mount { url: url.into(), dir: dir.into(), via: "fuse".into(), ..Default::default() };
    session.mounts.mount(&request, &session.cx).unwrap()
}

fn commit(session: &Session, more: rq::Commit) -> Result<Outcome, Error> {
    session.mounts.commit(&rq::Commit { message: Some("Mine".into()), ..more }, &session.cx)
}

fn changes(outcome: &Outcome) -> Vec<(String, String)> {
    let files = outcome.json["mounts"][0]["files"].as_array().cloned().unwrap_or_default();
    let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
    files.iter().map(|f| (text(&f["change"]), text(&f["path"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn files_and_folders_are_written_like_any_others() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let repo = session.repo("plain");
    session.mount(&repo, "data", "fuse").unwrap();
    let dir = session.at("data");

    // In place, in a small and in a large file of the repository; the rest of it stays.
    let expected = repo::repository("plain", &repo::commit("1"), "x");
    for name in ["dir one/ü b.bin", "big.bin"] {
        let mut bytes = expected.bytes(name).to_vec();
        let at = bytes.len() as u64 - 70;
        let file = OpenOptions::new().read(true).write(true).open(dir.join(name)).unwrap();
        let before = File::open(dir.join(name)).unwrap();
        file.write_all_at(b"in the middle", at).unwrap();
        bytes[at as usize..at as usize + 13].copy_from_slice(b"in the middle");
        assert!(fs::read(dir.join(name)).unwrap() == bytes, "{name}");
        // Who had it open before sees the same.
        let mut seen = vec![0; 13];
        before.read_exact_at(&mut seen, at).unwrap();
        assert_eq!(seen, b"in the middle");
        let ino = before.metadata().unwrap().ino();
        assert_eq!(ino, fs::metadata(dir.join(name)).unwrap().ino(), "the number stays");
    }
    // Longer, shorter, longer with a hole, at the end, and from nothing.
    let file = OpenOptions::new().read(true).write(true).open(dir.join("a.txt")).unwrap();
    file.set_len(3).unwrap();
    file.set_len(5).unwrap();
    assert_eq!(fs::read(dir.join("a.txt")).unwrap(), b"fir\0\0");
    let mut end = OpenOptions::new().append(true).open(dir.join("a.txt")).unwrap();
    end.write_all(b"end").unwrap();
    drop(end);
    assert_eq!(fs::read(dir.join("a.txt")).unwrap(), b"fir\0\0end");
    fs::write(dir.join("a.txt"), "anew").unwrap();
    assert_eq!(fs::read(dir.join("a.txt")).unwrap(), b"anew");
    assert!(OpenOptions::new().write(true).create_new(true).open(dir.join("a.txt")).is_err());
    // A folder of the repository under another name, with what was changed in it.
    fs::rename(dir.join("dir one"), dir.join("dir two")).unwrap();
    assert_eq!(names(&dir.join("dir two")), ["a..b", "ü b.bin"]);
    assert_eq!(fs::read(dir.join("dir two/a..b")).unwrap(), expected.bytes("dir one/a..b"));
    fs::create_dir(dir.join("dir one")).unwrap();
    assert_eq!(names(&dir.join("dir one")), [""; 0], "a new folder of an old name is empty");
    let full = fs::remove_dir(dir.join("dir two")).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::DirectoryNotEmpty);
    let full = fs::rename(dir.join("deep"), dir.join("dir two")).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::DirectoryNotEmpty);
    fs::rename(dir.join("deep"), dir.join("dir one")).unwrap();
    assert_eq!(names(&dir.join("dir one")), ["x"]);
    fs::remove_dir_all(dir.join("dir one")).unwrap();
    // Removed and still open.
    let mut open = OpenOptions::new().read(true).write(true).open(dir.join("old.txt")).unwrap();
    fs::remove_file(dir.join("old.txt")).unwrap();
    open.write_all(b"OLD").unwrap();
    let mut text = String::new();
    open.seek(SeekFrom::Start(0)).unwrap();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "OLD\n");
    assert_eq!(open.metadata().unwrap().len(), 4);
    // The mark of a program.
    fs::write(dir.join("run.sh"), "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(dir.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(Command::new(dir.join("run.sh")).output().unwrap().stdout, b"ran\n");
    for bad in [".git", ".GIT", "a\\b"] {
        assert!(fs::write(dir.join(bad), "x").is_err(), "{bad}");
        assert!(fs::create_dir(dir.join(bad)).is_err(), "{bad}");
    }
    let when = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    File::options().write(true).open(dir.join("run.sh")).unwrap().set_modified(when).unwrap();
    assert_eq!(fs::metadata(dir.join("run.sh")).unwrap().modified().unwrap(), when);

    let expected = [
        ("changed", "a.txt"),
        ("changed", "big.bin"),
        ("removed", "deep/x/y/z 'quoted' \"\t.txt"),
        ("renamed", "dir two/a..b"),
        ("removed", "dir one/ü b.bin"),
        ("added", "dir two/ü b.bin"),
        ("removed", "old.txt"),
        ("added", "run.sh"),
    ];
    let mut found = changes(&session.status("data"));
    found.sort();
    let mut expected = pairs(&expected);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn what_is_staged_outlives_the_mount_process() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let repo = session.repo("plain");
    session.mount(&repo, "data", "fuse").unwrap();
    let dir = session.at("data");
    fs::write(dir.join("new.txt"), "written\n").unwrap();
    fs::rename(dir.join("dir one"), dir.join("two")).unwrap();
    let mut open = File::create(dir.join("open.txt")).unwrap();
    open.write_all(b"no goodbye").unwrap();
    let mount = session.mounts.table().at(&dir).unwrap();
    let dds_mount::table::Way::Fuse(process) = &mount.way else { panic!() };
    let pid = rustix::process::Pid::from_raw(process.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    soon("the dead mount is gone", || !session::is_mounted(&dir));
    let left = session.unmount("data").unwrap();
    assert!(left.summary.contains("not committed yet") && left.json["staged"] != 0, "{left:?}");
    // Not in the folder, not in the repository: in the staging area, which is its owner's alone.
    assert!(session.mounts.status(&rq::Status::default(), &session.cx).unwrap().detail.contains("mount "));
    let again = session.mount(&repo, "elsewhere", "fuse").unwrap();
    assert!(again.summary.contains("earlier mount"), "{again:?}");
    let dir = session.at("elsewhere");
    assert_eq!(fs::read(dir.join("new.txt")).unwrap(), b"written\n");
    assert_eq!(fs::read(dir.join("open.txt")).unwrap(), b"no goodbye");
    assert_eq!(names(&dir.join("two")), ["a..b", "ü b.bin"]);
    assert_eq!(fs::read(dir.join("two/ü b.bin")).unwrap().len(), 300_000);
    assert!(!dir.join("dir one").exists());
}

#[test]
fn a_file_that_cannot_be_fetched_whole_is_not_changed() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let repo = session.repo("damaged");
    session.mount(&repo, "data", "fuse").unwrap();
    let damaged = session.at("data/dir one/ü b.bin");
    let file = OpenOptions::new().write(true).open(&damaged).unwrap();
    let refused = file.write_at(b"x", 5).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    assert_eq!(session.status("data").summary, "nothing is staged");
    soon("a note about it", || !session.mounts.problems(&session.at("data")).unwrap().is_empty());
    // To replace it, nothing of it is needed.
    fs::write(&damaged, "mended").unwrap();
    assert_eq!(fs::read(&damaged).unwrap(), b"mended");
    assert_eq!(changes(&session.status("data")), pairs(&[("changed", "dir one/ü b.bin")]));
}

#[test]
fn a_commit_brings_everything_into_the_repository_and_the_folder_shows_it() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let served = serve(&session);
    let url = served.server.repo_url();
    mount(&session, &url, "data");
    mount(&session, &url, "other");
    let dir = session.at("data");
    fs::write(dir.join("README.md"), "# Changed\n").unwrap();
    fs::write(dir.join("images/class 0/0.bin"), "new bytes").unwrap();
    fs::remove_file(dir.join("images/class 1/3.bin")).unwrap();
    fs::rename(dir.join("images/class 0/1.bin"), dir.join("images/class 1/one.bin")).unwrap();
    fs::create_dir_all(dir.join("more/deep")).unwrap();
    for i in 0..3 {
        fs::write(dir.join(format!("more/deep/{i}.jpg")), memory::noise(500, 90 + i)).unwrap();
    }
    fs::rename(dir.join("notes/a.txt"), dir.join("notes/b.txt")).unwrap();
    fs::write(dir.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(dir.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let before = git(&served.repo, &["rev-parse", "HEAD"]);

    let done = commit(&session, rq::Commit::default()).unwrap();
    assert!(done.summary.starts_with("committed 4 added, 2 changed, 1 removed, 2 renamed"), "{done:?}");
    assert_eq!(done.json["commit"].as_str().unwrap(), git(&served.repo, &["rev-parse", "HEAD"]));
    assert_eq!(git(&served.repo, &["rev-list", "--count", &format!("{before}..HEAD")]), "1");
    assert_eq!(git(&served.repo, &["status", "--porcelain"]), "", "the clone beside is up to date");
    let kept = git(&served.repo, &["ls-tree", "-r", "HEAD"]);
    assert!(kept.contains("100755") && kept.contains("run.sh") && !kept.contains("notes/a.txt"), "{kept}");
    assert!(
        kept.contains("more.dvc") && !kept.contains("0.jpg"),
        "a new folder of data is one output: {kept}"
    );
    assert_eq!(names(&served.repo.join("images/class 0")), ["0.bin", "2.bin"]);

    assert_eq!(session.status("data").summary, "nothing is staged");
    // A second mount of the branch in the session follows; one made now shows the same.
    mount(&session, &url, "third");
    for dir in ["data", "other", "third"].map(|dir| session.at(dir)) {
        assert_eq!(fs::read(dir.join("README.md")).unwrap(), b"# Changed\n");
        assert_eq!(fs::read(dir.join("images/class 0/0.bin")).unwrap(), b"new bytes");
        assert_eq!(names(&dir.join("images/class 1")), ["4.bin", "5.bin", "one.bin"]);
        assert_eq!(names(&dir.join("more/deep")), ["0.jpg", "1.jpg", "2.jpg"]);
        assert_eq!(names(&dir.join("notes")), ["b.txt"]);
    }
    let nothing = commit(&session, rq::Commit { dir: "data".into(), ..Default::default() }).unwrap();
    assert!(nothing.summary.starts_with("nothing to commit"), "{nothing:?}");
    // The folder goes on: what is written now is a change of the new commit.
    fs::remove_dir_all(dir.join("more")).unwrap();
    fs::write(dir.join("README.md"), "# Again\n").unwrap();
    assert_eq!(session.status("data").json["mounts"][0]["files"].as_array().unwrap().len(), 4);
    commit(&session, rq::Commit { dir: "data".into(), ..Default::default() }).unwrap();
    let kept = git(&served.repo, &["ls-tree", "-r", "HEAD"]);
    assert!(!kept.contains("more.dvc") && !kept.contains("\t.gitignore\n/more"), "{kept}");
    assert!(!session.at("other/more").exists());
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().mode() & 0o777
}

#[test]
fn programs_are_programs_also_after_a_commit() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let served = serve(&session);
    fs::write(served.repo.join("run.sh"), "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(served.repo.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    git(&served.repo, &["add", "run.sh"]);
    git(&served.repo, &["commit", "-qm", "a program"]);
    let url = served.server.repo_url();
    mount(&session, &url, "data");
    let dir = session.at("data");
    assert_eq!((mode(&dir.join("run.sh")), mode(&dir.join("README.md"))), (0o755, 0o644));
    assert_eq!(Command::new(dir.join("run.sh")).output().unwrap().stdout, b"ran\n");
    let pinned = format!("{url}@{}", git(&served.repo, &["rev-parse", "HEAD"]));
    mount(&session, &pinned, "pinned");
    assert_eq!(mode(&session.at("pinned/run.sh")), 0o555);
    let request = rq::Mount { url: pinned, dir: "copies".into(), via: "copy".into(), ..Default::default() };
    session.mounts.mount(&request, &session.cx).unwrap();
    assert_eq!((mode(&session.at("copies/run.sh")), mode(&session.at("copies/README.md"))), (0o555, 0o444));

    // There and back is no change.
    let set =
        |name: &str, mode| fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
    set("run.sh", 0o644);
    assert_eq!(mode(&dir.join("run.sh")), 0o644);
    set("run.sh", 0o755);
    assert_eq!(changes(&session.status("data")), []);
    // A mark, and a program that is renamed and written.
    set("notes/a.txt", 0o755);
    fs::rename(dir.join("run.sh"), dir.join("go.sh")).unwrap();
    assert_eq!(mode(&dir.join("go.sh")), 0o755);
    OpenOptions::new().append(true).open(dir.join("go.sh")).unwrap().write_all(b"echo more\n").unwrap();
    assert_eq!(mode(&dir.join("go.sh")), 0o755);
    commit(&session, rq::Commit { dir: "data".into(), ..Default::default() }).unwrap();
    let kept = git(&served.repo, &["ls-tree", "-r", "HEAD", "go.sh", "notes/a.txt"]);
    assert_eq!(kept.matches("100755").count(), 2, "{kept}");
    mount(&session, &url, "again");
    for at in ["data", "again"].map(|name| session.at(name)) {
        assert_eq!((mode(&at.join("go.sh")), mode(&at.join("notes/a.txt"))), (0o755, 0o755));
        assert_eq!(Command::new(at.join("go.sh")).output().unwrap().stdout, b"ran\nmore\n");
    }
    assert_eq!(session.status("data").summary, "nothing is staged");
    // And taken away.
    set("go.sh", 0o644);
    commit(&session, rq::Commit { dir: "data".into(), ..Default::default() }).unwrap();
    assert_eq!(mode(&dir.join("go.sh")), 0o644);
    assert!(git(&served.repo, &["ls-tree", "HEAD", "go.sh"]).starts_with("100644"));
}

#[test]
fn what_is_discarded_is_the_repositorys_again() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let served = serve(&session);
    mount(&session, &served.server.repo_url(), "data");
    let dir = session.at("data");
    let discard = |files: &[&str], all: bool| {
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        session.mounts.discard(&rq::Discard { files, all }, &session.cx)
    };
    fs::write(dir.join("README.md"), "other words, and more of them\n").unwrap();
    fs::rename(dir.join("images/class 0"), dir.join("images/renamed")).unwrap();
    fs::write(dir.join("images/renamed/new.txt"), "new").unwrap();
    fs::remove_file(dir.join("notes/a.txt")).unwrap();
    let (mut open, mut seen) = (File::open(dir.join("README.md")).unwrap(), [0; 5]);
    open.read_exact(&mut seen).unwrap();
    discard(&["data/README.md"], false).unwrap();
    // Whole and small parts, through the system's memory of the file.
    assert_eq!(fs::read(dir.join("README.md")).unwrap(), b"# Art\n");
    assert_eq!(fs::metadata(dir.join("README.md")).unwrap().len(), 6);
    let mut rest = String::new();
    open.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, " words, and more of them\n", "who has it open reads on");
    assert_eq!(fs::read(dir.join("README.md")).unwrap(), b"# Art\n");
    // By the name that a folder had; what is new in it stays.
    let done = discard(&["data/images/class 0"], false).unwrap();
    assert!(done.summary.contains("3 renamed"), "{done:?}");
    assert_eq!(names(&dir.join("images/class 0")), ["0.bin", "1.bin", "2.bin"]);
    assert_eq!(names(&dir.join("images/renamed")), ["new.txt"]);
    assert!(fs::read(dir.join("images/class 0/0.bin")).unwrap() == memory::noise(2_000, 1));
    let left = pairs(&[("added", "images/renamed/new.txt"), ("removed", "notes/a.txt")]);
    assert_eq!(changes(&session.status("data")), left);
    // Refused: what is not staged, what is the whole.
    for (files, why) in [(&["data/README.md"][..], "nothing is staged"), (&["data"], "whole"), (&[], "what")]
    {
        let e = discard(files, false).unwrap_err();
        assert!(e.kind == Kind::Usage && e.message.contains(why) && e.hint.is_some(), "{e}");
    }
    assert_eq!(changes(&session.status("data")), left);
    session.mounts.unmount(&rq::Unmount { dir: "data".into() }, &session.cx).unwrap();
    mount(&session, &served.server.repo_url(), "data");
    assert_eq!(changes(&session.status("data")), left);
    let mut open =
        OpenOptions::new().read(true).append(true).open(dir.join("images/renamed/new.txt")).unwrap();
    discard(&[], true).unwrap();
    // As with a removed file, who has it open goes on in it.
    open.write_all(b" and more").unwrap();
    assert_eq!(text_of(&open), "new and more");
    assert_eq!(fs::read(dir.join("notes/a.txt")).unwrap(), b"a\n");
    assert_eq!(names(&dir.join("images")), ["class 0", "class 1"]);
    assert_eq!(session.status("data").summary, "nothing is staged");
}

#[test]
fn others_changes_are_shown_and_never_overwritten() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let served = serve(&session);
    mount(&session, &served.server.repo_url(), "data");
    let dir = session.at("data");
    fs::write(dir.join("README.md"), "# Mine\n").unwrap();
    fs::write(dir.join("mine.txt"), "mine\n").unwrap();
    let push = |name: &str, text: &str| {
        fs::write(served.repo.join(name), text).unwrap();
        git(&served.repo, &["add", "-A"]);
        git(&served.repo, &["commit", "-q", "-m", name]);
    };
    // Another file: only with consent.
    push("theirs.txt", "theirs\n");
    let moved = commit(&session, rq::Commit::default()).unwrap_err();
    assert!(moved.kind == Kind::Conflict && moved.message.contains("theirs.txt"), "{moved}");
    assert!(moved.hint.as_ref().unwrap().contains("--rebase"), "{moved:?}");
    assert!(moved.hint.unwrap().contains("still staged"));
    // The same file: never, but on a branch of its own.
    push("README.md", "# Theirs\n");
    let clash = commit(&session, rq::Commit { rebase: true, ..Default::default() }).unwrap_err();
    assert!(clash.kind == Kind::Conflict && clash.message.contains("README.md"), "{clash}");
    assert_eq!(changes(&session.status("data")).len(), 2, "nothing is lost");
    assert_eq!(fs::read(served.repo.join("README.md")).unwrap(), b"# Theirs\n");
    let aside = rq::Commit { new_branch: Some("mine".into()), ..Default::default() };
    let done = commit(&session, aside).unwrap();
    assert_eq!(done.json["branch"], "mine");
    assert_eq!(git(&served.repo, &["show", "mine:README.md"]), "# Mine");
    assert_eq!(git(&served.repo, &["show", "main:README.md"]), "# Theirs");
    // The folder follows the branch that it was committed to.
    assert_eq!(session.status("data").summary, "nothing is staged");
    assert_eq!(fs::read(dir.join("README.md")).unwrap(), b"# Mine\n");
    assert!(!dir.join("theirs.txt").exists());
    fs::write(dir.join("mine.txt"), "more\n").unwrap();
    let done = commit(&session, rq::Commit::default()).unwrap();
    assert_eq!(done.json["branch"], "mine");
    assert_eq!(git(&served.repo, &["show", "mine:mine.txt"]), "more");
}

/// Makes the kernel ask again.
fn drop_pages(file: &File) {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

fn text_of(file: &File) -> String {
    drop_pages(file);
    let mut bytes = vec![0; 100];
    let n = file.read_at(&mut bytes, 0).unwrap();
    String::from_utf8(bytes[..n].to_vec()).unwrap()
}

/// The kernel tells neither when a file is opened nor when it is closed.
#[test]
fn who_has_a_file_open_keeps_its_bytes_whatever_becomes_of_its_name() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let served = serve(&session);
    mount(&session, &served.server.repo_url(), "data");
    let dir = session.at("data");
    let readme = dir.join("README.md");
    // The repository's bytes, then written ones, of files that are removed or replaced.
    let plain = File::open(&readme).unwrap();
    fs::write(dir.join("new.tmp"), "by rename").unwrap();
    fs::rename(dir.join("new.tmp"), &readme).unwrap();
    let renamed = File::open(&readme).unwrap();
    fs::remove_file(&readme).unwrap();
    fs::write(&readme, "again").unwrap();
    let mut again = OpenOptions::new().read(true).write(true).open(&readme).unwrap();
    for _ in 0..2 {
        assert_eq!(text_of(&plain), "# Art\n");
        assert_eq!(text_of(&renamed), "by rename");
        assert_eq!(text_of(&again), "again");
        assert_eq!(fs::read_to_string(&readme).unwrap(), "again");
    }
    // Committed: the same for readers, and a writer goes on where it was.
    fs::write(dir.join("notes/a.txt"), "changed\n").unwrap();
    let changed = File::open(dir.join("notes/a.txt")).unwrap();
    let mut gone = OpenOptions::new().read(true).write(true).open(dir.join("notes/a.txt")).unwrap();
    commit(&session, rq::Commit::default()).unwrap();
    assert_eq!(session.status("data").summary, "nothing is staged");
    for (file, text) in
        [(&plain, "# Art\n"), (&renamed, "by rename"), (&again, "again"), (&changed, "changed\n")]
    {
        assert_eq!(text_of(file), text);
    }
    again.seek(SeekFrom::End(0)).unwrap();
    again.write_all(b" and again").unwrap();
    assert_eq!(text_of(&again), "again and again");
    assert_eq!(fs::read_to_string(&readme).unwrap(), "again and again");
    assert_eq!(changes(&session.status("data")), pairs(&[("changed", "README.md")]));
    // Removed afterwards: as any other file.
    fs::remove_file(dir.join("notes/a.txt")).unwrap();
    gone.write_all(b"C").unwrap();
    assert_eq!(text_of(&changed), "Changed\n");
    commit(&session, rq::Commit::default()).unwrap();
    assert_eq!(fs::read_to_string(served.repo.join("README.md")).unwrap(), "again and again");
    assert!(!served.repo.join("notes/a.txt").exists());
}

#[test]
fn the_room_of_a_removed_file_is_free_once_nobody_has_it_open() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    session.mount(&session.repo("plain"), "data", "fuse").unwrap();
    let (dir, stage) = (session.at("data"), session.at("data-home/staged"));
    for n in 0..200 {
        fs::write(dir.join(format!("{n}")), vec![7; 10_000]).unwrap();
    }
    let held = File::open(dir.join("0")).unwrap();
    for n in 0..200 {
        fs::remove_file(dir.join(format!("{n}"))).unwrap();
    }
    assert_eq!(text_of(&held).len(), 100);
    soon("the others are gone", || staged_files(&stage) == 1);
    drop(held);
    soon("the last one is gone", || staged_files(&stage) == 0);
    // The same for what is discarded, which programs see without its number.
    for n in 0..200 {
        fs::write(dir.join(format!("{n}")), vec![7; 10_000]).unwrap();
    }
    let held = File::open(dir.join("7")).unwrap();
    session.mounts.discard(&rq::Discard { files: vec!["data".into()], all: true }, &session.cx).unwrap();
    assert_eq!(text_of(&held).len(), 100);
    soon("the others are gone", || staged_files(&stage) == 1);
    drop(held);
    soon("the last one is gone", || staged_files(&stage) == 0);
}

/// Files with bytes in all staging areas below a folder.
fn staged_files(home: &Path) -> usize {
    let below = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let areas = below(home.to_owned()).flat_map(below);
    areas.flat_map(|area| below(area.join("files"))).count()
}

/// One that was opened before a commit, and one after it.
#[test]
fn two_writers_of_a_file_meet_across_a_commit() {
    if !fuse_works() {
        return;
    }
    for first in [0, 1] {
        let session = Session::new();
        let served = serve(&session);
        mount(&session, &served.server.repo_url(), "data");
        let log = session.at("data/log.txt");
        fs::write(&log, "zero\n").unwrap();
        let open = || OpenOptions::new().append(true).read(true).open(&log).unwrap();
        let before = open();
        commit(&session, rq::Commit::default()).unwrap();
        let after = open();
        assert_eq!(before.metadata().unwrap().ino(), after.metadata().unwrap().ino());
        let mut writers = [before, after];
        writers[first].write_all(b"one\n").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "zero\none\n");
        writers[1 - first].write_all(b"two\n").unwrap_or_else(|e| panic!("{first}: {e}"));
        assert_eq!(fs::read_to_string(&log).unwrap(), "zero\none\ntwo\n");
        assert_eq!(changes(&session.status("data")), pairs(&[("changed", "log.txt")]));
        commit(&session, rq::Commit::default()).unwrap();
        assert_eq!(git(&served.repo, &["show", "HEAD:log.txt"]), "zero\none\ntwo", "{first}");
        assert_eq!(session.status("data").summary, "nothing is staged");
    }
}

#[test]
fn a_commit_goes_on_top_of_others_files() {
    if !fuse_works() {
        return;
    }
    let session = Session::new();
    let served = serve(&session);
    mount(&session, &served.server.repo_url(), "data");
    let dir = session.at("data");
    fs::write(dir.join("mine.txt"), "mine\n").unwrap();
    fs::remove_file(dir.join("images/class 0/0.bin")).unwrap();
    fs::write(served.repo.join("theirs.txt"), "theirs\n").unwrap();
    git(&served.repo, &["add", "-A"]);
    git(&served.repo, &["commit", "-q", "-m", "theirs"]);
    // A file that stays open for writing is committed as it is, and what comes after stays staged.
    let mut log = File::create(dir.join("log.txt")).unwrap();
    log.write_all(b"one\n").unwrap();
    commit(&session, rq::Commit { rebase: true, ..Default::default() }).unwrap();
    assert_eq!(names(&dir.join("images/class 0")), ["1.bin", "2.bin"]);
    for (name, text) in [("mine.txt", "mine\n"), ("theirs.txt", "theirs\n"), ("log.txt", "one\n")] {
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), text);
        assert_eq!(fs::read_to_string(served.repo.join(name)).unwrap(), text);
    }
    assert_eq!(session.status("data").summary, "nothing is staged");
    log.write_all(b"two\n").unwrap();
    assert_eq!(changes(&session.status("data")), pairs(&[("changed", "log.txt")]));
    drop(log);
    assert_eq!(fs::read(dir.join("log.txt")).unwrap(), b"one\ntwo\n");
}
