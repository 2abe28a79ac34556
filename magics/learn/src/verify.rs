//! Which files of a folder are no good: empty, truncated, damaged, named as what they are not, or there
//! twice.
//!
//! Images are read and decoded in full; of other files only the first bytes are looked at, unless
//! [`Check::all`] asks for empty and double ones too. Hidden files and folders are left out. Does not
//! remove anything.

use crate::decode::{decode, glimpse, is_image_name};
use crate::features::{fatal, reader::read_ahead};
use crate::local::links_to_nowhere;
use crate::place::{FileRef, Place};
use crate::transform::thumbnail;
use dds_core::image_kind::{MAGIC_BYTES, looks_like};
use dds_core::{Cx, EntryKind, Error, ImageKind, Kind, Result};
use image::RgbImage;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Small copies of bad images that are kept, and their longest side in pixels.
pub const MAX_PREVIEWS: usize = 24;
pub const PREVIEW_SIDE: u32 = 112;
/// Files that are decoded side by side.
const BATCH: usize = 16;
/// Of a file that is read for its digest alone.
const PIECE: u64 = 4 << 20;
/// Suffixes of files that hold text: an image there is a mistake.
const TEXT: [&str; 9] = ["txt", "csv", "tsv", "json", "html", "htm", "md", "xml", "yaml"];

/// Why a file is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Empty,
    Truncated,
    /// The name promises another type than the content is.
    WrongType,
    Unreadable,
    Duplicate,
}

impl Fault {
    /// The stable name, as in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::WrongType => "wrong type",
            Self::Unreadable => "unreadable",
            Self::Duplicate => "duplicate",
        }
    }
}

/// A bad file.
#[derive(Debug)]
pub struct Finding {
    /// Below the folder that was asked for.
    pub path: String,
    pub fault: Fault,
    /// In words.
    pub detail: String,
    /// A small copy, where something could be decoded; of the first [`MAX_PREVIEWS`] only.
    pub preview: Option<RgbImage>,
}

/// What came out. Findings are sorted by path.
#[derive(Debug, Default)]
pub struct Report {
    pub images: usize,
    pub others: usize,
    pub bad: Vec<Finding>,
    /// Path and reason of files that are over a limit: they may be good.
    pub unchecked: Vec<(String, String)>,
}

/// How to check.
#[derive(Clone, Copy)]
pub struct Check<'a> {
    pub pool: &'a rayon::ThreadPool,
    /// Empty and double files that are no images count as well.
    pub all: bool,
}

/// Small copies of images that are there more than once, by digest.
type Previews = HashMap<[u8; 32], RgbImage>;

/// What is known of one file.
struct Seen {
    digest: Option<[u8; 32]>,
    fault: Option<(Fault, String)>,
    preview: Option<RgbImage>,
    /// Over a limit.
    unchecked: Option<String>,
}

impl Seen {
    fn good(digest: Option<[u8; 32]>) -> Self {
        Self { digest, fault: None, preview: None, unchecked: None }
    }

    fn bad(fault: Fault, detail: impl Into<String>) -> Self {
        Self { fault: Some((fault, detail.into())), ..Self::good(None) }
    }

    fn over(e: &Error) -> Self {
        Self { unchecked: Some(e.message.clone()), ..Self::good(None) }
    }
}

