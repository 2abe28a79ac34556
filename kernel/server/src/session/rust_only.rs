//! A mixed cell as the Rust evaluator should see it.

use dds_cmd::raw;
use dds_core::lex::{Role, boundaries};

/// `code` with every command and shell line blanked, character by character, so that positions in
/// characters stay what they are. What `time` measures is Rust, and stays.
pub(super) fn rust_only(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut at = 0;
    let mut timed = false;
    for line in boundaries(code) {
        out.push_str(code.get(at..line.start).unwrap_or_default());
        let text = code.get(line.start..line.end).unwrap_or_default();
        match line.role {
            Role::Magic => {
                let rust = raw::rust_of_line(text);
                timed = rust.is_some();
                let (command, rest) = text.split_at_checked(rust.unwrap_or(text.len())).unwrap_or((text, ""));
                out.extend(command.chars().map(|_| ' '));
                out.push_str(rest);
            }
            Role::Body if timed => out.push_str(text),
            Role::Shell | Role::Body => out.extend(text.chars().map(|_| ' ')),
            Role::Rust | Role::Inside | Role::Directive => out.push_str(text),
        }
        at = line.end;
    }
    out.push_str(code.get(at..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_become_blanks_of_the_same_length() {
        for (code, expected) in [
            ("let a = 1;\n%dds ü\na", "let a = 1;\n      \na"),
            ("!é\r\nb\n", "  \r\nb\n"),
            ("a\n%%dds data\nx = 1", "a\n          \n     "),
            ("%%dds time\nv.le", "          \nv.le"),
            ("%dds time v.le\n%dds ls", "          v.le\n       "),
            ("", ""),
        ] {
            assert_eq!(rust_only(code), expected);
            assert_eq!(rust_only(code).chars().count(), code.chars().count());
        }
    }
}
