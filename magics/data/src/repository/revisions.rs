//! Revisions that were resolved a moment ago: kept while the files that decide about them are the same,
//! so that a change is seen at once, by whichever process it is made.
//!
//! Only direct references are kept; what a symbolic one leads to is decided elsewhere.

use super::Revision;
use super::stamp::Stamp;
use crate::flight::lock;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, statat};
use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Names that are kept; at this bound all are forgotten.
pub const MAX_KEPT: usize = 256;
/// For file systems whose metadata say less than they should, and for a repository that is moved away as a
/// whole and another put into its place.
const MAX_AGE: Duration = Duration::from_secs(1);

/// What the files that decide about a name looked like.
#[derive(Clone, Debug)]
pub struct Deciding {
    /// The folder with `refs`, as it was found then: a look from here is a short one.
    common: Arc<OwnedFd>,
    looks: Looks,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    /// The branch has a file of its own, before which nothing else counts.
    Loose(Stamp),
    /// Its branch, its tag, the packed references.
    All([Option<Stamp>; 3]),
}

impl Looks {
    fn of(common: &OwnedFd, [branch, tag, packed]: &[CString; 3]) -> Self {
        let look = |name: &CString| statat(common, name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let stamp = |name| look(name).map(|found| Stamp::of_stat(&found));
        let branch = look(branch);
        let is_file = |found: &Stat| FileType::from_raw_mode(found.st_mode).is_file();
        match branch.as_ref().filter(|found| is_file(found)) {
            Some(file) => Self::Loose(Stamp::of_stat(file)),
            None => Self::All([branch.as_ref().map(Stamp::of_stat), stamp(tag), stamp(packed)]),
        }
    }

    fn is_settled(&self) -> bool {
        match self {
            Self::Loose(stamp) => stamp.is_settled(),
            Self::All(stamps) => stamps.iter().flatten().all(Stamp::is_settled),
        }
    }

    /// Whether the files that were looked at are those that decided.
    fn explain(&self, revision: &Revision) -> bool {
        matches!(self, Self::All(_)) || revision.branch.is_some()
    }
}

#[derive(Debug)]
struct Known {
    /// That of [`Deciding`], as long as it is the one that all share.
    common: Weak<OwnedFd>,
    looks: Looks,
    revision: Revision,
    since: Instant,
}

/// A name that was resolved, and may be asked again and again whether it still stands for the same.
#[derive(Debug)]
pub struct Watch {
    /// Those of [`Looks::All`].
    files: [CString; 3],
    known: Mutex<Known>,
}

impl Watch {
    /// What the name was resolved to, when nothing has changed since.
    pub fn revision(&self) -> Option<Revision> {
        let (deciding, revision) = {
            let known = lock(&self.known);
            (known.fresh()?, known.revision.clone())
        };
        self.is_so(&deciding).then_some(revision)
    }

    /// Whether that is `commit`.
    pub fn is(&self, commit: git2::Oid) -> bool {
        let deciding = {
            let known = lock(&self.known);
            known.fresh().filter(|_| known.revision.commit == commit)
        };
        deciding.is_some_and(|deciding| self.is_so(&deciding))
    }

    fn is_so(&self, deciding: &Deciding) -> bool {
        Looks::of(&deciding.common, &self.files) == deciding.looks
    }
}

impl Known {
    fn fresh(&self) -> Option<Deciding> {
        let common = self.common.upgrade().filter(|_| self.since.elapsed() < MAX_AGE)?;
        Some(Deciding { common, looks: self.looks })
    }
}

#[derive(Debug)]
struct Folder {
    opened: Arc<OwnedFd>,
    /// Device and inode.
    place: (u64, u64),
    since: Instant,
}

#[derive(Debug)]
pub struct Revisions {
    /// The folder with `refs`, which all worktrees share.
    common: PathBuf,
    /// It, opened, for all names; the only one that is held open for long.
    folder: Mutex<Option<Folder>>,
    known: Mutex<HashMap<String, Arc<Watch>>>,
}

impl Revisions {
    pub fn new(common: &Path) -> Self {
        Self { common: common.to_owned(), folder: Mutex::default(), known: Mutex::default() }
    }

    pub fn watch(&self, rev: &str) -> Option<Arc<Watch>> {
        lock(&self.known).get(rev).cloned()
    }

    /// What `rev` was resolved to, when nothing has changed since.
    pub fn get(&self, rev: &str) -> Option<Revision> {
        self.watch(rev)?.revision()
    }

    /// To be asked before resolving; none where the answer must not be kept.
    pub fn before(&self, rev: &str) -> Option<Deciding> {
        if !git2::Reference::is_valid_name(&format!("refs/heads/{rev}")) {
            return None;
        }
        self.look(rev).filter(|deciding| deciding.looks.is_settled())
    }

    fn look(&self, rev: &str) -> Option<Deciding> {
        let common = self.folder()?;
        let looks = Looks::of(&common, &files(rev)?);
        Some(Deciding { common, looks })
    }

