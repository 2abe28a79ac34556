//! From a parsed command to the engine that does it.

use crate::grammar::{CellCommand, CellLine, Command, Door};
use crate::help;
use dds_core::engine::Engines;
use dds_core::{Cx, Outcome, Result};

/// Runs one command of either door.
pub fn run(command: &Command, door: Door, engines: &Engines<'_>, cx: &Cx) -> Result<Outcome> {
    let Engines { data, mount, learn, session } = engines;
    match command {
        Command::Mount(r) => mount.mount(r, cx),
        Command::Unmount(r) => mount.unmount(r, cx),
        Command::Mounts(r) => mount.mounts(r, cx),
        Command::Order(r) => mount.order(r, cx),
        Command::Status(r) => mount.status(r, cx),
        Command::Commit(r) => mount.commit(r, cx),
        Command::Discard(r) => mount.discard(r, cx),
        Command::Ls(r) => data.ls(r, cx),
        Command::Stat(r) => data.stat(r, cx),
        Command::Cat(r) => data.cat(r, cx),
        Command::Tree(r) => data.tree(r, cx),
        Command::Head(r) => data.head(r, cx),
        Command::Diff(r) => data.diff(r, cx),
        Command::Log(r) => data.log(r, cx),
        Command::Upload(r) => data.upload(r, cx),
        Command::Clone(r) => data.clone_repo(r, cx),
        Command::Login(r) => data.login(r, cx),
        Command::Logout(r) => data.logout(r, cx),
        Command::Show(r) => learn.show(r, cx),
        Command::Fetch(r) => data.fetch(r, cx),
        Command::Convert(r) => learn.convert(r, cx),
        Command::Verify(r) => learn.verify(r, cx),
        Command::Data(r) => learn.data(r, cx),
        Command::Batch(r) => learn.batch(r, cx),
        Command::Probe(r) => learn.probe(r, cx),
        Command::Confusion(r) => learn.confusion(r, cx),
        Command::TopLosses(r) => learn.top_losses(r, cx),
        Command::Export(r) => learn.export(r, cx),
        Command::Load(r) => learn.load(r, cx),
        Command::Predict(r) => learn.predict(r, cx),
        Command::Exec(r) => session.exec(r, cx),
        Command::ExportRs(r) => session.export_rs(r, cx),
        Command::Doctor(r) => session.doctor(r, cx),
        Command::Cache(r) => session.cache(r, cx),
        Command::Help(r) => help::help(door, r.command.as_deref()),
    }
}

/// Runs one `%dds` line of a cell; without a command it is `help`.
pub fn run_cell(line: &CellLine, engines: &Engines<'_>, cx: &Cx) -> Result<Outcome> {
    let cx = &within(cx, line.dir.as_deref());
    match &line.command {
        None => help::help(Door::Cell, None),
        Some(CellCommand::Common(command)) => run(command, Door::Cell, engines, cx),
        Some(CellCommand::App(form)) => engines.session.form(form, cx),
        Some(CellCommand::Cd(r)) => engines.session.cd(&r.dir, cx),
        Some(CellCommand::Env(r)) => engines.session.env(r, cx),
        Some(CellCommand::Time(r)) => engines.session.time(r, cx),
    }
}

/// The context of a command under `-C DIR`.
pub fn within(cx: &Cx, dir: Option<&str>) -> Cx {
    let mut cx = cx.clone();
    if let Some(dir) = dir {
        cx.cwd = cx.absolute(dir);
    }
    cx
}

#[cfg(test)]
mod tests;
