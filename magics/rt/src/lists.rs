//! How the standard library's containers are shown: as tables, beside their `Debug` text.

use crate::bundle::{Bundle, Display, Mime};
use crate::{debug_text, table};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;

/// Longest `Debug` text of a row that is looked at, in bytes.
const MAX_ROW: usize = 16 * 1024;
/// A list of plain values whose `Debug` text has at most so many bytes reads best as that text.
const LINE: usize = 100;

fn list<T: Debug>(whole: &(impl Debug + ?Sized), items: impl ExactSizeIterator<Item = T>) -> Bundle {
    rows(whole, items.len(), true, items.enumerate())
}

fn rows<K: Debug, V: Debug>(
    whole: &(impl Debug + ?Sized),
    count: usize,
    numbered: bool,
    rows: impl Iterator<Item = (K, V)>,
) -> Bundle {
    let text = debug_text::of(whole);
    let is_line = numbered && text.len() <= LINE && !text.contains('\n');
    let bundle = Mime::text(text);
    let rows: Vec<(String, String)> = rows
        .take(table::MAX_ROWS)
        .map(|(name, value)| {
            let name = debug_text::unquoted(&debug_text::up_to(&name, MAX_ROW));
            (name, debug_text::up_to(&value, MAX_ROW))
        })
        .collect();
    if rows.is_empty() || (is_line && table::are_plain(&rows)) {
        return bundle;
    }
    bundle.html(table::of_debug(&rows, count))
}

impl<T: Debug> Display for [T] {
    fn bundle(&self) -> Bundle {
        list(self, self.iter())
    }
}

impl<T: Debug, const N: usize> Display for [T; N] {
    fn bundle(&self) -> Bundle {
        self.as_slice().bundle()
    }
}

impl<T: Debug> Display for Vec<T> {
    fn bundle(&self) -> Bundle {
        self.as_slice().bundle()
    }
}

impl<T: Debug> Display for VecDeque<T> {
    fn bundle(&self) -> Bundle {
        list(self, self.iter())
    }
}

impl<T: Debug, S> Display for HashSet<T, S> {
    fn bundle(&self) -> Bundle {
        list(self, self.iter())
    }
}

impl<T: Debug> Display for BTreeSet<T> {
    fn bundle(&self) -> Bundle {
        list(self, self.iter())
    }
}

impl<K: Debug, V: Debug, S> Display for HashMap<K, V, S> {
    fn bundle(&self) -> Bundle {
        rows(self, self.len(), false, self.iter())
    }
}

impl<K: Debug, V: Debug> Display for BTreeMap<K, V> {
    fn bundle(&self) -> Bundle {
        rows(self, self.len(), false, self.iter())
    }
}

impl<T: Display> Display for Option<T> {
    fn bundle(&self) -> Bundle {
        match self {
            Some(value) => inside("Some", value.bundle()),
            None => Mime::text("None"),
        }
    }
}

impl<T: Display, E: Debug> Display for Result<T, E> {
    fn bundle(&self) -> Bundle {
        match self {
            Ok(value) => inside("Ok", value.bundle()),
            Err(error) => Mime::text(format!("Err({})", debug_text::of(error))),
        }
    }
}

/// The text says what it is in; the richer forms speak for themselves.
fn inside(name: &str, bundle: Bundle) -> Bundle {
    match bundle.get("text/plain").map(|text| format!("{name}({text})")) {
        Some(text) => bundle.text(text),
        None => bundle,
    }
}

macro_rules! as_what_they_point_to {
    ($($pointer:ty),*) => { $(
        impl<T: Display + ?Sized> Display for $pointer {
            fn bundle(&self) -> Bundle {
                (**self).bundle()
            }
        }
    )* };
}
as_what_they_point_to!(&T, &mut T, Box<T>, Rc<T>, Arc<T>);

