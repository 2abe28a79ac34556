use super::*;
use crate::hash;
use crate::testing::{NAMES, Sample, content, git, path, write};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends bytes as they are and reads until the server closes.
pub(super) fn exchange(server: &Server, request: &str) -> String {
    String::from_utf8_lossy(&exchange_bytes(server, request)).into_owned()
}

pub(super) fn exchange_bytes(server: &Server, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

pub(super) fn ask(server: &Server, method: &str, target: &str, headers: &str) -> (u16, String) {
    let answer = exchange(
        server,
        &format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n"),
    );
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, answer)
}

pub(super) fn get(server: &Server, target: &str) -> (u16, String) {
    ask(server, "GET", target, "")
}

const API: &str = "/api/v1/repos/local/art";

/// One multipart upload; `files` are (name as sent, bytes).
pub(super) fn put(
    server: &Server,
    target: &str,
    fields: &[(&str, &str)],
    files: &[(&str, &[u8])],
) -> (u16, String) {
    put_as(server, target, "", fields, files)
}

pub(super) fn put_as(
    server: &Server,
    target: &str,
    headers: &str,
    fields: &[(&str, &str)],
    files: &[(&str, &[u8])],
) -> (u16, String) {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
        );
    }
    for (name, bytes) in files {
        body.extend(
            format!("--B\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\r\n")
                .bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--B--\r\n");
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "PUT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let _ = stream.write_all(&body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0), answer)
}

fn etag(answer: &str) -> String {
    let line = answer.lines().find(|l| l.to_ascii_lowercase().starts_with("etag:")).unwrap();
    line[5..].trim().to_owned()
}

/// A repository beside a tree that nobody may see, with links into it.
fn with_canary() -> Sample {
    let sample = Sample::new();
    write(&sample.home.path().join("outside/canary.txt"), b"CANARY-7f3a");
    write(&sample.home.path().join("art-sibling/canary.txt"), b"CANARY-7f3a");
    write(&sample.repo.join(".git/canary.txt"), b"CANARY-7f3a");
    write(&sample.repo.join("untracked.txt"), b"CANARY-7f3a");
    for (to, name) in [("../outside/canary.txt", "link.txt"), ("../outside", "linked"), ("/", "everything")] {
        std::os::unix::fs::symlink(to, sample.repo.join(name)).unwrap();
    }
    git(&sample.repo, &["add", "link.txt", "linked", "everything"]);
    git(&sample.repo, &["commit", "-qm", "links"]);
    sample
}

#[test]
fn no_path_leads_out_of_the_repository() {
    let sample = with_canary();
    let server = sample.serve(ServeOptions::default());
    let home = sample.home.path().display().to_string();
    let ups = [
        "..",
        "%2e%2e",
        "%2E.",
        "%252e%252e",
        "..%5c",
        "..\\",
        "%c0%ae%c0%ae",
        "..;",
        "...",
        "%2e%2e%2f",
        ". .",
        "..%00",
        "..%20",
    ];
    let tails = [
        "outside/canary.txt",
        "outside%2fcanary.txt",
        "art-sibling/canary.txt",
        "-sibling/canary.txt",
        ".git/canary.txt",
        "%2egit/canary.txt",
        ".GIT/canary.txt",
        "untracked.txt",
        "link.txt",
        "linked/canary.txt",
        "linked",
        "everything",
        "everything/etc/passwd",
        "etc/passwd",
        "etc%2fpasswd",
        "C:/x",
        "%00",
        "data/set/../../../outside/canary.txt",
    ];
    let mut corpus = vec![
        format!("{home}/outside/canary.txt"),
        home.replace('/', "%2f"),
        format!("%2f{home}/outside/canary.txt"),
    ];
    for tail in tails {
        corpus.push(tail.to_owned());
        for up in ups {
            for depth in [1, 2, 3, 5] {
                let climb = format!("{up}/").repeat(depth);
                corpus.push(format!("{climb}{tail}"));
                corpus.push(format!("data/set/{climb}{tail}"));
            }
        }
    }
    let roots = [
        format!("{API}/raw/main"),
        format!("{API}/content/main"),
        format!("{API}/raw"),
        "/local/art.git".into(),
        String::new(),
    ];
    let mut asked = 0;
    // One connection for all of them: what the server makes of a path is the same.
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for root in &roots {
        for tail in &corpus {
            if tail.contains([' ', '\\']) && root.is_empty() {
                continue;
            }
            let target = format!("{root}/{tail}").replace(' ', "%20").replace('\\', "%5C");
            // In one piece: small writes would wait for each other's acknowledgement.
            let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let answer = read_answer(&mut stream);
            assert!(!answer.contains("CANARY-7f3a") && !answer.contains("root:x:"), "{target}");
            asked += 1;
        }
    }
    assert!(asked >= 2000, "{asked}");
    // The honest path still works, so the refusals above mean something.
    assert_eq!(get(&server, &format!("{API}/raw/main/README.md")).0, 200);
    let (_, listing) = get(&server, &format!("{API}/content/main/?recursive=true"));
    assert!(listing.contains("README.md") && !listing.contains("link") && !listing.contains("everything"));
}

/// One answer of a connection that stays open.
pub(super) fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let length =
        head.split("content-length: ").nth(1).and_then(|l| l.split('\r').next()).map(|l| l.parse().unwrap());
    if let Some(length) = length {
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        answer.extend(body);
    } else {
        assert!(!head.contains("chunked"), "answers have a length");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn the_token_guards_every_route() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions { token: Some(Secret::new("t0ken")), ..ServeOptions::default() });
    let routes = [
        "/healthz",
        "/api/v1/user",
        API,
        &format!("{API}/branches"),
        &format!("{API}/branches/main"),
        &format!("{API}/storage"),
        &format!("{API}/content/main/"),
        &format!("{API}/raw/main/README.md"),
        "/local/art.git/info/refs?service=git-upload-pack",
        "/nothing",
    ];
    for route in routes {
        let (status, answer) = get(&server, route);
        assert_eq!(status, 401, "{route}");
        assert!(!answer.contains("t0ken"));
        assert_eq!(ask(&server, "GET", route, "Authorization: Bearer t0ke\r\n").0, 401, "{route}");
        let good = ask(&server, "GET", route, "Authorization: Bearer t0ken\r\n").0;
        assert_eq!(good, if route == "/nothing" { 404 } else { 200 }, "{route}");
    }
    assert_eq!(put(&server, &format!("{API}/content/main/x"), &[], &[("a.txt", b"a")]).0, 401);
    assert_eq!(sample.head(), git(&sample.repo, &["rev-list", "--max-parents=0", "main"]));
}

