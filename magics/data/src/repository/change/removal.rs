//! Files that an upload removes: from Git, out of DVC folders, and single DVC outputs with the file that
//! declares them.

use super::{Change, GoneFile, Node, Plan, Tracked, check_ours};
use crate::dvc::{DvcFile, ignore};
use dds_core::{Error, RepoPath, Result};
use std::collections::BTreeMap;

impl Plan<'_> {
    /// Plans what Git and single outputs lose; gives what has to leave which DVC folder. A path that is
    /// not there any more is no error: somebody removed it before.
    pub(super) fn remove_all(&mut self, paths: &[RepoPath]) -> Result<BTreeMap<RepoPath, Vec<RepoPath>>> {
        let mut leaving: BTreeMap<RepoPath, Vec<RepoPath>> = BTreeMap::new();
        let Some(snapshot) = self.snapshot else { return Ok(leaving) };
        let mut plain = Vec::new();
        for path in paths {
            if path.is_root() || path.components().next() == Some(".dvc") {
                return Err(Error::usage(format!(
                    "{path:?} cannot be removed: DVC's own settings are not data"
                )));
            }
            match (snapshot.output_of(path), snapshot.get(path)) {
                (Some(t), _) => {
                    check_ours(path, t)?;
                    let t = t.clone();
                    if t.output.is_dir() {
                        leaving.entry(t.output.path.clone()).or_default().push(path.clone());
                    } else {
                        let old = (t.output.digest, t.output.layout);
                        self.gone.push(GoneFile { path: path.clone(), old });
                        self.drop_output(&t)?;
                    }
                }
                (None, Some(Node::Git { .. })) => plain.push(path.clone()),
                (None, _) => {}
            }
        }
        // Last: what was asked for in so many words is not undone by what follows from something else.
        for path in plain {
            self.git.insert(path, Change::Remove);
        }
        Ok(leaving)
    }

    /// Takes an output out of the repository: the file that declares it, and its line in `.gitignore`.
    pub(super) fn drop_output(&mut self, t: &Tracked) -> Result<()> {
        if self.going.contains(&t.declared_in) {
            self.git.insert(t.declared_in.clone(), Change::Remove);
        } else {
            let text = self.git_text(&t.declared_in)?.unwrap_or_default();
            if DvcFile::parse(&t.declared_in, &text)?.outs.len() != 1 {
                return Err(Error::usage(format!(
                    "{} is declared together with others in {}",
                    t.output.path, t.declared_in
                ))
                .hint("remove it with `dvc remove` in the repository"));
            }
            self.git.insert(t.declared_in.clone(), Change::Remove);
        }
        let dir = t.output.path.parent().unwrap_or_default();
        let ignore_file = dir.child(".gitignore")?;
        let text = self.git_text(&ignore_file)?;
        let without =
            text.and_then(|text| ignore::without_line(&String::from_utf8_lossy(&text), t.output.path.name()));
        if let Some(text) = without {
            let change = match text.trim().is_empty() {
                true => Change::Remove,
                false => Change::Text(text.into_bytes()),
            };
            self.git.insert(ignore_file, change);
        }
        Ok(())
    }

    /// Whether everything below a folder is removed as well.
    pub(super) fn goes_whole(&self, dir: &RepoPath) -> bool {
        let Some(snapshot) = self.snapshot else { return false };
        let mut below = snapshot.below(dir).peekable();
        below.peek().is_some()
            && below.all(|(path, node)| {
                matches!(node, Node::EmptyDir)
                    || RepoPath::parse(path).is_ok_and(|path| self.going.contains(&path))
            })
    }
}
