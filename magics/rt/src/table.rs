//! Tables in HTML, short enough to look at: what is beyond the bounds is counted, not sent.

use crate::debug_text::{Row, row, unquoted};
use std::fmt::Write;

/// Most rows and columns that are shown.
pub(crate) const MAX_ROWS: usize = 30;
pub(crate) const MAX_COLUMNS: usize = 20;
/// Longest text of one field, in characters.
const MAX_FIELD: usize = 200;

/// A table that is being written.
#[derive(Default)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<(Option<String>, Vec<String>)>,
    /// Of the whole, shown or not.
    columns: usize,
    more_rows: usize,
}

impl Table {
    /// With these names of columns.
    pub fn with_head(names: impl IntoIterator<Item = String>) -> Self {
        let mut names = names.into_iter();
        let head: Vec<String> = names.by_ref().take(MAX_COLUMNS).collect();
        let columns = head.len() + names.count();
        Self { head, columns, ..Self::default() }
    }

    /// A row, with a name in front or none. Fields beyond the bound need not be made.
    pub fn row(&mut self, name: Option<String>, fields: impl IntoIterator<Item = String>) {
        if self.is_full() {
            self.more_rows += 1;
            return;
        }
        self.rows.push((name, fields.into_iter().take(MAX_COLUMNS).collect()));
    }

    pub fn is_full(&self) -> bool {
        self.rows.len() >= MAX_ROWS
    }

    /// Rows that are there but were not handed in.
    pub fn more_rows(&mut self, count: usize) {
        self.more_rows += count;
    }

    pub fn html(&self) -> String {
        let named = self.rows.iter().any(|(name, _)| name.is_some());
        let wide = self.columns > MAX_COLUMNS;
        let mut out = String::from("<table>");
        if !self.head.is_empty() {
            out.push_str("<thead><tr>");
            if named {
                out.push_str("<th></th>");
            }
            for name in &self.head {
                field(&mut out, "th", name);
            }
            if wide {
                out.push_str("<th>…</th>");
            }
            out.push_str("</tr></thead>");
        }
        out.push_str("<tbody>");
        for (name, fields) in &self.rows {
            out.push_str("<tr>");
            if named {
                field(&mut out, "th", name.as_deref().unwrap_or(""));
            }
            for text in fields {
                field(&mut out, "td", text);
            }
            if wide {
                out.push_str("<td>…</td>");
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table>");
        let more_columns = self.columns.saturating_sub(MAX_COLUMNS);
        let more = [(self.more_rows, "rows"), (more_columns, "columns")];
        let more: Vec<String> =
            more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("… {n} more {what}")).collect();
        if !more.is_empty() {
            let _ = write!(out, "<div>{}</div>", more.join(", "));
        }
        out
    }
}

/// The table of some rows' `Debug` texts, each with its name. `all` counts the rows that exist.
pub(crate) fn of_debug(rows: &[(String, String)], all: usize) -> String {
    let parsed: Vec<Row<'_>> = rows.iter().map(|(_, text)| row(text)).collect();
    let names = |row: &Row<'_>| match row {
        Row::Fields(fields) => Some(fields.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>()),
        _ => None,
    };
    let same_fields = parsed
        .first()
        .and_then(names)
        .filter(|first| !first.is_empty() && parsed.iter().all(|row| names(row).as_ref() == Some(first)));
    let items = parsed.iter().map(|row| if let Row::Items(items) = row { Some(items.len()) } else { None });
    let widest = items.collect::<Option<Vec<_>>>().and_then(|lens| lens.into_iter().max());
    let mut table = match (same_fields, widest) {
        (Some(names), _) => Table::with_head(names),
        (None, Some(columns)) if columns > 0 => Table::with_head((0..columns).map(|n| n.to_string())),
        _ => Table::with_head(["".to_owned()]),
    };
    for ((name, text), row) in rows.iter().zip(&parsed) {
        let fields: Vec<String> = match row {
            Row::Fields(fields) if names(row).as_ref() == Some(&table.head) || table.columns > 1 => {
                fields.iter().map(|(_, text)| unquoted(text)).collect()
            }
            Row::Items(items) if widest.is_some_and(|columns| columns > 0) => {
                items.iter().map(|text| unquoted(text)).collect()
            }
            _ => vec![unquoted(text)],
        };
        table.row(Some(name.clone()), fields);
    }
    table.more_rows(all.saturating_sub(rows.len()));
    table.html()
}

fn field(out: &mut String, tag: &str, text: &str) {
    let _ = write!(out, "<{tag}>");
    let mut chars = text.chars();
    for c in chars.by_ref().take(MAX_FIELD) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("<br>"),
            _ => out.push(c),
        }
    }
    if chars.next().is_some() {
        out.push('…');
    }
    let _ = write!(out, "</{tag}>");
}
