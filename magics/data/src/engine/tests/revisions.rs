//! `tree`, `head`, `diff` and `log`, over a folder, a clone, a mount and a server.

use super::*;

impl Setup {
    fn tree(&self, target: &str, depth: Option<usize>, dirs: bool) -> Result<Outcome> {
        self.data.tree(&rq::Tree { target: target.into(), depth, dirs }, &self.sample.cx())
    }

    fn head(&self, target: &str, rows: usize) -> Result<Outcome> {
        self.data.head(&rq::Head { target: target.into(), rows }, &self.sample.cx())
    }

    fn diff(&self, old: &str, new: Option<&str>, repo: &str) -> Result<Outcome> {
        let r = rq::Diff { old: old.into(), new: new.map(str::to_owned), repo: repo.into() };
        self.data.diff(&r, &self.sample.cx())
    }

    fn log(&self, target: &str, max: usize) -> Result<Outcome> {
        self.data.log(&rq::Log { target: target.into(), max }, &self.sample.cx())
    }

    /// A second commit: one file of DVC more and one changed, one of Git changed and one gone.
    fn change(&self) {
        let home = self.sample.home.path();
        write(&home.join("plain.jpg"), b"changed");
        write(&home.join("new.jpg"), b"new");
        self.upload(&["plain.jpg", "new.jpg"], "art/data/set").unwrap();
        write(&self.sample.repo.join("README.md"), b"# Other art\n");
        git(&self.sample.repo, &["rm", "-q", "notes/ü a..b.txt"]);
        git(&self.sample.repo, &["commit", "-qam", "Second\n\nMore words"]);
    }
}

fn lines(out: &Outcome) -> Vec<&str> {
    out.detail.lines().collect()
}

#[test]
fn a_tree_of_everything() {
    let s = setup();
    let server = s.sample.serve(ServeOptions::default());
    s.mount(&server.repo_url());
    for target in [format!("{}:data", server.repo_url()), "mnt/data".into(), "art@main:data".into()] {
        let out = s.tree(&target, None, false).unwrap();
        assert!(out.summary.ends_with("3 folders, 7 files, 3.1 kB"), "{target}: {}", out.summary);
        assert!(lines(&out)[1].starts_with("├── set/  5 files, "), "{}", out.detail);
        let inner = |l: &&str| l.starts_with("│   └── ") && l.ends_with("plain.jpg  500 B");
        assert!(lines(&out).iter().any(inner), "{}", out.detail);
        let flat = s.tree(&target, Some(1), false).unwrap();
        assert_eq!(lines(&flat).len(), 3);
        assert_eq!(flat.json["tree"], out.json["tree"]);
        let dirs = s.tree(&target, None, true).unwrap();
        assert_eq!(lines(&dirs).len(), 3, "{}", dirs.detail);
    }
    // A folder of this machine, without what is Git's.
    let out = s.tree("art", None, false).unwrap();
    assert!(out.detail.contains("README.md  6 B") && !out.detail.contains("HEAD"), "{}", out.detail);
    std::fs::create_dir(s.sample.home.path().join("empty")).unwrap();
    assert!(s.tree("empty", None, false).unwrap().summary.ends_with("empty: 0 files, 0 B"));
    assert_eq!(s.tree("art", Some(0), false).unwrap_err().kind, Kind::Usage);
    assert_eq!(s.tree("nowhere", None, false).unwrap_err().kind, Kind::NotFound);
    for n in 0..=MAX_ROWS {
        write(&s.sample.home.path().join(format!("many/{n}")), b"");
    }
    let out = s.tree("many", None, false).unwrap();
    assert_eq!(lines(&out).len(), MAX_ROWS + 1);
    assert!(out.detail.ends_with("… and 1 more lines (--depth N shows fewer levels, --json all)"));
    assert_eq!(out.json["tree"]["children"].as_array().unwrap().len(), MAX_ROWS + 1);
}