#[test]
fn a_foreign_host_name_is_refused_without_a_token() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let asked = |host: &str| {
        let answer =
            exchange(&server, &format!("GET {API} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(asked("rebound.example"), "401");
    assert_eq!(asked("127.0.0.1.rebound.example:80"), "401");
    assert_eq!(asked(&format!("127.0.0.1:{}", server.addr().port())), "200");
    assert_eq!(asked("localhost"), "200");
}

#[test]
fn ranges_tags_and_heads() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let target = format!("{API}/raw/main/{}", crate::percent::path("data/set/animals/cat 1.jpg"));
    let bytes = content("animals/cat 1.jpg");
    let tag = format!("\"{}\"", hash::md5(&bytes));
    let (status, answer) = get(&server, &target);
    assert!(
        status == 200
            && answer.contains(&tag)
            && answer.ends_with(&String::from_utf8(bytes.clone()).unwrap())
    );
    assert!(answer.contains("x-content-type-options: nosniff") && answer.contains("sandbox"));
    let (status, answer) = ask(&server, "GET", &target, "Range: bytes=4-10\r\n");
    assert!(status == 206 && answer.ends_with("content"), "{answer}");
    assert!(answer.contains(&format!("content-range: bytes 4-10/{}", bytes.len())));
    let (status, answer) = ask(&server, "GET", &target, "Range: bytes=99999-\r\n");
    assert!(status == 416 && answer.contains(&format!("content-range: bytes */{}", bytes.len())));
    assert_eq!(ask(&server, "GET", &target, "Range: bytes=4-10\r\nIf-Range: \"other\"\r\n").0, 200);
    assert_eq!(ask(&server, "GET", &target, &format!("Range: bytes=4-10\r\nIf-Range: {tag}\r\n")).0, 206);
    assert_eq!(ask(&server, "GET", &target, &format!("If-None-Match: {tag}\r\n")).0, 304);
    let (status, answer) = ask(&server, "HEAD", &target, "");
    assert!(status == 200 && answer.ends_with("\r\n\r\n"));
    assert!(answer.contains(&format!("content-length: {}", bytes.len())));
    assert_eq!(ask(&server, "DELETE", &target, "").0, 400);
    assert_eq!(get(&server, &format!("{API}/raw/main/data/set")).0, 404);
}

/// Waits until a further change of any file shows in its metadata.
pub(super) fn settled(sample: &Sample) {
    let stamp = |at: &Path| std::fs::metadata(at).unwrap();
    let probe = sample.home.path().join("probe");
    write(&probe, b"x");
    let began = stamp(&probe).modified().unwrap();
    crate::testing::until("the clock of the files to move on", || {
        write(&probe, b"x");
        let now = stamp(&probe).modified().unwrap();
        now.duration_since(began).is_ok_and(|past| past > Duration::from_millis(500))
    });
}

#[test]
fn what_is_known_is_forgotten_with_the_first_change() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let target = format!("{API}/raw/main/data/set/plain.jpg");
    let bytes = String::from_utf8(content("plain.jpg")).unwrap();
    settled(&sample);
    for _ in 0..3 {
        let (status, answer) = get(&server, &target);
        assert!(status == 200 && answer.ends_with(&bytes));
    }
    // Another commit, by this server and by another process.
    assert_eq!(put(&server, &format!("{API}/content/main/data%2Fset"), &[], &[("plain.jpg", b"new")]).0, 200);
    assert!(get(&server, &target).1.ends_with("\r\n\r\nnew"));
    settled(&sample);
    assert!(get(&server, &target).1.ends_with("\r\n\r\nnew"));
    git(&sample.repo, &["update-ref", "refs/heads/main", "main~1"]);
    assert!(get(&server, &target).1.ends_with(&bytes));
    // Other bytes of the same length in the same file, wherever it lies.
    let digest = hash::md5(bytes.as_bytes());
    for store in [sample.repo.join(".dvc/cache"), sample.home.path().join("remote")] {
        let at = crate::store::BlobStore::new(store).path(&digest, crate::store::Layout::V3);
        if at.exists() {
            let writable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            std::fs::set_permissions(&at, writable).unwrap();
            std::fs::write(&at, bytes.replace("content", "CONTENT")).unwrap();
        }
    }
    let (status, answer) = get(&server, &target);
    assert!(status == 500 && answer.contains("damaged") && !answer.contains("CONTENT"), "{answer}");
}

