//! The superblock: the whole tree of one repository at one revision, as inodes.
//!
//! Loaded by one recursive listing, kept in memory (some 200 bytes a file), replaced as a whole when
//! the repository moves on. Reads no file and announces nothing.

use crate::inode::{DirNode, FileNode, Ino, Inode, Place, ROOT};
use dds_core::{Cx, Entry, EntryKind, Error, Kind, RepoPath, Result, Source};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

/// Most files of one mount.
pub const MAX_FILES: usize = 4_000_000;
/// After this many refreshes an inode that left the tree is forgotten; files still open on it then
/// read `EIO`.
pub const KEEP_GENERATIONS: u32 = 4;

/// The tree. Shared by all threads of a mount.
pub struct Superblock {
    tree: RwLock<Tree>,
}

struct Tree {
    source: Arc<dyn Source>,
    /// Indexed by inode number minus one.
    nodes: Vec<Slot>,
    /// All files, depth first.
    order: Arc<Vec<Ino>>,
    bytes: u64,
    sizes_known: bool,
    generation: u32,
}

#[derive(Clone)]
enum Slot {
    Live(Inode),
    /// Left the tree in that generation; still readable.
    Gone(Inode, u32),
    Free,
}

/// What a refresh changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Folder and name of entries whose number is no longer valid there.
    pub stale: Vec<(Ino, String)>,
    /// Folders whose listing changed.
    pub dirs: Vec<Ino>,
    pub added: usize,
    pub removed: usize,
}

impl Superblock {
    /// Lists everything below the root of `source`. `modified` becomes every file's time stamp.
    ///
    /// Errors: those of [`Source::list`]; `Format` when a path is both file and folder; `Limit`.
    pub fn load(source: Arc<dyn Source>, modified: SystemTime, cx: &Cx) -> Result<Self> {
        let entries = source.list(&RepoPath::root(), true, cx)?;
        Ok(Self { tree: RwLock::new(Tree::build(None, entries, source, modified)?) })
    }

    /// Moves to another revision of the same repository. Paths whose bytes are the same keep their
    /// inode; the others get new ones.
    ///
    /// Errors: as [`Superblock::load`]; the tree is then unchanged.
    pub fn refresh(&self, source: Arc<dyn Source>, modified: SystemTime, cx: &Cx) -> Result<Changes> {
        // Listed before the lock is taken: readers go on meanwhile.
        let entries = source.list(&RepoPath::root(), true, cx)?;
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        let next = Tree::build(Some(&tree), entries, source, modified)?;
        let changes = tree.changes(&next);
        *tree = next;
        Ok(changes)
    }

    /// The inode, also when it left the tree a few refreshes ago.
    pub fn inode(&self, ino: Ino) -> Option<Inode> {
        self.read().any(ino).cloned()
    }

    pub fn file(&self, ino: Ino) -> Option<Arc<FileNode>> {
        match self.inode(ino)? {
            Inode::File(file) => Some(file),
            Inode::Dir(_) => None,
        }
    }

    /// The entry `name` of the folder `parent`.
    pub fn lookup(&self, parent: Ino, name: &str) -> Option<Inode> {
        self.read().child(parent, name).cloned()
    }

    /// The numbers in a folder, sorted by name.
    pub fn children(&self, dir: Ino) -> Option<Arc<Vec<Ino>>> {
        match self.read().live(dir)? {
            Inode::Dir(dir) => Some(dir.children.clone()),
            Inode::File(_) => None,
        }
    }

    /// The entry at a path from the root.
    pub fn at(&self, path: &RepoPath) -> Option<Inode> {
        self.read().at(path).cloned()
    }

    /// All files, depth first: the order in which a walk reads them.
    pub fn order(&self) -> Arc<Vec<Ino>> {
        self.read().order.clone()
    }

    /// The revision that is mounted now.
    pub fn source(&self) -> Arc<dyn Source> {
        self.read().source.clone()
    }

    /// Number of files and the sum of their known sizes in bytes.
    pub fn totals(&self) -> (u64, u64) {
        let tree = self.read();
        (tree.order.len() as u64, tree.bytes)
    }

    /// Whether the listing told every file's size.
    pub fn sizes_known(&self) -> bool {
        self.read().sizes_known
    }