#[test]
fn the_head_of_a_table_and_of_a_text() {
    let s = setup();
    let home = s.sample.home.path();
    write(
        &home.join("labels.csv"),
        "name,count,note\ncat,1,\"a, b\"\ndog,20,\u{1b}[31m\nowl,3,<b>\n".as_bytes(),
    );
    s.upload(&["labels.csv"], "art/tables").unwrap();
    let server = s.sample.serve(ServeOptions::default());
    s.mount(&server.repo_url());
    for target in [
        "labels.csv".to_owned(),
        "mnt/tables/labels.csv".into(),
        format!("{}:tables/labels.csv", server.repo_url()),
    ] {
        let out = s.head(&target, 2).unwrap();
        assert!(out.summary.ends_with("labels.csv: 3 rows, 3 columns; the first 2"), "{}", out.summary);
        assert_eq!(lines(&out)[0], "name  count  note");
        assert_eq!(lines(&out)[1], "cat       1  a, b");
        assert_eq!(out.json["rows"][1], json!(["dog", "20", "\u{1b}[31m"]));
        assert!(!out.detail.contains('\u{1b}') && out.html.unwrap().contains("a, b"));
    }
    let out = s.head("labels.csv", 3).unwrap();
    assert!(out.summary.ends_with("3 rows, 3 columns") && out.html.unwrap().contains("&lt;b&gt;"));
    assert_eq!(lines(&s.head("mnt/README.md", 5).unwrap()), ["# Art"]);
    // Of a long file only the front is read.
    let long = "a,b\n".to_owned() + &"1,2\n".repeat(1 << 19);
    write(&home.join("long.csv"), long.as_bytes());
    let out = s.head("long.csv", 1).unwrap();
    assert!(
        out.summary.ends_with("the first 1 row, 2 columns") && out.json["whole"] == false,
        "{}",
        out.summary
    );
    write(&home.join("x.parquet"), b"PAR1\0\0");
    write(&home.join("x.bin"), b"a\0b");
    let e = s.head("x.parquet", 1).unwrap_err();
    assert!(e.kind == Kind::Format && e.message.contains("broken Parquet file"), "{e}");
    assert_eq!(s.head("x.bin", 1).unwrap_err().kind, Kind::Format);
    assert_eq!(s.head("art", 1).unwrap_err().kind, Kind::Usage);
    assert_eq!(s.head("nowhere.csv", 1).unwrap_err().kind, Kind::NotFound);
}

#[test]
fn what_changed_between_two_revisions() {
    let s = setup();
    git(&s.sample.repo, &["tag", "v1"]);
    s.change();
    let server = s.sample.serve(ServeOptions::default());
    s.mount(&server.repo_url());
    // Git keeps a text file beside DVC's data that names them.
    let all = ["README.md", "data/set.dvc", "data/set/plain.jpg"];
    for (repo, new) in [
        ("art".to_owned(), Some("main")),
        ("art".into(), None),
        ("mnt".into(), None),
        (server.repo_url(), Some("main")),
    ] {
        let out = s.diff("v1", new, &repo).unwrap();
        assert!(out.summary.ends_with(": 1 added, 3 changed, 1 removed"), "{repo}: {}", out.summary);
        let changed: Vec<&str> =
            out.json["changed"].as_array().unwrap().iter().map(|c| c["path"].as_str().unwrap()).collect();
        assert_eq!(changed, all, "{repo}");
        let row = |mark: &str| {
            lines(&out).into_iter().filter(|l| l.starts_with(mark)).collect::<Vec<_>>().join("\n")
        };
        assert!(row("+").contains("3 B  dvc") && row("+").contains("data/set/new.jpg"), "{}", out.detail);
        assert!(row("-").contains("3 B  git") && row("-").contains("notes/ü a..b.txt"), "{}", out.detail);
        assert!(row("~").contains("500 B → 7 B  dvc"), "{}", out.detail);
    }
    let out = s.diff("v1", Some("main"), "art/data").unwrap();
    assert!(out.summary.contains(": 1 added, 2 changed"), "{}", out.summary);
    let out = s.diff("HEAD~2", Some("v1"), "art").unwrap();
    assert!(out.summary.ends_with(": no differences") && out.detail.is_empty(), "{}", out.summary);
    // A folder that the newer one has lost.
    let out = s.diff("v1", Some("main"), &format!("{}:notes", server.repo_url())).unwrap();
    assert!(out.summary.ends_with(": 1 removed"), "{}", out.summary);
    for (old, new, repo, kind) in [
        ("none", None, "art", Kind::NotFound),
        ("HEAD~99", None, "art", Kind::NotFound),
        ("HEAD^3", None, "art", Kind::NotFound),
        ("v1", Some("none"), "art", Kind::NotFound),
        ("v1", None, "art/nowhere", Kind::NotFound),
        ("-x", None, "art", Kind::Usage),
        ("v1", Some("http://h/o/r"), "art", Kind::Usage),
        ("v1", None, "", Kind::Usage),
    ] {
        let e = s.diff(old, new, repo).unwrap_err();
        assert_eq!(e.kind, kind, "{old} {new:?} {repo}: {e}");
    }
}

