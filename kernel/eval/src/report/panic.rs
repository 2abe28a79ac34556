//! Panics, and the lines of the user's on which they happened: that of the panic itself, and those
//! of the functions that were called on the way to it.

use super::compile::shortened;
use super::diagnostic::CELL_FILE;
use super::snippet::{Mark, snippets};
use super::sources::{Source, Sources};
use super::symbols::{self, Call};
use super::{BLUE, CYAN, RESET, headline};
use crate::frames::Panic;
use dds_core::eval::CellError;

/// Most calls shown.
const MAX_FRAMES: usize = 12;
/// The crate that a cell is compiled as.
const CELL_CRATE: &str = "ctx::";
/// What the outermost function of a cell is called in generated code: by us, and by evcxr.
const CELL_FUNCTIONS: [&str; 2] = [crate::compile::FUNCTION, "run_user_code"];

/// The cell ended in a panic. `generated` is the code that was compiled of it.
pub(crate) fn panic_error(panic: &Panic, generated: &str, running: &Source, sources: &Sources) -> CellError {
    let mut traceback = headline("panic", &panic.message);
    let lines: Vec<&str> = generated.lines().collect();
    if panic.file == CELL_FILE {
        let place = sources.find(Some(running), &lines, panic.line, panic.column.saturating_sub(1));
        if let Some(place) = place {
            let label = String::new();
            let (start, end) = (place.column, place.column + 1);
            traceback.extend(snippets(&[Mark {
                source: place.source,
                line: place.line,
                start,
                end,
                label,
                primary: true,
            }]));
        }
    } else if !panic.file.is_empty() {
        traceback.push(format!(
            "{BLUE} -->{RESET} {}:{}:{}",
            library_path(&panic.file),
            panic.line,
            panic.column
        ));
    }
    traceback.extend(calls(&symbols::resolve(&panic.frames), &lines, running, sources));
    traceback
        .push(format!("{CYAN}hint{RESET}: variables of earlier cells are kept; those of this cell are not."));
    CellError { ename: "panic".to_owned(), evalue: shortened(&panic.message), traceback }
}

/// A panic that did not end the cell, as text for standard error: on a thread of the user's, or
/// caught by the user.
pub(crate) fn side_panic(panic: &Panic, generated: &str, running: &Source, sources: &Sources) -> String {
    let Panic { thread, message, file, line, column, main, .. } = panic;
    let lines: Vec<&str> = generated.lines().collect();
    let at = if file == CELL_FILE {
        let place = sources.find(Some(running), &lines, *line, column.saturating_sub(1));
        place.map(|place| format!("{}:{}:{}", place.source.name, place.line + 1, place.column + 1))
    } else if file.is_empty() {
        None
    } else {
        Some(format!("{}:{line}:{column}", library_path(file)))
    };
    let who = if *main { running.name.clone() } else { format!("thread '{thread}'") };
    let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
    let mut out = format!("{who} panicked{at}: {message}\n");
    for call in calls(&symbols::resolve(&panic.frames), &lines, running, sources) {
        out.push_str(&call);
        out.push('\n');
    }
    out
}

/// A library's file without the folder that it was compiled in.
fn library_path(file: &str) -> &str {
    let behind = |sign: &str| {
        file.split_once(sign).map(|(_, rest)| rest.split_once('/').map_or(rest, |(_, rest)| rest))
    };
    if file.starts_with("/rustc/") {
        return behind("/rustc/").unwrap_or(file);
    }
    behind("/registry/src/").unwrap_or(file)
}

