//! `discard`: taking back what was written into a mount and is not committed.

use super::{Writable, listed, rows, shown, summary};
use crate::engine::Mounts;
use crate::protocol::{Command, What};
use dds_core::mime::printable;
use dds_core::request as rq;
use dds_core::table::count as count_text;
use dds_core::{Cx, Error, Outcome, RepoPath, Result};
use serde_json::json;
use std::path::Path;

/// Most paths of one command: they travel in one message.
const MAX_PATHS: usize = 1000;

impl Mounts {
    pub(crate) fn discard_staged(&self, r: &rq::Discard, cx: &Cx) -> Result<Outcome> {
        let (one, paths) = self.what_to_discard(r, cx)?;
        let dir = printable(&one.dir.display().to_string());
        let command = Command::Discard { all: paths.is_empty(), paths };
        let What::Discarded { count, list } = one.ask(command, cx)? else {
            return Err(Error::internal("the mount process answered something else"));
        };
        let files = listed(&list, count)?;
        let shown = shown(&files);
        let text = match shown.len() {
            0 => format!("nothing is staged in {dir}"),
            n => format!("discarded {} in {dir}: {}", count_text(n as u64, "change"), summary(&shown)),
        };
        let told: Vec<_> = shown
            .iter()
            .map(|row| json!({"path": row.path, "change": row.word, "from": row.from, "size": row.size}))
            .collect();
        let outcome = Outcome::new(text, json!({"dir": one.dir, "files": told}));
        Ok(if shown.is_empty() { outcome } else { outcome.detail(rows(&shown).text()) })
    }

    /// The mount, and the paths in it; none for all of it.
    fn what_to_discard(&self, r: &rq::Discard, cx: &Cx) -> Result<(Writable, Vec<RepoPath>)> {
        let Some(first) = r.files.first() else {
            return match r.all {
                true => Ok((self.only_staged("discard", cx)?, Vec::new())),
                false => Err(Error::usage("what should be discarded?").hint(
                    "name files or folders of a mounted folder, or write --all; `dds status` lists what is staged",
                )),
            };
        };
        if r.files.len() > MAX_PATHS {
            return Err(Error::usage(format!("more than {MAX_PATHS} paths")).hint("name their folder"));
        }
        let one = self.writable_at(first, cx)?;
        let mut paths = Vec::with_capacity(r.files.len());
        for file in &r.files {
            let path = one.path_of(file, cx).ok_or_else(|| {
                Error::usage(format!("{file} is not in {}", one.dir.display()))
                    .hint("discard what is in one mounted folder at a time")
            })?;
            if path.is_root() && !r.all {
                return Err(Error::usage(format!("{file} is the whole mounted folder"))
                    .hint(format!("dds discard {file} --all takes back everything that is staged in it")));
            }
            paths.push(path);
        }
        if paths.iter().any(RepoPath::is_root) {
            paths.clear();
        }
        Ok((one, paths))
    }
}

impl Writable {
    /// The path in the repository of a name of this machine, which may be gone.
    fn path_of(&self, name: &str, cx: &Cx) -> Option<RepoPath> {
        let named = cx.absolute(name);
        // Asks the parent only, as `writable_at` does.
        let real = named.parent().and_then(|above| above.canonicalize().ok());
        let real = real.zip(named.file_name()).map(|(above, name)| above.join(name));
        let dirs = [Some(self.dir.as_path()), self.mount.as_ref().map(|mount| mount.dir.as_path())];
        let below = |path: &Path| {
            let rest = dirs.iter().flatten().find_map(|dir| path.strip_prefix(dir).ok())?;
            RepoPath::parse(rest.to_str()?).ok()
        };
        below(&named).or_else(|| below(real.as_deref()?))
    }
}
