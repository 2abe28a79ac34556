//! A cell's text before it goes to evcxr: its parts, its directives, its offsets.
//!
//! evcxr takes directives (`:dep`, `:vars`, …) only before the first line of Rust, resolves paths
//! against the kernel's own folder, and would end the kernel at `:quit`.

use dds_core::lex::{Role, boundaries};
use dds_core::{Error, Result};
use std::path::Path;

/// A stretch of a cell that evcxr takes in one go. Lines before it are blank, so that line numbers
/// are those of the whole cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub text: String,
    /// Begins with directives.
    pub directives: bool,
    /// Wants a new child first.
    pub restart: bool,
    /// The linker that it asks for.
    pub linker: Option<String>,
    /// Whether checkpoints are to be taken from now on.
    pub checkpoints: Option<bool>,
}

/// Cuts before every directive that follows Rust, and prepares the directives.
pub(crate) fn parts(code: &str, cwd: &Path) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    let mut current: Option<(Part, bool)> = None;
    for (number, line) in boundaries(code).iter().enumerate() {
        let text = code.get(line.start..line.end).unwrap_or("");
        let directive = line.role == Role::Directive;
        let blank =
            line.role == Role::Rust && (text.trim().is_empty() || text.trim_start().starts_with("//"));
        if directive && current.as_ref().is_some_and(|(_, has_rust)| *has_rust) {
            parts.extend(current.take().map(|(part, _)| part));
        }
        let (part, has_rust) =
            current.get_or_insert_with(|| (Part { text: "\n".repeat(number), ..Part::default() }, false));
        if directive && text.trim() == ":restart" {
            // evcxr's own forgets that the variables are gone.
            part.restart = true;
        } else if let Some(linker) = text.trim().strip_prefix(":linker ") {
            // evcxr's linker is the way by which we stand between it and cargo.
            part.directives = true;
            part.linker = Some(linker.trim().to_owned());
        } else if directive && text.split_whitespace().next() == Some(":checkpoint") {
            part.checkpoints = Some(on_or_off(text)?);
        } else if directive {
            part.directives = true;
            part.text.push_str(&self::directive(text, cwd)?);
        } else {
            *has_rust |= !blank;
            part.text.push_str(text);
        }
        part.text.push('\n');
    }
    parts.extend(current.map(|(part, _)| part).filter(|part| {
        let asks = part.restart || part.linker.is_some() || part.checkpoints.is_some();
        asks || !part.text.trim().is_empty()
    }));
    Ok(parts)
}

fn on_or_off(line: &str) -> Result<bool> {
    match line.split_whitespace().nth(1) {
        Some("on") => Ok(true),
        Some("off") => Ok(false),
        _ => {
            let error = Error::usage("`:checkpoint` is turned on or off");
            Err(error.hint("`:checkpoint off` saves memory; an interrupt then loses the variables."))
        }
    }
}

/// A directive as evcxr should get it.
fn directive(line: &str, cwd: &Path) -> Result<String> {
    let (name, arguments) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    crate::directives::check(name)?;
    match name {
        ":dep" => Ok(format!(":dep {}", absolute_paths(arguments.trim(), cwd))),
        _ => Ok(line.trim().to_owned()),
    }
}

/// `./crate` and `{ path = "crate" }` made absolute against the session's folder.
fn absolute_paths(arguments: &str, cwd: &Path) -> String {
    if arguments.starts_with('.') {
        return cwd.join(arguments).to_string_lossy().into_owned();
    }
    let Some(at) = arguments.find("path") else { return arguments.to_owned() };
    let (head, tail) = arguments.split_at(at);
    let Some(open) = tail.find('"') else { return arguments.to_owned() };
    let between = tail.get("path".len()..open).unwrap_or("");
    let (before, rest) = tail.split_at(open + 1);
    let Some(close) = rest.find('"') else { return arguments.to_owned() };
    if between.trim() != "=" {
        return arguments.to_owned();
    }
    let (path, rest) = rest.split_at(close);
    format!("{head}{before}{}{rest}", cwd.join(path).to_string_lossy())
}

