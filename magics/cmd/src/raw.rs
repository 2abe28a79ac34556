//! `time`, the one command whose argument is Rust as it stands: no words, no quotes, no `{expr}`.
//!
//! Everything behind its flags is the expression. Does not look into it.

use dds_core::{Error, Result, request as rq};

/// A `time` command: what it takes, and whether its result is wanted as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    pub request: rq::Time,
    pub json: bool,
}

/// Fewest and most measurements that `--runs` may ask for.
const RUNS: std::ops::RangeInclusive<usize> = 1..=1000;
/// Measurements unless `--runs` says otherwise.
const DEFAULT_RUNS: usize = 7;

/// The `time` command in `text` (what stands behind `%dds`); none when it is another command, or asks
/// for help. Errors (`Usage`): a flag that `time` does not have.
pub fn time(text: &str) -> Option<Result<Raw>> {
    let mut rest = text.trim();
    let mut raw = Raw { request: rq::Time { runs: DEFAULT_RUNS, expr: Vec::new() }, json: false };
    while let Some(after) = strip_word(rest, "--json") {
        raw.json = true;
        rest = after;
    }
    rest = strip_word(rest, "time")?;
    if ["--help", "-h"].iter().any(|h| strip_word(rest, h).is_some()) {
        return None;
    }
    Some(flags(rest, raw))
}

/// Where Rust begins in the whole line of a command (`%dds time …`), in bytes: behind the flags, and for
/// `%%dds time` at the line's end, for its Rust stands below. None for other lines.
pub fn rust_of_line(line: &str) -> Option<usize> {
    let trimmed = line.trim_start();
    let (text, below) = match trimmed.strip_prefix("%%dds") {
        Some(text) => (text, true),
        None => (trimmed.strip_prefix("%dds")?, false),
    };
    if !text.starts_with(char::is_whitespace) {
        return None;
    }
    let expr = time(text)?.ok()?.request.expr.concat();
    match (below, expr.is_empty()) {
        (true, _) => Some(line.len()),
        // `%dds time` without a blank is a command that is still being typed.
        (false, true) => text.ends_with(char::is_whitespace).then_some(line.len()),
        (false, false) => Some(line.trim_end().len() - expr.len()),
    }
}

/// Whether `head`, the line of a `%%dds` command without its first word, is a `time` whose body is Rust.
pub fn is_time(head: &str) -> bool {
    time(head).is_some()
}

fn flags(mut rest: &str, mut raw: Raw) -> Result<Raw> {
    loop {
        if let Some(after) = strip_word(rest, "--json") {
            raw.json = true;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("--runs").filter(|r| r.starts_with(['=', ' ', '\t'])) {
            let after = after.trim_start_matches('=').trim_start();
            let (number, after) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
            raw.request.runs = number.parse().ok().filter(|n| RUNS.contains(n)).ok_or_else(|| {
                Error::usage(format!("--runs takes a whole number from 1 to {}, not {number:?}", RUNS.end()))
                    .hint("write --runs 20")
            })?;
            rest = after.trim_start();
        } else if rest.starts_with("--") && rest.chars().nth(2).is_some_and(char::is_alphabetic) {
            let flag = rest.split_whitespace().next().unwrap_or_default();
            return Err(Error::usage(format!("`time` has no flag {flag}")).hint(
                "usage: %dds time [--runs N] EXPR; put an expression that begins with -- in brackets",
            ));
        } else {
            raw.request.expr =
                Some(rest.trim()).filter(|e| !e.is_empty()).map(str::to_owned).into_iter().collect();
            return Ok(raw);
        }
    }
}

/// What stands behind `word` and blanks, when `text` begins with it.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(word)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (usize, bool, String) {
        let raw = time(text).unwrap().unwrap();
        (raw.request.runs, raw.json, raw.request.expr.concat())
    }

    #[test]
    fn the_expression_is_taken_as_it_stands() {
        assert_eq!(parsed("time"), (7, false, String::new()));
        assert_eq!(parsed("time \"a b\".len() # {x}"), (7, false, "\"a b\".len() # {x}".into()));
        assert_eq!(parsed("time --runs 20 f(1)"), (20, false, "f(1)".into()));
        assert_eq!(parsed("--json time --runs=3   -x.abs()"), (3, true, "-x.abs()".into()));
        assert_eq!(parsed("time --json --runs\t3 { a; b }"), (3, true, "{ a; b }".into()));
    }

    #[test]
    fn where_rust_begins() {
        for (line, rust) in [
            ("%dds time v.len()", Some("v.len()")),
            ("  %dds time --runs 3 é + 1 ", Some("é + 1 ")),
            ("%dds time ", Some("")),
            ("%dds time", None),
            ("%dds time --ru", None),
            ("%%dds time", Some("")),
            ("%%dds time --json", Some("")),
            ("%dds show x", None),
            ("%ddstime x", None),
            ("let a = 1;", None),
        ] {
            assert_eq!(rust_of_line(line).map(|at| &line[at..]), rust, "{line}");
        }
    }

    #[test]
    fn other_commands_and_flags() {
        for other in ["timer x", "show time", "", "time --help", "time -h"] {
            assert!(time(other).is_none(), "{other}");
        }
        for wrong in
            ["time --rnus 3 x", "time --runs 0 x", "time --runs 1001 x", "time --runs x", "time --runs"]
        {
            assert_eq!(time(wrong).unwrap().unwrap_err().kind, dds_core::Kind::Usage, "{wrong}");
        }
        assert!(is_time("time") && !is_time("data --path x"));
    }
}
