//! Small result tables, as aligned text and as HTML.

use dds_core::mime::{escape_html, printable};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Align {
    Left,
    Right,
}

/// Rows under headings. Cells are outside text: control characters are shown as escapes.
pub struct Table {
    heads: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(heads: &[(&str, Align)]) -> Self {
        Self { heads: heads.iter().map(|(h, a)| ((*h).to_owned(), *a)).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|c| printable(&c).replace('\n', " ")).collect());
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
        let mut lines = vec![line(self.heads.iter().map(|(h, _)| h.as_str()).collect())];
        lines.extend(self.rows.iter().map(|r| line(r.iter().map(String::as_str).collect())));
        lines.join("\n")
    }

    /// The class names are Jupyter's own, so that front ends style it as they style data frames.
    pub fn html(&self) -> String {
        let cell = |tag: &str, text: &str, align: Align| {
            let side = if align == Align::Right { "right" } else { "left" };
            format!("<{tag} style=\"text-align:{side}\">{}</{tag}>", escape_html(text))
        };
        let head: String = self.heads.iter().map(|(h, a)| cell("th", h, *a)).collect();
        let body: String = self
            .rows
            .iter()
            .map(|r| {
                let cells: String = r.iter().zip(&self.heads).map(|(c, (_, a))| cell("td", c, *a)).collect();
                format!("<tr>{cells}</tr>")
            })
            .collect();
        format!("<table class=\"dataframe\"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    }
}

/// `1.9 MB`, in decimal units.
pub fn bytes(n: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = n as f64;
    let mut at = 0;
    while value >= 999.5 && at + 1 < units.len() {
        value /= 1000.0;
        at += 1;
    }
    if at == 0 || value >= 99.95 {
        format!("{value:.0} {}", units[at])
    } else {
        format!("{value:.1} {}", units[at])
    }
}

/// `1 image`, `2 images`, `3 classes`.
pub fn count(n: usize, noun: &str) -> String {
    match (n, noun.ends_with('s')) {
        (1, _) => format!("1 {noun}"),
        (_, true) => format!("{n} {noun}es"),
        _ => format!("{n} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_text_and_safe_html() {
        let mut t = Table::new(&[("class", Align::Left), ("train", Align::Right)]);
        t.row(["<b>Größe".into(), "48".into()]);
        t.row(["a\u{1b}[2J".into(), "1".into()]);
        let want = ["class       train", "<b>Größe       48", "a\\u{1b}[2J      1"];
        assert_eq!(t.text().lines().collect::<Vec<_>>(), want);
        assert!(t.html().contains("&lt;b&gt;Größe") && !t.html().contains("<b>"));
    }

    #[test]
    fn sizes() {
        for (n, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_900_000, "1.9 MB"), (999_960, "1.0 MB")]
        {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(
            (count(1, "class"), count(2, "class"), count(0, "image")),
            ("1 class".into(), "2 classes".into(), "0 images".into())
        );
    }
}