#[test]
fn listings_are_compressed_when_asked() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let target = format!("{API}/content/main/?recursive=true");
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("content-encoding: gzip"));
    let plain = get(&server, &target).1;
    assert!(!plain.contains("content-encoding") && plain.len() > answer.len());
    assert!(get(&server, API).1.contains(&format!("{EXTENSIONS_HEADER}: {RECURSIVE_EXTENSION},changes")));
}

#[test]
fn oversized_headers_are_refused_and_the_server_goes_on() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let (status, _) = ask(&server, "GET", API, &format!("X: {}\r\n", "y".repeat(2 * MAX_HEADER_BYTES)));
    assert!(status == 431 || status == 0, "{status}");
    assert_eq!(get(&server, API).0, 200);
}

#[test]
fn shutdown_frees_the_port() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let addr = server.addr();
    let open = TcpStream::connect(addr).unwrap();
    let stopped = async move {
        server.shutdown().await;
        Ok(())
    };
    crate::runtime::wait(stopped, &sample.cx()).unwrap();
    drop(open);
    std::net::TcpListener::bind(addr).expect("the port is free");
}

#[test]
fn files_go_where_they_belong() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let first = sample.head();
    let at = |dir: &str| format!("{API}/content/main/{}", crate::percent::segment(dir));
    let big = vec![b'x'; 1 << 20];
    let (status, answer) = put(
        &server,
        &at(""),
        &[("commit_summary", "Add things"), ("last_commit", &first)],
        &[
            ("data/set/new a..b ü.jpg", b"\xff\xd8new"),
            ("data/set/plain.jpg", b"replaced"),
            ("README.md", b"# New\n"),
            ("docs/small.txt", b"text\n"),
            ("docs/large.txt", &big),
            ("pics/one.png", b"png"),
        ],
    );
    assert_eq!(status, 200, "{answer}");
    let commit = etag(&answer);
    assert_eq!(commit, sample.head());
    assert_eq!(git(&sample.repo, &["log", "-1", "--format=%s"]), "Add things");
    assert_eq!(git(&sample.repo, &["rev-parse", "main~1"]), first);
    // In Git, in DVC, and nothing else.
    assert_eq!(
        git(&sample.repo, &["show", "--name-only", "--format=", "main"]),
        "README.md\ndata/set.dvc\ndocs/.gitignore\ndocs/large.txt.dvc\ndocs/small.txt\npics/.gitignore\npics/one.png.dvc"
    );
    assert_eq!(git(&sample.repo, &["status", "--porcelain"]), "", "the working tree follows");
    assert_eq!(std::fs::read(sample.repo.join("data/set/new a..b ü.jpg")).unwrap(), b"\xff\xd8new");
    assert_eq!(std::fs::read(sample.repo.join("data/set/plain.jpg")).unwrap(), b"replaced");
    assert_eq!(std::fs::read(sample.repo.join("docs/large.txt")).unwrap(), big);
    let remote = crate::store::BlobStore::new(sample.home.path().join("remote"));
    assert!(remote.contains(&hash::md5(&big)) && remote.contains(&hash::md5(b"png")), "pushed");
    let (_, listing) = get(&server, &format!("{API}/content/main/data/set?include_size=True"));
    assert!(listing.contains("new a..b ü.jpg"));
    for (name, bytes) in [
        ("data/set/new a..b ü.jpg", &b"\xff\xd8new"[..]),
        ("pics/one.png", b"png"),
        ("docs/small.txt", b"text\n"),
    ] {
        let (status, answer) = get(&server, &format!("{API}/raw/main/{}", crate::percent::path(name)));
        assert_eq!(status, 200, "{name}");
        assert!(answer.as_bytes().ends_with(bytes) || !bytes.is_ascii(), "{name}");
    }
    // The same again changes nothing.
    let again = put(&server, &at("pics"), &[], &[("one.png", b"png")]);
    assert_eq!((again.0, etag(&again.1)), (204, commit.clone()));
    assert_eq!(sample.head(), commit);
}

