use super::*;
use crate::memory::{Memory, noise, path};
use std::fs;

fn fill(source: &Memory, dir: &Path) -> Result<Copies> {
    let cx = Cx::silent("/");
    let plan = Plan::new(source, &cx)?;
    Copies::fill(&plan, source, dir, &Streamed::default(), &cx)
}

fn left(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn copies_are_whole_read_only_and_go_away_again() {
    let dir = tempfile::tempdir().unwrap();
    let source =
        Memory::new("u@1", [("a", noise(10, 1)), ("ü 1/b..c/d", noise(70_000, 2)), ("ü 1/e", vec![])]);
    let copies = fill(&source, dir.path()).unwrap();
    for name in source.names() {
        let file = dir.path().join(&name);
        assert_eq!(fs::read(&file).unwrap(), source.bytes(&name));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o444, "{name}");
    }
    assert_eq!(copies.remove().unwrap(), Removed { removed: 3, kept: vec![] });
    assert!(left(dir.path()).is_empty());
}

#[test]
fn what_the_user_changed_or_added_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["a/changed", "a/replaced", "b/same", "c/gone", "c/same"];
    let source = Memory::new("u@1", names.map(|name| (name, noise(10, 1))));
    let copies = fill(&source, dir.path()).unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::set_permissions(at("a/changed"), Permissions::from_mode(0o644)).unwrap();
    // The same length and a modification time set back: still noticed.
    let before = fs::metadata(at("a/changed")).unwrap().modified().unwrap();
    fs::write(at("a/changed"), noise(10, 9)).unwrap();
    fs::File::options().write(true).open(at("a/changed")).unwrap().set_modified(before).unwrap();
    fs::write(at("mine"), "x").unwrap();
    fs::rename(at("mine"), at("a/replaced")).unwrap();
    fs::write(at("b/own"), "x").unwrap();
    fs::remove_file(at("c/gone")).unwrap();
    let outcome = copies.remove().unwrap();
    assert_eq!(outcome.removed, 2);
    assert_eq!(outcome.kept, [path("a/changed"), path("a/replaced")]);
    assert_eq!((left(dir.path()), left(&at("b"))), (vec!["a".into(), "b".into()], vec!["own".into()]));
}

#[test]
fn one_bad_file_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..50).map(|i| format!("d{}/{i}", i % 5)).collect();
    let files = names.iter().enumerate().map(|(i, name)| (name.as_str(), noise(100, i as u64)));
    let error = fill(&Memory::new("u@1", files).damage("d3/33"), dir.path()).err().unwrap();
    assert_eq!(error.kind, Kind::Corrupt);
    assert!(error.message.contains("d3/33"), "{error}");
    assert!(left(dir.path()).is_empty());
}

#[test]
fn the_limit_is_refused_before_anything_is_written() {
    struct Sized(u64);
    impl Source for Sized {
        fn id(&self) -> String {
            "u@1".into()
        }
        fn list(&self, _: &RepoPath, _: bool, _: &Cx) -> Result<Vec<Entry>> {
            let entry = |name: &str, size| Entry {
                path: path(name),
                kind: EntryKind::File,
                size,
                digest: None,
                versioning: dds_core::Versioning::Dvc,
                executable: false,
            };
            Ok(vec![entry("a", Some(self.0)), entry("b", None)])
        }
        fn stat(&self, at: &RepoPath, cx: &Cx) -> Result<Entry> {
            assert_eq!(at.as_str(), "b", "only what the listing did not tell");
            Ok(Entry { size: Some(1), ..self.list(at, true, cx)?.remove(1) })
        }
        fn read(&self, _: &RepoPath, _: &Cx) -> Result<Vec<u8>> {
            panic!("nothing is fetched")
        }
        fn read_range(&self, _: &RepoPath, _: std::ops::Range<u64>, _: &Cx) -> Result<Vec<u8>> {
            panic!("nothing is fetched")
        }
    }
    let cx = Cx::silent("/");
    assert_eq!(Plan::new(&Sized(MAX_COPY_BYTES - 1), &cx).unwrap().bytes, MAX_COPY_BYTES);
    let error = Plan::new(&Sized(MAX_COPY_BYTES), &cx).unwrap_err();
    assert_eq!(error.kind, Kind::Limit);
    assert_eq!(error.message, "2 files of 200 MB together are too much to copy; the limit is 200 MB");
    assert!(error.hint.unwrap().contains("dds clone"));
}

