use super::faulty::{Fault, Faulty};
use super::http::Http;
use super::hub::{Found, HubClient};
use super::memory::{Memory, Page};
use super::transport::Transport;
use super::*;
use crate::hash;
use crate::testing::{Sample, path};
use bytes::Bytes;
use dds_core::{Cx, Error, Kind, Result, Secret};
use reqwest::header::{AUTHORIZATION, IF_RANGE, RANGE};
use std::sync::Arc;
use std::time::Duration;

const BASE: &str = "http://hub.test";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn quick() -> Retry {
    Retry { attempts: 4, pause: Duration::from_millis(1) }
}

fn client(transport: Arc<dyn Transport>, auth: Option<Auth>) -> HubClient {
    HubClient::over(transport, BASE, "o", "r", auth, quick()).unwrap()
}

fn run<T: Send + 'static>(future: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    crate::runtime::wait(future, &Cx::silent("/"))
}

fn raw_url(name: &str) -> String {
    format!("{BASE}/api/v1/repos/o/r/raw/{COMMIT}/{}", crate::percent::path(name))
}

fn bytes() -> Bytes {
    (0..1000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>().into()
}

fn memory() -> Memory {
    let memory = Memory::default();
    memory.put(&raw_url("a b.bin"), bytes());
    memory
}

fn get(client: &HubClient, name: &'static str, range: Option<std::ops::Range<u64>>) -> Result<Bytes> {
    let client = client.clone();
    run(async move { client.raw(COMMIT, &path(name), range, 1 << 20).await })
}

/// What every transport must do, seen through the client.
fn conformance(client: &HubClient, commit: &str, name: &'static str, content: &[u8]) {
    let get = |range: Option<std::ops::Range<u64>>, max: u64| {
        let (client, commit) = (client.clone(), commit.to_owned());
        run(async move { client.raw(&commit, &path(name), range, max).await })
    };
    let len = content.len() as u64;
    assert_eq!(get(None, 1 << 20).unwrap(), content);
    assert_eq!(get(None, len).unwrap(), content);
    assert_eq!(get(None, len - 1).unwrap_err().kind, Kind::Limit);
    assert_eq!(get(Some(0..5), 1 << 20).unwrap(), &content[..5]);
    assert_eq!(get(Some(3..len - 1), 1 << 20).unwrap(), &content[3..content.len() - 1]);
    assert_eq!(get(Some(len - 2..len + 100), 1 << 20).unwrap(), &content[content.len() - 2..]);
    assert_eq!(get(Some(len..len + 1), 1 << 20).unwrap(), &b""[..]);
    assert_eq!(get(Some(5..5), 1 << 20).unwrap(), &b""[..]);
    let (other, commit) = (client.clone(), commit.to_owned());
    let missing = run(async move { other.raw(&commit, &path("no such/file"), None, 9).await });
    let missing = missing.unwrap_err();
    assert_eq!(missing.kind, Kind::NotFound);
    assert!(missing.message.contains("no such/file"), "{missing}");
}

#[test]
fn all_transports_conform() {
    conformance(&client(Arc::new(memory()), None), COMMIT, "a b.bin", &bytes());
    conformance(&client(Arc::new(Faulty::new(Arc::new(memory()), [])), None), COMMIT, "a b.bin", &bytes());
    let sample = Sample::new();
    let server = sample.serve(crate::ServeOptions::default());
    let http = Arc::new(Http::new(&"http://127.0.0.1".parse().unwrap()).unwrap());
    let real = HubClient::over(http, &server.url(), "local", "art", None, quick()).unwrap();
    conformance(
        &real,
        &sample.head(),
        "data/set/animals/cat 1.jpg",
        &crate::testing::content("animals/cat 1.jpg"),
    );
    conformance(&real, &sample.head(), "README.md", b"# Art\n");
}

#[test]
fn reading_survives_passing_faults() {
    use Fault::{Busy, CutAfter, EndAfter, IgnoreRange, LoseAnswer, Refuse, Status, WrongRange};
    for plan in [
        vec![Refuse, Refuse],
        vec![Status(500), Status(503), Status(429)],
        vec![Busy, LoseAnswer],
        vec![CutAfter(0), CutAfter(1), CutAfter(3999)],
        vec![EndAfter(100), EndAfter(0)],
        vec![Refuse, CutAfter(1000), Status(502)],
    ] {
        let faulty = Faulty::new(Arc::new(memory()), plan.clone());
        assert_eq!(get(&client(Arc::new(faulty), None), "a b.bin", None).unwrap(), bytes(), "{plan:?}");
        let faulty = Faulty::new(Arc::new(memory()), plan.clone());
        let part = get(&client(Arc::new(faulty), None), "a b.bin", Some(10..3000));
        assert_eq!(part.unwrap(), bytes().slice(10..3000), "{plan:?}");
    }
    for plan in [
        vec![WrongRange],
        vec![IgnoreRange],
        vec![CutAfter(100), IgnoreRange],
        vec![CutAfter(50), WrongRange],
    ] {
        let faulty = Faulty::new(Arc::new(memory()), plan.clone());
        let part = get(&client(Arc::new(faulty), None), "a b.bin", Some(10..3000));
        assert_eq!(part.unwrap(), bytes().slice(10..3000), "{plan:?}");
    }
}

#[test]
fn a_broken_body_is_continued_where_it_ended() {
    let inner = memory();
    let faulty = Faulty::new(Arc::new(inner.clone()), [Fault::CutAfter(1500)]);
    assert_eq!(get(&client(Arc::new(faulty), None), "a b.bin", None).unwrap(), bytes());
    let seen = inner.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].headers[RANGE], "bytes=1500-");
    assert_eq!(seen[1].headers[IF_RANGE], format!("\"{}\"", hash::md5(&bytes())));
}

