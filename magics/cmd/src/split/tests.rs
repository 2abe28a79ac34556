use super::*;

/// `R@0 let a = 1;` and so on, one segment a line.
fn shown(code: &str) -> Vec<String> {
    split(code)
        .unwrap()
        .into_iter()
        .map(|s| match s {
            Segment::Rust { text, line } => format!("R@{line} {}", text.trim()),
            Segment::Line { text, line } => format!("L@{line} {text}"),
            Segment::Cell { head, body, line } => format!("C@{line} {head} | {body}"),
            Segment::Shell { command, line } => format!("S@{line} {command}"),
        })
        .collect()
}

#[test]
fn cells_fall_into_segments_in_their_order() {
    let cases: &[(&str, &[&str])] = &[
        ("1 + 1", &["R@0 1 + 1"]),
        ("%dds ls", &["L@0 ls"]),
        ("%dds", &["L@0 "]),
        ("  %dds   ls  art ", &["L@0 ls  art"]),
        (
            "let a = 1;\n%dds show {a}\nlet b = 2;\nb",
            &["R@0 let a = 1;", "L@1 show {a}", "R@2 let b = 2;\nb"],
        ),
        ("%dds ls\n%dds ls art\n!ls", &["L@0 ls", "L@1 ls art", "S@2 ls"]),
        ("%dds upload a.png \\\n   --to art\n1", &["L@0 upload a.png --to art", "R@2 1"]),
        ("%dds \\\nls", &["L@0 ls"]),
        ("!echo a \\\n b\n%dds ls", &["S@0 echo a \\\n b", "L@2 ls"]),
        (
            "%%dds data --name x\npath = \"art\"\n%dds ls\n!x",
            &["C@0 data --name x | path = \"art\"\n%dds ls\n!x"],
        ),
        ("let a = 1;\n%%dds data\npath = \"p\"", &["R@0 let a = 1;", "C@1 data | path = \"p\""]),
        ("%%dds data", &["C@0 data | "]),
        ("// a note\n\n%dds ls\n/* and /* another */ */\n", &["L@2 ls"]),
        ("// a note\nlet a = 1;", &["R@0 // a note\nlet a = 1;"]),
        ("/* open", &["R@0 /* open"]),
        ("", &[]),
        ("\n \n", &[]),
        (":dep image\nuse image::*;\n%dds ls", &["R@0 :dep image\nuse image::*;", "L@2 ls"]),
        ("let s = \"\n%dds ls\n!x\n\";\n%dds ls", &["R@0 let s = \"\n%dds ls\n!x\n\";", "L@4 ls"]),
        ("let s = r#\"\n%dds \"x\n\"#;\n!y", &["R@0 let s = r#\"\n%dds \"x\n\"#;", "S@3 y"]),
        ("/*\n%dds ls\n*/ 1", &["R@0 /*\n%dds ls\n*/ 1"]),
        ("let t = true &&\n!false;", &["R@0 let t = true &&\n!false;"]),
        ("foo(\n    !a,\n    b,\n)", &["R@0 foo(\n    !a,\n    b,\n)"]),
        ("if a\n    != b { 1 } else { 2 }", &["R@0 if a\n    != b { 1 } else { 2 }"]),
        ("let r = a\n    % b;", &["R@0 let r = a\n    % b;"]),
        ("let r = a\n%b;\nr", &["R@0 let r = a\n%b;\nr"]),
        ("println!(\"{}\", 1);\nassert!(true);", &["R@0 println!(\"{}\", 1);\nassert!(true);"]),
        ("fn f() {\n    !true\n}\n!ls", &["R@0 fn f() {\n    !true\n}", "S@3 ls"]),
        ("let x = 1\n%dds ls", &["R@0 let x = 1", "L@1 ls"]),
        ("%dds ls\r\nlet a = 1;\r\n", &["L@0 ls", "R@1 let a = 1;"]),
        ("%dds show größe/ü.jpg\n\"é\"", &["L@0 show größe/ü.jpg", "R@1 \"é\""]),
    ];
    for (code, expected) in cases {
        assert_eq!(shown(code), *expected, "{code:?}");
    }
}

#[test]
fn no_line_is_lost() {
    for code in ["let a = 1;\n%dds ls\nlet b = 2;\n!x\n%%dds data\nk = 1", "a\n\n%dds x\\\ny\n\nb"] {
        let mut covered = 0;
        for segment in split(code).unwrap() {
            assert!(segment.line() >= covered);
            covered = segment.line();
        }
        assert!(covered < code.lines().count());
    }
}

#[test]
fn other_magics_are_named() {
    for (code, message, hint) in [
        (
            "%matplotlib inline",
            "line 1: %matplotlib is not a command of this kernel",
            "commands begin with %dds",
        ),
        (
            "let a = 1;\n%%bash\nls",
            "line 2: %%bash is not a command of this kernel",
            "commands begin with %dds",
        ),
        ("%ddss show", "line 1: %ddss is not a command of this kernel", "did you mean `%dds`?"),
        ("%%dsd data", "line 1: %%dsd is not a command of this kernel", "did you mean `%%dds`?"),
    ] {
        let e = split(code).unwrap_err();
        assert_eq!(e.message, message);
        assert!(e.hint.unwrap().starts_with(hint), "{code}");
    }
}
