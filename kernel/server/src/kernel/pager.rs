//! `?NAME` as a whole cell: what is known of the name, as Shift-Tab shows it, for the front end's
//! pager. No Rust begins with a question mark, so nothing is taken away from it.

use super::host::Host;
use dds_core::{Error, MimeBundle, Result};
use serde_json::{Value, json};

/// The name that a cell asks about; none when the cell is code.
pub(super) fn asked_about(code: &str) -> Option<&str> {
    let name = code.trim().strip_prefix('?')?.trim();
    (!name.is_empty() && !name.contains('\n')).then_some(name)
}

/// # Errors
/// `NotFound` when nothing is known of `name`.
pub(super) fn page(host: &dyn Host, name: &str) -> Result<MimeBundle> {
    host.inspect(name, name.chars().count()).filter(|found| !found.is_empty()).ok_or_else(|| {
        Error::not_found(format!("nothing is known of `{name}`"))
            .hint("ask about a name as it stands in code, such as `?Vec::push`, or see `%dds help`")
    })
}

/// The reply's payload: front ends show it in a pager, or below the cell.
pub(super) fn payload(page: Option<&MimeBundle>) -> Value {
    match page {
        Some(page) => json!([{"source": "page", "data": page.data, "start": 0}]),
        None => json!([]),
    }
}

#[cfg(test)]
mod tests {
    use super::asked_about;

    #[test]
    fn only_a_name_after_a_question_mark_asks() {
        assert_eq!(asked_about(" ?Vec::push \n"), Some("Vec::push"));
        assert_eq!(asked_about("?%dds mount"), Some("%dds mount"));
        for code in ["?", " ", "", "a?", "f()?;", "?a\nb"] {
            assert_eq!(asked_about(code), None, "{code}");
        }
    }
}
