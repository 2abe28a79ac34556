//! Failures that are known before anything is compiled.
//!
//! evcxr finds out that a cell uses `?` or `.await` by compiling it without support for them, and
//! compiles it again when that has failed. The message that leads to the second attempt can be
//! given at once. A wrong guess costs nothing but the support, which the cell would not have needed.

use super::source::Ordered;
use serde_json::json;

/// In code that supports `?`.
const QUESTION_MARKS: &str = "EvcxrUserCodeError";
/// In code that supports `.await`.
const ASYNC: &str = "evcxr_tokio_runtime";

/// The message with which the compiler is going to refuse the code, as one line.
pub(super) fn failure(ordered: &Ordered, original: &str) -> Option<String> {
    let body = ordered.body(original);
    let signs = signs(body);
    let (code, text) = if signs.awaits && !original.contains(ASYNC) {
        ("E0728", "`await` is only allowed inside `async` functions and blocks")
    } else if signs.question_mark && !original.contains(QUESTION_MARKS) {
        ("E0277", "the `?` operator can only be used in a function that returns `Result`")
    } else {
        return None;
    };
    // On the line of an item: evcxr has another cure for the line of a final expression.
    let line = ordered.any_item()?;
    let span = json!({"file_name": "src/lib.rs", "byte_start": 0, "byte_end": 0, "line_start": line,
        "line_end": line, "column_start": 1, "column_end": 1, "is_primary": true, "text": [], "label": null,
        "suggested_replacement": null, "expansion": null});
    let code = json!({"code": code, "explanation": null});
    let message = json!({"message": text, "code": code, "level": "error", "spans": [span], "children": [],
        "rendered": text});
    Some(format!("{message}\n"))
}

#[derive(Default)]
struct Signs {
    question_mark: bool,
    awaits: bool,
}

/// What stands in the code outside of strings, comments, and bodies that begin on the same line as
/// `async`, `fn` or a closure. A rough look is enough.
fn signs(body: &str) -> Signs {
    let mut signs = Signs::default();
    let mut before = ' ';
    let mut in_string = false;
    for line in body.lines() {
        let mut chars = line.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if in_string => drop(chars.next()),
                '"' => in_string = !in_string,
                _ if in_string => {}
                '\'' if line.get(at..).is_some_and(|rest| rest.starts_with("'\"'")) => {
                    let _ = chars.by_ref().take(2).count();
                }
                '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => break,
                '?' => {
                    signs.question_mark |=
                        matches!(before, ')' | ']' | '}' | '?' | '_') || before.is_alphanumeric()
                }
                '.' => signs.awaits |= line.get(at..).is_some_and(is_await),
                _ => {}
            }
            if !c.is_whitespace() && !in_string {
                before = c;
            }
        }
    }
    signs
}

fn is_await(rest: &str) -> bool {
    let rest = rest.strip_prefix(".await").unwrap_or("x");
    !rest.starts_with(|c: char| c == '_' || c.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_marks_of_code_are_seen() {
        for code in
            ["a()?;", "let x = y?.z;", "f(a?)", "v[0]?;", "a\n    .b()\n    ?;", "\"s\".parse::<i32>()?"]
        {
            assert!(signs(code).question_mark, "{code}");
        }
        for code in
            ["\"really?\"", "// a()?", "fn f<T: ?Sized>() {}", "'?'", "\"a\\\"b()?\"", "x '\"' \"y()?\""]
        {
            assert!(!signs(code).question_mark, "{code}");
        }
        assert!(signs("f().await;").awaits && signs("a\n.await?").awaits);
        assert!(!signs("x.awaiting()").awaits && !signs("\"x.await\"").awaits);
    }

    #[test]
    fn only_what_is_not_supported_yet_fails() {
        let code = |items: &str, body: &str| {
            format!(
                "#![allow(x)]\n{items}\n#[unsafe(no_mangle)]\npub extern \"C\" fn run_user_code_1(\n{body}\n}}\n"
            )
        };
        let failure = |text: &str| failure(&Ordered::of(text, false), text);
        let message = failure(&code("struct A;", "a()?;")).unwrap();
        assert!(message.contains("E0277") && message.contains("\"line_start\":2"), "{message}");
        assert!(failure(&code("struct A;", "a().await;")).unwrap().contains("E0728"));
        assert!(failure(&code("struct A;", "a();")).is_none());
        assert!(
            failure(&code("fn f() -> Option<u8> { g()? }", "f();")).is_none(),
            "items take care of themselves"
        );
        assert!(failure(&code("struct EvcxrUserCodeError {}", "a()?;")).is_none());
    }
}
