//! What is answered to each question.

use super::nearest::nearest;
use dds::repo::wire::{Ask, MAX_PIECE, Opened, Uploaded, What, put_entry};
use dds::repo::{Entry as CellEntry, Error as CellError, ErrorKind, Keeper, MAX_READ, too_large};
use dds_core::{CellData, Cx, Entry, EntryKind, Error, Kind, RepoPath, Result, Source, Versioning};
use std::ops::Range;

/// Folders listed for one announcement.
const MAX_FOLDERS: usize = 64;
/// Files up to this size are read whole, which verifies them before their first byte is given out.
const WHOLE: u64 = 8 << 20;
/// Bytes asked for at a time of a larger file.
const STRIDE: u64 = 8 << 20;

/// Hands over the pieces of the answer and returns its end.
pub(super) fn answer(
    data: &dyn CellData,
    ask: &Ask,
    cx: &Cx,
    piece: &mut dyn FnMut(Vec<u8>) -> Result<()>,
) -> Result<Vec<u8>> {
    let open = |newest: bool| data.open(&ask.target, newest, cx);
    match &ask.what {
        What::Open(newest) => {
            let (source, base) = open(*newest)?;
            if !base.is_root() && stat(&*source, &base, cx)?.kind == EntryKind::File {
                return Err(
                    Error::usage(format!("{base} is a file")).hint("open the folder that it is in, or all")
                );
            }
            Ok(opened(&*source, &base))
        }
        What::Refresh => {
            data.refresh(&ask.target, cx)?;
            open(false).map(|(source, base)| opened(&*source, &base))
        }
        What::Stat(path) => {
            let (source, base) = open(false)?;
            let entry = stat(&*source, &base.join(&RepoPath::parse(path)?), cx)?;
            let mut out = Vec::new();
            put_entry(&mut out, &for_cell(&entry, &base));
            Ok(out)
        }
        What::List(path, deep) => {
            let (source, base) = open(false)?;
            let dir = base.join(&RepoPath::parse(path)?);
            let listed =
                source.list(&dir, *deep, cx).map_err(|error| with_nearest(error, &*source, &dir, cx))?;
            let mut out = Vec::new();
            for entry in &listed {
                let start = out.len();
                put_entry(&mut out, &for_cell(entry, &base));
                if out.len() > MAX_PIECE {
                    let next = out.split_off(start);
                    piece(std::mem::replace(&mut out, next))?;
                }
            }
            piece(out)?;
            Ok(Vec::new())
        }
        What::Read(path, from, to, digest) => {
            let (source, base) = open(false)?;
            let path = base.join(&RepoPath::parse(path)?);
            read(&*source, &path, *from..*to, digest.as_deref(), cx, piece)?;
            Ok(Vec::new())
        }
        What::Announce(folders, paths) => {
            let (source, base) = open(false)?;
            for folder in folders.iter().take(MAX_FOLDERS) {
                let Ok(folder) = RepoPath::parse(folder) else { continue };
                // Why it cannot be listed shows when its files are read.
                if let Err(error) = source.list(&base.join(&folder), false, cx) {
                    cx.cancel.check()?;
                    tracing::debug!("{folder}: not listed ahead: {error}");
                }
            }
            let paths: Vec<RepoPath> =
                paths.iter().filter_map(|path| Some(base.join(&RepoPath::parse(path).ok()?))).collect();
            source.announce(&paths);
            Ok(Vec::new())
        }
        What::Upload { files, to, message } => {
            let done = data.upload(&ask.target, files, &RepoPath::parse(to)?, message.as_deref(), cx)?;
            let dds_core::source::Uploaded { commit, branch, changed } = done;
            Ok(Uploaded { commit, branch, changed }.encode())
        }
    }
}

fn opened(source: &dyn Source, base: &RepoPath) -> Vec<u8> {
    Opened { id: source.id(), branch: source.branch(), path: base.as_str().to_owned() }.encode()
}