impl Check<'_> {
    /// Checks every file below `place`. Errors: `NotFound`, `Interrupted`, a server that goes away.
    pub fn run(self, place: &Place, cx: &Cx) -> Result<Report> {
        let (files, names) = files(place, cx)?;
        let (images, others): (Vec<usize>, Vec<usize>) =
            (0..files.len()).partition(|i| is_image_name(files[*i].path.name()));
        let mut seen: Vec<Option<Seen>> = files.iter().map(|_| None).collect();
        let total = files.len();
        let mut done = 0;
        for i in &others {
            cx.cancel.check()?;
            seen[*i] = Some(self.other(&files[*i], cx)?);
            done += 1;
            cx.items("files", done, total);
        }
        let twice =
            self.images(&files, &images, &mut seen, &mut |n| cx.items("files", done + n, total), cx)?;
        let mut report = report(names, seen, &twice, images.len(), others.len());
        if place.local && place.path.is_root() {
            let nowhere = links_to_nowhere(Path::new(&place.source.id()), cx)?;
            let shown = nowhere.into_iter().filter(|p| !p.components().any(|c| c.starts_with('.')));
            report.bad.extend(shown.map(|path| Finding {
                path: path.to_string(),
                fault: Fault::Unreadable,
                detail: "a link to nowhere".into(),
                preview: None,
            }));
            report.bad.sort_by(|a, b| a.path.cmp(&b.path));
        }
        Ok(report)
    }

    fn images(
        self,
        files: &[FileRef],
        order: &[usize],
        seen: &mut [Option<Seen>],
        done: &mut dyn FnMut(usize),
        cx: &Cx,
    ) -> Result<Previews> {
        let (mut known, mut twice) = (HashSet::new(), Previews::new());
        let mut batch: Vec<(usize, Vec<u8>)> = Vec::with_capacity(BATCH);
        let (mut left, mut previews) = (order.len(), MAX_PREVIEWS);
        read_ahead(files, order, cx, |i, read| {
            left -= 1;
            match read {
                Ok(bytes) => batch.push((i, bytes)),
                Err(e) if fatal(e.kind) => return Err(e),
                Err(e) if e.kind == Kind::Limit => seen[i] = Some(Seen::over(&e)),
                Err(e) => seen[i] = Some(Seen::bad(Fault::Unreadable, e.message)),
            }
            if batch.len() == BATCH || left == 0 {
                let work = |(i, bytes): (usize, Vec<u8>)| (i, image(files[i].path.name(), &bytes));
                let checked: Vec<(usize, Seen)> =
                    self.pool.install(|| std::mem::take(&mut batch).into_par_iter().map(work).collect());
                for (i, mut found) in checked {
                    // A good image is of interest once it comes again.
                    let good = found.digest.filter(|_| found.fault.is_none());
                    let wanted = good.is_none_or(|digest| !known.insert(digest)) && previews > 0;
                    let preview = found.preview.take().filter(|_| wanted);
                    previews -= usize::from(preview.is_some());
                    match (good, preview) {
                        (Some(digest), Some(preview)) => drop(twice.insert(digest, preview)),
                        (_, preview) => found.preview = preview,
                    }
                    seen[i] = Some(found);
                }
                done(order.len() - left);
            }
            Ok(())
        })?;
        Ok(twice)
    }

    fn other(self, file: &FileRef, cx: &Cx) -> Result<Seen> {
        let empty = || Seen::bad(Fault::Empty, "the file is empty");
        if file.size == Some(0) {
            return Ok(if self.all { empty() } else { Seen::good(None) });
        }
        let start = match file.source.read_range(&file.path, 0..MAGIC_BYTES as u64, cx) {
            Ok(start) => start,
            Err(e) if fatal(e.kind) => return Err(e),
            Err(e) => return Ok(Seen::bad(Fault::Unreadable, e.message)),
        };
        let suffix = file.path.name().rsplit_once('.').map_or("", |(_, s)| s);
        if let Some(kind) =
            ImageKind::of(&start).filter(|_| TEXT.iter().any(|t| suffix.eq_ignore_ascii_case(t)))
        {
            return Ok(Seen::bad(Fault::WrongType, format!("a {} under the name .{suffix}", kind.name())));
        }
        if !self.all {
            return Ok(Seen::good(None));
        }
        match digest(file, cx) {
            Ok(None) => Ok(empty()),
            Ok(digest) => Ok(Seen::good(digest)),
            Err(e) if fatal(e.kind) => Err(e),
            Err(e) => Ok(Seen::bad(Fault::Unreadable, e.message)),
        }
    }
}

/// Every file below the place that is not hidden, with its path below the place.
fn files(place: &Place, cx: &Cx) -> Result<(Vec<FileRef>, Vec<String>)> {
    let listing = place.images(cx)?;
    if listing.single {
        let names = listing.files.iter().map(|f| f.path.name().to_owned()).collect();
        return Ok((listing.files, names));
    }
    let (mut files, mut names) = (Vec::new(), Vec::new());
    for e in place.source.list(&place.path, true, cx)? {
        let Some(below) = e.path.strip_prefix(&place.path) else { continue };
        if e.kind != EntryKind::File || below.components().any(|c| c.starts_with('.')) {
            continue;
        }
        names.push(below.to_string());
        files.push(FileRef { source: place.source.clone(), path: e.path, size: e.size, digest: e.digest });
    }
    Ok((files, names))
}

