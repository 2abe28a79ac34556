//! Completion and inspection.

use super::stage::{Stage, Test};
use dds_core::eval::Evaluator;

pub const TESTS: &[Test] = &[("completions", completions), ("inspections", inspections)];

fn completions(stage: &mut Stage) {
    stage.value("let words = vec![String::new()];");
    let code = "let é = 1;\n%dds show ü\nwords.pu";
    let cursor = code.chars().count();
    let found = stage.evaluator.complete(code, cursor);
    assert_eq!((found.start, found.end), (cursor - 2, cursor));
    let push = found.items.iter().find(|item| item.text == "push").expect("push is offered");
    assert_eq!((push.kind.as_str(), push.signature.as_str()), ("function", "push(value)"));
    assert!(!found.items.iter().any(|item| item.text.contains("evcxr")));
    let found = stage.evaluator.complete(":va", 3);
    assert!(found.items.iter().any(|item| item.text == ":vars"), "{found:?}");
    assert!(stage.evaluator.complete("", 0).items.len() <= 500);
    let _ = stage.evaluator.complete("é", 99);
}

fn inspections(stage: &mut Stage) {
    stage.value("let words: Vec<String> = Vec::new();");
    let found = stage.evaluator.inspect("words", 2).expect("a variable is known");
    assert!(found.plain().contains("Vec<String>"), "{found:?}");
    let code = "/* é */ words.push(";
    let found = stage.evaluator.inspect(code, code.chars().count()).expect("a method is known");
    assert!(found.plain().contains("fn push"), "{found:?}");
    assert_eq!(stage.evaluator.inspect("  ", 1), None);
}
