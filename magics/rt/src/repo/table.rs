//! Tables out of CSV files: columns with types, and without any crate to be compiled for them.

use super::csv;
use super::error::{Error, ErrorKind, Result};
use crate::bundle::{Bundle, Display, Mime};
use crate::table as html;
use std::fmt;

/// Rows that are shown as text.
const MAX_SHOWN: usize = 20;

/// A table with a name and a type for each column. As a cell's value it is shown as a table.
///
/// ```
/// let table = dds::Table::parse("name,legs\ncat,4\nbird,2\n");
/// assert_eq!(table.names(), ["name", "legs"]);
/// let legs: f64 = table.column("legs")?.floats().into_iter().flatten().sum();
/// assert_eq!(legs, 6.0);
/// # Ok::<(), dds::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
}

/// The values of one column: of the narrowest type that all of them have. Empty fields are `None`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Column {
    /// `true` and `false`, in any case.
    Bools(Vec<Option<bool>>),
    Ints(Vec<Option<i64>>),
    Floats(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
}

/// One value of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    Empty,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

impl Table {
    /// Reads CSV with a line of names; the separator is the one of comma, semicolon and tab that this
    /// line holds most of. A row that is too short ends in empty fields; what is beyond the last name
    /// is dropped.
    pub fn parse(text: &str) -> Self {
        Self::parse_with(text, csv::separator(text))
    }

    /// As [`Table::parse`], with this separator.
    pub fn parse_with(text: &str, separator: char) -> Self {
        let mut records = csv::records(text, separator).into_iter();
        let names = records.next().unwrap_or_default();
        let mut fields: Vec<Vec<Option<String>>> = names.iter().map(|_| Vec::new()).collect();
        let mut rows = 0;
        for record in records {
            rows += 1;
            let mut record = record.into_iter();
            for column in &mut fields {
                column.push(record.next().filter(|field| !field.is_empty()));
            }
        }
        Self { names, columns: fields.into_iter().map(Column::of).collect(), rows }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All columns, in the order of their names.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of this name.
    ///
    /// # Errors
    /// `NotFound`, with the names that there are.
    pub fn column(&self, name: &str) -> Result<&Column> {
        let at = self.names.iter().position(|known| known == name);
        at.and_then(|at| self.columns.get(at)).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no column {name:?}"))
                .with_hint(format!("there are: {}", self.names.join(", ")))
        })
    }

    /// One row; empty values behind the end.
    pub fn row(&self, row: usize) -> Vec<Value<'_>> {
        self.columns.iter().map(|column| column.get(row)).collect()
    }

    /// All rows, first to last.
    pub fn rows(&self) -> Vec<Vec<Value<'_>>> {
        (0..self.rows).map(|row| self.row(row)).collect()
    }
}

impl Column {
    fn of(fields: Vec<Option<String>>) -> Self {
        fn all<T>(fields: &[Option<String>], parse: impl Fn(&str) -> Option<T>) -> Option<Vec<Option<T>>> {
            fields
                .iter()
                .map(|field| field.as_deref().map(|text| parse(text.trim()).ok_or(())).transpose().ok())
                .collect()
        }
        if fields.iter().all(Option::is_none) {
            return Self::Texts(fields);
        }
        let bool = |text: &str| text.to_ascii_lowercase().parse().ok();
        if let Some(values) = all(&fields, bool) {
            return Self::Bools(values);
        }
        // 007 is a name, not a number.
        let is_name =
            |text: &str| text.len() > 1 && text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
        if let Some(values) = all(&fields, |text| text.parse().ok().filter(|_| !is_name(text))) {
            return Self::Ints(values);
        }
        if let Some(values) = all(&fields, |text| text.parse().ok().filter(|_| !is_name(text))) {
            return Self::Floats(values);
        }
        Self::Texts(fields)
    }

    /// The number of rows.
    #[expect(clippy::len_without_is_empty, reason = "the table has it")]
    pub fn len(&self) -> usize {
        match self {
            Self::Bools(values) => values.len(),
            Self::Ints(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// `"text"` and so on.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bools(_) => "bool",
            Self::Ints(_) => "int",
            Self::Floats(_) => "float",
            Self::Texts(_) => "text",
        }
    }

    /// One value; empty behind the end.
    pub fn get(&self, row: usize) -> Value<'_> {
        let found = match self {
            Self::Bools(values) => values.get(row).copied().flatten().map(Value::Bool),
            Self::Ints(values) => values.get(row).copied().flatten().map(Value::Int),
            Self::Floats(values) => values.get(row).copied().flatten().map(Value::Float),
            Self::Texts(values) => values.get(row).and_then(Option::as_deref).map(Value::Text),
        };
        found.unwrap_or(Value::Empty)
    }