/// SHA-256 of a whole file, read piece by piece; none for an empty one.
fn digest(file: &FileRef, cx: &Cx) -> Result<Option<[u8; 32]>> {
    let (mut hash, mut at) = (Sha256::new(), 0);
    loop {
        cx.cancel.check()?;
        let piece = file.source.read_range(&file.path, at..at + PIECE, cx)?;
        if piece.is_empty() {
            return Ok((at > 0).then(|| hash.finalize().into()));
        }
        at += piece.len() as u64;
        hash.update(&piece);
    }
}

fn image(name: &str, bytes: &[u8]) -> Seen {
    let digest = Some(Sha256::digest(bytes).into());
    let (kind, promised) = (ImageKind::of(bytes), ImageKind::of_name(name));
    match decode(name, bytes) {
        Ok(picture) if kind.is_none() || kind == promised => {
            Seen { preview: small(&picture), ..Seen::good(digest) }
        }
        Ok(picture) => {
            let kind = kind.map_or("", ImageKind::name);
            let suffix = name.rsplit_once('.').map_or("", |(_, s)| s);
            let detail = format!("a {kind} under the name .{suffix}");
            Seen { preview: small(&picture), ..Seen::bad(Fault::WrongType, detail) }
        }
        Err(e) if e.kind == Kind::Limit => Seen::over(&e),
        Err(_) if bytes.is_empty() => Seen::bad(Fault::Empty, "the file is empty"),
        Err(e) => {
            let why = e.message.split_once(": ").map_or(e.message.as_str(), |(_, why)| why);
            let (fault, detail) = match kind {
                None => (Fault::WrongType, format!("not an image: {}", looks_like(bytes))),
                Some(kind) if ends_early(kind, bytes) => {
                    (Fault::Truncated, format!("a {} that ends early", kind.name()))
                }
                Some(_) => (Fault::Unreadable, why.to_owned()),
            };
            Seen { preview: glimpse(bytes).as_ref().and_then(small), ..Seen::bad(fault, detail) }
        }
    }
}

fn small(image: &RgbImage) -> Option<RgbImage> {
    thumbnail(image, PREVIEW_SIDE).ok()
}

/// Whether the bytes of an image that cannot be decoded break off: the mark of its end is missing, or it
/// announces more bytes than there are.
fn ends_early(kind: ImageKind, bytes: &[u8]) -> bool {
    let number = |at: usize| {
        let four: Option<[u8; 4]> = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
        four.map_or(u64::MAX, |b| u64::from(u32::from_le_bytes(b)))
    };
    let len = bytes.len() as u64;
    match kind {
        ImageKind::Jpeg => crate::decode::jpeg_ends_early(bytes),
        ImageKind::Png => !bytes.windows(4).rev().any(|w| w == b"IEND"),
        ImageKind::WebP => number(4).saturating_add(8) > len,
        ImageKind::Gif => bytes.last() != Some(&0x3b),
        ImageKind::Bmp => number(2) > len,
        ImageKind::Tiff => crate::pages::reaches_past_end(bytes),
    }
}

fn report(
    names: Vec<String>,
    seen: Vec<Option<Seen>>,
    twice: &Previews,
    images: usize,
    others: usize,
) -> Report {
    let mut report = Report { images, others, ..Report::default() };
    let mut first: HashMap<[u8; 32], String> = HashMap::new();
    for (path, seen) in names.into_iter().zip(seen) {
        let Some(seen) = seen else { continue };
        if let Some(why) = seen.unchecked {
            report.unchecked.push((path, why));
        } else if let Some((fault, detail)) = seen.fault {
            report.bad.push(Finding { path, fault, detail, preview: seen.preview });
        } else if let Some(digest) = seen.digest {
            match first.get(&digest) {
                Some(earlier) => {
                    let detail = format!("the same bytes as {earlier}");
                    let preview = twice.get(&digest).cloned();
                    report.bad.push(Finding { path, fault: Fault::Duplicate, detail, preview });
                }
                None => drop(first.insert(digest, path)),
            }
        }
    }
    report
}
