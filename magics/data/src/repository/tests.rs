use super::*;
use crate::store::BlobStore;
use crate::testing::{git, path, write};
use dds_core::Versioning;

fn commit(dir: &Path) {
    git(dir, &["add", "-A", "-f", "--", ":!.dvc/cache", ":!.dvc/tmp"]);
    git(dir, &["commit", "-qm", "x"]);
}

fn empty() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "-b", "main"]);
    dir
}

fn snapshot(dir: &Path) -> (Repository, Arc<Snapshot>) {
    let repository = Repository::open(dir).unwrap();
    let commit = repository.resolve(None).unwrap().commit;
    let snapshot = repository.snapshot(commit).unwrap();
    (repository, snapshot)
}

/// An object in the layout of DVC 1 and 2.
fn put_old(dir: &Path, digest: &str, bytes: &[u8]) {
    write(&dir.join(".dvc/cache").join(&digest[..2]).join(&digest[2..]), bytes);
}

#[test]
fn repositories_of_dvc_2_are_read() {
    let dir = empty();
    // Text was hashed with Unix line ends; the object keeps its own.
    let text = hash::md5(b"one\ntwo\n").to_string();
    put_old(dir.path(), &text, b"one\r\ntwo\r\n");
    let manifest = format!("[{{\"md5\": \"{text}\", \"relpath\": \"sub/t.csv\"}}]");
    let folder = hash::md5_dir(manifest.as_bytes()).to_string();
    put_old(dir.path(), &folder, manifest.as_bytes());
    write(&dir.path().join("t.csv.dvc"), format!("outs:\n- md5: {text}\n  path: t.csv\n").as_bytes());
    write(&dir.path().join("set.dvc"), format!("outs:\n- md5: {folder}\n  path: set\n").as_bytes());
    commit(dir.path());
    let (repository, snapshot) = snapshot(dir.path());
    for name in ["t.csv", "set/sub/t.csv"] {
        let entry = snapshot.stat(&path(name)).unwrap();
        assert_eq!((entry.size, entry.versioning), (Some(10), Versioning::Dvc));
        assert_eq!(
            &repository.read(&path(name), snapshot.get(&path(name)).unwrap()).unwrap()[..],
            b"one\r\ntwo\r\n"
        );
    }
    put_old(dir.path(), &text, b"one\r\ntwX\r\n");
    let damaged = repository.read(&path("t.csv"), snapshot.get(&path("t.csv")).unwrap());
    assert_eq!(damaged.unwrap_err().kind, Kind::Corrupt);
}

#[test]
fn outputs_of_pipelines_are_files_too() {
    let dir = empty();
    let store = BlobStore::new(dir.path().join(".dvc/cache"));
    let digest = hash::md5(b"model");
    store.put(&digest, b"model").unwrap();
    let lock = format!(
        "schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - path: out/m.bin\n      hash: md5\n      md5: {digest}\n      size: 5\n"
    );
    write(&dir.path().join("dvc.lock"), lock.as_bytes());
    commit(dir.path());
    let (repository, snapshot) = snapshot(dir.path());
    let at = path("out/m.bin");
    assert_eq!(&repository.read(&at, snapshot.get(&at).unwrap()).unwrap()[..], b"model");
    assert_eq!(snapshot.list(&path("out"), false).unwrap().len(), 1);
    let mut writer = repository.stores().cache().writer().unwrap();
    writer.write(b"other").unwrap();
    let up = Upload {
        files: vec![NewFile { path: at, bytes: writer.stage() }],
        choice: Choice::Auto,
        summary: "replace".into(),
        branch: "main".into(),
        ..Upload::default()
    };
    let e = upload(&repository, up).unwrap_err();
    assert!(e.kind == Kind::Usage && e.message.contains("out/m.bin is made by a DVC pipeline"), "{e}");
}

