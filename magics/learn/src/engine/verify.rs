//! `verify`: the bad files of a folder as a table and a picture, and their removal.

use super::Learn;
use crate::picture::grid::{Caption, Tile, grid};
use crate::picture::{INK, RED};
use crate::place::Place;
use crate::verify::{Check, Fault, Finding, PREVIEW_SIDE, Report};
use dds_contain::Root;
use dds_core::mime::printable;
use dds_core::table::{Align, Table, count};
use dds_core::{Cx, Error, Outcome, RepoPath, Result, request as rq};
use serde_json::json;
use std::collections::BTreeMap;

/// Rows shown; `--json` has all of them.
const MAX_ROWS: usize = 500;
/// Images a row of the picture, so that it stays narrower than a notebook.
const COLUMNS: usize = 6;

impl Learn {
    pub(super) fn run_verify(&self, r: &rq::Verify, cx: &Cx) -> Result<Outcome> {
        let place = Place::find(&r.dir, self.resolver.as_ref(), cx)?;
        if r.remove && !place.local {
            return Err(Error::usage(format!("{}: --remove works on folders of this machine", place.shown))
                .hint("clone the repository, or remove the files in it by a commit"));
        }
        let report = Check { pool: self.pool()?, all: r.all }.run(&place, cx)?;
        let removed = if r.remove { remove(r, &report.bad, cx)? } else { vec![false; report.bad.len()] };
        outcome(&place.shown, &report, &removed, r.remove)
    }
}

/// Removes what was found, below the folder and never through a link. Says of each whether it is gone.
fn remove(r: &rq::Verify, bad: &[Finding], cx: &Cx) -> Result<Vec<bool>> {
    let dir = cx.absolute(&r.dir);
    let dir = if dir.is_dir() { dir } else { dir.parent().unwrap_or(&dir).to_owned() };
    let root = Root::open(&dir)?;
    let mut gone = Vec::with_capacity(bad.len());
    for finding in bad {
        let path = RepoPath::parse(&finding.path)?;
        let done = match root.remove(&path) {
            Ok(()) => root.find(&path)?.is_none(),
            Err(e) => {
                cx.sink.note(&e.message);
                false
            }
        };
        gone.push(done);
    }
    Ok(gone)
}

fn outcome(shown: &str, report: &Report, removed: &[bool], asked: bool) -> Result<Outcome> {
    let gone = removed.iter().filter(|r| **r).count();
    let kept = report.bad.len() - gone;
    let mut parts = vec![count(report.images, "image")];
    if report.others > 0 {
        parts.push(count(report.others, "other file"));
    }
    let mut summary = format!("{}: {} checked", printable(shown), parts.join(" and "));
    match report.bad.len() {
        0 => summary.push_str(", all good"),
        n => summary.push_str(&format!(", {n} bad ({})", kinds(&report.bad))),
    }
    if asked && !report.bad.is_empty() {
        summary.push_str(&format!("; {gone} removed"));
    }
    if !report.unchecked.is_empty() {
        summary.push_str(&format!("; {} over a limit and not checked", report.unchecked.len()));
    }
    let bad: Vec<_> = report
        .bad
        .iter()
        .zip(removed)
        .map(|(f, gone)| {
            json!({"path": f.path, "reason": f.fault.name(), "detail": f.detail, "removed": gone})
        })
        .collect();
    let unchecked: Vec<_> =
        report.unchecked.iter().map(|(path, why)| json!({"path": path, "detail": why})).collect();
    let json = json!({
        "dir": shown, "images": report.images, "others": report.others, "bad": bad, "removed": gone,
        "unchecked": unchecked, "ok": kept == 0,
    });
    let outcome = Outcome::new(summary, json);
    if report.bad.is_empty() && report.unchecked.is_empty() {
        return Ok(outcome);
    }
    let table = table(report, removed, asked);
    let text = table.text();
    let outcome = outcome.detail(text.clone()).html(table.html());
    Ok(match picture(&report.bad)? {
        // The table says in words what the picture shows.
        Some(png) => outcome.display(png.bundle(text)),
        None => outcome,
    })
}

/// `2 duplicate, 1 empty`.
fn kinds(bad: &[Finding]) -> String {
    let mut counts: BTreeMap<Fault, usize> = BTreeMap::new();
    for finding in bad {
        *counts.entry(finding.fault).or_default() += 1;
    }
    counts.iter().map(|(fault, n)| format!("{n} {}", fault.name())).collect::<Vec<_>>().join(", ")
}

fn table(report: &Report, removed: &[bool], asked: bool) -> Table {
    let mut heads = vec![("file", Align::Left), ("reason", Align::Left), ("", Align::Left)];
    if asked {
        heads.push(("removed", Align::Left));
    }
    let mut table = Table::new(&heads);
    for (f, gone) in report.bad.iter().zip(removed).take(MAX_ROWS) {
        table.row(
            [f.path.as_str(), f.fault.name(), &f.detail, if *gone { "yes" } else { "no" }]
                .into_iter()
                .take(heads.len()),
        );
    }
    for (path, why) in report.unchecked.iter().take(MAX_ROWS) {
        table.row([path.as_str(), "not checked", why.as_str()]);
    }
    let more = report.bad.len().saturating_sub(MAX_ROWS) + report.unchecked.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        table.note(format!("… and {more} more (--json lists all)"));
    }
    table
}

/// The bad images of which something could be decoded.
fn picture(bad: &[Finding]) -> Result<Option<crate::picture::Png>> {
    let tiles: Vec<Tile> = bad
        .iter()
        .filter_map(|f| {
            let name = f.path.rsplit('/').next().unwrap_or(&f.path);
            let colour = if f.fault == Fault::Duplicate { INK } else { RED };
            let captions = vec![Caption::new(printable(name)), Caption::bold(f.fault.name(), colour)];
            Some(Tile { image: Ok(f.preview.clone()?), captions })
        })
        .collect();
    if tiles.is_empty() {
        return Ok(None);
    }
    grid(&tiles, Some(tiles.len().min(COLUMNS)), PREVIEW_SIDE).map(Some)
}
