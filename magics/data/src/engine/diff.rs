//! `diff`: what two revisions of a repository have that the other has not, file by file. Files that DVC
//! keeps are compared by digest; nothing of them is fetched.

use super::listing::Row;
use super::{Data, MAX_ROWS, Place, keeper};
use crate::here::{self, working_tree};
use dds_core::mime::printable;
use dds_core::request as rq;
use dds_core::table::{Align, Table, bytes};
use dds_core::{Cx, Digest, Entry, Error, Kind, Outcome, RepoPath, RepoTarget, RepoUrl, Result, Source};
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Files of which a server tells no digest are read and compared up to this size; longer ones count as
/// changed.
const MAX_COMPARED_BYTES: u64 = 8 << 20;

#[derive(Clone)]
enum Change {
    Added(Entry),
    Removed(Entry),
    Changed(Entry, Entry),
    /// The same bytes under another name.
    Renamed(Entry, Entry),
}

struct Side {
    source: Arc<dyn Source>,
    entries: Vec<Entry>,
}

pub fn run(data: &Data, r: &rq::Diff, cx: &Cx) -> Result<Outcome> {
    let (url, path) = data.repository(&r.repo, cx)?;
    let open = |rev: Option<&str>| {
        let url = rev.map_or_else(|| url.clone(), |rev| url.at(rev));
        data.resolver.open(&url, cx)
    };
    check(&r.old)?;
    r.new.as_deref().map_or(Ok(()), check)?;
    let (old, new) = (open(Some(&r.old))?, open(r.new.as_deref())?);
    let (old, new) = sides(old, new, &path, cx)?;
    let changes = with_renames(compare(&old, &new, cx)?);
    let name = |side: &Side, rev: Option<&str>| {
        let id = side.source.id();
        let commit = id.rsplit_once('@').map_or("", |(_, c)| c);
        let commit = commit.get(..10).unwrap_or(commit).to_owned();
        match rev.filter(|rev| !commit.starts_with(*rev)) {
            Some(rev) => format!("{rev} ({commit})"),
            None => commit,
        }
    };
    let at = if path.is_root() { url.plain() } else { format!("{}:{path}", url.plain()) };
    let place = format!("{at}: {} → {}", name(&old, Some(&r.old)), name(&new, r.new.as_deref()));
    Ok(outcome(&changes, &place, &old, &new))
}

/// A revision is no option and no URL.
fn check(rev: &str) -> Result<()> {
    if rev.is_empty() || rev.starts_with('-') || rev.contains(':') || rev.chars().any(char::is_control) {
        return Err(Error::usage(format!("{:?} is no branch, tag or commit", printable(rev)))
            .hint("write: diff OLD [NEW] [--repo URL[:FOLDER]]"));
    }
    Ok(())
}

/// A folder that only one of both has is empty in the other.
fn sides(old: Arc<dyn Source>, new: Arc<dyn Source>, path: &RepoPath, cx: &Cx) -> Result<(Side, Side)> {
    let listed = |source: &Arc<dyn Source>| source.list(path, true, cx);
    let (before, after) = match (listed(&old), listed(&new)) {
        (Err(e), Ok(after)) if e.kind == Kind::NotFound => (Vec::new(), after),
        (Ok(before), Err(e)) if e.kind == Kind::NotFound => (before, Vec::new()),
        (before, after) => (before?, after?),
    };
    Ok((Side { source: old, entries: before }, Side { source: new, entries: after }))
}

/// Both listings are sorted by path.
fn compare(old: &Side, new: &Side, cx: &Cx) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let (mut before, mut after) = (old.entries.iter().peekable(), new.entries.iter().peekable());
    loop {
        cx.cancel.check()?;
        let order = match (before.peek(), after.peek()) {
            (None, None) => return Ok(changes),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(b), Some(a)) => b.path.cmp(&a.path),
        };
        let left = if order == Ordering::Greater { None } else { before.next() };
        let right = if order == Ordering::Less { None } else { after.next() };
        match (left, right) {
            (Some(b), None) => changes.push(Change::Removed(b.clone())),
            (None, Some(a)) => changes.push(Change::Added(a.clone())),
            (Some(b), Some(a)) if differ(old, b, new, a, cx)? => {
                changes.push(Change::Changed(b.clone(), a.clone()));
            }
            _ => {}
        }
    }
}

/// A file that went and one that came with the same digest are one that was renamed. Of several with the
/// same bytes, those of the same name find each other first, then in the order of their paths. Empty files
/// tell nothing.
fn with_renames(changes: Vec<Change>) -> Vec<Change> {
    let mut gone: HashMap<Digest, Vec<&Entry>> = HashMap::new();
    for change in &changes {
        if let Change::Removed(e) = change
            && let Some(digest) = e.digest.filter(|_| e.size != Some(0))
        {
            gone.entry(digest).or_default().push(e);
        }
    }
    let mut pairs: HashMap<RepoPath, Entry> = HashMap::new();
    for same_name in [true, false] {
        for change in &changes {
            let Change::Added(e) = change else { continue };
            let Some(from) = e.digest.and_then(|d| gone.get_mut(&d)) else { continue };
            let fits = |b: &Entry| !same_name || b.path.name() == e.path.name();
            if !pairs.contains_key(&e.path)
                && let Some(at) = from.iter().position(|b| fits(b))
            {
                pairs.insert(e.path.clone(), from.remove(at).clone());
            }
        }
    }
    let moved: HashSet<RepoPath> = pairs.values().map(|b| b.path.clone()).collect();
    let renamed = |change| match change {
        Change::Added(a) => Some(match pairs.get(&a.path) {
            Some(b) => Change::Renamed(b.clone(), a),
            None => Change::Added(a),
        }),
        Change::Removed(b) if moved.contains(&b.path) => None,
        other => Some(other),
    };
    changes.clone().into_iter().filter_map(renamed).collect()
}

