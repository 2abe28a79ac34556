use super::*;
use crate::testing::{self, write};
use dds_core::Sink;
use dds_core::cx::{Cancel, Progress};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

/// DagsHub's login, with a browser that confirms at once: whoever asks the middleman for a request that
/// was shown as a link gets its code.
async fn hub(request: axum::http::Request<axum::body::Body>) -> axum::http::Response<String> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let fields: Vec<(String, String)> =
        reqwest::Url::parse(&format!("http://x/?{}", String::from_utf8_lossy(&body)))
            .unwrap()
            .query_pairs()
            .into_owned()
            .collect();
    let field = |name: &str| fields.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone());
    let answer =
        |status: u16, text: String| axum::http::Response::builder().status(status).body(text).unwrap();
    match parts.uri.path() {
        "/login/oauth/middleman" => match field("request_id") {
            Some(id) if id.len() == 64 => answer(200, format!("\"code-{}\"", &id[..8])),
            _ => answer(400, "{}".into()),
        },
        "/login/oauth/access_token" => {
            let good = field("code").is_some_and(|c| c.starts_with("code-"))
                && field("state").is_some_and(|s| s.len() == 36)
                && field("client_id").is_some();
            let token = r#"{"access_token": "oauth-canary", "expiry": "2099-01-01T00:00:00.000000Z", "token_type": "bearer"}"#;
            if good { answer(200, token.into()) } else { answer(400, "{}".into()) }
        }
        "/api/v1/user" => {
            let auth = parts.headers.get("authorization").and_then(|a| a.to_str().ok()).unwrap_or("");
            match auth {
                "Bearer oauth-canary" | "Bearer hand-canary" => {
                    answer(200, r#"{"login": "me", "username": "Me"}"#.into())
                }
                _ => answer(401, format!("{{\"error\": \"bad {auth}\"}}")),
            }
        }
        _ => answer(404, String::new()),
    }
}

