//! Local Git+DVC repositories over DagsHub's HTTP API: one, as `local/<folder name>`, or all `OWNER/NAME`
//! below a folder ([`site`]).
//!
//! Speaks HTTP/1.1 only. Every request is matched here, on the path as it came and decoded exactly
//! once; what is not matched is 404. Connections, headers, bodies and waiting times are bounded. With a
//! token, every request must carry it. Without one, only requests to an address or to `localhost` are
//! answered, so that a web page cannot reach the server through a name of its own.
//!
//! Our extension: `GET content/…?recursive=true` lists all files below a folder in one answer. It is
//! advertised by the header `dds-extensions` on the repository record.

pub mod access;
mod auth;
mod connection;
mod creation;
mod git_http;
mod listing;
mod prepared;
mod raw;
mod route;
mod site;
mod upload;
mod workers;

use crate::repository::Repository;
use crate::runtime;
use access::{AccessLog, Asked};
use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use dds_core::{Cx, Error, Kind, Result, Secret};
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use prepared::Prepared;
use route::{At, Route};
use site::Site;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use workers::Workers;

/// Connections at a time; further ones wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 1024;
/// One upload with all its files.
pub const MAX_UPLOAD_BYTES: usize = 8 << 30;
/// All headers of one request that are read by hyper.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Listings below this are sent as they are.
const GZIP_FROM_BYTES: u16 = 1024;
/// On a file of an upload: its name, percent-encoded, where the form itself could not say it exactly.
pub const FILE_NAME_HEADER: &str = "dds-file-name";
pub const EXTENSIONS_HEADER: &str = "dds-extensions";
pub const RECURSIVE_EXTENSION: &str = "recursive-listing";
/// Uploads may remove files (`removed`), set modes (`executable`, `not_executable`) and name new DVC
/// folders (`dvc_folders`), in one commit with the files.
pub const CHANGES_EXTENSION: &str = "changes";

/// How [`serve`] serves.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Port 0 takes a free one.
    pub addr: SocketAddr,
    /// Required of every request when set.
    pub token: Option<Secret>,
    /// Uploads are refused.
    pub read_only: bool,
    /// Told of every request.
    pub access_log: Option<Arc<AccessLog>>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        let addr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self { addr, token: None, read_only: false, access_log: None }
    }
}

/// A running server; dropped, it stops.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    names: Vec<String>,
    single: bool,
    stop: watch::Sender<bool>,
    done: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    /// As [`serve`], on the crate's own runtime, for callers that have none.
    pub fn start(dir: &Path, options: ServeOptions, cx: &Cx) -> Result<Self> {
        let dir = dir.to_owned();
        runtime::wait(async move { serve(&dir, options).await }, cx)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The server itself, as `DAGSHUB_CLIENT_HOST` takes it: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The repository, as `dds mount` takes it: `http://127.0.0.1:PORT/local/NAME`; the server itself when
    /// it has several.
    pub fn repo_url(&self) -> String {
        match self.names.first() {
            Some(name) if self.single => format!("{}/{}", self.url(), crate::percent::path(name)),
            _ => self.url(),
        }
    }

    /// What was there when the server was started, as `OWNER/NAME`.
    pub fn repositories(&self) -> &[String] {
        &self.names
    }

    /// Stops accepting, closes all connections and waits until they are gone.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        if let Some(done) = self.done.take() {
            let _ = done.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

/// What every request to one repository needs.
struct Shared {
    repository: Repository,
    owner: String,
    name: String,
    common: Arc<Common>,
}

impl Shared {
    /// `OWNER/NAME`, as it stands in URLs.
    fn path(&self) -> String {
        format!("{}/{}", crate::percent::segment(&self.owner), crate::percent::segment(&self.name))
    }
}

/// What every request needs.
struct Common {
    token: Option<Secret>,
    read_only: bool,
    addr: SocketAddr,
    git_places: Arc<Semaphore>,
    access_log: Option<Arc<AccessLog>>,
}

/// Serves the repository in `dir`, or those below it, until the [`Server`] is dropped or shut down; returns
/// once requests are answered. Errors: `NotFound` when there is no repository, `Unavailable` when the port
/// is taken.
pub async fn serve(dir: &Path, options: ServeOptions) -> Result<Server> {
    let listener = TcpListener::bind(options.addr).await.map_err(|e| {
        Error::new(Kind::Unavailable, format!("cannot listen on {}: {e}", options.addr))
            .hint("choose another port, or --port 0 for a free one")
    })?;
    let addr = listener.local_addr().map_err(|e| Error::new(Kind::Unavailable, e.to_string()))?;
    let common = Arc::new(Common {
        token: options.token,
        read_only: options.read_only,
        addr,
        git_places: Arc::new(Semaphore::new(git_http::MAX_PROCESSES)),
        access_log: options.access_log,
    });
    let dir = dir.to_owned();
    let site = runtime::blocking(move || Site::open(&dir, common)).await?;
    let (names, single) = (site.names(), site.is_single());
    let (stop, stopped) = watch::channel(false);
    let site = Arc::new(site);
    let home = tokio::runtime::Handle::current();
    let service = Service { app: app(site.clone()), site, prepared: Prepared::default(), home };
    let workers = Workers::start(&Arc::new(service), &stopped)?;
    let done = tokio::spawn(workers.accept(listener, stopped));
    Ok(Server { addr, names, single, stop, done: Some(done) })
}

fn app(site: Arc<Site>) -> Router {
    Router::new()
        .fallback(move |request: Request<Body>| {
            let site = site.clone();
            async move { answer(site, request).await }
        })
        .layer(DefaultBodyLimit::max(MAX_UPLOAD_BYTES))
        .layer(CompressionLayer::new().gzip(true).compress_when(Listings))
}

/// What is worth compressing: JSON of some length. Files are sent as they are, with ranges.
#[derive(Clone, Copy)]
struct Listings;

impl Predicate for Listings {
    fn should_compress<B: axum::body::HttpBody>(&self, response: &Response<B>) -> bool {
        let json = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|t| t.as_bytes().starts_with(b"application/json"));
        json && SizeAbove::new(GZIP_FROM_BYTES).should_compress(response)
    }
}

