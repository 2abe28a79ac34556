//! `dds cache`: what this user's caches hold, and how they are made smaller or checked.
//!
//! Every entry may go at any time: it is fetched, computed or compiled again. What a session uses is
//! kept by the caches' own rules, which stand with their owners; the files that are single entries
//! (blobs, features) are chosen here, by when they were last used.

use dds_core::table::{Align, Table, bytes, parse_bytes};
use dds_core::{Cancel, Config, Cx, Error, Kind, Outcome, Result, request as rq};
use dds_data::store::digest_of_file;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Most files looked at in one cache.
const MAX_FILES: usize = 2_000_000;
/// How deep caches nest.
const MAX_DEPTH: usize = 32;

/// One cache of this user.
#[derive(Clone, Debug)]
pub struct Place {
    pub name: &'static str,
    pub holds: &'static str,
    pub dir: PathBuf,
    /// What it is kept to by itself.
    pub limit: Option<u64>,
    /// Its files are entries that may be removed one by one.
    pub single: bool,
}

/// The caches, in the order in which they are shown.
pub fn places(config: &Config) -> Vec<Place> {
    let dir = |name: &str| config.cache_dir.join(name);
    let place = |name, holds, single, limit| Place { name, holds, dir: dir(name), limit, single };
    let compiled = dds_eval::caches(&config.cache_dir);
    vec![
        place("blobs", "files of repositories, by digest", true, None),
        place("features", "features of images", true, Some(dds_learn::features::cache::MAX_CACHE_BYTES)),
        place("cells", "compiled cells", true, Some(compiled.max_cells)),
        place("deps", "compiled dependencies", false, Some(compiled.max_deps)),
        place("rt", "the crate `dds` of the cells", false, None),
    ]
}

/// A file of a cache.
#[derive(Clone, Debug)]
struct Entry {
    used: SystemTime,
    bytes: u64,
    path: PathBuf,
}

/// What a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub files: usize,
    pub bytes: u64,
}

/// Counts a cache. Nothing there is an empty one.
pub fn held(place: &Place, cancel: &Cancel) -> Result<Held> {
    let entries = entries(&place.dir, cancel)?;
    Ok(Held { files: entries.len(), bytes: entries.iter().map(|e| e.bytes).sum() })
}

/// Shows the caches, after pruning or verifying them as `r` asks.
pub fn run(r: &rq::Cache, config: &Config, cx: &Cx) -> Result<Outcome> {
    if !r.prune && (r.older_than.is_some() || r.max_size.is_some()) {
        return Err(Error::usage("--older-than and --max-size say what --prune removes")
            .hint("write: dds cache --prune --older-than 30d"));
    }
    let older = r.older_than.as_deref().map(age).transpose()?;
    let most = r.max_size.as_deref().map(size).transpose()?;
    let chosen: Vec<Place> = places(config)
        .into_iter()
        .filter(|p| r.only.is_empty() || r.only.iter().any(|name| name == p.name))
        .collect();
    let mut done = Vec::new();
    let mut result = serde_json::Map::new();
    if r.verify {
        let checked = verify(&chosen, cx)?;
        done.push(format!("{} blobs checked, {} damaged and removed", checked.0, checked.1.len()));
        result.insert("verified".into(), json!({"blobs": checked.0, "damaged": checked.1}));
    }
    if r.prune {
        let freed = prune(&chosen, older, most, cx)? + prune_deps(&chosen, older, most, config, cx)?;
        done.push(format!("{} freed", bytes(freed)));
        result.insert("freed".into(), freed.into());
    }
    let mut table = Table::new(&[
        ("cache", Align::Left),
        ("size", Align::Right),
        ("files", Align::Right),
        ("limit", Align::Right),
        ("holds", Align::Left),
    ]);
    let (mut total, mut values) = (0, Vec::new());
    for place in &chosen {
        let held = held(place, &cx.cancel)?;
        total += held.bytes;
        let limit = place.limit.map_or_else(|| "-".into(), bytes);
        table.row([place.name, &bytes(held.bytes), &held.files.to_string(), &limit, place.holds]);
        values.push(json!({
            "name": place.name, "dir": place.dir, "bytes": held.bytes, "files": held.files, "limit": place.limit,
        }));
    }
    result.insert("caches".into(), Value::Array(values));
    result.insert("bytes".into(), total.into());
    result.insert("dir".into(), json!(config.cache_dir));
    done.push(format!("{} in {}", bytes(total), config.cache_dir.display()));
    Ok(Outcome::new(done.join("; "), Value::Object(result)).detail(table.text()).html(table.html()))
}