/// Users' functions that were running, innermost first.
fn calls(stack: &[Call], generated: &[&str], running: &Source, sources: &Sources) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut cell_seen = false;
    let mut left_out = 0;
    for frame in stack {
        let Some(path) = frame.name.strip_prefix(CELL_CRATE) else { continue };
        let of_cell = CELL_FUNCTIONS.iter().any(|name| path.starts_with(name));
        if of_cell && std::mem::replace(&mut cell_seen, true) {
            continue;
        }
        let place = frame.line.and_then(|(line, column)| {
            sources.find(Some(running), generated, line, column.saturating_sub(1))
        });
        let at = match place {
            Some(place) => format!("{}:{}:{}", place.source.name, place.line + 1, place.column + 1),
            None => match function(path).and_then(|name| defined(name, running, sources)) {
                Some((source, line)) => format!("{}, defined in line {}", source.name, line + 1),
                None if of_cell => running.name.clone(),
                None => continue,
            },
        };
        let name = if of_cell { "this cell" } else { path };
        let line = if of_cell {
            format!("  in {name} {BLUE}({at}){RESET}")
        } else {
            format!("  in `{name}` {BLUE}({at}){RESET}")
        };
        if out.last() == Some(&line) {
            continue;
        }
        if out.len() < MAX_FRAMES {
            out.push(line);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        out.push(format!("  … and {left_out} more calls"));
    }
    // The cell alone is where the headline points already.
    if out.len() < 2 { Vec::new() } else { out }
}

/// The last name of a path that is a function's: `helper` of `helper::{{closure}}`.
fn function(path: &str) -> Option<&str> {
    path.split("::").filter(|part| part.starts_with(|c: char| c == '_' || c.is_alphabetic())).last()
}

/// Where `fn name` stands.
fn defined<'a>(name: &str, running: &'a Source, sources: &'a Sources) -> Option<(&'a Source, usize)> {
    let head = format!("fn {name}");
    sources.cells(Some(running)).find_map(|source| {
        let at = source.text.lines().position(|line| {
            line.match_indices(&head).any(|(at, _)| {
                let next = line.get(at + head.len()..).and_then(|rest| rest.chars().next());
                !next.is_some_and(|c| c == '_' || c.is_alphanumeric())
            })
        });
        at.map(|line| (source, line))
    })
}

#[cfg(test)]
mod tests {
    use super::super::sources::End;
    use super::super::text_of;
    use super::*;

    fn call(name: &str, line: Option<(usize, usize)>) -> Call {
        Call { name: name.to_owned(), line }
    }

    #[test]
    fn calls_lead_to_their_cells() {
        let mut sources = Sources::default();
        sources.add(&Source::new("cell [1]", "fn inner() {\n    None::<u8>.unwrap();\n}"), End::Done);
        let running = Source::new("cell [2]", "fn outer() { inner() }\nouter();");
        let generated =
            "use x;\nfn inner() {\n    None::<u8>.unwrap();\n}\nfn outer() { inner() }\nstart {\nouter();\n}";
        let panic = Panic {
            main: true,
            file: CELL_FILE.into(),
            line: 3,
            column: 16,
            message: "no\nmore".into(),
            ..Panic::default()
        };
        let error = panic_error(&panic, generated, &running, &sources);
        let shown = text_of(&error.traceback);
        assert_eq!(error.evalue, "no");
        assert!(
            shown.starts_with(
                "panic: no\nmore\n --> cell [1]:2:16\n2 |     None::<u8>.unwrap();\n  |                ^\n"
            ),
            "{shown}"
        );
        let stack = [
            call("ctx::inner", Some((3, 16))),
            call("core::ops::call", None),
            call("ctx::outer", None),
            call("ctx::run_user_code_3::{{closure}}", Some((7, 1))),
            call("ctx::run_user_code_3", Some((99, 1))),
        ];
        let lines: Vec<&str> = generated.lines().collect();
        assert_eq!(
            text_of(&calls(&stack, &lines, &running, &sources)),
            "  in `inner` (cell [1]:2:16)\n  in `outer` (cell [2], defined in line 1)\n  in this cell (cell [2]:2:1)"
        );
        let many: Vec<Call> =
            (1..40).flat_map(|n| [call("ctx::inner", Some((3, n))), call("ctx::outer", None)]).collect();
        let shown = calls(&many, &lines, &running, &sources);
        assert_eq!(shown.len(), MAX_FRAMES + 1);
        assert!(shown.last().unwrap().contains("more calls"));
    }

    #[test]
    fn folders_of_the_compiler_are_left_out() {
        assert_eq!(library_path("/rustc/abc/library/core/src/slice.rs"), "library/core/src/slice.rs");
        assert_eq!(library_path("/h/registry/src/index-1/rand-0.9/src/a.rs"), "rand-0.9/src/a.rs");
        assert_eq!(library_path("src/other.rs"), "src/other.rs");
    }
}
