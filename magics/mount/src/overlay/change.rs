//! What programs do to the tree: create, make, remove, rename, change the mode.
//!
//! Every change is noted in the stage before it shows. Errors are those of the system calls.

use super::{Item, Node, Overlay, Own, State, lock};
use crate::inode::{FileNode, Ino, Inode, ROOT};
use crate::open::commit_of;
use crate::stage::{Batch, Change, Moved, Stage};
use dds_core::RepoPath;
use dds_core::repo_path::{MAX_NAME_BYTES, MAX_PATH_BYTES};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::sync::Arc;

/// Most files and folders below a folder that is renamed.
pub const MAX_RENAMED: usize = 1_000_000;

/// A file or folder on its way to another name.
struct Mover {
    to: RepoPath,
    node: Node,
}

impl Overlay {
    /// Makes an empty file, which must not be there.
    pub fn create(
        &self,
        parent: Ino,
        name: &OsStr,
        executable: bool,
    ) -> Result<(Arc<Node>, Arc<Own>), Errno> {
        let stage = self.writable()?;
        let mut state = self.write();
        let path = self.free_path(&state, parent, name)?;
        let (id, file) = stage.new_file().map_err(errno)?;
        let change = Change::File { id, executable: executable.then_some(true) };
        self.note(stage, vec![(path.clone(), Some(change.clone()))])
            .inspect_err(|_| stage.remove_file(id))?;
        let node = Arc::new(self.node(self.fresh_ino(), change, None));
        let own = self.own(id, file, node.seq.clone());
        *lock(&node.own) = Arc::downgrade(&own);
        state.insert(&path, node.clone());
        Ok((node, own))
    }

    pub fn mkdir(&self, parent: Ino, name: &OsStr) -> Result<Arc<Node>, Errno> {
        let stage = self.writable()?;
        let mut state = self.write();
        let path = self.free_path(&state, parent, name)?;
        let change = Change::Dir { over: state.beneath(&path, self.base()).is_some() };
        self.note(stage, vec![(path.clone(), Some(change.clone()))])?;
        let node = Arc::new(self.node(self.fresh_ino(), change, None));
        state.insert(&path, node.clone());
        Ok(node)
    }

    pub fn unlink(&self, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        let stage = self.writable()?;
        let mut state = self.write();
        let path = self.path_in(&state, parent, name)?;
        let item = state.resolve(&path, self.base()).ok_or(Errno::NOENT)?;
        if item.is_dir() {
            return Err(Errno::ISDIR);
        }
        self.remove(stage, &mut state, &path)
    }

    pub fn rmdir(&self, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        let stage = self.writable()?;
        let mut state = self.write();
        let path = self.path_in(&state, parent, name)?;
        let inside = state.resolve(&path, self.base()).ok_or(Errno::NOENT)?;
        if !inside.is_dir() {
            return Err(Errno::NOTDIR);
        }
        if !state.children(&path, self.base()).unwrap_or_default().is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.remove(stage, &mut state, &path)
    }

    /// Renames a file or a folder, also over a file or an empty folder.
    pub fn rename(
        &self,
        parent: Ino,
        name: &OsStr,
        new_parent: Ino,
        new_name: &OsStr,
        replace: bool,
    ) -> Result<(), Errno> {
        let stage = self.writable()?;
        let mut state = self.write();
        let from = self.path_in(&state, parent, name)?;
        let to = self.path_in(&state, new_parent, new_name)?;
        let item = state.resolve(&from, self.base()).ok_or(Errno::NOENT)?;
        if from == to {
            return Ok(());
        }
        if to.strip_prefix(&from).is_some() {
            return Err(Errno::INVAL);
        }
        if let Some(target) = state.resolve(&to, self.base()) {
            match (item.is_dir(), target.is_dir()) {
                _ if !replace => return Err(Errno::EXIST),
                (true, false) => return Err(Errno::NOTDIR),
                (false, true) => return Err(Errno::ISDIR),
                (true, true) if !state.children(&to, self.base()).unwrap_or_default().is_empty() => {
                    return Err(Errno::NOTEMPTY);
                }
                _ => {}
            }
        }
        let movers = self.movers(&state, &from, &to, item)?;
        let gone = state.beneath(&from, self.base()).is_some().then_some(Change::Removed);
        let home = movers.first().is_some_and(|mover| self.is_home(&state, mover));
        let mut batch: Batch = vec![(from.clone(), gone.clone())];
        match home {
            true => batch.push((to.clone(), None)),
            false => batch.extend(movers.iter().map(|m| (m.to.clone(), Some(m.node.change.clone())))),
        }
        self.note(stage, batch)?;
        state.take(&from);
        self.clear(stage, &mut state, &to);
        if let Some(gone) = gone {
            state.insert(&from, Arc::new(self.node(0, gone, None)));
        }
        if !home {
            for mover in movers {
                state.insert(&mover.to, Arc::new(mover.node));
            }
        }
        Ok(())
    }

