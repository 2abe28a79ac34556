use super::*;
use crate::{body, grammar};
use dds_core::engine::{DataEngine, LearnEngine, MountEngine, SessionEngine};
use dds_core::request as rq;
use serde_json::json;

/// Answers every command with its own name, its request and the folder it ran in.
struct Echo;

fn echo(name: &str, request: &impl std::fmt::Debug, cx: &Cx) -> Result<Outcome> {
    Ok(Outcome::new(name, json!({"request": format!("{request:?}"), "cwd": cx.cwd})))
}

macro_rules! echoes {
    ($($method:ident: $request:ty),*) => {
        $(fn $method(&self, r: &$request, cx: &Cx) -> Result<Outcome> {
            echo(stringify!($method), r, cx)
        })*
    };
}

impl DataEngine for Echo {
    echoes!(ls: rq::Ls, stat: rq::Stat, cat: rq::Cat, tree: rq::Tree, head: rq::Head, diff: rq::Diff, log: rq::Log, upload: rq::Upload, clone_repo: rq::Clone, fetch: rq::Fetch, login: rq::Login, logout: rq::Logout);
}

impl MountEngine for Echo {
    echoes!(mount: rq::Mount, unmount: rq::Unmount, mounts: rq::Mounts, order: rq::Order, status: rq::Status, commit: rq::Commit, discard: rq::Discard);
}

impl LearnEngine for Echo {
    echoes!(
        show: rq::Show, data: rq::Data, batch: rq::Batch, probe: rq::Probe, confusion: rq::Confusion,
        top_losses: rq::TopLosses, export: rq::Export, load: rq::Load, predict: rq::Predict,
        verify: rq::Verify, convert: rq::Convert
    );
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl SessionEngine for Echo {
    echoes!(
        form: rq::FormCell, exec: rq::Exec, export_rs: rq::ExportRs, env: rq::Env, time: rq::Time,
        doctor: rq::Doctor, cache: rq::Cache
    );
    fn cd(&self, dir: &str, cx: &Cx) -> Result<Outcome> {
        echo("cd", &dir, cx)
    }
}

fn ran(line: &str) -> Outcome {
    let engines = Engines { data: &Echo, mount: &Echo, learn: &Echo, session: &Echo };
    let (head, text) = line.split_once('\n').unwrap_or((line, ""));
    let parsed = body::parse(&shlex::split(head).unwrap(), text, 2).unwrap();
    run_cell(&parsed, &engines, &Cx::silent("/home/user")).unwrap()
}

#[test]
fn every_command_reaches_its_engine() {
    let mut seen = Vec::new();
    for command in Door::Cell.tree().get_subcommands().filter(|c| c.get_name() != "help") {
        let name = command.get_name();
        let example = crate::theme::examples(Door::Cell, name).first().unwrap();
        let method = match name {
            "clone" => "clone_repo",
            "app" => "form",
            "top-losses" => "top_losses",
            "export-rs" => "export_rs",
            other => other,
        };
        assert_eq!(ran(example).summary, method);
        let head: Vec<String> = shlex::split(example.lines().next().unwrap()).unwrap();
        if let Ok(CellLine { command: Some(parsed), .. }) = grammar::cell(&head) {
            assert_eq!(parsed.name(), name);
        }
        seen.push(name.to_owned());
    }
    assert!(seen.len() >= 24, "{seen:?}");
    assert!(ran("").summary.starts_with("dds "));
    assert!(ran("help show").detail.contains("usage: %dds show"));
}

#[test]
fn the_folder_of_one_command() {
    assert_eq!(ran("-C ../other ls").json["cwd"], "/home/other");
    assert_eq!(ran("ls").json["cwd"], "/home/user");
}

#[test]
fn parsing_is_free_of_engines() {
    assert!(grammar::cell(&["nope".to_owned()]).is_err());
}