#[test]
fn a_new_folder_can_become_one_output() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let target = format!("{API}/content/main/new%2Fset");
    let fields = [("is_dvc_dir", "true"), ("versioning", "dvc")];
    let (status, answer) = put(&server, &target, &fields, &[("a.txt", b"a"), ("sub/b c.txt", b"b")]);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        git(&sample.repo, &["show", "main:new/set.dvc"])
            .lines()
            .filter(|l| !l.contains("md5: "))
            .collect::<Vec<_>>(),
        ["outs:", "  size: 2", "  nfiles: 2", "  hash: md5", "  path: set"]
    );
    assert_eq!(git(&sample.repo, &["show", "main:new/.gitignore"]), "/set");
    assert_eq!(std::fs::read(sample.repo.join("new/set/sub/b c.txt")).unwrap(), b"b");
    assert_eq!(put(&server, &target, &fields, &[("c.txt", b"c")]).0, 200);
    assert!(git(&sample.repo, &["show", "main:new/set.dvc"]).contains("nfiles: 3"));
    assert_eq!(git(&sample.repo, &["status", "--porcelain"]), "");
}

/// Status, target, fields, files.
type Refused<'a> = (u16, String, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a [u8])]);

#[test]
fn uploads_that_contradict_are_refused_whole() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let first = sample.head();
    let at = |dir: &str| format!("{API}/content/main/{}", crate::percent::segment(dir));
    let long = "x".repeat(101);
    let refused: &[Refused<'_>] = &[
        (409, at(""), &[("last_commit", &"0".repeat(40))], &[("a.txt", b"a")]),
        (400, at(""), &[("commit_summary", &long)], &[("a.txt", b"a")]),
        (400, at(""), &[("versioning", "svn")], &[("a.txt", b"a")]),
        (400, at(""), &[("commit_choice", "maybe")], &[("a.txt", b"a")]),
        (400, at(""), &[], &[]),
        (400, at(""), &[], &[("", b"a")]),
        (400, at(""), &[], &[("../a.txt", b"a")]),
        (400, at(""), &[], &[("/etc/x", b"a")]),
        (400, at(""), &[], &[(".git/hooks/pre-commit", b"a")]),
        (400, at(""), &[], &[("x/.GIT/config", b"a")]),
        (400, at(""), &[], &[(".dvc/config", b"[core]")]),
        (400, at(".git"), &[], &[("x", b"a")]),
        (400, at("../x"), &[], &[("x", b"a")]),
        (400, at(""), &[], &[("data/set", b"a")]),
        (400, at(""), &[], &[("README.md/x", b"a")]),
        (400, at(""), &[], &[("data/set/plain.jpg/x", b"a")]),
        (400, at(""), &[("versioning", "git")], &[("data/set/x.txt", b"a")]),
        (400, at(""), &[("versioning", "dvc")], &[("README.md", b"a")]),
        (400, at(""), &[], &[("a.txt", b"a"), ("a.txt", b"b")]),
        (422, at(""), &[], &[("x.dvc", b"outs: 7")]),
        (404, format!("{API}/content/other/x"), &[], &[("a.txt", b"a")]),
        (400, format!("{API}/content/-f/x"), &[], &[("a.txt", b"a")]),
        (
            409,
            at(""),
            &[("commit_choice", "commit-to-new-branch"), ("new_branch_name", "main")],
            &[("a.txt", b"a")],
        ),
    ];
    for (status, target, fields, files) in refused {
        let (got, answer) = put(&server, target, fields, files);
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or("");
        assert_eq!(
            got,
            *status,
            "{target} {fields:?} {:?}: {body}",
            files.iter().map(|f| f.0).collect::<Vec<_>>()
        );
        assert!(body.contains("\"error\":"), "{body}");
    }
    assert_eq!((sample.head(), git(&sample.repo, &["status", "--porcelain"])), (first, String::new()));
    let left: Vec<_> = std::fs::read_dir(sample.repo.join(".dvc/cache/tmp")).unwrap().collect();
    assert!(left.is_empty(), "temporary files are gone: {left:?}");
}

