//! `status` and `commit`: what was written into mounts, and getting it into the repository.
//!
//! A mount of this session is asked by its pipe, one of another process by the socket of its staging
//! area. The files are sent from here; the mount process is told afterwards, and shows the new commit.

mod discard;

use crate::control;
use crate::engine::Mounts;
use crate::open::with_token;
use crate::overlay::{Staged, What as Kept};
use crate::protocol::{Command, What};
use crate::stage::area::{self, Area};
use crate::table::{Mount, Way};
use dds_core::mime::printable;
use dds_core::request as rq;
use dds_core::table::{Align, Table, bytes as size_text, count as count_text};
use dds_core::{Config, Cx, Error, Kind, Outcome, RepoPath, RepoUrl, Result, Secret};
use dds_data::publish::{Choice, OutFile, Publish, publish};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows shown; `--json` has all of them.
const MAX_ROWS: usize = 1000;

/// A mount that can be written, of this session or of another process.
struct Writable {
    /// As its owner named it.
    dir: PathBuf,
    stage: PathBuf,
    mount: Option<Arc<Mount>>,
}

/// What is staged in one mount at a moment.
struct Snapshot {
    url: RepoUrl,
    branch: String,
    commit: String,
    until: u64,
    files: Vec<Staged>,
}

/// What is still staged when a mount ends.
pub struct LeftBehind {
    pub count: usize,
    url: String,
    branch: String,
    dir: PathBuf,
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, dir) = (count_text(self.count as u64, "change"), self.dir.display());
        let at = printable(&format!("{}@{}", self.url, self.branch));
        write!(
            f,
            "{what} kept, not committed yet: mount {at} {dir} again, then `dds commit {dir} -m MESSAGE`"
        )
    }
}

/// What would be left behind in an area on disk that nobody needs to be asked for.
pub fn left_in(area: &Area) -> Option<LeftBehind> {
    let changes = area.changes().ok()?;
    let count = changes.values().filter(|change| !change.is_dir()).count();
    let about = &area.about;
    (count > 0).then(|| LeftBehind {
        count,
        url: about.url.clone(),
        branch: about.branch.clone(),
        dir: about.dir.clone(),
    })
}

impl Writable {
    fn ask(&self, command: Command, cx: &Cx) -> Result<What> {
        match self.mount.as_deref().map(|mount| &mount.way) {
            Some(Way::Fuse(process)) => process.ask(command, Some(cx)),
            _ => control::ask(&self.stage, command, cx),
        }
    }

    fn snapshot(&self, cx: &Cx) -> Result<Snapshot> {
        let What::Staged { url, branch, commit, count, until, list } = self.ask(Command::Staged {}, cx)?
        else {
            return Err(Error::internal("the mount process answered something else"));
        };
        let files = listed(&list, count)?;
        let url = match &self.mount {
            Some(mount) => mount.url().at(&branch),
            None => url.into(),
        };
        Ok(Snapshot { url, branch, commit, until, files })
    }
}

impl Mounts {
    /// Number of changes that are staged in a mount of this session.
    pub(crate) fn staged_count(&self, mount: &Arc<Mount>) -> usize {
        self.left_behind(mount).map_or(0, |left| left.count)
    }

    pub(crate) fn left_behind(&self, mount: &Arc<Mount>) -> Option<LeftBehind> {
        let stage = mount.stage.clone()?;
        let writable = Writable { dir: mount.named.clone(), stage, mount: Some(mount.clone()) };
        match writable.snapshot(&Cx::silent("/")) {
            Ok(snapshot) => (!snapshot.files.is_empty()).then(|| LeftBehind {
                count: shown(&snapshot.files).len(),
                url: snapshot.url.plain(),
                branch: snapshot.branch,
                dir: writable.dir,
            }),
            // Its process is gone; what it noted is on disk.
            Err(_) => self.areas().iter().find(|area| area.path == writable.stage).and_then(left_in),
        }
    }

