//! What a writable mount shows: the tree of the repository, and over it what was written.
//!
//! The [`Superblock`] below never changes by writing. Changes are kept by path, in memory and in the
//! [`Stage`]; an inode number stands for the same file while it is written or renamed. Bytes of a file
//! of the repository are brought into the stage before the first change of them, whole and verified
//! (`copy_up`); cutting a file to nothing needs no byte of it. Asks the network only there.

use crate::inode::{FileNode, Ino, Inode, Place, ROOT};
use crate::stage::{Change, Moved, Stage};
use crate::superblock::Superblock;
use dds_core::{Cx, RepoPath, Result, Source};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{File, Metadata};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::SystemTime;

mod change;
mod copy_up;
mod discard;
mod parted;
mod report;

pub use discard::Discarded;
pub use parted::{Content, Left};
pub use report::{Staged, What};

/// Numbers of staged files and folders begin here; those of the repository stay far below.
const FIRST_INO: Ino = 1 << 40;
/// Staged files that are kept open.
const MAX_KEPT_OPEN: usize = 64;

/// Opens the repository at a commit: where a renamed file comes from.
pub type AtCommit = Box<dyn Fn(&str) -> Result<Arc<dyn Source>> + Send + Sync>;

pub struct Overlay {
    base: Arc<Superblock>,
    stage: Option<Stage>,
    state: RwLock<State>,
    clock: Arc<AtomicU64>,
    next_ino: AtomicU64,
    /// Files whose bytes are on their way into the stage.
    arriving: Mutex<HashMap<Ino, Arc<Mutex<()>>>>,
    /// Staged files that were used last, kept open. Nobody says when a program closes one.
    kept_open: Mutex<VecDeque<Arc<Own>>>,
    /// How often the kernel was told each number, of a folder that can be written.
    known: Mutex<HashMap<Ino, u64>>,
    cx: Cx,
}

#[derive(Default)]
struct State {
    /// What was changed in each folder.
    dirs: BTreeMap<String, BTreeMap<String, Arc<Node>>>,
    /// Where the changed nodes are.
    paths: HashMap<Ino, RepoPath>,
    /// Numbers that have no name any more, and that a program may still have open.
    parted: HashMap<Ino, Arc<Node>>,
    /// What the kernel has to be told ([`Overlay::take_left`]).
    left: Vec<Left>,
    /// Numbers of the repository's files under which other bytes were written: the system may remember those.
    spoiled: HashSet<Ino>,
}

/// A path that is not as in the repository.
pub struct Node {
    /// 0 for what was removed.
    pub ino: Ino,
    pub change: Change,
    /// Where the bytes of a renamed file are; none when that revision cannot be read any more.
    pub base: Option<Arc<FileNode>>,
    pub modified: SystemTime,
    own: Mutex<Weak<Own>>,
    /// When it was last changed, by the clock of the mount.
    seq: Arc<AtomicU64>,
    /// A file of the repository as it is there, at its own path, under another number: one that was discarded,
    /// or was committed while programs had it open.
    restored: bool,
}

impl Node {
    fn executable(&self) -> bool {
        let base = || self.base.as_ref().is_some_and(|base| base.executable);
        self.change.executable().unwrap_or_else(base)
    }
}

/// The bytes of a staged file, open.
pub struct Own {
    pub id: u64,
    pub file: File,
    seq: Arc<AtomicU64>,
    clock: Arc<AtomicU64>,
}

impl Own {
    /// To be called after every change of the bytes.
    pub fn touched(&self) {
        self.seq.store(self.clock.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    }
}

/// What lies at a path.
#[derive(Clone)]
pub enum Item {
    Base(Inode),
    Node(Arc<Node>),
}

impl Item {
    pub fn ino(&self) -> Ino {
        match self {
            Item::Base(inode) => inode.ino(),
            Item::Node(node) => node.ino,
        }
    }

    pub fn is_dir(&self) -> bool {
        match self {
            Item::Base(inode) => matches!(inode, Inode::Dir(_)),
            Item::Node(node) => node.change.is_dir(),
        }
    }

