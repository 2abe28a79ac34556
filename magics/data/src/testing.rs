//! What the tests of this crate share: a sample repository, a server on a free port, configurations
//! and waiting with a deadline.

use crate::create::{Options, git_dvc_repo};
use crate::serve::{ServeOptions, Server};
use bytes::Bytes;
use dds_core::repo_url::Credentials;
use dds_core::{Config, Cx, RepoPath, RepoUrl, Secret};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Names that break careless code.
pub const NAMES: [&str; 5] =
    ["animals/cat 1.jpg", "animals/ü ñ.jpg", "a..b/..x.jpg", "100% #?&+;'.jpg", "plain.jpg"];

pub struct Sample {
    pub home: tempfile::TempDir,
    pub repo: PathBuf,
}

pub fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

pub fn content(name: &str) -> Vec<u8> {
    format!("the content of {name}\n").into_bytes().repeat(20)
}

impl Sample {
    /// A repository `art` with the folder `data/set` of [`NAMES`] and a README in Git.
    pub fn new() -> Self {
        Self::with(&NAMES)
    }

    pub fn with(names: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let files = home.path().join("files");
        for name in names {
            write(&files.join(name), &content(name));
        }
        let repo = home.path().join("art");
        let options = Options {
            folder: Some(path("data/set")),
            remote: Some(home.path().join("remote")),
            git_files: vec![(path("README.md"), "# Art\n".into()), (path("notes/ü a..b.txt"), "hi\n".into())],
            ..Options::default()
        };
        git_dvc_repo(&files, &repo, &options, &Cx::silent(home.path())).unwrap();
        Self { home, repo }
    }

    pub fn cx(&self) -> Cx {
        Cx::silent(self.home.path())
    }

    /// A configuration with a cache of its own below `home`.
    pub fn config(&self, cache: &str) -> Config {
        config(&self.home.path().join(cache))
    }

    pub fn serve(&self, options: ServeOptions) -> Server {
        Server::start(&self.repo, options, &self.cx()).unwrap()
    }

    pub fn head(&self) -> String {
        git(&self.repo, &["rev-parse", "main"])
    }
}

pub fn config(cache: &Path) -> Config {
    Config {
        exe: PathBuf::new(),
        cache_dir: cache.to_owned(),
        config_dir: PathBuf::new(),
        data_dir: PathBuf::new(),
        runtime_dir: PathBuf::new(),
        dagshub_host: "https://dagshub.invalid".into(),
        dagshub_token: None,
        dagshub_login: None,
        threads: 2,
        peers: Default::default(),
    }
}

pub fn url(server: &Server) -> RepoUrl {
    RepoUrl::parse(&server.repo_url()).unwrap()
}

pub fn with_token(url: RepoUrl, token: &str) -> RepoUrl {
    match url {
        RepoUrl::Hub { base, owner, repo, rev, .. } => {
            let credentials = Some(Credentials { user: String::new(), password: Secret::new(token) });
            RepoUrl::Hub { base, owner, repo, rev, credentials }
        }
        other => other,
    }
}

pub fn write(at: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::write(at, bytes).unwrap();
}

pub fn git(dir: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "core.quotePath=false"])
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// Polls until `done`; fails after a minute, which a loaded machine may need.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "still waiting for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A server that keeps what is put, as much HTTP and WebDAV as remotes need, without ranges. Wants the
/// login `user:pass` or the header `X-Own: own`.
#[derive(Clone)]
pub struct StoreServer {
    pub port: u16,
    /// Path → bytes.
    pub kept: Arc<Mutex<BTreeMap<String, Bytes>>>,
    /// `METHOD PATH`, in the order in which they came.
    pub log: Arc<Mutex<Vec<String>>>,
}

impl StoreServer {
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, kept: Arc::default(), log: Arc::default() };
        let state = server.clone();
        let app = axum::Router::new().fallback(move |request| state.clone().answer(request));
        crate::runtime::handle().unwrap().spawn(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
        });
        server
    }

    pub fn seen(&self, method: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|l| l.starts_with(method)).count()
    }

    async fn answer(
        self,
        request: axum::http::Request<axum::body::Body>,
    ) -> axum::http::Response<axum::body::Body> {
        use axum::http::{Response, header};
        let answer = |status: u16, body: Bytes| {
            let builder = Response::builder().status(status).header(header::CONTENT_LENGTH, body.len());
            builder.body(axum::body::Body::from(body)).unwrap()
        };
        let allowed = ["Basic dXNlcjpwYXNz", "own"];
        let auth = request.headers().get("authorization").or(request.headers().get("x-own"));
        if !auth.is_some_and(|a| allowed.iter().any(|w| a == w)) {
            return answer(401, "say user:pass please".into());
        }
        let (parts, body) = request.into_parts();
        let at = parts.uri.path().trim_end_matches('/').to_owned();
        self.log.lock().unwrap().push(format!("{} {at}", parts.method));
        let target =
            parts.headers.get("destination").map(|d| d.to_str().unwrap().parse::<reqwest::Url>().unwrap());
        let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
        let mut kept = self.kept.lock().unwrap();
        match parts.method.as_str() {
            "POST" | "PUT" => {
                kept.insert(at, body);
                answer(201, Bytes::new())
            }
            "MKCOL" => answer(201, Bytes::new()),
            "MOVE" => {
                let moved = kept.remove(&at).unwrap();
                kept.insert(target.unwrap().path().to_owned(), moved);
                answer(204, Bytes::new())
            }
            method => match kept.get(&at).cloned() {
                None => answer(404, Bytes::new()),
                Some(bytes) if method == "HEAD" => Response::builder()
                    .header(header::CONTENT_LENGTH, bytes.len())
                    .body(axum::body::Body::empty())
                    .unwrap(),
                Some(bytes) => answer(200, bytes),
            },
        }
    }
}
