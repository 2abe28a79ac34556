//! The messages of a compilation that failed, for evcxr's next attempts at the same cell.
//!
//! evcxr compiles a cell that has failed again with other generated code around it: without the
//! part that catches panics, because some messages are clearer without a closure around the code,
//! or with the part that `?` needs. Where the errors have nothing to do with that, they are the
//! same, on lines that have moved.

use super::layout::{Session, write_whole};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// Errors that do not depend on whether the code is in a closure: names, types, arguments.
const PLAIN: [&str; 34] = [
    "E0004", "E0023", "E0026", "E0027", "E0040", "E0046", "E0050", "E0053", "E0061", "E0063", "E0107",
    "E0117", "E0133", "E0277", "E0308", "E0369", "E0403", "E0405", "E0407", "E0412", "E0423", "E0425",
    "E0432", "E0433", "E0531", "E0532", "E0560", "E0599", "E0600", "E0603", "E0604", "E0605", "E0609",
    "E0614",
];
/// Words of messages that speak of the code around.
const OF_SURROUNDINGS: [&str; 4] = ["closure", "evcxr", "catch_unwind", "`?`"];
/// Lines of generated code in which two attempts at one cell may differ.
const GENERATED: [&str; 19] = [
    "(",
    ").evcxr_display();",
    ").evcxr_display().dds_show();",
    ")));",
    "match std::panic::catch_unwind(",
    "  std::panic::AssertUnwindSafe(||{",
    "})) { ",
    "  Ok(_) => {}",
    "  Err(_) => {",
    "    println!(\"EVCXR_PANIC_NOTIFICATION\");",
    "}}",
    "}",
    "if std::panic::catch_unwind(||{",
    "}).is_err() {",
    "let _ = (|| -> std::result::Result<(), EvcxrUserCodeError> {",
    "Ok(())})();",
    "mod evcxr_internal_runtime {",
    "pub use ::dds_cell_store::*;",
    "evcxr_variable_store",
];
/// Beginnings of such lines.
const GENERATED_STARTS: [&str; 11] = [
    "            struct EvcxrUserCodeError",
    "            impl<T: std::fmt::",
    "                fn from(error: T) -> Self {",
    "                    eprintln!(\"{",
    "                    println!(\"{}\", evcxr_internal_runtime",
    "                    EvcxrUserCodeError {}",
    "mut evcxr_variable_store: *mut ",
    "evcxr_variable_store: *mut u8) -> *mut u8 {",
    "  -> *mut evcxr_internal_runtime",
    "if evcxr_variable_store.is_null() {",
    "  evcxr_variable_store = evcxr_internal",
];
const MORE_STARTS: [&str; 7] = [
    "let evcxr_variable_store = unsafe",
    "{let mut vars_ok = true;",
    "if !vars_ok {return",
    "evcxr_variable_store.put_variable::<",
    "vars_ok &= evcxr_variable_store",
    "                }",
    "            }",
];

/// evcxr's second way of showing a value: from the first of these lines to the second.
const SHOWING: [&str; 2] = ["fn evcxr_send_text_plain", "evcxr_send_text_plain(&format!("];

/// The last failure of a session.
pub(super) struct Failures {
    file: PathBuf,
    /// What else the messages depend on.
    context: String,
}

#[derive(Serialize, Deserialize)]
struct Failure {
    context: String,
    text: String,
    messages: String,
}

impl Failures {
    pub(super) fn of(session: &Session, context: String) -> Self {
        Self { file: session.failed(), context }
    }

    pub(super) fn remember(&self, text: &str, messages: &[u8]) {
        let failure = Failure {
            context: self.context.clone(),
            text: text.to_owned(),
            messages: String::from_utf8_lossy(messages).into_owned(),
        };
        let stored = serde_json::to_vec(&failure).map_err(std::io::Error::other);
        if let Err(error) = stored.and_then(|bytes| write_whole(&self.file, &bytes)) {
            eprintln!("the messages are not kept: {error}");
        }
    }