#[test]
fn the_commits_of_a_repository() {
    let s = setup();
    git(&s.sample.repo, &["tag", "v1"]);
    s.change();
    let server = s.sample.serve(ServeOptions::default());
    s.mount(&server.repo_url());
    for target in ["art".to_owned(), "mnt".into(), server.repo_url(), format!("{}.git", server.repo_url())] {
        let out = s.log(&target, 9).unwrap();
        assert!(out.summary.ends_with(": 3 commits"), "{target}: {}", out.summary);
        let newest = &out.json["commits"][0];
        assert_eq!(newest["commit"], s.sample.head().as_str(), "{target}");
        assert_eq!(
            (&newest["message"], &newest["author"]["name"]),
            (&json!("Second\n\nMore words"), &json!("T"))
        );
        let row = lines(&out)[1];
        assert!(row.starts_with(&s.sample.head()[..10]) && row.ends_with(" Second"), "{}", out.detail);
        assert_eq!(out.json["commits"][2]["message"], "Add data", "{}", out.detail);
    }
    git(s.sample.home.path(), &["clone", "-q", "art", "copy"]);
    let out = s.diff("origin/main^", Some("origin/main"), "copy").unwrap();
    assert!(out.summary.ends_with(": 1 changed, 1 removed"), "{}", out.summary);
    let out = s.log(&format!("{}@v1", server.repo_url()), 9).unwrap();
    assert!(out.summary.ends_with(": 1 commit"), "{}", out.summary);
    let out = s.log("art", 2).unwrap();
    assert!(out.summary.ends_with(": the newest 2 commits") && out.json["more"] == true, "{}", out.summary);
    assert!(s.log("art@HEAD~1", 9).unwrap().summary.ends_with(": 2 commits"));
    // What a checked-out commit has, not what some branch has.
    git(&s.sample.repo, &["checkout", "-q", "v1"]);
    assert!(s.log("art", 9).unwrap().summary.ends_with(": 1 commit"));
    for (target, max, kind) in [
        ("art", 0, Kind::Usage),
        ("nowhere", 1, Kind::Usage),
        ("", 1, Kind::Usage),
        ("art@none", 1, Kind::NotFound),
        ("art:nowhere", 1, Kind::NotFound),
        ("art/nowhere", 1, Kind::NotFound),
    ] {
        let e = s.log(target, max).unwrap_err();
        assert_eq!(e.kind, kind, "{target}: {e}");
    }
}