fn start() -> Url {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime::handle().unwrap().spawn(async move {
        let app = axum::Router::new().fallback(hub);
        axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
    });
    format!("http://127.0.0.1:{port}").parse().unwrap()
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Sink for Notes {
    fn progress(&self, _: &Progress) {}
    fn display(&self, _: &dds_core::MimeBundle) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

fn config(home: &Path, host: &Url) -> Config {
    Config {
        config_dir: home.join("config"),
        dagshub_host: host.as_str().trim_end_matches('/').to_owned(),
        ..testing::config(&home.join("cache"))
    }
}

#[test]
fn logging_in_through_the_browser_and_by_hand() {
    let (home, host) = (tempfile::tempdir().unwrap(), start());
    let config = config(home.path(), &host);
    let notes = Arc::new(Notes::default());
    let cx = Cx::new("/", notes.clone(), Cancel::default());
    assert!(for_host(&config, &host).is_none());
    let done = login(&config, &rq::Login::default(), &cx).unwrap();
    assert_eq!(done.summary, format!("logged in to {} as Me", store::name(&host)));
    let shown = notes.0.lock().unwrap().join("\n");
    assert!(
        shown.contains("/login/oauth/authorize?state=") && shown.contains("&middleman_request_id="),
        "{shown}"
    );
    assert_eq!(for_host(&config, &host), Some(Auth::Token(Secret::new("oauth-canary"))));
    let by_hand = rq::Login { token: Some("hand-canary".into()), ..rq::Login::default() };
    let hand = login(&config, &by_hand, &cx).unwrap();
    assert_eq!(for_host(&config, &host), Some(Auth::Token(Secret::new("hand-canary"))));
    assert!(!format!("{done:?}{hand:?}{shown}").contains("canary"));
    let file = config.config_dir.join("tokens");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Another host gets nothing.
    assert!(for_host(&config, &"http://127.0.0.1:1".parse().unwrap()).is_none());
    // The environment wins.
    let named = Config { dagshub_token: Some(Secret::new("env")), ..config.clone() };
    assert_eq!(for_host(&named, &host), Some(Auth::Token(Secret::new("env"))));
    assert!(
        login(&named, &by_hand, &cx)
            .unwrap()
            .summary
            .ends_with("; DAGSHUB_USER_TOKEN is set and goes before this login")
    );
    let out = logout(&named, &rq::Logout::default()).unwrap().summary;
    assert!(out.ends_with("; DAGSHUB_USER_TOKEN is set and still used"), "{out}");
    login(&config, &by_hand, &cx).unwrap();
    assert!(logout(&config, &rq::Logout::default()).unwrap().summary.starts_with("logged out"));
    assert!(for_host(&config, &host).is_none());
    assert!(logout(&config, &rq::Logout::default()).unwrap().summary.starts_with("nobody"));
}

#[test]
fn a_token_that_the_host_does_not_know_is_not_kept() {
    let (home, host) = (tempfile::tempdir().unwrap(), start());
    let config = config(home.path(), &host);
    let wrong = rq::Login { token: Some("wr0ng-canary".into()), ..rq::Login::default() };
    let e = login(&config, &wrong, &Cx::silent("/")).unwrap_err();
    assert!(e.kind == Kind::Unauthorized && !format!("{e:?}").contains("canary"), "{e:?}");
    assert!(!config.config_dir.join("tokens").exists());
    for address in ["ftp://h", "http://u:canary@h", "http://:canary@h", "https://h/?t=canary", ""] {
        let r = rq::Login { host: Some(address.into()), token: Some("x".into()) };
        let e = login(&config, &r, &Cx::silent("/")).unwrap_err();
        assert!(e.kind == Kind::Usage && !format!("{e:?}").contains("canary"), "{address}: {e:?}");
    }
    for token in ["", " ", "-"] {
        let r = rq::Login { token: Some(token.into()), ..rq::Login::default() };
        assert_eq!(login(&config, &r, &Cx::silent("/")).unwrap_err().kind, Kind::Usage, "{token:?}");
    }
    // A server of another kind says no page of its own.
    let r = rq::Login { host: Some(format!("{host}elsewhere")), token: Some("x".into()) };
    let e = login(&config, &r, &Cx::silent("/")).unwrap_err();
    assert!(e.kind == Kind::Format && e.message.contains("does not answer as DagsHub does"), "{e:?}");
    let r = rq::Login { token: None, ..r };
    let e = login(&config, &r, &Cx::silent("/")).unwrap_err();
    assert!(e.kind == Kind::Format && e.hint.unwrap().contains("--token"), "{}", e.message);
}

#[test]
fn the_file_of_the_dagshub_client_is_read_and_expired_tokens_are_not_used() {
    let (home, host) = (tempfile::tempdir().unwrap(), start());
    let mut config = config(home.path(), &host);
    let theirs = home.path().join("dagshub/tokens");
    let name = store::name(&host);
    let text = format!(
        "version: '1'\n{name}:\n- access_token: old\n  expiry: '2020-01-01T00:00:00.000000Z'\n  token_type: bearer\n- access_token: theirs\n  expiry: never\n  token_type: app-token\n"
    );
    write(&theirs, text.as_bytes());
    config.peers.dagshub_tokens = Some(theirs.clone());
    assert_eq!(for_host(&config, &host), Some(Auth::Token(Secret::new("theirs"))));
    let out = logout(&config, &rq::Logout::default()).unwrap();
    assert!(out.summary.contains("dagshub client is still logged in"), "{}", out.summary);
    // A broken file of theirs is nobody's login; a broken one of ours is told when it would be changed.
    write(&theirs, b"- [");
    assert!(for_host(&config, &host).is_none());
    write(&config.config_dir.join("tokens"), b"hunter2");
    let r = rq::Login { token: Some("hand-canary".into()), ..rq::Login::default() };
    let e = login(&config, &r, &Cx::silent("/")).unwrap_err();
    assert!(e.kind == Kind::Format && !format!("{e:?}").contains("hunter2"), "{e:?}");
}
