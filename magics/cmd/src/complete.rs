//! Tab in a command: the command's name, its flags, the values of a flag, paths on disk and names
//! of the session; in a `%%dds` body its keys and their values.
//!
//! All offsets that leave this module are in characters.

use crate::argument::{self, Takes};
use crate::grammar::Door;
use crate::{body, help, raw, words};
use clap::{Arg, Command};
use dds_core::eval::{Completion, Completions};
use dds_core::lex::{Role, boundaries};

/// What lies around the session; answered quickly, without network.
pub trait Surroundings {
    /// Paths that begin with `partial`, written as the user would go on writing them; folders end
    /// in `/`.
    fn paths(&self, partial: &str) -> Vec<String>;
    /// Names of data sets and models.
    fn names(&self) -> Vec<String>;
    /// Programs of this machine that begin with `partial`.
    fn programs(&self, partial: &str) -> Vec<String>;
}

/// Most items of one answer.
pub const MAX_ITEMS: usize = 500;

/// Arguments (clap's ids) whose value is a path.
const PATHS: &[&str] =
    &["dir", "in_dir", "target", "targets", "files", "path", "to", "notebook", "out", "url"];
/// Arguments whose value is the name of a data set or model.
const NAMES: &[&str] = &["data", "model"];

/// A command under the cursor.
pub(crate) enum Place<'a> {
    /// In the line itself: its text up to the cursor, `%dds` included, and where it begins in bytes.
    Line { text: &'a str, start: usize },
    /// In a body: the command's words, and the text of the body's line up to the cursor.
    Body { head: &'a str, text: &'a str, start: usize },
    /// In a shell line: its text behind the `!`, up to the cursor.
    Shell { text: &'a str, start: usize },
}

/// Completions at `cursor`, in characters; none when the cursor is in Rust.
pub fn complete(code: &str, cursor: usize, around: &dyn Surroundings) -> Option<Completions> {
    let cursor = byte_of(code, cursor);
    let items = match place(code, cursor)? {
        Place::Line { text, start } => in_line(text, start, around),
        Place::Body { head, text, start } => in_body(head, text, start, around),
        Place::Shell { text, start } => Some(in_shell(text, start, around)),
    };
    let (start, mut items) = items.unwrap_or((cursor, Vec::new()));
    items.truncate(MAX_ITEMS);
    let chars = |byte: usize| code.get(..byte).unwrap_or(code).chars().count();
    Some(Completions { start: chars(start), end: chars(cursor), items })
}

/// Where in a command the byte `cursor` is; none in Rust, also in the Rust that `time` measures.
pub(crate) fn place(code: &str, cursor: usize) -> Option<Place<'_>> {
    let lines = boundaries(code);
    let at = lines.iter().rposition(|l| l.start <= cursor)?;
    let line = lines.get(at)?;
    let mut head = at;
    while lines.get(head)?.role == Role::Body {
        head = head.checked_sub(1)?;
    }
    let first = lines.get(head)?;
    let first_text = code.get(first.start..first.end)?;
    let magic = first_text.trim_start();
    if first.role == Role::Shell {
        let start = first.start + (first_text.len() - magic.len()) + 1;
        let text = (cursor <= line.end).then(|| code.get(start..cursor)).flatten()?;
        return Some(Place::Shell { text, start });
    }
    if first.role != Role::Magic {
        // A lone `%`, `%d` … before it is a word that the lexer knows.
        let typed = code.get(first.start..cursor)?;
        let begun =
            head == at && first.boundary() && !typed.trim().is_empty() && "%%dds".starts_with(typed.trim());
        return (begun && typed.trim().starts_with('%'))
            .then_some(Place::Line { text: typed, start: first.start });
    }
    let below = cursor > line.end;
    if raw::rust_of_line(first_text).is_some_and(|at| cursor > first.end || cursor >= first.start + at.max(1))
    {
        return None;
    }
    if magic.starts_with("%%") && (head != at || below) {
        let start = if below { cursor } else { line.start };
        return Some(Place::Body { head: first_text, text: code.get(start..cursor)?, start });
    }
    if below {
        return None;
    }
    Some(Place::Line { text: code.get(first.start..cursor)?, start: first.start })
}

type Found = (usize, Vec<Completion>);