macro_rules! as_debug {
    ($($scalar:ty),*) => { $(
        impl Display for $scalar {
            fn bundle(&self) -> Bundle {
                Mime::text(debug_text::of(self))
            }
        }
    )* };
}
as_debug!(str, String, bool, char, f32, f64);
as_debug!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn html(value: &(impl Display + ?Sized)) -> String {
        value.bundle().get("text/html").unwrap_or("").to_owned()
    }

    #[test]
    fn lists_are_tables_beside_their_text() {
        let long = "c".repeat(100);
        let bundle = vec!["a<b", &long].bundle();
        assert_eq!(bundle.get("text/plain"), Some(&*format!("[\"a<b\", \"{long}\"]")));
        assert_eq!(
            html(&vec!["a<b", &long]),
            format!(
                "<table><tbody><tr><th>0</th><td>a&lt;b</td></tr>\
                 <tr><th>1</th><td>{long}</td></tr></tbody></table>"
            )
        );
        assert_eq!(Vec::<i32>::new().bundle(), Mime::text("[]"));
        assert_eq!(html(&[(1, 2)][..]), html(&[(1, 2)]));
        assert_eq!(html(&VecDeque::from([(1, 2)])), html(&[(1, 2)]));
    }

    #[test]
    fn a_short_list_of_plain_values_is_a_line() {
        assert_eq!(vec![1, 2, 3].bundle(), Mime::text("[1, 2, 3]"));
        assert_eq!([Some("a"), None].bundle(), Mime::text("[Some(\"a\"), None]"));
        assert!(vec![1; 100].bundle().get("text/html").is_some());
        assert!(vec![vec![1]].bundle().get("text/html").is_some());
    }

    #[test]
    fn rows_become_columns() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "read by Debug")]
        struct City {
            name: &'static str,
            size: f64,
        }
        let cities = html(&[City { name: "Ulm", size: 0.13 }, City { name: "Köln, am Rhein", size: 1.1 }]);
        assert!(cities.contains("<th></th><th>name</th><th>size</th>"), "{cities}");
        assert!(cities.contains("<tr><th>1</th><td>Köln, am Rhein</td><td>1.1</td></tr>"), "{cities}");
        let tuples = html(&vec![(1, "x"), (2, "y")]);
        assert!(tuples.contains("<th></th><th>0</th><th>1</th>"), "{tuples}");
        assert!(tuples.contains("<tr><th>1</th><td>2</td><td>y</td></tr>"), "{tuples}");
        let uneven = html(&vec![vec![1], vec![2, 3], vec![]]);
        assert!(uneven.contains("<td>2</td><td>3</td></tr><tr><th>2</th></tr>"), "{uneven}");
        let mixed = html(&[Some(1); 20].into_iter().chain([None]).collect::<Vec<_>>());
        assert!(mixed.contains("<td>Some(1)</td>") && mixed.contains("<td>None</td>"), "{mixed}");
        let map = html(&BTreeMap::from([("k", vec![1, 2])]));
        assert!(map.contains("<tr><th>k</th><td>1</td><td>2</td></tr>"), "{map}");
        assert!(html(&HashMap::from([(1, 2)])).contains("<th>1</th><td>2</td>"));
    }

    #[test]
    fn much_is_counted() {
        let long = html(&(0..1000).collect::<Vec<_>>());
        assert!(long.contains("<th>29</th>") && !long.contains("<th>30</th>"), "{long}");
        assert!(long.ends_with("<div>… 970 more rows</div>"), "{long}");
        let full = html(&(0..30).collect::<Vec<_>>());
        assert!(!full.is_empty() && !full.contains("more"), "{full}");
        let wide = html(&vec![(0..25).collect::<Vec<_>>()]);
        assert!(wide.contains("<td>19</td><td>…</td>") && wide.contains("… 5 more columns"), "{wide}");
        let field = html(&["x".repeat(300)]);
        assert!(field.contains("x…</td>") && field.len() < 400, "{field}");
    }

    #[test]
    fn what_is_inside_is_shown() {
        let some = Some(vec![(1, 2)]).bundle();
        assert_eq!(some.get("text/plain"), Some("Some([(1, 2)])"));
        assert!(some.get("text/html").is_some());
        assert_eq!(None::<i32>.bundle(), Mime::text("None"));
        assert_eq!(Err::<i32, _>("no").bundle(), Mime::text("Err(\"no\")"));
        assert_eq!(Ok::<_, ()>(Box::new("x")).bundle(), Mime::text("Ok(\"x\")"));
    }
}