/// A part whose value shows itself by the method of that name. As a statement of the user's, and not
/// as code that evcxr makes of it, it is compiled once, and errors in it are told in full. What is
/// added stands before the expression and on a line below it, so that lines keep their numbers.
pub(crate) fn showing_its_value(part: &str, method: &str) -> Option<String> {
    let range = crate::parse::final_expression(part)?;
    let (before, rest) = part.split_at_checked(range.start)?;
    let (expression, after) = rest.split_at_checked(range.len())?;
    Some(format!("{before}({expression}\n).{method}();\n{after}"))
}

/// The level that an `:opt` line asks for, if the part has one.
pub(crate) fn opt_level(part: &str) -> Option<&str> {
    part.lines()
        .filter_map(|line| line.trim().strip_prefix(":opt"))
        .filter_map(|rest| {
            let level = rest.strip_prefix(' ')?.trim();
            (!level.is_empty()).then_some(level)
        })
        .next_back()
}

/// Whether a part has a directive that changes how values are printed.
pub(crate) fn changes_format(part: &str) -> bool {
    part.lines().any(|line| {
        let name = line.split_whitespace().next().unwrap_or("");
        matches!(name, ":fmt" | ":types")
    })
}

/// Whether a part forgets everything.
pub(crate) fn clears(part: &str) -> bool {
    part.lines().any(|line| line.trim() == ":clear")
}

/// Names of the variables that `:build_env` lines set.
pub(crate) fn build_env(part: &str) -> impl Iterator<Item = &str> {
    part.lines()
        .filter_map(|line| line.trim().strip_prefix(":build_env ")?.split_once('='))
        .map(|(name, _)| name.trim())
}

/// The `:dep` lines of a part, and the part without them. None where there are other directives:
/// they may say how the crates are to be built, or forget them.
pub(crate) fn apart(part: &str) -> Option<(String, String)> {
    let (mut dependencies, mut rest) = (String::new(), String::new());
    for line in boundaries(part) {
        let text = part.get(line.start..line.end).unwrap_or("");
        if line.role != Role::Directive {
            rest.push_str(text);
        } else if text.trim_start().starts_with(":dep ") {
            dependencies.push_str(text);
            dependencies.push('\n');
        } else {
            return None;
        }
        rest.push('\n');
    }
    Some((dependencies, rest))
}

/// Whether a part brings in a crate of that name.
pub(crate) fn adds_crate(part: &str, name: &str) -> bool {
    boundaries(part).iter().filter(|line| line.role == Role::Directive).any(|line| {
        let line = part.get(line.start..line.end).unwrap_or("");
        let added = line.trim_start().strip_prefix(":dep ").map(str::trim_start);
        added.and_then(|added| added.strip_prefix(name)).is_some_and(|rest| !rest.starts_with(is_name))
    })
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

/// The code with everything that is not Rust blanked out, byte for byte.
pub(crate) fn rust_only(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    for line in boundaries(code) {
        if matches!(line.role, Role::Magic | Role::Shell | Role::Body)
            && let Some(bytes) = out.get_mut(line.start..line.end)
        {
            bytes.fill(b' ');
        }
    }
    String::from_utf8(out).unwrap_or_default()
}

/// Byte offset of the `chars`-th character; the end where there are fewer.
pub(crate) fn byte_offset(text: &str, chars: usize) -> usize {
    text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at)
}