fn stat(source: &dyn Source, path: &RepoPath, cx: &Cx) -> Result<Entry> {
    source.stat(path, cx).map_err(|error| with_nearest(error, source, path, cx))
}

fn read(
    source: &dyn Source,
    path: &RepoPath,
    range: Range<u64>,
    digest: Option<&str>,
    cx: &Cx,
    piece: &mut dyn FnMut(Vec<u8>) -> Result<()>,
) -> Result<()> {
    let entry = stat(source, path, cx)?;
    if entry.kind == EntryKind::Dir {
        return Err(Error::usage(format!("{path} is a folder")).hint("`list` and `walk` say what is in it"));
    }
    if digest.is_some() && entry.digest.map(|d| d.to_string()).as_deref() != digest {
        return Err(changed(path));
    }
    let size = entry.size.unwrap_or(0);
    let end = if entry.size.is_some() { range.end.min(size) } else { range.end };
    if end.saturating_sub(range.start) > MAX_READ && entry.size.is_some() {
        let error = too_large(path.as_str());
        return Err(Error::new(Kind::Limit, error.message()).hint(error.hint().unwrap_or_default()));
    }
    // The branch may move at any moment; one answer is of one version.
    let still = || match stat(source, path, cx)?.digest == entry.digest {
        true => Ok(()),
        false => Err(changed(path)),
    };
    if range.start == 0 && size <= WHOLE && (entry.size.is_none() || end == size) {
        let mut bytes = source.read(path, cx)?;
        still()?;
        bytes.truncate(usize::try_from(end).unwrap_or(usize::MAX));
        return in_pieces(bytes, piece);
    }
    let mut at = range.start;
    while at < end {
        cx.cancel.check()?;
        let bytes = source.read_range(path, at..end.min(at.saturating_add(STRIDE)), cx)?;
        still()?;
        if bytes.is_empty() {
            break;
        }
        at += bytes.len() as u64;
        in_pieces(bytes, piece)?;
    }
    Ok(())
}

fn changed(path: &RepoPath) -> Error {
    Error::new(Kind::Conflict, format!("{path} has changed since it was opened"))
        .hint("open it again: repo.file(PATH)")
}

fn in_pieces(bytes: Vec<u8>, piece: &mut dyn FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
    if bytes.len() <= MAX_PIECE {
        return piece(bytes);
    }
    bytes.chunks(MAX_PIECE).try_for_each(|part| piece(part.to_vec()))
}

/// The path below what was opened.
fn for_cell(entry: &Entry, base: &RepoPath) -> CellEntry {
    let path = entry.path.strip_prefix(base).unwrap_or_else(|| entry.path.clone());
    let kept_by = match entry.versioning {
        Versioning::Git => Keeper::Git,
        Versioning::Dvc => Keeper::Dvc,
        Versioning::Bucket => Keeper::Bucket,
        Versioning::Local => Keeper::ThisMachine,
    };
    let digest = entry.digest.map(|digest| digest.to_string());
    CellEntry::new(path.as_str().to_owned(), entry.kind == EntryKind::Dir, entry.size, kept_by, digest)
}

/// What is not there: its error names what the user may have meant.
fn with_nearest(error: Error, source: &dyn Source, path: &RepoPath, cx: &Cx) -> Error {
    if error.kind != Kind::NotFound {
        return error;
    }
    match nearest(source, path, cx) {
        Some(near) => error.hint(format!("the nearest is {near}")),
        None if error.hint.is_some() => error,
        None => error.hint("`list` says what there is"),
    }
}

/// The error as cells get it.
pub(super) fn told(error: Error) -> CellError {
    let told = CellError::new(ErrorKind::named(error.kind.name()), error.message);
    match error.hint {
        // Flags are for commands.
        Some(hint) if hint.contains("--token") => told.with_hint(
            "log in: %dds login HOST; or put a token into the URL: https://:TOKEN@HOST/OWNER/REPO",
        ),
        Some(hint) => told.with_hint(hint),
        None => told,
    }
}
