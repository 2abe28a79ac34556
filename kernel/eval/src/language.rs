//! Completion and inspection, by the analysis that evcxr keeps of the session.
//!
//! Cursors come and go in characters, the analysis counts bytes.

mod docs;

use crate::cell::{byte_offset, char_offset, rust_only};
use crate::engine::Engine;
use dds_core::MimeBundle;
use dds_core::eval::{Completion, Completions};
use dds_core::lex::in_text;
use dds_core::mime::escape_html;

/// Most completions offered.
const MAX_ITEMS: usize = 500;
/// What the analysis says when it knows nothing.
const NOTHING: &str = "No documentation found";

impl Engine {
    pub(crate) fn complete(&mut self, code: &str, cursor: usize) -> Completions {
        let rust = rust_only(code);
        let at = byte_offset(code, cursor);
        if in_text(&rust, at) || self.is_directive(&rust, at) {
            return Completions::default();
        }
        let found = match self.context().completions(&rust, at) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!("completion: {error}");
                return Completions::default();
            }
        };
        // rust-analyzer offers a name once for each trait or receiver that has it.
        let mut seen = std::collections::HashSet::new();
        let items = found
            .completions
            .into_iter()
            .filter(|item| !is_ours(&item.code))
            .take(MAX_ITEMS)
            .map(|item| {
                let (text, signature) = name_and_signature(&item.code, &item.label);
                Completion { text, kind: item.kind.to_owned(), signature }
            })
            .filter(|item| seen.insert(item.text.clone()))
            .collect();
        Completions {
            start: char_offset(code, found.start_offset),
            end: char_offset(code, found.end_offset),
            items,
        }
    }

    pub(crate) fn inspect(&mut self, code: &str, cursor: usize) -> Option<MimeBundle> {
        let rust = rust_only(code);
        let at = byte_offset(code, cursor);
        if in_text(&rust, at) {
            return None;
        }
        let (start, end) = word_at(&rust, at)?;
        let word = rust.get(start..end)?.to_owned();
        let variable = self.variable_type(&rust, start, &word);
        let documentation = self.documentation(&rust, start, end);
        match (variable, documentation) {
            (Some(kind), Some((text, html))) if !text.contains(&kind) => {
                let head = escape_html(&format!("{word}: {kind}"));
                Some(docs::bundle(&format!("<pre><code class=\"language-rust\">{head}</code></pre>\n{html}")))
            }
            (_, Some((_, html))) => Some(docs::bundle(&html)),
            (Some(kind), None) => Some(documented(&format!("{word}: {kind}"), "")),
            (None, None) => None,
        }
    }

    /// Whether a directive's own name is typed at `at`; those are known without the analysis.
    fn is_directive(&self, rust: &str, at: usize) -> bool {
        let line = rust.get(..at).and_then(|before| before.rsplit('\n').next()).unwrap_or("").trim_start();
        line.starts_with(':') && !line.starts_with("::")
    }

    /// The type of a variable of the session, unless the name is a field or method of something.
    fn variable_type(&mut self, rust: &str, start: usize, word: &str) -> Option<String> {
        let before = rust.get(..start)?.trim_end();
        if before.ends_with('.') || before.ends_with("::") {
            return None;
        }
        let context = self.context();
        context.variables_and_types().find(|(name, _)| *name == word).map(|(_, kind)| kind.to_owned())
    }

    /// Plain text and HTML on the name at `start..end`: first where it stands, then, where the
    /// code around it is not complete, on its path alone.
    fn documentation(&mut self, rust: &str, start: usize, end: usize) -> Option<(String, String)> {
        // A method is recognised as such only with its bracket.
        let end = if rust.get(end..)?.starts_with('(') { end + 1 } else { end };
        let whole = rust.get(..end)?;
        let path = rust.get(path_start(rust, start)..end)?;
        let tries = if whole == path { vec![whole] } else { vec![whole, path] };
        tries.into_iter().find_map(|text| {
            let (plain, html) = self.context().hover_at(text, text.len()).ok()?;
            let known = !plain.trim().is_empty() && plain.trim() != NOTHING && !is_ours(&plain);
            known.then_some((plain, html))
        })
    }
}

/// A signature and Markdown about it.
pub(crate) fn documented(signature: &str, docs: &str) -> MimeBundle {
    let between = if docs.is_empty() { "" } else { "\n\n" };
    let html = if docs.is_empty() { String::new() } else { format!("<p>{}</p>", escape_html(docs)) };
    MimeBundle::text(format!("{signature}{between}{docs}"))
        .with("text/html", format!("<pre>{}</pre>{html}", escape_html(signature)))
        .with("text/markdown", format!("```rust\n{signature}\n```{between}{docs}"))
}

/// What to insert, and what to show beside it. The analysis offers calls with the names of the
/// parameters for arguments, which would have to be deleted again.
fn name_and_signature(code: &str, label: &str) -> (String, String) {
    let name = code.split('(').next().unwrap_or(code);
    if code.ends_with(')')
        && name.chars().all(|c| is_word(c) || matches!(c, '!' | ':' | '#'))
        && !name.is_empty()
    {
        (name.to_owned(), code.to_owned())
    } else {
        (code.to_owned(), if label == code { String::new() } else { label.to_owned() })
    }
}

fn is_ours(text: &str) -> bool {
    text.contains("evcxr") || text.contains("DdsShow")
}

pub(crate) fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The name that touches byte `at`, or, right behind an opening bracket, the one before it.
pub(crate) fn word_at(text: &str, at: usize) -> Option<(usize, usize)> {
    let before = text.get(..at)?;
    let at = if !before.ends_with(is_word)
        && before.ends_with(['(', '!'])
        && !text.get(at..)?.starts_with(is_word)
    {
        before.trim_end_matches(['(', '!']).len()
    } else {
        at
    };
    let start = text.get(..at)?.trim_end_matches(is_word).len();
    let rest = text.get(at..)?;
    let end = at + (rest.len() - rest.trim_start_matches(is_word).len());
    (start < end).then_some((start, end))
}

/// Where the path or chain of fields begins of which the name at `start` is the last part.
pub(crate) fn path_start(text: &str, start: usize) -> usize {
    let head = text.get(..start).unwrap_or("");
    head.trim_end_matches(|c| is_word(c) || c == '.' || c == ':').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_offered_by_name() {
        let pair = |code, label| name_and_signature(code, label);
        assert_eq!(pair("push(value)", "push(…)"), ("push".into(), "push(value)".into()));
        assert_eq!(pair("println!($0)", "println!(…)"), ("println!".into(), "println!($0)".into()));
        assert_eq!(pair("collections::", "collections"), ("collections::".into(), "collections".into()));
        assert_eq!(pair("Vec", "Vec"), ("Vec".into(), String::new()));
    }

    #[test]
    fn names_under_the_cursor() {
        let word = |text: &str, at| word_at(text, at).map(|(start, end)| text[start..end].to_owned());
        assert_eq!(word("v.push(1)", 4), Some("push".into()));
        assert_eq!(word("v.push(", 7), Some("push".into()));
        assert_eq!(word("v.push(", 6), Some("push".into()));
        assert_eq!(word("é", 0), Some("é".into()));
        assert_eq!(word("println!(", 9), Some("println".into()));
        assert_eq!(word("a + b", 2), None);
        assert_eq!(word("f(x)", 2), Some("x".into()));
        assert_eq!(word("", 0), None);
        let text = "let x = std::mem::swap";
        assert_eq!(&text[path_start(text, 18)..], "std::mem::swap");
    }
}
