use super::*;
use crate::memory::Memory;
use crate::stage::area::{About, home, take};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

fn id(commit: &str) -> String {
    format!("memory@{}", commit.repeat(40))
}

fn base(files: &[(&str, &str)]) -> Arc<Superblock> {
    let source = Memory::new(&id("1"), files.iter().map(|(name, text)| (*name, text.as_bytes().to_vec())));
    let cx = Cx::silent("/");
    Arc::new(Superblock::load(Arc::new(source), SystemTime::now(), &cx).unwrap())
}

fn overlay(root: &Path, base: &Arc<Superblock>) -> Overlay {
    let about = About { url: "u".into(), branch: "main".into(), dir: "/m".into() };
    let (stage, changes) = take(&home(root), &about).unwrap();
    let at_commit: AtCommit = Box::new(|_| Err(dds_core::Error::not_found("no earlier commit")));
    Overlay::new(base.clone(), stage, changes, &at_commit, Cx::silent("/"))
}

impl Overlay {
    fn dir(&self, text: &str) -> Ino {
        self.read().resolve(&path(text), &self.base).unwrap().ino()
    }

    /// The whole tree as `path → text`, as a reader finds it.
    fn tree(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut open = vec![(ROOT, String::new())];
        while let Some((dir, at)) = open.pop() {
            let listing = self.children(dir).unwrap();
            for n in 0..listing.len() {
                let name = listing.name(n, &self.base).unwrap();
                let item = self.lookup(dir, &name).unwrap();
                assert_eq!(self.parent(item.ino()).unwrap().ino(), dir, "{at}{name}");
                match item.is_dir() {
                    true => open.push((item.ino(), format!("{at}{name}/"))),
                    false => drop(found.insert(format!("{at}{name}"), self.text(&item))),
                }
            }
        }
        found
    }

    fn text(&self, item: &Item) -> String {
        if let Some(own) = self.own_of(item.ino()).unwrap() {
            let mut bytes = vec![0; own.file.metadata().unwrap().len() as usize];
            own.file.read_exact_at(&mut bytes, 0).unwrap();
            return String::from_utf8(bytes).unwrap();
        }
        let file = item.file().unwrap();
        String::from_utf8(file.source.read(&file.path, &self.cx).unwrap()).unwrap()
    }

    fn put(&self, dir: &str, name: &str, text: &str) {
        let made = self.create(self.dir(dir), OsStr::new(name), false);
        let own = match made {
            Ok((_, own)) => own,
            Err(Errno::EXIST) => self.make_empty(self.lookup(self.dir(dir), name).unwrap().ino()).unwrap(),
            Err(e) => panic!("{dir}/{name}: {e}"),
        };
        own.file.write_all_at(text.as_bytes(), 0).unwrap();
        own.touched();
    }

    fn mv(&self, from: &str, to: &str) -> Result<(), Errno> {
        let (from, to) = (path(from), path(to));
        let dir = |path: &RepoPath| self.dir(path.parent().unwrap().as_str());
        self.rename(dir(&from), OsStr::new(from.name()), dir(&to), OsStr::new(to.name()), true)
    }
}

/// A tree as plain maps: what the overlay must agree with.
#[derive(Clone, Default)]
struct Model {
    files: BTreeMap<String, String>,
    dirs: std::collections::BTreeSet<String>,
}

impl Model {
    fn is_dir(&self, at: &str) -> bool {
        at.is_empty() || self.dirs.contains(at)
    }

    fn has(&self, at: &str) -> bool {
        self.is_dir(at) || self.files.contains_key(at)
    }

    fn is_empty(&self, dir: &str) -> bool {
        let prefix = format!("{dir}/");
        !self.files.keys().chain(&self.dirs).any(|at| at.starts_with(&prefix))
    }