fn in_line(text: &str, start: usize, around: &dyn Surroundings) -> Option<Found> {
    // Continuation lines: the backslash and the line end are blanks.
    let flat = text.replace("\\\r\n", "   ").replace("\\\n", "  ");
    let mut typed = words::typed(&flat);
    let last = typed.pop()?;
    if last.in_expr {
        return None;
    }
    if typed.is_empty() {
        let magics = ["%dds", "%%dds"].iter().filter(|m| m.starts_with(&last.text));
        return Some((start + last.start, magics.map(|m| item(m, "function", "a command")).collect()));
    }
    let tree = Door::Cell.tree();
    let before: Vec<String> = typed.into_iter().skip(1).map(|w| w.text).collect();
    let (at, candidates) = candidates(&tree, &before, &last.text, around);
    let at_start = at == 0;
    let kept = if at_start { String::new() } else { last.text.get(..at).unwrap_or_default().to_owned() };
    let items = candidates
        .into_iter()
        .map(|c| Completion { text: words::quoted(&format!("{kept}{}", c.text), last.quote), ..c })
        .collect();
    Some((start + last.start, items))
}

/// Candidates for the word `last` after the words `before`, and from which byte of `last` on they stand.
fn candidates(
    tree: &Command,
    before: &[String],
    last: &str,
    around: &dyn Surroundings,
) -> (usize, Vec<Completion>) {
    let mut command: Option<&Command> = None;
    let mut places = 0;
    let mut pending: Option<&Arg> = None;
    let mut only_places = false;
    for word in before {
        if pending.take().is_some() {
            continue;
        }
        if word == "--" {
            only_places = true;
        } else if word.starts_with('-') && !only_places {
            pending = option(tree, command, word).filter(|a| takes_value(a) && !word.contains('='));
        } else if command.is_none() {
            command = tree.find_subcommand(word);
            if command.is_none() {
                return (0, Vec::new());
            }
        } else {
            places += 1;
        }
    }
    if let Some(arg) = pending {
        return (0, of_value(tree, arg, last, around));
    }
    if let (true, Some(at)) = (last.starts_with("--") && !only_places, last.find('=')) {
        let Some(arg) = option(tree, command, last) else { return (0, Vec::new()) };
        return (at + 1, of_value(tree, arg, last.get(at + 1..).unwrap_or_default(), around));
    }
    if last.starts_with('-') && !only_places {
        return (0, flags(tree, command, before, last));
    }
    let Some(command) = command else { return (0, commands(tree, last)) };
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let arg = positionals.get(places).or_else(|| positionals.last().filter(|a| argument::many(a)));
    match arg {
        Some(arg) if command.get_name() == "help" => {
            let _ = arg;
            (0, commands(tree, last))
        }
        Some(arg) => (0, of_value(tree, arg, last, around)),
        None => (0, flags(tree, Some(command), before, last)),
    }
}

fn takes_value(arg: &Arg) -> bool {
    argument::takes(arg) != Takes::Nothing
}

/// The option that a word such as `--size`, `--size=3` or `-n` names.
fn option<'a>(tree: &'a Command, command: Option<&'a Command>, word: &str) -> Option<&'a Arg> {
    let name = word.split('=').next().unwrap_or(word);
    let of = command.unwrap_or(tree);
    of.get_arguments().chain(tree.get_arguments().filter(|a| a.is_global_set())).find(|a| {
        a.get_long().is_some_and(|l| name.strip_prefix("--") == Some(l))
            || a.get_short().is_some_and(|s| name.strip_prefix('-') == Some(s.encode_utf8(&mut [0; 4])))
    })
}

fn commands(tree: &Command, start: &str) -> Vec<Completion> {
    tree.get_subcommands()
        .filter(|c| !c.is_hide_set() && c.get_name().starts_with(start))
        .map(|c| item(c.get_name(), "function", &help::about(c)))
        .collect()
}

fn flags(tree: &Command, command: Option<&Command>, before: &[String], start: &str) -> Vec<Completion> {
    let own = command.into_iter().flat_map(argument::visible);
    let global = argument::visible(tree).filter(|a| command.is_none() || a.is_global_set());
    own.chain(global)
        .filter(|a| !a.is_positional())
        .map(|a| (a, argument::flag(a)))
        .filter(|(a, flag)| {
            let again = before.iter().any(|w| w.split('=').next() == Some(flag));
            flag.starts_with(start) && (!again || argument::many(a))
        })
        .map(|(a, flag)| item(&flag, "keyword", &argument::help(a)))
        .collect()
}

