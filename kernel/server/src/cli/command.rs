//! The commands that a shell shares with a notebook cell.

use super::mounts::ShellMounts;
use crate::render::{self, Style, Terminal};
use crate::session::{self, wiring};
use dds_cmd::{Command, Door};
use dds_core::engine::{Engines, SessionEngine};
use dds_core::{Cancel, Config, Cx, Error, Outcome, Result, request as rq};
use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;

const MAX_TOKEN_BYTES: u64 = 64 << 10;

/// Runs one command and shows its result.
pub(super) fn run(
    config: &Arc<Config>,
    command: &Command,
    cwd: &Path,
    cancel: &Cancel,
    style: Style,
) -> Result<()> {
    let services = wiring::services(config);
    let mounts = ShellMounts(services.mount.clone(), config.clone());
    let own = Shell { config: config.clone() };
    let engines = Engines { data: &*services.data, mount: &mounts, learn: &*services.learn, session: &own };
    let terminal = Arc::new(Terminal::new(style));
    let cx = Cx::new(cwd, terminal.clone(), cancel.clone());
    let outcome = dds_cmd::run(command, Door::Shell, &engines, &cx);
    terminal.finish();
    let outcome = outcome?;
    render::outcome(&outcome, style);
    if tells_by_status(command) && outcome.json["ok"] == false {
        drop(services);
        std::process::exit(1);
    }
    if let (Command::Show(show), false) = (command, style.json)
        && show.out.is_none()
    {
        render::tell("note: a shell shows no pictures; --out FILE.png writes them");
    }
    Ok(())
}

/// Whether a script may ask the exit status for the result of this command.
fn tells_by_status(command: &Command) -> bool {
    matches!(command, Command::Doctor(_) | Command::Verify(_) | Command::Fetch(_) | Command::Convert(_))
}

/// `login --token -`: the token is read from standard input, so that it stands in no list of processes and
/// in no history of a shell.
pub(super) fn with_token_from_input(mut r: rq::Login) -> Result<rq::Login> {
    if r.token.as_deref() != Some("-") {
        return Ok(r);
    }
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        return Err(Error::usage("the token would be shown while you type it")
            .hint("hand it over: dds login --token - < FILE"));
    }
    let mut token = String::new();
    input
        .by_ref()
        .take(MAX_TOKEN_BYTES)
        .read_line(&mut token)
        .map_err(|e| Error::io("standard input", &e))?;
    r.token = Some(token.trim().to_owned());
    Ok(r)
}

/// What a session would do, in a shell.
struct Shell {
    config: Arc<Config>,
}

impl SessionEngine for Shell {
    fn form(&self, _: &rq::FormCell, _: &Cx) -> Result<Outcome> {
        Err(Error::usage("forms are declared in a notebook").hint("see: dds help app"))
    }

    fn cd(&self, _: &str, _: &Cx) -> Result<Outcome> {
        Err(Error::usage("cd belongs to a notebook").hint("use your shell's cd, or dds -C DIR COMMAND"))
    }

    fn exec(&self, r: &rq::Exec, cx: &Cx) -> Result<Outcome> {
        session::exec(&self.config, r, cx)
    }

    fn export_rs(&self, r: &rq::ExportRs, cx: &Cx) -> Result<Outcome> {
        crate::export_rs::run(r, cx)
    }

    fn env(&self, _: &rq::Env, _: &Cx) -> Result<Outcome> {
        Err(Error::usage("env belongs to a notebook").hint("use your shell's way: NAME=VALUE dds COMMAND"))
    }

    fn time(&self, _: &rq::Time, _: &Cx) -> Result<Outcome> {
        Err(Error::usage("`time` measures Rust in a notebook"))
    }

    fn doctor(&self, r: &rq::Doctor, cx: &Cx) -> Result<Outcome> {
        crate::doctor::run(r, &self.config, &crate::config::process_env, cx)
    }

    fn cache(&self, r: &rq::Cache, cx: &Cx) -> Result<Outcome> {
        crate::cache::run(r, &self.config, cx)
    }
}
