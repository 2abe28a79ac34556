//! Small tables as aligned text and as HTML, and numbers as people read them. Cells are outside
//! text: control characters are shown as escapes.

use crate::mime::{escape_html, printable};
use crate::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Rows under headings.
pub struct Table {
    heads: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
    note: Option<String>,
}

impl Table {
    /// Headings, all of them empty for a table without a heading row.
    pub fn new(heads: &[(&str, Align)]) -> Self {
        let heads = heads.iter().map(|(h, a)| ((*h).to_owned(), *a)).collect();
        Self { heads, rows: Vec::new(), note: None }
    }

    pub fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(|c| printable(c.as_ref()).replace('\n', " ")).collect());
    }

    /// A line below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.note = Some(text.into());
    }

    fn headed(&self) -> bool {
        self.heads.iter().any(|(head, _)| !head.is_empty())
    }

    /// Columns aligned with spaces; no line feed at the end.
    pub fn text(&self) -> String {
        let width = |i: usize, head: &str| {
            let cells = self.rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count());
            cells.max().unwrap_or(0).max(head.chars().count())
        };
        let widths: Vec<usize> = self.heads.iter().enumerate().map(|(i, (h, _))| width(i, h)).collect();
        let line = |cells: Vec<&str>| {
            let parts: Vec<String> = cells
                .iter()
                .zip(&self.heads)
                .zip(&widths)
                .map(|((c, (_, align)), w)| {
                    let gap = " ".repeat(w.saturating_sub(c.chars().count()));
                    if *align == Align::Right { format!("{gap}{c}") } else { format!("{c}{gap}") }
                })
                .collect();
            parts.join("  ").trim_end().to_owned()
        };
        let mut lines = Vec::with_capacity(self.rows.len() + 2);
        if self.headed() {
            lines.push(line(self.heads.iter().map(|(h, _)| h.as_str()).collect()));
        }
        lines.extend(self.rows.iter().map(|r| line(r.iter().map(String::as_str).collect())));
        lines.extend(self.note.as_deref().map(printable));
        lines.join("\n")
    }

    /// The class name is Jupyter's own, so that front ends style it as they style data frames.
    pub fn html(&self) -> String {
        let cell = |tag: &str, text: &str, align: Align| {
            let side = if align == Align::Right { "right" } else { "left" };
            format!("<{tag} style=\"text-align:{side}\">{}</{tag}>", escape_html(text))
        };
        let head = if self.headed() {
            let cells: String = self.heads.iter().map(|(h, a)| cell("th", h, *a)).collect();
            format!("<thead><tr>{cells}</tr></thead>")
        } else {
            String::new()
        };
        let row = |r: &Vec<String>| {
            let cells: String = r.iter().zip(&self.heads).map(|(c, (_, a))| cell("td", c, *a)).collect();
            format!("<tr>{cells}</tr>")
        };
        let body: String = self.rows.iter().map(row).collect();
        let note = self.note.as_deref().map(|n| format!("<p>{}</p>", escape_html(&printable(n))));
        format!("<table class=\"dataframe\">{head}<tbody>{body}</tbody></table>{}", note.unwrap_or_default())
    }
}

/// `812 B`, `1.9 MB`, `200 MB`: decimal units, at most three digits.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = n as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while value >= 999.5
        && let Some(next) = units.next()
    {
        value /= 1000.0;
        unit = Some(next);
    }
    let unit = unit.copied().unwrap_or_default();
    if unit == "B" || value >= 99.95 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// Bytes of `500MB`, `5GB`, `1.5 GiB` or `0`. Errors (`Usage`) name the flag.
pub fn parse_bytes(text: &str, flag: &str) -> Result<u64> {
    let wrong = || Error::usage(format!("{flag} takes a size, not {text:?}")).hint("such as 500MB or 5GB");
    let text = text.trim();
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c.is_whitespace());
    let unit: f64 = match text.get(number.len()..).unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let bytes = number * unit;
    if !(0.0..1e18).contains(&bytes) {
        return Err(wrong());
    }
    Ok(bytes as u64)
}

/// `1 image`, `2 images`, `3 classes`, `4 copies`.
pub fn count(n: impl TryInto<u64>, noun: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    match (n, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{n} {stem}ies"),
        _ if noun.ends_with('s') => format!("{n} {noun}es"),
        _ => format!("{n} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_text_and_safe_html() {
        let mut t = Table::new(&[("class", Align::Left), ("train", Align::Right)]);
        t.row(["<b>Größe", "48"]);
        t.row(["a\u{1b}[2J", "1"]);
        t.note("… and 3 more");
        let want = ["class       train", "<b>Größe       48", "a\\u{1b}[2J      1", "… and 3 more"];
        assert_eq!(t.text().lines().collect::<Vec<_>>(), want);
        let html = t.html();
        assert!(html.contains("&lt;b&gt;Größe") && !html.contains("<b>") && !html.contains('\u{1b}'));
        assert!(html.ends_with("<p>… and 3 more</p>"));
    }

    #[test]
    fn a_table_without_headings() {
        let mut t = Table::new(&[("", Align::Left), ("", Align::Left)]);
        t.row(["kind", "file"]);
        assert_eq!(t.text(), "kind  file");
        assert!(!t.html().contains("thead"));
    }

    #[test]
    fn numbers_as_people_read_them() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (12_345, "12.3 kB"),
            (999_400, "999 kB"),
            (999_960, "1.0 MB"),
            (1_913_110, "1.9 MB"),
            (200_000_000, "200 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        let counts =
            [count(1_u64, "class"), count(2_u64, "class"), count(0_usize, "image"), count(3_u64, "copy")];
        assert_eq!(counts, ["1 class", "2 classes", "0 images", "3 copies"]);
    }
}
