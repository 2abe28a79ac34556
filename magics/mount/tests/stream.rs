//! Folders whose files come when programs open them: programs under the library of hooks, and
//! programs without it.

#[path = "support/memory.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod memory;
#[path = "support/repo.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod repo;
#[path = "support/session.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod session;

use dds_core::{Config, RepoPath, Secret};
use dds_data::{ServeOptions, Server, create};
use dds_mount::streams;
use session::Session;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};

const FILES: usize = 40;

#[test]
#[expect(non_snake_case, reason = "the name holds the role, by which the harness finds it")]
fn played_as__mount() {
    session::play_mount_process();
}

struct Served {
    server: Server,
    session: Session,
}

/// A repository of [`FILES`] files in two folders, served, and mounted on `data`.
fn mounted() -> Served {
    let session = Session::new();
    let (files, repo) = (session.at("images"), session.at("art"));
    for i in 0..FILES {
        let class = files.join(if i < FILES / 2 { "a b" } else { "ü" });
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join(format!("{i:02}.bin")), bytes(i)).unwrap();
    }
    let readme = (RepoPath::parse("README.md").unwrap(), "# Art\n".to_owned());
    let options = create::Options { git_files: vec![readme], ..Default::default() };
    create::git_dvc_repo(&files, &repo, &options, &session.cx).unwrap();
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = ServeOptions { addr, token: None::<Secret>, read_only: false, access_log: None };
    let server = Server::start(&repo, options, &session.cx).unwrap();
    let request = dds_core::request::Mount {
        url: server.repo_url(),
        dir: "data".into(),
        via: "stream".into(),
        ..Default::default()
    };
    dds_core::engine::MountEngine::mount(&*session.mounts, &request, &session.cx).unwrap();
    Served { server, session }
}

fn bytes(i: usize) -> Vec<u8> {
    memory::noise(20_000 + i, i as u64 + 1)
}

/// Runs a line of the shell, under the library.
fn sh(session: &Session, line: &str) -> Output {
    let config: &Config = &session::config(&session.root);
    let variables = streams::variables(&config.cache_dir, &config.runtime_dir).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(&session.root).envs(variables).env("LC_ALL", "C.UTF-8");
    command.output().unwrap()
}

fn out(session: &Session, line: &str) -> String {
    let output = sh(session, line);
    assert!(output.stderr.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn streamed(session: &Session) -> u64 {
    session.mounts.stats(&session.at("data")).unwrap().files_streamed
}

#[test]
fn programs_see_ordinary_files() {
    let Served { session, .. } = &mounted();
    assert_eq!(out(session, "find data/images -type f | wc -l").trim(), "40");
    assert_eq!(out(session, "find data -type s | wc -l").trim(), "0");
    assert_eq!(out(session, "stat -c '%s %F' 'data/images/a b/07.bin'").trim(), "20007 regular file");
    assert_eq!(out(session, "ls -l data/images/ü | wc -l").trim(), "21");
    assert_eq!(streamed(session), 0, "listing fetches nothing");
    assert_eq!(sh(session, "cat 'data/images/a b/07.bin'").stdout, bytes(7));
    assert_eq!(streamed(session), 1);
    // By a folder's handle, by a link, and from inside.
    assert_eq!(out(session, "ln -s data/images/ü link && wc -c < link/30.bin").trim(), "20030");
    assert_eq!(out(session, "cd data/images && cp -r ü ../../copy && ls ../../copy | wc -l").trim(), "20");
    assert_eq!(fs::read(session.at("copy/25.bin")).unwrap(), bytes(25));
    assert_eq!(out(session, "head -c 5 data/README.md"), "# Art");
    // What is there now is there for everybody.
    assert_eq!(fs::read(session.at("data/images/ü/30.bin")).unwrap(), bytes(30));
    assert_eq!(out(session, "stat -c '%s %a' data/images/ü/30.bin").trim(), "20030 444");
}

#[test]
fn programs_without_the_library_fail_and_read_nothing_wrong() {
    let Served { session, .. } = &mounted();
    let path = session.at("data/images/ü/30.bin");
    assert_eq!(fs::read(&path).unwrap_err().raw_os_error(), Some(rustix::io::Errno::NXIO.raw_os_error()));
    assert_eq!(streamed(session), 0);
    // A socket of somebody else's stays one.
    let _other = std::os::unix::net::UnixListener::bind(session.at("other")).unwrap();
    assert_eq!(out(session, "stat -c %F other").trim(), "socket");
    assert!(!sh(session, "cat other").status.success());
}

#[test]
fn files_are_fetched_once_and_ahead_of_the_reader() {
    let Served { session, .. } = &mounted();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(sh(session, "cat data/images/ü/39.bin").stdout, bytes(39)));
        }
    });
    assert_eq!(streamed(session), 1);
    for i in 0..3 {
        assert_eq!(sh(session, &format!("cat 'data/images/a b/{i:02}.bin'")).stdout, bytes(i));
    }
    session::soon("files that follow", || streamed(session) >= 1 + 2 + 4);
    assert_eq!(
        out(session, "cat data/images/*/* | wc -c").trim(),
        (0..FILES).map(|i| 20_000 + i).sum::<usize>().to_string()
    );
}

#[test]
fn errors_are_those_of_a_mount() {
    let Served { server, session } = mounted();
    drop(server);
    let output = sh(&session, "cat data/images/ü/35.bin");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Input/output error"), "{output:?}");
    let problems = session.mounts.problems(&session.at("data")).unwrap();
    assert!(problems.iter().any(|problem| problem.contains("35.bin")), "{problems:?}");
    // Nobody answers any more.
    session.unmount("data").unwrap();
    assert!(!session.at("data").exists());
}

#[test]
fn unmounting_keeps_what_the_user_changed() {
    let Served { session, .. } = &mounted();
    assert_eq!(
        out(session, "rm -f data/README.md && echo mine > data/README.md && cat data/README.md"),
        "mine\n"
    );
    assert_eq!(sh(session, "cat data/images/ü/20.bin").stdout, bytes(20));
    let outcome = session.unmount("data").unwrap();
    assert_eq!(outcome.json["kept"], serde_json::json!(["README.md"]));
    let left: Vec<PathBuf> = fs::read_dir(session.at("data")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, [session.at("data/README.md")]);
    let rows = fs::read_dir(session::config(&session.root).runtime_dir.join("streams")).unwrap();
    assert_eq!(rows.count(), 0);
}

#[test]
fn the_library_lies_where_the_loader_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let (blank, plain) = (folder.path().join("a b"), folder.path().join("run"));
    let [(name, library), _] = streams::variables(&blank, &plain).unwrap();
    assert_eq!(name, "LD_PRELOAD");
    assert!(library.starts_with(&plain) && library.is_file());
    let error = streams::variables(&blank, &blank).unwrap_err();
    assert!(error.hint.unwrap().contains("XDG_CACHE_HOME"));
}