    fn read(&self) -> RwLockReadGuard<'_, Tree> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    /// Builds the tree of `entries`, taking inode numbers over from `old` where bytes and mode are the same.
    fn build(
        old: Option<&Tree>,
        mut entries: Vec<Entry>,
        source: Arc<dyn Source>,
        modified: SystemTime,
    ) -> Result<Tree> {
        entries.retain(|e| e.kind == EntryKind::File && !e.path.is_root());
        if entries.len() > MAX_FILES {
            let count = entries.len();
            return Err(Error::new(Kind::Limit, format!("{count} files are more than a mount can hold"))
                .hint(format!("a mount holds at most {MAX_FILES} files")));
        }
        // By component, so that a folder's files stand together and in the order of a walk.
        entries.sort_by(|a, b| a.path.components().cmp(b.path.components()));
        entries.dedup_by(|a, b| a.path == b.path);

        let same_revision = old.is_some_and(|old| old.source.id() == source.id());
        let mut builder = Builder {
            old,
            nodes: old.map_or_else(Vec::new, |old| vec![Slot::Free; old.nodes.len()]),
            open: Vec::new(),
            modified,
        };
        builder.enter(RepoPath::root(), ROOT);
        let mut order = Vec::with_capacity(entries.len());
        let (mut bytes, mut sizes_known) = (0_u64, true);
        for entry in entries {
            let parent = builder.descend(&entry.path)?;
            let known = old.and_then(|old| match old.at(&entry.path)? {
                Inode::File(file) => {
                    let same = same_revision || (file.digest.is_some() && file.digest == entry.digest);
                    // The kernel remembers modes by number, too.
                    (same && file.executable == entry.executable).then(|| file.clone())
                }
                Inode::Dir(_) => None,
            });
            let ino = known.as_ref().map_or_else(|| builder.fresh(), |file| file.ino);
            let size = entry.size.or_else(|| known.as_ref().and_then(|file| file.known_size()));
            match size {
                Some(size) => bytes = bytes.saturating_add(size),
                None => sizes_known = false,
            }
            let place = Place {
                ino,
                parent,
                path: entry.path,
                modified: known.as_ref().map_or(modified, |file| file.modified),
                position: order.len(),
                source: source.clone(),
            };
            let file = FileNode::new(place, size, entry.digest, entry.executable);
            builder.put(ino, Inode::File(Arc::new(file)));
            builder.adopt(ino);
            order.push(ino);
        }
        builder.leave_to(0);
        let generation = old.map_or(0, |old| old.generation.saturating_add(1));
        let mut nodes = builder.nodes;
        if let Some(old) = old {
            for (slot, before) in nodes.iter_mut().zip(&old.nodes) {
                if matches!(slot, Slot::Free) {
                    *slot = match before {
                        Slot::Live(inode) => Slot::Gone(inode.clone(), generation),
                        Slot::Gone(inode, since) if generation - since < KEEP_GENERATIONS => {
                            Slot::Gone(inode.clone(), *since)
                        }
                        Slot::Gone(..) | Slot::Free => Slot::Free,
                    };
                }
            }
        }
        Ok(Tree { source, nodes, order: Arc::new(order), bytes, sizes_known, generation })
    }

    fn slot(&self, ino: Ino) -> Option<&Slot> {
        self.nodes.get(usize::try_from(ino.checked_sub(1)?).ok()?)
    }

    fn live(&self, ino: Ino) -> Option<&Inode> {
        match self.slot(ino)? {
            Slot::Live(inode) => Some(inode),
            Slot::Gone(..) | Slot::Free => None,
        }
    }

    fn any(&self, ino: Ino) -> Option<&Inode> {
        match self.slot(ino)? {
            Slot::Live(inode) | Slot::Gone(inode, _) => Some(inode),
            Slot::Free => None,
        }
    }

    fn child(&self, dir: Ino, name: &str) -> Option<&Inode> {
        let Inode::Dir(dir) = self.live(dir)? else { return None };
        let found =
            dir.children.binary_search_by(|ino| self.live(*ino).map_or("", Inode::name).cmp(name)).ok()?;
        self.live(*dir.children.get(found)?)
    }

