//! The commands about files, revisions and accounts, over folders of this machine, mounts and repositories
//! alike.

mod clone;
mod diff;
mod fetch;
mod head;
mod listing;
mod log;
mod named;
mod tree;
mod upload;

pub use named::Named;

use crate::account;
use crate::here;
use crate::open::open_repo;
use dds_core::engine::DataEngine;
use dds_core::mime::{escape_html, printable};
use dds_core::request as rq;
use dds_core::table::{Align, Table, bytes};
use dds_core::{
    Config, Cx, Entry, EntryKind, Error, Kind, Located, Outcome, RepoPath, RepoTarget, RepoUrl, Resolver,
    Result, Source, Versioning,
};
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `cat` is for reading, not for copying.
pub const MAX_CAT_BYTES: u64 = 1 << 20;
/// Rows shown; `--json` has all of them.
const MAX_ROWS: usize = 1000;
/// Entries of one listing of this machine.
const MAX_LOCAL_ENTRIES: usize = 1_000_000;

/// The engine of all data commands.
pub struct Data {
    config: Arc<Config>,
    resolver: Arc<dyn Resolver>,
}

/// Where a target leads.
enum Place {
    Local(PathBuf),
    Remote { source: Arc<dyn Source>, path: RepoPath },
}

impl Data {
    /// `resolver` knows the mounts of the session.
    pub fn new(config: Arc<Config>, resolver: Arc<dyn Resolver>) -> Self {
        Self { config, resolver }
    }

    /// The current folder: in a mount its repository, in a clone where DVC keeps data the repository around
    /// it, else the folder itself.
    fn around(&self, cx: &Cx) -> Result<Place> {
        let place = self.place(".", cx)?;
        if let Place::Local(at) = &place
            && let Some(here) = here::around(at, &self.config)?
            && (here.root.join(".dvc").is_dir() || !matches!(here.url, RepoUrl::Local { .. }))
        {
            let source = self.resolver.open(&here.url, cx).map_err(|e| match &e.hint {
                _ if e.kind == Kind::Interrupted => e,
                Some(hint) => e.clone().hint(format!("{hint}; `dds ls .` lists the folder itself")),
                None => e.hint("`dds ls .` lists the folder itself"),
            })?;
            return Ok(Place::Remote { source, path: here.below });
        }
        Ok(place)
    }

    /// A URL, a path inside a mount, a path of this machine, or `REPOSITORY[@REV][:PATH]`.
    fn place(&self, target: &str, cx: &Cx) -> Result<Place> {
        if RepoTarget::looks_like_url(target) {
            let target = RepoTarget::parse(target)?;
            return Ok(Place::Remote { source: self.resolver.open(&target.url, cx)?, path: target.path });
        }
        let path = cx.absolute(target);
        match self.resolver.resolve(&path) {
            Located::Remote { source, path } => Ok(Place::Remote { source, path }),
            Located::Local(at) => {
                // Only what is no file may be a repository with a revision or a path behind it.
                if let Some(inside) = here::at_revision(target, cx)? {
                    let source = open_repo(&inside.url, &self.config, cx)?;
                    return Ok(Place::Remote { source, path: inside.path });
                }
                if !at.exists()
                    && target.contains(['@', ':'])
                    && let Ok(inside) = RepoTarget::parse(target)
                    && let Ok(source) = open_repo(&inside.url, &self.config, cx)
                {
                    return Ok(Place::Remote { source, path: inside.path });
                }
                Ok(Place::Local(at))
            }
        }
    }
}

impl DataEngine for Data {
    fn ls(&self, r: &rq::Ls, cx: &Cx) -> Result<Outcome> {
        let place = if r.target.is_empty() { self.around(cx)? } else { self.place(&r.target, cx)? };
        let (entries, shown, base) = match place {
            Place::Local(at) => {
                (local_list(&at, r.recursive, cx)?, at.display().to_string(), RepoPath::root())
            }
            Place::Remote { source, path } => {
                let shown = shown(source.as_ref(), &path);
                (source.list(&path, r.recursive, cx)?, shown, path)
            }
        };
        Ok(listing::of(entries, &base, &shown, r.long))
    }

