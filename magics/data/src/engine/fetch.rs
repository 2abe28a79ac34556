//! `fetch`: what the command asks for, and the words for what came of it.

use super::{Data, Place, local_read};
use crate::client::fetch::is_private;
use crate::fetch::download::{Downloader, Limits};
use crate::fetch::keep::{Keeper, Kept};
use crate::fetch::list::{self, MAX_LIST_BYTES};
use crate::fetch::provider::{MAX_COUNT, Provider};
use crate::fetch::record::FILE;
use crate::fetch::{Wanted, shown};
use crate::runtime;
use dds_core::mime::printable;
use dds_core::request as rq;
use dds_core::table::{Align, Table, bytes, count, parse_bytes};
use dds_core::{Cx, Error, Kind, Outcome, Result};
use futures_util::StreamExt;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Most downloads at a time.
const MAX_CONNECTIONS: usize = 32;
/// Downloads that are under way or wait for their server.
const WAITING: usize = 64;
const MAX_SECONDS: u64 = 3600;
/// Rows shown; `--json` has all of them.
const MAX_ROWS: usize = 200;

/// What came of all images.
#[derive(Default)]
struct Tally {
    saved: Vec<String>,
    bytes: u64,
    there: usize,
    /// Address and the file with the same bytes.
    twice: Vec<(String, String)>,
    /// Address, or line of the list, and reason.
    failed: Vec<(String, String)>,
}

pub fn run(data: &Data, r: &rq::Fetch, cx: &Cx) -> Result<Outcome> {
    let (listed, dir) = places(r)?;
    let mut limits = limits(r)?;
    let mut tally = Tally::default();
    let wanted = match &r.search {
        None => {
            let (wanted, wrong) = list::parse(&read_list(data, listed, cx)?);
            tally.failed = wrong;
            if wanted.is_empty() {
                return Err(Error::new(Kind::Format, format!("{listed} holds no addresses of images"))
                    .hint("one a line, beginning with http:// or https://"));
            }
            wanted
        }
        Some(words) => {
            let provider = Provider::parse(&r.provider, r.pointer.as_deref(), &data.config)?;
            // Who searches on this network finds things there.
            limits.private |= is_private(&provider.base()?);
            search(provider, words, r.count, limits.max_bytes, cx)?
        }
    };
    let at = cx.absolute(dir);
    if let dds_core::Located::Remote { .. } = data.resolver.resolve(&at) {
        return Err(Error::usage(format!("{dir} is inside a mount"))
            .hint("fetch into a folder of this machine, then use dds upload"));
    }
    let tally = fetch(wanted, &at, limits, tally, cx)?;
    Ok(outcome(dir, tally))
}

/// The list (empty with a search) and the folder.
fn places(r: &rq::Fetch) -> Result<(&str, &str)> {
    match (&r.search, r.dir.as_str()) {
        (Some(_), "") => Ok(("", &r.list)),
        (Some(_), _) => Err(Error::usage("--search takes the folder only, no list besides")
            .hint("write: dds fetch --search WORDS DIR")),
        (None, "") => Err(Error::usage("the folder is missing")
            .hint("write: dds fetch LIST DIR, or: dds fetch --search WORDS DIR")),
        (None, dir) => Ok((&r.list, dir)),
    }
}

fn limits(r: &rq::Fetch) -> Result<Limits> {
    let max_bytes = parse_bytes(&r.max_bytes, "--max-bytes")?;
    let range = |name: &str, n: u64, max: u64| match n {
        n if (1..=max).contains(&n) => Ok(n),
        n => Err(Error::usage(format!("{name} {n} is out of range: 1 to {max}"))),
    };
    if !(1..=1 << 30).contains(&max_bytes) {
        return Err(Error::usage("--max-bytes is out of range: 1 byte to 1 GiB"));
    }
    range("--count", r.count as u64, MAX_COUNT as u64)?;
    Ok(Limits {
        max_bytes,
        time: Duration::from_secs(range("--timeout", r.timeout, MAX_SECONDS)?),
        connections: range("--connections", r.connections as u64, MAX_CONNECTIONS as u64)? as usize,
        private: r.allow_private,
    })
}

