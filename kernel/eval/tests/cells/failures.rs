//! Compile errors and panics: the user's lines, the compiler's code and help, what to type next;
//! nothing of what is generated.

use super::stage::{Stage, Test, plain};

pub const TESTS: &[Test] = &[
    ("mismatched_types", mismatched_types),
    ("changes_are_shown", changes_are_shown),
    ("places_of_imports_and_open_ends", places_of_imports_and_open_ends),
    ("errors_after_directives", errors_after_directives),
    ("nothing_generated_is_shown", nothing_generated_is_shown),
    ("values_without_debug", values_without_debug),
    ("errors_between_cells", errors_between_cells),
    ("variables_that_cannot_be_kept", variables_that_cannot_be_kept),
    ("panics_name_the_calls", panics_name_the_calls),
];

/// The traceback of a cell that fails, without colours.
#[track_caller]
fn shown(stage: &mut Stage, code: &str) -> String {
    let text = plain(&stage.error(code).traceback);
    for word in ["evcxr", "EVCXR", "DdsShow", "src/lib.rs", "catch_unwind(", "run_user_code", "dds_prelude"] {
        assert!(!text.contains(word), "{code:?} shows {word}:\n{text}");
    }
    text
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

fn mismatched_types(stage: &mut Stage) {
    let error = stage.error("let good = 1;\nlet é: i32 = \"a\"; let 日: u8 = \"b\";");
    assert_eq!(error.ename, "Error[E0308]");
    assert_eq!(error.evalue, "mismatched types");
    assert!(error.traceback[0].contains('\u{1b}'));
    let text = plain(&error.traceback);
    assert!(text.starts_with("error[E0308]: mismatched types\n --> cell ["), "{text}");
    has(
        &text,
        &[
            "]:2:14\n2 | let é: i32 = \"a\"; let 日: u8 = \"b\";\n  |        ---   ^^^ expected `i32`, found `&str`\n  |        |\n  |        expected due to this\n",
            "  = about this error: https://doc.rust-lang.org/error_codes/E0308.html",
            // A wide character takes two columns.
            "  |                           --   ^^^ expected `u8`, found `&str`\n",
        ],
    );
    assert_eq!(text.matches("error[E0308]").count(), 2, "{text}");
}

fn changes_are_shown(stage: &mut Stage) {
    has(&shown(stage, "let a = 5\nlet b = 6;"), &["1 | let a = 5;\n  |          +"]);
    has(&shown(stage, "let s: Strin = String::new();"), &["1 - let s: Strin =", "1 + let s: String ="]);
    has(
        &shown(stage, "let m: HashMap<u8, u8> = Default::default();"),
        &["  + use std::collections::HashMap;"],
    );
    has(&shown(stage, "fn f() -> u8 {\n    let x = (1;\n    2\n}"), &["unclosed delimiter"]);
    has(
        &shown(stage, "let t = std::thread::spawn(|| 1); let n: Vec<u8> = t; n.lenn()"),
        &["expected `Vec<u8>`, found `JoinHandle<"],
    );
    // Warnings are no errors.
    let text = shown(stage, "fn unused_function(x: u8) { let mut y = 1; }\nlet z: u8 = \"\";");
    assert!(!text.contains("unused") && !text.contains("warning"), "{text}");
}

fn places_of_imports_and_open_ends(stage: &mut Stage) {
    let text = shown(stage, "let a = 1;\nuse nothing::at_all;");
    has(&text, &["]:2:5\n2 | use nothing::at_all;\n  |     ^^^^^^^", ":dep nothing = \"*\""]);
    has(&shown(stage, "1;\n\"unclosed"), &["unterminated double quote string", "]:2:1\n"]);
    has(
        &shown(stage, "1;\nloop { break"),
        &["`{` is not closed before the cell ends", "]:2:6\n2 | loop { break\n  |      ^ opened here"],
    );
    has(&shown(stage, "1 +"), &["the cell ends after `+`", "1 | 1 +\n  |   ^ more must follow"]);
}

fn errors_after_directives(stage: &mut Stage) {
    let text = shown(stage, "let ok = 1;\n:vars\n\nlet v = Vec::<i32>::new();\nv.push(undefined);");
    has(&text, &["]:5:8\n5 | v.push(undefined);"]);
}

fn nothing_generated_is_shown(stage: &mut Stage) {
    stage.value("let earlier = String::new();");
    for code in [
        "let x = 5",
        "let c = |x| x;",
        "let c = |x: i32| x + 1;",
        "let r = &earlier;",
        "fn f( {",
        "earlier.nothing()",
        "let a = vec![1]; let b = a.iter();",
        "struct S; S",
        "struct S; vec![S]",
        "|x: u8| x",
        "drop(earlier); earlier.len()",
        "use nothing::at_all;",
        "\"unclosed",
        "break",
        "earlier +",
        "println!(\"{} {}\", 1)",
        "fn h() -> Option<i32> { let x: i32 = \"5\".parse()?; Some(x) }",
        "match Some(1) { None => 1 }",
        "std::thread::spawn(|| earlier.len());",
    ] {
        let text = shown(stage, code);
        assert!(!stage.error(code).evalue.is_empty() && !text.trim().is_empty(), "{code:?}");
    }
    assert_eq!(stage.value("earlier"), "\"\"");
}

fn values_without_debug(stage: &mut Stage) {
    stage.value("struct Mute;");
    let text = shown(stage, "1;\n  Mute // nothing");
    has(
        &text,
        &[
            "`Mute` doesn't implement `Debug`, so the value of this cell cannot be shown\n",
            "2 |   Mute // nothing\n  |   ^^^^ the value of this cell\n",
            "1 + #[derive(Debug)]\n2 | struct Mute;",
            "or end the cell with `;`",
        ],
    );
}

/// What a cell does to another.
fn errors_between_cells(stage: &mut Stage) {
    stage.value("let fixed = vec![1];\nfn twice(x: i32) -> i32 { 2 * x }");
    has(
        &shown(stage, "fixed.push(2);"),
        &["without `mut`", "1 | let mut fixed = vec![1];", "let mut fixed = fixed;"],
    );
    // The whole error, though the note is what points at a user's line.
    has(
        &shown(stage, "twice(\"a\")"),
        &["expected `i32`, found `&str`", "note: function defined here\n --> cell ["],
    );
    stage.value("drop(fixed);");
    has(&shown(stage, "fixed.len()"), &["took `fixed` by value", "fixed.clone()"]);
    stage.error("fn unfinished() -> i32 { \"\" }\nlet never = 1;");
    has(&shown(stage, "unfinished()"), &["`unfinished` is defined in cell [", "did not compile"]);
    has(&shown(stage, "never"), &["`never` is defined in cell [", "did not compile"]);
    stage.error("let half = 1;\npanic!(\"no\");");
    has(&shown(stage, "half"), &["did not run to its end"]);
}

/// Each with code to type instead, which is then typed.
fn variables_that_cannot_be_kept(stage: &mut Stage) {
    stage.value("let words = vec![String::from(\"a\"), String::from(\"b\")];");
    has(
        &shown(stage, "let first = &words[0];"),
        &[
            "`first` borrows from another value",
            "  |     ^^^^^ this variable holds a reference",
            "1 + let first = words[0].clone();",
        ],
    );
    has(
        &shown(stage, "let lens = words.iter();"),
        &["1 + let lens = words.iter().cloned().collect::<Vec<_>>();"],
    );
    let boxed = "let add: Box<dyn Fn(i32) -> _> = Box::new(|a: i32| a + 1);";
    has(&shown(stage, "let add = |a: i32| a + 1;"), &["`add` is a closure", boxed]);
    stage.value("let first = words[0].clone(); let lens = words.iter().cloned().collect::<Vec<_>>();");
    stage.value(boxed);
    assert_eq!(stage.value("(first.len(), lens.len(), add(1))"), "(1, 2, 2)");
}

fn panics_name_the_calls(stage: &mut Stage) {
    stage.value("fn inner(v: &[i32], at: usize) -> i32 {\n    v[at]\n}\nfn outer(n: usize) -> i32 {\n    let v = vec![1, 2, 3];\n    inner(&v, n)\n}");
    let code = "let kept_not = 1;\n  outer(7)";
    let error = stage.error(code);
    assert_eq!(
        (error.ename.as_str(), error.evalue.as_str()),
        ("panic", "index out of bounds: the len is 3 but the index is 7")
    );
    let text = shown(stage, code);
    has(
        &text,
        &[
            "]:2:5\n2 |     v[at]\n  |     ^\n  in `inner` (cell [",
            "]:2:5)\n  in `outer` (cell [",
            "]:6:5)\n  in this cell (cell [",
            "]:2:3)\n",
        ],
    );
    has(
        &shown(stage, "assert_eq!(1 + 1, 3, \"sums\");"),
        &["assertion `left == right` failed: sums\n  left: 2\n right: 3\n --> cell ["],
    );
    has(&shown(stage, "\"x\".parse::<u8>().unwrap()"), &["`Err` value: ParseIntError", "]:1:19\n"]);
    let (_, record) = stage.run("std::thread::spawn(|| { outer(9); }).join().is_err()");
    has(
        &plain(&[record.err()]),
        &[
            "thread '<unnamed>' panicked at cell [",
            "]:2:5: index out of bounds",
            "in `outer` (cell [",
            "]:6:5)",
        ],
    );
    let (_, record) = stage.run("std::panic::catch_unwind(|| outer(8)).is_err()");
    has(&plain(&[record.err()]), &["] panicked at cell [", "the index is 8"]);
}
