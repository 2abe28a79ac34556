//! Variables that cannot live on after their cell: those that borrow, and those whose type has no
//! name. evcxr says so in sentences; here they become an error with a place, the reason, and code
//! to type instead.

use super::advice::{Advice, quoted};
use super::compile::{Scene, failure, titled};
use super::diagnostic::Diagnostic;
use super::snippet::{Change, Mark, changed};
use super::sources::Place;
use dds_core::eval::CellError;

/// A sentence of evcxr's that stands in the place of compile errors.
pub(crate) fn unkept(message: &str, scene: &Scene<'_>) -> Option<CellError> {
    let error =
        Diagnostic { level: "error".to_owned(), message: message.to_owned(), ..Diagnostic::default() };
    advice(&error, scene).map(|_| failure(&[error], scene))
}

/// What hinders a variable.
enum Hindrance {
    Borrows,
    Closure,
    NoName(String),
    Unknown,
    Private(String),
}

fn hindrance(message: &str) -> Option<Hindrance> {
    let second = || message.split('`').nth(3).unwrap_or("").to_owned();
    if !message.contains("variable `") {
        None
    } else if message.contains("non-static lifetime") {
        Some(Hindrance::Borrows)
    } else if message.contains("is a closure") {
        Some(Hindrance::Closure)
    } else if message.contains("cannot be persisted") {
        Some(Hindrance::NoName(second()))
    } else if message.contains("but that's private") {
        let kind = message.split("suggested type").nth(1).and_then(|rest| rest.split(',').next());
        Some(Hindrance::Private(kind.unwrap_or("").trim().to_owned()))
    } else if message.contains("Couldn't automatically determine type") {
        Some(Hindrance::Unknown)
    } else {
        None
    }
}

pub(super) fn advice<'a>(error: &Diagnostic, scene: &Scene<'a>) -> Option<Advice<'a>> {
    if error.code.is_some() {
        return None;
    }
    let hindrance = hindrance(&error.message)?;
    let name = quoted(&error.message)?;
    let place = scene.sources.definition(Some(scene.running), name).filter(|at| at.source == scene.running);
    let value = place.and_then(|place| initializer(place));
    let (message, label, mut hints) = match &hindrance {
        Hindrance::Borrows => (
            format!("`{name}` borrows from another value, so it cannot be kept for later cells"),
            "this variable holds a reference",
            owned(name, place, value.as_ref()),
        ),
        Hindrance::Closure => (
            format!("`{name}` is a closure: its type has no name, so it cannot be kept for later cells"),
            "this variable holds a closure",
            boxed(name, place, value.as_ref()),
        ),
        Hindrance::NoName(kind) => (
            format!("the type of `{name}` cannot be written down, so it cannot be kept for later cells"),
            "this variable has a type without a name",
            titled(
                "help",
                &format!(
                    "it is `{kind}`: box it, as in `let {name}: Box<dyn Trait> = Box::new(…);`, or collect it into a `Vec`"
                ),
            ),
        ),
        Hindrance::Unknown => (
            format!("the type of `{name}` is not known"),
            "what type is this?",
            titled("help", &format!("give it one, as in `let {name}: Vec<i32> = …`")),
        ),
        Hindrance::Private(kind) => (
            format!("`{name}` has the private type `{kind}`, so it cannot be kept for later cells"),
            "the type of this variable is private",
            titled("help", &format!("make the type public (`pub`), or give `{name}` a public type")),
        ),
    };
    if !matches!(hindrance, Hindrance::Unknown) {
        hints.extend(titled("help", "or use it within this cell only: put the code between braces, `{ … }`"));
    }
    let marks = place.map(|Place { source, line, column }| Mark {
        source,
        line,
        start: column,
        end: column + name.chars().count(),
        label: label.to_owned(),
        primary: true,
    });
    Some(Advice { message: Some(message), hints, hidden: &[], marks: marks.into_iter().collect() })
}

/// What a variable is set to, if that stands on its line: text, and columns from and to.
struct Value {
    text: String,
    from: usize,
    to: usize,
}