    /// The messages with which `text` is going to fail, if that is certain.
    pub(super) fn known(&self, text: &str) -> Option<Vec<u8>> {
        let failure: Failure = serde_json::from_slice(&std::fs::read(&self.file).ok()?).ok()?;
        // Right behind the failure or not at all.
        let _ = std::fs::remove_file(&self.file);
        if failure.context != self.context || text.contains("include") {
            return None;
        }
        let moved = Moved::between(&failure.text, text)?;
        let mut out = String::new();
        for line in failure.messages.lines() {
            let mut message: Value = serde_json::from_str(line).ok()?;
            moved.message(&mut message)?;
            out.push_str(&message.to_string());
            out.push('\n');
        }
        // evcxr may make more than two attempts.
        self.remember(text, out.as_bytes());
        Some(out.into_bytes())
    }
}

/// Whether linking failed and not compiling.
pub(super) fn is_of_linker(messages: &[u8]) -> bool {
    let messages = String::from_utf8_lossy(messages);
    messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|message| {
        message["level"] == "error"
            && message["code"].is_null()
            && message["message"].as_str().is_some_and(|text| text.contains("link"))
    })
}

/// Which line of one text is which of another that differs in generated lines alone.
struct Moved {
    /// For each line, from 0; none for generated ones.
    to: Vec<Option<u64>>,
}

impl Moved {
    fn between(old: &str, new: &str) -> Option<Self> {
        let (old, new) = (marked(old), marked(new));
        let mut to = Vec::with_capacity(old.len());
        let mut next = 0;
        for (line, generated) in &old {
            if *generated {
                to.push(None);
                continue;
            }
            while new.get(next).is_some_and(|(_, generated)| *generated) {
                next += 1;
            }
            if new.get(next)?.0 != *line {
                return None;
            }
            next += 1;
            to.push(u64::try_from(next).ok());
        }
        new.get(next..)?.iter().all(|(_, generated)| *generated).then_some(Self { to })
    }

    /// Moves the message's lines; `None` if it is not sure to be the same.
    fn message(&self, message: &mut Value) -> Option<()> {
        let places = message["spans"].as_array().is_some_and(|spans| !spans.is_empty());
        if message["level"] == "error" && places {
            PLAIN.contains(&message["code"]["code"].as_str()?).then_some(())?;
        } else if message["level"] == "error" {
            let text = message["message"].as_str()?;
            let summary = text.starts_with("aborting due to") || text.starts_with("could not compile");
            summary.then_some(())?;
        }
        self.value(message)
    }

    fn value(&self, value: &mut Value) -> Option<()> {
        match value {
            Value::Object(fields) => {
                if fields.get("file_name").is_some_and(|name| name == "src/lib.rs") {
                    for field in ["line_start", "line_end"] {
                        let line = usize::try_from(fields.get(field)?.as_u64()?).ok()?.checked_sub(1)?;
                        fields.insert(field.to_owned(), (*self.to.get(line)?)?.into());
                    }
                } else if fields.get("is_primary") == Some(&Value::Bool(true)) {
                    // In a file that may change.
                    return None;
                }
                for (name, value) in fields.iter_mut() {
                    let said = matches!(name.as_str(), "message" | "label" | "rendered");
                    if said
                        && value
                            .as_str()
                            .is_some_and(|text| OF_SURROUNDINGS.iter().any(|word| text.contains(word)))
                    {
                        return None;
                    }
                    self.value(value)?;
                }
                Some(())
            }
            Value::Array(values) => values.iter_mut().try_for_each(|value| self.value(value)),
            _ => Some(()),
        }
    }
}

/// Lines, and whether they are generated.
fn marked(text: &str) -> Vec<(&str, bool)> {
    let [begin, end] = SHOWING;
    let mut showing = false;
    text.lines()
        .map(|line| {
            showing |= line.starts_with(begin);
            let generated = showing || is_generated(line);
            showing &= !line.contains(end);
            (line, generated)
        })
        .collect()
}

