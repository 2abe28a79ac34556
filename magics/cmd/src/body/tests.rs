use super::*;
use crate::grammar::Command as Cmd;
use dds_core::form::FieldKind;

fn words(line: &str) -> Vec<String> {
    shlex::split(line).unwrap()
}

fn error(head: &str, body: &str) -> String {
    let e = parse(&words(head), body, 2).unwrap_err();
    assert_eq!(e.kind, dds_core::Kind::Usage);
    format!("{} | {}", e.message, e.hint.unwrap_or_default())
}

#[test]
fn flags_win_over_the_body() {
    let line = parse(
        &words("--json data --size 64"),
        "# the drawings\npath = \"art\"\nname = 'clip art'\nsize = 128\nvalid = 0.25\nseed = 0x10\nresize = \"pad\"",
        2,
    )
    .unwrap();
    assert!(line.json);
    let Some(CellCommand::Common(Cmd::Data(data))) = line.command else { panic!() };
    assert_eq!((data.path.as_str(), data.name.as_deref()), ("art", Some("clip art")));
    assert_eq!((data.size, data.valid, data.seed, data.resize.as_str()), (64, 0.25, 16, "pad"));
    assert_eq!(data.split, "stratified");
}

#[test]
fn positionals_lists_and_booleans() {
    let line = parse(&words("-C sub show"), "targets = [\"-a.jpg\", \"b c.jpg\"]\nmax = 2", 2).unwrap();
    assert_eq!(line.dir.as_deref(), Some("sub"));
    let Some(CellCommand::Common(Cmd::Show(show))) = line.command else { panic!() };
    assert_eq!(show.targets, ["-a.jpg", "b c.jpg"]);

    let line = parse(&words("mount http://h/o/r"), "dir = \"art\"", 2).unwrap();
    let Some(CellCommand::Common(Cmd::Mount(mount))) = line.command else { panic!() };
    assert_eq!((mount.url.as_str(), mount.dir.as_str()), ("http://h/o/r", "art"));

    for (body, expected) in [("long = true", true), ("long = false", false), ("", false)] {
        let line = parse(&words("ls"), body, 2).unwrap();
        let Some(CellCommand::Common(Cmd::Ls(ls))) = line.command else { panic!() };
        assert_eq!((ls.long, ls.target.as_str()), (expected, ""));
    }
    let line = parse(&words("top-losses"), "max = 3", 2).unwrap();
    assert!(matches!(line.command, Some(CellCommand::Common(Cmd::TopLosses(t))) if t.max == 3));
}

#[test]
fn a_form_with_its_fields() {
    let body = "title = \"T\"\nrun = [\"predict\", \"$photo\", \"--model\", \"m\"]\n\n[[field]]\nname = \"photo\"\n\
                kind = \"image\"\n[[field]]\nname = \"k\"\nkind = \"number\"\nmin = 1\ndefault = 4\n";
    let line = parse(&words("app --submit Go"), body, 2).unwrap();
    let Some(CellCommand::App(form)) = line.command else { panic!() };
    assert_eq!((form.title.as_str(), form.submit.as_str()), ("T", "Go"));
    assert_eq!(form.run, ["predict", "$photo", "--model", "m"]);
    assert_eq!(form.field.len(), 2);
    assert_eq!((form.field[1].kind, form.field[1].min), (FieldKind::Number, Some(1.0)));
    assert_eq!(form.field[1].default.as_deref(), Some("4"));
}

#[test]
fn mistakes_name_line_and_key() {
    for (head, body, expected) in [
        (
            "data",
            "path = \"a\"\nsplt = \"every:5\"",
            "line 3: `data` has no key \"splt\" | did you mean `split`?",
        ),
        ("mounts", "x = 1", "line 2: `mounts` has no key \"x\" | it takes no keys"),
        ("cd", "zzz = 1", "line 2: `cd` has no key \"zzz\" | keys: dir"),
        (
            "data",
            "path = \"a\"\n\nsize = \"128\"",
            "line 4: `size` takes a whole number, 0 or more, not text | write size = 128",
        ),
        (
            "data",
            "path = \"a\"\nsize = -1",
            "line 3: `size` takes a whole number, 0 or more, not -1 | write size = 1",
        ),
        ("data", "path = 2024", "line 2: `path` takes text, not a number | write path = \"2024\""),
        (
            "data",
            "path = \"a\"\nvalid = true",
            "line 3: `valid` takes a number, not true or false | write valid = 1",
        ),
        (
            "data",
            "path = \"a\"\nresize = \"sqash\"",
            "line 3: `resize` takes squash, crop or pad, not \"sqash\" | did you mean `squash`?",
        ),
        ("ls", "long = 1", "line 2: `long` takes true or false, not a number | write long = true"),
        ("data", "path = [\"a\"]", "line 2: `path` takes text, not a list | write path = \"…\""),
        ("clone", "dir = \"art\"", "`clone` needs URL (repository URL) | add `url = \"…\"` to the cell"),
    ] {
        assert_eq!(error(head, body), expected, "{head} / {body}");
    }
    for (head, body, start) in [
        ("data", "path = \"a\"\nsize 128", "line 3: "),
        ("data", "path = \"a\"\npath = \"b\"", "line 3: duplicate key"),
        ("data", "size = 99999999999", "line 2: --size "),
        (
            "data",
            "size = 3",
            "`data` needs --path PATH (folder of images: local, mounted, or URL[@REV]:PATH) | add `path = …`",
        ),
        ("shwo", "a = 1", "there is no command \"shwo\""),
        ("data --siez 3", "path = \"a\"", "`data` has no flag --siez | did you mean `--size`?"),
        ("app", "[[field]]\nname = \"a\"\nkidn = \"image\"", "line 4: unknown field `kidn`"),
        ("app", "[[field]]\nname = \"a\"\nkind = \"imag\"", "line 4: unknown variant `imag`"),
        ("app", "[[field]]\nname = \"a\"\nrun = [\"x\"]", "line 4: unknown field `run`"),
    ] {
        let e = error(head, body);
        assert!(e.starts_with(start), "{e}");
    }
    assert!(error("app", "[[field]]\nname = \"a\"\nrun = [\"x\"]").ends_with("above the first [[field]]"));
    assert!(error("app", "[[field]]\nname = \"a\"\nkind = \"imag\"").ends_with("did you mean `image`?"));
}

#[test]
fn an_empty_body_is_a_line() {
    assert_eq!(
        parse(&words("data --path a"), "\n# nothing\n", 2).unwrap(),
        grammar::cell(&words("data --path a")).unwrap()
    );
    assert!(parse(&[], "", 2).unwrap().command.is_none());
}

#[test]
fn a_body_becomes_the_words_of_a_shell() {
    let words = |head: &str, body: &str| as_words(&shlex::split(head).unwrap(), body, 2).unwrap();
    assert_eq!(
        words("data --name two", "path = \"a b\"\nsize = 64"),
        ["data", "--path=a b", "--name=two", "--size=64"]
    );
    assert_eq!(words("show", "targets = [\"a.jpg\", \"b.jpg\"]"), ["show", "--", "a.jpg", "b.jpg"]);
    assert_eq!(words("nope", "x = 1"), ["nope"]);
    assert!(as_words(&["data".into()], "pth = 1", 2).is_err());
}