    pub(crate) fn show_status(&self, r: &rq::Status, cx: &Cx) -> Result<Outcome> {
        let wanted = match r.dir.is_empty() {
            true => self.writable(cx),
            false => vec![self.writable_at(&r.dir, cx)?],
        };
        let (mut lines, mut values, mut html) = (Vec::new(), Vec::new(), String::new());
        let (mut total, mut ended) = (0, BTreeSet::new());
        for one in &wanted {
            let snapshot = match one.snapshot(cx) {
                // Of another process, which is ending just now: what it noted is on disk.
                Err(e) if r.dir.is_empty() && one.mount.is_none() && e.kind == Kind::Unavailable => {
                    ended.insert(&one.stage);
                    continue;
                }
                snapshot => snapshot?,
            };
            if snapshot.files.is_empty() && r.dir.is_empty() {
                continue;
            }
            let shown = shown(&snapshot.files);
            total += shown.len();
            let head = printable(&format!(
                "{}: {} ({}@{})",
                one.dir.display(),
                summary(&shown),
                snapshot.url.plain(),
                snapshot.branch
            ));
            let table = rows(&shown);
            html.push_str(&format!("<p>{}</p>{}", dds_core::mime::escape_html(&head), table.html()));
            lines.push(format!("{head}\n{}", table.text()).trim_end().to_owned());
            values.push(value(one, &snapshot, &shown));
        }
        let mut asleep = Vec::new();
        if r.dir.is_empty() {
            let areas = self.areas();
            let asleep_now = areas.iter().filter(|area| !area.held || ended.contains(&area.path));
            for left in asleep_now.filter_map(left_in) {
                lines.push(left.to_string());
                asleep.push(json!({
                    "dir": left.dir, "url": left.url, "branch": left.branch, "changes": left.count,
                }));
            }
        }
        let text = match total {
            0 => "nothing is staged".to_owned(),
            n => format!("{} not committed yet", count_text(n as u64, "change")),
        };
        let outcome =
            Outcome::new(text, json!({"mounts": values, "not_mounted": asleep})).detail(lines.join("\n"));
        Ok(if html.is_empty() { outcome } else { outcome.html(html) })
    }