/// Number of characters before byte `offset`; an offset inside a character counts as its start.
pub(crate) fn char_offset(text: &str, offset: usize) -> usize {
    text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= offset).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_may_stand_anywhere() {
        let part = |text: &str, directives| Part { text: text.to_owned(), directives, ..Part::default() };
        let cut = |code| parts(code, Path::new("/w")).unwrap();
        assert_eq!(cut("1 + 1"), [part("1 + 1\n", false)]);
        assert_eq!(
            cut(":vars\n\n// note\n:opt 1\nlet a = 1;"),
            [part(":vars\n\n// note\n:opt 1\nlet a = 1;\n", true)]
        );
        assert_eq!(
            cut("let a = \"\n:vars\";\n:vars\na"),
            [part("let a = \"\n:vars\";\n", false), part("\n\n:vars\na\n", true)]
        );
        assert_eq!(cut(""), []);
        assert_eq!(
            cut("a\n:restart"),
            [part("a\n", false), Part { text: "\n\n".into(), restart: true, ..Part::default() }]
        );
        assert!(parts(":quit", Path::new("/w")).is_err() && parts(":vras", Path::new("/w")).is_err());
    }

    #[test]
    fn paths_of_crates_are_those_of_the_session() {
        for (arguments, expected) in [
            ("./mine", "/w/./mine"),
            ("regex = \"1\"", "regex = \"1\""),
            ("mine = { path = \"a/b\" }", "mine = { path = \"/w/a/b\" }"),
            ("mine = { path=\"/abs\", features = [\"x\"] }", "mine = { path=\"/abs\", features = [\"x\"] }"),
            ("path-absolutize = \"3\"", "path-absolutize = \"3\""),
        ] {
            assert_eq!(absolute_paths(arguments, Path::new("/w")), expected);
        }
    }

    #[test]
    fn offsets_count_characters() {
        let text = "é = 🦀x";
        assert_eq!(byte_offset(text, 0), 0);
        assert_eq!(byte_offset(text, 5), 9);
        assert_eq!(byte_offset(text, 99), text.len());
        for chars in 0..=6 {
            assert_eq!(char_offset(text, byte_offset(text, chars)), chars);
        }
        assert_eq!(char_offset(text, 1), 0);
    }

    #[test]
    fn values_show_themselves() {
        let shown = |part| showing_its_value(part, "show");
        assert_eq!(shown(":t x\n\na;\n  b // c\n").unwrap(), ":t x\n\na;\n  (b\n).show();\n // c\n");
        assert_eq!(shown("a;\n"), None);
    }

    #[test]
    fn directives_are_read() {
        assert!(changes_format(":fmt {}\n1") && !changes_format("1"));
        assert!(clears(":clear\n1") && !clears("clear"));
        assert_eq!(opt_level(":opt 2\nlet a = 1;"), Some("2"));
        assert_eq!(opt_level("let a = 1;"), None);
    }

    #[test]
    fn checkpoints_are_a_directive() {
        let cut = |code| parts(code, Path::new("/w"));
        let found = cut(":checkpoint off").unwrap();
        assert_eq!((found.len(), found[0].checkpoints, found[0].text.trim()), (1, Some(false), ""));
        assert_eq!(cut("1\n:checkpoint on").unwrap()[1].checkpoints, Some(true));
        assert!(cut(":checkpoint maybe").is_err());
    }

    #[test]
    fn crates_are_taken_apart_from_the_rest() {
        let (dependencies, rest) = apart("\n:dep a = \"1\"\nlet x = \"\n:dep b\";\n").unwrap();
        assert_eq!(dependencies, ":dep a = \"1\"\n");
        assert_eq!(rest.trim_end(), "\n\nlet x = \"\n:dep b\";");
        // What the other lines say holds for the crate as well, or ends it.
        assert_eq!(apart(":clear\n:dep a\n1"), None);
    }

    #[test]
    fn crates_are_known_by_name() {
        assert!(adds_crate(":vars\n:dep dds = \"1\"", "dds") && adds_crate(":dep dds", "dds"));
        assert!(!adds_crate(":dep dds-x = \"1\"\n// :dep dds\nlet dds = 1;", "dds"));
        assert!(!adds_crate("let text = \"\n:dep dds\n\";", "dds"));
    }

    #[test]
    fn commands_are_blank_for_the_compiler() {
        let code = "let a = 1;\n%dds show é\na.";
        assert_eq!(rust_only(code), "let a = 1;\n            \na.");
        assert_eq!(rust_only(code).len(), code.len());
    }
}
