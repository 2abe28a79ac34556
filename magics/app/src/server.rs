//! Publishes a notebook as a web app.
//!
//! The notebook runs once before the first request; everybody gets that page. Who sends a form
//! gets a kernel of their own (see [`visitors`], [`pool`]). HTTP/1 only, with bounds on headers,
//! connections, time and size. Makes no request to anywhere.

mod dialogue;
mod gate;
mod pictures;
mod pool;
mod routes;
mod upload;
mod visitors;

pub use pool::{ONCE_TAG, UPLOADS_ENV};
pub use visitors::{Clock, SystemClock};

use crate::exec::{ExecReport, OnCell};
use crate::kernel::KernelLauncher;
use crate::kernel::process::ProcessLauncher;
use crate::notebook::Notebook;
use crate::render::{self, Page, Places};
use axum::extract::DefaultBodyLimit;
use bytes::Bytes;
use dds_core::{Cancel, Config, Error, Kind, Result, Secret};
use gate::Gate;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pool::{Maker, Pool};
use routes::App;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower_http::compression::CompressionLayer;
use visitors::Visitors;

/// Open connections; the next ones wait to be accepted.
const MAX_CONNECTIONS: usize = 512;
/// How long a client may take to send a request's headers, also on an idle connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of headers and of the read buffer of a connection.
const MAX_HEADER_BYTES: usize = 32 * 1024;
const MAX_HEADERS: usize = 64;
/// How long requests under way may take to end when the app is stopped.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// How to publish a notebook.
#[derive(Clone)]
pub struct AppOptions {
    /// The `dds` executable, for kernels.
    pub exe: PathBuf,
    /// Private folder (mode 0700) for connection files and uploads.
    pub runtime_dir: PathBuf,
    /// Address to listen on; loopback by default.
    pub bind: IpAddr,
    /// 0 takes a free one.
    pub port: u16,
    /// Further `HOST[:PORT]` under which a proxy serves the app.
    pub hosts: Vec<String>,
    /// What the URL must show once; a random one when there is none.
    pub token: Option<Secret>,
    /// Kernels kept ready for the next visitors.
    pub pool: usize,
    /// Most sessions at a time.
    pub max_visitors: usize,
    /// How long a session lives without a request.
    pub idle_timeout: Duration,
    /// How long a form may take.
    pub answer_timeout: Duration,
    /// Added to the environment of kernels.
    pub env: Vec<(OsString, OsString)>,
    /// Setting it before [`serve`] returns ends the run of the notebook.
    pub cancel: Cancel,
    /// Told how the first run goes.
    pub on_cell: Option<OnCell>,
}

impl AppOptions {
    /// One kernel kept ready, 40 visitors, 10 minutes of idleness, 60 seconds for an answer.
    pub fn new(config: &Config) -> Self {
        Self {
            exe: config.exe.clone(),
            runtime_dir: config.runtime_dir.clone(),
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            hosts: Vec::new(),
            token: None,
            pool: 1,
            max_visitors: 40,
            idle_timeout: Duration::from_secs(600),
            answer_timeout: Duration::from_secs(60),
            env: Vec::new(),
            cancel: Cancel::default(),
            on_cell: None,
        }
    }
}

/// A published notebook. Dropping it ends the server and kills its kernels; [`AppServer::shutdown`]
/// is the polite way.
pub struct AppServer {
    /// With the token: for the one who started it.
    pub url: String,
    pub addr: SocketAddr,
    /// How the first run of the notebook went.
    pub report: ExecReport,
    /// What ended the first run early; the page shows it too.
    pub problem: Option<Error>,
    visitors: Arc<Visitors>,
    pool: Arc<Pool>,
    stop: watch::Sender<bool>,
    accepting: Option<JoinHandle<()>>,
    sweeping: JoinHandle<()>,
    _staging: tempfile::TempDir,
}

impl AppServer {
    /// Sessions that are alive.
    pub fn visitors(&self) -> usize {
        self.visitors.count()
    }

    /// Kernels that wait for a visitor.
    pub fn ready_kernels(&self) -> usize {
        self.pool.ready()
    }

    /// Ends sessions that were idle too long and gives their number; also done in the background.
    pub async fn expire_idle(&self) -> usize {
        self.visitors.expire().await
    }

    /// Stops accepting, ends requests, sessions and all kernels, and removes their folders.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        self.sweeping.abort();
        tokio::join!(self.visitors.close(), self.pool.close());
        if let Some(task) = self.accepting.take() {
            let _ = task.await;
        }
    }
}

impl Drop for AppServer {
    fn drop(&mut self) {
        if let Some(task) = &self.accepting {
            task.abort();
        }
        self.sweeping.abort();
    }
}

/// Runs `notebook` once and serves it. Returns once a request will be answered.
///
/// A cell that fails does not prevent serving: the page shows it and [`AppServer::problem`] holds
/// it. Errors: those of [`Notebook::read`], `Usage` for another language, `Unavailable` when the
/// port is taken or no kernel starts, `Interrupted`.
pub async fn serve(notebook: &Path, options: AppOptions) -> Result<AppServer> {
    let launcher =
        Arc::new(ProcessLauncher { exe: options.exe.clone(), runtime_dir: options.runtime_dir.clone() });
    serve_with(notebook, options, launcher, Arc::new(SystemClock::default())).await
}

