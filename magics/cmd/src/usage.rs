//! Parse errors in our own words: what was wrong, the nearest right word, and the usage line.

use crate::argument::{self, Takes};
use crate::grammar::Door;
use crate::nearest::{either, nearest};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use dds_core::Error;

/// An error and the argument (clap's id) that it is about.
pub(crate) struct Explained {
    pub error: Error,
    pub arg: Option<String>,
}

/// `Some(command)` when the words ask for help; the command is none for the overview.
pub(crate) fn asks_for_help(e: &clap::Error, door: Door, words: &[String]) -> Option<Option<String>> {
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Some(command_of(&door.tree(), words).map(|c| c.get_name().to_owned()))
        }
        _ => None,
    }
}

/// The command that `words` name.
pub(crate) fn command_of<'a>(tree: &'a Command, words: &[String]) -> Option<&'a Command> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-C" => drop(words.next()),
            w if w.starts_with('-') => {}
            w => return tree.find_subcommand(w),
        }
    }
    None
}

/// `usage: %dds show TARGETS… [--size N] [-n N]`
pub fn usage_line(door: Door, command: &Command) -> String {
    usage_parts(door, command).join(" ")
}

/// The usage line in pieces that should not be broken.
pub(crate) fn usage_parts(door: Door, command: &Command) -> Vec<String> {
    let mut parts = vec![format!("usage: {} {}", door.prompt(), command.get_name())];
    let (positional, flags): (Vec<&Arg>, Vec<&Arg>) =
        argument::visible(command).filter(|a| !a.is_global_set()).partition(|a| a.is_positional());
    let (needed, optional): (Vec<&Arg>, Vec<&Arg>) = flags.into_iter().partition(|a| a.is_required_set());
    for arg in positional.into_iter().chain(needed).chain(optional) {
        let more = if arg.is_positional() && argument::many(arg) { "…" } else { "" };
        let text = format!("{}{more}", argument::name(arg));
        parts.push(if arg.is_required_set() { text } else { format!("[{text}]") });
    }
    parts
}