    fn at(&self, path: &RepoPath) -> Option<&Inode> {
        let mut inode = self.live(ROOT)?;
        for name in path.components() {
            inode = self.child(inode.ino(), name)?;
        }
        Some(inode)
    }

    fn changes(&self, next: &Tree) -> Changes {
        let mut changes = Changes::default();
        for slot in &self.nodes {
            let Slot::Live(inode) = slot else { continue };
            match (inode, next.live(inode.ino())) {
                (_, None) => {
                    changes.stale.push((inode.parent(), inode.name().to_owned()));
                    changes.removed += usize::from(matches!(inode, Inode::File(_)));
                }
                (Inode::Dir(before), Some(Inode::Dir(after))) if before.children != after.children => {
                    changes.dirs.push(before.ino);
                }
                _ => {}
            }
        }
        changes.added = next
            .nodes
            .iter()
            .filter(|slot| matches!(slot, Slot::Live(Inode::File(file)) if self.live(file.ino).is_none()))
            .count();
        changes
    }
}

/// Folders on the way to the file that is being added; the last one is the deepest.
struct Builder<'a> {
    old: Option<&'a Tree>,
    nodes: Vec<Slot>,
    open: Vec<OpenDir>,
    modified: SystemTime,
}

struct OpenDir {
    ino: Ino,
    path: RepoPath,
    children: Vec<Ino>,
}

impl Builder<'_> {
    /// A number that was never used.
    fn fresh(&mut self) -> Ino {
        self.nodes.push(Slot::Free);
        self.nodes.len() as Ino
    }

    fn put(&mut self, ino: Ino, inode: Inode) {
        if let Some(slot) = usize::try_from(ino - 1).ok().and_then(|at| self.nodes.get_mut(at)) {
            *slot = Slot::Live(inode);
        }
    }

    /// Adds `ino` to the deepest open folder.
    fn adopt(&mut self, ino: Ino) {
        if let Some(dir) = self.open.last_mut() {
            dir.children.push(ino);
        }
    }

    fn enter(&mut self, path: RepoPath, ino: Ino) {
        if self.nodes.is_empty() {
            self.nodes.push(Slot::Free);
        }
        self.open.push(OpenDir { ino, path, children: Vec::new() });
    }

    /// Opens the folders that hold `file` and closes those that do not; gives the containing one.
    fn descend(&mut self, file: &RepoPath) -> Result<Ino> {
        let names: Vec<&str> = file.components().collect();
        let dirs = names.len().saturating_sub(1);
        let shared = self
            .open
            .iter()
            .skip(1)
            .zip(names.iter().take(dirs))
            .take_while(|(dir, name)| dir.path.name() == **name)
            .count();
        self.leave_to(shared + 1);
        for name in names.iter().take(dirs).skip(shared) {
            let conflict = self.open.last().and_then(|dir| dir.children.last()).is_some_and(|ino| {
                matches!(self.nodes.get((*ino - 1) as usize), Some(Slot::Live(other)) if other.name() == *name)
            });
            let parent = self.open.last().map_or_else(RepoPath::root, |dir| dir.path.clone());
            let path = parent.child(name)?;
            if conflict {
                return Err(Error::new(
                    Kind::Format,
                    format!("the repository lists {path} both as a file and as a folder"),
                ));
            }
            let known = self.old.and_then(|old| match old.at(&path)? {
                Inode::Dir(dir) => Some(dir.ino),
                Inode::File(_) => None,
            });
            let ino = known.unwrap_or_else(|| self.fresh());
            self.adopt(ino);
            self.enter(path, ino);
        }
        Ok(self.open.last().map_or(ROOT, |dir| dir.ino))
    }

    /// Closes open folders until `depth` are left.
    fn leave_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            let Some(dir) = self.open.pop() else { return };
            let parent = self.open.last().map_or(ROOT, |parent| parent.ino);
            let before = self.old.and_then(|old| match old.live(dir.ino)? {
                Inode::Dir(before) if *before.children == dir.children => Some(before.modified),
                _ => None,
            });
            let node = DirNode {
                ino: dir.ino,
                parent,
                path: dir.path,
                children: Arc::new(dir.children),
                modified: before.unwrap_or(self.modified),
            };
            self.put(dir.ino, Inode::Dir(Arc::new(node)));
        }
    }
}

#[cfg(test)]
mod tests;
