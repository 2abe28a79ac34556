//! What is staged, for people and for a commit, and what is left of it afterwards.

use super::discard::noted;
use super::{Item, Node, Overlay, State};
use crate::inode::{Ino, Inode};
use crate::stage::{Batch, Change};
use crate::superblock::Superblock;
use dds_core::RepoPath;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One file that differs from the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    pub path: RepoPath,
    pub what: What,
    /// Bytes, now; for what was removed, those it had.
    pub size: Option<u64>,
    pub executable: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A new file; its bytes are in the file `at`.
    Added {
        at: PathBuf,
    },
    /// Other bytes in a file of the repository.
    Changed {
        at: PathBuf,
    },
    /// The bytes that `from` has at `commit`, under this name. The same name: only its mode changed.
    Renamed {
        from: RepoPath,
        commit: String,
    },
    Removed,
}

impl Overlay {
    /// Everything that is staged, sorted by path, and the time of this answer, for [`Overlay::settle`].
    pub fn staged(&self) -> (Vec<Staged>, u64) {
        // Written under the lock, so that nothing is half done.
        let state = self.write();
        (self.staged_in(&state), self.clock.load(Ordering::SeqCst))
    }

    pub(super) fn staged_in(&self, state: &State) -> Vec<Staged> {
        let mut found = Vec::new();
        let (mut files, mut hiding) = (BTreeSet::new(), Vec::new());
        for (path, node) in state.nodes() {
            match &node.change {
                Change::File { .. } | Change::Moved(_) => drop(files.insert(path.clone())),
                Change::Removed | Change::Dir { .. } => {}
            }
            if !matches!(node.change, Change::Dir { over: false }) {
                hiding.push(path.clone());
            }
            if let Some(staged) = self.staged_at(&path, &node) {
                found.push(staged);
            }
        }
        let mut removed = BTreeSet::new();
        for path in hiding {
            for (at, size) in self.base.files_below(&path).into_iter().filter(|(at, _)| !files.contains(at)) {
                if removed.insert(at.clone()) {
                    found.push(Staged { path: at, what: What::Removed, size, executable: None });
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    fn staged_at(&self, path: &RepoPath, node: &Node) -> Option<Staged> {
        let there = self.base.at(path).filter(|inode| matches!(inode, Inode::File(_)));
        let (what, size) = match &node.change {
            Change::File { id, .. } => {
                let at = self.stage.as_ref()?.file_path(*id);
                let what = if there.is_some() { What::Changed { at } } else { What::Added { at } };
                (what, self.metadata(node).map(|meta| meta.len()))
            }
            Change::Moved(moved) => {
                let same = node.base.as_ref().zip(there).is_some_and(|(base, there)| base.ino == there.ino());
                let is_executable = node.base.as_ref().is_some_and(|base| base.executable);
                if same && moved.executable.is_none_or(|executable| executable == is_executable) {
                    return None;
                }
                (What::Renamed { from: moved.from.clone(), commit: moved.commit.clone() }, moved.size)
            }
            Change::Dir { .. } | Change::Removed => return None,
        };
        // A renamed program stays one.
        let executable = node.change.executable().or_else(|| node.executable().then_some(true));
        Some(Staged { path: path.clone(), what, size, executable })
    }

    /// The repository below has moved. With `until`, because everything that was staged at that time
    /// is in it now; that is dropped, but for what changed since. A file that a program may still have open
    /// keeps its number, by which it is read and written on.
    ///
    /// Gives the names whose number is no longer valid.
    pub fn settle(&self, until: Option<u64>) -> Vec<(Ino, String)> {
        let Some(stage) = &self.stage else { return Vec::new() };
        let mut state = self.write();
        let mut dropped = Vec::new();
        for (path, node) in state.nodes() {
            let base = self.base.at(&path);
            let seq = node.seq.load(Ordering::SeqCst);
            let is_in = until.is_some_and(|until| seq <= until);
            let drop = match &node.change {
                Change::Removed => is_in || base.is_none(),
                // Git keeps no empty folders, but their owner made them for something.
                Change::Dir { .. } => is_in && base.is_some(),
                Change::Moved(_) if node.restored => {
                    // As long as that is what the repository has there.
                    base.zip(node.base.as_ref()).is_none_or(|(base, as_it_was)| base.ino() != as_it_was.ino)
                }
                Change::File { .. } | Change::Moved(_) => is_in,
            };
            if drop {
                dropped.push((path, node));
            }
        }
        let mut stale = Vec::new();
        let mut batch: Batch = Vec::new();
        for (path, node) in &dropped {
            batch.push((path.clone(), None));
            let parent = path.parent().and_then(|parent| state.resolve(&parent, &self.base));
            let Some(parent) = parent.map(|parent| parent.ino()) else { continue };
            match (node.change.id(), self.base.at(path)) {
                (Some(_), Some(Inode::File(_))) if self.is_known(node.ino) => {}
                (Some(_), _) => {
                    stale.push((parent, path.name().to_owned()));
                    state.left.push((parent, path.name().to_owned(), node.ino));
                }
                (None, _) => stale.push((parent, path.name().to_owned())),
            }
        }
        for (path, node) in &dropped {
            state.drop_one(path, node);
        }
        for (path, node) in dropped {
            let Some(id) = node.change.id() else {
                // Others have another file there now.
                if node.restored {
                    self.part(&mut state, stage, &node);
                }
                continue;
            };
            match self.base.at(&path) {
                Some(Inode::File(base)) => {
                    if base.ino == node.ino {
                        // For these very bytes.
                        state.spoiled.remove(&node.ino);
                    } else if self.is_known(node.ino) {
                        let node = self.under_number(node.ino, base);
                        state.insert(&path, Arc::new(node));
                    }
                    self.remove_staged(stage, id);
                }
                // Others removed it meanwhile.
                _ => self.part(&mut state, stage, &node),
            }
        }
        self.keep_folders(&mut state);
        // To drop a path drops all below it, so what stays is said again.
        batch.extend(noted(&state));
        if let Err(e) = stage.note(&batch).and_then(|()| stage.sync()) {
            tracing::warn!("the staging area could not be brought up to date: {e}");
        }
        stale
    }

    /// After opening an area: what the repository holds by now, because a commit went through whose
    /// end was not seen, is no change any more.
    pub(super) fn drop_known(&self) {
        let Some(stage) = &self.stage else { return };
        let mut state = self.write();
        let mut batch: Batch = Vec::new();
        for (path, node) in state.nodes() {
            // What a new folder hides is not known, even where it is the same.
            let base = state.beneath(&path, &self.base);
            let known = match (&node.change, &base) {
                (Change::Removed, None) | (Change::Dir { over: false }, Some(Inode::Dir(_))) => true,
                (Change::File { id, .. }, Some(Inode::File(file))) => {
                    let like = file.digest;
                    let held = like.map(|like| dds_data::store::digest_of_file(&stage.file_path(*id), &like));
                    held.is_some_and(|held| held.is_ok_and(|(held, _)| Some(held) == like))
                }
                (Change::Moved(moved), Some(Inode::File(file))) => {
                    moved.digest.is_some() && moved.digest == file.digest
                }
                _ => false,
            };
            let mode_known = node.change.executable().is_none_or(
                |executable| matches!(&base, Some(Inode::File(file)) if file.executable == executable),
            );
            if known && mode_known {
                state.drop_one(&path, &node);
                batch.push((path, None));
                node.change.id().into_iter().for_each(|id| stage.remove_file(id));
            }
        }
        self.keep_folders(&mut state);
        batch.extend(state.nodes().into_iter().map(|(path, node)| (path, Some(node.change.clone()))));
        if let Err(e) = stage.note(&batch) {
            tracing::warn!("the staging area could not be brought up to date: {e}");
        }
    }

    /// Folders that hold changes stay, also when the repository has none of that name any more.
    pub(super) fn keep_folders(&self, state: &mut State) {
        for (path, _) in state.nodes() {
            let mut above: Vec<RepoPath> = Vec::new();
            let mut at = path.parent();
            while let Some(dir) = at.filter(|dir| !dir.is_root()) {
                at = dir.parent();
                above.push(dir);
            }
            for dir in above.iter().rev() {
                let is_dir = state.resolve(dir, &self.base).as_ref().is_some_and(Item::is_dir);
                if !is_dir {
                    let change = Change::Dir { over: state.beneath(dir, &self.base).is_some() };
                    state.insert(dir, Arc::new(self.node(self.fresh_ino(), change, None)));
                }
            }
        }
    }
}

impl State {
    /// All nodes, folders before what is in them.
    pub(super) fn nodes(&self) -> Vec<(RepoPath, Arc<Node>)> {
        let mut nodes: Vec<(RepoPath, Arc<Node>)> = Vec::new();
        for (dir, names) in &self.dirs {
            let Ok(dir) = RepoPath::parse(dir) else { continue };
            nodes.extend(names.iter().filter_map(|(name, node)| Some((dir.child(name).ok()?, node.clone()))));
        }
        nodes.sort_by(|(a, _), (b, _)| a.components().cmp(b.components()));
        nodes
    }

    /// Takes one node away and leaves those below it.
    pub(super) fn drop_one(&mut self, path: &RepoPath, node: &Node) {
        self.paths.remove(&node.ino);
        let Some(parent) = path.parent() else { return };
        if let Some(names) = self.dirs.get_mut(parent.as_str()) {
            names.remove(path.name());
            if names.is_empty() {
                self.dirs.remove(parent.as_str());
            }
        }
    }
}

impl Superblock {
    /// The file at a path, or all files below it, with the sizes that are known.
    pub fn files_below(&self, path: &RepoPath) -> Vec<(RepoPath, Option<u64>)> {
        let mut found = Vec::new();
        let mut open: Vec<Inode> = self.at(path).into_iter().collect();
        while let Some(inode) = open.pop() {
            match inode {
                Inode::File(file) => found.push((file.path.clone(), file.known_size())),
                Inode::Dir(dir) => open.extend(dir.children.iter().filter_map(|ino| self.inode(*ino))),
            }
        }
        found
    }
}