#[test]
fn a_missing_manifest_spoils_its_own_folder_only() {
    let dir = empty();
    let digest = hash::md5_dir(b"[]");
    write(&dir.path().join("a/b.txt"), b"b");
    write(&dir.path().join("a/set.dvc"), crate::dvc::dvc_file::encode("set", &digest, 0, Some(0)).as_bytes());
    write(&dir.path().join(".dvc/config"), b"[core]\n remote = r\n['remote \"r\"']\n url = s3://bucket/x\n");
    commit(dir.path());
    let (repository, snapshot) = snapshot(dir.path());
    let names = |s: &Snapshot| {
        let list = s.list(&path("a"), false).unwrap();
        list.iter().map(|e| e.path.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&snapshot), ["b.txt", "set", "set.dvc"]);
    for (at, recursive) in [("a/set", false), ("a", true), ("", true)] {
        let e = snapshot.list(&path(at), recursive).unwrap_err();
        assert!(e.message.contains("a/set.dvc") && e.hint.as_deref().unwrap().contains("dvc fetch"), "{e:?}");
    }
    assert!(snapshot.stat(&path("a/set/x")).unwrap_err().message.contains("a/set.dvc"));
    // Fetched in the meantime, it is found without opening the repository again.
    repository.stores().cache().put(&digest, b"[]").unwrap();
    let later = repository.snapshot(repository.resolve(None).unwrap().commit).unwrap();
    assert_eq!(later.list(&path("a/set"), true).unwrap(), []);
    assert_eq!(names(&later), ["b.txt", "set", "set.dvc"]);
}

#[test]
fn what_git_has_wins_and_links_are_left_out() {
    let dir = empty();
    let store = BlobStore::new(dir.path().join(".dvc/cache"));
    let digest = hash::md5(b"dvc");
    store.put(&digest, b"dvc").unwrap();
    for (name, out) in [("one", "x.txt"), ("two", "x.txt/below"), ("three", "d")] {
        let text = crate::dvc::dvc_file::encode(out, &digest, 3, None);
        write(&dir.path().join(format!("{name}.dvc")), text.as_bytes());
    }
    write(&dir.path().join("x.txt"), b"git");
    write(&dir.path().join("d/y.txt"), b"y");
    std::os::unix::fs::symlink("x.txt", dir.path().join("link")).unwrap();
    commit(dir.path());
    let (repository, snapshot) = snapshot(dir.path());
    let all = snapshot.list(&RepoPath::root(), true).unwrap();
    let names: Vec<_> = all.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(names, ["d/y.txt", "one.dvc", "three.dvc", "two.dvc", "x.txt"]);
    assert_eq!(&repository.read(&path("x.txt"), snapshot.get(&path("x.txt")).unwrap()).unwrap()[..], b"git");
}

#[test]
fn one_level_is_listed_whatever_sorts_before_a_slash() {
    let dir = empty();
    for name in ["a/1", "a/2", "a-b/1", "a.b", "a b/x/y", "a0", "b"] {
        write(&dir.path().join(name), b"x");
    }
    commit(dir.path());
    let (_, snapshot) = snapshot(dir.path());
    let top = snapshot.list(&RepoPath::root(), false).unwrap();
    assert_eq!(
        top.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(),
        ["a", "a b", "a-b", "a.b", "a0", "b"]
    );
    let a = snapshot.list(&path("a"), true).unwrap();
    assert_eq!(a.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["a/1", "a/2"]);
}

const EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";

#[test]
fn what_dvcignore_names_declares_nothing() {
    let dir = empty();
    let text = format!("outs:\n- md5: {EMPTY}\n  hash: md5\n  path: x\n");
    for name in ["a/x.dvc", "b/x.dvc", "b/deep/x.dvc", "old/x.dvc"] {
        write(&dir.path().join(name), text.as_bytes());
    }
    write(&dir.path().join(".dvcignore"), b"# no longer\n/old\n");
    write(&dir.path().join("b/.dvcignore"), b"deep/*.dvc\n");
    commit(dir.path());
    let (_, snapshot) = snapshot(dir.path());
    let dvc = snapshot.list(&RepoPath::root(), true).unwrap();
    let dvc: Vec<_> =
        dvc.iter().filter(|e| e.versioning == Versioning::Dvc).map(|e| e.path.as_str()).collect();
    assert_eq!(dvc, ["a/x", "b/x"]);
}

