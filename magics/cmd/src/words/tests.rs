use super::*;

fn plain(line: &str) -> Vec<String> {
    resolve::<Error>(split(line).unwrap(), &mut |e| Ok(format!("<{e}>"))).unwrap()
}

#[test]
fn words_as_in_a_shell() {
    for line in [
        "show a.jpg  b.jpg",
        "show 'a b.jpg' \"c d\".jpg e\\ f",
        "x \"say \\\"hi\\\" \\\\ ok\" ''",
        "größe 'ü\"ö'",
        "",
        "  ",
        "a\tb",
        "--labels 're:(.+)_\\d+\\.jpg'",
    ] {
        assert_eq!(plain(line), shlex::split(line).unwrap(), "{line}");
    }
    assert_eq!(plain(r#"--labels "re:(.+)_\d+\.jpg""#), ["--labels", r"re:(.+)_\d+\.jpg"]);
}

#[test]
fn expressions_are_found_with_their_own_braces_and_strings() {
    for (line, expected) in [
        ("show {x}", vec!["show", "<x>"]),
        ("show {dir}/a.jpg --n={ n + 1 }", vec!["show", "<dir>/a.jpg", "--n=<n + 1>"]),
        ("a {f(\"}\")} b", vec!["a", "<f(\"}\")>", "b"]),
        ("a {m['{']} b", vec!["a", "<m['{']>", "b"]),
        ("a {m['\\'']} b", vec!["a", "<m['\\'']>", "b"]),
        ("a {if b { 1 } else { 2 }} c", vec!["a", "<if b { 1 } else { 2 }>", "c"]),
        ("a '{x} y' \"{z}\"", vec!["a", "<x> y", "<z>"]),
        ("re:\\d{{3}} }} } {{x}}", vec!["re:d{3}", "}", "}", "{x}"]),
        ("{a}{b}", vec!["<a><b>"]),
        ("ü{é}ö", vec!["ü<é>ö"]),
    ] {
        assert_eq!(plain(line), expected, "{line}");
    }
}

#[test]
fn a_value_stays_one_word_and_never_becomes_a_flag() {
    let with =
        |line: &str, value: &str| resolve::<Error>(split(line).unwrap(), &mut |_| Ok(value.to_owned()));
    assert_eq!(with("show {x}", "a b' \"c {y} --out z").unwrap(), ["show", "a b' \"c {y} --out z"]);
    assert_eq!(with("show {x}", "").unwrap(), ["show", ""]);
    assert_eq!(with("show --out={x}", "--json").unwrap(), ["show", "--out=--json"]);
    for line in ["show {x}", "show \"{x}\"", "show ''{x}"] {
        let e = with(line, "--out=/etc/passwd").unwrap_err();
        assert_eq!(e.message, "the value of {x} begins with '-'");
    }
}

#[test]
fn half_open_lines_are_refused_with_a_way_out() {
    for (line, message) in [
        ("show 'a", "the quote ' is not closed"),
        ("show \"a", "the quote \" is not closed"),
        ("show {a", "the `{` before \"a\" is not closed"),
        ("show {f(\"}", "the `{` before \"f(\\\"}\" is not closed"),
        ("show { }", "there is nothing between `{` and `}`"),
    ] {
        let e = split(line).unwrap_err();
        assert_eq!(e.message, message);
        assert!(e.hint.is_some());
    }
}

#[test]
fn half_typed_lines_have_a_word_under_the_cursor() {
    let last = |text: &str| {
        let w = typed(text).pop().unwrap();
        (w.start, w.text, w.quote, w.in_expr)
    };
    assert_eq!(last("show ar"), (5, "ar".into(), None, false));
    assert_eq!(last("show "), (5, "".into(), None, false));
    assert_eq!(last("show a\\ b"), (5, "a b".into(), None, false));
    assert_eq!(last("show 'a b"), (5, "a b".into(), Some('\''), false));
    assert_eq!(last("show {x.l"), (5, "{x.l".into(), None, true));
    assert_eq!(last("show {x}/a"), (5, "{x}/a".into(), None, false));
    for text in ["a b.jpg", "it's", "x{1}", "ü\\", "plain"] {
        for open in [None, Some('"')] {
            let line = quoted(text, open) + open.map(String::from).unwrap_or_default().as_str();
            assert_eq!(plain(&line), [text], "{line}");
        }
    }
}

/// With files `a.jpg`, `b c.jpg` and `-x` for every pattern, which is shown as a word of its own.
fn with_files(line: &str) -> Vec<String> {
    resolve_with::<Error>(split(line).unwrap(), &mut |e| Ok(format!("<{e}*>")), &mut |p| {
        if p.glob.contains("none") {
            return Ok(Vec::new());
        }
        let home = if p.home { "HOME" } else { "" };
        Ok(vec![format!("{home}{}", p.glob), "-x".into()])
    })
    .unwrap()
}

#[test]
fn patterns_become_files_and_quoted_ones_stay() {
    for (line, expected) in [
        ("show art/*.jpg", vec!["show", "art/*.jpg", "./-x"]),
        ("show 'art/*.jpg' \"?\" \\*", vec!["show", "art/*.jpg", "?", "*"]),
        ("show 'a*b'[0-9]?", vec!["show", "a\\*b[0-9\\]?", "./-x"]),
        ("show {d}/*", vec!["show", "<d\\*>/*", "./-x"]),
        ("show ~/a ~", vec!["show", "HOME/a", "./-x", "HOME", "./-x"]),
        ("show a~ ~b '~'/c", vec!["show", "a~", "~b", "~/c"]),
        ("show none*", vec!["show", "none*"]),
        ("ls http://h/o/r:* --labels=re:.*", vec!["ls", "http://h/o/r:*", "--labels=re:.*"]),
    ] {
        assert_eq!(with_files(line), expected, "{line}");
    }
}

#[test]
fn comments_and_a_last_semicolon_are_no_words() {
    for (line, expected) in [
        ("ls art # all of it", vec!["ls", "art"]),
        ("ls a#b '#c' \\#d", vec!["ls", "a#b", "#c", "#d"]),
        ("ls art // all", vec!["ls", "art"]),
        ("ls //server/x", vec!["ls", "//server/x"]),
        ("ls art;", vec!["ls", "art"]),
        ("ls art ;  # done", vec!["ls", "art"]),
        ("ls 'a;b'", vec!["ls", "a;b"]),
        ("# only this", vec![]),
    ] {
        assert_eq!(plain(line), expected, "{line}");
    }
    let e = split("ls a; ls b").unwrap_err();
    assert!(e.message.contains("behind the `;`") && e.hint.unwrap().contains("one command per line"));
}
