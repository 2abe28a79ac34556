//! Answers cells that ask for repositories, over a Unix socket: one connection, one question. Also
//! programs of their own that were made of cells.
//!
//! The socket lies in a private folder and takes connections of this user's processes only. What is
//! being done for a cell ends when the cell's process is gone or hangs up, as it does on Stop.

mod answer;
mod nearest;
mod watch;

use answer::answer;
use dds::repo::wire::{Ask, Frame, MAX_ASK, frame};
use dds::repo::{Error as CellError, ErrorKind};
use dds_core::cx::Silent;
use dds_core::{Cancel, CellData, Cx, Error, Result};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use watch::Watch;

/// Questions that are answered at the same time; more of them wait.
const MAX_ASKERS: usize = 64;
/// How long a question may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may find no taker.
const STALLED: Duration = Duration::from_secs(60);
/// Pause after the system has refused a connection.
const REFUSED: Duration = Duration::from_millis(50);
const NAME: &str = "repositories-";

/// What cells may reach, and the private folder for the socket.
#[derive(Clone)]
pub struct Repositories {
    pub data: Arc<dyn CellData>,
    /// Mode 0700.
    pub run: PathBuf,
}

impl std::fmt::Debug for Repositories {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repositories").field("run", &self.run).finish_non_exhaustive()
    }
}

/// The listener of one session; ends when it is dropped.
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    data: Arc<dyn CellData>,
    socket: PathBuf,
    ended: AtomicBool,
    askers: Mutex<usize>,
    fewer: Condvar,
    watch: Watch,
}

impl Service {
    /// Answers from now on.
    ///
    /// # Errors
    /// When the socket cannot be made or no thread be started.
    pub fn start(repositories: &Repositories) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let run = &repositories.run;
        remove_old(run);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let socket = run.join(format!("{NAME}{}-{number}", std::process::id()));
        let listener = UnixListener::bind(&socket).map_err(|error| Error::io(&socket, &error))?;
        let no_thread = |error: io::Error| Error::internal(format!("no thread can be started: {error}"));
        let inner = Arc::new(Inner {
            data: repositories.data.clone(),
            socket,
            ended: AtomicBool::new(false),
            askers: Mutex::default(),
            fewer: Condvar::new(),
            watch: Watch::start().map_err(no_thread)?,
        });
        let listening = inner.clone();
        let thread = std::thread::Builder::new().name("repositories".into());
        // Nobody waits for it: it could not be woken if its socket were removed by somebody else.
        thread.spawn(move || listening.listen(&listener)).map_err(no_thread)?;
        Ok(Self { inner })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.inner.socket
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.inner.ended.store(true, Ordering::SeqCst);
        self.inner.watch.end();
        // Wakes the listener.
        let _ = UnixStream::connect(&self.inner.socket);
        let _ = std::fs::remove_file(&self.inner.socket);
    }
}

/// Sockets of sessions that could not remove them.
fn remove_old(run: &Path) {
    let Ok(files) = std::fs::read_dir(run) else { return };
    for file in files.flatten() {
        let name = file.file_name();
        let process = name.to_str().and_then(|name| {
            let (process, _) = name.strip_prefix(NAME)?.split_once('-')?;
            process.parse::<u32>().ok()
        });
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}

/// One of those who are being answered.
struct Asker(Arc<Inner>);

impl Drop for Asker {
    fn drop(&mut self) {
        *self.0.askers.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.fewer.notify_one();
    }
}

impl Inner {
    fn listen(self: &Arc<Self>, listener: &UnixListener) {
        for stream in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else {
                std::thread::sleep(REFUSED);
                continue;
            };
            if !is_own(&stream) {
                continue;
            }
            let mut askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
            while *askers >= MAX_ASKERS {
                askers = self.fewer.wait(askers).unwrap_or_else(PoisonError::into_inner);
            }
            *askers += 1;
            drop(askers);
            let asker = Asker(self.clone());
            let thread = std::thread::Builder::new().name("repository".into());
            // Without a thread the connection ends, and the cell is told.
            let _ = thread.spawn(move || {
                if let Err(error) = asker.0.serve(&Arc::new(stream)) {
                    tracing::debug!("a cell was not answered: {error}");
                }
            });
        }
    }

    fn serve(&self, stream: &Arc<UnixStream>) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(STALLED))?;
        let mut link = &**stream;
        let mut length = [0; 4];
        link.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let mut send = |given: &Frame| link.write_all(&frame(given));
        if length > MAX_ASK {
            let text = "the question is too long";
            return send(&Frame::Failed(CellError::new(ErrorKind::Limit, text)));
        }
        let mut question = vec![0; length];
        (&**stream).read_exact(&mut question)?;
        let Some(ask) = Ask::decode(&question) else {
            let text = "the question is not understood";
            return send(&Frame::Failed(CellError::new(ErrorKind::Internal, text)));
        };
        let cancel = Cancel::default();
        let _watched = self.watch.add(stream.clone(), cancel.clone());
        let cx = Cx::new(&ask.cwd, Arc::new(Silent), cancel.clone());
        let mut lost = None;
        let mut piece = |bytes: Vec<u8>| {
            send(&Frame::Piece(bytes)).map_err(|error| {
                lost = Some(error);
                Error::interrupted()
            })
        };
        let end = match answer(&*self.data, &ask, &cx, &mut piece) {
            Ok(end) => Frame::End(end),
            Err(error) => Frame::Failed(answer::told(error)),
        };
        match lost {
            Some(error) => Err(error),
            None => send(&end),
        }
    }
}

/// Whether a process of this user is at the other end.
fn is_own(stream: &UnixStream) -> bool {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    // SAFETY: pointer and length are those of `peer`; the call fills it in.
    let asked = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    // SAFETY: it has no preconditions and cannot fail.
    asked == 0 && peer.uid == unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests;