#[test]
fn a_dvc_repository_inside_has_its_own_stores_and_ignores() {
    let dir = empty();
    let (outer, inner) = (hash::md5(b"outer"), hash::md5(b"inner"));
    BlobStore::new(dir.path().join(".dvc/cache")).put(&outer, b"outer").unwrap();
    BlobStore::new(dir.path().join("sub/store")).put(&inner, b"inner").unwrap();
    write(&dir.path().join(".dvc/config"), b"");
    write(&dir.path().join(".dvcignore"), b"sub\n");
    let config = "[core]\nremote = s\n['remote \"s\"']\nurl = ../store\n";
    write(&dir.path().join("sub/.dvc/config"), config.as_bytes());
    for (at, digest) in [("x", outer), ("sub/deep/y", inner)] {
        let name = at.rsplit('/').next().unwrap();
        let text = crate::dvc::dvc_file::encode(name, &digest, 5, None);
        write(&dir.path().join(format!("{at}.dvc")), text.as_bytes());
    }
    git(
        dir.path(),
        &["add", "-f", "x.dvc", ".dvc/config", ".dvcignore", "sub/.dvc/config", "sub/deep/y.dvc"],
    );
    git(dir.path(), &["commit", "-qm", "x"]);
    let (repository, snapshot) = snapshot(dir.path());
    for (at, content) in [("x", "outer"), ("sub/deep/y", "inner")] {
        let node = snapshot.get(&path(at)).unwrap();
        assert_eq!(&repository.read(&path(at), node).unwrap()[..], content.as_bytes());
    }
    assert_eq!(snapshot.dvc_root(&path("sub/deep/new")), path("sub"));
    let mut writer = repository.stores().cache().writer().unwrap();
    writer.write(b"other").unwrap();
    let up = Upload {
        files: vec![NewFile { path: path("sub/deep/y"), bytes: writer.stage() }],
        choice: Choice::Auto,
        summary: "replace".into(),
        branch: "main".into(),
        ..Upload::default()
    };
    let e = upload(&repository, up).unwrap_err();
    assert!(e.kind == Kind::Usage && e.message.contains("DVC repository in sub"), "{e}");
}

#[test]
fn imports_are_named_and_do_not_spoil_the_rest() {
    let dir = empty();
    let import = "deps:\n- path: data/set\n  repo:\n    url: https://h.example/reg.git\n    rev_lock: 0123456789abcdef0123456789abcdef01234567\n";
    let folder = format!("{import}outs:\n- md5: {EMPTY}.dir\n  hash: md5\n  path: set\n");
    let file = format!("{import}outs:\n- md5: {EMPTY}\n  hash: md5\n  path: one\n");
    write(&dir.path().join("set.dvc"), folder.as_bytes());
    write(&dir.path().join("one.dvc"), file.as_bytes());
    write(&dir.path().join("later.dvc"), format!("{import}outs:\n- path: later\n").as_bytes());
    write(&dir.path().join("README"), b"x");
    commit(dir.path());
    let (repository, snapshot) = snapshot(dir.path());
    let all = snapshot.list(&RepoPath::root(), true).unwrap();
    let all: Vec<_> = all.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(all, ["README", "later.dvc", "one", "one.dvc", "set.dvc"]);
    let top = snapshot.list(&RepoPath::root(), false).unwrap();
    assert!(top.iter().any(|e| e.path.as_str() == "set") && top.iter().any(|e| e.path.as_str() == "later"));
    let read = repository.read(&path("one"), snapshot.get(&path("one")).unwrap()).map(|_| Vec::new());
    for answer in [snapshot.list(&path("set"), true), snapshot.list(&path("later"), false), read] {
        let e = answer.unwrap_err();
        assert!(e.message.contains("https://h.example/reg.git@0123456789:data/set"), "{e}");
        assert!(e.hint.unwrap().contains("dvc pull"));
    }
    assert!(snapshot.stat(&path("set/x")).unwrap_err().message.contains("imported"));
}

#[test]
fn lists_in_place_need_no_manifest() {
    let dir = empty();
    let digest = hash::md5(b"abc");
    BlobStore::new(dir.path().join(".dvc/cache")).put(&digest, b"abc").unwrap();
    let text = format!(
        "outs:\n- path: set\n  hash: md5\n  files:\n  - relpath: a/b.txt\n    md5: {digest}\n    size: 3\n    cloud:\n      s:\n        version_id: v\n"
    );
    write(&dir.path().join("set.dvc"), text.as_bytes());
    commit(dir.path());
    let (repository, snapshot) = snapshot(dir.path());
    let entry = snapshot.stat(&path("set/a/b.txt")).unwrap();
    assert_eq!((entry.size, entry.digest), (Some(3), Some(digest)));
    let node = snapshot.get(&path("set/a/b.txt")).unwrap();
    assert_eq!(&repository.read(&path("set/a/b.txt"), node).unwrap()[..], b"abc");
}