fn read_list(data: &Data, listed: &str, cx: &Cx) -> Result<String> {
    let content = match data.place(listed, cx)? {
        Place::Local(at) => local_read(&at, MAX_LIST_BYTES + 1)?,
        Place::Remote { source, path } => source.read(&path, cx)?,
    };
    if content.len() as u64 > MAX_LIST_BYTES {
        return Err(Error::new(Kind::Limit, format!("{listed} is longer than {}", bytes(MAX_LIST_BYTES))));
    }
    String::from_utf8(content).map_err(|_| {
        Error::new(Kind::Format, format!("{listed} is not text")).hint("one address a line, as UTF-8")
    })
}

fn search(provider: Provider, words: &str, n: usize, max_bytes: u64, cx: &Cx) -> Result<Vec<Wanted>> {
    let query = words.trim().to_owned();
    if query.is_empty() {
        return Err(Error::usage("there is nothing to search for"));
    }
    let found = runtime::wait(async move { provider.search(&query, n, max_bytes).await }, cx)?;
    if found.is_empty() {
        return Err(Error::not_found(format!("nothing was found for {:?}", printable(words)))
            .hint("try other words, or another --provider"));
    }
    Ok(found)
}

/// Downloads in no particular order, and keeps one image after the other.
fn fetch(wanted: Vec<Wanted>, dir: &Path, limits: Limits, mut tally: Tally, cx: &Cx) -> Result<Tally> {
    let (dir, context) = (dir.to_owned(), cx.clone());
    let work = async move {
        let mut keeper = runtime::blocking(move || Keeper::open(&dir)).await?;
        let total = wanted.len();
        let todo: Vec<Wanted> = wanted.into_iter().filter(|w| !keeper.has(w)).collect();
        tally.there = total - todo.len();
        context.items("images", tally.there, total);
        let downloader = Downloader::new(limits)?;
        let one = |w: Wanted| {
            let downloader = &downloader;
            async move { (downloader.image(&w.url).await, w) }
        };
        let mut downloads = futures_util::stream::iter(todo).map(one).buffer_unordered(WAITING);
        let mut done = tally.there;
        while let Some((result, w)) = downloads.next().await {
            match result {
                Err(why) => tally.failed.push((shown(&w.url), why)),
                Ok(image) => {
                    let url = shown(&w.url);
                    let size = image.bytes.len() as u64;
                    let work = move || {
                        let kept = keeper.keep(&w, &image);
                        Ok((keeper, kept))
                    };
                    let kept;
                    (keeper, kept) = runtime::blocking(work).await?;
                    match kept? {
                        Kept::As(file) => {
                            tally.saved.push(file);
                            tally.bytes += size;
                        }
                        Kept::Twice(file) => tally.twice.push((url, file)),
                    }
                }
            }
            done += 1;
            context.items("images", done, total);
        }
        tally.saved.sort();
        tally.twice.sort();
        Ok(tally)
    };
    runtime::wait(work, cx)
}

fn outcome(dir: &str, tally: Tally) -> Outcome {
    let mut parts = vec![format!(
        "{} fetched into {} ({})",
        count(tally.saved.len(), "image"),
        printable(dir),
        bytes(tally.bytes)
    )];
    let mut say = |n: usize, what: &str| {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    };
    say(tally.there, "there already");
    say(tally.twice.len(), "dropped as duplicates");
    say(tally.failed.len(), "failed");
    let mut table = Table::new(&[("address", Align::Left), ("why it is not here", Align::Left)]);
    let rows = tally.failed.iter().cloned();
    let doubles = tally.twice.iter().map(|(url, file)| (url.clone(), format!("the same bytes as {file}")));
    let rows: Vec<(String, String)> = rows.chain(doubles).collect();
    for (url, why) in rows.iter().take(MAX_ROWS) {
        table.row([url, why]);
    }
    if rows.len() > MAX_ROWS {
        table.note(format!("… and {} more (--json lists all)", rows.len() - MAX_ROWS));
    }
    let pair = |name: &'static str| move |(url, why): &(String, String)| json!({"url": url, name: why});
    let json = json!({
        "dir": dir, "record": FILE, "saved": tally.saved, "bytes": tally.bytes, "there": tally.there,
        "duplicates": tally.twice.iter().map(pair("file")).collect::<Vec<_>>(),
        "failed": tally.failed.iter().map(pair("reason")).collect::<Vec<_>>(),
        "ok": tally.failed.is_empty(),
    });
    let outcome = Outcome::new(parts.join(", "), json);
    if rows.is_empty() { outcome } else { outcome.detail(table.text()).html(table.html()) }
}