/// [`serve`] with kernels and a clock of the caller's choice.
pub async fn serve_with(
    notebook: &Path,
    options: AppOptions,
    launcher: Arc<dyn KernelLauncher>,
    clock: Arc<dyn Clock>,
) -> Result<AppServer> {
    let nb = Notebook::read(notebook)?;
    nb.require_rust().map_err(|e| e.context(notebook.display()))?;
    let folder = folder_of(notebook)?;
    let listener = listen(&options).await?;
    let addr =
        listener.local_addr().map_err(|e| Error::new(Kind::Unavailable, format!("no address: {e}")))?;
    let staging = private_folder(&options.runtime_dir)?;
    let maker = Maker {
        launcher,
        notebook: nb,
        cwd: folder.clone(),
        env: options.env.clone(),
        scratch: staging.path().to_owned(),
        cancel: options.cancel.clone(),
    };
    let trial = maker.make(true, options.on_cell.clone()).await?;
    let first = match trial.prepared {
        Some(p) if options.pool > 0 => Some(p),
        Some(p) => {
            pool::end(p).await;
            None
        }
        None => None,
    };
    let places = Places::new(&folder, staging.path());
    let notice = trial.problem.clone().map(|e| stopped_notice(&places.hide_in_error(e)));
    let title = notebook.file_stem().map_or_else(|| "Notebook".into(), |s| s.to_string_lossy().into_owned());
    let page = Page::render(&trial.notebook, &title, &pictures::FolderPictures { folder }, notice.as_deref());

    let token = options.token.clone().filter(|t| !t.is_empty());
    let token = token.unwrap_or_else(|| Secret::new(gate::random_name()));
    let url = format!("http://{addr}/?token={}", render::form::path_segment(token.expose()));
    let pool = Pool::new(maker, options.pool, first);
    let visitors = Visitors::new(
        pool.clone(),
        clock,
        options.max_visitors.max(1),
        options.idle_timeout,
        options.answer_timeout,
    );
    let app = Arc::new(App {
        gate: Gate::new(own_hosts(addr), &options.hosts, addr.port(), token),
        front: Bytes::from(page.html("", None)),
        page,
        visitors: visitors.clone(),
        staging: staging.path().to_owned(),
        places,
        receiving: Semaphore::new(routes::MAX_RECEIVING),
    });
    let (stop, stopped) = watch::channel(false);
    let accepting = tokio::spawn(accept(listener, app, stopped));
    let sweeping = tokio::spawn(sweep(visitors.clone(), options.idle_timeout));
    Ok(AppServer {
        url,
        addr,
        report: trial.report,
        problem: trial.problem,
        visitors,
        pool,
        stop,
        accepting: Some(accepting),
        sweeping,
        _staging: staging,
    })
}

fn stopped_notice(e: &Error) -> String {
    render::problem_html(
        "This notebook stopped before its end",
        &format!("{} What comes after it is missing on this page.", render::sentence(&e.message)),
        e.hint.as_deref(),
        "",
    )
}

fn folder_of(notebook: &Path) -> Result<PathBuf> {
    let file = notebook.canonicalize().map_err(|e| Error::io(notebook, &e))?;
    Ok(file.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned))
}

fn private_folder(runtime_dir: &Path) -> Result<tempfile::TempDir> {
    std::fs::create_dir_all(runtime_dir).map_err(|e| Error::io(runtime_dir, &e))?;
    tempfile::Builder::new()
        .prefix("app-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(runtime_dir)
        .map_err(|e| Error::io(runtime_dir, &e).context("cannot make a private folder"))
}

async fn listen(options: &AppOptions) -> Result<TcpListener> {
    TcpListener::bind((options.bind, options.port)).await.map_err(|e| {
        let what = format!("cannot listen on {}:{}: {e}", options.bind, options.port);
        Error::new(Kind::Unavailable, what)
            .hint("take another port with --port N, or a free one with --port 0")
    })
}

/// What browsers may call us without a proxy.
fn own_hosts(addr: SocketAddr) -> Vec<String> {
    let port = addr.port();
    let mut names = vec![addr.ip().to_string()];
    if addr.ip().is_ipv6() {
        names = vec![format!("[{}]", addr.ip())];
    }
    if addr.ip().is_loopback() || addr.ip().is_unspecified() {
        names.extend(["127.0.0.1", "localhost", "[::1]"].map(String::from));
    }
    let mut hosts: Vec<String> = names.iter().map(|n| format!("{n}:{port}")).collect();
    if port == 80 {
        hosts.extend(names);
    }
    hosts
}

async fn sweep(visitors: Arc<Visitors>, idle: Duration) {
    let every = (idle / 4).clamp(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        tokio::time::sleep(every).await;
        visitors.expire().await;
    }
}

async fn accept(listener: TcpListener, app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let router = axum::Router::new()
        .fallback(routes::handle)
        // The form's own limits hold, with a message that says which.
        .layer(DefaultBodyLimit::disable())
        .layer(CompressionLayer::new())
        .with_state(app);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            p = places.clone().acquire_owned() => p,
            _ = stopped.wait_for(|s| *s) => break,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            s = listener.accept() => s,
            _ = stopped.wait_for(|s| *s) => break,
        };
        while connections.try_join_next().is_some() {}
        match stream {
            Ok((stream, _)) => {
                let (router, stopped) = (router.clone(), stopped.clone());
                connections.spawn(async move {
                    converse(stream, router, stopped).await;
                    drop(place);
                });
            }
            Err(e) => {
                // Out of descriptors, mostly: giving them time to come back beats spinning.
                tracing::warn!("cannot accept a connection: {e}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_GRACE, rest).await;
}

async fn converse(stream: TcpStream, router: axum::Router, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        r = connection.as_mut() => Some(r),
        _ = stopped.wait_for(|s| *s) => None,
    };
    let result = match ended {
        Some(r) => r,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = result {
        tracing::debug!("connection: {e}");
    }
}
