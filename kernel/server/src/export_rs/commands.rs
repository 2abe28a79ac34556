//! `%dds` commands as comments: as they were written, and as a shell would be told the same.

use dds_cmd::{CellCommand, Command, body, grammar, words};
use dds_core::secret::looks_secret;

/// A `%dds` line, without its `%dds`.
pub(super) fn line(text: &str) -> String {
    let written = format!("%dds {text}");
    let shell = without_expressions(text).and_then(|w| shell(&w));
    described(&written, shell)
}

/// A `%%dds` cell.
pub(super) fn cell(head: &str, text: &str) -> String {
    let written = format!("%%dds {head}\n{}", text.trim_end());
    let shell =
        without_expressions(head).and_then(|w| body::as_words(&w, text, 2).ok()).and_then(|w| shell(&w));
    described(&written, shell)
}

/// Where a `%dds cd` goes.
pub(super) fn folder(text: &str) -> Option<String> {
    let words = without_expressions(text)?;
    match grammar::cell(&words).ok()?.command? {
        CellCommand::Cd(r) => Some(r.dir),
        _ => None,
    }
}

fn described(written: &str, shell: Option<String>) -> String {
    match shell {
        // What sets a secret is not written into a file of sources.
        Some(shell) if shell == SECRET => {
            "%dds … (it holds a credential, which stays in the notebook)".into()
        }
        Some(shell) => format!("{written}\nin a shell: {shell}"),
        None => format!("{written}\n(a shell has no such command)"),
    }
}

/// What [`shell`] gives for a command that sets a credential.
const SECRET: &str = "\0";

/// The words of a command; none when they hold Rust.
fn without_expressions(text: &str) -> Option<Vec<String>> {
    let parts = words::split(text).ok()?;
    if words::has_expressions(&parts) {
        return None;
    }
    words::resolve(parts, &mut |_| Ok::<_, dds_core::Error>(String::new())).ok()
}

/// The line for a shell; none when it has no such command.
fn shell(words: &[String]) -> Option<String> {
    let parsed = grammar::cell(words);
    match parsed.ok().and_then(|l| l.command) {
        Some(CellCommand::App(_) | CellCommand::Time(_)) => return None,
        Some(CellCommand::Cd(r)) => return Some(format!("cd {}", quoted(&r.dir))),
        Some(CellCommand::Env(r)) => {
            let name = |v: &String| v.split('=').next().unwrap_or_default().to_owned();
            if r.vars.iter().any(|v| looks_secret(&name(v))) {
                return Some(SECRET.into());
            }
            let set = r.vars.iter().filter(|v| v.contains('=')).map(|v| format!("export {}", quoted(v)));
            let unset = r.unset.iter().map(|v| format!("unset {}", quoted(v)));
            return Some(set.chain(unset).collect::<Vec<_>>().join("; ")).filter(|l| !l.is_empty());
        }
        Some(CellCommand::Common(command)) if token(&command).is_some() => return Some(SECRET.into()),
        _ => {}
    }
    let quoted: Vec<String> = words.iter().map(|w| quoted(w)).collect();
    Some(format!("dds {}", quoted.join(" ")))
}

/// The access token that a command was given.
fn token(command: &Command) -> Option<&String> {
    match command {
        Command::Mount(r) => r.token.as_ref(),
        Command::Upload(r) => r.token.as_ref(),
        Command::Commit(r) => r.token.as_ref(),
        Command::Clone(r) => r.token.as_ref(),
        _ => None,
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c) || !c.is_ascii();
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_as_a_shell_would_be_told() {
        for (told, expected) in [
            (line("ls 'a b' --long"), "%dds ls 'a b' --long\nin a shell: dds ls 'a b' --long"),
            (line("show {x}"), "%dds show {x}\n(a shell has no such command)"),
            (line("env A=1 --unset B"), "%dds env A=1 --unset B\nin a shell: export A=1; unset B"),
            (
                cell("data --name two", "path = \"it's\"\n"),
                "%%dds data --name two\npath = \"it's\"\nin a shell: dds data '--path=it'\\''s' --name=two",
            ),
            (cell("app", "run = [\"ls\"]"), "%%dds app\nrun = [\"ls\"]\n(a shell has no such command)"),
        ] {
            assert_eq!(told, expected);
        }
        assert!(!line("env MY_TOKEN=hunter22").contains("hunter22"));
        assert_eq!((folder("cd 'a b'"), folder("ls a")), (Some("a b".into()), None));
    }
}
