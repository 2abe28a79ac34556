//! The command line `dds`: which role this process plays, and the commands of a shell.
//!
//! The only place that reads arguments. Exit status: 0, 1 for an error, 2 for a command line that
//! is not understood, 130 after an interrupt.

mod command;
mod interrupt;
mod job;
mod mounts;
mod panics;
mod prebuild;
mod serving;

use crate::kernel::install::{InstallTarget, install};
use crate::render::{self, Style};
use crate::session::wiring;
use crate::{config, demo, kernel};
use dds_cmd::grammar::{self, Install};
use dds_cmd::{Command, Door, ShellCommand, ShellLine};
use dds_core::{Cancel, Config, Cx, Error, Kind, Result};
use prebuild::Wanted;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// What `main` does, after the hidden roles took their turn.
pub fn main() -> ExitCode {
    panics::apologise();
    start_log();
    let json = std::env::args_os().skip(1).take_while(|a| a != "--").any(|a| a == "--json");
    let style = Style::detect(json);
    match words().and_then(|words| dispatch(&words, style)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            render::error(&e, style);
            ExitCode::from(render::exit_code(&e))
        }
    }
}

fn words() -> Result<Vec<String>> {
    std::env::args_os()
        .skip(1)
        .map(|w| w.into_string().map_err(|w| Error::usage(format!("{} is not UTF-8", w.to_string_lossy()))))
        .collect()
}

fn dispatch(words: &[String], style: Style) -> Result<()> {
    if let [word] = words
        && ["--version", "-V"].contains(&word.as_str())
    {
        render::say(concat!("dds ", env!("CARGO_PKG_VERSION")));
        return Ok(());
    }
    let line = grammar::shell(words)?;
    let cwd = folder(&line)?;
    let Some(command) = line.command else {
        render::outcome(&dds_cmd::help::help(Door::Shell, None)?, style);
        return Ok(());
    };
    match command {
        ShellCommand::EvalChild => dds_eval::child_main(),
        ShellCommand::MountChild => {
            dds_eval::share_memory();
            dds_mount::child_main(dds_eval::give_memory_back)
        }
        ShellCommand::Common(Command::Help(r)) => {
            render::outcome(&dds_cmd::help::help(Door::Shell, r.command.as_deref())?, style);
            Ok(())
        }
        ShellCommand::Install(r) => install_kernel(r, &cwd, style),
        ShellCommand::Job(r) => job::run(&r, &cwd, style),
        ShellCommand::Kernel(r) => run_kernel(&cwd.join(r.file), &cwd),
        other => {
            let config = Arc::new(config::load(&config::process_env)?);
            let cancel = interrupt::watch();
            match other {
                ShellCommand::Common(Command::Mount(r)) => serving::mount(&config, &r, &cwd, &cancel, style),
                ShellCommand::Common(Command::Login(r)) => {
                    let login = Command::Login(command::with_token_from_input(r)?);
                    command::run(&config, &login, &cwd, &cancel, style)
                }
                ShellCommand::Common(command) => command::run(&config, &command, &cwd, &cancel, style),
                ShellCommand::Serve(r) => serving::serve(&r, &cwd, &cancel, style),
                ShellCommand::RepositoriesChild => serving::repositories(&config),
                ShellCommand::App(r) => serving::app(&config, &r, &cwd, &cancel, style),
                ShellCommand::Demo(r) => demo(&config, &r, &cwd, &cancel, style),
                _ => Err(Error::internal("a role was not handled")),
            }
        }
    }
}

fn demo(config: &Arc<Config>, r: &grammar::Demo, cwd: &Path, cancel: &Cancel, style: Style) -> Result<()> {
    let options = demo::Options {
        exit: r.exit,
        report: r.report.as_ref().map(|file| cwd.join(file)),
        port: r.port,
        out: None,
    };
    let cx = Cx::new(cwd, Arc::new(render::Terminal::new(style)), cancel.clone());
    let report = serving::runtime()?.block_on(demo::run(options, config.clone(), &cx))?;
    if style.json {
        let value = serde_json::to_value(&report).map_err(|e| Error::internal(e.to_string()))?;
        render::outcome(&dds_core::Outcome::new("", value), style);
    }
    Ok(())
}

