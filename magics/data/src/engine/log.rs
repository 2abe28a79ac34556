//! `log`: the commits of a repository, or those that changed a file or folder, newest first. Of a repository on another machine Git's history is
//! fetched, without the contents of files.

use super::Data;
use crate::open::history;
use crate::utc;
use dds_core::mime::printable;
use dds_core::request as rq;
use dds_core::table::{Align, Table, count};
use dds_core::{Cx, Error, Outcome, RepoPath, Result};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

const MAX_COMMITS: usize = 10_000;
const MAX_SHOWN_CHARS: usize = 100;
const SHOWN_DIGITS: usize = 10;

pub fn run(data: &Data, r: &rq::Log, cx: &Cx) -> Result<Outcome> {
    if r.max == 0 || r.max > MAX_COMMITS {
        return Err(Error::usage(format!("--max takes 1 to {MAX_COMMITS}")));
    }
    let (url, path) = data.repository(&r.target, cx)?;
    // The folder that one stands in is no wish for the history of that folder alone.
    let path = if r.target.is_empty() { RepoPath::root() } else { path };
    let mut commits = history(&url, &path, &data.config, r.max + 1, cx)?;
    if commits.is_empty() && !path.is_root() {
        return Err(Error::not_found(format!("no commit of {} has {path}", printable(&url.to_string())))
            .hint("dds ls lists what there is"));
    }
    let more = commits.len() > r.max;
    commits.truncate(r.max);
    let mut table = Table::new(&[
        ("commit", Align::Left),
        ("date (UTC)", Align::Left),
        ("author", Align::Left),
        ("message", Align::Left),
    ]);
    let mut listed: Vec<Value> = Vec::with_capacity(commits.len());
    for commit in &commits {
        let seconds = u64::try_from(commit.time).unwrap_or(0);
        let date = utc::dashed(UNIX_EPOCH + Duration::from_secs(seconds));
        let title = commit.message.lines().next().unwrap_or_default();
        table.row([
            commit.id.get(..SHOWN_DIGITS).unwrap_or(&commit.id),
            date.get(..16).unwrap_or(&date).replace('T', " ").as_str(),
            &short(&commit.author.0),
            &short(title),
        ]);
        listed.push(json!({
            "commit": commit.id, "date": format!("{date}Z"), "message": commit.message.trim_end(),
            "author": {"name": commit.author.0, "email": commit.author.1},
        }));
    }
    let told = if more {
        format!("the newest {}", count(commits.len(), "commit"))
    } else {
        count(commits.len(), "commit")
    };
    if more {
        table.note("… and older ones (-n N shows more)");
    }
    let name = match path.is_root() {
        true => printable(&url.to_string()),
        false => printable(&format!("{url}:{path}")),
    };
    let json = json!({"repository": url.plain(), "path": path, "commits": listed, "more": more});
    Ok(Outcome::new(format!("{name}: {told}"), json).detail(table.text()).html(table.html()))
}

fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
