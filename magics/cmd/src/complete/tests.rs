use super::*;

struct Around;

impl Surroundings for Around {
    fn paths(&self, partial: &str) -> Vec<String> {
        ["art/", "art/a b.jpg", "art/ü.jpg", "notes.ipynb"]
            .iter()
            .filter(|p| p.starts_with(partial))
            .map(|p| (*p).to_owned())
            .collect()
    }

    fn names(&self) -> Vec<String> {
        vec!["clipart".into(), "birds".into()]
    }

    fn programs(&self, partial: &str) -> Vec<String> {
        ["cargo", "cat"].iter().filter(|p| p.starts_with(partial)).map(|p| (*p).to_owned()).collect()
    }
}

/// Completes at the `|` of `code`; the answer is what stands between start and end, and the texts.
fn at(code: &str) -> Option<(String, Vec<String>)> {
    let cursor = code.chars().position(|c| c == '|').unwrap();
    let code = code.replacen('|', "", 1);
    let found = complete(&code, cursor, &Around)?;
    assert_eq!(found.end, cursor);
    let replaced = code.chars().skip(found.start).take(found.end - found.start).collect();
    Some((replaced, found.items.into_iter().map(|i| i.text).collect()))
}

#[test]
fn completion_table() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("%|", "%", &["%dds", "%%dds"]),
        ("%d|", "%d", &["%dds"]),
        ("%%d|", "%%d", &["%%dds"]),
        ("%dds sh|", "sh", &["show"]),
        ("%dds mo|", "mo", &["mount", "mounts"]),
        ("%dds top|", "top", &["top-losses"]),
        ("%dds help pr|", "pr", &["probe", "predict"]),
        ("%dds show --s|", "--s", &["--size"]),
        ("%dds show --|", "--", &["--size", "--max", "--columns", "--crop", "--flip", "--out", "--json"]),
        ("%dds show --size 3 --s|", "--s", &[]),
        ("%dds mount u d --via |", "", &["auto", "fuse", "stream", "copy"]),
        ("%dds mount u d --via=f|", "--via=f", &["--via=fuse"]),
        ("%dds show ar|", "ar", &["art/", "art/a\\ b.jpg", "art/ü.jpg"]),
        ("%dds show \"art/a|", "\"art/a", &["\"art/a b.jpg"]),
        ("%dds show art/ü|", "art/ü", &["art/ü.jpg"]),
        ("%dds show x.jpg ar|", "ar", &["art/", "art/a\\ b.jpg", "art/ü.jpg"]),
        ("%dds -C ar|", "ar", &["art/", "art/a\\ b.jpg", "art/ü.jpg"]),
        ("%dds --j|", "--j", &["--json"]),
        ("%dds mounts |", "", &["--json"]),
        ("%dds probe --data |", "", &["clipart", "birds"]),
        ("%dds predict x --model b|", "b", &["birds"]),
        ("%dds predict x --model a|", "a", &["art/", "art/a\\ b.jpg", "art/ü.jpg"]),
        ("%dds show --out=n|", "--out=n", &["--out=notes.ipynb"]),
        ("%dds ls https://h/o|", "https://h/o", &[]),
        ("%dds nope x|", "x", &[]),
        ("%dds show {x.l|", "", &[]),
        ("let ü = 1;\n%dds sh|", "sh", &["show"]),
        ("%dds upload a \\\n --t|", "--t", &["--to", "--token"]),
        ("%%dds data --na|", "--na", &["--name"]),
        ("%%dds data\nre|", "re", &["resize"]),
        (
            "%%dds data\nname = \"x\"\n|",
            "",
            &["path", "name", "labels", "split", "valid", "seed", "size", "resize"],
        ),
        ("%%dds data\nresize = |", "", &["\"squash\"", "\"crop\"", "\"pad\""]),
        ("%%dds data\nresize = \"s|", "s", &["squash"]),
        ("%%dds data\npath = \"art/a|", "art/a", &["art/a b.jpg"]),
        ("%%dds ls\nlong = t|", "t", &["true"]),
        ("%%dds app\nfi|", "fi", &["field"]),
    ];
    for (code, replaced, items) in cases {
        let (was, found) = at(code).unwrap_or_else(|| panic!("{code}"));
        assert_eq!(
            (was.as_str(), found),
            (*replaced, items.iter().map(|i| (*i).to_owned()).collect()),
            "{code}"
        );
    }
}

#[test]
fn rust_is_not_ours() {
    for code in ["let a = b.|", "let s = \"\n%dds sh|\n\";", "1 %| 2", "|", "%dds ls\nlet a|", "%dds ls\n|"] {
        assert_eq!(at(code), None, "{code}");
    }
}

#[test]
fn commands_carry_their_description() {
    let found = complete("%dds sho", 8, &Around).unwrap();
    let item = &found.items[0];
    assert_eq!(
        (item.kind.as_str(), item.signature.as_str()),
        ("function", "Show images inline, as one grid with captions")
    );
}

#[test]
fn any_cursor_is_answered() {
    for code in ["%dds show 'é ü' {x} \\\n --out=ü\nlet é = 1;", "%%dds data\nname = \"é\"\nü"] {
        for cursor in 0..=code.chars().count() + 3 {
            let _ = complete(code, cursor, &Around);
            let _ = crate::inspect(code, cursor);
        }
    }
}

#[test]
fn shell_lines_complete_programs_and_paths() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("!ca|", "ca", &["cargo", "cat"]),
        ("let a = 1;\n  ! ca|", "ca", &["cargo", "cat"]),
        ("!cat art/a|", "art/a", &["art/a\\ b.jpg"]),
        ("!cat \"art/a|", "\"art/a", &["\"art/a b.jpg"]),
        ("!cat art/|", "art/", &["art/", "art/a\\ b.jpg", "art/ü.jpg"]),
        ("!ls art && ca|", "ca", &["cargo", "cat"]),
        ("!A=1 ca|", "ca", &["cargo", "cat"]),
        ("!cat x >no|", ">no", &[">notes.ipynb"]),
        ("!cat no|tes.ipynb", "no", &["notes.ipynb"]),
        ("!cat {no|", "{no", &[]),
    ];
    for (code, replaced, items) in cases {
        let found = at(code).unwrap_or_else(|| panic!("{code}: nothing"));
        assert_eq!(
            found,
            ((*replaced).to_owned(), items.iter().map(|i| (*i).to_owned()).collect()),
            "{code}"
        );
    }
}

#[test]
fn the_rust_that_time_measures_is_completed_as_rust() {
    for code in ["%dds time v.le|", "%dds time --runs 3 |", "%%dds time\nv.le|", "%%dds time\n|"] {
        assert_eq!(at(code), None, "{code}");
    }
    assert_eq!(at("%dds time --ru|").unwrap().1, ["--runs"]);
    assert_eq!(at("%dds ti|").unwrap().1, ["time"]);
}