    /// Notes whether a file can be run. What Git keeps beside that of a mode is nothing.
    pub fn set_executable(&self, ino: Ino, executable: bool) -> Result<(), Errno> {
        let stage = self.writable()?;
        let mut state = self.write();
        // The mode of a file without a name is nobody's.
        let path = state.path_of(ino, self.base());
        let item = path.as_ref().and_then(|path| state.resolve(path, self.base()));
        let (Some(path), Some(item)) = (path, item.filter(|item| item.ino() == ino)) else { return Ok(()) };
        if item.is_dir() || item.executable() == executable {
            return Ok(());
        }
        let node = match &item {
            Item::Base(Inode::File(file)) => {
                self.node(ino, moved(file, Some(executable)), Some(file.clone()))
            }
            Item::Node(node) => {
                let mut change = node.change.clone();
                match &mut change {
                    Change::File { executable: bit, .. } | Change::Moved(Moved { executable: bit, .. }) => {
                        *bit = Some(executable);
                    }
                    Change::Dir { .. } | Change::Removed => {}
                }
                self.renewed(node, change)
            }
            Item::Base(Inode::Dir(_)) => return Ok(()),
        };
        self.note(stage, vec![(path.clone(), Some(node.change.clone()))])?;
        state.insert(&path, Arc::new(node));
        Ok(())
    }

    fn remove(&self, stage: &Stage, state: &mut State, path: &RepoPath) -> Result<(), Errno> {
        let gone = state.beneath(path, self.base()).is_some().then_some(Change::Removed);
        self.note(stage, vec![(path.clone(), gone.clone())])?;
        self.clear(stage, state, path);
        if let Some(gone) = gone {
            state.insert(path, Arc::new(self.node(0, gone, None)));
        }
        Ok(())
    }

    /// Takes what is at a path, and all below it, out of the tree.
    fn clear(&self, stage: &Stage, state: &mut State, path: &RepoPath) {
        if let Some(Item::Base(inode)) = state.resolve(path, self.base()) {
            // Its number stands for the file of the repository again, with or without a name.
            state.parted.remove(&inode.ino());
        }
        for (_, node) in state.take(path) {
            self.part(state, stage, &node);
        }
    }

    /// What has to be noted for everything that goes along, the named one first.
    fn movers(&self, state: &State, from: &RepoPath, to: &RepoPath, item: Item) -> Result<Vec<Mover>, Errno> {
        let mut movers = Vec::new();
        let mut open = vec![(from.clone(), to.clone(), item)];
        while let Some((from, to, item)) = open.pop() {
            if movers.len() > MAX_RENAMED || to.as_str().len() > MAX_PATH_BYTES {
                return Err(if movers.len() > MAX_RENAMED { Errno::NOMEM } else { Errno::NAMETOOLONG });
            }
            if item.is_dir() {
                for (name, child) in state.children(&from, self.base()).unwrap_or_default() {
                    let below = |dir: &RepoPath| dir.child(&name).map_err(|_| Errno::INVAL);
                    open.push((below(&from)?, below(&to)?, child));
                }
            }
            let over = movers.is_empty() && state.beneath(&to, self.base()).is_some();
            let node = match item {
                Item::Base(Inode::File(file)) => self.node(file.ino, moved(&file, None), Some(file.clone())),
                Item::Base(Inode::Dir(dir)) => self.node(dir.ino, Change::Dir { over }, None),
                Item::Node(node) => match &node.change {
                    Change::Dir { .. } => self.renewed(&node, Change::Dir { over }),
                    change => self.renewed(&node, change.clone()),
                },
            };
            movers.push(Mover { to, node });
        }
        Ok(movers)
    }

    /// Whether a renamed file of the repository comes back to where it was.
    fn is_home(&self, state: &State, mover: &Mover) -> bool {
        let (Change::Moved(moved), Some(file)) = (&mover.node.change, &mover.node.base) else { return false };
        let there = state.beneath(&mover.to, self.base());
        moved.executable.is_none() && there.is_some_and(|there| there.ino() == file.ino && file.ino != ROOT)
    }

    fn writable(&self) -> Result<&Stage, Errno> {
        self.stage.as_ref().ok_or(Errno::ROFS)
    }

    fn note(&self, stage: &Stage, batch: Batch) -> Result<(), Errno> {
        stage.note(&batch).map_err(errno)
    }

    /// A path at which nothing is.
    fn free_path(&self, state: &State, parent: Ino, name: &OsStr) -> Result<RepoPath, Errno> {
        let path = self.path_in(state, parent, name)?;
        match state.resolve(&path, self.base()) {
            Some(_) => Err(Errno::EXIST),
            None => Ok(path),
        }
    }

    /// The path of a name in a folder that is there. Names that could not be committed are refused.
    fn path_in(&self, state: &State, parent: Ino, name: &OsStr) -> Result<RepoPath, Errno> {
        let name = name.to_str().ok_or(Errno::ILSEQ)?;
        if name.len() > MAX_NAME_BYTES {
            return Err(Errno::NAMETOOLONG);
        }
        let dir = state.path_of(parent, self.base()).ok_or(Errno::STALE)?;
        let here = state.resolve(&dir, self.base()).filter(|item| item.ino() == parent);
        if !here.ok_or(Errno::NOENT)?.is_dir() {
            return Err(Errno::NOTDIR);
        }
        let path = dir.child(name).map_err(|_| Errno::INVAL)?;
        if path.as_str().len() > MAX_PATH_BYTES {
            return Err(Errno::NAMETOOLONG);
        }
        // Git's own folder, and DVC's settings, are not data.
        let settings = path.components().next() == Some(".dvc");
        match RepoPath::parse_writable(path.as_str()) {
            Ok(path) if !settings => Ok(path),
            _ => Err(Errno::PERM),
        }
    }
}

fn moved(file: &FileNode, executable: Option<bool>) -> Change {
    Change::Moved(Moved {
        from: file.path.clone(),
        commit: commit_of(&file.source.id()).unwrap_or_default().to_owned(),
        size: file.known_size(),
        digest: file.digest,
        executable,
    })
}

pub(super) fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