fn is_generated(line: &str) -> bool {
    GENERATED.contains(&line)
        || GENERATED_STARTS.iter().chain(&MORE_STARTS).any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CAUGHT: &str = "fn f() {}\npub extern \"C\" fn dds_cell(\nif std::panic::catch_unwind(||{\n\
        let x: i32 = \"a\";\n}).is_err() {\n    println!(\"EVCXR_PANIC_NOTIFICATION\");\n}\n\
        evcxr_variable_store\n}\n";
    const BARE: &str =
        "fn f() {}\npub extern \"C\" fn dds_cell(\nlet x: i32 = \"a\";\nevcxr_variable_store\n}\n";

    fn error(code: &str, line: u64, label: &str) -> Value {
        json!({"level": "error", "message": "m", "code": {"code": code}, "children": [], "rendered": "m",
            "spans": [{"file_name": "src/lib.rs", "line_start": line, "line_end": line, "label": label}]})
    }

    fn again(messages: &[Value], new: &str) -> Option<Vec<Value>> {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("failed.json");
        let failures = Failures { file, context: "plan".to_owned() };
        let lines: Vec<String> = messages.iter().map(Value::to_string).collect();
        failures.remember(CAUGHT, lines.join("\n").as_bytes());
        let known = String::from_utf8(failures.known(new)?).unwrap();
        Some(known.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[test]
    fn plain_errors_move_with_their_lines() {
        let summary = json!({"level": "error", "message": "aborting due to 1 previous error", "code": null,
            "spans": [], "children": []});
        let moved = again(&[error("E0308", 4, "expected"), summary.clone()], BARE).unwrap();
        assert_eq!(moved, [error("E0308", 3, "expected"), summary]);
        assert_eq!(again(&[error("E0308", 4, "")], CAUGHT).unwrap(), [error("E0308", 4, "")]);
    }

    #[test]
    fn the_way_of_showing_a_value_does_not_matter() {
        let first = "fn dds_cell(\n(\nmissing + 1\n).evcxr_display();\n}\n";
        let second = "fn dds_cell(\nfn evcxr_send_text_plain(text: &str) {\n    use std::io;\n}\n\
            evcxr_send_text_plain(&format!(\"{:?}\",&(\nmissing + 1\n)));\n}\n";
        let moved = Moved::between(first, second).unwrap();
        let mut message = error("E0425", 3, "not found in this scope");
        moved.message(&mut message).unwrap();
        assert_eq!(message["spans"][0]["line_start"], 6);
    }

    #[test]
    fn what_may_differ_is_compiled() {
        assert!(again(&[error("E0596", 4, "")], BARE).is_none(), "borrows depend on closures");
        assert!(again(&[error("E0308", 4, "in this closure")], BARE).is_none());
        assert!(again(&[error("E0308", 8, "")], BARE).is_none(), "a place in generated code");
        assert!(again(&[error("E0308", 4, "")], &BARE.replace("\"a\"", "1")).is_none(), "other code");
        assert!(again(&[error("E0308", 4, "")], &format!("{BARE}fn g() {{}}\n")).is_none(), "more code");
        let mut elsewhere = error("E0308", 4, "");
        elsewhere["spans"][0]["is_primary"] = true.into();
        assert!(again(std::slice::from_ref(&elsewhere), BARE).is_some());
        elsewhere["spans"][0]["file_name"] = "/home/user/included.rs".into();
        assert!(again(&[elsewhere], BARE).is_none());
    }

    #[test]
    fn other_dependencies_other_messages() {
        let place = tempfile::tempdir().unwrap();
        let failures = |context: &str| Failures { file: place.path().join("f"), context: context.to_owned() };
        let message = error("E0308", 4, "").to_string();
        failures("one").remember(CAUGHT, message.as_bytes());
        assert!(failures("two").known(CAUGHT).is_none());
        failures("one").remember(CAUGHT, message.as_bytes());
        assert!(failures("one").known(CAUGHT).is_some());
    }

    #[test]
    fn linkers_are_told_from_compilers() {
        let linker = json!({"level": "error", "message": "linking with `rust-lld` failed", "code": null});
        assert!(is_of_linker(linker.to_string().as_bytes()));
        assert!(!is_of_linker(error("E0308", 1, "link").to_string().as_bytes()));
    }
}
