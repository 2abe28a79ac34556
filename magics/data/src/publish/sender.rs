//! Batches to a server with DagsHub's API, each with exactly one effect.
//!
//! Every batch names the commit it builds on. When its answer is lost, the branch is read back: if it
//! holds our files the batch is done, if it has not moved the batch is sent again (two copies under way
//! cannot both be taken, because the first one moves the branch). When somebody else committed in
//! between, the batch is sent again on top of theirs if they left our files alone; else it is a
//! conflict. What is removed goes with the last batch, so that nothing is gone before what takes its
//! place is there.

use super::{Choice, Ours, Publish, Published};
use crate::client::HubClient;
use crate::client::hub::{Found, Put};
use crate::client::transport::Part;
use crate::runtime;
use dds_core::table::count;
use dds_core::{Cx, Digest, Error, Kind, RepoPath, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// DagsHub's own bounds of one upload.
pub const BATCH_FILES: usize = 100;
pub const BATCH_BYTES: u64 = 100 << 20;
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(150);
/// How often others may commit before us, on one branch with a whole class on it.
const MAX_OVERTAKEN: u32 = 1000;

/// One upload under way: the branch and the commit that the next batch builds on.
pub(super) struct Sender {
    client: HubClient,
    /// Where the next batch goes to; a new branch is there after the first one.
    branch: String,
    new_branch: Option<String>,
    head: Option<String>,
    folder: RepoPath,
    dvc_folders: Vec<RepoPath>,
    choice: Choice,
    message: String,
    /// The server understands more than DagsHub's own words.
    extended: bool,
    /// Others may commit in between, as long as they leave our files alone.
    on_top: bool,
    changed: bool,
}

/// What one request carries.
#[derive(Clone, Default)]
struct Batch {
    files: Vec<Ours>,
    removed: Vec<RepoPath>,
}

impl Sender {
    pub fn new(
        client: HubClient,
        branch: &str,
        head: Option<String>,
        wanted: &Publish,
        dvc_folders: Vec<RepoPath>,
        extended: bool,
    ) -> Self {
        Self {
            client,
            branch: branch.to_owned(),
            new_branch: wanted.new_branch.clone(),
            head,
            folder: wanted.folder.clone(),
            dvc_folders,
            choice: wanted.choice,
            message: wanted.message.clone(),
            extended,
            on_top: wanted.base.is_none() || wanted.rebase,
            changed: false,
        }
    }

    pub fn send_all(mut self, files: &[Ours], removed: &[RepoPath], cx: &Cx) -> Result<Published> {
        let mut all = self.batches(files);
        match all.last_mut() {
            Some((_, last)) => last.removed = removed.to_vec(),
            None => all.push((self.folder.clone(), Batch { files: Vec::new(), removed: removed.to_vec() })),
        }
        let mut done = 0;
        for (folder, batch) in all {
            cx.items("uploading", done, files.len());
            let sent = batch.files.len();
            let mut next = self;
            next.folder = folder;
            self = runtime::wait(async move { next.send(&batch).await.map(|()| next) }, cx).map_err(|e| {
                match done {
                    0 => e,
                    _ => e.context(format!("{done} of {} are uploaded; then", count(files.len(), "file"))),
                }
            })?;
            done += sent;
        }
        cx.items("uploading", done, files.len());
        Ok(Published { branch: self.branch, commit: self.head.unwrap_or_default(), changed: self.changed })
    }

    /// The requests with their folders. A server of DagsHub's own makes DVC folders one at a time.
    fn batches(&self, files: &[Ours]) -> Vec<(RepoPath, Batch)> {
        let mut groups: BTreeMap<RepoPath, Vec<Ours>> = BTreeMap::new();
        for file in files {
            let own = self.dvc_folders.iter().find(|dir| file.path.strip_prefix(dir).is_some());
            let folder = own.filter(|_| !self.extended).unwrap_or(&self.folder);
            groups.entry(folder.clone()).or_default().push(file.clone());
        }
        let mut all = Vec::new();
        for (folder, files) in groups {
            all.extend(
                split(&files)
                    .into_iter()
                    .map(|part| (folder.clone(), Batch { files: part.to_vec(), removed: Vec::new() })),
            );
        }
        all
    }

    async fn send(&mut self, batch: &Batch) -> Result<()> {
        let mut pause = PAUSE;
        let mut last: Option<Error> = None;
        let (mut attempts, mut overtaken) = (0, 0);
        while attempts < ATTEMPTS && overtaken < MAX_OVERTAKEN {
            if last.is_some() {
                tokio::time::sleep(pause + apart(overtaken)).await;
            }
            let error = match self.client.put(&self.branch, &self.folder, self.form(batch)).await {
                Ok(Put::Committed { commit }) => {
                    self.changed = true;
                    self.follow_new_branch();
                    self.head = match commit {
                        Some(commit) => Some(commit),
                        None => self.client.branch(&self.branch).await?,
                    };
                    return Ok(());
                }
                Ok(Put::Unchanged) => return Ok(()),
                Ok(Put::Unknown(why)) => {
                    Error::new(Kind::Unreachable, format!("the upload got no answer: {why}"))
                }
                Err(e) if matches!(e.kind, Kind::Unreachable | Kind::Conflict) => e,
                Err(e) => return Err(e),
            };
            let before = self.head.clone();
            if self.is_done(batch, &error).await? {
                self.changed = true;
                self.follow_new_branch();
                return Ok(());
            }
            if self.head == before {
                attempts += 1;
                pause = pause.saturating_mul(2);
            } else {
                // Somebody else got in first: the next one may be us.
                overtaken += 1;
            }
            last = Some(error);
        }
        Err(last.unwrap_or_else(|| Error::internal("the upload was not tried")))
    }

    /// After doubt: whether the branch holds the batch. If not, it can be sent again.
    ///
    /// Errors: `Conflict` when somebody else is in the way.
    async fn is_done(&mut self, batch: &Batch, error: &Error) -> Result<bool> {
        let target = self.new_branch.clone().unwrap_or_else(|| self.branch.clone());
        let now = self.client.branch(&target).await?;
        let before = if self.new_branch.is_some() { None } else { self.head.clone() };
        if now == before {
            return if error.kind == Kind::Conflict { Err(error.clone()) } else { Ok(false) };
        }
        let Some(tip) = now else {
            return Err(Error::not_found(format!("the branch {target:?} is gone")));
        };
        let ours = self.state(&tip, batch).await?;
        let there = |f: &Ours| f.is(ours.get(&f.path).copied().flatten());
        if batch.files.iter().all(there) && batch.removed.iter().all(|path| !ours.contains_key(path)) {
            self.head = Some(tip);
            return Ok(true);
        }
        if self.new_branch.is_some() {
            return Err(Error::new(Kind::Conflict, format!("the branch {target:?} exists already"))
                .hint("choose another name, or commit to it with --branch"));
        }
        // Somebody else committed: did they touch our files?
        let before = match &self.head {
            Some(head) => self.state(head, batch).await?,
            None => BTreeMap::new(),
        };
        let mut paths = batch.files.iter().map(|f| &f.path).chain(&batch.removed);
        if let Some(path) = paths.find(|path| ours.get(*path) != before.get(*path)) {
            return Err(Error::new(
                Kind::Conflict,
                format!("somebody else changed {path} on branch {target} in the meantime"),
            )
            .hint("look at their version, then upload again to replace it"));
        }
        if !self.on_top {
            return Err(Error::new(Kind::Conflict, format!("branch {target} moved in the meantime"))
                .hint("--rebase puts your changes on top of theirs"));
        }
        self.head = Some(tip);
        Ok(false)
    }

    fn follow_new_branch(&mut self) {
        if let Some(branch) = self.new_branch.take() {
            self.branch = branch;
        }
    }

    fn form(&self, batch: &Batch) -> Vec<Part> {
        let versioning = match self.choice {
            Choice::Auto => "auto",
            Choice::Git => "git",
            Choice::Dvc => "dvc",
        };
        let text = |name: &'static str, value: &str| Part::Text { name, value: value.to_owned() };
        let below = |path: &RepoPath| path.strip_prefix(&self.folder).map(|path| path.to_string());
        let is_dvc_dir = self.dvc_folders.contains(&self.folder);
        let mut parts = vec![
            text("commit_choice", if self.new_branch.is_some() { "commit-to-new-branch" } else { "direct" }),
            text("commit_summary", &self.message),
            text("versioning", versioning),
            text("last_commit", self.head.as_deref().unwrap_or("")),
            text("is_dvc_dir", if is_dvc_dir { "true" } else { "false" }),
        ];
        parts.extend(self.new_branch.iter().map(|branch| text("new_branch_name", branch)));
        if self.extended {
            let folders = self.dvc_folders.iter().filter(|dir| **dir != self.folder);
            parts.extend(folders.filter_map(below).map(|dir| text("dvc_folders", &dir)));
            parts.extend(batch.removed.iter().filter_map(below).map(|path| text("removed", &path)));
            for file in &batch.files {
                let name = match file.executable {
                    Some(true) => "executable",
                    Some(false) => "not_executable",
                    None => continue,
                };
                parts.extend(below(&file.path).map(|path| text(name, &path)));
            }
        }
        parts.extend(batch.files.iter().map(|f| Part::File {
            name: "files",
            file_name: below(&f.path).unwrap_or_else(|| f.path.to_string()),
            path: f.at.clone(),
            len: f.len,
        }));
        parts
    }

    /// The digests of the batch's files at a commit; files that are not there are left out.
    async fn state(&self, commit: &str, batch: &Batch) -> Result<BTreeMap<RepoPath, Option<Digest>>> {
        let paths: BTreeSet<&RepoPath> = batch.files.iter().map(|f| &f.path).chain(&batch.removed).collect();
        let folders: BTreeSet<RepoPath> = paths.iter().map(|p| p.parent().unwrap_or_default()).collect();
        let mut there = BTreeMap::new();
        for folder in folders {
            match self.client.content(commit, &folder, false).await {
                Ok(Found::Folder(entries)) => there.extend(entries.into_iter().map(|e| (e.path, e.digest))),
                Ok(Found::File(_)) => {}
                Err(e) if e.kind == Kind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        there.retain(|path, _| paths.contains(path));
        Ok(there)
    }
}

/// Those who try again at the same time do not stay together: up to 100 ms.
fn apart(overtaken: u32) -> Duration {
    let seed = std::process::id().wrapping_add(overtaken).wrapping_mul(2_654_435_761);
    Duration::from_millis(u64::from(seed >> 16) % 100)
}

fn split(files: &[Ours]) -> Vec<&[Ours]> {
    let mut all = Vec::new();
    let mut rest = files;
    while !rest.is_empty() {
        let mut total = 0u64;
        let fits = rest.iter().take(BATCH_FILES).take_while(|f| {
            total = total.saturating_add(f.len);
            total <= BATCH_BYTES
        });
        // A file larger than a batch goes alone.
        let (batch, after) = rest.split_at(fits.count().max(1));
        all.push(batch);
        rest = after;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[u64]) -> Vec<Ours> {
        let path = |n: usize| RepoPath::parse(&format!("f{n}")).unwrap();
        let (md5, git) = (Digest::Md5([0; 16]), Digest::Git([0; 20]));
        sizes
            .iter()
            .enumerate()
            .map(|(n, len)| Ours { path: path(n), at: "/x".into(), len: *len, md5, git, executable: None })
            .collect()
    }

    #[test]
    fn batches_hold_at_most_100_files_and_100_megabytes() {
        let sizes = |f: &[Ours]| split(f).iter().map(|b| b.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&files(&[1; 100])), [100]);
        assert_eq!(sizes(&files(&[1; 101])), [100, 1]);
        assert_eq!(sizes(&files(&[BATCH_BYTES / 2, BATCH_BYTES / 2, 1])), [2, 1]);
        assert_eq!(sizes(&files(&[1, BATCH_BYTES + 1, 1])), [1, 1, 1]);
        assert_eq!(sizes(&[]), [0; 0]);
    }
}
