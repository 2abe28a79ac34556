use super::super::tests::{exchange, get, put};
use super::super::{ServeOptions, Server};
use super::*;
use crate::testing::{Sample, git};
use dds_core::Secret;
use std::path::PathBuf;

const AUTH: &str = "Authorization: Bearer t0ken\r\n";

/// A server of `class`, with one repository of `ana`'s, bare or not.
fn class(sample: &Sample, bare: bool, options: ServeOptions) -> (Server, PathBuf) {
    let root = sample.home.path().join("class");
    std::fs::create_dir_all(root.join("ana")).unwrap();
    let from = sample.repo.to_str().unwrap();
    if bare {
        git(&root.join("ana"), &["clone", "-q", "--bare", from, "Art.git"]);
    } else {
        git(&root.join("ana"), &["clone", "-q", from, "Art"]);
    }
    let token = Some(Secret::new("t0ken"));
    (Server::start(&root, ServeOptions { token, ..options }, &sample.cx()).unwrap(), root)
}

fn create(server: &Server, target: &str, headers: &str, form: &str) -> (u16, String) {
    let answer = exchange(
        server,
        &format!(
            "POST /api/v1/{target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{form}",
            form.len()
        ),
    );
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[test]
fn a_new_repository_takes_uploads() {
    for bare in [false, true] {
        let sample = Sample::new();
        let (server, root) = class(&sample, bare, ServeOptions::default());
        let (status, answer) = create(&server, "org/ana/repos", AUTH, "name=new&private=False");
        assert!(status == 201 && answer.contains("\"full_name\":\"ana/new\""), "{answer}");
        assert!(
            answer.contains("\"empty\":true") && answer.contains("\"default_branch\":\"main\""),
            "{answer}"
        );
        let at = root.join(if bare { "ana/new.git" } else { "ana/new" });
        assert_eq!(git(&at, &["rev-parse", "--is-bare-repository"]), bare.to_string());
        let json = format!("{AUTH}Content-Type: application/json\r\n");
        assert_eq!(create(&server, "user/repos", &json, "{\"name\": \"own\"}").0, 201);
        for (owner, name) in [("ana", "new"), ("local", "own")] {
            let api = format!("/api/v1/repos/{owner}/{name}");
            let (status, answer) =
                put_with(&server, &format!("{api}/content/main/pics"), &[("a.jpg", b"\xff\xd8a")]);
            assert_eq!(status, 200, "{answer}");
            let (status, answer) =
                super::super::tests::ask(&server, "GET", &format!("{api}/raw/main/pics/a.jpg"), AUTH);
            assert!(status == 200 && answer.ends_with('a'), "{answer}");
        }
        let hidden = std::fs::read_dir(root.join("ana")).unwrap().flatten();
        assert!(hidden.map(|e| e.file_name()).all(|n| !n.to_str().unwrap().starts_with('.')));
    }
}

/// As [`put`], with the token.
fn put_with(server: &Server, target: &str, files: &[(&str, &[u8])]) -> (u16, String) {
    super::super::tests::put_as(server, target, AUTH, &[], files)
}

#[test]
fn names_that_lead_elsewhere_or_look_like_another_are_refused() {
    let sample = Sample::new();
    let (server, root) = class(&sample, false, ServeOptions::default());
    let before = crate::testing::git(&root.join("ana/Art"), &["rev-parse", "main"]);
    for (name, wanted) in [
        ("Art", 409),
        ("art", 409),
        ("ART", 409),
        ("", 400),
        ("..", 400),
        (".hidden", 400),
        ("-x", 400),
        ("a..b", 400),
        ("a%2Fb", 400),
        ("..%2Fb", 400),
        ("a%5Cb", 400),
        ("a b", 400),
        ("a+b", 400),
        ("a%00", 400),
        ("a%0Ab", 400),
        ("%C3%BC", 400),
        ("a.git", 400),
        ("a.GIT", 400),
        ("a.", 400),
        ("a.lock", 400),
        ("a%3Fb", 400),
        (&"a".repeat(101), 400),
    ] {
        let (status, answer) = create(&server, "org/ana/repos", AUTH, &format!("name={name}"));
        assert_eq!(status, wanted, "{name}: {answer}");
    }
    for (target, wanted) in
        [("org/none/repos", 404), ("org/../repos", 404), ("org/%2e%2e/repos", 404), ("org/ANA/repos", 404)]
    {
        assert_eq!(create(&server, target, AUTH, "name=fine").0, wanted, "{target}");
    }
    assert_eq!(create(&server, "org/ana/repos", AUTH, "name=fine&auto_init=True").0, 422);
    std::os::unix::fs::symlink(sample.home.path(), root.join("ben")).unwrap();
    assert_eq!(create(&server, "org/ben/repos", AUTH, "name=fine").0, 404, "through a link");
    let left: Vec<_> =
        std::fs::read_dir(root.join("ana")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["Art"]);
    assert_eq!(crate::testing::git(&root.join("ana/Art"), &["rev-parse", "main"]), before);
    // Two at once: one of them.
    let made: Vec<u16> = std::thread::scope(|s| {
        let asked = [0; 6].map(|_| s.spawn(|| create(&server, "org/ana/repos", AUTH, "name=twice").0));
        asked.map(|a| a.join().unwrap()).to_vec()
    });
    assert_eq!(made.iter().filter(|s| **s == 201).count(), 1, "{made:?}");
    assert!(made.iter().all(|s| matches!(s, 201 | 409)));
}

#[test]
fn an_owner_has_repositories_and_is_none() {
    let sample = Sample::new();
    let (server, root) = class(&sample, false, ServeOptions::default());
    let from = sample.repo.to_str().unwrap();
    // A plain folder, a working tree, one with a repository within, and a bare repository.
    std::fs::create_dir_all(root.join("files/pictures")).unwrap();
    git(&root, &["clone", "-q", from, "tree"]);
    git(&root, &["clone", "-q", from, "outer"]);
    git(&root.join("outer"), &["clone", "-q", from, "inner"]);
    git(&root, &["clone", "-q", "--bare", from, "bare"]);
    for owner in ["files", "tree", "outer", "bare"] {
        let before = std::fs::read_dir(root.join(owner)).unwrap().count();
        assert_eq!(create(&server, &format!("org/{owner}/repos"), AUTH, "name=fine").0, 404, "{owner}");
        assert_eq!(std::fs::read_dir(root.join(owner)).unwrap().count(), before, "{owner}");
    }
    git(&root.join("files"), &["clone", "-q", from, "one"]);
    assert_eq!(create(&server, "org/files/repos", AUTH, "name=fine").0, 201);
    // One's own folder needs none, but is no working tree either.
    git(&root, &["clone", "-q", from, "local"]);
    assert_eq!(create(&server, "user/repos", AUTH, "name=fine").0, 404);
    std::fs::remove_dir_all(root.join("local")).unwrap();
    std::fs::create_dir(root.join("local")).unwrap();
    assert_eq!(create(&server, "user/repos", AUTH, "name=fine").0, 201);
}

#[test]
fn who_may_not_write_creates_nothing() {
    let sample = Sample::new();
    let (server, root) = class(&sample, false, ServeOptions::default());
    assert_eq!(create(&server, "user/repos", "", "name=x").0, 401);
    assert_eq!(create(&server, "user/repos", "Authorization: Bearer no\r\n", "name=x").0, 401);
    drop(server);
    let open = Server::start(&root, ServeOptions::default(), &sample.cx()).unwrap();
    assert_eq!(create(&open, "user/repos", "", "name=x").0, 401, "nobody needs a token here");
    assert_eq!(get(&open, "/api/v1/user/repos").0, 404);
    drop(open);
    let token = || Some(Secret::new("t0ken"));
    let options = ServeOptions { token: token(), read_only: true, ..ServeOptions::default() };
    let reading = Server::start(&root, options, &sample.cx()).unwrap();
    assert_eq!(create(&reading, "user/repos", AUTH, "name=x").0, 401);
    let one = sample.serve(ServeOptions { token: token(), ..ServeOptions::default() });
    assert_eq!(create(&one, "user/repos", AUTH, "name=x").0, 400, "a server of one repository");
    assert!(!root.join("local").exists());
    assert_eq!(put(&one, "/api/v1/user/repos", &[], &[]).0, 401);
}

#[test]
fn forms() {
    let form = |name: &str, filled| Form { name: name.into(), filled };
    assert_eq!(Form::of_fields(b"name=a%2Bb&auto_init=False&x").unwrap(), form("a+b", false));
    assert_eq!(Form::of_fields(b"auto_init=True&name=a").unwrap(), form("a", true));
    assert!(Form::of_fields(b"name=%ff").is_err() && Form::of_fields(b"\xff").is_err());
    assert_eq!(Form::of_json(b"{\"name\":\"a\",\"auto_init\":true}").unwrap(), form("a", true));
    assert!(Form::of_json(b"name=a").is_err() && Form::of_json(b"{}").unwrap().name.is_empty());
}
