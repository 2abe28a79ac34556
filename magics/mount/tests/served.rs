//! Mounts of a real Git+DVC repository behind our own server, over HTTP.

#[path = "support/memory.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod memory;
#[path = "support/repo.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod repo;
#[path = "support/session.rs"]
#[allow(dead_code, reason = "shared between the tests")]
mod session;
#[path = "support/slow.rs"]
mod slow;

use dds_core::engine::MountEngine;
use dds_core::request as rq;
use dds_core::{Cx, Kind, Outcome, RepoUrl, Result, Secret};
use dds_data::{ServeOptions, Server, create};
use session::{Session, names, ways};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const TOKEN: &str = "s3cret-token";

#[test]
#[expect(non_snake_case, reason = "the name holds the role, by which the harness finds it")]
fn played_as__mount() {
    session::play_mount_process();
}

struct Served {
    repo: PathBuf,
    server: Server,
}

/// A repository `art` with a DVC folder `images` of six classes with `count` files each, served.
fn serve(session: &Session, count: usize, token: Option<&str>) -> Served {
    let (files, repo) = (session.at("images"), session.at("art"));
    for i in 0..6 * count {
        let class = files.join(format!("class {}", i / count));
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join(format!("{:02}.bin", i % count)), memory::noise(20_000 + i, i as u64 + 1))
            .unwrap();
    }
    let readme = (dds_core::RepoPath::parse("README.md").unwrap(), "# Art\n".to_owned());
    let options = create::Options { git_files: vec![readme], ..Default::default() };
    create::git_dvc_repo(&files, &repo, &options, &session.cx).unwrap();
    let options = ServeOptions {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        token: token.map(Secret::new),
        ..ServeOptions::default()
    };
    Served { server: Server::start(&repo, options, &session.cx).unwrap(), repo }
}

fn mount(session: &Session, url: &str, via: &str, token: Option<&str>) -> Result<Outcome> {
    let request = rq::Mount {
        url: url.into(),
        dir: "data".into(),
        via: via.into(),
        token: token.map(str::to_owned),
        ..Default::default()
    };
    session.mounts.mount(&request, &session.cx)
}

fn check_images(session: &Session) -> u64 {
    let mut count = 0;
    for class in names(&session.at("data/images")) {
        for name in names(&session.at("data/images").join(&class)) {
            let path = format!("images/{class}/{name}");
            let ours = fs::read(session.at("data").join(&path)).unwrap();
            assert!(ours == fs::read(session.root.join(&path)).unwrap(), "{path}");
            count += 1;
        }
    }
    count
}

#[test]
fn a_served_repository_is_a_folder_and_follows_its_branch() {
    for way in ways() {
        let session = Session::new();
        let served = serve(&session, 3, None);
        let outcome = mount(&session, &served.server.repo_url(), way, None).unwrap();
        assert_eq!(outcome.json["way"], way);
        assert_eq!(fs::read(session.at("data/README.md")).unwrap(), b"# Art\n");
        assert_eq!(check_images(&session), 18);
        let listed = session.mounts.mounts(&rq::Mounts {}, &session.cx).unwrap();
        let row = &listed.json["mounts"][0];
        assert!(row["files_listed"].as_u64().unwrap() > 18, "{row}");
        assert!(row["files_streamed"].as_u64().unwrap() > 18, "{row}");
        assert_eq!(row["commit"], head(&served.repo));

        fs::write(served.repo.join("new ü.txt"), "new\n").unwrap();
        git(&served.repo, &["add", "-A"]);
        git(&served.repo, &["commit", "-q", "-m", "more"]);
        assert!(!session.at("data/new ü.txt").exists(), "not before the session asks");
        let url = RepoUrl::parse(&served.server.repo_url()).unwrap();
        session.mounts.refresh(&url, &session.cx).unwrap();
        assert_eq!(fs::read(session.at("data/new ü.txt")).unwrap(), b"new\n", "{way}");
        assert_eq!(check_images(&session), 18);
        let listed = session.mounts.mounts(&rq::Mounts {}, &session.cx).unwrap();
        assert_eq!(listed.json["mounts"][0]["commit"], head(&served.repo));
    }
}