    /// Whether it is marked as a program, here or in the repository.
    pub fn executable(&self) -> bool {
        match self {
            Item::Base(Inode::File(file)) => file.executable,
            Item::Base(Inode::Dir(_)) => false,
            Item::Node(node) => node.executable(),
        }
    }

    /// The file of the repository whose bytes it has.
    pub fn file(&self) -> Option<&Arc<FileNode>> {
        match self {
            Item::Base(Inode::File(file)) => Some(file),
            Item::Base(Inode::Dir(_)) => None,
            Item::Node(node) => node.base.as_ref(),
        }
    }
}

/// The entries of a folder when it was opened, so that what happens meanwhile does not shift them.
#[derive(Clone)]
pub enum Listing {
    Base(Arc<Vec<Ino>>),
    Mixed(Arc<Vec<String>>),
}

impl Listing {
    pub fn len(&self) -> usize {
        match self {
            Listing::Base(numbers) => numbers.len(),
            Listing::Mixed(names) => names.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name at a place; none when the repository has moved on and forgot it.
    pub fn name(&self, at: usize, base: &Superblock) -> Option<String> {
        match self {
            Listing::Base(numbers) => base.inode(*numbers.get(at)?).map(|inode| inode.name().to_owned()),
            Listing::Mixed(names) => names.get(at).cloned(),
        }
    }
}

impl Overlay {
    /// Nothing can be written.
    pub fn read_only(base: Arc<Superblock>, cx: Cx) -> Self {
        Self {
            base,
            stage: None,
            state: RwLock::default(),
            clock: Arc::default(),
            next_ino: AtomicU64::new(FIRST_INO),
            arriving: Mutex::default(),
            kept_open: Mutex::default(),
            known: Mutex::default(),
            cx,
        }
    }

    /// With the changes that were found in `stage`; those that the repository has by now are dropped.
    pub fn new(
        base: Arc<Superblock>,
        stage: Stage,
        changes: BTreeMap<RepoPath, Change>,
        at_commit: &AtCommit,
        cx: Cx,
    ) -> Self {
        let overlay = Self { stage: Some(stage), ..Self::read_only(base, cx) };
        {
            let mut state = overlay.write();
            for (path, change) in changes {
                let node = overlay.found_again(change, at_commit);
                state.insert(&path, Arc::new(node));
            }
            overlay.number_copies(&mut state);
        }
        overlay.drop_known();
        overlay
    }

    pub fn stage(&self) -> Option<&Stage> {
        self.stage.as_ref()
    }

    pub fn base(&self) -> &Arc<Superblock> {
        &self.base
    }

    /// The entry `name` of a folder.
    pub fn lookup(&self, parent: Ino, name: &str) -> Option<Item> {
        let state = self.read();
        if state.is_plain(parent, &self.base) {
            return self.base.lookup(parent, name).map(Item::Base);
        }
        let path = state.path_of(parent, &self.base)?.child(name).ok()?;
        state.resolve(&path, &self.base)
    }

    /// What a number stands for, also when a file of the repository was removed and is still open.
    pub fn item(&self, ino: Ino) -> Option<Item> {
        let state = self.read();
        match state.paths.get(&ino) {
            Some(path) => state.get(path).cloned().map(Item::Node),
            // The number of bytes that were written, and are gone.
            None if state.spoiled.contains(&ino) => None,
            None => self.base.inode(ino).map(Item::Base),
        }
    }

    /// The folder above.
    pub fn parent(&self, ino: Ino) -> Option<Item> {
        let state = self.read();
        let path = state.path_of(ino, &self.base)?.parent().unwrap_or_default();
        state.resolve(&path, &self.base)
    }

    /// The entries of a folder, sorted by name.
    pub fn children(&self, dir: Ino) -> Option<Listing> {
        let state = self.read();
        if state.is_plain(dir, &self.base) {
            return self.base.children(dir).map(Listing::Base);
        }
        let path = state.path_of(dir, &self.base)?;
        let names = state.children(&path, &self.base)?.into_iter().map(|(name, _)| name);
        Some(Listing::Mixed(Arc::new(names.collect())))
    }

    /// The staged bytes of a file, opened; none while it has those of the repository.
    pub fn own_of(&self, ino: Ino) -> std::io::Result<Option<Arc<Own>>> {
        let state = self.read();
        let Some(node) = state.paths.get(&ino).and_then(|path| state.get(path)) else { return Ok(None) };
        self.open_own(node)
    }

    /// Size and times of staged bytes.
    pub fn metadata(&self, node: &Node) -> Option<Metadata> {
        if let Some(own) = lock(&node.own).upgrade() {
            return own.file.metadata().ok();
        }
        let (stage, id) = (self.stage.as_ref()?, node.change.id()?);
        std::fs::metadata(stage.file_path(id)).ok()
    }

    fn open_own(&self, node: &Node) -> std::io::Result<Option<Arc<Own>>> {
        let (Some(stage), Some(id)) = (&self.stage, node.change.id()) else { return Ok(None) };
        let mut known = lock(&node.own);
        if let Some(own) = known.upgrade() {
            return Ok(Some(own));
        }
        let own = self.own(id, stage.open_file(id)?, node.seq.clone());
        *known = Arc::downgrade(&own);
        Ok(Some(own))
    }

    fn own(&self, id: u64, file: File, seq: Arc<AtomicU64>) -> Arc<Own> {
        let own = Arc::new(Own { id, file, seq, clock: self.clock.clone() });
        let mut kept = lock(&self.kept_open);
        if kept.len() >= MAX_KEPT_OPEN {
            kept.pop_front();
        }
        kept.push_back(own.clone());
        own
    }

    fn node(&self, ino: Ino, change: Change, base: Option<Arc<FileNode>>) -> Node {
        let now = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        Node {
            ino,
            change,
            base,
            modified: SystemTime::now(),
            own: Mutex::default(),
            seq: Arc::new(AtomicU64::new(now)),
            restored: false,
        }
    }

    /// The same node with another change noted.
    fn renewed(&self, node: &Node, change: Change) -> Node {
        let own = lock(&node.own).clone();
        let next = self.node(node.ino, change, node.base.clone());
        // Open handles count with the old one.
        let seq = node.seq.clone();
        seq.store(next.seq.load(Ordering::SeqCst), Ordering::SeqCst);
        Node { own: Mutex::new(own), seq, modified: node.modified, ..next }
    }

    fn fresh_ino(&self) -> Ino {
        self.next_ino.fetch_add(1, Ordering::Relaxed)
    }

    fn found_again(&self, change: Change, at_commit: &AtCommit) -> Node {
        let (mut ino, mut base) = (self.fresh_ino(), None);
        match &change {
            Change::Removed => ino = 0,
            Change::Moved(moved) => {
                base = self.origin(moved, at_commit);
                if let Some(file) = base.as_ref().filter(|file| file.ino != ROOT) {
                    ino = file.ino;
                }
            }
            Change::File { .. } | Change::Dir { .. } => {}
        }
        self.node(ino, change, base)
    }

    /// The file of the repository that was renamed, at the revision at which that happened.
    fn origin(&self, moved: &Moved, at_commit: &AtCommit) -> Option<Arc<FileNode>> {
        if let Some(Inode::File(file)) = self.base.at(&moved.from) {
            let here = self.base.source().id().ends_with(&moved.commit);
            if here || (moved.digest.is_some() && moved.digest == file.digest) {
                return Some(file);
            }
        }
        let source = at_commit(&moved.commit)
            .inspect_err(|e| tracing::warn!("{} cannot be read at {}: {e}", moved.from, moved.commit))
            .ok()?;
        let place = Place {
            ino: self.fresh_ino(),
            parent: ROOT,
            path: moved.from.clone(),
            modified: SystemTime::now(),
            position: usize::MAX,
            source,
        };
        Some(Arc::new(FileNode::new(place, moved.size, moved.digest, false)))
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn get(&self, path: &RepoPath) -> Option<&Arc<Node>> {
        self.dirs.get(path.parent()?.as_str())?.get(path.name())
    }

    /// Whether the folder is the repository's, at its own place, with nothing changed in it.
    fn is_plain(&self, dir: Ino, base: &Superblock) -> bool {
        if self.paths.is_empty() && self.dirs.is_empty() {
            return true;
        }
        if self.paths.contains_key(&dir) {
            return false;
        }
        base.inode(dir).is_none_or(|inode| !self.dirs.contains_key(inode.path().as_str()))
    }

    fn path_of(&self, ino: Ino, base: &Superblock) -> Option<RepoPath> {
        match self.paths.get(&ino) {
            Some(path) => Some(path.clone()),
            None => base.inode(ino).map(|inode| inode.path().clone()),
        }
    }

    /// What is at a path.
    fn resolve(&self, path: &RepoPath, base: &Superblock) -> Option<Item> {
        let (hidden, node) = self.walk(path)?;
        match node {
            Some(node) if matches!(node.change, Change::Removed) => None,
            Some(node) => Some(Item::Node(node)),
            None if hidden => None,
            None => base.at(path).map(Item::Base),
        }
    }

    /// What the repository would show at a path if nothing was changed at the path itself.
    fn beneath(&self, path: &RepoPath, base: &Superblock) -> Option<Inode> {
        match self.walk(path)? {
            (true, _) => None,
            (false, _) => base.at(path),
        }
    }

    /// The node at a path, and whether a folder above hides the repository; none when there can be
    /// nothing.
    fn walk(&self, path: &RepoPath) -> Option<(bool, Option<Arc<Node>>)> {
        let mut above = Vec::new();
        let mut at = path.parent();
        while let Some(dir) = at.filter(|dir| !dir.is_root()) {
            at = dir.parent();
            above.push(dir);
        }
        let mut hidden = false;
        for dir in above.iter().rev() {
            match self.get(dir).map(|node| &node.change) {
                None => {}
                Some(Change::Dir { over }) => hidden |= over,
                Some(_) => return None,
            }
        }
        Some((hidden, self.get(path).cloned()))
    }

    fn children(&self, path: &RepoPath, base: &Superblock) -> Option<Vec<(String, Item)>> {
        let here = self.resolve(path, base)?;
        if !here.is_dir() {
            return None;
        }
        let below = match &here {
            Item::Node(node) if matches!(node.change, Change::Dir { over: true }) => None,
            _ => self.beneath(path, base),
        };
        let mut found = BTreeMap::new();
        if let Some(Inode::Dir(dir)) = below {
            for inode in dir.children.iter().filter_map(|ino| base.inode(*ino)) {
                found.insert(inode.name().to_owned(), Item::Base(inode));
            }
        }
        for (name, node) in self.dirs.get(path.as_str()).into_iter().flatten() {
            match node.change {
                Change::Removed => drop(found.remove(name)),
                _ => drop(found.insert(name.clone(), Item::Node(node.clone()))),
            }
        }
        Some(found.into_iter().collect())
    }

    fn insert(&mut self, path: &RepoPath, node: Arc<Node>) {
        let Some(parent) = path.parent() else { return };
        if node.ino != 0 {
            self.paths.insert(node.ino, path.clone());
        }
        if node.ino < FIRST_INO && node.change.id().is_some() {
            self.spoiled.insert(node.ino);
        }
        let before = self
            .dirs
            .entry(parent.as_str().to_owned())
            .or_default()
            .insert(path.name().to_owned(), node.clone());
        if let Some(before) = before.filter(|before| before.ino != node.ino) {
            self.paths.remove(&before.ino);
        }
    }

    /// Takes the node at a path and all below it away; gives them.
    fn take(&mut self, path: &RepoPath) -> Vec<(RepoPath, Arc<Node>)> {
        let mut taken = Vec::new();
        let Some(parent) = path.parent() else { return taken };
        if let Some(names) = self.dirs.get_mut(parent.as_str()) {
            if let Some(node) = names.remove(path.name()) {
                self.paths.remove(&node.ino);
                taken.push((path.clone(), node));
            }
            if names.is_empty() {
                self.dirs.remove(parent.as_str());
            }
        }
        // `0` follows `/`.
        let inner: Vec<String> =
            self.dirs.range(format!("{path}/")..format!("{path}0")).map(|(k, _)| k.clone()).collect();
        for dir in inner.into_iter().chain([path.as_str().to_owned()]) {
            for (name, node) in self.dirs.remove(&dir).into_iter().flatten() {
                self.paths.remove(&node.ino);
                if let Ok(at) = RepoPath::parse(&format!("{dir}/{name}")) {
                    taken.push((at, node));
                }
            }
        }
        taken
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
