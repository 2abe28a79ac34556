//! The gate, the routes and the page, over real HTTP.

use crate::exec::notebook;
use crate::fake::FakeLauncher;
use crate::http::{self, Piece, get, multipart, post, raw};
use dds_app::server::Clock;
use dds_app::{AppOptions, AppServer, Notebook, serve_with};
use dds_core::{Config, Error, Kind, Secret};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Default)]
pub struct TestClock(pub AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// A published notebook with everything around it.
pub struct Running {
    pub server: AppServer,
    pub launcher: FakeLauncher,
    pub clock: Arc<TestClock>,
    pub port: u16,
    pub cookie: Vec<String>,
    pub dir: tempfile::TempDir,
}

pub const TEXT_FORM: &str = r#"form {"id": "t", "title": "Say", "intro": "", "submit": "Go", "run": ["echo", "$words"],
    "fields": [{"name": "words", "kind": "text", "label": "Words"}]}"#;

pub fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

pub async fn start(nb: &Notebook, change: impl FnOnce(&mut AppOptions)) -> Running {
    let launcher = FakeLauncher::default();
    try_start(nb, launcher, change).await.unwrap()
}

pub async fn try_start(
    nb: &Notebook,
    launcher: FakeLauncher,
    change: impl FnOnce(&mut AppOptions),
) -> dds_core::Result<Running> {
    let dir = tempfile::tempdir().unwrap();
    let runtime_dir = dir.path().join("run");
    std::fs::create_dir(dir.path().join("book")).unwrap();
    let file = dir.path().join("book/My app.ipynb");
    nb.write(&file).unwrap();
    std::fs::write(dir.path().join("book/canary.txt"), "CANARY").unwrap();
    let config = Config {
        exe: PathBuf::from("/nonexistent"),
        cache_dir: dir.path().join("cache"),
        config_dir: dir.path().join("config"),
        data_dir: PathBuf::new(),
        runtime_dir,
        dagshub_host: String::new(),
        dagshub_token: None,
        dagshub_login: None,
        threads: 1,
        peers: Default::default(),
    };
    let mut options = AppOptions::new(&config);
    options.token = Some(Secret::new("s3cret"));
    change(&mut options);
    let clock = Arc::new(TestClock::default());
    let server = serve_with(&file, options, Arc::new(launcher.clone()), clock.clone()).await?;
    let port = server.addr.port();
    let entry = get(port, "/?token=s3cret", &[]).await;
    Ok(Running { server, launcher, clock, port, cookie: entry.cookies(), dir })
}

/// Waits until `done`, at most half a minute.
pub async fn until(mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "it did not happen in time");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_token_is_shown_once_and_becomes_a_cookie() {
    let r = start(&notebook(&["md:# Hi", "print x"]), |_| {}).await;
    assert_eq!(r.server.url, format!("http://127.0.0.1:{}/?token=s3cret", r.port));
    let a = get(r.port, "/", &[]).await;
    assert_eq!(a.status, 401);
    assert!(!a.body.contains("Hi") && !a.body.contains("s3cret"));
    assert_eq!(get(r.port, "/?token=wrong", &[]).await.status, 401);

    let a = get(r.port, "/?token=s3cret", &[]).await;
    assert_eq!((a.status, a.header("location")), (303, Some("./")));
    let cookie = a.header("set-cookie").unwrap();
    assert!(cookie.starts_with(&format!("dds-app-{}=", r.port)) && !cookie.contains("s3cret"));
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
    let a = get(r.port, "/", &r.cookie).await;
    assert_eq!(a.status, 200);
    assert!(a.body.contains("<h1>Hi</h1>") && !a.body.contains("s3cret"));

    // From a link elsewhere, a strict cookie would be lost on a redirect.
    let head = format!("GET /?token=s3cret HTTP/1.1\nHost: localhost:{}\nSec-Fetch-Site: cross-site", r.port);
    let a = raw(r.port, &head, b"").await;
    assert_eq!(a.status, 200);
    assert!(a.body.contains("url=./") && !a.cookies().is_empty());
}

