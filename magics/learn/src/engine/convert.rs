//! `convert`: a file or a folder of images into another format or size, on all cores.

use super::Learn;
use crate::convert::budget::Budget;
use crate::convert::encode::Format;
use crate::convert::{Made, Recipe, convert};
use crate::features::fatal;
use crate::place::{FileRef, Place};
use dds_contain::Root;
use dds_core::mime::printable;
use dds_core::table::{Align, Table, bytes, count, parse_bytes};
use dds_core::{Cx, Error, ImageKind, Kind, Outcome, RepoPath, Result, request as rq};
use rayon::prelude::*;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Longest side that may be asked for, in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 1..=65_535;
const QUALITIES: std::ops::RangeInclusive<u32> = 1..=100;
const DEFAULT_QUALITY: u8 = 90;
/// Rows shown; `--json` has all of them.
const MAX_ROWS: usize = 500;

/// Where the pictures go.
struct Target {
    root: Root,
    /// The one name below it; none for a folder.
    name: Option<String>,
    overwrite: bool,
}

/// What became of one file.
#[derive(Default)]
struct Converted {
    written: Vec<(String, u32, u32, u64)>,
    there: Vec<String>,
    failed: Option<Error>,
}

impl Learn {
    pub(super) fn run_convert(&self, r: &rq::Convert, cx: &Cx) -> Result<Outcome> {
        let place = Place::find(&r.src, self.resolver.as_ref(), cx)?;
        let listing = place.images(cx)?;
        if listing.files.is_empty() {
            return Err(Error::not_found(format!("{}: no images in this folder", place.shown))
                .hint("%dds ls -r lists the folder"));
        }
        let dst = self.writable(&r.dst, cx)?;
        let (file, dir) = file_or_folder(&dst, &r.dst, listing.single);
        let recipe = recipe(r, file.as_deref())?;
        std::fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, &e))?;
        let target = Target { root: Root::open(&dir)?, name: file, overwrite: r.overwrite };
        let budget = Budget::new(recipe.memory);
        let names = names(&place, &listing.files, listing.single, &recipe);
        let (total, done) = (listing.files.len(), AtomicUsize::new(0));
        let paths: Vec<RepoPath> = listing.files.iter().map(|f| f.path.clone()).collect();
        place.source.announce(&paths);
        let work = |(file, name): (&FileRef, &std::result::Result<RepoPath, Error>)| {
            let converted = match name {
                Ok(name) => one(file, name, &recipe, &target, &budget, cx),
                Err(e) => Ok(Converted { failed: Some(e.clone()), ..Converted::default() }),
            };
            cx.items("images", done.fetch_add(1, Ordering::Relaxed) + 1, total);
            converted
        };
        let results: Vec<Converted> = self
            .pool()?
            .install(|| listing.files.par_iter().zip(&names).map(work).collect::<Result<Vec<_>>>())?;
        let from: Vec<String> = listing
            .files
            .iter()
            .map(|f| {
                f.path
                    .strip_prefix(&place.path)
                    .filter(|p| !p.is_root())
                    .unwrap_or_else(|| f.path.clone())
                    .to_string()
            })
            .collect();
        Ok(outcome(&r.dst, &from, &results))
    }
}

/// The file name that DST means (none for a folder), and the folder.
fn file_or_folder(dst: &Path, text: &str, single: bool) -> (Option<String>, PathBuf) {
    let name = dst.file_name().and_then(|n| n.to_str()).filter(|n| ImageKind::of_name(n).is_some());
    match name {
        Some(name) if single && !text.ends_with('/') && !dst.is_dir() => {
            (Some(name.to_owned()), dst.parent().unwrap_or(Path::new("/")).to_owned())
        }
        _ => (None, dst.to_owned()),
    }
}

fn recipe(r: &rq::Convert, file: Option<&str>) -> Result<Recipe> {
    if let Some(size) = r.max_size.filter(|s| !SIDES.contains(s)) {
        let why = format!("--max-size {size} is out of range: {} to {} pixels", SIDES.start(), SIDES.end());
        return Err(Error::usage(why));
    }
    let named = file.and_then(ImageKind::of_name);
    let format = match (&r.format, named) {
        (Some(text), None) => Some(text.parse::<Format>()?),
        (Some(text), Some(kind)) if text.parse::<Format>()?.kind() == kind => Some(text.parse()?),
        (Some(text), Some(_)) => {
            return Err(Error::usage(format!(
                "{} does not end as a {text} file does",
                file.unwrap_or_default()
            ))
            .hint("leave --format out, or choose another name"));
        }
        (None, Some(ImageKind::Gif | ImageKind::Bmp)) => {
            return Err(Error::usage("GIF and BMP are read, not written").hint("write a .png file"));
        }
        (None, Some(kind)) => Some(Format::of(kind)),
        (None, None) => None,
    };
    if let Some(q) = r.quality {
        if !QUALITIES.contains(&q) {
            return Err(Error::usage(format!("--quality {q} is out of range: 1 to 100")));
        }
        if format.is_some_and(|f| f != Format::Jpeg) {
            return Err(Error::usage("--quality is for JPEG; the other formats are written without loss"));
        }
    }
    let memory = parse_bytes(&r.memory, "--memory")?;
    if memory < 1 << 20 {
        return Err(Error::usage("--memory is out of range: 1 MB and more"));
    }
    let quality = r.quality.and_then(|q| u8::try_from(q).ok()).unwrap_or(DEFAULT_QUALITY);
    Ok(Recipe { format, max_size: r.max_size, quality, memory })
}