fn initializer(place: Place<'_>) -> Option<Value> {
    let line = place.source.line(place.line)?;
    let chars: Vec<char> = line.chars().collect();
    let equals = (place.column..chars.len()).find(|at| {
        chars.get(*at) == Some(&'=') && chars.get(at + 1) != Some(&'=') && chars.get(at + 1) != Some(&'>')
    })?;
    let from = (equals + 1..chars.len()).find(|at| chars.get(*at).is_some_and(|c| !c.is_whitespace()))?;
    let mut depth = 0_usize;
    let to = (from..chars.len()).find(|at| {
        match chars.get(*at) {
            Some('(' | '[' | '{') => depth += 1,
            Some(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Some(';') => return depth == 0,
            _ => {}
        }
        false
    })?;
    Some(Value { text: chars.get(from..to)?.iter().collect(), from, to })
}

/// How to have a value of one's own.
fn owned(name: &str, place: Option<Place<'_>>, value: Option<&Value>) -> Vec<String> {
    let text = value.map_or("", |value| value.text.trim());
    let bare = |at: &str| text.strip_prefix(at).map(str::trim);
    let replaced = if let Some(inner) = bare("&").filter(|inner| !inner.starts_with("mut ")) {
        match inner.split_once('[').and_then(|(head, index)| Some((head, index.strip_suffix(']')?))) {
            Some((head, range)) if range.contains("..") => Some(format!("{head}[{range}].to_owned()")),
            _ => Some(format!("{inner}.clone()")),
        }
    } else if text.ends_with(".iter()") {
        Some(format!("{text}.cloned().collect::<Vec<_>>()"))
    } else if text.ends_with(".as_str()") || text.ends_with(".trim()") || text.ends_with(".as_slice()") {
        Some(format!("{text}.to_owned()"))
    } else {
        None
    };
    match (place, value, replaced) {
        (Some(place), Some(value), Some(text)) => {
            let mut out = titled("help", "keep a value of its own");
            let change = Change { from: (place.line, value.from), to: (place.line, value.to), text };
            out.extend(changed(place.source, &[change]));
            out
        }
        _ => titled(
            "help",
            &format!(
                "let `{name}` own its value: end it with `.clone()`, `.to_owned()`, or `.collect::<Vec<_>>()`"
            ),
        ),
    }
}

/// How to keep a closure.
fn boxed(name: &str, place: Option<Place<'_>>, value: Option<&Value>) -> Vec<String> {
    let types = value.and_then(|value| parameters(&value.text));
    match (place, value, types) {
        (Some(place), Some(value), Some(types)) => {
            let mutable = place.source.line(place.line).is_some_and(|line| line.contains("let mut "));
            let kind = if mutable { "FnMut" } else { "Fn" };
            let end = place.column + name.chars().count();
            let insert =
                |at: usize, text: String| Change { from: (place.line, at), to: (place.line, at), text };
            let changes = [
                insert(end, format!(": Box<dyn {kind}({types}) -> _>")),
                insert(value.from, "Box::new(".to_owned()),
                insert(value.to, ")".to_owned()),
            ];
            let mut out = titled("help", "give it a type with a name: put it in a box");
            out.extend(changed(place.source, &changes));
            out
        }
        _ => titled(
            "help",
            &format!("put it in a box, as in `let {name}: Box<dyn Fn(i32) -> i32> = Box::new(|x| x + 1);`"),
        ),
    }
}

/// The types of a closure's parameters, `_` where they are not given.
fn parameters(closure: &str) -> Option<String> {
    let inside =
        closure.trim().strip_prefix("move").unwrap_or(closure.trim()).trim_start().strip_prefix('|')?;
    let (list, _) = inside.split_once('|')?;
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    for c in list.chars() {
        match c {
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let types = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    let types = types.map(|part| part.split_once(':').map_or("_", |(_, kind)| kind.trim()));
    Some(types.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::sources::{Source, Sources};
    use super::super::text_of;
    use super::*;

    fn explained(code: &str, message: &str) -> String {
        let running = Source::new("cell [2]", code);
        let scene = Scene { running: &running, sources: &Sources::default(), generated: "" };
        text_of(&unkept(message, &scene).expect("recognised").traceback)
    }

    #[test]
    fn closures_are_boxed() {
        let shown = explained(
            "let n = 1; let add = move |a: i32, (b, c): (u8, u8), d| a + 1;",
            "The variable `add` is a closure, which cannot be persisted.\nYou can however …",
        );
        assert!(
            shown.contains(
                "\n1 | let n = 1; let add: Box<dyn Fn(i32, (u8, u8), _) -> _> = Box::new(move |a: i32"
            ),
            "{shown}"
        );
        assert!(shown.contains(" --> cell [2]:1:16\n"), "{shown}");
    }

    #[test]
    fn references_are_owned() {
        let borrowed =
            "The variable `r` contains a reference with a non-static lifetime so\ncan't be persisted.";
        for (code, expected) in [
            ("let r = &v[0];", "1 + let r = v[0].clone();"),
            ("let r = &v[1..];", "1 + let r = v[1..].to_owned();"),
            ("let r = v.iter();", "1 + let r = v.iter().cloned().collect::<Vec<_>>();"),
            ("let r = s.as_str();", "1 + let r = s.as_str().to_owned();"),
            ("let r = f(\n  &s);", "let `r` own its value"),
        ] {
            let shown = explained(code, borrowed);
            assert!(shown.contains(expected), "{shown}");
            assert!(shown.contains("this variable holds a reference"), "{shown}");
        }
    }

    #[test]
    fn other_sentences_are_not_taken() {
        let running = Source::new("cell [2]", "");
        let scene = Scene { running: &running, sources: &Sources::default(), generated: "" };
        assert!(unkept("Looks like you're missing a semicolon", &scene).is_none());
    }
}
