//! Commands that stay: `serve`, `app` and `mount`. Each prints one line once it is ready, and ends on
//! Ctrl-C with everything taken down.

use crate::render::{self, Style, Terminal};
use crate::session::wiring;
use dds_app::{AppOptions, CellEvent};
use dds_core::{Cancel, Config, Cx, Error, Result, Secret, request as rq};
use dds_data::ServeOptions;
use dds_data::serve::access::AccessLog;
use dds_eval::{RepositoryService, STAND_IN_READY};
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

/// Answers the program that has started this one, until it ends. Its Ctrl-C is not ours.
pub(super) fn repositories(config: &Arc<Config>) -> Result<()> {
    let service = RepositoryService::start(&wiring::repositories(config))?;
    render::say(&format!("{STAND_IN_READY}{}", service.socket().display()));
    // Nothing is ever written: the end comes when the other process does.
    let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    Ok(())
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

/// How the process in the background knows that it is the one.
const IN_BACKGROUND: &str = "DDS_MOUNT_IN_BACKGROUND";

/// `mount --daemon`: the same command in a process of its own session, awaited until the folder can be
/// read. It is told apart by its environment, and ends with `unmount`.
fn mount_in_background(config: &Config, cwd: &Path, cancel: &Cancel) -> Result<()> {
    let failed = |e: std::io::Error| Error::io(&config.exe, &e).context("cannot start the mount");
    // Its messages until it stands; a file, because nobody listens to a pipe afterwards.
    let said = config.runtime_dir.join(format!("mount-{}.log", std::process::id()));
    let log = std::fs::File::create(&said).map_err(|e| Error::io(&said, &e))?;
    let mut child = std::process::Command::new(&config.exe)
        .args(std::env::args_os().skip(1))
        .env(IN_BACKGROUND, "1")
        .current_dir(cwd_of_process(cwd))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(failed)?;
    let (sender, line) = std::sync::mpsc::sync_channel(1);
    let stdout = child.stdout.take();
    std::thread::spawn(move || {
        use std::io::BufRead;
        let mut line = String::new();
        if let Some(stdout) = stdout {
            let _ = std::io::BufReader::new(stdout).read_line(&mut line);
        }
        let _ = sender.send(line);
    });
    let line = loop {
        match line.recv_timeout(TICK) {
            Ok(line) => break line,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break String::new(),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) if cancel.is_cancelled() => {
                let _ = child.kill();
                let _ = child.wait();
                let _ = std::fs::remove_file(&said);
                return Err(Error::interrupted());
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
        }
    };
    let text = std::fs::read_to_string(&said).unwrap_or_default();
    let _ = std::fs::remove_file(&said);
    if !text.trim().is_empty() {
        render::tell(text.trim_end());
    }
    if !line.is_empty() {
        render::say(line.trim_end());
        return Ok(());
    }
    // It has said why.
    let status = child.wait().map_err(failed)?;
    std::process::exit(status.code().unwrap_or(1));
}

/// Relative paths of the command line are seen from where it was typed, also under `-C`.
fn cwd_of_process(cwd: &Path) -> std::path::PathBuf {
    std::env::current_dir().unwrap_or_else(|_| cwd.to_owned())
}

pub(super) fn mount(
    config: &Arc<Config>,
    r: &rq::Mount,
    cwd: &Path,
    cancel: &Cancel,
    style: Style,
) -> Result<()> {
    if r.daemon && std::env::var_os(IN_BACKGROUND).is_none() {
        return mount_in_background(config, cwd, cancel);
    }
    if r.daemon {
        dds_mount::process::leave_terminal();
    }
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