#[test]
fn local_changes_are_never_overwritten() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let first = sample.head();
    let target = format!("{API}/content/main/");
    write(&sample.repo.join("README.md"), b"# Mine\n");
    write(&sample.repo.join("data/set/plain.jpg"), b"mine");
    write(&sample.repo.join("data/set/mine.jpg"), b"mine");
    for name in ["README.md", "data/set/plain.jpg", "data/set/mine.jpg"] {
        let (status, answer) = put(&server, &target, &[], &[(name, b"theirs")]);
        assert!(status == 409 && answer.contains("local changes"), "{name}: {answer}");
        assert!(
            std::fs::read(sample.repo.join(name)).unwrap().to_ascii_lowercase().ends_with(&b"mine"[..])
                || name == "README.md"
        );
    }
    assert_eq!(sample.head(), first);
    assert_eq!(std::fs::read(sample.repo.join("README.md")).unwrap(), b"# Mine\n");
    // A link that leads out stays a link, and nothing is written through it.
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), sample.repo.join("out")).unwrap();
    let (status, _) = put(&server, &target, &[("versioning", "git")], &[("out/x.txt", b"x")]);
    assert_eq!(status, 200);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn other_branches_and_bare_repositories_take_uploads_too() {
    let sample = Sample::new();
    git(&sample.repo, &["branch", "feature/x"]);
    let server = sample.serve(ServeOptions::default());
    let first = sample.head();
    for target in ["feature%2Fx/notes", "feature/x/notes"] {
        let (status, answer) = put(
            &server,
            &format!("{API}/content/{target}"),
            &[],
            &[(&format!("{}.txt", target.len()), b"n")],
        );
        assert_eq!(status, 200, "{answer}");
    }
    let fields = [
        ("commit_choice", "commit-to-new-branch"),
        ("new_branch_name", "fresh"),
        ("last_commit", first.as_str()),
    ];
    assert_eq!(put(&server, &format!("{API}/content/main/"), &fields, &[("f.txt", b"f")]).0, 200);
    assert_eq!(git(&sample.repo, &["log", "--format=%h", "fresh"]).lines().count(), 2);
    assert_eq!((sample.head(), git(&sample.repo, &["status", "--porcelain"])), (first, String::new()));
    git(sample.home.path(), &["clone", "-q", "--bare", "art", "bare.git"]);
    let bare =
        Server::start(&sample.home.path().join("bare.git"), ServeOptions::default(), &sample.cx()).unwrap();
    let target = "/api/v1/repos/local/bare/content/main/data%2Fset";
    assert_eq!(put(&bare, target, &[], &[("bare.jpg", b"bare")]).0, 200);
    let (status, answer) = get(&bare, "/api/v1/repos/local/bare/raw/main/data/set/bare.jpg");
    assert!(status == 200 && answer.ends_with("bare"));
}

