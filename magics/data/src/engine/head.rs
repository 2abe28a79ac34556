//! `head`: the first rows of a table in CSV, TSV or Parquet ([`parquet`]), or the first lines of another text.
//!
//! Only the front of a text is read. Quotes follow RFC 4180; the separator of a `.csv` file is the one of
//! comma, semicolon and tab that its first line holds most of.

mod parquet;

use super::{Data, Place, local_read, local_stat, shown};
use dds_core::mime::{escape_html, printable};
use dds_core::request as rq;
use dds_core::table::{Align, Table, bytes, count};
use dds_core::{Cx, EntryKind, Error, Kind, Outcome, Result};
use serde_json::json;

/// The front of a file that is looked at.
const MAX_HEAD_BYTES: u64 = 1 << 20;
const MAX_SHOWN_COLUMNS: usize = 50;
/// Of one cell, or of one line.
const MAX_SHOWN_CHARS: usize = 200;
const PARQUET: &[u8] = b"PAR1";

pub fn run(data: &Data, r: &rq::Head, cx: &Cx) -> Result<Outcome> {
    let place = data.place(&r.target, cx)?;
    let (entry, name) = match &place {
        Place::Local(at) => (local_stat(at)?, at.display().to_string()),
        Place::Remote { source, path } => (source.stat(path, cx)?, shown(source.as_ref(), path)),
    };
    if entry.kind == EntryKind::Dir {
        return Err(Error::usage(format!("{name} is a folder")).hint(format!("dds ls {:?}", r.target)));
    }
    // One byte more tells whether the file goes on.
    let front = match &place {
        Place::Local(at) => local_read(at, MAX_HEAD_BYTES + 1)?,
        Place::Remote { source, path } => source.read_range(path, 0..MAX_HEAD_BYTES + 1, cx)?,
    };
    if front.starts_with(PARQUET) {
        return parquet::head(&place, &name, entry.size, r.rows, cx);
    }
    let whole = front.len() as u64 <= MAX_HEAD_BYTES;
    let front = front.get(..MAX_HEAD_BYTES as usize).unwrap_or(&front);
    let text = text_of(front, whole).ok_or_else(|| no_text(&name, &r.target))?;
    match separator(&r.target, text) {
        Some(separator) => Ok(table(&name, text, separator, whole, r.rows)),
        None => Ok(lines(&name, text, whole, r.rows)),
    }
}

