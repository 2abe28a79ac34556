//! `dds job run` from outside: real commands over a few sample pictures, the stream of events, the
//! record that is kept, mistakes, and what a signal does.

use crate::tree::root;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn dds(desk: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dds"));
    command
        .current_dir(desk)
        .env("HOME", desk)
        .env("XDG_CACHE_HOME", desk.join("cache"))
        .env("XDG_CONFIG_HOME", desk.join("config"))
        .env("XDG_RUNTIME_DIR", desk)
        .env("DAGSHUB_USER_TOKEN", "tok-of-the-test")
        .env_remove("DDS_CACHE");
    command
}

/// Two classes of twelve pictures each, in `art`.
fn desk() -> tempfile::TempDir {
    let desk = tempfile::tempdir().expect("a temporary folder");
    for class in ["animals", "plants"] {
        let (from, to) =
            (root().join("notebooks/data/clipart").join(class), desk.path().join("art").join(class));
        std::fs::create_dir_all(&to).expect("folder");
        for n in 0..12 {
            let name = format!("{n:03}.jpg");
            std::fs::copy(from.join(&name), to.join(&name)).expect("a sample picture");
        }
    }
    desk
}

fn run(desk: &Path, spec: &Value, args: &[&str]) -> Output {
    std::fs::write(desk.join("job.json"), spec.to_string()).expect("job file");
    dds(desk).args(["job", "run", "job.json"]).args(args).output().expect("dds runs")
}

fn events(stdout: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|e| e["event"] == name).collect()
}

#[test]
fn a_job_runs_its_steps_and_keeps_its_record() {
    let desk = desk();
    let spec = json!({
        "dds_job": 1,
        "name": "two classes",
        "folder": "art/..",
        "env": {"DDS_CACHE": desk.path().join("elsewhere")},
        "steps": [
            "%%dds data --name two\npath = \"art\"\nsplit = \"every:4\"\nsize = 64",
            "%dds probe --data two",
            "%dds show art/animals/000.jpg art/plants/000.jpg",
            "%dds cd art",
            "%dds ls animals --long",
        ],
    });
    let out = run(desk.path(), &spec, &[]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let all = events(&out.stdout);

    let started = &all[0];
    assert_eq!(
        (started["event"].as_str(), started["name"].as_str()),
        (Some("job_started"), Some("two classes"))
    );
    assert_eq!(started["steps"], 5);
    let id = started["job"].as_str().expect("id");
    let mut last = String::new();
    for event in &all {
        assert_eq!(event["job"], id, "{event}");
        let time = event["time"].as_str().expect("time");
        assert!(time.len() == 24 && time.ends_with('Z') && time >= last.as_str(), "{event}");
        last = time.to_owned();
    }
    let steps: Vec<(u64, &str)> = named(&all, "step_finished")
        .iter()
        .map(|e| (e["step"].as_u64().expect("step"), e["command"].as_str().expect("command")))
        .collect();
    assert_eq!(steps, [(1, "data"), (2, "probe"), (3, "show"), (4, "cd"), (5, "ls")]);
    let probe = named(&all, "step_finished")[1];
    assert!(probe["result"]["accuracy"].as_f64().is_some_and(|a| (0.0..=1.0).contains(&a)), "{probe}");
    assert!(probe["seconds"].as_f64().is_some_and(|s| s > 0.0) && probe["summary"].is_string());
    assert!(!named(&all, "progress").is_empty(), "the probe tells how far it is");
    let listed = named(&all, "step_finished")[4]["result"].to_string();
    assert!(listed.contains("011.jpg"), "{listed}");
    let end = all.last().expect("events");
    assert_eq!((end["event"].as_str(), end["status"].as_str()), (Some("job_finished"), Some("ok")));

    // The picture lies in a file of the run, and is one.
    let run = desk.path().join(".dds/runs").join(id);
    assert_eq!(started["run"].as_str().map(Path::new).and_then(Path::file_name), run.file_name());
    let shown =
        named(&all, "display").into_iter().find(|e| e["step"] == 3 && e["files"]["image/png"].is_object());
    let file = &shown.expect("a picture is shown")["files"]["image/png"];
    let picture = std::fs::read(run.join(file["file"].as_str().expect("file"))).expect("the file is there");
    assert_eq!(file["bytes"], picture.len());
    assert!(picture.starts_with(b"\x89PNG"));

    // What was said is what is kept.
    assert_eq!(std::fs::read(run.join("events.jsonl")).expect("events"), out.stdout);
    assert_eq!(std::fs::read_to_string(run.join("spec.json")).expect("spec"), spec.to_string());
    assert!(desk.path().join("elsewhere/features").is_dir(), "the job's variables count");
    assert!(!String::from_utf8_lossy(&out.stdout).contains("tok-of-the-test"));
}

#[test]
fn a_step_that_fails_ends_the_job() {
    let desk = desk();
    std::fs::write(desk.path().join("x tok-of-the-test.txt"), "x").expect("file");
    let steps = ["%dds ls", "%dds stat 'no such file.txt'", "%dds ls"];
    let out = run(desk.path(), &json!({"dds_job": 1, "steps": steps}), &["--json"]);
    assert_eq!(out.status.code(), Some(1));
    let all = events(&out.stdout);
    let error = named(&all, "error")[0];
    assert_eq!((error["kind"].as_str(), error["step"].as_u64()), (Some("NotFound"), Some(2)), "{error}");
    assert!(error["message"].as_str().is_some_and(|m| m.contains("no such file.txt")));
    assert_eq!(all.last().expect("events")["status"], "failed");
    assert_eq!(named(&all, "step_started").len(), 2);
    assert!(String::from_utf8_lossy(&out.stderr).contains("step 2: "), "a person reads it too");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("x ***.txt") && !text.contains("tok-of-the-test"), "{text}");
}

