//! Showing values while the cell runs, replacing what is shown, and taking it away.

use crate::bundle::{Bundle, Display, Mime};
use crate::runtime;
use crate::widgets;
use crate::wire::{Show, What};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shows a value now. The handle replaces it later, if you want that.
pub fn display<T: Display + ?Sized>(value: &T) -> Handle {
    static SHOWN: AtomicU64 = AtomicU64::new(0);
    let number = SHOWN.fetch_add(1, Ordering::Relaxed);
    // Unique also beside other sessions in the page and copies of this process.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_nanos());
    display_id(format!("dds-{:x}-{now:x}-{number:x}", std::process::id()), value)
}

/// Shows a value under an id of yours.
pub fn display_id<T: Display + ?Sized>(id: impl Into<String>, value: &T) -> Handle {
    let handle = Handle { id: id.into() };
    send(value.bundle(), Some(&handle.id), false);
    handle
}

/// Shows the `Debug` text of a value.
pub fn debug<T: Debug + ?Sized>(value: &T) -> Handle {
    display(&Mime::text(crate::debug_text::of(value)))
}

/// Takes away what the cell has shown so far: at once, or with `wait` when it shows something new
/// (which does not flicker).
pub fn clear_output(wait: bool) {
    complain(runtime::here().send(What::Clear(wait)));
}

/// Something that is shown, to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    id: String,
}

impl Handle {
    /// Replaces what is shown, in every place where it is shown.
    pub fn update<T: Display + ?Sized>(&self, value: &T) {
        send(value.bundle(), Some(&self.id), true);
    }

    pub fn id(&self) -> &str {
        &self.id
    }
}

fn send(bundle: Bundle, id: Option<&str>, update: bool) {
    if !update && widgets::captured(&bundle) {
        return;
    }
    let show = Show { id: id.map(str::to_owned), update, ..of(bundle) };
    complain(runtime::here().send(What::Show(show)));
}

/// The value of the cell's final expression.
pub(crate) fn value(bundle: Bundle) {
    complain(runtime::here().send(What::Show(Show { value: true, ..of(bundle) })));
}

fn of(bundle: Bundle) -> Show {
    let metadata = if bundle.metadata.is_null() { String::new() } else { bundle.metadata.to_string() };
    Show { parts: bundle.parts, metadata, ..Show::default() }
}

/// A display that does not get through costs the display, not the cell.
fn complain(result: std::io::Result<()>) {
    if let Err(error) = result {
        eprintln!("dds: not shown: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Front, text};

    #[test]
    fn handles_replace_what_they_show() {
        let front = Front::new();
        let first = display(&Mime::text("1"));
        let second = display(&Mime::text("2"));
        assert_ne!(first.id(), second.id());
        first.update(&Mime::html("<b>1</b>"));
        let named = display_id("mine", &Mime::text("3").metadata(1));
        named.update(&Mime::text("4"));
        let shown = front.shown();
        let ids: Vec<_> = shown.iter().map(|show| (show.id.as_deref().unwrap(), show.update)).collect();
        assert_eq!(
            ids,
            [(first.id(), false), (second.id(), false), (first.id(), true), ("mine", false), ("mine", true)]
        );
        assert_eq!(text(&shown[2], "text/html"), Some("<b>1</b>"));
        assert_eq!(shown[3].metadata, "1");
        assert!(shown.iter().all(|show| !show.value));
    }

    #[test]
    fn clearing_is_sent_in_its_place() {
        let front = Front::new();
        debug(&"é");
        clear_output(true);
        let kinds: Vec<_> = front.take().into_iter().map(|up| up.what).collect();
        assert!(matches!(&kinds[0], What::Show(show) if text(show, "text/plain") == Some("\"é\"")));
        assert_eq!(kinds[1], What::Clear(true));
    }
}