/// The text without a byte order mark and without a character that the window cuts.
fn text_of(front: &[u8], whole: bool) -> Option<&str> {
    let text = match std::str::from_utf8(front) {
        Ok(text) => text,
        Err(e) if !whole && e.error_len().is_none() => {
            std::str::from_utf8(front.get(..e.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then(|| text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn no_text(name: &str, target: &str) -> Error {
    Error::new(Kind::Format, format!("{name} is not text")).hint(format!("for an image: dds show {target:?}"))
}

fn separator(target: &str, text: &str) -> Option<char> {
    let lower = target.to_ascii_lowercase();
    if lower.ends_with(".tsv") {
        return Some('\t');
    }
    if !lower.ends_with(".csv") {
        return None;
    }
    let (mut counts, mut quoted) = ([(',', 0), (';', 0), ('\t', 0)], false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '\n' if !quoted => break,
            c if !quoted => counts.iter_mut().filter(|(known, _)| *known == c).for_each(|(_, n)| *n += 1),
            _ => {}
        }
    }
    // The first of several with the same count.
    counts.iter().rev().max_by_key(|(_, n)| *n).map(|(c, _)| *c)
}

/// Records of a table. The last one is dropped when the text may go on behind it.
fn records(text: &str, separator: char, whole: bool) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            c if quoted => cell.push(c),
            c if c == separator => row.push(std::mem::take(&mut cell)),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                row.push(std::mem::take(&mut cell));
                let done = std::mem::take(&mut row);
                if done.iter().any(|c| !c.is_empty()) || done.len() > 1 {
                    rows.push(done);
                }
            }
            c => cell.push(c),
        }
    }
    if whole && (!cell.is_empty() || !row.is_empty()) {
        row.push(cell);
        rows.push(row);
    }
    rows
}

fn table(name: &str, text: &str, separator: char, whole: bool, wanted: usize) -> Outcome {
    let mut rows = records(text, separator, whole).into_iter();
    let heads = rows.next().unwrap_or_default();
    let rows: Vec<Vec<String>> = rows.collect();
    let shown: Vec<&Vec<String>> = rows.iter().take(wanted).collect();
    let columns = heads.len();
    let mut notes = Vec::new();
    let uneven = shown.iter().filter(|r| r.len() != columns).count();
    if uneven > 0 {
        notes.push(format!(
            "{} not as many cells as there are columns",
            counted(uneven, "row has", "rows have")
        ));
    }
    let table = grid(&heads, &shown, notes);
    let about = count(columns, "column");
    let summary = match (whole, rows.len() > wanted) {
        (true, false) => format!("{}: {}, {about}", printable(name), count(rows.len(), "row")),
        (true, true) => {
            format!("{}: {}, {about}; the first {wanted}", printable(name), count(rows.len(), "row"))
        }
        (false, _) => format!("{}: the first {}, {about}", printable(name), count(shown.len(), "row")),
    };
    let json =
        json!({"target": name, "columns": heads, "rows": shown, "whole": whole && rows.len() <= wanted});
    let outcome = Outcome::new(summary, json);
    if columns == 0 { outcome } else { outcome.detail(table.text()).html(table.html()) }
}

/// The first columns of the first rows, numbers on the right.
fn grid(heads: &[String], rows: &[&Vec<String>], mut notes: Vec<String>) -> Table {
    let numeric = |i: usize| {
        let mut cells = rows.iter().filter_map(|r| r.get(i)).filter(|c| !c.is_empty()).peekable();
        cells.peek().is_some() && cells.all(|c| c.trim().parse::<f64>().is_ok())
    };
    let titles: Vec<(String, Align)> = heads
        .iter()
        .take(MAX_SHOWN_COLUMNS)
        .enumerate()
        .map(|(i, head)| (short(head), if numeric(i) { Align::Right } else { Align::Left }))
        .collect();
    let titles: Vec<(&str, Align)> = titles.iter().map(|(t, a)| (t.as_str(), *a)).collect();
    let mut table = Table::new(&titles);
    for row in rows {
        table.row((0..titles.len()).map(|i| row.get(i).map_or_else(String::new, |c| short(c))));
    }
    if heads.len() > MAX_SHOWN_COLUMNS {
        notes.insert(0, format!("… and {} more columns", heads.len() - MAX_SHOWN_COLUMNS));
    }
    if !notes.is_empty() {
        table.note(notes.join("; "));
    }
    table
}

fn counted(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

fn lines(name: &str, text: &str, whole: bool, wanted: usize) -> Outcome {
    let mut all: Vec<&str> = text.split_inclusive('\n').map(|l| l.trim_end_matches(['\r', '\n'])).collect();
    // A line that the window cuts is shown only where there is no other.
    if !whole && !text.ends_with('\n') && all.len() > 1 {
        all.pop();
    }
    let shown: Vec<&str> = all.iter().take(wanted).copied().collect();
    let summary = match (whole, all.len() > wanted) {
        (true, false) => format!("{}: {}", printable(name), count(all.len(), "line")),
        (true, true) => format!("{}: {}; the first {wanted}", printable(name), count(all.len(), "line")),
        (false, _) => format!(
            "{}: the first {} (of {} that were looked at)",
            printable(name),
            count(shown.len(), "line"),
            bytes(MAX_HEAD_BYTES)
        ),
    };
    let body = shown.iter().map(|l| short(l)).collect::<Vec<_>>().join("\n");
    let json = json!({"target": name, "lines": shown, "whole": whole && all.len() <= wanted});
    let html = format!("<pre>{}</pre>", escape_html(&body));
    let outcome = Outcome::new(summary, json);
    if shown.is_empty() { outcome } else { outcome.detail(body).html(html) }
}

fn short(text: &str) -> String {
    let text = printable(text).replace('\n', " ");
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_as_rfc_4180_has_them() {
        for (text, whole, rows) in [
            ("a,b\r\n1,2\r\n", true, vec![vec!["a", "b"], vec!["1", "2"]]),
            ("a\n\"x,\"\"y\"\"\nz\"\n", true, vec![vec!["a"], vec!["x,\"y\"\nz"]]),
            ("a,b\n1,", true, vec![vec!["a", "b"], vec!["1", ""]]),
            ("a,b\n1,2\n3,", false, vec![vec!["a", "b"], vec!["1", "2"]]),
            ("a\n\n\nb\n", true, vec![vec!["a"], vec!["b"]]),
            ("a\"b,c\n", true, vec![vec!["a\"b", "c"]]),
            ("\"never closed\n", true, vec![vec!["never closed\n"]]),
            ("", true, vec![]),
        ] {
            assert_eq!(records(text, ',', whole), rows, "{text:?}");
        }
    }

    #[test]
    fn the_separator_is_the_one_of_the_first_line() {
        for (name, text, expected) in [
            ("a.csv", "x;y;z\n1,2,3,4,5\n", Some(';')),
            ("a.CSV", "\"x;y;z\",b\n", Some(',')),
            ("a.csv", "x\ty\n", Some('\t')),
            ("a.csv", "only\n", Some(',')),
            ("a.tsv", "a,b\n", Some('\t')),
            ("a.txt", "a,b\n", None),
        ] {
            assert_eq!(separator(name, text), expected, "{name} {text:?}");
        }
    }

    #[test]
    fn a_cut_file_shows_no_half_character_and_no_half_row() {
        let cut = "ä".as_bytes().get(..1).unwrap();
        let front = [b"a,b\n1,2\n3,", cut].concat();
        assert_eq!(text_of(&front, true), None);
        let text = text_of(&front, false).unwrap();
        let out = table("t", text, ',', false, 10);
        assert_eq!(out.summary, "t: the first 1 row, 2 columns");
        assert_eq!(out.json["rows"], json!([["1", "2"]]));
        let out = table("t", "a,b\n1\n2,3,4\n", ',', true, 10);
        assert!(out.detail.contains("2 rows have not as many cells"), "{}", out.detail);
        let long = "x".repeat(MAX_SHOWN_CHARS + 1);
        let out = lines("t", &format!("{long}\nb\nc\n"), true, 2);
        assert_eq!(out.summary, "t: 3 lines; the first 2");
        assert_eq!(out.detail, format!("{}…\nb", "x".repeat(MAX_SHOWN_CHARS)));
    }
}