    pub(crate) fn commit_staged(&self, r: &rq::Commit, cx: &Cx) -> Result<Outcome> {
        let one = match r.dir.is_empty() {
            true => self.only_staged("commit", cx)?,
            false => self.writable_at(&r.dir, cx)?,
        };
        let snapshot = one.snapshot(cx)?;
        let dir = printable(&one.dir.display().to_string());
        if snapshot.files.is_empty() {
            let value = json!({"dir": one.dir, "commit": snapshot.commit, "changed": false, "files": []});
            return Ok(Outcome::new(format!("nothing to commit: nothing is staged in {dir}"), value));
        }
        let token = r.token.as_deref().map(Secret::new);
        let config =
            one.mount.as_ref().map_or_else(|| (*self.table().config()).clone(), |m| m.config.clone());
        let (url, config) = with_token(snapshot.url.clone(), &config, token.as_ref());
        let shown = shown(&snapshot.files);
        let scratch = tempfile(&one.stage)?;
        let message = r.message.clone().unwrap_or_else(|| summary(&shown));
        let wanted = Publish {
            url: url.clone(),
            base: Some(snapshot.commit.clone()).filter(|commit| !commit.is_empty()),
            branch: r.branch.clone(),
            new_branch: r.new_branch.clone(),
            files: self.outgoing(&snapshot, &url, &config, scratch.path(), cx)?,
            removed: removed(&snapshot.files),
            choice: Choice::parse(&r.versioning)?,
            message,
            rebase: r.rebase,
            ..Publish::default()
        };
        let done = publish(&config, &wanted, cx).map_err(|e| kept(e, &dir))?;
        drop(scratch);
        self.settle(&one, &snapshot, &done.branch, &done.commit, cx)?;
        let text = format!(
            "committed {} to {}, commit {}",
            summary(&shown),
            printable(&url.at(done.branch.clone()).to_string()),
            done.commit.get(..10).unwrap_or(&done.commit)
        );
        let mut value = value(&one, &snapshot, &shown);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("branch".into(), done.branch.into());
            fields.insert("commit".into(), done.commit.into());
            fields.insert("changed".into(), done.changed.into());
        }
        Ok(Outcome::new(text, value).detail(rows(&shown).text()))
    }

    /// The mount shows the commit, and what is in it is staged no more.
    fn settle(&self, one: &Writable, snapshot: &Snapshot, branch: &str, commit: &str, cx: &Cx) -> Result<()> {
        let command =
            Command::Settle { commit: commit.to_owned(), branch: branch.to_owned(), until: snapshot.until };
        let told = one.ask(command, cx);
        let tree = match told {
            Ok(What::Refreshed(tree)) => tree,
            Ok(_) => return Err(Error::internal("the mount process answered something else")),
            Err(e) => {
                // The commit stands. What it holds is recognised when the folder is mounted again.
                cx.sink.note(&format!("committed, but the mount still shows the old commit: {e}"));
                return Ok(());
            }
        };
        let Some(mount) = &one.mount else { return Ok(()) };
        if branch == snapshot.branch {
            mount.shows(&tree, None);
            // Other mounts and open sources of the branch follow as well.
            let followed = self.refresh(&mount.url(), cx);
            if let Err(e) = followed {
                cx.sink.note(&format!("committed, but another mount still shows the old commit: {e}"));
            }
            return Ok(());
        }
        let url = mount.url().at(branch);
        match self.table().open_with(&url, &mount.config, cx) {
            Ok(source) => {
                let _ = source.refresh(cx);
                mount.shows(&tree, Some((url, source)));
            }
            Err(e) => cx.sink.note(&format!("committed, but the branch cannot be followed: {e}")),
        }
        Ok(())
    }

    /// The files to send; bytes that only have another name are fetched for it.
    fn outgoing(
        &self,
        snapshot: &Snapshot,
        url: &RepoUrl,
        config: &Config,
        scratch: &Path,
        cx: &Cx,
    ) -> Result<Vec<OutFile>> {
        let mut sources = BTreeMap::new();
        let mut files = Vec::new();
        for (n, staged) in snapshot.files.iter().enumerate() {
            let at = match &staged.what {
                Kept::Removed => continue,
                Kept::Added { at } | Kept::Changed { at } => at.clone(),
                Kept::Renamed { from, commit } => {
                    if !sources.contains_key(commit) {
                        let opened = self.table().open_with(&url.at(commit.clone()), config, cx)?;
                        sources.insert(commit.clone(), opened);
                    }
                    let source = sources.get(commit).ok_or_else(|| Error::internal("no source"))?;
                    let copy = scratch.join(n.to_string());
                    fetch(&**source, from, &copy, cx)?;
                    copy
                }
            };
            files.push(OutFile { path: staged.path.clone(), at, executable: staged.executable });
        }
        Ok(files)
    }

    fn areas(&self) -> Vec<Area> {
        area::areas(&area::home(&self.table().config().data_dir))
    }

    /// All mounts that can be written: those of this session, then those of other processes.
    fn writable(&self, _: &Cx) -> Vec<Writable> {
        let mut found: Vec<Writable> = Vec::new();
        for mount in self.table().mounts().into_iter().filter(|mount| mount.is_alive()) {
            if let Some(stage) = mount.stage.clone() {
                found.push(Writable { dir: mount.named.clone(), stage, mount: Some(mount) });
            }
        }
        let known: BTreeSet<PathBuf> = found.iter().map(|one| one.stage.clone()).collect();
        for area in self.areas().into_iter().filter(|area| area.held && !known.contains(&area.path)) {
            found.push(Writable { dir: area.about.dir, stage: area.path, mount: None });
        }
        found
    }

    fn writable_at(&self, dir: &str, cx: &Cx) -> Result<Writable> {
        let named = cx.absolute(dir);
        // The parent only: the folder itself may be a mount that does not answer.
        let real = match (named.parent().map(Path::canonicalize), named.file_name()) {
            (Some(Ok(parent)), Some(name)) => parent.join(name),
            _ => named.clone(),
        };
        let within = |mounted: &Path| named.starts_with(mounted) || real.starts_with(mounted);
        let mounts = self.table().mounts();
        let found = mounts.iter().find(|m| m.stage.is_none() && (within(&m.named) || within(&m.dir)));
        if let Some(mount) = found {
            let why = match &mount.way {
                Way::Copy(_) | Way::Stream(_) => "it holds copies; `dds upload` takes changed files",
                Way::Fuse(_) => {
                    "it was mounted with --read-only, or at a commit or tag; mount a branch to write"
                }
            };
            return Err(Error::usage(format!("{} is read-only", mount.named.display())).hint(why));
        }
        let mut all = self.writable(cx);
        let own = |one: &Writable| one.mount.as_ref().is_some_and(|m| within(&m.dir));
        all.retain(|one| within(&one.dir) || own(one));
        all.sort_by_key(|one| one.dir.as_os_str().len());
        if let Some(one) = all.pop() {
            return Ok(one);
        }
        let asleep = self.areas().into_iter().find(|area| !area.held && within(&area.about.dir));
        if let Some(left) = asleep.as_ref().and_then(left_in) {
            return Err(Error::not_found(format!("{dir} is not mounted")).hint(left.to_string()));
        }
        Err(Error::not_found(format!("{dir} is not in a mount that can be written"))
            .hint("`dds mounts` lists what is mounted"))
    }

    fn only_staged(&self, verb: &str, cx: &Cx) -> Result<Writable> {
        let mut staged = Vec::new();
        for one in self.writable(cx) {
            if !one.snapshot(cx)?.files.is_empty() {
                staged.push(one);
            }
        }
        if staged.len() > 1 {
            let dirs: Vec<String> = staged.iter().map(|one| one.dir.display().to_string()).collect();
            return Err(Error::usage("something is staged in more than one mount")
                .hint(format!("name one of them: {}", dirs.join(", "))));
        }
        staged.pop().ok_or_else(|| {
            let asleep = self.areas().iter().filter(|area| !area.held).find_map(left_in);
            let error = Error::usage(format!("nothing to {verb}: nothing is staged in a mounted folder"));
            match asleep {
                Some(left) => error.hint(left.to_string()),
                None => error.hint("write into a mounted folder first, or use `dds upload`"),
            }
        })
    }
}