#[tokio::test]
async fn hosts_and_origins_are_checked_on_every_route() {
    let r = start(&notebook(&[&one_line(TEXT_FORM)]), |o| o.hosts = vec!["app.example.org".into()]).await;
    let own = format!("127.0.0.1:{}", r.port);
    let cookie = r.cookie.join("; ");
    for path in
        ["/", "/style.css", "/app.js", "/icon.svg", "/healthz", "/form/t-of-0", "/media/x.png", "/nothing"]
    {
        for (host, refused) in [
            (own.as_str(), false),
            ("app.example.org", false),
            ("evil.example", true),
            ("127.0.0.1", true),
            ("app.example.org.evil.example", true),
        ] {
            let a = raw(r.port, &format!("GET {path} HTTP/1.1\nHost: {host}\nCookie: {cookie}"), b"").await;
            assert_eq!(a.status == 421, refused, "{path} {host} {}", a.status);
            if refused {
                assert!(!a.body.contains("form"), "{}", a.body);
            }
        }
    }
    let body = multipart(&[Piece::Text("words", "hi")]);
    for (extra, status) in [
        (format!("Origin: http://{own}"), 200),
        ("Origin: https://app.example.org".into(), 200),
        ("Sec-Fetch-Site: same-origin".into(), 200),
        ("Origin: http://evil.example".into(), 403),
        ("Origin: null".into(), 403),
        (format!("Origin: http://{own}.evil.example"), 403),
        (format!("Origin: http://{own}\nSec-Fetch-Site: cross-site"), 403),
        ("X-Nothing: 1".into(), 403),
    ] {
        let head = format!(
            "POST /form/t-of-0 HTTP/1.1\nHost: {own}\nCookie: {cookie}\n{extra}\nAccept: application/json\n\
             Content-Type: multipart/form-data; boundary={}\nContent-Length: {}",
            http::BOUNDARY,
            body.len()
        );
        let a = raw(r.port, &head, &body).await;
        assert_eq!(a.status, status, "{extra}: {}", a.body);
    }
    // A program shows the token itself and needs neither cookie nor Origin.
    let head = format!(
        "POST /form/t-of-0 HTTP/1.1\nHost: {own}\nAuthorization: Bearer s3cret\nAccept: application/json\n\
         Content-Type: multipart/form-data; boundary={}\nContent-Length: {}",
        http::BOUNDARY,
        body.len()
    );
    assert_eq!(raw(r.port, &head, &body).await.status, 200);
    let nobody = post(r.port, "/form/t-of-0", &[], true, &body).await;
    assert_eq!(nobody.status, 401);
    assert!(nobody.json()["html"].as_str().unwrap().contains("key"));
}

#[tokio::test]
async fn every_answer_carries_the_policy() {
    let r = start(&notebook(&[&one_line(TEXT_FORM)]), |_| {}).await;
    let posted =
        post(r.port, "/form/t-of-0", &r.cookie, false, &multipart(&[Piece::Text("words", "x")])).await;
    let mut answers = vec![posted];
    for path in ["/", "/style.css", "/app.js", "/icon.svg", "/healthz", "/nothing", "/a/b/c"] {
        answers.push(get(r.port, path, &r.cookie).await);
        answers.push(get(r.port, path, &[]).await);
    }
    for a in answers {
        let csp = a.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "img-src 'self' data: blob:",
            "style-src 'self';",
            "script-src 'self';",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(csp.contains(part), "{csp}");
        }
        assert_eq!(a.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(a.header("referrer-policy"), Some("same-origin"));
        assert!(a.header("cache-control").is_some());
    }
    assert_eq!(get(r.port, "/healthz", &[]).await.body, "ok\n");
}

#[tokio::test]
async fn no_path_leads_to_a_file() {
    let png = "AAAA".repeat(1000);
    let show = format!("show {{\"data\": {{\"image/png\": \"{png}\"}}, \"metadata\": {{}}}}");
    let r = start(&notebook(&[&one_line(TEXT_FORM), &show]), |_| {}).await;
    let page = get(r.port, "/", &r.cookie).await.body;
    let name = page.split("src=\"media/").nth(1).unwrap().split('"').next().unwrap();
    let image = get(r.port, &format!("/media/{name}"), &r.cookie).await;
    assert_eq!((image.status, image.header("content-type")), (200, Some("image/png")));
    assert_eq!(get(r.port, &format!("/media/{name}"), &[]).await.status, 401);

    let ups = [
        "..",
        "%2e%2e",
        "%252e%252e",
        "..%2f",
        "..%5c",
        "..\\",
        "%c0%ae%c0%ae",
        "..;",
        ".%00.",
        "....//",
        "%uff0e%uff0e",
    ];
    let files = [
        "canary.txt",
        "book/canary.txt",
        "book/My%20app.ipynb",
        "etc/passwd",
        "proc/self/environ",
        "style.css",
    ];
    let prefixes =
        ["/", "//", "/media/", "/form/", "/static/", "/form/t-of-0/", "/media/../", "/style.css/", "/%2f"];
    let mut probes = Vec::new();
    for prefix in prefixes {
        for file in files {
            probes.push(format!("{prefix}{file}"));
            for up in ups {
                for depth in [1, 4] {
                    probes.push(format!("{prefix}{}{file}", format!("{up}/").repeat(depth)));
                }
            }
        }
    }
    assert!(probes.len() > 1000, "{}", probes.len());
    for path in probes {
        let a = get(r.port, &path, &r.cookie).await;
        assert!(
            !a.body.contains("CANARY") && !a.body.contains("root:") && !a.body.contains("nbformat"),
            "{path}"
        );
        assert!(
            matches!(a.status, 400 | 404) || (path == "/style.css" && a.status == 200),
            "{path}: {}",
            a.status
        );
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
        let head = format!(
            "{method} / HTTP/1.1\nHost: 127.0.0.1:{0}\nOrigin: http://127.0.0.1:{0}\nCookie: {1}",
            r.port,
            r.cookie.join("; ")
        );
        assert_eq!(raw(r.port, &head, b"").await.status, 405, "{method}");
    }
}

