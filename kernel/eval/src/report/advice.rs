//! What the compiler cannot know: that the code is a cell among cells. Messages in a notebook's
//! terms, and hints that say what to type next.

use super::compile::{Scene, titled};
use super::diagnostic::Diagnostic;
use super::keep;
use super::snippet::{Change, Mark, changed};
use super::sources::{End, Place, Source};

/// What is said beside, or instead of, the compiler's words.
#[derive(Default)]
pub(super) struct Advice<'a> {
    pub message: Option<String>,
    pub hints: Vec<String>,
    /// The compiler's notes that begin so are left out.
    pub hidden: &'static [&'static str],
    pub marks: Vec<Mark<'a>>,
}

/// Crates that every cell can reach.
const BUILT_IN: [&str; 6] = ["std", "core", "alloc", "crate", "self", "super"];

pub(super) fn of<'a>(error: &Diagnostic, scene: &Scene<'a>) -> Advice<'a> {
    if let Some(advice) = keep::advice(error, scene) {
        return advice;
    }
    let message = error.message.as_str();
    match error.code.as_deref() {
        Some("E0384" | "E0594" | "E0596") => quoted(message).and_then(|name| not_mutable(name, scene)),
        Some("E0425" | "E0433" | "E0412" | "E0422" | "E0405")
            if let Some(advice) = quoted(message).and_then(|name| gone(name, message, scene)) =>
        {
            Some(advice)
        }
        Some("E0432" | "E0433" | "E0463") => missing_crate(error),
        _ if error.is_about_value() => Some(not_shown(error, scene)),
        Some("E0267") => Some(Advice {
            message: Some(match quoted(message) {
                Some(word) => format!("`{word}` outside of a loop"),
                None => message.to_owned(),
            }),
            ..Advice::default()
        }),
        Some("E0597") => outlives(error),
        None if message.contains("<end of input>") => Some(Advice {
            message: Some(message.replace("<end of input>", "the end of the cell")),
            ..Advice::default()
        }),
        _ => None,
    }
    .unwrap_or_default()
}

/// The first name between backticks.
pub(super) fn quoted(message: &str) -> Option<&str> {
    message.split('`').nth(1).filter(|name| !name.is_empty())
}

/// A variable of an earlier cell that was defined without `mut`.
fn not_mutable<'a>(name: &str, scene: &Scene<'a>) -> Option<Advice<'a>> {
    let name = name.trim_start_matches(['*', '&']).split(['.', '[']).next().unwrap_or(name);
    let Place { source, line, column } = scene.sources.definition(Some(scene.running), name)?;
    if source == scene.running {
        return None;
    }
    let help = format!("`{name}` was defined in {} without `mut`. Define it with `mut` there:", source.name);
    let mut hints = titled("help", &help);
    let change = Change { from: (line, column), to: (line, column), text: "mut ".to_owned() };
    hints.extend(changed(source, &[change]));
    hints.extend(titled(
        "help",
        &format!("or make it mutable from here on, in a line before: `let mut {name} = {name};`"),
    ));
    Some(Advice { hints, hidden: &["consider changing this to be mutable"], ..Advice::default() })
}

/// A name that an earlier cell defined, and that is no more.
fn gone<'a>(name: &str, message: &str, scene: &Scene<'a>) -> Option<Advice<'a>> {
    if let Some(source) = scene.sources.uncompiled_item(name) {
        return Some(defined_in(name, source, NOT_COMPILED));
    }
    if !message.starts_with("cannot find value") && !message.starts_with("cannot find function") {
        return None;
    }
    if let Some(moved) = scene.sources.moved(name) {
        let cell = &moved.cell;
        if moved.type_changed {
            let why = format!("{cell} defined the type of `{name}` anew, and `{name}` had the old one");
            let mut hints = titled("note", &why);
            hints.extend(titled("help", &format!("define `{name}` again")));
            return Some(Advice { hints, ..Advice::default() });
        }
        let mut hints =
            titled("note", &format!("{cell} took `{name}` by value, so later cells do not have it any more"));
        hints.extend(titled(
            "help",
            &format!(
                "give {cell} a copy (`{name}.clone()`) or a reference (`&{name}`), then define `{name}` again"
            ),
        ));
        return Some(Advice {
            hints,
            hidden: &["a local variable with a similar name"],
            ..Advice::default()
        });
    }
    let Place { source, .. } = scene.sources.definition(None, name)?;
    let why = match source.end {
        End::Done => return None,
        End::Left => "did not run to its end, and what it defined was not kept",
        End::NotCompiled => NOT_COMPILED,
    };
    Some(defined_in(name, source, why))
}

const NOT_COMPILED: &str = "did not compile, so nothing in it was run";

