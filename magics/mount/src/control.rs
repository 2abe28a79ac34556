//! A mount process's line for commands of another process than the one that mounted: a socket in a folder
//! that only its owner can enter, the staging area or one of its own. Same messages as on the pipes.

use crate::protocol::{self, Answer, Command, Request, What};
use dds_core::{Cx, Error, Kind, Result};
use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOCKET: &str = "control";
/// How often a waiting command looks at its interrupt flag.
const CANCEL_POLL: Duration = Duration::from_millis(100);
/// Most callers at a time.
const MAX_CALLERS: usize = 16;

/// Where the socket is, in few enough bytes for its address. The file must live as long as that is used.
fn address(stage: &Path) -> Result<(File, PathBuf)> {
    let dir = File::open(stage).map_err(|e| Error::io(stage, &e))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()));
    Ok((dir, path))
}

/// Answers callers for as long as the process lives. `handle` is called with each request and gives
/// the answer.
pub fn listen(stage: &Path, handle: impl Fn(Command) -> What + Send + Sync + 'static) -> Result<()> {
    let (_dir, path) = address(stage)?;
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(|e| Error::io(stage.join(SOCKET), &e))?;
    let handle = std::sync::Arc::new(handle);
    let callers = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    std::thread::spawn(move || {
        use std::sync::atomic::Ordering::SeqCst;
        for stream in listener.incoming().flatten() {
            if callers.load(SeqCst) >= MAX_CALLERS {
                continue;
            }
            callers.fetch_add(1, SeqCst);
            let (handle, callers) = (handle.clone(), callers.clone());
            std::thread::spawn(move || {
                let _ = converse(&stream, &*handle);
                callers.fetch_sub(1, SeqCst);
            });
        }
    });
    Ok(())
}

fn converse(stream: &UnixStream, handle: &dyn Fn(Command) -> What) -> Result<()> {
    let mut lines = BufReader::new(stream);
    while let Some(Request { id, command }) = protocol::receive(&mut lines)? {
        let what = handle(command);
        protocol::send(&mut &*stream, &Answer { id, what }).map_err(|e| Error::io(SOCKET, &e))?;
    }
    Ok(())
}

/// Whether a mount process listens there.
pub fn is_heard(stage: &Path) -> bool {
    address(stage).is_ok_and(|(_dir, path)| UnixStream::connect(path).is_ok())
}

/// Asks the mount process that listens in the folder `stage`.
///
/// Errors: `Unavailable` when there is none; those of the answer; `Interrupted`.
pub fn ask(stage: &Path, command: Command, cx: &Cx) -> Result<What> {
    let gone = |why: String| {
        Error::new(Kind::Unavailable, format!("the mount process does not answer: {why}"))
            .hint("mount the repository again; what was written is kept")
    };
    let (_dir, path) = address(stage)?;
    let stream = UnixStream::connect(&path).map_err(|e| gone(e.to_string()))?;
    protocol::send(&mut &stream, &Request { id: 1, command }).map_err(|e| gone(e.to_string()))?;
    let (sender, answer) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let _ = sender.send(protocol::receive::<Answer>(&mut BufReader::new(stream)));
    });
    loop {
        cx.cancel.check()?;
        match answer.recv_timeout(CANCEL_POLL) {
            Ok(Ok(Some(Answer { what: What::Error(failure), .. }))) => return Err(failure.into()),
            Ok(Ok(Some(Answer { what, .. }))) => return Ok(what),
            Ok(Ok(None)) => return Err(gone("it has ended".into())),
            Ok(Err(e)) => return Err(e),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Err(gone("it has ended".into())),
        }
    }
}
