//! Taking back what is staged: some files, or all.
//!
//! What a person sees are files that were added, changed, renamed and removed ([`Staged`]); what is kept are
//! nodes, of which one may hide a whole folder. So it is settled first which of the files are taken back, then
//! the nodes that remain are made anew.

use super::report::Staged;
use super::{Item, Node, Overlay, State, What};
use crate::inode::{FileNode, Ino, Inode};
use crate::open::commit_of;
use crate::stage::{Batch, Change, Moved};
use dds_core::{Error, Kind, RepoPath, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What came of it.
pub struct Discarded {
    pub files: Vec<Staged>,
    /// Folder and name of entries that are others now.
    pub stale: Vec<(Ino, String)>,
}

impl Overlay {
    /// Takes back what is staged at `paths` and below them; without any, everything. Of what was renamed both
    /// names are as before, and of what stands in the place of something else, that. Who has such a file open
    /// keeps its bytes, as those of a removed one.
    ///
    /// # Errors
    /// `Usage` for a path at which nothing is staged; nothing has changed then. `Io`.
    pub fn discard(&self, paths: &[RepoPath]) -> Result<Discarded> {
        let Some(stage) = &self.stage else { return Err(Error::usage("nothing can be staged here")) };
        // Until it is done nobody writes, and nobody opens.
        let mut state = self.write();
        let staged: BTreeMap<RepoPath, Staged> =
            self.staged_in(&state).into_iter().map(|one| (one.path.clone(), one)).collect();
        let gone = chosen(&staged, paths)?;
        let nodes = state.nodes();
        let mut next = State { spoiled: state.spoiled.clone(), ..State::default() };
        for (path, node) in self.remaining(&state, &nodes, &gone, paths) {
            next.insert(&path, node);
        }
        self.keep_folders(&mut next);
        let mut batch: Batch = nodes.iter().map(|(path, _)| (path.clone(), None)).collect();
        batch.extend(noted(&next));
        stage
            .note(&batch)
            .and_then(|()| stage.sync())
            .map_err(|e| Error::io(stage.dir(), &e).context("nothing was discarded"))?;
        let stale = self.other_entries(&state, &next, &gone, &nodes);
        next.parted = std::mem::take(&mut state.parted);
        next.left = std::mem::take(&mut state.left);
        for (path, node) in
            nodes.iter().filter(|(path, node)| gone.contains(path) && node.change.id().is_some())
        {
            let parent = path.parent().and_then(|parent| state.resolve(&parent, &self.base));
            next.left.extend(parent.map(|parent| (parent.ino(), path.name().to_owned(), node.ino)));
        }
        *state = next;
        for (_, node) in nodes.iter().filter(|(path, _)| gone.contains(path)) {
            self.part(&mut state, stage, node);
        }
        let files = staged.into_values().filter(|one| gone.contains(&one.path)).collect();
        Ok(Discarded { files, stale })
    }

    /// The nodes that stay, folders before what is in them.
    fn remaining(
        &self,
        state: &State,
        nodes: &[(RepoPath, Arc<Node>)],
        gone: &BTreeSet<RepoPath>,
        named: &[RepoPath],
    ) -> Vec<(RepoPath, Arc<Node>)> {
        let mut kept: BTreeMap<RepoPath, Arc<Node>> = BTreeMap::new();
        let mut hidden = Vec::new();
        for (path, node) in nodes {
            let hides = !matches!(node.change, Change::Dir { over: false });
            let is_lifted = hides && (gone.contains(path) || holds(gone, path)) && {
                let below = self.base.files_below(path);
                below.iter().any(|(at, _)| gone.contains(at))
            };
            if is_lifted {
                self.hide_but(gone, path, &mut hidden);
            }
            match &node.change {
                // Of a folder: it stands in the place of a file that comes back.
                _ if gone.contains(path) => {}
                Change::Removed if is_lifted => {}
                Change::Dir { over: true } if is_lifted => {
                    let shows = Change::Dir { over: false };
                    kept.insert(path.clone(), Arc::new(self.renewed(node, shows)));
                }
                _ => drop(kept.insert(path.clone(), node.clone())),
            }
        }
        // What stays hidden is that by itself now.
        for path in hidden {
            match kept.get(&path).map(|node| (node, node.change.is_dir())) {
                Some((node, true)) => {
                    let node = self.renewed(node, Change::Dir { over: true });
                    kept.insert(path, Arc::new(node));
                }
                Some((_, false)) => {}
                None => drop(kept.insert(path, Arc::new(self.node(0, Change::Removed, None)))),
            }
        }
        // Folders that were made for what is taken back.
        let concerned = |dir: &RepoPath| {
            named.is_empty() || named.iter().any(|at| dir.strip_prefix(at).is_some()) || holds(gone, dir)
        };
        let dirs: Vec<RepoPath> =
            kept.iter().rev().filter(|(_, node)| node.change.is_dir()).map(|(at, _)| at.clone()).collect();
        for dir in dirs {
            let over = kept.get(&dir).is_some_and(|node| node.change == Change::Dir { over: true });
            let in_the_way = dir.parent().is_some_and(|above| within(gone, &above));
            let needed = || below(&dir, kept.range(dir.clone()..).map(|(at, _)| at)).next().is_some();
            if in_the_way || (concerned(&dir) && !over && !needed()) {
                kept.remove(&dir);
            }
        }
        self.restored(state, &mut kept, gone);
        let mut kept: Vec<_> = kept.into_iter().collect();
        kept.sort_by(|(a, _), (b, _)| a.components().cmp(b.components()));
        kept
    }

    /// The largest parts of what the repository has at `path` that hold nothing of `gone`.
    fn hide_but(&self, gone: &BTreeSet<RepoPath>, path: &RepoPath, hidden: &mut Vec<RepoPath>) {
        let mut open = vec![path.clone()];
        while let Some(path) = open.pop() {
            match self.base.at(&path) {
                Some(Inode::Dir(dir)) if holds(gone, &path) => {
                    let below = dir.children.iter().filter_map(|ino| self.base.inode(*ino));
                    open.extend(below.map(|inode| inode.path().clone()));
                }
                Some(_) if !gone.contains(&path) => hidden.push(path),
                _ => {}
            }
        }
    }

    /// Numbers stand for one thing only, and the system remembers bytes by them. A file of the repository
    /// whose number was that of other bytes comes back under a new one, and a folder that keeps its new name
    /// leaves its number to the old one.
    fn restored(&self, state: &State, kept: &mut BTreeMap<RepoPath, Arc<Node>>, gone: &BTreeSet<RepoPath>) {
        let in_use: BTreeSet<Ino> = kept.values().map(|node| node.ino).collect();
        for path in gone {
            let Some(Inode::File(file)) = self.base.at(path) else { continue };
            if state.spoiled.contains(&file.ino) || in_use.contains(&file.ino) {
                kept.insert(path.clone(), Arc::new(self.under_number(self.fresh_ino(), file)));
            }
        }
        for (path, node) in kept.iter_mut().filter(|(_, node)| node.change.is_dir()) {
            if let Some(Inode::Dir(dir)) = self.base.inode(node.ino)
                && dir.path != *path
                && holds(gone, &dir.path)
            {
                *node = Arc::new(self.node(self.fresh_ino(), node.change.clone(), None));
            }
        }
    }

    /// A file of the repository at its own path, by a number that is not its own there.
    pub(super) fn under_number(&self, ino: Ino, file: Arc<FileNode>) -> Node {
        let moved = Moved {
            from: file.path.clone(),
            commit: commit_of(&file.source.id()).unwrap_or_default().to_owned(),
            size: file.known_size(),
            digest: file.digest,
            executable: None,
        };
        Node { restored: true, ..self.node(ino, Change::Moved(moved), Some(file)) }
    }

    /// A file that was renamed, and whose old name is the repository's again because what stood there was
    /// discarded: the number is that one's.
    pub(super) fn number_copies(&self, state: &mut State) {
        for (path, node) in state.nodes() {
            let at_home = node.base.as_ref().filter(|base| base.ino == node.ino && base.path != path);
            if let Some(home) = at_home
                && matches!(state.resolve(&home.path, &self.base), Some(Item::Base(_)))
            {
                let copy = self.node(self.fresh_ino(), node.change.clone(), Some(home.clone()));
                state.insert(&path, Arc::new(copy));
            }
        }
    }

    /// Where another number stands now than before, or none, or one for the first time.
    fn other_entries(
        &self,
        before: &State,
        after: &State,
        gone: &BTreeSet<RepoPath>,
        nodes: &[(RepoPath, Arc<Node>)],
    ) -> Vec<(Ino, String)> {
        let mut stale = BTreeSet::new();
        let folder = |state: &State, path: &RepoPath| -> Option<Ino> {
            state.resolve(&path.parent()?, &self.base).filter(Item::is_dir).map(|item| item.ino())
        };
        for path in gone.iter().chain(nodes.iter().map(|(path, _)| path)) {
            for state in [before, after] {
                stale.extend(folder(state, path).map(|parent| (parent, path.name().to_owned())));
            }
        }
        stale.into_iter().collect()
    }
}

/// What is noted on disk: all but those that are as in the repository.
pub(super) fn noted(state: &State) -> impl Iterator<Item = (RepoPath, Option<Change>)> {
    let staged = state.nodes().into_iter().filter(|(_, node)| !node.restored);
    staged.map(|(path, node)| (path, Some(node.change.clone())))
}

/// Those of sorted paths, from `dir` on, that lie below it.
fn below<'a>(
    dir: &'a RepoPath,
    from: impl Iterator<Item = &'a RepoPath>,
) -> impl Iterator<Item = &'a RepoPath> {
    // Names such as `a-b` and `a.b` stand between `a` and `a/b`.
    from.take_while(|at| at.as_str().starts_with(dir.as_str()))
        .filter(move |at| *at != dir && at.strip_prefix(dir).is_some())
}

