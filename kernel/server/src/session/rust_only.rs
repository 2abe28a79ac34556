//! A mixed cell as the Rust evaluator should see it.

use dds_core::lex::{Role, boundaries};

/// `code` with every command and shell line blanked, character by character, so that positions in
/// characters stay what they are.
pub(super) fn rust_only(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut at = 0;
    for line in boundaries(code) {
        out.push_str(code.get(at..line.start).unwrap_or_default());
        let text = code.get(line.start..line.end).unwrap_or_default();
        match line.role {
            Role::Magic | Role::Shell | Role::Body => out.extend(text.chars().map(|_| ' ')),
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
            ("", ""),
        ] {
            assert_eq!(rust_only(code), expected);
            assert_eq!(rust_only(code).chars().count(), code.chars().count());
        }
    }
}
