//! Shift-Tab in a command: its help; on a flag or key, that one first.

use crate::argument;
use crate::complete::{Place, byte_of, place};
use crate::grammar::Door;
use crate::{body, help, usage, words};
use dds_core::MimeBundle;

/// Help for what stands at `cursor` (in characters); none when the cursor is not in a command.
pub fn inspect(code: &str, cursor: usize) -> Option<MimeBundle> {
    let cursor = byte_of(code, cursor);
    // The whole word under the cursor counts, not only what stands before it.
    let rest = code.get(cursor..)?;
    let end = cursor + rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
    let tree = Door::Cell.tree();
    let (head, asked) = match place(code, end)? {
        Place::Shell { .. } => return None,
        Place::Line { text, .. } => {
            let flat = text.replace("\\\n", "  ");
            let all: Vec<String> = words::typed(&flat).into_iter().skip(1).map(|w| w.text).collect();
            let asked = all.last().cloned().unwrap_or_default();
            (all, asked)
        }
        Place::Body { head, text, .. } => {
            let head = words::typed(head).into_iter().skip(1).map(|w| w.text).collect();
            (head, text.split('=').next().unwrap_or_default().trim().to_owned())
        }
    };
    let Some(command) = usage::command_of(&tree, &head).or_else(|| match head.first().map(String::as_str) {
        Some("help") => tree.find_subcommand(&asked),
        _ => None,
    }) else {
        let all = help::help(Door::Cell, None).ok()?;
        return Some(MimeBundle::text(all.text()));
    };
    let arg = argument::visible(command).find(|a| {
        let flag = argument::flag(a);
        let short = a.get_short().map(|s| format!("-{s}"));
        let word = asked.split('=').next().unwrap_or_default();
        flag == word || short.as_deref() == Some(word)
    });
    let arg = arg.or_else(|| body::argument_of(command, &asked));
    let (name, about) = (command.get_name(), help::about(command));
    let text = help::body(Door::Cell, command);
    let mut plain = String::new();
    let mut markdown = String::new();
    if let Some(arg) = arg {
        let (head, about) = help::paragraph(arg);
        plain.push_str(&format!("{head}\n    {about}\n\n"));
        markdown.push_str(&format!("**`{head}`** {}\n\n", escaped(&about)));
    }
    plain.push_str(&format!("{name}: {about}\n\n{text}"));
    markdown.push_str(&format!("**{name}**: {}\n\n```text\n{text}\n```", escaped(&about)));
    Some(MimeBundle::text(plain).with("text/markdown", markdown))
}

/// Our own one-line texts hold `[`, `*` and `<`; nothing else of Markdown's.
fn escaped(text: &str) -> String {
    text.replace('*', "\\*").replace('<', "\\<").replace('[', "\\[").replace('_', "\\_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_of_what_is_under_the_cursor() {
        for (code, cursor, start) in [
            ("%dds show a.jpg", 7, "show: Show images inline"),
            ("%dds sh", 3, "dds "),
            (
                "%dds show a --size 3",
                15,
                "--size N\n    Longest side of each image, in pixels [default: 224]",
            ),
            ("%dds show a -n 3", 13, "-n, --max N\n"),
            ("%%dds data\nresize = \"pad\"", 13, "--resize squash|crop|pad\n    How images become square"),
            ("let é = 1;\n%dds mounts", 18, "mounts: List what is mounted"),
            ("%dds help show", 12, "help: Show all commands"),
        ] {
            let found = inspect(code, cursor).unwrap();
            assert!(found.plain().starts_with(start), "{code}: {}", found.plain());
        }
        for (code, cursor) in [("let a = 1;", 4), ("!ls", 1), ("let s = \"\n%dds show\n\";", 14)] {
            assert!(inspect(code, cursor).is_none(), "{code}");
        }
    }

    #[test]
    fn markdown_stands_beside_the_text() {
        let bundle = inspect("%dds upload a --to", 18).unwrap();
        let markdown = bundle.data.get("text/markdown").unwrap().as_str().unwrap();
        assert!(
            markdown.starts_with("**`--to FOLDER`** Where to: a folder inside a mount, or URL\\[@BRANCH]"),
            "{markdown}"
        );
    }
}