    fn stat(&self, r: &rq::Stat, cx: &Cx) -> Result<Outcome> {
        let (entry, shown) = match self.place(&r.target, cx)? {
            Place::Local(at) => (local_stat(&at)?, at.display().to_string()),
            Place::Remote { source, path } => (source.stat(&path, cx)?, shown(source.as_ref(), &path)),
        };
        let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
        table.row(["kind", kind(&entry)]);
        if let Some(size) = entry.size {
            table.row(["size", &format!("{} ({size} bytes)", bytes(size))]);
        }
        if let Some(digest) = entry.digest {
            table.row(["digest", &digest.to_string()]);
        }
        table.row(["kept by", keeper(entry.versioning)]);
        let mut json = json!(listing::Row::of(&entry));
        if let Some(fields) = json.as_object_mut() {
            fields.insert("target".into(), shown.clone().into());
        }
        Ok(Outcome::new(printable(&shown), json).detail(table.text()).html(table.html()))
    }

    fn cat(&self, r: &rq::Cat, cx: &Cx) -> Result<Outcome> {
        let place = self.place(&r.target, cx)?;
        let (entry, name) = match &place {
            Place::Local(at) => (local_stat(at)?, at.display().to_string()),
            Place::Remote { source, path } => (source.stat(path, cx)?, shown(source.as_ref(), path)),
        };
        if entry.kind == EntryKind::Dir {
            return Err(Error::usage(format!("{name} is a folder")).hint(format!("dds ls {:?}", r.target)));
        }
        let too_long = |size: u64| {
            if size <= MAX_CAT_BYTES {
                return Ok(());
            }
            Err(Error::new(
                Kind::Limit,
                format!("{name} has at least {}; cat shows at most {}", bytes(size), bytes(MAX_CAT_BYTES)),
            )
            .hint("mount the repository and read a part of the file"))
        };
        too_long(entry.size.unwrap_or(0))?;
        let content = match &place {
            // One byte more tells that there is more.
            Place::Local(at) => local_read(at, MAX_CAT_BYTES + 1)?,
            Place::Remote { source, path } => source.read(path, cx)?,
        };
        // The size may not have been known, or was not the whole truth (files of /proc).
        let size = content.len() as u64;
        too_long(size)?;
        let text = match String::from_utf8(content) {
            Ok(text) if !text.contains('\0') => text,
            _ => {
                return Err(Error::new(Kind::Format, format!("{name} is not text ({})", bytes(size)))
                    .hint(format!("for an image: dds show {:?}", r.target)));
            }
        };
        let json = json!({"target": name, "size": size, "text": text});
        let html = format!("<pre>{}</pre>", escape_html(&printable(&text)));
        Ok(Outcome { json, ..Outcome::default() }.detail(printable(text.trim_end_matches('\n'))).html(html))
    }

    fn tree(&self, r: &rq::Tree, cx: &Cx) -> Result<Outcome> {
        tree::run(self, r, cx)
    }

    fn head(&self, r: &rq::Head, cx: &Cx) -> Result<Outcome> {
        head::run(self, r, cx)
    }

    fn diff(&self, r: &rq::Diff, cx: &Cx) -> Result<Outcome> {
        diff::run(self, r, cx)
    }

    fn log(&self, r: &rq::Log, cx: &Cx) -> Result<Outcome> {
        log::run(self, r, cx)
    }

    fn upload(&self, r: &rq::Upload, cx: &Cx) -> Result<Outcome> {
        upload::run(self, r, cx)
    }

    fn fetch(&self, r: &rq::Fetch, cx: &Cx) -> Result<Outcome> {
        fetch::run(self, r, cx)
    }