pub(crate) fn explain(e: &clap::Error, door: Door, words: &[String]) -> Explained {
    let tree = door.tree();
    if e.kind() == ErrorKind::InvalidSubcommand || e.kind() == ErrorKind::MissingSubcommand {
        return Explained {
            error: unknown_command(&text(e, ContextKind::InvalidSubcommand), door, &tree),
            arg: None,
        };
    }
    let Some(command) = command_of(&tree, words) else {
        return Explained { error: without_command(e, door), arg: None };
    };
    let named = text(e, ContextKind::InvalidArg);
    let arg = find(command, &tree, &named);
    let value = text(e, ContextKind::InvalidValue);
    if e.kind() == ErrorKind::UnknownArgument
        && door == Door::Cell
        && command.get_name() == "app"
        && named.ends_with(".ipynb")
    {
        let error = Error::usage("a notebook is published from a shell, a cell declares a form of it")
            .hint("type it in a shell: `dds app NOTEBOOK.ipynb`");
        return Explained { error, arg: None };
    }
    let flag = arg.map_or_else(|| shown_flag(&named), argument::flag);
    let mut meant = None;
    let message = match e.kind() {
        ErrorKind::UnknownArgument if named.starts_with('-') => {
            let flags: Vec<String> = argument::visible(command)
                .chain(tree.get_arguments().filter(|a| a.is_global_set()))
                .filter_map(|a| a.get_long().map(str::to_owned))
                .collect();
            let near = nearest(flag.trim_start_matches('-'), flags.iter().map(String::as_str));
            meant = near.map(|f| format!("--{f}"));
            if flag == "-C" {
                meant = Some(format!("{} -C DIR {}", door.prompt(), command.get_name()));
            }
            format!("`{}` has no flag {flag}", command.get_name())
        }
        ErrorKind::UnknownArgument => {
            format!("`{}` does not know what to do with {named:?}", command.get_name())
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = texts(e, ContextKind::InvalidArg);
            let missing: Vec<String> = missing
                .iter()
                .map(|m| match find(command, &tree, m) {
                    Some(a) => format!("{} ({})", argument::name(a), lower_first(&argument::help(a))),
                    None => m.clone(),
                })
                .collect();
            format!("`{}` needs {}", command.get_name(), missing.join(" and "))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::TooFewValues => {
            let expected = arg.map_or_else(|| "a value".to_owned(), expected);
            if let Some(Takes::Choice(choices)) = arg.map(argument::takes) {
                meant = nearest(&value, choices.iter().map(String::as_str)).map(str::to_owned);
            }
            if value.is_empty() {
                format!("{flag} needs {expected}")
            } else {
                format!("{flag} takes {expected}, not {value:?}")
            }
        }
        ErrorKind::ArgumentConflict => {
            let prior = text(e, ContextKind::PriorArg);
            match find(command, &tree, &prior) {
                Some(other) if argument::flag(other) != flag => {
                    format!("{flag} and {} cannot stand together", argument::flag(other))
                }
                _ => format!("{flag} was given twice"),
            }
        }
        ErrorKind::TooManyValues => format!("{flag} takes no value"),
        _ => plain_message(e),
    };
    let usage = usage_line(door, command);
    let hint = match meant {
        Some(word) => format!("did you mean `{word}`?\n{usage}"),
        None => usage,
    };
    Explained { error: Error::usage(message).hint(hint), arg: arg.map(|a| a.get_id().to_string()) }
}

/// What an argument takes, for `takes …`.
pub(crate) fn expected(arg: &Arg) -> String {
    match argument::takes(arg) {
        Takes::Nothing => "no value".into(),
        Takes::Whole if arg.get_value_parser().type_id() == std::any::TypeId::of::<u16>() => {
            "a whole number from 0 to 65535".into()
        }
        Takes::Whole => "a whole number, 0 or more".into(),
        Takes::Number => "a number".into(),
        Takes::Choice(words) => either(&words),
        Takes::Text => format!("a {}", argument::value_name(arg)),
    }
}

/// An unknown command's error; also for `help COMMAND`.
pub(crate) fn unknown_command(given: &str, door: Door, tree: &Command) -> Error {
    let names: Vec<&str> =
        tree.get_subcommands().filter(|c| !c.is_hide_set()).map(Command::get_name).collect();
    let list = format!("`{} help` lists all commands", door.prompt());
    if given.is_empty() {
        return Error::usage("the command is missing").hint(list);
    }
    let error = Error::usage(format!("there is no command {given:?}"));
    if door == Door::Cell && Door::Shell.tree().find_subcommand(given).is_some_and(|c| !c.is_hide_set()) {
        return Error::usage(format!("{given:?} does not run in a notebook"))
            .hint(format!("type it in a shell: dds {given}"));
    }
    if door == Door::Shell && Door::Cell.tree().find_subcommand(given).is_some_and(|c| !c.is_hide_set()) {
        return Error::usage(format!("{given:?} works in the cells of a notebook only: %dds {given}"))
            .hint(list);
    }
    match nearest(given, names) {
        Some(name) => error.hint(format!("did you mean `{} {name}`? {list}", door.prompt())),
        None => error.hint(list),
    }
}

/// A hint as it should read at `door`: engines do not know where their command was typed, so
/// `` `dds ls` `` becomes `` `%dds ls` `` in a cell and the other way round in a shell. What only a
/// shell can do stays as it is.
pub fn worded(door: Door, hint: &str) -> String {
    if door == Door::Shell {
        return hint.replace("%dds ", "dds ");
    }
    let tree = Door::Cell.tree();
    let mut out = String::with_capacity(hint.len());
    for (at, part) in hint.split("`dds ").enumerate() {
        if at > 0 {
            let name = part.split([' ', '`']).next().unwrap_or_default();
            let here = name != "app" && tree.find_subcommand(name).is_some();
            out.push_str(if here { "`%dds " } else { "`dds " });
        }
        out.push_str(part);
    }
    out
}

/// Errors before any command is named.
fn without_command(e: &clap::Error, door: Door) -> Error {
    let named = text(e, ContextKind::InvalidArg);
    let hint =
        format!("usage: {p} [-C DIR] [--json] COMMAND …; `{p} help` lists all commands", p = door.prompt());
    let message = match e.kind() {
        ErrorKind::UnknownArgument => format!("there is no flag {} before the command", shown_flag(&named)),
        ErrorKind::InvalidValue => format!("{} needs a value", shown_flag(&named)),
        _ => plain_message(e),
    };
    Error::usage(message).hint(hint)
}

/// The flag alone: a value after `=` may be a secret, and clap shows `--flag <VALUE>`.
fn shown_flag(named: &str) -> String {
    named.split(['=', ' ']).next().unwrap_or(named).to_owned()
}

/// The argument that clap names as `--size <SIZE>`, `<TARGETS>...`, `-n` or `--size=3`.
fn find<'a>(command: &'a Command, tree: &'a Command, named: &str) -> Option<&'a Arg> {
    let word = shown_flag(named);
    let bare = word.trim_matches(|c: char| "<>[].".contains(c));
    command.get_arguments().chain(tree.get_arguments()).find(|a| {
        let long = a.get_long().is_some_and(|l| word.strip_prefix("--") == Some(l));
        let short = a.get_short().is_some_and(|s| word.strip_prefix('-') == Some(s.encode_utf8(&mut [0; 4])));
        let place = a.is_positional()
            && (a.get_id().as_str().eq_ignore_ascii_case(bare)
                || a.get_value_names().is_some_and(|n| n.iter().any(|n| n.as_str() == bare)));
        long || short || place
    })
}

fn plain_message(e: &clap::Error) -> String {
    let all = e.render().to_string();
    let first = all.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

pub(crate) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        // `URL`, `DVC`: an abbreviation stays as it is.
        (Some(a), Some(b)) if b.is_uppercase() => format!("{a}{b}{}", chars.as_str()),
        (Some(a), Some(b)) => format!("{}{b}{}", a.to_lowercase(), chars.as_str()),
        _ => text.to_owned(),
    }
}