/// What every connection needs.
struct Service {
    site: Arc<Site>,
    app: Router,
    prepared: Prepared,
    /// Where everything is done that may take a while.
    home: tokio::runtime::Handle,
}

impl Service {
    async fn answer(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        if self.site.common.access_log.is_some() {
            request.extensions_mut().insert(peer);
        }
        if let Some(response) = at_hand(&self.site, &request) {
            return response;
        }
        let app = TowerToHyperService::new(self.app.clone());
        // In a set, so that it ends with the connection.
        let mut answering = JoinSet::new();
        let answer = async move { hyper::service::Service::call(&app, request).await };
        answering.spawn_on(answer, &self.home);
        match answering.join_next().await {
            Some(Ok(Ok(response))) => response.map(Body::new),
            _ => refuse(&Error::internal("an answer broke off")),
        }
    }
}

/// The answer, where it can be given without waiting for anything.
fn at_hand(site: &Site, request: &Request<Incoming>) -> Option<Response<Body>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let asked = site.common.access_log.as_ref().map(|_| Asked::of(request));
    check(&site.common, request.headers()).ok()?;
    let At { repository: Some((owner, name)), route: Route::Raw(rest) } =
        Route::of(request.uri().path()).ok()?
    else {
        return None;
    };
    let shared = site.opened(&owner, &name)?;
    let response = raw::at_hand(&shared, &rest, &raw::Wanted::of(request.headers()))?;
    Some(finish(&site.common, response, asked, request.method() == Method::HEAD))
}

async fn answer(site: Arc<Site>, request: Request<Body>) -> Response<Body> {
    let head = request.method() == Method::HEAD;
    let common = site.common.clone();
    let asked = common.access_log.as_ref().map(|_| Asked::of(&request));
    let response = match respond(site, request).await {
        Ok(response) => response,
        Err(e) => refuse(&e),
    };
    finish(&common, response, asked, head)
}

/// So that no answer is taken for a page or a program.
fn guard(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
}

/// What is the same for all answers.
fn finish(common: &Common, mut response: Response<Body>, asked: Option<Asked>, head: bool) -> Response<Body> {
    guard(&mut response);
    if let (Some(log), Some(asked)) = (&common.access_log, asked) {
        log.tell(&asked, &response);
    }
    if head {
        *response.body_mut() = Body::empty();
    }
    response
}

/// Who may ask for anything at all.
fn check(common: &Common, headers: &HeaderMap) -> Result<()> {
    auth::check_host(common, auth::text(headers, header::HOST))?;
    auth::check_token(common.token.as_ref(), auth::text(headers, header::AUTHORIZATION).unwrap_or(""))
}

async fn respond(site: Arc<Site>, request: Request<Body>) -> Result<Response<Body>> {
    check(&site.common, request.headers())?;
    let At { repository, route } = Route::of(request.uri().path())?;
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let Some((owner, name)) = repository else {
        return match route {
            Route::Create(owner) if request.method() == Method::POST => {
                creation::post(site, owner, request).await
            }
            route if reading => listing::of_server(&route),
            _ => Err(not_allowed()),
        };
    };
    let shared = match site.opened(&owner, &name) {
        Some(shared) => shared,
        None => runtime::blocking(move || site.repository(&owner, &name)).await?,
    };
    match route {
        Route::UploadPack if request.method() == Method::POST => git_http::pack(shared, request).await,
        Route::Content(rest) if request.method() == Method::PUT => upload::put(shared, rest, request).await,
        _ if !reading => Err(not_allowed()),
        Route::InfoRefs => git_http::refs(shared, request).await,
        Route::Raw(rest) => {
            let wanted = raw::Wanted::of(request.headers());
            raw::get(shared, rest, wanted).await
        }
        Route::UploadPack => Err(Error::not_found("nothing is here")),
        route => {
            let base = auth::base_url(&shared.common, request.headers());
            let query = request.uri().query().unwrap_or("").to_owned();
            let made = runtime::blocking(move || listing::get(&shared, &route, &base, &query)).await?;
            Ok(made)
        }
    }
}

fn not_allowed() -> Error {
    Error::new(Kind::Usage, "method not allowed")
}

/// An error as DagsHub words it. Bugs and failures of this machine are told to the log only.
fn refuse(e: &Error) -> Response<Body> {
    let status = match e.kind {
        Kind::Usage => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Format => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Limit => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let private = tells_of_this_machine(e);
    let message = match e.kind {
        Kind::Corrupt => "the object is damaged on the server",
        _ if private => "the server could not read this file",
        _ if status.is_server_error() => "the server failed; its log says why",
        _ => &e.message,
    };
    if status.is_server_error() || private {
        tracing::error!("{e}");
    }
    let body = serde_json::json!({"error": message, "details": e.hint.as_deref().filter(|_| !private).unwrap_or("")});
    let mut response = json(status, &body);
    if e.kind == Kind::Unauthorized {
        let ask = HeaderValue::from_static("Basic realm=\"dds\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
    }
    response
}

/// Whether the message is the operating system's, with a path of this machine: repository paths are
/// relative.
fn tells_of_this_machine(e: &Error) -> bool {
    let told = &e.message;
    e.kind != Kind::Usage && (told.starts_with('/') || told.contains(": /") || told.contains("(os error "))
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
