//! The cells of this session, for `history_request`. In memory: a new kernel starts with none.

use serde_json::{Value, json};
use std::collections::VecDeque;

/// Most cells that are remembered.
pub const MAX_ENTRIES: usize = 10_000;
/// Most bytes of all remembered inputs and outputs.
pub const MAX_BYTES: usize = 64 << 20;
/// Longest output text that is remembered.
pub const MAX_OUTPUT_BYTES: usize = 64 << 10;
/// This kernel's session; earlier ones are not kept.
const SESSION: i64 = 1;

#[derive(Default)]
pub(super) struct History {
    entries: VecDeque<Entry>,
    bytes: usize,
}

struct Entry {
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
    pub(super) fn add(&mut self, line: u64, input: &str, output: Option<&str>) {
        let output =
            output.map(|text| text.split_at(text.floor_char_boundary(MAX_OUTPUT_BYTES)).0.to_owned());
        let entry = Entry { line, input: input.to_owned(), output };
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        while self.entries.len() > MAX_ENTRIES || (self.bytes > MAX_BYTES && self.entries.len() > 1) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// The `history` list that answers a `history_request` with `content`; an unknown kind of access
    /// gives none. Missing fields take jupyter_client's defaults.
    pub(super) fn answer(&self, content: &Value) -> Vec<Value> {
        let number = |field: &str| content.get(field).and_then(Value::as_i64);
        let flag = |field: &str| content.get(field).and_then(Value::as_bool).unwrap_or(false);
        let text = |field: &str| content.get(field).and_then(Value::as_str);
        let most = number("n").map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(0));
        let found: Vec<&Entry> = match text("hist_access_type") {
            Some("tail") => last(self.entries.iter().collect(), most),
            Some("range") => self.range(number("session").unwrap_or(0), number("start"), number("stop")),
            Some("search") => {
                let pattern = text("pattern").unwrap_or("*");
                let hits = self.entries.iter().filter(|e| glob(pattern, &e.input)).collect();
                last(if flag("unique") { unique(hits) } else { hits }, most)
            }
            _ => Vec::new(),
        };
        found.into_iter().map(|entry| shown(entry, flag("output"))).collect()
    }

    /// Lines `start..stop`. Session 0 is the current one, -1 the one before.
    fn range(&self, session: i64, start: Option<i64>, stop: Option<i64>) -> Vec<&Entry> {
        if session != 0 && session != SESSION {
            return Vec::new();
        }
        let (start, stop) = (start.unwrap_or(0), stop.unwrap_or(i64::MAX));
        self.entries.iter().filter(|e| i64::try_from(e.line).is_ok_and(|l| start <= l && l < stop)).collect()
    }
}

fn shown(entry: &Entry, with_output: bool) -> Value {
    if with_output {
        json!([SESSION, entry.line, [entry.input, entry.output]])
    } else {
        json!([SESSION, entry.line, entry.input])
    }
}

fn last(entries: Vec<&Entry>, most: usize) -> Vec<&Entry> {
    let skip = entries.len().saturating_sub(most);
    entries.into_iter().skip(skip).collect()
}

/// Of equal inputs only the latest, in order.
fn unique(entries: Vec<&Entry>) -> Vec<&Entry> {
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<&Entry> = entries.into_iter().rev().filter(|e| seen.insert(e.input.as_str())).collect();
    kept.reverse();
    kept
}

/// Whether all of `text` fits a pattern of `*`, `?` and literal characters. Linear in memory and at
/// worst the product of both lengths in time.
fn glob(pattern: &str, text: &str) -> bool {
    let mut rest = text.chars();
    let mut want = pattern.chars();
    // Where to go on when a guess about the last star fails: after the star, one character later.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut ahead = want.clone();
        match ahead.next() {
            Some('*') => {
                want = ahead;
                retry = Some((want.clone(), rest.clone()));
                continue;
            }
            Some(c) => {
                let mut after = rest.clone();
                if after.next().is_some_and(|t| c == '?' || c == t) {
                    (want, rest) = (ahead, after);
                    continue;
                }
            }
            None if rest.clone().next().is_none() => return true,
            None => {}
        }
        let Some((after_star, from)) = &mut retry else { return false };
        if from.next().is_none() {
            return false;
        }
        (want, rest) = (after_star.clone(), from.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        let mut history = History::default();
        for (line, input, output) in
            [(1, "let a = 1;", None), (2, "a", Some("1")), (3, "let b = 2;", None), (4, "a", Some("1"))]
        {
            history.add(line, input, output);
        }
        history
    }

    #[test]
    fn tail_range_and_search() {
        for (request, expected) in [
            (json!({"hist_access_type": "tail", "n": 2}), json!([[1, 3, "let b = 2;"], [1, 4, "a"]])),
            (json!({"hist_access_type": "tail", "n": 0}), json!([])),
            (json!({"hist_access_type": "tail", "n": -5}), json!([])),
            (json!({"hist_access_type": "tail", "n": 1, "output": true}), json!([[1, 4, ["a", "1"]]])),
            (
                json!({"hist_access_type": "range", "session": 0, "start": 1, "stop": 3, "output": true}),
                json!([[1, 1, ["let a = 1;", null]], [1, 2, ["a", "1"]]]),
            ),
            (json!({"hist_access_type": "range", "session": -1, "start": 1}), json!([])),
            (json!({"hist_access_type": "range", "session": 1, "start": 4}), json!([[1, 4, "a"]])),
            (
                json!({"hist_access_type": "search", "pattern": "let ?*", "n": 1}),
                json!([[1, 3, "let b = 2;"]]),
            ),
            (json!({"hist_access_type": "search", "pattern": "a", "unique": true}), json!([[1, 4, "a"]])),
            (json!({"hist_access_type": "what"}), json!([])),
            (json!({}), json!([])),
        ] {
            assert_eq!(json!(history().answer(&request)), expected, "{request}");
        }
    }

    #[test]
    fn globs() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*é?*", "caféx", true),
            ("?", "", false),
            ("a*b*c*d", "aXbXcXbXcX", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_ends() {
        assert!(!glob(&"*a".repeat(50), &"a".repeat(49)));
        assert!(glob(&"*a".repeat(50), &"a".repeat(50)));
    }

    #[test]
    fn bounded_at_both_ends() {
        let mut history = History::default();
        for line in 0..=MAX_ENTRIES as u64 {
            history.add(line, "x", None);
        }
        assert_eq!(history.entries.len(), MAX_ENTRIES);
        assert_eq!(history.entries.front().unwrap().line, 1);
        let mut history = History::default();
        history.add(1, "small", None);
        history.add(2, &"x".repeat(MAX_BYTES), Some(&"ü".repeat(MAX_OUTPUT_BYTES)));
        assert_eq!(history.entries.len(), 1, "the newest stays, however large");
        assert_eq!(history.entries[0].output.as_ref().unwrap().len(), MAX_OUTPUT_BYTES);
        history.add(3, "next", None);
        assert_eq!((history.entries.len(), history.bytes), (1, 4));
    }
}