    fn mv(&mut self, from: &str, to: &str) {
        if let Some(text) = self.files.remove(from) {
            self.files.insert(to.into(), text);
            return;
        }
        let prefix = format!("{from}/");
        let moved = |at: &String| at.strip_prefix(&prefix).map(|rest| format!("{to}/{rest}"));
        self.files = self.files.iter().map(|(at, t)| (moved(at).unwrap_or(at.clone()), t.clone())).collect();
        self.dirs.remove(from);
        self.dirs = self.dirs.iter().map(|at| moved(at).unwrap_or(at.clone())).collect();
        self.dirs.insert(to.into());
    }
}

/// Reproducible numbers (Knuth, MMIX).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

const FILES: [(&str, &str); 6] =
    [("a", "1"), ("d/a", "2"), ("d/b", "3"), ("d/e/a", "4"), ("d-x/a", "5"), ("e/f/g", "6")];

#[test]
fn any_sequence_of_changes_leaves_the_tree_that_a_disk_would() {
    let names = ["a", "b", "d", "e", "d/a", "d/b", "d/e", "d/e/a", "d-x", "e/f", "e/f/g", "b/a", "b/d"];
    for seed in 0..40 {
        let root = tempfile::tempdir().unwrap();
        let base = base(&FILES);
        let mut overlay = overlay(root.path(), &base);
        let mut model = Model::default();
        for (at, text) in FILES {
            model.files.insert(at.into(), text.into());
            let mut above = path(at).parent();
            while let Some(dir) = above.filter(|dir| !dir.is_root()) {
                model.dirs.insert(dir.to_string());
                above = dir.parent();
            }
        }
        let mut dice = Dice(seed);
        for step in 0..80 {
            let (at, to) = (names[dice.roll(names.len())], names[dice.roll(names.len())]);
            let parent = |at: &str| path(at).parent().unwrap().to_string();
            if !model.is_dir(&parent(at)) || !model.is_dir(&parent(to)) {
                continue;
            }
            let (dir, name) = (overlay.dir(&parent(at)), path(at).name().to_owned());
            let name = OsStr::new(&name);
            match dice.roll(6) {
                0 | 1 if !model.is_dir(at) => {
                    let text = format!("{seed} {step}");
                    overlay.put(&parent(at), path(at).name(), &text);
                    model.files.insert(at.into(), text);
                }
                2 => {
                    let done = overlay.mkdir(dir, name).map(drop);
                    assert_eq!(done.is_ok(), !model.has(at), "seed {seed}, step {step}: mkdir {at}");
                    model.dirs.extend(done.is_ok().then(|| at.to_owned()));
                }
                3 => match model.is_dir(at) {
                    true => {
                        let done = overlay.rmdir(dir, name);
                        assert_eq!(done.is_ok(), model.is_empty(at), "seed {seed}, step {step}: rmdir {at}");
                        if done.is_ok() {
                            model.dirs.remove(at);
                        }
                    }
                    false => {
                        let gone = model.files.remove(at).is_some();
                        assert_eq!(
                            overlay.unlink(dir, name).is_ok(),
                            gone,
                            "seed {seed}, step {step}: rm {at}"
                        );
                    }
                },
                4 | 5 => {
                    let fits = match (model.is_dir(at), model.is_dir(to)) {
                        (true, true) => model.is_empty(to),
                        (true, false) => !model.files.contains_key(to),
                        (false, to_dir) => !to_dir,
                    };
                    let inside = to.starts_with(&format!("{at}/"));
                    let fine = at == to || (model.has(at) && fits && !inside);
                    let done = overlay.mv(at, to);
                    assert_eq!(done.is_ok(), fine && model.has(at), "seed {seed}, step {step}: mv {at} {to}");
                    if done.is_ok() && at != to {
                        model.mv(at, to);
                    }
                }
                _ => {}
            }
            if dice.roll(10) == 0 {
                // As after a kill: what was noted is all there is.
                drop(overlay);
                overlay = self::overlay(root.path(), &base);
            }
            assert_eq!(overlay.tree(), model.files, "seed {seed}, step {step}");
        }
        // What would be committed makes the tree out of the repository's.
        let mut made: BTreeMap<String, String> = FILES.map(|(at, text)| (at.into(), text.into())).into();
        for staged in overlay.staged().0 {
            let at = staged.path.to_string();
            match staged.what {
                What::Removed => drop(made.remove(&at)),
                _ => drop(made.insert(at.clone(), model.files[&at].clone())),
            }
        }
        assert_eq!(made, model.files, "seed {seed}");
    }
}

