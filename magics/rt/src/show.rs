//! How the value of a cell's final expression is shown, in one compilation whatever its type.
//!
//! A cell ends in `(EXPRESSION).evcxr_display().dds_show();`. Where the type has a method
//! `evcxr_display` of its own, that has shown it. Everything else gets one from a trait of the
//! cell's that returns a [`Value`]; there the compiler looks for `dds_show` first on [`Value`],
//! where it exists for types that can be displayed (and where the cell adds those of crates that
//! the user has brought), and then, by dereferencing, on [`Plain`], where it exists for `Debug`.

use crate::bundle::{Display, Mime};
use crate::{debug_text, display, table};
use std::fmt::Debug;
use std::ops::Deref;

pub struct Value<'a, T: ?Sized>(Plain<'a, T>);

pub struct Plain<'a, T: ?Sized>(&'a T);

impl<'a, T: ?Sized> Value<'a, T> {
    pub fn new(value: &'a T) -> Self {
        Self(Plain(value))
    }

    /// For the cell's own ways of showing values.
    pub fn get(&self) -> &'a T {
        self.0.0
    }
}

impl<T: Display + ?Sized> Value<'_, T> {
    pub fn dds_show(&self) {
        display::value(self.get().bundle());
    }
}

impl<'a, T: ?Sized> Deref for Value<'a, T> {
    type Target = Plain<'a, T>;

    fn deref(&self) -> &Plain<'a, T> {
        &self.0
    }
}

/// For what has no `Debug` the method does not exist: then the cell is compiled again, in a way
/// that gives a plainer message.
impl<T: Debug + ?Sized> Plain<'_, T> {
    pub fn dds_show(&self) {
        debug(self.0);
    }
}

/// The value's `Debug` text. That of a statement, `()`, is nothing to show.
pub fn debug<T: Debug + ?Sized>(value: &T) {
    let text = debug_text::of(value);
    if text != "()" {
        display::value(Mime::text(text));
    }
}

/// The first cell calls it, so that the linker does not leave this library out.
#[inline(never)]
pub fn linked() {}

/// For the cell's own ways of showing values.
pub fn bundle(bundle: crate::Bundle) {
    display::value(bundle);
}

/// `text` beside a table of `rows` × `columns` fields, of which only those that are shown are made.
pub fn grid(
    text: String,
    names: Option<Vec<String>>,
    rows: usize,
    columns: usize,
    field: &dyn Fn(usize, usize) -> String,
) -> crate::Bundle {
    let names = names.unwrap_or_else(|| (0..columns).map(|column| column.to_string()).collect());
    let mut html = table::Table::with_head(names);
    for row in 0..rows.min(table::MAX_ROWS) {
        let fields = (0..columns.min(table::MAX_COLUMNS)).map(|column| field(row, column));
        html.row(Some(row.to_string()), fields.map(|text| debug_text::unquoted(&text)));
    }
    html.more_rows(rows.saturating_sub(table::MAX_ROWS));
    Mime::text(text).html(html.html())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Front, text};

    trait Cell {
        fn evcxr_display(&self) -> Value<'_, Self>;
    }
    impl<T: ?Sized> Cell for T {
        fn evcxr_display(&self) -> Value<'_, Self> {
            Value::new(self)
        }
    }
    trait Done {
        fn dds_show(&self);
    }
    impl Done for () {
        fn dds_show(&self) {}
    }

    struct Rich;
    impl Display for Rich {
        fn bundle(&self) -> crate::Bundle {
            Mime::html("rich").text("r")
        }
    }
    #[derive(Debug)]
    struct OnlyDebug;
    struct Own;
    impl Own {
        fn evcxr_display(&self) {
            crate::display(&Mime::text("own"));
        }
    }
    /// As of a crate that the user has brought: neither `Display` nor `Debug`.
    struct Foreign;
    trait Local {
        fn dds_show(&self);
    }
    impl Local for Value<'_, Foreign> {
        fn dds_show(&self) {
            bundle(Mime::text("foreign"));
        }
    }

    #[test]
    #[expect(
        clippy::unit_arg,
        clippy::unnecessary_mut_passed,
        clippy::needless_borrow,
        reason = "the form that cells have"
    )]
    fn every_type_finds_its_way() {
        let front = Front::new();
        let mut number = 2;
        (vec![1]).evcxr_display().dds_show();
        (Rich).evcxr_display().dds_show();
        (&Rich).evcxr_display().dds_show();
        (OnlyDebug).evcxr_display().dds_show();
        (Own).evcxr_display().dds_show();
        (Foreign).evcxr_display().dds_show();
        (&mut number).evcxr_display().dds_show();
        (*"text").evcxr_display().dds_show();
        ({}).evcxr_display().dds_show();
        let shown = front.shown();
        let texts: Vec<_> = shown.iter().map(|show| text(show, "text/plain").unwrap()).collect();
        assert_eq!(texts, ["[1]", "r", "r", "OnlyDebug", "own", "foreign", "2", "\"text\""]);
        let values: Vec<_> = shown.iter().map(|show| show.value).collect();
        assert_eq!(values, [true, true, true, true, false, true, true, true]);
        assert!(text(&shown[0], "text/html").is_some() && text(&shown[1], "text/html") == Some("rich"));
    }

    #[test]
    fn grids_ask_only_for_what_they_show() {
        let asked = std::cell::Cell::new(0);
        let bundle = grid("t".into(), None, 1000, 50, &|row, column| {
            asked.set(asked.get() + 1);
            format!("{row}-{column}")
        });
        assert_eq!(asked.get(), table::MAX_ROWS * table::MAX_COLUMNS);
        let html = bundle.get("text/html").unwrap();
        assert!(html.contains("<td>29-19</td>") && html.ends_with("… 970 more rows, 30 more columns</div>"));
        let named = grid("t".into(), Some(vec!["a<".into()]), 1, 1, &|_, _| "\"x\"".into());
        assert!(
            named
                .get("text/html")
                .unwrap()
                .contains("<th>a&lt;</th></tr></thead><tbody><tr><th>0</th><td>x</td>")
        );
    }
}