#[test]
fn nothing_runs_when_one_step_is_wrong() {
    let desk = desk();
    let spec = json!({"dds_job": 1, "steps": ["%dds ls", "%dds probe --dta two"]});
    let out = run(desk.path(), &spec, &[]);
    assert_eq!(out.status.code(), Some(1));
    let all = events(&out.stdout);
    assert_eq!(
        all.iter().map(|e| e["event"].as_str().expect("event")).collect::<Vec<_>>(),
        ["error", "job_finished"]
    );
    let told = all[0]["message"].as_str().expect("message");
    assert!(told.starts_with("job.json: step 2: `probe` has no flag --dta"), "{told}");
    assert!(!desk.path().join(".dds").exists());
}

#[test]
fn a_plan_runs_nothing() {
    let desk = desk();
    let spec = json!({"dds_job": 1, "name": "n", "steps": ["%dds ls art", "%dds cat x"]});
    let out = run(desk.path(), &spec, &["--plan"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success() && text.starts_with("n: 2 steps in ") && text.contains("2  %dds cat x"),
        "{text}"
    );
    let out = run(desk.path(), &spec, &["--plan", "--json"]);
    let plan: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(plan["steps"][0], json!({"step": 1, "command": "ls", "text": "%dds ls art"}));
    assert!(!desk.path().join(".dds").exists());
    let out = run(desk.path(), &json!({"dds_job": 1, "folder": "gone", "steps": ["%dds ls"]}), &["--plan"]);
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("gone"));
}

#[test]
fn a_job_comes_on_standard_input_too() {
    let desk = desk();
    let mut child = dds(desk.path())
        .args(["job", "run", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("dds runs");
    let text = json!({"dds_job": 1, "steps": ["%dds ls art"]}).to_string();
    child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("the job is read");
    let out = child.wait_with_output().expect("dds ends");
    assert!(out.status.success());
    assert_eq!(events(&out.stdout).last().expect("events")["status"], "ok");
}

/// A job whose only step waits for a server that never answers; returns once the step runs.
fn hanging(desk: &Path, server: &TcpListener) -> (Child, Vec<u8>, BufReader<std::process::ChildStdout>) {
    let url = format!("http://{}/team/photos", server.local_addr().expect("address"));
    let spec = json!({"dds_job": 1, "steps": [format!("%dds ls {url}"), "%dds ls"]});
    std::fs::write(desk.join("job.json"), spec.to_string()).expect("job file");
    let mut child = dds(desk)
        .args(["job", "run", "job.json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("dds");
    let mut out = BufReader::new(child.stdout.take().expect("stdout"));
    let mut said = Vec::new();
    while out.read_until(b'\n', &mut said).expect("a line") > 0 {
        if events(&said).last().is_some_and(|e| e["event"] == "step_started") {
            break;
        }
    }
    // The step has begun to talk to the server, and stays there.
    let _accepted = server.accept().expect("a connection");
    (child, said, out)
}

#[test]
fn signals_end_the_job_with_its_last_events() {
    for signal in ["INT", "TERM"] {
        let desk = desk();
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (mut child, mut said, mut out) = hanging(desk.path(), &server);
        let sent =
            Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        std::io::Read::read_to_end(&mut out, &mut said).expect("the rest");
        assert_eq!(child.wait().expect("dds ends").code(), Some(130), "{signal}");
        let all = events(&said);
        assert_eq!(named(&all, "error")[0]["kind"], "Interrupted");
        assert_eq!(all.last().expect("events")["status"], "interrupted");
        let id = all[0]["job"].as_str().expect("id");
        assert_eq!(
            std::fs::read(desk.path().join(".dds/runs").join(id).join("events.jsonl")).expect("events"),
            said
        );
    }
}