#[test]
fn hostile_names_are_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let error = fill(&Memory::new("u@1", [("a", vec![1]), (".git/hooks/pre-commit", vec![1])]), dir.path());
    assert_eq!(error.err().unwrap().kind, Kind::Format);
    assert!(left(dir.path()).is_empty());
}

#[test]
fn a_refresh_fetches_what_is_new_and_removes_what_is_gone() {
    let (dir, cx, streamed) = (tempfile::tempdir().unwrap(), Cx::silent("/"), Streamed::default());
    let old = Memory::new("u@1", ["same", "changed", "gone", "mine"].map(|name| (name, noise(10, 1))));
    let copies = fill(&old, dir.path()).unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::remove_file(at("mine")).unwrap();
    fs::write(at("mine"), "own work").unwrap();
    fs::write(at("taken"), "own work").unwrap();
    let new = Memory::new(
        "u@2",
        [("same", 1), ("changed", 2), ("new/one", 3), ("mine", 4), ("taken", 5)]
            .map(|(n, seed)| (n, noise(10, seed))),
    );
    let plan = Plan::new(&new, &cx).unwrap();
    assert_eq!(copies.refresh(&plan, &new, &streamed, &cx).unwrap(), 2);
    let mut reads = new.seen().reads;
    reads.sort();
    assert_eq!(reads, ["changed", "new/one"]);
    assert_eq!(left(dir.path()), ["changed", "mine", "new", "same", "taken"]);
    assert_eq!(fs::read(at("changed")).unwrap(), new.bytes("changed"));
    assert_eq!(
        (fs::read(at("mine")).unwrap(), fs::read(at("taken")).unwrap()),
        (b"own work".into(), b"own work".into())
    );
    copies.remove().unwrap();
    assert_eq!(left(dir.path()), ["mine", "taken"]);
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let source = Memory::new("u@1", [("a", b"never comes".to_vec()), ("b", vec![1])]);
    let cx = Cx::silent("/");
    let plan = Plan::new(&source, &cx).unwrap();
    let cancel = cx.cancel.clone();
    let error = std::thread::scope(|scope| {
        let filling = scope
            .spawn(|| Copies::fill(&plan, &source, dir.path(), &Streamed::default(), &cx).err().unwrap());
        while source.seen().reads.len() < 2 {
            std::thread::yield_now();
        }
        cancel.cancel();
        filling.join().unwrap()
    });
    assert_eq!(error.kind, Kind::Interrupted);
    assert!(left(dir.path()).is_empty());
}

#[test]
fn files_of_untold_size_are_counted_as_they_come() {
    /// Tells sizes neither in listings nor when asked.
    struct Untold(Memory);
    impl Source for Untold {
        fn id(&self) -> String {
            self.0.id()
        }
        fn list(&self, dir: &RepoPath, recursive: bool, cx: &Cx) -> Result<Vec<Entry>> {
            self.0.list(dir, recursive, cx)
        }
        fn stat(&self, at: &RepoPath, cx: &Cx) -> Result<Entry> {
            Ok(Entry { size: None, ..self.0.stat(at, cx)? })
        }
        fn read(&self, at: &RepoPath, cx: &Cx) -> Result<Vec<u8>> {
            self.0.read(at, cx)
        }
        fn read_range(&self, at: &RepoPath, range: std::ops::Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
            self.0.read_range(at, range, cx)
        }
    }
    let (dir, cx, streamed) = (tempfile::tempdir().unwrap(), Cx::silent("/"), Streamed::default());
    let three = |id, seed| {
        Untold(
            Memory::new(id, [("a", 1), ("b/c", 1), ("d", seed)].map(|(n, s)| (n, noise(100, s))))
                .without_sizes(),
        )
    };
    let source = three("u@1", 1);
    let mut plan = Plan::new(&source, &cx).unwrap();
    plan.limit = 299;
    let error = Copies::fill(&plan, &source, dir.path(), &streamed, &cx).err().unwrap();
    assert_eq!(error.kind, Kind::Limit);
    assert!(error.message.contains("300 B together"), "{error}");
    assert!(left(dir.path()).is_empty());
    plan.limit = 300;
    let copies = Copies::fill(&plan, &source, dir.path(), &streamed, &cx).unwrap();
    // What is kept counts as well when the folder moves on.
    let next = three("u@2", 2);
    let mut plan = Plan::new(&next, &cx).unwrap();
    plan.limit = 299;
    assert_eq!(copies.refresh(&plan, &next, &streamed, &cx).unwrap_err().kind, Kind::Limit);
    plan.limit = 300;
    assert_eq!(copies.refresh(&plan, &next, &streamed, &cx).unwrap(), 1);
}