fn text(e: &clap::Error, kind: ContextKind) -> String {
    texts(e, kind).into_iter().next().unwrap_or_default()
}

fn texts(e: &clap::Error, kind: ContextKind) -> Vec<String> {
    match e.get(kind) {
        Some(ContextValue::String(s)) => vec![s.clone()],
        Some(ContextValue::Strings(all)) => all.clone(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::grammar::{self, Door};

    fn error(line: &str) -> String {
        let e = grammar::cell(&shlex::split(line).unwrap()).unwrap_err();
        assert_eq!(e.kind, dds_core::Kind::Usage);
        format!("{} | {}", e.message, e.hint.unwrap_or_default())
    }

    #[test]
    fn every_mistake_is_answered_in_words() {
        let show = "usage: %dds show TARGETS… [--size N] [--max N] [--columns N] [--crop X,Y,W,H] [--flip FLIP] [--out FILE]";
        let mount = "usage: %dds mount [URL] [DIR] [--via WAY] [--token TOKEN] [--read-only] [--daemon]";
        let clone = "usage: %dds clone URL DIR [--data] [--token TOKEN]";
        for (line, expected) in [
            (
                "shwo a.jpg",
                "there is no command \"shwo\" | did you mean `%dds show`? `%dds help` lists all commands".to_owned(),
            ),
            ("xyzzy", "there is no command \"xyzzy\" | `%dds help` lists all commands".into()),
            ("serve .", "\"serve\" does not run in a notebook | type it in a shell: dds serve".into()),
            ("show a --siez 3", format!("`show` has no flag --siez | did you mean `--size`?\n{show}")),
            ("show a --tokn=hunter2", format!("`show` has no flag --tokn | {show}")),
            ("show", format!("`show` needs TARGETS (image files or folders: local, mounted, or URL[@REV]:PATH) | {show}")),
            (
                "clone",
                format!("`clone` needs URL (repository URL) and DIR (folder to make; must be missing or empty) | {clone}"),
            ),
            ("mount u d --via fues", format!("--via takes auto, fuse, stream or copy, not \"fues\" | did you mean `fuse`?\n{mount}")),
            ("show a --size big", format!("--size takes a whole number, 0 or more, not \"big\" | {show}")),
            ("show a --size", format!("--size needs a whole number, 0 or more | {show}")),
            ("show a --size 1 --size 2", format!("--size was given twice | {show}")),
            ("mounts x", "`mounts` does not know what to do with \"x\" | usage: %dds mounts".into()),
            ("mounts --json=1", "--json takes no value | usage: %dds mounts".into()),
            ("show a -C d", format!("`show` has no flag -C | did you mean `%dds -C DIR show`?\n{show}")),
            (
                "--jsn",
                "there is no flag --jsn before the command | usage: %dds [-C DIR] [--json] COMMAND …; `%dds help` \
                 lists all commands"
                    .into(),
            ),
        ] {
            assert_eq!(error(line), expected, "{line}");
        }
    }

    #[test]
    fn hints_fit_the_door() {
        for (door, hint, expected) in [
            (Door::Cell, "see `dds mounts`, or `dds ls x`", "see `%dds mounts`, or `%dds ls x`"),
            (
                Door::Cell,
                "`%dds ls` or `dds serve DIR` or `dds app N`",
                "`%dds ls` or `dds serve DIR` or `dds app N`",
            ),
            (Door::Shell, "type `%dds unmount x` first", "type `dds unmount x` first"),
            (Door::Shell, "`dds ls`", "`dds ls`"),
        ] {
            assert_eq!(super::worded(door, hint), expected);
        }
    }

    #[test]
    fn the_shell_speaks_of_itself() {
        let e = grammar::shell(&["instal".to_owned()]).unwrap_err();
        assert_eq!(e.hint.unwrap(), "did you mean `dds install`? `dds help` lists all commands");
        let typed = grammar::shell(&["time".to_owned(), "1 + 1".to_owned()]).unwrap_err();
        let asked = crate::help::help(Door::Shell, Some("time")).unwrap_err();
        for e in [typed, asked] {
            assert_eq!(e.message, "\"time\" works in the cells of a notebook only: %dds time");
        }
    }
}