fn holds(paths: &BTreeSet<RepoPath>, dir: &RepoPath) -> bool {
    below(dir, paths.range(dir.clone()..)).next().is_some()
}

/// Whether a path is one of those, or lies below one.
fn within(paths: &BTreeSet<RepoPath>, path: &RepoPath) -> bool {
    let mut at = Some(path.clone());
    while let Some(here) = at {
        if paths.contains(&here) {
            return true;
        }
        at = here.parent();
    }
    false
}

/// The files to take back: those that are named, and those without which they cannot be as before.
fn chosen(staged: &BTreeMap<RepoPath, Staged>, paths: &[RepoPath]) -> Result<BTreeSet<RepoPath>> {
    if paths.is_empty() {
        return Ok(staged.keys().cloned().collect());
    }
    let mut open: Vec<RepoPath> = Vec::new();
    for path in paths {
        let before = open.len();
        open.extend(staged.keys().filter(|at| at.strip_prefix(path).is_some()).cloned());
        if open.len() == before {
            return Err(Error::new(Kind::Usage, format!("nothing is staged at {path}"))
                .hint("`dds status` lists what is staged"));
        }
    }
    // By the name that the bytes of a renamed file have in the repository.
    let mut renamed: BTreeMap<&RepoPath, Vec<&RepoPath>> = BTreeMap::new();
    for one in staged.values() {
        if let What::Renamed { from, .. } = &one.what {
            renamed.entry(from).or_default().push(&one.path);
        }
    }
    let mut gone = BTreeSet::new();
    while let Some(path) = open.pop() {
        let Some(one) = staged.get(&path).filter(|_| gone.insert(path.clone())) else { continue };
        match &one.what {
            What::Renamed { from, .. } => open.push(from.clone()),
            What::Removed => open.extend(renamed.get(&path).into_iter().flatten().copied().cloned()),
            What::Added { .. } => continue,
            What::Changed { .. } => {}
        }
        // The repository's file stands here again: so no file stands above it, and nothing below.
        let mut above = path.parent();
        while let Some(dir) = above {
            open.extend(staged.contains_key(&dir).then(|| dir.clone()));
            above = dir.parent();
        }
        open.extend(below(&path, staged.range(path.clone()..).map(|(at, _)| at)).cloned());
    }
    Ok(gone)
}