#[test]
fn a_rename_and_back_is_no_change() {
    let root = tempfile::tempdir().unwrap();
    let base = base(&FILES);
    let overlay = overlay(root.path(), &base);
    for (there, back) in [("a", "b"), ("d", "c")] {
        overlay.mv(there, back).unwrap();
        assert!(!overlay.staged().0.is_empty());
        overlay.mv(back, there).unwrap();
        assert_eq!(overlay.staged().0, [], "{there}");
    }
}

#[test]
fn what_was_committed_is_staged_no_more_and_what_came_since_is() {
    let root = tempfile::tempdir().unwrap();
    let base = base(&FILES);
    let overlay = overlay(root.path(), &base);
    overlay.put("", "new", "one");
    overlay.put("d", "a", "two");
    overlay.mv("e", "moved").unwrap();
    overlay.unlink(ROOT, OsStr::new("a")).unwrap();
    let (staged, until) = overlay.staged();
    assert_eq!(staged.len(), 5, "{staged:?}");
    overlay.put("d", "late", "since");
    overlay.put("d", "a", "three");
    let files =
        [("new", "one"), ("d/a", "two"), ("d/b", "3"), ("d/e/a", "4"), ("d-x/a", "5"), ("moved/f/g", "6")];
    let source = Memory::new(&id("2"), files.map(|(name, text)| (name, text.as_bytes().to_vec())));
    base.refresh(Arc::new(source), SystemTime::now(), &Cx::silent("/")).unwrap();
    let stale = overlay.settle(Some(until));
    assert!(stale.contains(&(ROOT, "new".into())) && stale.contains(&(ROOT, "moved".into())), "{stale:?}");
    let left: Vec<String> = overlay.staged().0.iter().map(|staged| staged.path.to_string()).collect();
    assert_eq!(left, ["d/a", "d/late"]);
    let tree = overlay.tree();
    assert_eq!((tree["d/a"].as_str(), tree["moved/f/g"].as_str()), ("three", "6"));
    assert!(!tree.contains_key("a") && tree["new"] == "one");
    // The same after a restart.
    drop(overlay);
    let again = self::overlay(root.path(), &base);
    assert_eq!(again.staged().0.len(), 2);
    assert_eq!(again.tree(), tree);
}

#[test]
fn names_that_could_not_be_committed_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let overlay = overlay(root.path(), &base(&FILES));
    let long = "x".repeat(256);
    for (name, why) in
        [(".git", Errno::PERM), (".dvc", Errno::PERM), ("a\\b", Errno::INVAL), (&long, Errno::NAMETOOLONG)]
    {
        assert_eq!(overlay.mkdir(ROOT, OsStr::new(name)).map(drop).unwrap_err(), why, "{name}");
        assert_eq!(overlay.create(ROOT, OsStr::new(name), false).map(drop).unwrap_err(), why, "{name}");
    }
    let read_only = Overlay::read_only(base(&FILES), Cx::silent("/"));
    assert_eq!(read_only.mkdir(ROOT, OsStr::new("x")).map(drop).unwrap_err(), Errno::ROFS);
    assert_eq!(read_only.unlink(ROOT, OsStr::new("a")).unwrap_err(), Errno::ROFS);
}

