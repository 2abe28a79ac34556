//! The cells of this session and of earlier ones, for `history_request`.
//!
//! This session's are kept in memory; all of them also in a [`file`](self::file), when there is one.
//! Sessions are numbered from 1, as in IPython: 0 is this one, -1 the one before it.

mod file;
mod glob;

use file::HistoryFile;
use glob::glob;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;

/// Most cells of this session that are remembered in memory.
pub const MAX_ENTRIES: usize = 10_000;
/// Most bytes of all their inputs and outputs.
pub const MAX_BYTES: usize = 64 << 20;
/// Longest output text that is remembered.
pub const MAX_OUTPUT_BYTES: usize = 64 << 10;
/// Longest pattern that is searched for.
pub const MAX_PATTERN_BYTES: usize = 4 << 10;

pub(super) struct History {
    own: VecDeque<Entry>,
    bytes: usize,
    /// This session's number. Known once the file is open, which is put off until it is needed.
    session: Option<i64>,
    path: Option<PathBuf>,
    file: Option<HistoryFile>,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    session: i64,
    line: u64,
    input: String,
    output: Option<String>,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.input.len() + self.output.as_ref().map_or(0, String::len)
    }
}

impl History {
    /// Remembers cells in the file `path`, or without one only for this session.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { own: VecDeque::new(), bytes: 0, session: None, path, file: None }
    }

    pub(super) fn add(&mut self, line: u64, input: &str, output: Option<&str>) {
        let output =
            output.map(|text| text.split_at(text.floor_char_boundary(MAX_OUTPUT_BYTES)).0.to_owned());
        let entry = Entry { session: self.session(), line, input: input.to_owned(), output };
        if let Some(file) = &self.file
            && let Err(e) = file.append(&entry)
        {
            tracing::warn!("cells are no longer written to the history: {e}");
            self.file = None;
        }
        self.bytes += entry.bytes();
        self.own.push_back(entry);
        while self.own.len() > MAX_ENTRIES || (self.bytes > MAX_BYTES && self.own.len() > 1) {
            let Some(oldest) = self.own.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// The number of this session; the first call opens the file.
    fn session(&mut self) -> i64 {
        if let Some(session) = self.session {
            return session;
        }
        let opened = self.path.take().map(|path| HistoryFile::open(&path));
        let session = match opened {
            Some(Ok((file, session))) => {
                self.file = Some(file);
                session
            }
            Some(Err(e)) => {
                tracing::warn!("cells are remembered for this session only: {e}");
                1
            }
            None => 1,
        };
        self.session = Some(session);
        session
    }

    /// The `history` list that answers a `history_request` with `content`; an unknown kind of access
    /// gives none. Missing fields take jupyter_client's defaults. Input is the same raw and not.
    pub(super) fn answer(&mut self, content: &Value) -> Vec<Value> {
        let number = |field: &str| content.get(field).and_then(Value::as_i64);
        let flag = |field: &str| content.get(field).and_then(Value::as_bool).unwrap_or(false);
        let text = |field: &str| content.get(field).and_then(Value::as_str);
        let most = number("n").map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(0));
        let found: Vec<Cow<'_, Entry>> = match text("hist_access_type") {
            Some("tail") => last(self.all(most), most),
            Some("range") => self.range(number("session").unwrap_or(0), number("start"), number("stop")),
            Some("search") => {
                let pattern = text("pattern").unwrap_or("*");
                if pattern.len() > MAX_PATTERN_BYTES {
                    return Vec::new();
                }
                let mut hits = self.all(usize::MAX);
                hits.retain(|e| glob(pattern, &e.input));
                last(if flag("unique") { unique(hits) } else { hits }, most)
            }
            _ => Vec::new(),
        };
        found.iter().map(|entry| shown(entry, flag("output"))).collect()
    }

    /// All cells by session and line; without the earlier sessions' when this one has `enough`.
    fn all(&mut self, enough: usize) -> Vec<Cow<'_, Entry>> {
        let mut all = if self.own.len() >= enough { Vec::new() } else { self.others() };
        all.extend(self.own.iter().map(Cow::Borrowed));
        all.sort_by_key(|e| (e.session, e.line));
        all
    }

    /// Cells of other sessions, as the file has them now.
    fn others(&mut self) -> Vec<Cow<'static, Entry>> {
        let own = self.session();
        let Some(file) = &self.file else { return Vec::new() };
        match file.read() {
            Ok(entries) => entries.into_iter().filter(|e| e.session != own).map(Cow::Owned).collect(),
            Err(e) => {
                tracing::warn!("earlier cells are not found: {e}");
                Vec::new()
            }
        }
    }

    /// Lines `start..stop` of a session. As in IPython, negative ones count from the session's end,
    /// and a `stop` of 0 is the end.
    fn range(&mut self, session: i64, start: Option<i64>, stop: Option<i64>) -> Vec<Cow<'_, Entry>> {
        let own = self.session();
        let wanted = if session <= 0 { own.saturating_add(session) } else { session };
        let mut found: Vec<Cow<'_, Entry>> = match wanted == own {
            true => self.own.iter().map(Cow::Borrowed).collect(),
            false => self.others(),
        };
        let line = |e: &Entry| i64::try_from(e.line).unwrap_or(i64::MAX);
        found.retain(|e| e.session == wanted);
        let end = found.iter().map(|e| line(e)).max().map_or(0, |last| last.saturating_add(1));
        let start = start.map_or(0, |n| if n < 0 { end.saturating_add(n) } else { n });
        let stop = match stop {
            None | Some(0) => end,
            Some(n) if n < 0 => end.saturating_add(n),
            Some(n) => n,
        };
        found.retain(|e| (start..stop).contains(&line(e)));
        // Cells of subshells end in another order than they begin in.
        found.sort_by_key(|e| e.line);
        found
    }
}