/// The folder of this command: the current one, or that of `-C`.
fn folder(line: &ShellLine) -> Result<PathBuf> {
    let here = std::env::current_dir()
        .map_err(|e| Error::new(Kind::Unavailable, format!("the current folder is not readable: {e}")))?;
    let Some(dir) = &line.dir else { return Ok(here) };
    let path = Cx::silent(&here).absolute(dir);
    match std::fs::metadata(&path) {
        Ok(m) if m.is_dir() => Ok(path),
        Ok(_) => Err(Error::usage(format!("-C {dir}: not a folder"))),
        Err(e) => Err(Error::io(&path, &e).context("-C")),
    }
}

fn install_kernel(r: Install, cwd: &Path, style: Style) -> Result<()> {
    let wanted: Vec<Wanted> = r.prebuild.iter().map(|text| Wanted::parse(text)).collect::<Result<_>>()?;
    if wanted.len() > prebuild::MAX_CRATES {
        return Err(Error::usage(format!("--prebuild takes at most {} crates", prebuild::MAX_CRATES)));
    }
    let target = match (r.prefix, r.sys_prefix) {
        (Some(dir), _) => InstallTarget::Prefix(cwd.join(dir)),
        (None, true) => InstallTarget::SysPrefix,
        (None, false) => InstallTarget::User,
    };
    let exe = std::env::current_exe().map_err(|e| Error::io("dds", &e))?;
    let dir = install(target, &exe, &|name| std::env::var(name).ok())?;
    let outcome = dds_core::Outcome::new(
        format!("installed the kernel \"Rust (dds)\" in {}", dir.display()),
        serde_json::json!({"dir": dir, "exe": exe}),
    );
    let mut outcome = outcome.detail("start it with: jupyter lab");
    if !wanted.is_empty() {
        let config = config::load(&config::process_env)?;
        stand_between(&config);
        let terminal = Arc::new(render::Terminal::new(style));
        let built = prebuild::run(&wanted, &config, &Cx::new(cwd, terminal.clone(), interrupt::watch()));
        terminal.finish();
        let built = built?;
        outcome.detail = format!("{}\n{}", built.summary, outcome.detail);
        outcome.json["built"] = built.json["built"].clone();
    }
    render::outcome(&outcome, style);
    Ok(())
}

/// Has cells compiled by this program. Must be called before any thread is started.
fn stand_between(config: &Config) {
    if let Err(e) = dds_eval::stand_between(&config.runtime_dir.join("tools"), &config.cache_dir) {
        tracing::warn!("cells are compiled by cargo, which takes longer: {e}");
    }
}

/// Has programs that cells and `!` lines start read mounted folders where FUSE is not allowed, or where
/// `DDS_MOUNT_VIA=stream` asks for it. Must be called before any thread is started.
fn offer_streams(config: &Config) {
    let is_asked = std::env::var_os("DDS_MOUNT_VIA").is_some_and(|way| way == "stream");
    if (is_asked || dds_mount::fuse::probe().is_err())
        && let Err(e) = dds_mount::streams::offer(&config.cache_dir, &config.runtime_dir)
    {
        tracing::warn!("mounted folders are filled with copies: {e}");
    }
}

/// Runs as a kernel until it is told to end, and then leaves at once: a cell that does not stop may
/// still be running.
fn run_kernel(file: &Path, cwd: &Path) -> Result<()> {
    let config = Arc::new(config::load(&config::process_env)?);
    stand_between(&config);
    offer_streams(&config);
    let uploads = config::uploads(&config::process_env);
    let history = config::history(&config::process_env);
    let cwd = cwd.to_owned();
    let done = kernel::run(file, history, move || {
        let host: Arc<dyn kernel::host::Host> = wiring::session(config, &cwd, uploads)?;
        Ok(host)
    });
    if let Err(e) = done {
        render::error(&e, Style::detect(false));
        std::process::exit(i32::from(render::exit_code(&e)));
    }
    std::process::exit(0);
}

/// What is logged unless `DDS_LOG` says otherwise. fuser warns when it finds a mount already taken off,
/// which is how every mount of ours ends.
const DEFAULT_LOG: &str = "warn,fuser=error";

/// Logs go to stderr; `DDS_LOG` chooses what, in the syntax of `RUST_LOG`.
fn start_log() {
    let filter = std::env::var("DDS_LOG").unwrap_or_else(|_| DEFAULT_LOG.into());
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(DEFAULT_LOG));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
