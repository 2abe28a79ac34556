//! Small tables as aligned text and as HTML. All cells are outside text: they are made harmless here.

use dds_core::mime::{escape_html, printable};
use std::fmt::Write;

pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<(String, bool)>>,
    note: Option<String>,
}

impl Table {
    /// Empty headings make a table without a heading row.
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|h| (*h).to_owned()).collect(), rows: Vec::new(), note: None }
    }

    /// Cells, each with whether it is aligned to the right.
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = (&'a str, bool)>) {
        self.rows.push(
            cells.into_iter().map(|(text, right)| (printable(text).replace('\n', " "), right)).collect(),
        );
    }

    /// A line below the table.
    pub fn note(&mut self, text: String) {
        self.note = Some(text);
    }

    pub fn text(&self) -> String {
        let headed = self.head.iter().any(|h| !h.is_empty());
        let head: Vec<(String, bool)> = self.head.iter().map(|h| (h.clone(), false)).collect();
        let lines = std::iter::once(&head).filter(|_| headed).chain(&self.rows);
        let mut widths = vec![0; self.head.len()];
        for line in lines.clone() {
            for (width, (cell, _)) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        for line in lines {
            let mut text = String::new();
            for (n, ((cell, right), width)) in line.iter().zip(&widths).enumerate() {
                if n > 0 {
                    text.push_str("  ");
                }
                let _ = if *right { write!(text, "{cell:>width$}") } else { write!(text, "{cell:<width$}") };
            }
            out.push_str(text.trim_end());
            out.push('\n');
        }
        if let Some(note) = &self.note {
            out.push_str(note);
        }
        out.trim_end().to_owned()
    }

    pub fn html(&self) -> String {
        let mut out = String::from("<table>");
        if self.head.iter().any(|h| !h.is_empty()) {
            out.push_str("<thead><tr>");
            for h in &self.head {
                let _ = write!(out, "<th style=\"text-align:left\">{}</th>", escape_html(h));
            }
            out.push_str("</tr></thead>");
        }
        out.push_str("<tbody>");
        for row in &self.rows {
            out.push_str("<tr>");
            for (cell, right) in row {
                let side = if *right { "right" } else { "left" };
                let _ = write!(out, "<td style=\"text-align:{side}\">{}</td>", escape_html(cell));
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table>");
        if let Some(note) = &self.note {
            let _ = write!(out, "<p>{}</p>", escape_html(note));
        }
        out
    }
}

/// `1.9 MB`: decimal units, three digits.
pub fn bytes(n: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64;
    let mut shown = "B";
    for unit in units {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        shown = unit;
    }
    if value < 9.95 { format!("{value:.1} {shown}") } else { format!("{value:.0} {shown}") }
}

/// `1 file`, `2 files`.
pub fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts() {
        for (n, t) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9_960, "10 kB"),
            (999_600, "1.0 MB"),
            (1_913_110, "1.9 MB"),
        ] {
            assert_eq!(bytes(n), t);
        }
        assert!(bytes(u64::MAX).ends_with("EB"));
        assert_eq!((count(1, "file"), count(0, "file")), ("1 file".into(), "0 files".into()));
    }

    #[test]
    fn cells_are_aligned_and_harmless() {
        let mut t = Table::new(&["size", "name"]);
        t.row([("1 B", true), ("a<b>", false)]);
        t.row([("10 kB", true), ("x\u{1b}[31m", false)]);
        assert_eq!(t.text(), "size   name\n  1 B  a<b>\n10 kB  x\\u{1b}[31m");
        assert!(t.html().contains("a&lt;b&gt;") && !t.html().contains('\u{1b}'));
    }
}