    fn clone_repo(&self, r: &rq::Clone, cx: &Cx) -> Result<Outcome> {
        clone::run(&self.config, r, cx)
    }

    fn login(&self, r: &rq::Login, cx: &Cx) -> Result<Outcome> {
        account::login(&self.config, r, cx)
    }

    fn logout(&self, r: &rq::Logout, _: &Cx) -> Result<Outcome> {
        account::logout(&self.config, r)
    }
}

/// `URL@commit:path`, shortened to ten digits of the commit.
fn shown(source: &dyn Source, path: &RepoPath) -> String {
    let id = source.id();
    let id = match id.rsplit_once('@') {
        Some((url, commit)) => format!("{url}@{}", commit.get(..10).unwrap_or(commit)),
        None => id,
    };
    if path.is_root() { id } else { format!("{id}:{path}") }
}

fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        EntryKind::File => "file",
        EntryKind::Dir => "folder",
    }
}

fn keeper(versioning: Versioning) -> &'static str {
    match versioning {
        Versioning::Git => "git",
        Versioning::Dvc => "dvc",
        Versioning::Bucket => "bucket",
        Versioning::Local => "this machine",
    }
}

fn local_list(dir: &Path, recursive: bool, cx: &Cx) -> Result<Vec<Entry>> {
    if !dir.is_dir() {
        return match std::fs::metadata(dir) {
            Ok(_) => Err(Error::usage(format!("{} is a file", dir.display()))
                .hint(format!("dds stat {:?}", dir.display().to_string()))),
            Err(e) => Err(Error::io(dir, &e).hint("check the spelling; `dds mounts` lists what is mounted")),
        };
    }
    let mut found = Vec::new();
    let mut pending = vec![(RepoPath::root(), dir.to_owned())];
    while let Some((below, at)) = pending.pop() {
        cx.cancel.check()?;
        for entry in std::fs::read_dir(&at).map_err(|e| Error::io(&at, &e))? {
            let entry = entry.map_err(|e| Error::io(&at, &e))?;
            // A name that is not UTF-8 or holds a backslash cannot be told in this vocabulary.
            let Some(path) = entry.file_name().to_str().and_then(|n| below.child(n).ok()) else { continue };
            let meta = entry.metadata().map_err(|e| Error::io(entry.path(), &e))?;
            if meta.is_dir() {
                if recursive {
                    pending.push((path, entry.path()));
                } else {
                    found.push(local_entry(path, &meta));
                }
            } else {
                found.push(local_entry(path, &meta));
            }
            if found.len() > MAX_LOCAL_ENTRIES {
                return Err(Error::new(Kind::Limit, format!("more than {MAX_LOCAL_ENTRIES} entries"))
                    .hint("list a folder further down"));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The first bytes of a regular file. Devices and pipes have no end.
fn local_read(at: &Path, max: u64) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(at, &e);
    if !std::fs::metadata(at).map_err(io)?.is_file() {
        return Err(Error::usage(format!("{} is not a regular file", at.display())));
    }
    let mut bytes = Vec::new();
    File::open(at).and_then(|f| f.take(max).read_to_end(&mut bytes)).map_err(io)?;
    Ok(bytes)
}

fn local_stat(at: &Path) -> Result<Entry> {
    let meta = std::fs::metadata(at).map_err(|e| Error::io(at, &e))?;
    Ok(local_entry(RepoPath::root(), &meta))
}

fn local_entry(path: RepoPath, meta: &std::fs::Metadata) -> Entry {
    let (kind, size) =
        if meta.is_dir() { (EntryKind::Dir, None) } else { (EntryKind::File, Some(meta.len())) };
    let executable = kind == EntryKind::File && meta.permissions().mode() & 0o111 != 0;
    Entry { path, kind, size, digest: None, versioning: Versioning::Local, executable }
}

#[cfg(test)]
mod tests;
