//! The loop as a process: signals, orphans, and the connection file. This test binary plays the
//! kernel: it starts itself.

use crate::echo_host::EchoHost;
use crate::front_end::DEADLINE;
use dds_server::kernel::run;
use dds_wire::client::{Client, KernelProcess, Launch};
use dds_wire::{Channel, ConnectionInfo, Message};
use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// What this process is; unset for the test itself.
const ROLE: &str = "DDS_TEST_ROLE";

/// Not a test by itself: a kernel's process, when [`ROLE`] is set.
#[test]
fn as_process() {
    let file = || std::env::args().next_back().unwrap();
    match std::env::var(ROLE).as_deref() {
        Ok("kernel") => {
            println!("kernel {}", std::process::id());
            let done = run(Path::new(&file()), None, || Ok(Arc::new(EchoHost::default())));
            std::process::exit(if done.is_ok() { 0 } else { 1 });
        }
        // A front end that starts a kernel, which tells its id, and waits to be killed.
        Ok(role @ ("parent" | "parent of a wrapper")) => {
            let exe = std::env::current_exe().unwrap();
            // The shell waits for the kernel: something is left to do after it.
            let mut wrapper = Command::new("sh");
            wrapper.args(["-c", "\"$@\"; true", "sh"]).arg(&exe);
            let mut kernel = if role == "parent" { Command::new(&exe) } else { wrapper };
            kernel
                .args(["--exact", "process::as_process", "--nocapture", &file()])
                .env(ROLE, "kernel")
                .env("JPY_PARENT_PID", std::process::id().to_string())
                .spawn()
                .unwrap()
                .wait()
                .unwrap();
        }
        _ => {}
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("r-").tempdir_in("/tmp").unwrap()
}

async fn start(dir: &Path) -> (KernelProcess, Client, mpsc::Receiver<(Channel, Message)>) {
    let mut launch = Launch::new(std::env::current_exe().unwrap(), dir, dir).env(ROLE, "kernel");
    launch.args = vec!["--exact".into(), "process::as_process".into(), "--nocapture".into()];
    KernelProcess::start(&launch, DEADLINE).await.unwrap()
}

async fn until(messages: &mut mpsc::Receiver<(Channel, Message)>, msg_type: &str) -> Message {
    let search = async {
        loop {
            let (_, message) = messages.recv().await.expect("the client is open");
            if message.msg_type() == msg_type {
                return message;
            }
        }
    };
    tokio::time::timeout(DEADLINE, search).await.unwrap_or_else(|_| panic!("no {msg_type}"))
}

fn signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn sigint_interrupts_the_cell_and_sigterm_ends_the_kernel() {
    let dir = folder();
    let (mut process, client, mut messages) = start(dir.path()).await;
    let pid = process.id().unwrap();
    client.execute("print ready\nsleep").unwrap();
    until(&mut messages, "stream").await;
    signal(pid, "-INT");
    assert_eq!(until(&mut messages, "execute_reply").await.text("ename"), "Interrupted");

    client.execute("value 2").unwrap();
    until(&mut messages, "execute_result").await;
    signal(pid, "-TERM");
    let status = tokio::time::timeout(DEADLINE, process.wait()).await.expect("it ends").unwrap();
    assert_eq!(status.code(), Some(0), "{status}: {}", process.output_tail());
}

#[tokio::test]
async fn a_shutdown_request_ends_the_process() {
    let dir = folder();
    let (process, client, _messages) = start(dir.path()).await;
    let status = process.shutdown(&client, DEADLINE).await.unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn an_orphaned_kernel_ends() {
    orphaned("parent");
}

#[test]
fn a_kernel_ends_with_the_front_end_behind_its_wrapper() {
    orphaned("parent of a wrapper");
}

fn orphaned(role: &str) {
    let dir = folder();
    let info = ConnectionInfo::ipc(dir.path()).unwrap();
    let file = dir.path().join("kernel.json");
    info.write(&file).unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::as_process", "--nocapture"])
        .arg(&file)
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Open to the end: kernel and parent still write to it.
    let mut lines = std::io::BufReader::new(parent.stdout.take().unwrap()).lines();
    let told = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|l| l.split_once("kernel ").map(|(_, pid)| pid.to_owned()));
    let kernel: u32 = told.unwrap().trim().parse().unwrap();
    let (client, _messages) = Client::connect(&info).unwrap();
    client.wait_ready_blocking(DEADLINE).unwrap();

    parent.kill().unwrap();
    parent.wait().unwrap();
    let deadline = Instant::now() + DEADLINE;
    while running(kernel) {
        assert!(Instant::now() < deadline, "the kernel outlives its parent");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Whether the process exists and is not just waiting to be reaped by whoever adopted it.
fn running(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

#[test]
fn a_bad_connection_file_is_an_error_that_names_it() {
    let dir = folder();
    let file = dir.path().join("broken.json");
    std::fs::write(&file, "{}").unwrap();
    for path in [file, dir.path().join("missing.json")] {
        let error = run(&path, None, || Ok(Arc::new(EchoHost::default()))).unwrap_err();
        assert!(error.message.contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
    }
}