#[test]
fn read_only_refuses_and_two_uploads_do_not_cross() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions { read_only: true, ..ServeOptions::default() });
    assert_eq!(put(&server, &format!("{API}/content/main/"), &[], &[("a.txt", b"a")]).0, 401);
    let (one, two) = (sample.serve(ServeOptions::default()), sample.serve(ServeOptions::default()));
    std::thread::scope(|s| {
        for n in 0..12 {
            let server = if n % 2 == 0 { &one } else { &two };
            s.spawn(move || {
                let name = format!("{n}.jpg");
                let (status, answer) =
                    put(server, &format!("{API}/content/main/data%2Fset"), &[], &[(&name, name.as_bytes())]);
                assert_eq!(status, 200, "{answer}");
            });
        }
    });
    assert_eq!(git(&sample.repo, &["log", "--format=%h", "main"]).lines().count(), 13);
    let repository = crate::repository::Repository::open(&sample.repo).unwrap();
    let snapshot = repository.snapshot(repository.resolve(None).unwrap().commit).unwrap();
    assert_eq!(snapshot.list(&path("data/set"), true).unwrap().len(), NAMES.len() + 12);
    assert_eq!(git(&sample.repo, &["status", "--porcelain"]), "");
}

#[test]
fn git_can_fetch_but_not_push() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions { token: Some(Secret::new("t0ken")), ..ServeOptions::default() });
    let url = format!("{}.git", server.repo_url()).replace("http://", "http://me:t0ken@");
    git(sample.home.path(), &["clone", "-q", &url, "cloned"]);
    assert!(sample.home.path().join("cloned/data/set.dvc").exists());
    let auth = "Authorization: Bearer t0ken\r\n";
    for target in [
        "/local/art.git/info/refs?service=git-receive-pack",
        "/local/art.git/info/refs",
        "/local/art.git/HEAD",
    ] {
        assert!(ask(&server, "GET", target, auth).0 >= 400, "{target}");
    }
    assert!(
        ask(&server, "POST", "/local/art.git/git-receive-pack", &format!("{auth}Content-Length: 0\r\n")).0
            >= 400
    );
}