    /// The values as numbers; none for empty fields and for text.
    pub fn floats(&self) -> Vec<Option<f64>> {
        let float = |row| match self.get(row) {
            Value::Bool(value) => Some(f64::from(u8::from(value))),
            Value::Int(value) => Some(value as f64),
            Value::Float(value) => Some(value),
            Value::Text(_) | Value::Empty => None,
        };
        (0..self.len()).map(float).collect()
    }

    /// The values as text, empty fields as an empty one.
    pub fn texts(&self) -> Vec<String> {
        (0..self.len()).map(|row| self.get(row).to_string()).collect()
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// The first rows, in columns.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.rows.min(MAX_SHOWN);
        let mut lines = vec![self.names.clone()];
        lines.extend((0..shown).map(|row| self.row(row).iter().map(Value::to_string).collect()));
        let width =
            |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|text| text.chars().count()).max();
        let widths: Vec<usize> = (0..self.names.len()).map(|at| width(at).unwrap_or(0)).collect();
        for line in &lines {
            let mut text = String::new();
            for ((field, width), column) in line.iter().zip(&widths).zip(&self.columns) {
                text.push_str(&match column {
                    Column::Ints(_) | Column::Floats(_) => format!("{field:>width$}  "),
                    _ => format!("{field:<width$}  "),
                });
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        let more = if self.rows > shown { format!("; the first {shown}") } else { String::new() };
        write!(f, "{} × {}{more}", self.rows, self.names.len())
    }
}

/// A table in the notebook.
impl Display for Table {
    fn bundle(&self) -> Bundle {
        let mut table = html::Table::with_head(self.names.iter().cloned());
        for row in 0..self.rows.min(html::MAX_ROWS) {
            table.row(Some(row.to_string()), self.row(row).iter().map(Value::to_string));
        }
        table.more_rows(self.rows.saturating_sub(html::MAX_ROWS));
        Mime::text(self.to_string()).html(table.html())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANIMALS: &str =
        "name;legs;weight;tame;code\ncat;4;3.5;TRUE;007\n\"bird, small\";2;;false;010\nsnake\n";

    #[test]
    fn columns_have_the_narrowest_type() {
        let table = Table::parse(ANIMALS);
        assert_eq!(table.len(), 3);
        let types: Vec<_> = table.columns().iter().map(Column::type_name).collect();
        assert_eq!(types, ["text", "int", "float", "bool", "text"]);
        assert_eq!(table.column("legs").unwrap(), &Column::Ints(vec![Some(4), Some(2), None]));
        assert_eq!(table.row(1)[0], Value::Text("bird, small"));
        assert_eq!(table.rows().len(), 3);
        assert_eq!(table.column("tame").unwrap().floats(), [Some(1.0), Some(0.0), None]);
        assert_eq!(table.column("weight").unwrap().texts(), ["3.5", "", ""]);
        let error = table.column("leg").unwrap_err();
        assert!(error.hint().unwrap().contains("name, legs"), "{error}");
    }

    #[test]
    fn odd_tables_are_tables_too() {
        for (text, rows, columns) in [("", 0, 0), ("a\n", 0, 1), ("a,b\n1,2,3\n", 1, 2), ("a\n\"\"\n", 0, 1)]
        {
            let table = Table::parse(text);
            assert_eq!((table.len(), table.columns().len()), (rows, columns), "{text:?}");
        }
        let big = Table::parse("a\n99999999999999999999\n1\n");
        assert_eq!(big.columns()[0].type_name(), "float");
    }

    #[test]
    fn tables_are_shown_in_columns() {
        let table = Table::parse("name,legs\ncat,4\nmillipede,750\n");
        assert_eq!(table.to_string(), "name       legs\ncat           4\nmillipede   750\n2 × 2");
        let html = table.bundle();
        assert!(html.get("text/html").unwrap().contains("<th>legs</th>"));
        let long = Table::parse(&format!("n\n{}", "1\n".repeat(MAX_SHOWN + 1)));
        assert!(long.to_string().ends_with("21 × 1; the first 20"));
    }
}
