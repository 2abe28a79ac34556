//! What visitors need not know: where the server keeps its files, and what an author would type.

use dds_core::form::Answer;
use dds_core::{Error, MimeBundle};
use serde_json::Value;
use std::borrow::Cow;
use std::path::Path;

/// Stands for the notebook's folder where nothing below it is named.
const FOLDER: &str = "the notebook’s folder";
/// Programs that a hint may begin with; its text is then typed as it is.
const PROGRAMS: [&str; 7] = ["cargo", "curl", "docker", "git", "jupyter", "pip", "sudo"];

/// Folders of the server whose paths are not shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    folder: String,
    scratch: Vec<String>,
}

impl Places {
    /// `folder` holds the notebook, `scratch` the uploads of visitors.
    pub(crate) fn new(folder: &Path, scratch: &Path) -> Self {
        let text = |p: &Path| p.to_string_lossy().trim_end_matches('/').to_owned();
        let mut all = vec![text(scratch)];
        all.extend(scratch.canonicalize().ok().map(|p| text(&p)));
        all.dedup();
        all.retain(|s| !s.is_empty());
        Self { folder: text(folder), scratch: all }
    }

    /// `text` with paths below the notebook's folder as seen from it, and uploads by their names.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut out = Cow::Borrowed(text);
        for place in &self.scratch {
            out = replaced(&out, place, true).into();
        }
        if !self.folder.is_empty() {
            out = replaced(&out, &self.folder, false).into();
        }
        out.into_owned()
    }

    pub(crate) fn hide_in_error(&self, mut e: Error) -> Error {
        e.message = self.hide(&e.message);
        e.hint = e.hint.map(|h| self.hide(&h));
        e
    }

    pub(crate) fn hide_in_answer(&self, mut a: Answer) -> Answer {
        for bundle in &mut a.bundles {
            self.hide_in_bundle(bundle);
        }
        if let Some(p) = &mut a.error {
            p.message = self.hide(&p.message);
            p.hint = p.hint.take().map(|h| self.hide(&h));
        }
        a
    }

    fn hide_in_bundle(&self, bundle: &mut MimeBundle) {
        for (mime, value) in &mut bundle.data {
            if let (true, Value::String(s)) = (mime.starts_with("text/"), value) {
                *s = self.hide(s);
            }
        }
    }
}

/// Takes `place` off the paths that begin with it; `name_only` leaves their last component.
fn replaced(text: &str, place: &str, name_only: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(place) {
        out.push_str(before);
        rest = after;
        // `/srv/x` is not part of `/mnt/srv/x` or of `</srv/x>`, nor of `/srv/xy`.
        let inside = out.ends_with(|c: char| in_name(c) || c == '/' || c == '<') && !out.ends_with("//");
        let full_stop = rest.strip_prefix('.').is_some_and(|r| !r.starts_with(in_name));
        if inside || (rest.starts_with(in_name) && !full_stop) {
            out.push_str(place);
        } else if let Some(below) = rest.strip_prefix('/') {
            let end = below.find(|c: char| !in_name(c) && c != '/').unwrap_or(below.len());
            let (path, _) = below.split_at_checked(end).unwrap_or((below, ""));
            let skipped = if name_only { path.rfind('/').map_or(0, |at| at + 1) } else { 0 };
            rest = below.get(skipped..).unwrap_or_default();
        } else {
            out.push_str(FOLDER);
        }
    }
    out.push_str(rest);
    out
}

fn in_name(c: char) -> bool {
    c.is_alphanumeric() || "_-.".contains(c)
}

/// Whether a hint names a command or a flag of ours.
pub(super) fn for_authors(hint: &str) -> bool {
    hint.split(|c: char| c.is_whitespace() || "`'\"()[],;:“”".contains(c)).any(|word| {
        let flag = word.strip_prefix("--").is_some_and(|f| f.starts_with(|c: char| c.is_ascii_alphabetic()));
        flag || word.trim_start_matches('%') == "dds"
    })
}

/// Whether changing a letter of the hint may change what is typed.
pub(super) fn quotes_a_command(hint: &str) -> bool {
    hint.contains('`') || hint.split_whitespace().next().is_some_and(|w| PROGRAMS.contains(&w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::problem_html;

    #[test]
    fn paths_of_the_server_are_not_shown() {
        let places = Places::new(Path::new("/srv/nb"), Path::new("/run/dds/app-1"));
        for (text, expected) in [
            ("/srv/nb/a/b.jpg: not an image", "a/b.jpg: not an image"),
            ("no file \"/srv/nb/é.jpg\"", "no file \"é.jpg\""),
            ("/run/dds/app-1/k7/uploads/u1.jpg: not an image", "u1.jpg: not an image"),
            ("cannot read /srv/nb: denied", "cannot read the notebook’s folder: denied"),
            ("it is not in /srv/nb.", "it is not in the notebook’s folder."),
            ("/srv/nbx/a and /mnt/srv/nb/a", "/srv/nbx/a and /mnt/srv/nb/a"),
            ("plain", "plain"),
        ] {
            assert_eq!(places.hide(text), expected);
        }
        let root = Places::new(Path::new("/"), Path::new("/run/dds/app-1"));
        assert_eq!(root.hide("</p> /etc/x"), "</p> /etc/x");
        let mut answer = Answer { bundles: vec![MimeBundle::text("/srv/nb/a.jpg")], error: None };
        answer = places.hide_in_answer(answer);
        assert_eq!(answer.bundles.first().map(MimeBundle::plain), Some("a.jpg"));
    }

    #[test]
    fn visitors_get_the_hints_that_are_for_them_as_they_are_typed() {
        for hint in
            ["type `%dds ls`", "`dds app n.ipynb`", "give --model", "usage: %%dds app", "use (`--top=3`)"]
        {
            assert!(!problem_html("t", "m", Some(hint), "").contains("problem-hint"), "{hint}");
        }
        for (hint, shown) in [
            ("reload the page", "Reload the page."),
            ("write `cat`", "write `cat`"),
            ("git status", "git status"),
            ("a well-known name - or none", "A well-known name - or none."),
            ("turn\u{202e}ed", "turn\\u{202e}ed."),
        ] {
            let html = problem_html("t", "a\u{2066}b", Some(hint), "");
            assert!(html.contains(&format!("<p class=\"problem-hint\">{shown}</p>")), "{html}");
            assert!(html.contains("a\\u{2066}b"), "{html}");
        }
    }
}