#[test]
fn the_commits_of_one_file() {
    let s = setup();
    s.change();
    let repo = &s.sample.repo;
    write(&repo.join("README.md"), b"# Third");
    git(repo, &["commit", "-qam", "Third"]);
    let titles = |target: &str| -> Vec<String> {
        let out = s.log(target, 9).unwrap_or_else(|e| panic!("{target}: {e}"));
        let text = |c: &serde_json::Value| c["message"].as_str().unwrap().lines().next().unwrap().to_owned();
        out.json["commits"].as_array().unwrap().iter().map(text).collect()
    };
    let all = titles("art");
    assert_eq!((all.len(), all[0].as_str()), (4, "Third"));
    let uploaded = all[2].as_str();
    let server = s.sample.serve(ServeOptions::default());
    s.mount(&server.repo_url());
    // By Git, by DVC, a folder of DVC's; in the clone, a mount, and by URL.
    for at in ["art/", "art@main:", "mnt/", &format!("{}:", server.repo_url())] {
        assert_eq!(titles(&format!("{at}README.md")), ["Third", "Second", "Add data"], "{at}");
        assert_eq!(titles(&format!("{at}data/set/plain.jpg")), [uploaded, "Add data"], "{at}");
        // Which files of a folder changed stands in a manifest, and those of a server stay there.
        let one = titles(&format!("{at}data/set/animals/cat 1.jpg"));
        let served = !at.starts_with("art");
        assert_eq!(one, if served { vec![uploaded, "Add data"] } else { vec!["Add data"] }, "{at}");
        assert_eq!(titles(&format!("{at}data/set")), [uploaded, "Add data"], "{at}");
    }
}

#[test]
fn a_file_that_only_moved_is_renamed() {
    let s = setup();
    git(&s.sample.repo, &["tag", "v1"]);
    write(&s.sample.repo.join("a/one.txt"), b"the same words");
    write(&s.sample.repo.join("a/two.txt"), b"the same words");
    write(&s.sample.repo.join("a/empty"), b"");
    git(&s.sample.repo, &["add", "a"]);
    git(&s.sample.repo, &["commit", "-qm", "Before"]);
    git(&s.sample.repo, &["tag", "v2"]);
    git(&s.sample.repo, &["mv", "a", "b"]);
    git(&s.sample.repo, &["mv", "b/one.txt", "b/first.txt"]);
    git(&s.sample.repo, &["commit", "-qm", "After"]);
    let out = s.diff("v2", Some("main"), "art").unwrap();
    assert!(out.summary.ends_with(": 1 added, 1 removed, 2 renamed"), "{}", out.summary);
    assert!(out.detail.contains("a/one.txt → b/first.txt") && out.detail.contains("a/two.txt → b/two.txt"));
    assert_eq!(out.json["renamed"][0]["from"], "a/one.txt");
    assert!(s.diff("v1", Some("v2"), "art").unwrap().summary.ends_with(": 3 added"));
}

#[test]
fn a_revision_that_is_not_there_is_named() {
    let s = setup();
    let home = s.sample.home.path();
    git(home, &["clone", "-q", "art", "copy"]);
    std::fs::create_dir(home.join("plain")).unwrap();
    write(&home.join("copy/photo@2x.png"), b"x");
    let cx = s.sample.cx();
    let stat = |target: &str| s.data.stat(&rq::Stat { target: target.into() }, &cx);
    let cat = |target: &str| s.data.cat(&rq::Cat { target: target.into() }, &cx);
    for target in ["copy@nope", "copy@nope:README.md", "copy@origin/nope"] {
        let asked = [s.ls(target, false, false), stat(target), cat(target)];
        for e in asked.map(Result::unwrap_err) {
            assert!(
                e.kind == Kind::NotFound && e.message.contains("no branch, tag or commit"),
                "{target}: {e}"
            );
        }
    }
    assert!(cat("copy@origin/main:README.md").unwrap().detail.starts_with("# Art"));
    assert!(s.ls("copy@origin/main", false, false).is_ok());
    assert_eq!(s.ls("copy@--upload-pack=x", false, false).unwrap_err().kind, Kind::Usage);
    // Files with such names stay files, and folders that are no repositories are none.
    assert_eq!(cat("copy/photo@2x.png").unwrap().detail, "x");
    assert!(!s.ls("plain@x", false, false).unwrap_err().message.contains("commit"));
}
