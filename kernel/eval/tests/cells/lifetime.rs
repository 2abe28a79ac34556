//! What is left behind when a session ends: nothing.

use super::stage::{Stage, Test, eventually};
use dds_core::eval::Evaluator;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub const TESTS: &[Test] = &[
    ("a_killed_child_is_replaced", a_killed_child_is_replaced),
    ("no_copy_is_left_between_cells", no_copy_is_left_between_cells),
    ("nothing_is_left_behind", nothing_is_left_behind),
    ("nothing_is_left_behind_by_a_killed_kernel", nothing_is_left_behind_by_a_killed_kernel),
    ("without_a_toolchain", without_a_toolchain),
];

/// Argument that makes this program a kernel to be killed.
pub const VICTIM_ARG: &str = "--victim";

fn alive(pid: u32) -> bool {
    // A dead process that nobody has waited for yet has no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn descendants(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let mut found = Vec::new();
    let mut left = vec![root];
    while let Some(pid) = left.pop() {
        let own = children.remove(&pid).unwrap_or_default();
        found.extend(&own);
        left.extend(own);
    }
    found
}

fn a_killed_child_is_replaced(stage: &mut Stage) {
    stage.value("let lost = 1;");
    let worker: u32 = stage.value("std::process::id()").parse().unwrap();
    assert!(std::process::Command::new("kill").args(["-9", &worker.to_string()]).status().unwrap().success());
    eventually("the worker was killed", || !alive(worker));
    let error = stage.error("lost");
    assert!(error.traceback.join("\n").contains("lost"), "{error:?}");
    assert_eq!(stage.value("let a = 2; a"), "2");
}

fn no_copy_is_left_between_cells(stage: &mut Stage) {
    let worker: u32 = stage.value("std::process::id()").parse().unwrap();
    eventually("a process is left, if only its entry", || descendants(worker).is_empty());
}

fn nothing_is_left_behind(_: &mut Stage) {
    let mut stage = Stage::new();
    let folder = stage.folder();
    let worker: u32 = stage.value("std::process::id()").parse().unwrap();
    stage.value("std::process::Command::new(\"sleep\").arg(\"3600\").spawn().unwrap();");
    let others = descendants(std::process::id());
    assert!(others.contains(&worker) && folder.is_dir());
    drop(stage);
    eventually("a process is left", || !alive(worker));
    eventually("the folder is left", || !folder.exists());
}

fn nothing_is_left_behind_by_a_killed_kernel(_: &mut Stage) {
    let exe = std::env::current_exe().unwrap();
    let mut kernel =
        std::process::Command::new(exe).arg(VICTIM_ARG).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = kernel.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let folder = PathBuf::from(line.trim());
    assert!(folder.is_dir(), "{line:?}");
    // Its child, the worker, and the checkpoint of the cell that is running.
    let family = descendants(kernel.id());
    assert!(family.len() >= 4, "{family:?}");
    kernel.kill().unwrap();
    kernel.wait().unwrap();
    for pid in family {
        eventually("a process is left", || !alive(pid));
    }
    eventually("the folder is left", || !folder.exists());
}

/// A kernel in the midst of a cell, which has started a program.
pub fn victim() {
    let mut stage = Stage::new();
    let folder = stage.folder();
    let (result, _) = stage.interrupt_at("println!(\"up\"); loop {}", "up");
    assert!(result.is_err());
    let record = std::sync::Arc::new(super::stage::Record::default());
    let sink: std::sync::Arc<dyn dds_core::eval::CellSink> = record.clone();
    std::thread::spawn(move || {
        record.wait_for_out("up");
        println!("{}", folder.display());
    });
    let code =
        "std::process::Command::new(\"sleep\").arg(\"3600\").spawn().unwrap(); println!(\"up\"); loop {}";
    let cx = stage.cx();
    let _ = stage.evaluator.execute(code, &sink, &cx);
}

fn without_a_toolchain(_: &mut Stage) {
    let exe = std::env::current_exe().unwrap();
    let output = std::process::Command::new(exe)
        .arg(BARE_ARG)
        .env("PATH", "/nonexistent")
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("Unavailable") && shown.contains("https://rustup.rs"), "{shown}");
}

/// Argument that makes this program run one cell and print its error.
pub const BARE_ARG: &str = "--bare";

pub fn bare() {
    let mut stage = Stage::new();
    let error = stage.error("1 + 1");
    println!("{}\n{}", error.ename, error.traceback.join("\n"));
    assert!(Path::new("/proc").exists());
}
