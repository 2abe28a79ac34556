use super::*;
use crate::memory::{Memory, noise, path};
use std::time::{Duration, UNIX_EPOCH};

fn load(source: Memory) -> (Superblock, Arc<Memory>) {
    let source = Arc::new(source);
    (Superblock::load(source.clone(), UNIX_EPOCH, &Cx::silent("/")).unwrap(), source)
}

fn names(tree: &Superblock, dir: &str) -> Vec<String> {
    let ino = tree.at(&path(dir)).unwrap().ino();
    tree.children(ino).unwrap().iter().map(|ino| tree.inode(*ino).unwrap().name().to_owned()).collect()
}

fn ino(tree: &Superblock, name: &str) -> Option<Ino> {
    tree.at(&path(name)).map(|inode| inode.ino())
}

#[test]
fn the_tree_is_that_of_the_listing() {
    let (tree, source) = load(Memory::new(
        "u@1",
        [
            ("b/two", vec![1; 2]),
            ("b-c", vec![1; 3]),
            ("b/a b/ü", vec![1; 4]),
            ("a..b", vec![]),
            ("b/..c/x", vec![1; 5]),
            ("Z", vec![1; 6]),
        ],
    ));
    assert_eq!(names(&tree, ""), ["Z", "a..b", "b", "b-c"]);
    assert_eq!(names(&tree, "b"), ["..c", "a b", "two"]);
    assert_eq!(tree.totals(), (6, 20));
    let walk: Vec<String> =
        tree.order().iter().map(|ino| tree.inode(*ino).unwrap().path().to_string()).collect();
    assert_eq!(walk, ["Z", "a..b", "b/..c/x", "b/a b/ü", "b/two", "b-c"]);
    for (position, ino) in tree.order().iter().enumerate() {
        assert_eq!(tree.file(*ino).unwrap().position, position);
    }
    let dir = ino(&tree, "b/a b").unwrap();
    assert_eq!(tree.lookup(dir, "ü").unwrap().parent(), dir);
    assert!(tree.lookup(dir, "u").is_none() && tree.lookup(ROOT, "b/two").is_none());
    assert!(tree.lookup(ino(&tree, "Z").unwrap(), "x").is_none() && tree.inode(0).is_none());
    assert!(tree.inode(Ino::MAX).is_none() && tree.children(ino(&tree, "Z").unwrap()).is_none());
    assert_eq!((source.seen().lists, source.seen().stats, source.seen().fetches), (1, 0, 0));
}

#[test]
fn a_size_that_the_listing_does_not_tell_is_asked_once() {
    let (tree, source) = load(Memory::new("u@1", [("a", vec![1; 7]), ("b", vec![])]).without_sizes());
    assert!(!tree.sizes_known());
    let file = tree.file(ino(&tree, "a").unwrap()).unwrap();
    let cx = Cx::silent("/");
    assert_eq!((file.known_size(), file.size(&cx).unwrap(), file.size(&cx).unwrap()), (None, 7, 7));
    assert_eq!(source.seen().stats, 1);
}

#[test]
fn hostile_listings_are_refused() {
    struct Listing(Vec<Entry>);
    impl Source for Listing {
        fn id(&self) -> String {
            "x".into()
        }
        fn list(&self, _: &RepoPath, _: bool, _: &Cx) -> Result<Vec<Entry>> {
            Ok(self.0.clone())
        }
        fn stat(&self, _: &RepoPath, _: &Cx) -> Result<Entry> {
            Err(Error::not_found("x"))
        }
        fn read(&self, _: &RepoPath, _: &Cx) -> Result<Vec<u8>> {
            Err(Error::not_found("x"))
        }
        fn read_range(&self, _: &RepoPath, _: std::ops::Range<u64>, _: &Cx) -> Result<Vec<u8>> {
            Err(Error::not_found("x"))
        }
    }
    let entry = |name: &str, size| Entry {
        path: path(name),
        kind: EntryKind::File,
        size: Some(size),
        digest: None,
        versioning: dds_core::Versioning::Git,
        executable: false,
    };
    let load =
        |entries: Vec<Entry>| Superblock::load(Arc::new(Listing(entries)), UNIX_EPOCH, &Cx::silent("/"));
    let error = load(vec![entry("a/b", 1), entry("a", 1)]).err().unwrap();
    assert_eq!(error.kind, Kind::Format);
    assert!(error.message.contains("a both as a file and as a folder"), "{error}");
    let tree = load(vec![entry("a", u64::MAX), entry("b", u64::MAX), entry("a", 3), entry("", 9)]).unwrap();
    assert_eq!((names(&tree, ""), tree.totals()), (vec!["a".into(), "b".into()], (2, u64::MAX)));
    let deep = "d/".repeat(2000) + "f";
    let tree = load(vec![entry(&deep, 1)]).unwrap();
    assert!(ino(&tree, &deep).is_some());
    assert!(names(&load(vec![]).unwrap(), "").is_empty());
}

