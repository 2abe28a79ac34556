//! Commands that stay: `serve`, `app` and `mount`. Each prints one line once it is ready, and ends on
//! Ctrl-C with everything taken down.

use crate::render::{self, Style, Terminal};
use dds_app::{AppOptions, CellEvent};
use dds_core::{Cancel, Config, Cx, Error, Result, Secret, request as rq};
use dds_data::ServeOptions;
use dds_data::serve::access::AccessLog;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often Ctrl-C is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Repositories that are named when a server of several starts.
const MAX_TOLD: usize = 20;

/// `serving URL` for programs that read the line, the same as JSON with `--json`.
fn ready(word: &str, what: &str, style: Style) {
    if style.json {
        render::say(&json!({ word: what }).to_string());
    } else {
        render::say(&format!("{word} {what}"));
    }
}

async fn until(cancel: &Cancel) {
    while !cancel.is_cancelled() {
        tokio::time::sleep(TICK).await;
    }
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::internal(format!("no runtime: {e}")))
}

pub(super) fn serve(r: &rq::Serve, cwd: &Path, cancel: &Cancel, style: Style) -> Result<()> {
    let cx = Cx::silent(cwd);
    let access_log = match r.access_log.as_deref() {
        None => None,
        Some("-") => Some(Arc::new(AccessLog::to(std::io::stdout()))),
        Some(file) => Some(Arc::new(AccessLog::file(&cx.absolute(file))?)),
    };
    let options = ServeOptions {
        access_log,
        addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), r.port),
        token: r.token.clone().map(Secret::new),
        read_only: r.read_only,
    };
    let dir = cx.absolute(&r.dir);
    runtime()?.block_on(async {
        let server = dds_data::serve(&dir, options).await?;
        ready("serving", &server.repo_url(), style);
        if server.repo_url() == server.url() {
            let names: Vec<&str> = server.repositories().iter().take(MAX_TOLD).map(String::as_str).collect();
            let more = server.repositories().len() - names.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            render::tell(&format!("note: repositories: {}{more}", names.join(", ")));
        }
        until(cancel).await;
        server.shutdown().await;
        Ok(())
    })
}

pub(super) fn app(
    config: &Arc<Config>,
    r: &rq::App,
    cwd: &Path,
    cancel: &Cancel,
    style: Style,
) -> Result<()> {
    let notebook = Cx::silent(cwd).absolute(&r.notebook);
    let terminal = Arc::new(Terminal::new(style));
    let told = Cx::new(cwd, terminal.clone(), cancel.clone());
    let mut options = AppOptions::new(config);
    options.port = r.port;
    options.token = r.token.clone().map(Secret::new);
    options.hosts = r.hosts.clone();
    options.pool = r.pool;
    options.max_visitors = r.max_visitors;
    options.cancel = cancel.clone();
    options.on_cell = Some(Arc::new(move |event: CellEvent<'_>| {
        if let CellEvent::Finished { number, total, .. } = event {
            told.items("cells", number, total);
        }
    }));
    runtime()?.block_on(async {
        let server = dds_app::serve(&notebook, options).await;
        terminal.finish();
        let server = server?;
        if let Some(problem) = &server.problem {
            render::error(problem, Style { json: false, ..style });
            render::tell("note: the app is served all the same; its page shows the error");
        }
        ready("serving", &server.url, style);
        until(cancel).await;
        server.shutdown().await;
        Ok(())
    })
}

pub(super) fn mount(
    config: &Arc<Config>,
    r: &rq::Mount,
    cwd: &Path,
    cancel: &Cancel,
    style: Style,
) -> Result<()> {
    let terminal = Arc::new(Terminal::new(style));
    let cx = Cx::new(cwd, terminal.clone(), cancel.clone());
    let ended = dds_mount::foreground(r, config, &cx, |dir| {
        terminal.finish();
        let named = if r.dir.is_empty() { dir.display().to_string() } else { r.dir.clone() };
        ready("mounted", &named, style);
    });
    terminal.finish();
    ended
}