    /// The folder that is in its place now.
    fn folder(&self) -> Option<Arc<OwnedFd>> {
        let place = |found: &Stat| (found.st_dev, found.st_ino);
        let mut folder = lock(&self.folder);
        let now = statat(CWD, &self.common, AtFlags::empty()).ok();
        let same = |f: &&Folder| f.since.elapsed() < MAX_AGE && now.as_ref().map(place) == Some(f.place);
        if let Some(same) = folder.as_ref().filter(same) {
            return Some(same.opened.clone());
        }
        *folder = None;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = Arc::new(rustix::fs::open(&self.common, flags, Mode::empty()).ok()?);
        let place = place(&fstat(&opened).ok()?);
        *folder = Some(Folder { opened: opened.clone(), place, since: Instant::now() });
        Some(opened)
    }

    /// Keeps an answer that was found after `deciding` had been looked at.
    pub fn keep(&self, rev: &str, deciding: Deciding, revision: &Revision) {
        let Some(files) = files(rev).filter(|_| deciding.looks.explain(revision)) else { return };
        let Deciding { common, looks } = deciding;
        let common = Arc::downgrade(&common);
        let now = Known { common, looks, revision: revision.clone(), since: Instant::now() };
        let mut known = lock(&self.known);
        if let Some(watch) = known.get(rev) {
            *lock(&watch.known) = now;
            return;
        }
        if known.len() >= MAX_KEPT {
            known.clear();
        }
        known.insert(rev.to_owned(), Arc::new(Watch { files, known: Mutex::new(now) }));
    }
}

/// What decides about a name, below the folder with `refs`.
fn files(rev: &str) -> Option<[CString; 3]> {
    let name = |text: String| CString::new(text).ok();
    Some([
        name(format!("refs/heads/{rev}"))?,
        name(format!("refs/tags/{rev}"))?,
        name("packed-refs".to_owned())?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many descriptors of this process are of `dir`.
    fn opened(dir: &Path) -> usize {
        let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        all.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|at| at == dir)).count()
    }

    #[test]
    fn any_number_of_names_holds_one_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (common, away) = (root.join("common"), root.join("away"));
        std::fs::create_dir(&common).unwrap();
        let revisions = Revisions::new(&common);
        let found = Revision { commit: git2::Oid::ZERO_SHA1, branch: None };
        let mut held = Vec::new();
        for n in 0..300 {
            // As old as one that is renewed.
            if n % 50 == 0 && n > 0 {
                let mut folder = lock(&revisions.folder);
                folder.as_mut().unwrap().since -= MAX_AGE;
            }
            let name = format!("n{n}");
            revisions.keep(&name, revisions.look(&name).unwrap(), &found);
            held.push(revisions.watch(&name).unwrap());
            assert_eq!(opened(&common), 1, "{n}");
        }
        assert!(held.first().unwrap().revision().is_none());
        // Another folder in its place is seen at once by who looks again, and the old one is let go.
        revisions.keep("x", revisions.look("x").unwrap(), &found);
        std::fs::rename(&common, &away).unwrap();
        assert!(revisions.look("x").is_none());
        std::fs::create_dir_all(common.join("refs/heads")).unwrap();
        std::fs::write(common.join("refs/heads/x"), b"x").unwrap();
        assert!(matches!(revisions.look("x").unwrap().looks, Looks::Loose(_)));
        assert_eq!((opened(&common), opened(&away)), (1, 0));
        assert!(revisions.get("x").is_none() && held.iter().all(|watch| watch.revision().is_none()));
    }

    #[test]
    fn kept_until_a_deciding_file_changes_and_never_more_than_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("refs/heads")).unwrap();
        std::fs::create_dir_all(at("refs/tags")).unwrap();
        let revisions = Revisions::new(dir.path());
        let looked = || revisions.look("x").unwrap();
        let branch = Revision { commit: git2::Oid::ZERO_SHA1, branch: Some("x".into()) };
        for file in ["packed-refs", "refs/tags/x", "refs/heads/x", "refs/heads/x"] {
            revisions.keep("x", looked(), &branch);
            let watch = revisions.watch("x").unwrap();
            assert!(revisions.get("x").as_ref() == Some(&branch) && watch.is(branch.commit));
            assert!(!watch.is(git2::Oid::from_str(&"1".repeat(40)).unwrap()));
            std::fs::write(at(file), file.repeat(1 + at(file).exists() as usize)).unwrap();
            assert!(revisions.get("x").is_none() && !watch.is(branch.commit), "{file}");
        }
        // A branch with a file of its own hides the others, and what it does not explain is not kept.
        revisions.keep("x", looked(), &branch);
        std::fs::write(at("packed-refs"), b"other").unwrap();
        assert_eq!(revisions.get("x"), Some(branch.clone()));
        std::fs::write(at("refs/heads/x"), b"broken").unwrap();
        revisions.keep("x", looked(), &Revision { branch: None, ..branch.clone() });
        assert_eq!(revisions.get("x"), None);
        let nothing = revisions.look("none").unwrap();
        for n in 0..MAX_KEPT {
            revisions.keep(&format!("n{n}"), nothing.clone(), &branch);
        }
        assert!(lock(&revisions.known).len() <= MAX_KEPT);
        for bad in ["..", "../x", "a/../../x", "", "x.lock", "a b"] {
            assert!(revisions.before(bad).is_none(), "{bad}");
        }
    }
}
