use super::area::{About, areas, home, take};
use super::*;
use std::os::unix::fs::PermissionsExt;

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

fn about(dir: &str, branch: &str) -> About {
    About { url: "http://h/o/r".into(), branch: branch.into(), dir: dir.into() }
}

#[test]
fn what_was_noted_is_found_again_and_half_a_line_is_not() {
    let root = tempfile::tempdir().unwrap();
    let home = home(root.path());
    let (stage, none) = take(&home, &about("/m", "main")).unwrap();
    assert!(none.is_empty());
    let (id, mut file) = stage.new_file().unwrap();
    file.write_all(b"bytes").unwrap();
    let (orphan, _) = stage.new_file().unwrap();
    let written = Change::File { id, executable: Some(true) };
    stage.note(&vec![(path("a"), Some(written.clone())), (path("old"), Some(Change::Removed))]).unwrap();
    let dir = stage.dir().to_owned();
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    // As after a kill in the middle of a write.
    let mut journal = OpenOptions::new().append(true).open(dir.join(JOURNAL)).unwrap();
    journal.write_all(b"[[\"b\",{\"file\":{\"id").unwrap();
    let orphan = stage.file_path(orphan);
    drop(stage);

    let (stage, changes) = take(&home, &about("/elsewhere", "main")).unwrap();
    assert_eq!(stage.dir(), dir);
    assert_eq!(changes, BTreeMap::from([(path("a"), written), (path("old"), Change::Removed)]));
    assert!(!orphan.exists() && std::fs::read(stage.file_path(id)).unwrap() == b"bytes");
    assert_ne!(stage.new_file().unwrap().0, id, "numbers are not used twice");
    stage.note(&vec![(path("a"), None)]).unwrap();
    drop(stage);
    let (_, changes) = take(&home, &about("/m", "main")).unwrap();
    assert_eq!(changes, BTreeMap::from([(path("old"), Change::Removed)]));
}

#[test]
fn mounts_that_live_together_have_areas_of_their_own() {
    let root = tempfile::tempdir().unwrap();
    let home = home(root.path());
    let note = |stage: &Stage, name: &str| stage.note(&vec![(path(name), Some(Change::Removed))]).unwrap();
    let (one, _) = take(&home, &about("/1", "main")).unwrap();
    let (two, empty) = take(&home, &about("/2", "main")).unwrap();
    assert!(one.dir() != two.dir() && empty.is_empty());
    note(&one, "1");
    note(&two, "2");
    assert_eq!(areas(&home).iter().filter(|a| a.held && a.about.branch == "main").count(), 2);
    drop((one, two));
    // The same folder gets its own back; another branch gets neither.
    let (other, empty) = take(&home, &about("/2", "side")).unwrap();
    assert!(empty.is_empty());
    let (two, changes) = take(&home, &about("/2", "main")).unwrap();
    assert_eq!(changes.keys().collect::<Vec<_>>(), [&path("2")]);
    let (_, changes) = take(&home, &about("/3", "main")).unwrap();
    assert_eq!(changes.keys().collect::<Vec<_>>(), [&path("1")]);
    drop((other, two));
    assert!(areas(&home).iter().all(|area| !area.held));
}

#[test]
fn a_change_covers_what_is_below_it() {
    let mut changes = BTreeMap::new();
    for name in ["a", "a-b", "a.b/c", "a/b", "a/b/c", "ab"] {
        apply(&mut changes, &path(name), Some(&Change::Dir { over: false }));
    }
    assert_eq!(changes.len(), 6);
    apply(&mut changes, &path("a"), Some(&Change::Removed));
    let left: Vec<&str> = changes.keys().map(RepoPath::as_str).collect();
    assert_eq!(left, ["a", "a-b", "a.b/c", "ab"]);
    apply(&mut changes, &path("a"), None);
    assert_eq!(changes.len(), 3);
}