fn of_value(tree: &Command, arg: &Arg, start: &str, around: &dyn Surroundings) -> Vec<Completion> {
    let _ = tree;
    if let Takes::Choice(choices) = argument::takes(arg) {
        return choices.iter().filter(|c| c.starts_with(start)).map(|c| item(c, "value", "")).collect();
    }
    let id = arg.get_id().as_str();
    let mut out = Vec::new();
    if NAMES.contains(&id) {
        let names = around.names();
        out.extend(names.iter().filter(|n| n.starts_with(start)).map(|n| item(n, "instance", "")));
    }
    if (PATHS.contains(&id) || id == "model") && !start.contains("://") {
        out.extend(around.paths(start).iter().map(|p| item(p, "path", "")));
    }
    out
}

/// A body line: `ke` completes keys, `key = "va` its values.
fn in_body(head: &str, text: &str, start: usize, around: &dyn Surroundings) -> Option<Found> {
    let tree = Door::Cell.tree();
    let head: Vec<String> = words::typed(head).into_iter().skip(1).map(|w| w.text).collect();
    let command = crate::usage::command_of(&tree, &head)?;
    let Some((key, value)) = text.split_once('=') else {
        let key = text.trim_start();
        let items = body::keys(command).into_iter().filter(|k| k.starts_with(key)).map(|k| {
            let about = body::argument_of(command, &k).map(argument::help).unwrap_or_default();
            item(&k, "keyword", &about)
        });
        return Some((start + text.len() - key.len(), items.collect()));
    };
    let arg = body::argument_of(command, key.trim())?;
    // Inside the string that is still open, or before the value.
    let (given, open) = match value.rsplit_once('"') {
        Some((before, given)) if before.matches('"').count() % 2 == 0 => (given, true),
        Some(_) => return None,
        None => (value.trim_start(), false),
    };
    let values = match argument::takes(arg) {
        Takes::Nothing => ["true", "false"].iter().map(|v| item(v, "value", "")).collect(),
        Takes::Whole | Takes::Number => Vec::new(),
        _ => of_value(&tree, arg, given, around),
    };
    let text_value = !matches!(argument::takes(arg), Takes::Nothing);
    let items = values
        .into_iter()
        .map(|c| match (open, text_value) {
            (true, _) => Completion { text: c.text.replace('\\', "\\\\").replace('"', "\\\""), ..c },
            (false, true) => Completion { text: format!("{:?}", c.text), ..c },
            (false, false) => c,
        })
        .filter(|c| open || text_value || c.text.starts_with(given))
        .collect();
    Some((start + text.len() - given.len(), items))
}

/// A shell line: programs where a command begins, paths elsewhere.
fn in_shell(text: &str, start: usize, around: &dyn Surroundings) -> Found {
    let flat = text.replace("\\\n", "  ");
    let command = flat.rfind(['|', ';', '&', '(', '`']).map_or(0, |at| at + 1);
    let mut typed = words::typed_in_shell(flat.get(command..).unwrap_or_default());
    let last = typed.pop().unwrap_or_default();
    // Behind a redirection stands a file, and the word begins after it.
    let cut = last.text.rfind(['>', '<', '=']).map_or(0, |at| at + 1);
    let partial = last.text.get(cut..).unwrap_or_default();
    let assigns = |w: &words::Typed| w.text.contains('=');
    let program = cut == 0 && typed.iter().all(assigns) && !partial.contains('/');
    let mut items: Vec<Completion> = Vec::new();
    if program {
        items.extend(around.programs(partial).iter().map(|p| item(p, "program", "")));
    } else {
        items.extend(around.paths(partial).iter().map(|p| item(p, "path", "")));
    }
    let kept = last.text.get(..cut).unwrap_or_default();
    let items = items
        .into_iter()
        .map(|c| Completion { text: format!("{kept}{}", words::quoted_for_shell(&c.text, last.quote)), ..c })
        .collect();
    (start + command + last.start, items)
}

fn item(text: &str, kind: &str, signature: &str) -> Completion {
    Completion { text: text.to_owned(), kind: kind.to_owned(), signature: signature.to_owned() }
}

/// The byte offset of the `chars`-th character.
pub(crate) fn byte_of(code: &str, chars: usize) -> usize {
    code.char_indices().nth(chars).map_or(code.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests;
