//! Files that have no name any more, while programs have them open.
//!
//! The kernel says neither when a file is opened nor when it is closed. It says when it forgets a number,
//! which it does not while a program has it open; so what it was told is counted, and what a number without a
//! name stands for is kept until then.

use super::{Item, Node, Overlay, Own, State, lock};
use crate::inode::{FileNode, Ino};
use crate::stage::Stage;
use crate::superblock::Superblock;
use dds_core::RepoPath;
use rustix::io::Errno;
use std::fs::File;
use std::io::Result;
use std::sync::Arc;

/// The bytes behind a number.
pub enum Content {
    /// Staged ones.
    Own(Arc<Own>),
    /// Those of the repository.
    Base(Arc<FileNode>),
}

/// A number that left its place: folder, name, number. The kernel is told, and forgets it in time.
pub type Left = (Ino, String, Ino);

impl Overlay {
    /// The kernel is told a number.
    pub fn met(&self, ino: Ino) {
        if self.stage.is_some() {
            *lock(&self.known).entry(ino).or_insert(0) += 1;
        }
    }

    /// The kernel forgets that it was told a number so many times; with the last, no program has it open.
    pub fn forget(&self, ino: Ino, times: u64) {
        let Some(stage) = &self.stage else { return };
        {
            let mut known = lock(&self.known);
            match known.get_mut(&ino) {
                Some(told) if *told > times => {
                    *told -= times;
                    return;
                }
                _ => drop(known.remove(&ino)),
            }
        }
        let is_kept = |state: &State| state.parted.contains_key(&ino) || state.restored_at(ino).is_some();
        if !is_kept(&self.read()) {
            return;
        }
        let mut state = self.write();
        if self.is_known(ino) {
            return;
        }
        if let Some(id) = state.parted.remove(&ino).and_then(|node| node.change.id()) {
            self.remove_staged(stage, id);
        }
        // The name means the repository's own number again, unless that stands for something else by now, or
        // the kernel may remember other bytes by it.
        if let Some((path, node)) = state.restored_at(ino)
            && let Some(own) = node.base.as_ref().map(|base| base.ino)
            && !state.paths.contains_key(&own)
            && !(state.spoiled.contains(&own) && self.is_known(own))
        {
            state.spoiled.remove(&own);
            state.drop_one(&path, &node);
        }
    }

    /// Nobody has anything open any more: the mount has ended.
    pub fn end(&self) {
        let Some(stage) = &self.stage else { return };
        for node in std::mem::take(&mut self.write().parted).into_values() {
            node.change.id().into_iter().for_each(|id| self.remove_staged(stage, id));
        }
    }

    pub(super) fn is_known(&self, ino: Ino) -> bool {
        lock(&self.known).contains_key(&ino)
    }

    /// The numbers that left their places since the last time.
    pub fn take_left(&self) -> Vec<Left> {
        match self.stage {
            Some(_) => std::mem::take(&mut self.write().left),
            None => Vec::new(),
        }
    }

    /// A node is no longer in the tree. Its bytes stay for those who may have it open.
    pub(super) fn part(&self, state: &mut State, stage: &Stage, node: &Arc<Node>) {
        if node.ino == 0 || node.change.is_dir() {
            return;
        }
        if self.is_known(node.ino) {
            state.parted.insert(node.ino, node.clone());
        } else if let Some(id) = node.change.id() {
            self.remove_staged(stage, id);
        }
    }

    /// Takes staged bytes away.
    pub(super) fn remove_staged(&self, stage: &Stage, id: u64) {
        stage.remove_file(id);
        lock(&self.kept_open).retain(|own| own.id != id);
    }

    /// The bytes of a file, also of one that has no name any more. Errors: `ESTALE`, `EISDIR`, and those of
    /// opening what is staged.
    pub fn content(&self, ino: Ino) -> Result<Content> {
        self.content_in(&self.read(), ino)
    }

    fn content_in(&self, state: &State, ino: Ino) -> Result<Content> {
        if let Some(node) = state.parted(ino, &self.base) {
            return self.content_of(node)?.ok_or_else(|| Errno::STALE.into());
        }
        let node = state.paths.get(&ino).and_then(|path| state.get(path));
        if let Some(node) = node
            && let Some(own) = self.open_own(node)?
        {
            return Ok(Content::Own(own));
        }
        let item = match node {
            Some(node) => Item::Node(node.clone()),
            // The number of bytes that were written, and are gone.
            None if state.spoiled.contains(&ino) => return Err(Errno::STALE.into()),
            None => Item::Base(self.base.inode(ino).ok_or(Errno::STALE)?),
        };
        match item.file() {
            Some(file) => Ok(Content::Base(file.clone())),
            None if item.is_dir() => Err(Errno::ISDIR.into()),
            // The revision from which it was renamed cannot be read any more.
            None => Err(Errno::IO.into()),
        }
    }

    fn content_of(&self, node: &Node) -> Result<Option<Content>> {
        let own = self.open_own(node)?.map(Content::Own);
        Ok(own.or_else(|| node.base.clone().map(Content::Base)))
    }

    /// The bytes of a number that has no name any more.
    pub fn nameless(&self, ino: Ino) -> Option<Content> {
        let state = self.read();
        self.content_of(state.parted(ino, &self.base)?).ok().flatten()
    }

    /// Changes the staged bytes of a file; false when it has none, and nothing was done. Whoever asks what is
    /// staged, or has it committed, comes before this or after it.
    pub fn change(&self, ino: Ino, work: impl FnOnce(&File) -> Result<()>) -> Result<bool> {
        let state = self.read();
        let Content::Own(own) = self.content_in(&state, ino)? else { return Ok(false) };
        let done = work(&own.file);
        own.touched();
        done.map(|()| true)
    }
}

impl State {
    /// What a number without a name stands for. One that has its name again is as the tree says.
    pub(super) fn parted(&self, ino: Ino, base: &Superblock) -> Option<&Arc<Node>> {
        let parted = self.parted.get(&ino)?;
        let in_base = || {
            let path = base.inode(ino)?.path().clone();
            self.resolve(&path, base).filter(|item| item.ino() == ino)
        };
        (!self.paths.contains_key(&ino) && in_base().is_none()).then_some(parted)
    }

    /// The file of the repository that goes by this number for those who have it open.
    fn restored_at(&self, ino: Ino) -> Option<(RepoPath, Arc<Node>)> {
        let path = self.paths.get(&ino)?;
        let node = self.get(path).filter(|node| node.restored)?;
        Some((path.clone(), node.clone()))
    }
}