/// What a mount process has listed in a file.
fn listed(list: &Path, count: usize) -> Result<Vec<Staged>> {
    let io = |e: std::io::Error| Error::io(list, &e);
    let mut files = Vec::with_capacity(count);
    for line in BufReader::new(std::fs::File::open(list).map_err(io)?).lines() {
        let line = line.map_err(io)?;
        files.push(serde_json::from_str(&line).map_err(|e| Error::internal(e.to_string()))?);
    }
    Ok(files)
}

/// A folder for bytes on their way, in the staging area: it is private, and on the right disk.
fn tempfile(stage: &Path) -> Result<Scratch> {
    let path = stage.join(format!("outgoing-{}", std::process::id()));
    std::fs::create_dir_all(&path).map_err(|e| Error::io(&path, &e))?;
    Ok(Scratch(path))
}

struct Scratch(PathBuf);

impl Scratch {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn fetch(source: &dyn dds_core::Source, from: &RepoPath, to: &Path, cx: &Cx) -> Result<()> {
    const CHUNK: u64 = 8 << 20;
    use std::io::Write;
    let io = |e: std::io::Error| Error::io(to, &e);
    let size = source.stat(from, cx)?.size.unwrap_or(0);
    if size <= CHUNK {
        return std::fs::write(to, source.read(from, cx)?).map_err(io);
    }
    let mut out = std::fs::File::create(to).map_err(io)?;
    let mut at = 0;
    while at < size {
        cx.cancel.check()?;
        let bytes = source.read_range(from, at..(at + CHUNK).min(size), cx)?;
        if bytes.is_empty() {
            return Err(Error::new(dds_core::Kind::Unreachable, format!("{from} ends before its size")));
        }
        at += bytes.len() as u64;
        out.write_all(&bytes).map_err(io)?;
        cx.bytes("fetching renamed files", at, Some(size));
    }
    Ok(())
}

fn removed(files: &[Staged]) -> Vec<RepoPath> {
    files.iter().filter(|f| f.what == Kept::Removed).map(|f| f.path.clone()).collect()
}

/// One row of what people see: a rename is one change, not two.
struct Shown<'a> {
    word: &'static str,
    path: &'a RepoPath,
    from: Option<&'a RepoPath>,
    size: Option<u64>,
}