/// Whatever was done, and whatever of it is taken back: that is as in the repository, and nothing else changes.
#[test]
fn what_is_discarded_is_as_before_and_the_rest_stays() {
    let names = ["a", "d/a", "d/b", "d/e/a", "d/e", "e/f", "d", "e", "x", "x/y", "d-x/a", "d-x"];
    for seed in 0..300 {
        let root = tempfile::tempdir().unwrap();
        let base = base(&FILES);
        let overlay = overlay(root.path(), &base);
        let mut dice = Dice(seed);
        println!("seed {seed}");
        for step in 0..12 {
            let (at, to) = (names[dice.roll(names.len())], names[dice.roll(names.len())]);
            let (parent, name) = (path(at).parent().unwrap(), path(at).name().to_owned());
            let is_dir = |at: &RepoPath| {
                let found = overlay.read().resolve(at, &base);
                at.is_root() || found.is_some_and(|item| item.is_dir())
            };
            if !is_dir(&parent) || !is_dir(&path(to).parent().unwrap()) {
                continue;
            }
            let (dir, name) = (overlay.dir(parent.as_str()), OsStr::new(&name));
            let turn = dice.roll(5);
            println!("{turn} {at} {to}");
            match turn {
                0 if !is_dir(&path(at)) => {
                    overlay.put(parent.as_str(), path(at).name(), &format!("new {step}"))
                }
                1 => drop(overlay.mkdir(dir, name)),
                2 if is_dir(&path(at)) => drop(overlay.rmdir(dir, name)),
                2 => drop(overlay.unlink(dir, name)),
                _ => drop(overlay.mv(at, to)),
            }
        }
        let before = overlay.staged().0;
        let tree = overlay.tree();
        let Some(one) = before.get(dice.roll(before.len().max(1))) else { continue };
        let named =
            if dice.roll(4) == 0 { path(one.path.components().next().unwrap()) } else { one.path.clone() };
        println!("{before:?} without {named}");
        let done = overlay.discard(std::slice::from_ref(&named)).unwrap();
        let gone: Vec<&RepoPath> = done.files.iter().map(|one| &one.path).collect();
        assert!(gone.contains(&&one.path), "seed {seed}");
        let paths = |list: &[Staged]| list.iter().map(|one| one.path.clone()).collect::<Vec<_>>();
        let left: Vec<RepoPath> = paths(&before).into_iter().filter(|at| !gone.contains(&at)).collect();
        assert_eq!(paths(&overlay.staged().0), left, "seed {seed}: without {named}");
        let after = overlay.tree();
        let repository =
            |at: &str| FILES.iter().find(|(name, _)| *name == at).map(|(_, text)| text.to_string());
        for at in tree.keys().chain(after.keys()).map(String::as_str).chain(FILES.map(|(at, _)| at)) {
            let expected = match gone.contains(&&path(at)) {
                true => repository(at),
                false => tree.get(at).cloned(),
            };
            assert_eq!(after.get(at), expected.as_ref(), "seed {seed}: {at} without {named}");
        }
        // Again the same after a kill.
        drop(overlay);
        let overlay = self::overlay(root.path(), &base);
        assert_eq!((overlay.tree(), paths(&overlay.staged().0)), (after, left), "seed {seed}: {named}");
        overlay.discard(&[]).unwrap();
        assert_eq!(overlay.staged().0, []);
        assert_eq!(overlay.tree(), FILES.map(|(at, text)| (at.to_owned(), text.to_owned())).into());
        drop(overlay);
        assert_eq!(self::overlay(root.path(), &base).staged().0, [], "seed {seed}");
    }
}

/// The system remembers bytes by number.
#[test]
fn a_file_comes_back_under_another_number_than_its_discarded_bytes_had() {
    let root = tempfile::tempdir().unwrap();
    let base = base(&FILES);
    let overlay = overlay(root.path(), &base);
    let before = overlay.lookup(ROOT, "a").unwrap().ino();
    overlay.put("", "a", "new");
    assert_eq!(overlay.lookup(ROOT, "a").unwrap().ino(), before, "while it is written it is the same file");
    let stale = overlay.discard(&[path("a")]).unwrap().stale;
    let back = overlay.lookup(ROOT, "a").unwrap();
    assert!(back.ino() != before && stale.contains(&(ROOT, "a".into())));
    assert_eq!((overlay.text(&back).as_str(), overlay.staged().0), ("1", vec![]));
    // It stays so when something else is committed, and is given up when the repository has other bytes.
    overlay.put("", "new", "n");
    let (_, until) = overlay.staged();
    let move_on = |id: &str, a: &str| {
        let files = FILES.map(|(name, text)| (name, if name == "a" { a } else { text }.as_bytes().to_vec()));
        let source = Memory::new(&self::id(id), files.into_iter().chain([("new", b"n".to_vec())]));
        base.refresh(Arc::new(source), SystemTime::now(), &Cx::silent("/")).unwrap();
    };
    move_on("2", "1");
    overlay.settle(Some(until));
    assert_eq!(overlay.lookup(ROOT, "a").unwrap().ino(), back.ino());
    move_on("3", "others");
    overlay.settle(None);
    assert_eq!(overlay.text(&overlay.lookup(ROOT, "a").unwrap()), "others");
    assert_eq!(overlay.staged().0, []);
}

