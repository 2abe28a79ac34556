use super::*;

fn knowledge() -> Knowledge {
    let known = Knowledge::default();
    known.learn(
        "/// Twice.\nfn my_fun(x: i32) -> i32 { 2 * x }\nstruct P { x: i32 }\n\
         impl P { fn new() -> P { P { x: 1 } } fn len(&self) -> usize { 1 } }\n\
         enum Shape { Round, Square(u8) }\nuse std::collections::HashMap;\nmacro_rules! mine { () => {} }",
    );
    known.learn(":dep rand-core = \"1\"\nlet v = vec![1];");
    known.set_variables([("v", "Vec<i32>"), ("p", "P")].into_iter());
    known
}

fn texts(known: &Knowledge, code: &str) -> Vec<String> {
    let found = known.complete(code, code.chars().count());
    found.items.into_iter().map(|item| item.text).collect()
}

#[test]
fn names_are_completed() {
    let known = knowledge();
    for (code, expected) in [
        ("let é = 1; my_", "my_fun"),
        ("x + v", "vec!"),
        ("Sha", "Shape"),
        ("HashM", "HashMap"),
        ("rand_", "rand_core"),
        ("pri", "println!"),
        ("mat", "match"),
        ("mi", "mine!"),
        ("Shape::Sq", "Square"),
        ("P::ne", "new"),
        ("p.le", "len"),
        ("v.pu", "push"),
        ("v.wind", "windows"),
        ("let mut local_name = 1;\nloc", "local_name"),
        (":va", ":vars"),
    ] {
        assert!(texts(&known, code).contains(&expected.to_owned()), "{code}: {:?}", texts(&known, code));
    }
    for code in ["\"my_", "// my_", "unknown.", "unknown::", "p.ne", "v.x.", ":dep my"] {
        assert!(texts(&known, code).is_empty(), "{code}: {:?}", texts(&known, code));
    }
    let found = known.complete("é + my_", 7);
    assert_eq!((found.start, found.end), (4, 7));
    assert_eq!(found.items[0], words::completion("my_fun", "function", "fn my_fun(x: i32) -> i32"));
}

#[test]
fn what_the_analysis_said_is_said_again() {
    let known = knowledge();
    let wanted = known.wanted().unwrap();
    assert_eq!(wanted.code, "p.", "the newest variable first");
    known.provide(wanted, &Completions::default());
    assert_eq!(known.wanted().unwrap().code, "v.");
    let list = |name: &str| Completions {
        items: vec![words::completion(name, "function", "")],
        ..Completions::default()
    };
    known.remember_completions("v.", 2, &list("push"));
    known.remember_completions("v.pu", 4, &list("never"));
    assert_eq!(texts(&known, "1 + v.p"), ["push"]);
    assert_eq!(known.wanted().unwrap().code, "std::");
    known.remember_completions("use std::fmt::", 14, &list("Debug"));
    assert_eq!(texts(&known, "std::fmt::"), ["Debug"]);
    known.remember_inspection("v.push(", 6, &MimeBundle::text("fn push"));
    assert_eq!(known.inspect("x; v.push(1)", 6).unwrap().plain(), "fn push");
}

#[test]
fn names_are_explained() {
    let known = knowledge();
    let plain = |code: &str, at| known.inspect(code, at).map(|found| found.plain().to_owned());
    assert_eq!(plain("v", 1).unwrap(), "v: Vec<i32>");
    assert_eq!(plain("my_fun(2)", 3).unwrap(), "fn my_fun(x: i32) -> i32\n\nTwice.");
    assert_eq!(plain("p.len()", 4).unwrap(), "fn len(&self) -> usize");
    assert!(plain("for", 1).unwrap().contains("Loops over"));
    assert!(plain("println!(", 9).unwrap().contains("Prints a line"));
    assert_eq!(plain("\"v\"", 2), None);
    assert_eq!(plain("unknown", 2), None);
    let found = known.inspect("my_fun", 2).unwrap();
    assert!(found.data["text/html"].as_str().unwrap().contains("my_fun(x: i32) -&gt; i32"));
    assert!(found.data["text/markdown"].as_str().unwrap().starts_with("```rust\nfn my_fun"));
}

#[test]
fn clearing_forgets_and_types_that_change_are_asked_anew() {
    let known = knowledge();
    known.remember_completions(
        "p.",
        2,
        &Completions { items: vec![words::completion("a", "function", "")], ..Completions::default() },
    );
    known.learn("struct P { y: u8 }");
    assert!(!texts(&known, "p.").contains(&"a".to_owned()));
    known.learn(":clear");
    assert!(texts(&known, "my_").is_empty() && known.inspect("v", 1).is_none());
}

#[test]
fn lists_are_bounded() {
    let known = Knowledge::default();
    let one = Completions {
        items: vec![words::completion("a", "function", ""); MAX_LIST + 1],
        ..Completions::default()
    };
    for n in 0..=MAX_LISTS {
        let code = format!("m{n}::");
        known.remember_completions(&code, code.len(), &one);
    }
    let facts = known.read();
    assert_eq!(facts.lists.map.len(), MAX_LISTS);
    assert!(!facts.lists.map.contains_key("m0::") && facts.lists.map["m1::"].len() == MAX_LIST);
}

#[test]
fn members_are_listed_once_while_they_are_the_same() {
    let known = knowledge();
    let members = |code: &str| {
        let found = known.members(code, code.chars().count());
        found.map(|found| found.items.into_iter().map(|item| item.text).collect::<Vec<_>>())
    };
    assert_eq!(members("v.pu"), None, "the analysis has not said anything yet");
    // Of another `v` nothing is remembered for this one.
    let other = words::completion("push_str", "function", "");
    for code in ["let v = String::new();\nv.", "|v| v.", "use std::io::Write; v."] {
        let found = Completions { items: vec![other.clone()], ..Completions::default() };
        known.remember_completions(code, code.chars().count(), &found);
        assert_eq!(members("v.pu"), None, "{code}");
    }
    let items = ["push", "pop"].map(|name| words::completion(name, "function", "")).to_vec();
    known.remember_completions("v.", 2, &Completions { items, ..Completions::default() });
    assert_eq!(members("v.pu").unwrap(), ["push"]);
    assert_eq!(members("let n = v.len();\nenv.x(); v.").unwrap(), ["pop", "push"]);
    // It may be another `v`, or have other methods.
    for code in [
        "let v = 1;\nv.pu",
        "|v| v.pu",
        "for v in 0..1 { v.pu",
        "use std::io::Write;\nv.pu",
        "v.zz",
        "w.v.pu",
    ] {
        assert_eq!(members(code), None, "{code}");
    }
    known.learn("use rand::prelude::*;");
    assert_eq!(members("v.pu"), None);
}