#[test]
fn paths_of_the_server_are_not_told() {
    let gone = std::io::Error::from_raw_os_error(2);
    let lost = Error::io("/srv/private/cache/ab", &gone);
    for e in [lost.clone(), lost.context("a/b.jpg").hint("look at /srv/private")] {
        let response = refuse(&e);
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let read = async move { Ok(axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap()) };
        let said = runtime::wait(read, &Cx::silent("/")).unwrap();
        let said = std::str::from_utf8(&said).unwrap();
        assert!(said.contains("the server could not read this file") && !said.contains("private"), "{said}");
    }
}

#[test]
fn a_folder_of_owners_is_a_server_of_several() {
    let first = Sample::new();
    let home = first.home.path();
    for to in ["class/ana/art", "class/ben/art", "private", "class/ben/bare.git"] {
        std::fs::create_dir_all(home.join(to).parent().unwrap()).unwrap();
        let copied = std::process::Command::new("cp").arg("-r").arg(&first.repo).arg(home.join(to)).status();
        assert!(copied.unwrap().success());
    }
    std::os::unix::fs::symlink(home.join("private"), home.join("class/ana/private")).unwrap();
    write(&home.join("class/ana/notes/x.txt"), b"no repository");
    let server = Server::start(&home.join("class"), ServeOptions::default(), &first.cx()).unwrap();
    assert_eq!(server.repositories(), ["ana/art", "ben/art", "ben/bare"]);
    assert_eq!(server.repo_url(), server.url());
    for found in ["ana/art", "ben/art", "ben/bare"] {
        let (status, body) = get(&server, &format!("/api/v1/repos/{found}"));
        assert!(status == 200 && body.contains(&format!("\"full_name\":\"{found}\"")), "{body}");
        assert!(body.contains(&format!("/{found}.git\"")), "{body}");
    }
    for none in
        ["ana/private", "ana/notes", "ana/none", "none/art", "../private", "%2e%2e/private", "ana/..", "."]
    {
        let (status, body) = get(&server, &format!("/api/v1/repos/{none}"));
        assert!(matches!(status, 400 | 404) && !body.contains(home.to_str().unwrap()), "{none}: {body}");
    }
    assert_eq!(put(&server, "/api/v1/repos/ben/art/content/main/x", &[], &[("a.txt", b"a")]).0, 200);
    assert_ne!(git(&home.join("class/ben/art"), &["rev-parse", "main"]), first.head());
    assert_eq!(git(&home.join("class/ana/art"), &["rev-parse", "main"]), first.head());
    let e = Server::start(&home.join("class/ana/notes"), ServeOptions::default(), &first.cx()).unwrap_err();
    assert!(e.kind == Kind::NotFound && e.hint.unwrap().contains("OWNER/NAME"));
}

#[test]
fn the_access_log_tells_of_each_request() {
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (sample, lines) = (Sample::new(), Lines::default());
    let log = Arc::new(access::AccessLog::to(lines.clone()));
    let server = sample.serve(ServeOptions { access_log: Some(log), ..ServeOptions::default() });
    get(&server, "/healthz?token=s3cret");
    ask(&server, "GET", "/api/v1/repos/no/%22where", "Authorization: Bearer s3cret\r\n");
    let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told.len(), 2);
    assert!(
        told[0].starts_with("127.0.0.1 - - [") && told[0].contains("\"GET /healthz HTTP/1.1\" 200 15 "),
        "{told:?}"
    );
    assert!(
        told[1].contains("\"GET /api/v1/repos/no/%22where HTTP/1.1\" 404 ")
            && !told.concat().contains("s3cret")
    );
}
