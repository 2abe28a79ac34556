//! Runs the examples of `SEMANTICS.md`, each in the ways that its block names.

#[path = "support/memory.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod memory;
#[path = "support/repo.rs"]
mod repo;
#[path = "support/session.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod session;

use dds_core::engine::MountEngine;
use dds_core::{RepoUrl, request as rq};
use session::Session;
use std::process::Command;

#[test]
#[expect(non_snake_case, reason = "the name holds the role, by which the harness finds it")]
fn played_as__mount() {
    session::play_mount_process();
}

/// A line to run and the lines that it must print.
struct Step {
    line: usize,
    run: String,
    expected: Vec<String>,
}

#[test]
fn the_examples_of_the_promises_hold() {
    let text = include_str!("../SEMANTICS.md");
    for way in session::ways().into_iter().chain(["stream"]) {
        let session = Session::new();
        std::fs::rename(session.repo("plain"), session.at("art")).unwrap();
        let steps = steps(text, way);
        assert!(steps.len() > 20, "{way}: only {} examples", steps.len());
        for step in steps {
            let printed = run(&session, &step.run, way);
            assert_eq!(printed, step.expected, "SEMANTICS.md, line {}, {way}: {}", step.line, step.run);
        }
    }
}

fn steps(text: &str, way: &str) -> Vec<Step> {
    let (mut steps, mut inside, mut meant) = (Vec::<Step>::new(), false, false);
    for (number, line) in text.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            inside = !inside;
            meant = inside && info.split_whitespace().any(|word| word == way);
        } else if meant && line.starts_with(['%', '!']) {
            steps.push(Step { line: number + 1, run: line.into(), expected: Vec::new() });
        } else if meant {
            steps.last_mut().expect("a block begins with a line to run").expected.push(line.into());
        }
    }
    steps
}

fn run(session: &Session, line: &str, way: &str) -> Vec<String> {
    if let Some(shell) = line.strip_prefix('!') {
        let mut command = Command::new("sh");
        command.args(["-c", shell]).current_dir(&session.root).env("LC_ALL", "C.UTF-8");
        if way == "stream" {
            let config = session::config(&session.root);
            command.envs(dds_mount::streams::variables(&config.cache_dir, &config.runtime_dir).unwrap());
        }
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        return String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    }
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let outcome = match words.as_slice() {
        ["mount", repo, dir] => {
            repo::push(&session.at(repo), "1");
            session.mount(&session.at(repo), dir, way).map(|_| None)
        }
        ["unmount", dir] => session.unmount(dir).map(|_| None),
        ["status", dir] => Ok(Some(session.status(dir))),
        ["discard", rest @ ..] => {
            let (flags, files): (Vec<&str>, Vec<&str>) = rest.iter().partition(|word| word.starts_with("--"));
            let files = files.into_iter().map(str::to_owned).collect();
            session.mounts.discard(&rq::Discard { files, all: flags == ["--all"] }, &session.cx).map(Some)
        }
        ["order", dir, more @ ..] => {
            let clear = more == ["--clear"];
            let list = more.first().filter(|_| !clear).map(|list| (*list).to_owned());
            let text = session.order(dir, list, clear).replace(session.root.to_str().unwrap(), "HOME");
            return text.lines().map(str::to_owned).collect();
        }
        // Stands for an upload, which brings the repository to its next commit.
        ["refresh"] => {
            repo::push(&session.at("art"), "2");
            let url = RepoUrl::Local { path: session.at("art"), rev: None };
            session.mounts.refresh(&url, &session.cx).map(|()| None)
        }
        other => panic!("no such command: {other:?}"),
    };
    let text = match outcome {
        Ok(outcome) => outcome.map_or_else(String::new, |outcome| outcome.text()),
        Err(error) => format!("{}: {}", error.kind.name(), error.message),
    };
    text.replace(session.root.to_str().unwrap(), "HOME").lines().map(str::to_owned).collect()
}