fn differ(old: &Side, b: &Entry, new: &Side, a: &Entry, cx: &Cx) -> Result<bool> {
    if b.versioning != a.versioning {
        return Ok(true);
    }
    if let (Some(b), Some(a)) = (b.digest, a.digest) {
        return Ok(b != a);
    }
    match (b.size, a.size) {
        (Some(b), Some(a)) if b != a => return Ok(true),
        (Some(size), _) | (_, Some(size)) if size > MAX_COMPARED_BYTES => return Ok(true),
        _ => {}
    }
    Ok(old.source.read(&b.path, cx)? != new.source.read(&a.path, cx)?)
}

fn outcome(changes: &[Change], place: &str, old: &Side, new: &Side) -> Outcome {
    let of = |kind: fn(&Change) -> Option<Value>| changes.iter().filter_map(kind).collect::<Vec<Value>>();
    let added = of(|c| if let Change::Added(e) = c { Some(json!(Row::of(e))) } else { None });
    let removed = of(|c| if let Change::Removed(e) = c { Some(json!(Row::of(e))) } else { None });
    let changed = of(|c| match c {
        Change::Changed(b, a) => Some(json!({"path": a.path, "old": Row::of(b), "new": Row::of(a)})),
        _ => None,
    });
    let renamed = of(|c| match c {
        Change::Renamed(b, a) => {
            Some(json!({"from": b.path, "path": a.path, "old": Row::of(b), "new": Row::of(a)}))
        }
        _ => None,
    });
    let counts = [
        ("added", added.len()),
        ("changed", changed.len()),
        ("removed", removed.len()),
        ("renamed", renamed.len()),
    ];
    let parts: Vec<String> =
        counts.into_iter().filter(|(_, n)| *n > 0).map(|(word, n)| format!("{n} {word}")).collect();
    let told = if parts.is_empty() { "no differences".to_owned() } else { parts.join(", ") };
    let mut table = Table::new(&[
        ("", Align::Left),
        ("size", Align::Right),
        ("kept by", Align::Left),
        ("name", Align::Left),
    ]);
    let size = |e: &Entry| e.size.map_or_else(|| "?".to_owned(), bytes);
    for change in changes.iter().take(MAX_ROWS) {
        let sizes = |b: &Entry, a: &Entry| pair(&size(b), &size(a));
        let keepers = |b: &Entry, a: &Entry| pair(keeper(b.versioning), keeper(a.versioning));
        let (mark, name, size, kept) = match change {
            Change::Added(e) => ("+", e.path.to_string(), size(e), keeper(e.versioning).to_owned()),
            Change::Removed(e) => ("-", e.path.to_string(), size(e), keeper(e.versioning).to_owned()),
            Change::Changed(b, a) => ("~", a.path.to_string(), sizes(b, a), keepers(b, a)),
            Change::Renamed(b, a) => (">", format!("{} → {}", b.path, a.path), sizes(b, a), keepers(b, a)),
        };
        table.row([mark, &size, &kept, &name]);
    }
    if changes.len() > MAX_ROWS {
        table.note(format!("… and {} more (--json lists all)", changes.len() - MAX_ROWS));
    }
    let json = json!({
        "old": old.source.id(), "new": new.source.id(), "added": added, "changed": changed, "removed": removed,
        "renamed": renamed,
    });
    let outcome = Outcome::new(format!("{}: {told}", printable(place)), json);
    if changes.is_empty() { outcome } else { outcome.detail(table.text()).html(table.html()) }
}

fn pair(before: &str, after: &str) -> String {
    if before == after { after.to_owned() } else { format!("{before} → {after}") }
}

impl Data {
    /// The repository that a command about revisions means: a URL, a folder of a mount or inside a clone;
    /// without a word, the one around the current folder. A clone stands for itself, at what is checked
    /// out: it has the branches and commits that its user knows.
    pub(super) fn repository(&self, target: &str, cx: &Cx) -> Result<(RepoUrl, RepoPath)> {
        if RepoTarget::looks_like_url(target) {
            let target = RepoTarget::parse(target)?;
            return Ok((target.url, target.path));
        }
        if let Some(inside) = here::at_revision(target, cx)? {
            return Ok((inside.url, inside.path));
        }
        // Said as it is meant: whoever opens it tells what is wrong with it.
        if !cx.absolute(target).exists()
            && target.contains(['@', ':'])
            && let Ok(inside) = RepoTarget::parse(target)
            && let RepoUrl::Local { path, .. } = &inside.url
            && cx.absolute(path).is_dir()
        {
            return Ok((inside.url, inside.path));
        }
        let here = if target.is_empty() { "." } else { target };
        let none = || {
            Error::usage(format!("{} is in no repository", cx.absolute(here).display()))
                .hint("give a repository URL, or call it inside a clone or a mount")
        };
        match self.place(here, cx)? {
            Place::Remote { source, path } => Ok((source.origin().ok_or_else(none)?, path)),
            Place::Local(at) => match working_tree(&at)? {
                Some((path, below)) => Ok((RepoUrl::Local { path, rev: Some("HEAD".into()) }, below)),
                // A bare one.
                None if at.is_dir() && !target.is_empty() => {
                    Ok((RepoUrl::Local { path: at, rev: None }, RepoPath::root()))
                }
                None => Err(none()),
            },
        }
    }
}
