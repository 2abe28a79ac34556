//! Kernel processes. This test binary plays the kernel: it starts itself with a connection file.

use dds_core::Kind;
use dds_wire::client::{KernelProcess, Launch};
use dds_wire::{Channel, ConnectionInfo, Message, Server, Transport};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);
/// How the child behaves; also tells it that it is the child.
const ROLE: &str = "DDS_WIRE_TEST_ROLE";

/// Not a test by itself: the kernel's process, when [`ROLE`] is set.
#[test]
fn as_kernel() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let file = std::env::args().next_back().unwrap();
    if role == "broken" {
        eprintln!("no \u{1b}[31mcompiler here");
        std::process::exit(3);
    }
    let info = ConnectionInfo::read(Path::new(&file)).unwrap();
    let (server, inbox, outlet) = Server::bind(&info).unwrap();
    let control = inbox.control;
    std::thread::spawn(move || {
        for request in inbox.shell {
            let content = json!({
                "protocol_version": "5.5", "language_info": {"name": "test", "version": "1"},
                "banner": std::env::current_dir().unwrap(),
            });
            let reply = Message::reply(&request, "kernel_info_reply", outlet.session(), content);
            let mut status = Message::new("status", outlet.session(), json!({"execution_state": "idle"}));
            status.parent_header = Some(request.header);
            outlet.send(Channel::Iopub, &status).unwrap();
            outlet.send(Channel::Shell, &reply).unwrap();
        }
    });
    for request in control {
        if request.msg_type() == "shutdown_request" && role == "polite" {
            server.shutdown();
            std::process::exit(0);
        }
    }
}

fn launch(role: &str, dir: &Path, transport: Transport) -> Launch {
    let mut launch = Launch::new(std::env::current_exe().unwrap(), dir, dir.join("run")).env(ROLE, role);
    launch.args = vec!["--exact".into(), "as_kernel".into(), "--nocapture".into()];
    launch.transport = transport;
    launch
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("p-").tempdir_in("/tmp").unwrap()
}

fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[tokio::test]
async fn a_process_starts_in_its_folder_and_ends_politely() {
    for transport in [Transport::Ipc, Transport::Tcp] {
        let dir = folder();
        let launch = launch("polite", dir.path(), transport);
        let (process, client, _messages) = KernelProcess::start(&launch, DEADLINE).await.unwrap();
        let info = client.wait_ready(DEADLINE).await.unwrap();
        assert_eq!(Path::new(&info.banner), dir.path().canonicalize().unwrap());
        let private = std::fs::read_dir(dir.path().join("run")).unwrap().next().unwrap().unwrap().path();
        assert_eq!(std::fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o700);

        let status = process.shutdown(&client, DEADLINE).await.unwrap();
        assert!(status.success(), "{status}");
        assert!(!private.exists(), "connection file and sockets are removed");
    }
}

#[tokio::test]
async fn a_process_that_does_not_listen_is_killed() {
    let dir = folder();
    let launch = launch("stubborn", dir.path(), Transport::Ipc);
    let (process, client, _messages) = KernelProcess::start(&launch, DEADLINE).await.unwrap();
    let status = process.shutdown(&client, Duration::from_millis(100)).await.unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
}

#[tokio::test]
async fn dropping_kills() {
    let dir = folder();
    let (process, client, _messages) =
        KernelProcess::start(&launch("stubborn", dir.path(), Transport::Ipc), DEADLINE).await.unwrap();
    let pid = process.id().unwrap();
    assert!(lives(pid));
    drop((process, client));
    let dead = async {
        while lives(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, dead).await.expect("the process ends");
}

#[tokio::test]
async fn a_start_that_fails_says_what_the_process_printed() {
    let dir = folder();
    let broken = launch("broken", dir.path(), Transport::Ipc);
    let error = KernelProcess::start(&broken, DEADLINE).await.err().expect("it cannot start");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.contains("exit status: 3"), "{error}");
    assert!(error.message.contains("no \\u{1b}[31mcompiler here"), "{error}");

    let mut missing = broken;
    missing.exe = dir.path().join("no-such-program");
    let error = KernelProcess::start(&missing, DEADLINE).await.err().expect("it cannot start");
    assert_eq!(error.kind, Kind::NotFound);
    assert!(error.message.contains("no-such-program"), "{error}");
}

#[tokio::test]
async fn a_folder_too_deep_for_ipc_is_refused_with_a_hint() {
    let dir = folder();
    let mut deep = launch("polite", dir.path(), Transport::Ipc);
    deep.dir = dir.path().join("d".repeat(90));
    let error = KernelProcess::start(&deep, DEADLINE).await.err().expect("the path is too long");
    assert_eq!(error.kind, Kind::Limit);
    assert!(error.hint.is_some());
}
