use super::{Completeness, OpenEnd, Role, boundaries, ends_in_expression, in_text, is_complete, open_end};

fn roles(code: &str) -> Vec<Role> {
    boundaries(code).iter().map(|line| line.role).collect()
}

/// One letter a line: R(ust), i(nside), M(agic), S(hell), D(irective), b(ody).
fn letters(code: &str) -> String {
    roles(code)
        .iter()
        .map(|role| match role {
            Role::Rust => 'R',
            Role::Inside => 'i',
            Role::Magic => 'M',
            Role::Shell => 'S',
            Role::Directive => 'D',
            Role::Body => 'b',
        })
        .collect()
}

#[test]
fn commands_stand_at_boundaries_only() {
    for (code, expected) in [
        ("let a = 1;\n%dds show x\nprintln!(\"{a}\");", "RMR"),
        ("1 + 1\n%dds ls", "RM"),
        ("let a =\n!true;", "Ri"),
        ("let b = a\n    != c;", "Ri"),
        ("let b = a\n% 3;", "Ri"),
        ("foo(\n%dds x\n)", "Rii"),
        ("let s = \"\n%dds x\n!ls\n\";\n!ls", "RiiiS"),
        ("let s = r#\"\n%dds \" x\n\"#;\n%dds y", "RiiM"),
        ("/* a /* b */\n%dds x\n*/\n%dds y", "RiiM"),
        ("// it's \"\n%dds y", "RM"),
        ("%dds show it's \"odd\n!echo \"\nlet a = 1;", "MSR"),
        (":dep image = \"0.25\"\nuse image::*;", "DR"),
        ("%%dds train\nepochs = 3\n!x\n%dds y", "Mbbb"),
        ("!echo a \\\n b\nlet a = 1;", "SbR"),
        ("fn f<'a>(x: &'a str) -> char { '\"' }\n%dds x", "RM"),
        ("match '{' { '\\'' => 1, _ => 2 }\n!ls", "RS"),
        ("let x = if a {\n1\n} else {\n2\n};\n!ls", "RiiiiS"),
        ("a\n.b()\n%dds x", "RiM"),
        ("  %dds indented\n", "M"),
        ("", ""),
        ("\n\n!ls\r\n%dds y\r\n", "RRSM"),
        ("b'\"'; b\"\\\"\"; r#type;\n!ls", "RS"),
        ("let é = 'é'; let l = 'é: loop { break 'é };\n!ls", "RS"),
    ] {
        assert_eq!(letters(code), expected, "{code:?}");
    }
}

#[test]
fn line_offsets_cover_the_text() {
    let code = "let a = \"x\ny\";\r\n%dds é\n1";
    let lines: Vec<&str> = boundaries(code).iter().map(|line| &code[line.start..line.end]).collect();
    assert_eq!(lines, code.lines().collect::<Vec<_>>());
}

#[test]
fn values_of_cells() {
    for code in ["1", "let a = 1;\na", "f(\"http://x\") // ;", "%dds ls\nx?", "\"\"", "a\n.b()\n"] {
        assert!(ends_in_expression(code), "{code:?}");
    }
    for code in ["", "f(\"http://x\");", "1; // a", "for a in b { c() }", "a\n%dds ls", "fn f() {}", "1 +"] {
        assert!(!ends_in_expression(code), "{code:?}");
    }
}