#[test]
fn a_dead_server_is_told_after_bounded_attempts() {
    let inner = memory();
    let e =
        get(&client(Arc::new(Faulty::always(Arc::new(inner.clone()), Fault::Refuse)), None), "a b.bin", None)
            .unwrap_err();
    assert_eq!(e.kind, Kind::Unreachable);
    assert_eq!(e.message, "cannot reach http://hub.test after 4 attempts: connection refused");
    assert!(e.hint.is_some() && inner.seen().is_empty());
    let e = get(
        &client(Arc::new(Faulty::always(Arc::new(inner.clone()), Fault::LoseAnswer)), None),
        "a b.bin",
        None,
    )
    .unwrap_err();
    assert_eq!((e.kind, inner.seen().len()), (Kind::Unreachable, 4));
    // Nothing listens on this port: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let http = Arc::new(Http::new(&"http://127.0.0.1".parse().unwrap()).unwrap());
    let real = HubClient::over(http, &format!("http://127.0.0.1:{port}"), "o", "r", None, quick()).unwrap();
    let e = run(async move { real.record().await }).unwrap_err();
    assert_eq!(e.kind, Kind::Unreachable);
    assert!(e.message.contains(&format!("127.0.0.1:{port}")) && e.message.contains("refused"), "{e}");
}

#[test]
fn no_secret_in_any_error() {
    let secret = "s3cr3t-canary";
    let auth = Some(Auth::Token(Secret::new(secret)));
    let leaking = Page {
        status: 401,
        headers: Vec::new(),
        body: format!("{{\"error\": \"bad token {secret}\\u001b[31m\", \"details\": \"{secret}\"}}").into(),
    };
    for status in [400, 401, 403, 404, 409, 413, 422, 500] {
        let inner = memory();
        inner.put_page(&raw_url("x"), Page { status, ..leaking.clone() });
        let c = client(Arc::new(inner), auth.clone());
        let e: Error = get(&c, "x", None).unwrap_err();
        let all = format!("{e} {e:?} {:?} {:?}", c.auth(), e.hint);
        assert!(!all.contains(secret) && !all.contains('\u{1b}'), "{status}: {all}");
    }
    let inner = memory();
    inner.put_page(&raw_url("x"), leaking);
    let e = get(&client(Arc::new(inner.clone()), auth), "x", None).unwrap_err();
    assert_eq!(e.kind, Kind::Unauthorized);
    assert!(e.hint.as_deref().unwrap().contains(
        "pass --token, or set DAGSHUB_CLIENT_HOST=http://hub.test together with DAGSHUB_USER_TOKEN"
    ));
    assert_eq!(inner.seen()[0].headers[AUTHORIZATION], format!("Bearer {secret}"));
    assert!(!format!("{:?}", inner.seen()).contains(secret), "the header is marked sensitive");
}

#[test]
fn credentials_stay_with_their_origin() {
    let auth = || Some(Auth::Login("user".into(), Secret::new("pw")));
    for (to, keeps) in [
        (format!("{BASE}/elsewhere/x"), true),
        ("/elsewhere/x".into(), true),
        ("http://hub.test:81/x".into(), false),
        ("https://hub.test/x".into(), false),
        ("http://other.test/x".into(), false),
        ("http://hub.test.evil.example/x".into(), false),
    ] {
        let inner = memory();
        inner.redirect(&raw_url("moved"), &to);
        let target = reqwest::Url::parse(BASE).unwrap().join(&to).unwrap();
        inner.put(target.as_str(), &b"there"[..]);
        let got = get(&client(Arc::new(inner.clone()), auth()), "moved", None).unwrap();
        assert_eq!(&got[..], b"there", "{to}");
        let seen = inner.seen();
        assert!(seen[0].headers.contains_key(AUTHORIZATION));
        assert_eq!(seen[1].headers.contains_key(AUTHORIZATION), keeps, "{to}");
    }
}