fn defined_in<'a>(name: &str, source: &Source, why: &str) -> Advice<'a> {
    let mut hints = titled("note", &format!("`{name}` is defined in {}, which {why}", source.name));
    hints.extend(titled("help", &format!("run {} again, once it is corrected", source.name)));
    Advice { hints, hidden: &["if you wanted to use a crate named"], ..Advice::default() }
}

fn missing_crate<'a>(error: &Diagnostic) -> Option<Advice<'a>> {
    let labels = error.spans.iter().map(|span| span.label.as_str());
    let named = labels.chain([error.message.as_str()]).find_map(|text| {
        let speaks_of_crate = text.contains("unlinked crate") || text.contains("can't find crate");
        speaks_of_crate.then(|| quoted(text)).flatten()
    });
    let import = error.message.strip_prefix("unresolved import").and_then(quoted);
    let name = named.or(import.filter(|path| !path.contains("::")))?;
    let plain = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if BUILT_IN.contains(&name) || !plain || !name.starts_with(|c: char| c.is_lowercase()) {
        return None;
    }
    let hints = titled(
        "help",
        &format!(
            "if `{name}` is a crate, add it first, in a line of its own: `:dep {name} = \"*\"` (or a version in place of `*`)"
        ),
    );
    Some(Advice {
        hints,
        hidden: &[
            "if you wanted to use a crate named",
            "you might be missing a crate named",
            "you might be missing crate",
        ],
        ..Advice::default()
    })
}

/// The value of a cell that has no text.
fn not_shown<'a>(error: &Diagnostic, scene: &Scene<'a>) -> Advice<'a> {
    // "the method `…` exists for struct `X`, but …", "`X` doesn't implement `Debug`"
    let message = error.message.as_str();
    let named = message.split_once(" for ").map_or(message, |(_, rest)| rest);
    let kind = quoted(named).unwrap_or("it");
    // What it is wrapped in to be shown.
    let bare = kind.split_once("Value<'_, ").and_then(|(_, rest)| rest.strip_suffix('>')).unwrap_or(kind);
    let (said, mut hints) = if bare.contains("{closure") {
        ("a closure cannot be shown as the value of this cell".to_owned(), Vec::new())
    } else {
        let said = format!("`{bare}` doesn't implement `Debug`, so the value of this cell cannot be shown");
        (said, derive_debug(bare, error, scene))
    };
    hints.extend(titled("help", "or end the cell with `;` to show nothing"));
    Advice {
        message: Some(said),
        hints,
        hidden: &[
            "required for",
            "the trait `Debug` is not implemented",
            "add `#[derive(Debug)]`",
            "the trait `Debug` must be implemented",
            "the following trait bounds were not satisfied",
            "trait bound",
            "items from traits can only be used",
            "the trait `dds::",
            "there is a method",
        ],
        ..Advice::default()
    }
}

/// Where `#[derive(Debug)]` would have to stand, unless the compiler says so itself.
fn derive_debug(kind: &str, error: &Diagnostic, scene: &Scene<'_>) -> Vec<String> {
    if error.children.iter().any(|child| child.message.contains("#[derive(Debug)]`")) {
        return Vec::new();
    }
    // The type itself, or one that it is made of: `Vec<Q>`.
    let names = kind.split(|c: char| c != '_' && !c.is_alphanumeric()).filter(|name| !name.is_empty());
    let found = names.into_iter().find_map(|name| {
        let place = scene.sources.cells(Some(scene.running)).find_map(|source| {
            let line = source.text.lines().position(|line| {
                let line = line.trim_start().trim_start_matches("pub ");
                let rest = line.strip_prefix("struct ").or(line.strip_prefix("enum "));
                let name_there =
                    rest.and_then(|rest| rest.split(|c: char| c != '_' && !c.is_alphanumeric()).next());
                name_there == Some(name)
            });
            line.map(|line| (source, line))
        });
        place.map(|place| (name, place))
    });
    let Some((name, (source, line))) = found else {
        return titled("help", "show something that it is made of, or `format!` a text");
    };
    let mut out = titled("help", &format!("let `{name}` derive it, in {}", source.name));
    let change = Change { from: (line, 0), to: (line, 0), text: "#[derive(Debug)]\n".to_owned() };
    out.extend(changed(source, &[change]));
    out
}

/// A thread or future that would outlive the cell it borrows from.
fn outlives<'a>(error: &Diagnostic) -> Option<Advice<'a>> {
    let name = quoted(&error.message)?;
    let asks = error.spans.iter().any(|span| span.label.contains("borrowed for `'static`"));
    let hints = titled(
        "help",
        &format!(
            "what outlives the cell needs a value of its own: `let {name} = {name}.clone();` before it, and `move ||` in place of `||`"
        ),
    );
    asks.then(|| Advice { hints, ..Advice::default() })
}