#[test]
fn a_refresh_keeps_what_is_the_same_and_renumbers_what_changed() {
    let version = |id: &str, extra: &[(&'static str, u64)]| {
        let mut files = vec![("same", noise(10, 1)), ("d/kept", noise(10, 2))];
        files.extend(extra.iter().map(|(name, seed)| (*name, noise(10, *seed))));
        Arc::new(Memory::new(id, files))
    };
    let (cx, later) = (Cx::silent("/"), UNIX_EPOCH + Duration::from_secs(9));
    let old = version("u@1", &[("changed", 3), ("gone/x", 4), ("turns", 5)]);
    let tree = Superblock::load(old.clone(), UNIX_EPOCH, &cx).unwrap();
    let before: Vec<Option<Ino>> =
        ["same", "d/kept", "d", "changed", "gone/x", "turns"].iter().map(|n| ino(&tree, n)).collect();
    let held = tree.file(before[3].unwrap()).unwrap();

    let changes =
        tree.refresh(version("u@2", &[("changed", 33), ("d/new", 6), ("turns/y", 5)]), later, &cx).unwrap();
    let after: Vec<Option<Ino>> =
        ["same", "d/kept", "d", "changed", "gone/x", "turns"].iter().map(|n| ino(&tree, n)).collect();
    assert_eq!(before[..3], after[..3]);
    assert!(after[3].is_some() && after[3] != before[3] && after[4].is_none() && after[5] != before[5]);
    assert_eq!(names(&tree, "d"), ["kept", "new"]);
    assert_eq!((changes.added, changes.removed), (3, 3));
    let mut stale: Vec<&str> = changes.stale.iter().map(|(_, name)| name.as_str()).collect();
    stale.sort_unstable();
    assert_eq!(stale, ["changed", "gone", "turns", "x"]);
    assert_eq!(changes.dirs.len(), 2, "the root and d");
    let time = |name: &str| tree.at(&path(name)).unwrap().modified();
    assert_eq!((time("same"), time("changed"), time("d"), time("d/new")), (UNIX_EPOCH, later, later, later));

    // An inode that left still reads the revision that it was listed at, for a while.
    assert_eq!(held.source.read(&held.path, &cx).unwrap(), old.bytes("changed"));
    assert!(tree.inode(before[3].unwrap()).is_some());
    for generation in 3..3 + KEEP_GENERATIONS {
        tree.refresh(version(&format!("u@{generation}"), &[]), later, &cx).unwrap();
    }
    assert!(tree.inode(before[3].unwrap()).is_none() && tree.inode(before[0].unwrap()).is_some());
    // Numbers are never given out twice.
    tree.refresh(version("u@9", &[("changed", 3)]), later, &cx).unwrap();
    assert!(ino(&tree, "changed") > before.iter().copied().max().flatten());
}

#[test]
fn a_failing_refresh_changes_nothing() {
    let (tree, _) = load(Memory::new("u@1", [("a", vec![1])]));
    struct Down;
    impl Source for Down {
        fn id(&self) -> String {
            "u@2".into()
        }
        fn list(&self, _: &RepoPath, _: bool, _: &Cx) -> Result<Vec<Entry>> {
            Err(Error::new(Kind::Unreachable, "down"))
        }
        fn stat(&self, _: &RepoPath, _: &Cx) -> Result<Entry> {
            Err(Error::new(Kind::Unreachable, "down"))
        }
        fn read(&self, _: &RepoPath, _: &Cx) -> Result<Vec<u8>> {
            Err(Error::new(Kind::Unreachable, "down"))
        }
        fn read_range(&self, _: &RepoPath, _: std::ops::Range<u64>, _: &Cx) -> Result<Vec<u8>> {
            Err(Error::new(Kind::Unreachable, "down"))
        }
    }
    assert!(tree.refresh(Arc::new(Down), UNIX_EPOCH, &Cx::silent("/")).is_err());
    assert_eq!((tree.source().id(), names(&tree, "")), ("u@1".into(), vec!["a".into()]));
}

#[test]
fn a_hundred_thousand_entries_are_found_by_name() {
    let names: Vec<String> = (0..100_000).map(|i| format!("d/{i:06}.jpg")).collect();
    let (tree, _) = load(Memory::new("u@1", names.iter().map(|name| (name.as_str(), vec![]))));
    let dir = ino(&tree, "d").unwrap();
    for name in names.iter().step_by(7) {
        let name = name.strip_prefix("d/").unwrap();
        assert_eq!(tree.lookup(dir, name).unwrap().name(), name);
    }
    assert!(tree.lookup(dir, "100000.jpg").is_none());
}
