use super::*;
use crate::repository::Repository;
use std::process::Command;

fn files(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        let at = dir.path().join(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, format!("content of {name}")).unwrap();
    }
    dir
}

fn options(remote: &Path) -> Options {
    Options {
        folder: Some(RepoPath::parse("data/set").unwrap()),
        remote: Some(remote.to_owned()),
        ..Options::default()
    }
}

#[test]
fn a_folder_becomes_a_repository_that_git_finds_clean() {
    let names = ["animals/a b.jpg", "Größe 1/ü.png", "a..b/x.jpg", "top.jpg"];
    let from = files(&names);
    let home = tempfile::tempdir().unwrap();
    let repo = home.path().join("repo");
    let cx = Cx::silent(home.path());
    let created = git_dvc_repo(from.path(), &repo, &options(Path::new("remote")), &cx).unwrap();
    assert_eq!(created.files, 4);
    let status = Command::new("git").args(["status", "--porcelain"]).current_dir(&repo).output().unwrap();
    assert!(status.status.success());
    assert_eq!(String::from_utf8_lossy(&status.stdout), "");
    for name in names {
        assert_eq!(
            fs::read_to_string(repo.join("data/set").join(name)).unwrap(),
            format!("content of {name}")
        );
    }
    let r = Repository::open(&repo).unwrap();
    let rev = r.resolve(None).unwrap();
    assert_eq!(rev.branch.as_deref(), Some("main"));
    let snapshot = r.snapshot(rev.commit).unwrap();
    let listed = snapshot.list(&RepoPath::parse("data/set").unwrap(), true).unwrap();
    let mut want: Vec<String> = names.iter().map(|n| format!("data/set/{n}")).collect();
    want.sort();
    assert_eq!(listed.iter().map(|e| e.path.to_string()).collect::<Vec<_>>(), want);
    // The remote alone serves it: a clone without a cache can be read.
    fs::remove_dir_all(repo.join(".dvc/cache")).unwrap();
    let path = RepoPath::parse("data/set/top.jpg").unwrap();
    let bytes = r.read(&path, snapshot.get(&path).unwrap()).unwrap();
    assert_eq!(&bytes[..], b"content of top.jpg");
}

#[test]
fn refuses_links_and_used_folders_and_leaves_nothing() {
    let from = files(&["a.jpg"]);
    std::os::unix::fs::symlink("/etc/passwd", from.path().join("link.jpg")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let cx = Cx::silent(home.path());
    let repo = home.path().join("repo");
    let e = git_dvc_repo(from.path(), &repo, &options(&home.path().join("r")), &cx).unwrap_err();
    assert!(e.kind == Kind::Format && e.message.contains("link.jpg"), "{e}");
    assert!(!repo.exists());
    let e = git_dvc_repo(from.path(), from.path(), &options(&home.path().join("r")), &cx).unwrap_err();
    assert_eq!(e.kind, Kind::Conflict);
    assert!(from.path().join("a.jpg").exists());
}
