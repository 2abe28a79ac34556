//! Compile errors: the user's lines, the compiler's code and help, nothing of what is generated.

use super::stage::{Stage, Test, plain};

pub const TESTS: &[Test] = &[
    ("mismatched_types", mismatched_types),
    ("places_of_imports_and_open_ends", places_of_imports_and_open_ends),
    ("errors_after_directives", errors_after_directives),
    ("nothing_generated_is_shown", nothing_generated_is_shown),
    ("values_without_debug", values_without_debug),
];

fn mismatched_types(stage: &mut Stage) {
    let error = stage.error("let good = 1;\nlet é: i32 = \"a\";");
    assert_eq!(error.ename, "Error[E0308]");
    assert_eq!(error.evalue, "mismatched types");
    let shown = plain(&error.traceback);
    assert!(shown.starts_with("error[E0308]: mismatched types\n --> line 2, column 14\n"), "{shown}");
    assert!(shown.contains("2 | let é: i32 = \"a\";\n"), "{shown}");
    assert!(shown.contains("  |              ^^^ expected `i32`, found `&str`"), "{shown}");
    assert!(shown.contains("  |        --- expected due to this"), "{shown}");
    assert!(error.traceback[0].contains('\u{1b}'));
}

fn places_of_imports_and_open_ends(stage: &mut Stage) {
    let shown = plain(&stage.error("let a = 1;\nuse nothing::at_all;").traceback);
    assert!(shown.contains(" --> line 2, column 5\n2 | use nothing::at_all;\n  |     ^^^^^^^"), "{shown}");
    for code in ["\"unclosed", "loop { break"] {
        assert!(stage.error(code).evalue.contains("the cell ends inside"), "{code}");
    }
}

fn errors_after_directives(stage: &mut Stage) {
    let error = stage.error("let ok = 1;\n:vars\n\nlet v = Vec::<i32>::new();\nv.push(undefined);");
    let shown = plain(&error.traceback);
    assert!(shown.contains("line 5, column 8") && shown.contains("5 | v.push(undefined);"), "{shown}");
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
        "drop(earlier); earlier.len()",
        "use nothing::at_all;",
        "\"unclosed",
    ] {
        let error = stage.error(code);
        let shown = plain(&error.traceback);
        for word in ["evcxr", "EVCXR", "DdsShow", "src/lib.rs", "catch_unwind"] {
            assert!(!shown.contains(word), "{code:?} shows {word}:\n{shown}");
        }
        assert!(!error.evalue.is_empty() && !shown.trim().is_empty(), "{code:?}");
    }
    assert_eq!(stage.value("earlier"), "\"\"");
}

fn values_without_debug(stage: &mut Stage) {
    let error = stage.error("struct Mute;\nMute");
    let shown = plain(&error.traceback);
    assert!(shown.contains("`Mute` doesn't implement `Debug`"), "{shown}");
    assert!(shown.contains("2 | Mute\n  | ^^^^ the value of this cell"), "{shown}");
}