fn git(repo: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
        .args(args)
        .current_dir(repo)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn head(repo: &Path) -> String {
    git(repo, &["rev-parse", "HEAD"])
}

#[test]
fn a_token_reaches_the_server_and_nobody_else() {
    for way in ways() {
        let session = Session::new();
        let served = serve(&session, 3, Some(TOKEN));
        let url = served.server.repo_url();
        for wrong in [None, Some("wr0ng-token")] {
            let error = mount(&session, &url, way, wrong).unwrap_err();
            assert_eq!(error.kind, Kind::Unauthorized, "{error}");
            assert!(error.hint.is_some() && !format!("{error:?}").contains("wr0ng"), "{error:?}");
            assert!(!session.at("data").exists());
        }
        let outcome = mount(&session, &url, way, Some(TOKEN)).unwrap();
        assert!(!format!("{outcome:?}").contains(TOKEN));
        assert_eq!(fs::read(session.at("data/images/class 0/00.bin")).unwrap().len(), 20_000);
        let listed = session.mounts.mounts(&rq::Mounts {}, &session.cx).unwrap();
        assert!(!format!("{listed:?}").contains(TOKEN));
        if let dds_mount::table::Way::Fuse(process) = &session.mounts.table().mounts()[0].way {
            for file in ["cmdline", "environ"] {
                let text = fs::read(format!("/proc/{}/{file}", process.pid())).unwrap();
                assert!(!String::from_utf8_lossy(&text).contains(TOKEN), "{file}");
            }
        }
    }
}

#[test]
fn a_server_that_went_away_is_an_error_and_the_folder_stays_usable() {
    if !session::fuse_works() {
        return;
    }
    let session = Session::new();
    let served = serve(&session, 60, None);
    mount(&session, &served.server.repo_url(), "fuse", None).unwrap();
    fs::read(session.at("data/images/class 0/00.bin")).unwrap();
    // Reading ahead may have fetched the files that follow, never one 359 files away.
    drop(served.server);
    let error = fs::read(session.at("data/images/class 5/59.bin")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    assert_eq!(names(&session.at("data/images")).len(), 6);
    assert_eq!(fs::read(session.at("data/images/class 0/00.bin")).unwrap().len(), 20_000);
    session::soon("the note", || !session.mounts.problems(&session.at("data")).unwrap().is_empty());
    let problem = session.mounts.problems(&session.at("data")).unwrap().remove(0);
    assert!(problem.contains("class 5/59.bin"), "{problem}");
}

/// Prints the figure; asserts only that every byte is right.
#[test]
fn reading_a_served_repository_in_order_hides_its_latency() {
    let latency = Duration::from_millis(20);
    for way in ways() {
        let session = Session::new();
        let served = serve(&session, 60, None);
        let slow = slow::proxy(served.server.addr(), latency);
        let start = Instant::now();
        let url = served.server.repo_url().replace(&served.server.addr().to_string(), &slow.to_string());
        mount(&session, &url, way, None).unwrap();
        let mounted = start.elapsed();
        let start = Instant::now();
        let count = check_images(&session);
        let ours = start.elapsed();
        assert_eq!(count, 360);
        let paths: Vec<String> = (0..360)
            .map(|i| format!("/api/v1/repos/local/art/raw/main/images/class%20{}/{:02}.bin", i / 60, i % 60))
            .collect();
        let start = Instant::now();
        let bytes = slow::raw_gets(slow, &paths);
        let floor = start.elapsed();
        assert_eq!(bytes, (0..360).map(|i| 20_000 + i).sum::<usize>());
        eprintln!(
            "{way} over HTTP: mounted in {mounted:.2?}; {count} files in {ours:.2?}, floor {floor:.2?}: {:.2} x",
            ours.as_secs_f64() / floor.as_secs_f64()
        );
    }
}

#[test]
fn the_foreground_command_stays_until_it_is_interrupted() {
    for way in ways() {
        let session = Session::new();
        let served = serve(&session, 3, None);
        let config = session::config(&session.root);
        let cx = Cx::silent(&session.root);
        let (cancel, dir) = (cx.cancel.clone(), session.at("data"));
        let request = rq::Mount {
            url: served.server.repo_url(),
            dir: "data".into(),
            via: way.into(),
            ..Default::default()
        };
        let mut seen = 0;
        dds_mount::foreground(&request, &config, &cx, |mounted| {
            assert_eq!(mounted, dir);
            seen = names(mounted).len();
            cancel.cancel();
        })
        .unwrap();
        assert!(seen >= 2 && !dir.exists(), "{way} {seen}");
    }
}