#[tokio::test]
async fn headers_are_bounded() {
    let r = start(&notebook(&["print x"]), |_| {}).await;
    let with = |extra: String| format!("GET /healthz HTTP/1.1\nHost: 127.0.0.1:{}\n{extra}", r.port);
    let many = (0..100).map(|i| format!("X-{i}: 1")).collect::<Vec<_>>().join("\n");
    assert_eq!(raw(r.port, &with(many), b"").await.status, 431);
    let long = format!("X-Long: {}", "x".repeat(64 * 1024));
    assert_eq!(raw(r.port, &with(long), b"").await.status, 431);
    assert_eq!(raw(r.port, &with("X-Fine: 1".into()), b"").await.status, 200);
}

#[tokio::test]
async fn a_failing_notebook_is_served_with_its_error() {
    let cells = ["print before", &one_line(TEXT_FORM), "fail NotFound no <data> here", "print after"];
    let r = start(&notebook(&cells), |_| {}).await;
    let problem = r.server.problem.as_ref().unwrap();
    assert!(problem.message.contains("cell 3"), "{problem}");
    let page = get(r.port, "/", &r.cookie).await.body;
    assert!(page.contains("stopped before its end") && page.contains("NotFound: no &lt;data&gt; here"));
    assert!(page.contains("before") && !page.contains("after</pre>"));
    // What came before the failure works.
    let a = post(r.port, "/form/t-of-0", &r.cookie, true, &multipart(&[Piece::Text("words", "x")])).await;
    assert_eq!(a.status, 200, "{}", a.body);

    let r = start(&notebook(&["print before", "die"]), |_| {}).await;
    assert!(r.server.problem.as_ref().unwrap().message.contains("died"));
    assert!(get(r.port, "/", &r.cookie).await.body.contains("before"));
}

#[tokio::test]
async fn what_cannot_be_served_is_an_error_with_a_hint() {
    let broken = FakeLauncher { broken: true, ..FakeLauncher::default() };
    let fails = |e: dds_core::Result<Running>| -> Error { e.err().expect("an error") };
    let e = fails(try_start(&notebook(&["print x"]), broken, |_| {}).await);
    assert_eq!((e.kind, e.message.as_str()), (Kind::Unavailable, "no kernel today"));

    let first = start(&notebook(&["print x"]), |_| {}).await;
    let port = first.port;
    let e = fails(try_start(&notebook(&["print x"]), FakeLauncher::default(), |o| o.port = port).await);
    assert!(e.message.contains(&port.to_string()) && e.hint.unwrap().contains("--port"));

    let mut nb = notebook(&["print x"]);
    nb.metadata.insert("kernelspec".into(), serde_json::json!({"name": "python3", "language": "python"}));
    let launcher = FakeLauncher::default();
    let e = fails(try_start(&nb, launcher.clone(), |_| {}).await);
    assert!(e.message.contains("Python") && e.message.contains("My app.ipynb"), "{e}");
    assert_eq!(launcher.launched(), 0);
}

#[tokio::test]
async fn without_a_given_token_there_is_a_random_one() {
    let nb = notebook(&["print x"]);
    let (a, b) = (start(&nb, |o| o.token = None).await, start(&nb, |o| o.token = None).await);
    let token = |r: &Running| r.server.url.split_once("token=").unwrap().1.to_owned();
    assert!(token(&a).len() >= 32 && token(&a) != token(&b));
    let entry = get(a.port, &format!("/?token={}", token(&a)), &[]).await;
    assert_eq!(entry.status, 303);
    assert_eq!(get(a.port, &format!("/?token={}", token(&b)), &[]).await.status, 401);
}