fn shown(entry: &Entry, with_output: bool) -> Value {
    if with_output {
        json!([entry.session, entry.line, [entry.input, entry.output]])
    } else {
        json!([entry.session, entry.line, entry.input])
    }
}

fn last(mut entries: Vec<Cow<'_, Entry>>, most: usize) -> Vec<Cow<'_, Entry>> {
    let skip = entries.len().saturating_sub(most);
    entries.split_off(skip)
}

/// Of equal inputs only the latest, in order.
fn unique(entries: Vec<Cow<'_, Entry>>) -> Vec<Cow<'_, Entry>> {
    let mut seen = HashSet::new();
    let newest: HashSet<usize> = (0..entries.len())
        .rev()
        .filter(|at| entries.get(*at).is_some_and(|e| seen.insert(e.input.clone())))
        .collect();
    entries.into_iter().enumerate().filter(|(at, _)| newest.contains(at)).map(|(_, e)| e).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_four(history: &mut History) {
        for (line, input, output) in
            [(1, "let a = 1;", None), (2, "a", Some("1")), (3, "let b = 2;", None), (4, "a", Some("1"))]
        {
            history.add(line, input, output);
        }
    }

    #[test]
    fn tail_range_and_search() {
        let mut history = History::new(None);
        add_four(&mut history);
        for (request, expected) in [
            (json!({"hist_access_type": "tail", "n": 2}), json!([[1, 3, "let b = 2;"], [1, 4, "a"]])),
            (json!({"hist_access_type": "tail", "n": 0}), json!([])),
            (json!({"hist_access_type": "tail", "n": -5}), json!([])),
            (json!({"hist_access_type": "tail", "n": 1, "output": true}), json!([[1, 4, ["a", "1"]]])),
            (
                json!({"hist_access_type": "range", "session": 0, "start": 1, "stop": 3, "output": true}),
                json!([[1, 1, ["let a = 1;", null]], [1, 2, ["a", "1"]]]),
            ),
            (json!({"hist_access_type": "range", "start": -2}), json!([[1, 3, "let b = 2;"], [1, 4, "a"]])),
            (json!({"hist_access_type": "range", "start": 2, "stop": -2}), json!([[1, 2, "a"]])),
            (json!({"hist_access_type": "range", "start": 4, "stop": 0}), json!([[1, 4, "a"]])),
            (json!({"hist_access_type": "range", "session": -1, "start": 1}), json!([])),
            (json!({"hist_access_type": "range", "session": i64::MIN, "start": i64::MIN}), json!([])),
            (json!({"hist_access_type": "range", "session": 1, "start": 4}), json!([[1, 4, "a"]])),
            (
                json!({"hist_access_type": "search", "pattern": "let ?*", "n": 1}),
                json!([[1, 3, "let b = 2;"]]),
            ),
            (json!({"hist_access_type": "search", "pattern": "a", "unique": true}), json!([[1, 4, "a"]])),
            (json!({"hist_access_type": "search", "pattern": "*".repeat(MAX_PATTERN_BYTES + 1)}), json!([])),
            (json!({"hist_access_type": "what"}), json!([])),
            (json!({}), json!([])),
        ] {
            assert_eq!(json!(history.answer(&request)), expected, "{request}");
        }
    }

    #[test]
    fn cells_that_end_in_another_order_are_given_in_the_order_of_their_numbers() {
        let mut history = History::new(None);
        for line in [1, 3, 2] {
            history.add(line, "x", None);
        }
        for kind in ["range", "tail", "search"] {
            let found = json!(history.answer(&json!({"hist_access_type": kind})));
            assert_eq!(found, json!([[1, 1, "x"], [1, 2, "x"], [1, 3, "x"]]), "{kind}");
        }
    }

    #[test]
    fn earlier_sessions_are_found_by_their_distance_and_by_what_they_hold() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/history.jsonl");
        for _ in 0..2 {
            add_four(&mut History::new(Some(path.clone())));
        }
        let mut third = History::new(Some(path.clone()));
        let mut other = History::new(Some(path));
        third.add(1, "third", None);
        other.add(1, "fourth, at the same time", None);
        let search = json!({"hist_access_type": "search", "pattern": "a"});
        for (request, expected) in [
            (json!({"hist_access_type": "range", "session": 0, "start": 1}), json!([[3, 1, "third"]])),
            (
                json!({"hist_access_type": "range", "session": -1, "start": 2, "stop": 3, "output": true}),
                json!([[2, 2, ["a", "1"]]]),
            ),
            (json!({"hist_access_type": "range", "session": 1, "start": -1}), json!([[1, 4, "a"]])),
            (
                json!({"hist_access_type": "tail", "n": 3}),
                json!([[2, 4, "a"], [3, 1, "third"], [4, 1, "fourth, at the same time"]]),
            ),
            (json!({"hist_access_type": "search", "pattern": "a", "unique": true}), json!([[2, 4, "a"]])),
            (search, json!([[1, 2, "a"], [1, 4, "a"], [2, 2, "a"], [2, 4, "a"]])),
        ] {
            assert_eq!(json!(third.answer(&request)), expected, "{request}");
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_costs_the_file_and_not_the_session() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("a-file");
        std::fs::write(&taken, "x").unwrap();
        let mut history = History::new(Some(taken.join("history.jsonl")));
        add_four(&mut history);
        assert_eq!(history.answer(&json!({"hist_access_type": "tail"})).len(), 4);
    }

    #[test]
    fn bounded_at_both_ends() {
        let mut history = History::new(None);
        for line in 0..=MAX_ENTRIES as u64 {
            history.add(line, "x", None);
        }
        assert_eq!(history.own.len(), MAX_ENTRIES);
        assert_eq!(history.own.front().unwrap().line, 1);
        let mut history = History::new(None);
        history.add(1, "small", None);
        history.add(2, &"x".repeat(MAX_BYTES), Some(&"ü".repeat(MAX_OUTPUT_BYTES)));
        assert_eq!(history.own.len(), 1, "the newest stays, however large");
        assert_eq!(history.own[0].output.as_ref().unwrap().len(), MAX_OUTPUT_BYTES);
        history.add(3, "next", None);
        assert_eq!((history.own.len(), history.bytes), (1, 4));
    }
}