/// The name of each file below the target, without its new suffix where that changes nothing of who is
/// who. Of two files that would become the same one, the second is an error.
fn names(
    place: &Place,
    files: &[FileRef],
    single: bool,
    recipe: &Recipe,
) -> Vec<std::result::Result<RepoPath, Error>> {
    let mut known: HashMap<String, String> = HashMap::new();
    files
        .iter()
        .map(|f| {
            let below = match single {
                true => RepoPath::parse(f.path.name())?,
                false => f.path.strip_prefix(&place.path).unwrap_or_else(|| f.path.clone()),
            };
            let below = RepoPath::parse_writable(below.as_str())?;
            let stem = below.as_str().rsplit_once('.').map_or(below.as_str(), |(stem, _)| stem).to_owned();
            let format = recipe.format.or_else(|| ImageKind::of_name(f.path.name()).map(Format::of));
            // File systems that fold case would make one file of both.
            let key = format!("{}.{}", stem.to_lowercase(), format.map_or("", |f| f.kind().suffix()));
            match known.insert(key.clone(), below.to_string()) {
                None => RepoPath::parse(&stem),
                Some(first) => {
                    known.insert(key, first.clone());
                    Err(Error::new(Kind::Conflict, format!("{first} becomes the same file")))
                }
            }
        })
        .collect()
}

impl Target {
    /// The path of a picture. A suffix that fits already stays as it is spelled.
    fn path(&self, stem: &RepoPath, original: &str, made: (Option<usize>, Format)) -> Result<RepoPath> {
        let (page, format) = made;
        let (stem, spelled) = match &self.name {
            Some(name) => (name.rsplit_once('.').map_or(name.as_str(), |(s, _)| s), name.as_str()),
            None => (stem.as_str(), original),
        };
        let suffix = match spelled.rsplit_once('.') {
            Some((_, suffix)) if ImageKind::of_name(spelled) == Some(format.kind()) => suffix,
            _ => format.kind().suffix(),
        };
        let page = page.map_or_else(String::new, |n| format!("-{n:04}"));
        RepoPath::parse_writable(&format!("{stem}{page}.{suffix}"))
    }

    fn is_there(&self, path: &RepoPath) -> Result<bool> {
        Ok(!self.overwrite && self.root.find(path)?.is_some())
    }
}

/// Converts one file. What is wrong with it is part of the answer; errors end the whole command.
fn one(
    file: &FileRef,
    stem: &RepoPath,
    recipe: &Recipe,
    target: &Target,
    budget: &Budget,
    cx: &Cx,
) -> Result<Converted> {
    cx.cancel.check()?;
    let mut done = Converted::default();
    let original = file.path.name();
    let expected = recipe.format.or_else(|| ImageKind::of_name(original).map(Format::of));
    if let Some(format) = expected {
        let path = target.path(stem, original, (None, format))?;
        if target.is_there(&path)? {
            done.there.push(path.to_string());
            return Ok(done);
        }
    }
    let mut take = |made: Made| {
        let path = target.path(stem, original, (made.page, made.format))?;
        let written = match target.overwrite {
            true => target.root.write(&path, &mut &made.bytes[..], false).map(|()| true)?,
            false => target.root.create(&path, &mut &made.bytes[..])?,
        };
        match written {
            true => done.written.push((path.to_string(), made.width, made.height, made.bytes.len() as u64)),
            false => done.there.push(path.to_string()),
        }
        Ok(())
    };
    match convert(file, recipe, budget, cx, &mut take) {
        Ok(()) => {}
        Err(e) if fatal(e.kind) => return Err(e),
        Err(e) => done.failed = Some(e),
    }
    Ok(done)
}

fn outcome(dst: &str, from: &[String], results: &[Converted]) -> Outcome {
    let files = results.iter().filter(|c| !c.written.is_empty()).count();
    let pictures = results.iter().map(|c| c.written.len()).sum::<usize>();
    let there = results.iter().map(|c| c.there.len()).sum::<usize>();
    let size: u64 = results.iter().flat_map(|c| &c.written).map(|w| w.3).sum();
    let failed: Vec<(&String, &Error)> =
        from.iter().zip(results).filter_map(|(f, c)| Some((f, c.failed.as_ref()?))).collect();
    let mut summary =
        format!("{} converted into {} ({})", count(files, "image"), printable(dst), bytes(size));
    if pictures != files {
        summary = format!(
            "{} converted into {} pictures in {} ({})",
            count(files, "image"),
            pictures,
            printable(dst),
            bytes(size)
        );
    }
    if there > 0 {
        summary.push_str(&format!(", {there} there already"));
    }
    if !failed.is_empty() {
        summary.push_str(&format!(", {} failed", failed.len()));
    }
    let written: Vec<_> = from
        .iter()
        .zip(results)
        .flat_map(|(f, c)| {
            c.written
                .iter()
                .map(move |w| json!({"from": f, "to": w.0, "width": w.1, "height": w.2, "bytes": w.3}))
        })
        .collect();
    let json = json!({
        "dst": dst, "written": written,
        "there": results.iter().flat_map(|c| c.there.clone()).collect::<Vec<_>>(),
        "failed": failed.iter().map(|(f, e)| json!({"path": f, "reason": e.message})).collect::<Vec<_>>(),
        "ok": failed.is_empty(),
    });
    let outcome = Outcome::new(summary, json);
    if failed.is_empty() {
        return outcome;
    }
    let mut table = Table::new(&[("file", Align::Left), ("why it is not converted", Align::Left)]);
    for (file, e) in failed.iter().take(MAX_ROWS) {
        let hint = e.hint.as_deref().map_or_else(String::new, |h| format!(" ({h})"));
        table.row([file.as_str(), &format!("{}{hint}", e.message)]);
    }
    if failed.len() > MAX_ROWS {
        table.note(format!("… and {} more (--json lists all)", failed.len() - MAX_ROWS));
    }
    outcome.detail(table.text()).html(table.html())
}