#[test]
fn what_cannot_be_discarded_says_why_and_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let base = base(&FILES);
    let overlay = overlay(root.path(), &base);
    let (node, own) = overlay.create(ROOT, OsStr::new("open"), false).unwrap();
    // By its creation, and by a look at the folder.
    overlay.met(node.ino);
    overlay.met(node.ino);
    overlay.put("", "a", "new");
    let e = overlay.discard(&[path("a"), path("d/b")]).err().unwrap();
    assert!(e.message.contains("nothing is staged at d/b") && e.hint.unwrap().contains("dds status"));
    assert_eq!(overlay.staged().0.len(), 2);
    overlay.discard(&[path("a")]).unwrap();
    overlay.discard(&[]).unwrap();
    assert_eq!(overlay.staged().0, []);
    // Who has it open keeps it, until the system forgets its number.
    own.file.write_all_at(b"on", 0).unwrap();
    assert!(matches!(overlay.content(node.ino), Ok(Content::Own(same)) if Arc::ptr_eq(&same, &own)));
    overlay.forget(node.ino, 1);
    assert!(overlay.content(node.ino).is_ok());
    overlay.forget(node.ino, 1);
    assert!(overlay.content(node.ino).is_err());
    let staged = overlay.stage().unwrap().dir().join("files");
    assert_eq!(std::fs::read_dir(staged).unwrap().count(), 0);
}

/// Which the kernel does when it needs memory, at any time.
#[test]
fn a_file_whose_number_is_forgotten_is_found_again() {
    let root = tempfile::tempdir().unwrap();
    let base = base(&FILES);
    let overlay = overlay(root.path(), &base);
    let number = |at: &str| {
        let ino = overlay.dir(at);
        overlay.met(ino);
        ino
    };
    let text = |at: &str| overlay.text(&overlay.lookup(ROOT, at).unwrap());
    // Discarded: under a new number while the kernel may hold other bytes by the old one.
    let old = number("a");
    overlay.put("", "a", "other bytes");
    overlay.discard(&[]).unwrap();
    let new = number("a");
    assert!(new != old && text("a") == "1");
    overlay.forget(new, 1);
    assert!(overlay.dir("a") == new && text("a") == "1", "the old number is still known");
    assert!(matches!(overlay.content(overlay.dir("a")), Ok(Content::Base(_))));
    overlay.met(new);
    overlay.forget(old, 1);
    overlay.forget(new, 1);
    assert_eq!((overlay.dir("a"), text("a").as_str()), (old, "1"));
    assert!(matches!(overlay.content(old), Ok(Content::Base(_))) && overlay.item(old).is_some());
    // Committed: the number stays for those who have it open, until none has.
    overlay.put("", "new", "one");
    let written = number("new");
    let (_, until) = overlay.staged();
    let files =
        FILES.into_iter().chain([("new", "one")]).map(|(name, text)| (name, text.as_bytes().to_vec()));
    let source = Memory::new(&id("2"), files);
    base.refresh(Arc::new(source), SystemTime::now(), &Cx::silent("/")).unwrap();
    overlay.settle(Some(until));
    assert_eq!((overlay.dir("new"), text("new").as_str()), (written, "one"));
    assert_eq!(overlay.staged().0, []);
    overlay.forget(written, 1);
    assert!(overlay.dir("new") != written && text("new") == "one");
    assert!(overlay.content(overlay.dir("new")).is_ok() && overlay.content(written).is_err());
}
