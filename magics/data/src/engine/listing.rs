//! `ls`, `stat` and `cat`.

use super::locate::{Place, locate};
use super::table::{Align, Table, bytes};
use dds_core::mime::printable;
use dds_core::request as rq;
use dds_core::{Cx, Entry, EntryKind, Error, Kind, Outcome, Resolver, Result, Versioning};
use serde_json::{Value, json};

/// Most lines that a listing shows; `--json` holds all of them.
const SHOWN_ENTRIES: usize = 500;
/// Most bytes that `cat` prints.
const MAX_CAT_BYTES: u64 = 1_000_000;

pub fn ls(r: &rq::Ls, resolver: &dyn Resolver, cx: &Cx) -> Result<Outcome> {
    let Place { source, path } = locate(&r.target, resolver, cx)?;
    let entries = match source.stat(&path, cx)? {
        dir if dir.kind == EntryKind::Dir => source.list(&path, r.recursive, cx)?,
        file => vec![file],
    };
    let name = |e: &Entry| {
        let below = e.path.strip_prefix(&path).filter(|p| !p.is_root());
        let shown = below.map_or_else(|| e.path.name().to_owned(), |p| p.to_string());
        if e.kind == EntryKind::Dir { format!("{shown}/") } else { shown }
    };
    let files = entries.iter().filter(|e| e.kind == EntryKind::File).count();
    let folders = entries.len() - files;
    let total: u64 = entries.iter().filter_map(|e| e.size).sum();
    let mut summary = match (folders, files) {
        (0, 0) => "empty".to_owned(),
        (0, f) => count(f, "file"),
        (d, 0) => count(d, "folder"),
        (d, f) => format!("{}, {}", count(d, "folder"), count(f, "file")),
    };
    if total > 0 {
        summary.push_str(&format!(", {}", bytes(total)));
    }
    summary.push_str(&format!(" in {}", printable(&r.target)));

    let json = json!({
        "target": r.target, "source": source.id(), "path": path, "files": files, "folders": folders, "bytes": total,
        "entries": entries.iter().map(entry_json).collect::<Vec<_>>(),
    });
    let mut table = if r.long {
        Table::new(&[("name", Align::Left), ("size", Align::Right), ("kept by", Align::Left), ("digest", Align::Left)])
    } else {
        Table::new(&[("name", Align::Left), ("size", Align::Right)])
    };
    for e in entries.iter().take(SHOWN_ENTRIES) {
        let mut cells = vec![name(e), e.size.map(bytes).unwrap_or_default()];
        if r.long {
            cells.push(kept_by(e.versioning).to_owned());
            cells.push(e.digest.map(|d| d.to_string()).unwrap_or_default());
        }
        table.row(cells);
    }
    let mut outcome = Outcome::new(summary, json);
    if !table.is_empty() {
        let cut = entries.len().saturating_sub(SHOWN_ENTRIES);
        let more = if cut > 0 { format!("\n… and {cut} more; --json lists them all") } else { String::new() };
        outcome = outcome.detail(table.text() + &more).html(table.html() + &more);
    }
    Ok(outcome)
}

pub fn stat(r: &rq::Stat, resolver: &dyn Resolver, cx: &Cx) -> Result<Outcome> {
    let Place { source, path } = locate(&r.target, resolver, cx)?;
    let entry = source.stat(&path, cx)?;
    let kind = if entry.kind == EntryKind::Dir { "folder" } else { "file" };
    let size = entry.size.map(|n| format!(", {} ({n} bytes)", bytes(n))).unwrap_or_default();
    let mut table = Table::new(&[("field", Align::Left), ("value", Align::Left)]);
    table.row(vec!["path".into(), entry.path.to_string()]);
    table.row(vec!["kept by".into(), kept_by(entry.versioning).into()]);
    if let Some(digest) = entry.digest {
        table.row(vec!["digest".into(), digest.to_string()]);
    }
    table.row(vec!["source".into(), source.id()]);
    let mut json = entry_json(&entry);
    if let Value::Object(fields) = &mut json {
        fields.insert("source".into(), source.id().into());
    }
    Ok(Outcome::new(format!("{}: {kind}{size}", printable(&r.target)), json).detail(table.text()).html(table.html()))
}

pub fn cat(r: &rq::Cat, resolver: &dyn Resolver, cx: &Cx) -> Result<Outcome> {
    let Place { source, path } = locate(&r.target, resolver, cx)?;
    let entry = source.stat(&path, cx)?;
    if entry.kind == EntryKind::Dir {
        return Err(Error::usage(format!("{} is a folder", printable(&r.target))).hint(format!("list it: ls {}", r.target)));
    }
    let size = entry.size.unwrap_or(0);
    let data = if size > MAX_CAT_BYTES {
        source.read_range(&path, 0..MAX_CAT_BYTES, cx)?
    } else {
        source.read(&path, cx)?
    };
    let text = match std::str::from_utf8(&data) {
        Ok(text) => text,
        // A character may have been cut at the limit; anything earlier is not text.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(data.get(..e.valid_up_to()).unwrap_or(&[])).unwrap_or(""),
        Err(_) => {
            return Err(Error::new(Kind::Format, format!("{} is not text in UTF-8", printable(&r.target)))
                .hint(format!("an image? show {}", r.target)));
        }
    };
    if text.contains('\0') {
        return Err(Error::new(Kind::Format, format!("{} is not text", printable(&r.target))));
    }
    let summary = if size > MAX_CAT_BYTES {
        format!("{}: the first {} of {}", printable(&r.target), bytes(MAX_CAT_BYTES), bytes(size))
    } else {
        String::new()
    };
    Ok(Outcome::new(summary, json!({"path": path, "source": source.id(), "size": size, "text": text})).detail(printable(text)))
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn kept_by(v: Versioning) -> &'static str {
    match v {
        Versioning::Git => "git",
        Versioning::Dvc => "dvc",
        Versioning::Bucket => "bucket",
        Versioning::Local => "this machine",
    }
}

fn entry_json(e: &Entry) -> Value {
    json!({"path": e.path, "kind": e.kind, "size": e.size, "digest": e.digest.map(|d| d.to_string()), "versioning": e.versioning})
}
