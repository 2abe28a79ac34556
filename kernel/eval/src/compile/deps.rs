//! Building dependencies, once per machine: cargo works in a folder of the cache, whose target
//! folder all sessions share. Cargo's own lock keeps two sessions apart there.

use super::plan::{Manifest, Plan};
use super::record::{self, Record};
use super::request::Request;
use super::toolchain::Toolchain;
use super::{layout, lock};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// What came of it.
pub(super) enum Built {
    Plan(Plan),
    /// Cargo failed; its output is the answer.
    Failed {
        code: i32,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    },
}

/// The plan for a request: the one that is there, or a new one.
pub(super) fn plan(
    request: &Request,
    toolchain: &Toolchain,
    manifest: &Manifest,
    folder: &Path,
    progress: &dyn Fn(&[u8]),
) -> io::Result<Built> {
    if let Some(plan) = Plan::load(folder) {
        return Ok(Built::Plan(plan));
    }
    let _using = lock::InUse::take(&request.cache)?;
    let _turn = lock::wait(folder)?;
    // Another session may have built it meanwhile.
    if let Some(plan) = Plan::load(folder) {
        return Ok(Built::Plan(plan));
    }
    build(request, toolchain, manifest, folder, progress)
}

fn build(
    request: &Request,
    toolchain: &Toolchain,
    manifest: &Manifest,
    folder: &Path,
    progress: &dyn Fn(&[u8]),
) -> io::Result<Built> {
    layout::write_whole(&folder.join("Cargo.toml"), manifest.of_plan().as_bytes())?;
    // A new time, so that cargo tells the recorder how it is compiled.
    layout::write_whole(&folder.join("src/lib.rs"), b"")?;
    let lock_file = folder.join("Cargo.lock");
    if !lock_file.exists() {
        // The versions that were chosen when the dependency was looked at first.
        let _ = std::fs::copy(request.folder.join("Cargo.lock"), &lock_file);
    }
    let note = folder.join("record.json");
    let mut ran = run(request, toolchain, folder, &note, true, progress)?;
    if !ran.status.success() && !request.offline && ran.not_even_started() {
        ran = run(request, toolchain, folder, &note, false, progress)?;
    }
    if !ran.status.success() {
        let code = ran.status.code().unwrap_or(1);
        return Ok(Built::Failed { code, stdout: ran.stdout, stderr: ran.stderr });
    }
    let _ = std::fs::copy(&lock_file, request.folder.join("Cargo.lock"));
    let record: Record = serde_json::from_slice(&std::fs::read(&note)?)?;
    Ok(Built::Plan(Plan::store(folder, &record, local_crates(&ran.stdout, folder))?))
}

struct Ran {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Ran {
    /// Cargo could not resolve or download; nothing was compiled.
    fn not_even_started(&self) -> bool {
        !contains(&self.stdout, b"\"reason\"") && !contains(&self.stderr, b"could not compile")
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn run(
    request: &Request,
    toolchain: &Toolchain,
    folder: &Path,
    note: &Path,
    offline: bool,
    progress: &dyn Fn(&[u8]),
) -> io::Result<Ran> {
    let recorder = request.recorder.as_ref().ok_or_else(|| io::Error::other("no recorder"))?;
    let target = layout::deps(&request.cache).join(&toolchain.id).join("target");
    let mut cargo = request.cargo();
    if offline {
        cargo.arg("--offline");
    }
    cargo.args(["build", "--target", &request.target, "--message-format=json"]);
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", &target).env("CARGO_BUILD_BUILD_DIR", &target);
    cargo.env("RUSTC_WORKSPACE_WRAPPER", recorder).env(record::FILE_VAR, note);
    cargo.env_remove("CARGO_PROFILE_DEV_OPT_LEVEL").env_remove("CARGO_INCREMENTAL");
    // Dynamic libraries of local crates get a hash in their names as well: sessions of two versions
    // of this program must not replace each other's crate `dds`.
    cargo.env("__CARGO_DEFAULT_LIB_METADATA", "dds");
    if request.has_idle_wrapper() {
        cargo.env_remove("RUSTC_WRAPPER");
    }
    capture(&mut cargo, progress)
}

/// Runs to the end, telling the lines of standard error on the way.
fn capture(command: &mut Command, progress: &dyn Fn(&[u8])) -> io::Result<Ran> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        stdout.map(|mut out| out.read_to_end(&mut all)).transpose().map(|_| all)
    });
    let mut stderr = Vec::new();
    if let Some(err) = child.stderr.take() {
        let mut lines = BufReader::new(err);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            progress(&line);
            stderr.append(&mut line);
        }
    }
    let stdout = reader.join().map_err(|_| io::Error::other("reading failed"))??;
    Ok(Ran { status: child.wait()?, stdout, stderr })
}

/// Where the session listens, if it does.
pub(super) struct Progress(Option<UnixDatagram>);

impl Progress {
    pub(super) fn to(path: &Path) -> Self {
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.connect(path)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        Self(socket.ok())
    }

    pub(super) fn tell(&self, line: &[u8]) {
        if let Some(socket) = &self.0 {
            // Progress that nobody takes is lost, and should be.
            let _ = socket.send(line);
        }
    }
}

/// Folders of the crates in cargo's messages that come from no registry and no repository.
fn local_crates(messages: &[u8], own: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = String::from_utf8_lossy(messages)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["package_id"].as_str().is_some_and(|id| id.starts_with("path+")))
        .filter_map(|message| {
            Some(Path::new(message["manifest_path"].as_str()?).parent()?.to_owned())
                .filter(|path| path != own)
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_crates_are_told_apart() {
        let messages = br#"{"reason":"compiler-artifact","package_id":"registry+https://x#a@1.0.0","manifest_path":"/r/a/Cargo.toml"}
{"reason":"compiler-artifact","package_id":"path+file:///w/mine#0.1.0","manifest_path":"/w/mine/Cargo.toml"}
{"reason":"compiler-artifact","package_id":"path+file:///p#ctx@1.0.0","manifest_path":"/p/Cargo.toml"}
not json"#;
        assert_eq!(local_crates(messages, Path::new("/p")), [PathBuf::from("/w/mine")]);
    }

    #[test]
    fn a_build_that_began_is_not_repeated() {
        let ran = |stdout: &str, stderr: &str| Ran {
            status: ExitStatus::default(),
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        assert!(ran("", "error: no matching package named `x` found").not_even_started());
        assert!(!ran("{\"reason\":\"compiler-message\"}", "").not_even_started());
        assert!(!ran("", "error: could not compile `x`").not_even_started());
    }
}