fn shown(files: &[Staged]) -> Vec<Shown<'_>> {
    let gone: BTreeSet<&RepoPath> =
        files.iter().filter(|f| f.what == Kept::Removed).map(|f| &f.path).collect();
    let mut sources = BTreeSet::new();
    let mut rows = Vec::new();
    for file in files {
        let (word, from) = match &file.what {
            Kept::Added { .. } => ("added", None),
            Kept::Changed { .. } => ("changed", None),
            Kept::Renamed { from, .. } if *from == file.path => ("changed", None),
            Kept::Renamed { from, .. } if gone.contains(from) && sources.insert(from) => {
                ("renamed", Some(from))
            }
            Kept::Renamed { .. } => ("added", None),
            Kept::Removed => continue,
        };
        rows.push(Shown { word, path: &file.path, from, size: file.size });
    }
    for file in files.iter().filter(|f| f.what == Kept::Removed && !sources.contains(&f.path)) {
        rows.push(Shown { word: "removed", path: &file.path, from: None, size: file.size });
    }
    rows.sort_by(|a, b| a.path.cmp(b.path));
    rows
}

/// `2 added, 1 removed, 1.2 MB`.
fn summary(rows: &[Shown<'_>]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for word in ["added", "changed", "removed", "renamed"] {
        let n = rows.iter().filter(|row| row.word == word).count();
        if n > 0 {
            parts.push(format!("{n} {word}"));
        }
    }
    if parts.is_empty() {
        return "nothing is staged".to_owned();
    }
    let bytes: u64 = rows.iter().filter(|row| row.word != "removed").filter_map(|row| row.size).sum();
    format!("{}, {}", parts.join(", "), size_text(bytes))
}

fn rows(shown: &[Shown<'_>]) -> Table {
    let mut table = Table::new(&[("change", Align::Left), ("size", Align::Right), ("file", Align::Left)]);
    for row in shown.iter().take(MAX_ROWS) {
        let name = match row.from {
            Some(from) => format!("{from} → {}", row.path),
            None => row.path.to_string(),
        };
        let size = row.size.map_or_else(|| "?".to_owned(), size_text);
        table.row([row.word, &size, &name]);
    }
    if shown.len() > MAX_ROWS {
        table.note(format!("… and {} more (--json lists all)", shown.len() - MAX_ROWS));
    }
    table
}

fn value(one: &Writable, snapshot: &Snapshot, shown: &[Shown<'_>]) -> Value {
    let files: Vec<Value> = shown
        .iter()
        .map(|row| json!({"path": row.path, "change": row.word, "from": row.from, "size": row.size}))
        .collect();
    json!({
        "dir": one.dir,
        "url": snapshot.url.plain(),
        "branch": snapshot.branch,
        "commit": snapshot.commit,
        "files": files,
    })
}

/// Nothing that was written is lost when a commit fails; the user should know.
fn kept(e: Error, dir: &str) -> Error {
    let hint = match &e.hint {
        Some(hint) => format!("{hint}; everything is still staged in {dir}"),
        None => format!("everything is still staged in {dir}"),
    };
    e.hint(hint)
}