#[test]
fn redirects_cannot_weaken_or_turn_inward() {
    for to in [
        "http://127.0.0.1/x",
        "http://localhost:8080/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/x",
        "http://10.0.0.1/x",
        "http://[::ffff:127.0.0.1]/x",
        "ftp://other.test/x",
        "file:///etc/passwd",
    ] {
        let inner = memory();
        inner.redirect(&raw_url("moved"), to);
        let e = get(&client(Arc::new(inner.clone()), None), "moved", None).unwrap_err();
        assert_eq!((e.kind, inner.seen().len()), (Kind::Unreachable, 1), "{to}");
    }
    let inner = memory();
    inner.redirect(&raw_url("moved"), &raw_url("moved"));
    assert!(
        get(&client(Arc::new(inner.clone()), None), "moved", None).unwrap_err().message.contains("redirects")
    );
    assert!(inner.seen().len() <= 6);
    let secure = Memory::default();
    let at = format!("https://hub.test/api/v1/repos/o/r/raw/{COMMIT}/x");
    secure.redirect(&at, "http://hub.test/x");
    let c = HubClient::over(Arc::new(secure), "https://hub.test", "o", "r", None, quick()).unwrap();
    assert_eq!(get(&c, "x", None).unwrap_err().kind, Kind::Unreachable);
}

#[test]
fn a_name_of_this_network_is_not_asked_for_somebody_on_another() {
    let sample = Sample::new();
    let server = sample.serve(crate::ServeOptions::default());
    let named = server.url().replace("127.0.0.1", "localhost");
    let base: reqwest::Url = named.parse().unwrap();
    let get = |http: Http| {
        let hub = HubClient::over(Arc::new(http), &named, "local", "art", None, quick()).unwrap();
        run(async move { hub.record().await })
    };
    get(Http::new(&base).unwrap()).unwrap();
    let e = get(Http::outward(&base).unwrap()).unwrap_err();
    assert_eq!(e.kind, Kind::Unavailable);
    assert!(e.message.contains("localhost is an address of this machine"), "{e}");
    assert!(e.hint.unwrap().contains(".dvc/config.local"));
}

#[test]
fn what_is_an_address_of_this_network() {
    for (text, private) in [
        ("127.0.0.1", true),
        ("0.0.0.0", true),
        ("0.1.2.3", true),
        ("10.1.2.3", true),
        ("172.16.0.1", true),
        ("172.32.0.1", false),
        ("192.168.1.1", true),
        ("169.254.169.254", true),
        ("100.100.100.200", true),
        ("100.63.255.255", false),
        ("100.128.0.1", false),
        ("8.8.8.8", false),
        ("::1", true),
        ("::", true),
        ("fe80::1", true),
        ("fd00:ec2::254", true),
        ("::ffff:10.0.0.1", true),
        ("::127.0.0.1", true),
        ("64:ff9b::7f00:1", true),
        ("64:ff9b::808:808", false),
        ("2002:7f00:1::", true),
        ("2002:808:808::1", false),
        ("2606:4700::1111", false),
    ] {
        assert_eq!(fetch::is_private_address(text.parse().unwrap()), private, "{text}");
    }
}

#[test]
fn listings_are_checked() {
    let list = |body: &str| {
        let inner = Memory::default();
        inner.put(&format!("{BASE}/api/v1/repos/o/r/content/{COMMIT}/d"), body.as_bytes().to_vec());
        let c = client(Arc::new(inner), None);
        run(async move { c.content(COMMIT, &path("d"), false).await })
    };
    let good = list(
        r#"[{"path":"d/b","type":"file","size":3,"hash":"x","versioning":"dvc","new":1},
        {"path":"d/a","type":"dir","size":0},{"path":"d/s","type":"storage"},
        {"path":"elsewhere/x","type":"file"},{"path":"d/deep/x","type":"file"}]"#,
    );
    let Found::Folder(entries) = good.unwrap() else { panic!() };
    assert_eq!(entries.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["d/a", "d/b"]);
    assert_eq!((entries[1].size, entries[1].digest), (Some(3), None));
    for bad in
        [r#"[{"path":"../x","type":"file"}]"#, r#"[{"path":"/etc/passwd","type":"file"}]"#, "<html>", "7", ""]
    {
        assert_eq!(list(bad).unwrap_err().kind, Kind::Format, "{bad}");
    }
}

#[test]
fn a_record_has_no_business_being_long() {
    let memory = Memory::default();
    let mut record = br#"{"default_branch":"main"}"#.to_vec();
    memory.put(&format!("{BASE}/api/v1/repos/o/r"), record.clone());
    let c = client(Arc::new(memory.clone()), None);
    let asking = c.clone();
    assert_eq!(run(async move { asking.record().await }).unwrap().default_branch, "main");
    record.resize(2 << 20, b' ');
    memory.put(&format!("{BASE}/api/v1/repos/o/r"), record);
    assert_eq!(run(async move { c.record().await }).unwrap_err().kind, Kind::Limit);
}