/// Removes what was not used for longest: all of it, what is older than `older`, or as much as leaves
/// at most `most` bytes. Gives the bytes freed.
fn prune(places: &[Place], older: Option<Duration>, most: Option<u64>, cx: &Cx) -> Result<u64> {
    let cancel = &cx.cancel;
    let (mut single, mut freed, mut kept) = (Vec::new(), 0, 0);
    for place in places {
        if place.single {
            single.extend(entries(&place.dir, cancel)?);
        } else {
            kept += held(place, cancel)?.bytes;
        }
    }
    single.sort_by_key(|e| e.used);
    let mut left = kept + single.iter().map(|e| e.bytes).sum::<u64>();
    let now = SystemTime::now();
    for entry in single {
        cancel.check()?;
        let too_old = older.is_none_or(|age| now.duration_since(entry.used).is_ok_and(|a| a > age));
        let too_much = most.is_none_or(|most| left > most);
        if !(too_old && too_much) {
            continue;
        }
        match fs::remove_file(&entry.path) {
            Ok(()) => {
                freed += entry.bytes;
                left -= entry.bytes.min(left);
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(&entry.path, &e).context("removing")),
        }
    }
    Ok(freed)
}

/// Compiled dependencies go as a whole, and only while no session uses them; they know no age.
fn prune_deps(
    places: &[Place],
    older: Option<Duration>,
    most: Option<u64>,
    config: &Config,
    cx: &Cx,
) -> Result<u64> {
    let Some(deps) = places.iter().find(|p| p.name == "deps").filter(|_| older.is_none()) else {
        return Ok(0);
    };
    let others: u64 = places
        .iter()
        .filter(|p| p.name != "deps")
        .map(|p| held(p, &cx.cancel).map(|h| h.bytes))
        .sum::<Result<u64>>()?;
    let limit = most.map_or(0, |most| most.saturating_sub(others));
    if held(deps, &cx.cancel)?.bytes <= limit {
        return Ok(0);
    }
    let freed = dds_eval::prune_dependencies(&config.cache_dir, limit);
    let freed = freed.map_err(|e| Error::io(&deps.dir, &e).context("removing"))?;
    if freed.is_none() {
        cx.sink.note("compiled dependencies stay: a kernel that runs uses them");
    }
    Ok(freed.unwrap_or(0))
}

/// Reads every blob; removes those whose bytes are not what their name promises. Gives how many were
/// read, and which are gone.
fn verify(places: &[Place], cx: &Cx) -> Result<(usize, Vec<PathBuf>)> {
    let Some(blobs) = places.iter().find(|p| p.name == "blobs") else { return Ok((0, Vec::new())) };
    let entries = entries(&blobs.dir, &cx.cancel)?;
    let (mut read, mut damaged) = (0, Vec::new());
    for (number, entry) in entries.iter().enumerate() {
        cx.cancel.check()?;
        cx.items("blobs", number, entries.len());
        let Some(digest) = promised(&entry.path) else { continue };
        read += 1;
        match digest_of_file(&entry.path, &digest) {
            Ok((found, _)) if found == digest => {}
            // It went away meanwhile.
            Err(e) if e.kind == Kind::NotFound => {}
            Ok(_) => {
                fs::remove_file(&entry.path).map_err(|e| Error::io(&entry.path, &e))?;
                cx.sink.note(&format!("{} was damaged, and is removed", entry.path.display()));
                damaged.push(entry.path.clone());
            }
            Err(e) => return Err(e),
        }
    }
    cx.items("blobs", entries.len(), entries.len());
    Ok((read, damaged))
}

/// The digest that a blob's path promises: `…/ab/cdef…`.
fn promised(path: &Path) -> Option<dds_core::Digest> {
    let tail = path.file_name()?.to_str()?;
    let head = path.parent()?.file_name()?.to_str()?;
    format!("{head}{tail}").parse().ok()
}

fn entries(dir: &Path, cancel: &Cancel) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut folders = vec![(dir.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        cancel.check()?;
        let list = match fs::read_dir(&folder) {
            Ok(list) => list,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io(&folder, &e)),
        };
        for entry in list.flatten() {
            // Links are not followed: they lead out of the cache.
            let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
            if meta.is_dir() && depth < MAX_DEPTH {
                folders.push((entry.path(), depth + 1));
            } else if meta.is_file() {
                let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let used = meta.accessed().map_or(modified, |a| a.max(modified));
                // What it takes on the disk; holes of sparse files are free.
                found.push(Entry {
                    used,
                    bytes: meta.blocks().saturating_mul(512).min(meta.len()),
                    path: entry.path(),
                });
            }
            if found.len() > MAX_FILES {
                return Err(Error::new(Kind::Limit, format!("{} has over {MAX_FILES} files", dir.display()))
                    .hint(format!("remove the folder: rm -r '{}'", dir.display())));
            }
        }
    }
    Ok(found)
}

/// `12h`, `30d`, `4w`.
fn age(text: &str) -> Result<Duration> {
    let wrong =
        || Error::usage(format!("--older-than takes an age, not {text:?}")).hint("such as 12h, 30d or 4w");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = match text.get(digits.len()..) {
        Some("m" | "min") => 60,
        Some("h") => 3600,
        Some("d") => 24 * 3600,
        Some("w") => 7 * 24 * 3600,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(wrong)
}

fn size(text: &str) -> Result<u64> {
    parse_bytes(text, "--max-size")
}

#[cfg(test)]
mod tests;