#[test]
fn completeness_of_cells() {
    use Completeness::{Complete, Incomplete, Invalid};
    for (code, expected) in [
        ("1 + 1", Complete),
        ("let a = 1;", Complete),
        ("let a = 1", Incomplete { indent: 4 }),
        ("let a = if b { 1 } else { 2 }", Incomplete { indent: 4 }),
        ("fn f() {", Incomplete { indent: 4 }),
        ("fn f()", Incomplete { indent: 4 }),
        ("const fn f() {}", Complete),
        ("pub struct A;", Complete),
        ("pub", Incomplete { indent: 4 }),
        ("fn f() {\n    if a {", Incomplete { indent: 8 }),
        ("fn f() {\n    if a {\n    }", Incomplete { indent: 4 }),
        ("fn f() {}", Complete),
        ("for i in 0..3 { }", Complete),
        ("for i in 0..3", Incomplete { indent: 4 }),
        ("\"a", Incomplete { indent: 0 }),
        ("r#\"a\"", Incomplete { indent: 0 }),
        ("/* a /* */", Incomplete { indent: 0 }),
        ("println!(\"}\")", Complete),
        ("a +", Incomplete { indent: 4 }),
        ("a.b()\n    .c(", Incomplete { indent: 8 }),
        ("0..", Complete),
        ("v?", Complete),
        ("}", Invalid),
        ("(]", Invalid),
        ("#[derive(Debug)]", Incomplete { indent: 0 }),
        ("#[derive(Debug)]\nstruct A;", Complete),
        ("#![allow(unused)]", Complete),
        ("'a'", Complete),
        ("fn f<'a>(s: &'a str) {}", Complete),
        ("%dds ls", Complete),
        ("%dds show it's", Complete),
        ("!echo \\", Incomplete { indent: 0 }),
        ("%%dds train", Incomplete { indent: 0 }),
        ("%%dds train\nepochs = 3", Incomplete { indent: 0 }),
        ("%%dds train\nepochs = 3\n\n", Complete),
        (":dep image", Complete),
        ("", Complete),
        ("// note", Complete),
        ("let x =", Incomplete { indent: 4 }),
        ("foo.", Incomplete { indent: 4 }),
        ("a &&", Incomplete { indent: 4 }),
        ("x as", Incomplete { indent: 4 }),
        ("x..=", Incomplete { indent: 4 }),
        ("x <", Incomplete { indent: 4 }),
        ("|x|", Incomplete { indent: 4 }),
        ("let c = 'a", Incomplete { indent: 4 }),
        ("let c = '\"';", Complete),
        ("b'\\''", Complete),
        ("'\\u{1F600}'", Complete),
        ("let s = r##\"a\"#", Incomplete { indent: 0 }),
        ("r\"\\\"", Complete),
        ("\"a\\\"", Incomplete { indent: 0 }),
        ("loop {\n    break\n}", Complete),
        ("'outer: loop {", Incomplete { indent: 4 }),
        ("match x {\n    1 => {", Incomplete { indent: 8 }),
        ("match x { 1 => 2, _ => 3 }", Complete),
        ("impl A for B", Incomplete { indent: 4 }),
        ("impl A for B {}", Complete),
        ("enum E { A, B }", Complete),
        ("use std::{fs, io", Incomplete { indent: 4 }),
        ("use std::fs", Incomplete { indent: 4 }),
        ("if a { 1 }", Complete),
        ("if a { 1 } else", Incomplete { indent: 4 }),
        ("if a { 1 } else { 2 }", Complete),
        ("async fn f() {}", Complete),
        ("f().await", Complete),
        ("unsafe { f() }", Complete),
        ("let f = |x| x + 1;", Complete),
        ("vec![1, 2", Incomplete { indent: 4 }),
        ("println!(\"{}\",", Incomplete { indent: 4 }),
        ("let Some(x) = y else {", Incomplete { indent: 4 }),
        ("let Some(x) = y else { return };", Complete),
        ("let v: Vec<u8> = Vec::new();", Complete),
        ("macro_rules! m {\n    () => {};\n}", Complete),
        ("trait T { fn a(&self); }", Complete),
        ("type A = u8", Incomplete { indent: 4 }),
        ("static mut A: u8 = 1;", Complete),
        ("([)]", Invalid),
        ("([{", Incomplete { indent: 4 }),
        ("a = b", Complete),
        ("1 // one", Complete),
        ("1 + // one", Incomplete { indent: 4 }),
        ("#[test]\nfn a()", Incomplete { indent: 4 }),
        ("a;\n/* b", Incomplete { indent: 0 }),
    ] {
        assert_eq!(is_complete(code), expected, "{code:?}");
    }
}

/// Every prefix of every cell above must be answered without panic, also cut inside a character.
#[test]
fn any_prefix_is_answered() {
    let code = "let é = r##\"a\"##; 'x: loop { b'\\''; } /* /* */ */ #[a] fn f() {} \"\\\" 'é' r#a\n%dds ü\\\n!x\n%%y\nz";
    for end in code.char_indices().map(|(at, _)| at).chain([code.len()]) {
        let prefix = &code[..end];
        let lines = boundaries(prefix);
        assert_eq!(lines.len(), prefix.lines().count(), "{prefix:?}");
        let _ = is_complete(prefix);
    }
}

#[test]
fn what_is_open_is_pointed_at() {
    for (code, expected) in [
        ("f(1)", None),
        ("let é = (1, [2);", None),
        ("let a = (1, [2];", Some(OpenEnd::Bracket(8..9))),
        ("a; \"b", Some(OpenEnd::Text(3..5))),
        ("a /* b", Some(OpenEnd::Text(2..6))),
        ("a += // what", Some(OpenEnd::After(3..4))),
        ("let a = 1", Some(OpenEnd::After(8..9))),
        ("%%dds x", None),
    ] {
        assert_eq!(open_end(code), expected, "{code:?}");
    }
}

#[test]
fn insides_of_text() {
    // `|` is the place asked about.
    for (code, expected) in [
        ("|\"a\"", false),
        ("\"a|\"", true),
        ("\"a\"|", false),
        ("\"a|", true),
        ("x // a|", true),
        ("x // a\n|", false),
        ("/* a |*/ b", true),
        ("/* a */|", false),
        ("/* a|", true),
        ("r#\"a\"|\"#", true),
        ("'a|'", true),
        ("&'a| str", false),
        ("f(\"é\", b|)", false),
    ] {
        let at = code.find('|').unwrap();
        assert_eq!(in_text(&code.replacen('|', "", 1), at), expected, "{code:?}");
    }
}
