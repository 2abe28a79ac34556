//! `ls`: a listing as a table of its first rows, and as data.
//!
//! The data of a large one is written when somebody asks for it, entry by entry.

use super::{MAX_ROWS, keeper};
use dds_core::mime::printable;
use dds_core::table::{Align, Table, bytes, count};
use dds_core::{Digest, Entry, EntryKind, Outcome, RepoPath, Versioning};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// What `--json` prints.
#[derive(Serialize)]
struct Listing {
    #[serde(serialize_with = "rows")]
    entries: Vec<Entry>,
    target: String,
}

/// One entry of it.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    #[serde(serialize_with = "digest_text")]
    digest: Option<Digest>,
    kind: EntryKind,
    path: &'a RepoPath,
    size: Option<u64>,
    versioning: Versioning,
}

impl<'a> Row<'a> {
    pub(super) fn of(entry: &'a Entry) -> Self {
        let Entry { path, kind, size, digest, versioning, .. } = entry;
        Self { digest: *digest, kind: *kind, path, size: *size, versioning: *versioning }
    }
}

fn rows<S: Serializer>(entries: &[Entry], to: S) -> Result<S::Ok, S::Error> {
    let mut list = to.serialize_seq(Some(entries.len()))?;
    entries.iter().try_for_each(|entry| list.serialize_element(&Row::of(entry)))?;
    list.end()
}

fn digest_text<S: Serializer>(digest: &Option<Digest>, to: S) -> Result<S::Ok, S::Error> {
    match digest {
        Some(digest) => to.collect_str(digest),
        None => to.serialize_none(),
    }
}

pub(super) fn of(entries: Vec<Entry>, base: &RepoPath, shown: &str, long: bool) -> Outcome {
    let files: Vec<&Entry> = entries.iter().filter(|e| e.kind == EntryKind::File).collect();
    let total: u64 = files.iter().filter_map(|e| e.size).sum();
    let folders = entries.len() - files.len();
    let mut parts = Vec::new();
    if folders > 0 {
        parts.push(count(folders, "folder"));
    }
    if !files.is_empty() || folders == 0 {
        parts.push(format!("{}, {}", count(files.len(), "file"), bytes(total)));
    }
    let summary = format!("{}: {}", printable(shown), parts.join(", "));
    let mut table = if long {
        Table::new(&[
            ("size", Align::Right),
            ("kept by", Align::Left),
            ("digest", Align::Left),
            ("name", Align::Left),
        ])
    } else {
        Table::new(&[("size", Align::Right), ("name", Align::Left)])
    };
    for entry in entries.iter().take(MAX_ROWS) {
        let below = entry.path.strip_prefix(base).unwrap_or_else(|| entry.path.clone());
        let slash = if entry.kind == EntryKind::Dir { "/" } else { "" };
        let name = format!("{below}{slash}");
        let size = match (entry.kind, entry.size) {
            (EntryKind::Dir, _) => String::new(),
            (EntryKind::File, Some(size)) => bytes(size),
            (EntryKind::File, None) => "?".to_owned(),
        };
        if long {
            let digest = entry.digest.map(|d| d.to_string()).unwrap_or_default();
            table.row([size.as_str(), keeper(entry.versioning), &digest, &name]);
        } else {
            table.row([size.as_str(), &name]);
        }
    }
    if entries.len() > MAX_ROWS {
        table.note(format!("… and {} more (--json lists all)", entries.len() - MAX_ROWS));
    }
    let mut outcome = Outcome::new(summary, Value::Null);
    if !entries.is_empty() {
        outcome = outcome.detail(table.text()).html(table.html());
    }
    let is_large = entries.len() > MAX_ROWS;
    let listing = Listing { target: shown.to_owned(), entries };
    if is_large { outcome.large(listing) } else { Outcome { json: json!(listing), ..outcome } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: usize) -> Vec<Entry> {
        let entry = |n: usize| Entry {
            path: RepoPath::parse(&format!("d/{n}")).unwrap(),
            kind: EntryKind::File,
            size: Some(1),
            digest: Some(Digest::Md5([7; 16])),
            versioning: Versioning::Dvc,
            executable: false,
        };
        (0..count).map(entry).collect()
    }

    #[test]
    fn a_large_listing_is_data_only_when_somebody_asks() {
        for (count, is_large) in [(0, false), (MAX_ROWS, false), (MAX_ROWS + 1, true)] {
            let out = of(entries(count), &RepoPath::root(), "u@c", false);
            assert_eq!((out.large.is_some(), out.json.is_null()), (is_large, is_large), "{count}");
            let data = out.data();
            assert_eq!((data["entries"].as_array().unwrap().len(), &data["target"]), (count, &json!("u@c")));
            if count > 0 {
                let first = json!({
                    "path": "d/0", "kind": "file", "size": 1, "digest": "07".repeat(16), "versioning": "dvc",
                });
                assert_eq!(data["entries"][0], first);
            }
            assert_eq!(out.detail.contains("and 1 more"), is_large);
        }
    }
}
