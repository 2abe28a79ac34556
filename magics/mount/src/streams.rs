//! Files that are fetched when they are opened, where FUSE is not allowed.
//!
//! The folder has a node in the place of every file ([`Copies::place`]). Programs that were started
//! under the library of hooks (`preload/hooks.rs`) ask here, over a Unix socket, for the size of a
//! file or for the file itself, which then lies there as an ordinary one. Other programs cannot open
//! it (`ENXIO`).
//!
//! Files that are read in the order of their paths are fetched ahead.

mod left;

use crate::copies::{Copies, Plan};
use crate::stats::Streamed;
use crate::table::Problems;
use dds_core::{Cx, Entry, Error, Kind, RepoPath, Result, Source};
use left::Watched;
use md5::{Digest as _, Md5};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

pub(crate) use left::{sweep_dead, watch};

/// By which the loader finds the library, and the library the sessions.
const PRELOAD_VAR: &str = "LD_PRELOAD";
const STREAMS_VAR: &str = "DDS_STREAMS";
/// The library, as it was compiled with this crate.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libdds_stream.so"));
/// Questions that are answered at the same time; more of them wait.
const MAX_ASKERS: usize = 64;
/// Longest question, in bytes.
const MAX_QUESTION: u64 = 8192;
/// How long a question may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);
/// Files fetched ahead at first, and at most.
const WINDOW: std::ops::Range<usize> = 4..64;
/// Files without a name that are held open, because somebody has asked about them.
const MAX_RESERVED: usize = 256;
/// How far the next file may lie from the last one for a reader in order: several may read at once.
const NEAR: usize = 8;
/// Files that are fetched ahead at the same time.
const WORKERS: usize = 16;

/// Has every program that this process starts from now on read streamed folders. `cache` is where
/// the library is put, `run` a private folder of the session.
///
/// # Errors
/// When a file cannot be written, or when other threads run already, which might be reading the
/// environment: call it first in `main`.
pub fn offer(cache: &Path, run: &Path) -> Result<()> {
    let tasks = std::fs::read_dir("/proc/self/task").map_err(|e| Error::io("/proc/self/task", &e))?;
    if tasks.count() != 1 {
        return Err(Error::internal("other threads are running"));
    }
    let library = provide_library(cache, run)?;
    let table = table_in(run);
    make_private(&table)?;
    let mut preload = library.into_os_string();
    if let Some(before) = std::env::var_os(PRELOAD_VAR).filter(|before| !before.is_empty()) {
        preload.push(":");
        preload.push(before);
    }
    // SAFETY: this process has one thread, as was checked above.
    unsafe {
        std::env::set_var(PRELOAD_VAR, preload);
        std::env::set_var(STREAMS_VAR, table);
    }
    Ok(())
}

/// The variables that [`offer`] sets, for a program that is started without it.
///
/// # Errors
/// When the library cannot be written.
pub fn variables(cache: &Path, run: &Path) -> Result<[(&'static str, PathBuf); 2]> {
    let table = table_in(run);
    make_private(&table)?;
    Ok([(PRELOAD_VAR, provide_library(cache, run)?), (STREAMS_VAR, table)])
}

/// Whether programs that this process starts read streamed folders of a session with this folder.
pub fn is_offered(run: &Path) -> bool {
    std::env::var_os(STREAMS_VAR).is_some_and(|table| Path::new(&table) == table_in(run))
}

/// What to tell where FUSE was wanted and files come when they are opened instead. One line.
pub fn instead_of_fuse(why: &Error) -> String {
    format!(
        "no FUSE here ({}): files are fetched when a program opens them, which Rust cells, `!` lines and what \
         they start can do, and programs without the C library cannot; for FUSE start the container with \
         `--device /dev/fuse --cap-add SYS_ADMIN`, or load its module: modprobe fuse",
        why.message
    )
}

fn table_in(run: &Path) -> PathBuf {
    run.join("streams")
}

fn make_private(folder: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|e| Error::io(folder, &e))
}

/// Rows of sessions that could not remove them.
fn remove_old_rows(table: &Path) {
    let Ok(rows) = std::fs::read_dir(table) else { return };
    for row in rows.flatten() {
        let name = row.file_name();
        let process = name.to_str().and_then(|name| name.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            let _ = std::fs::remove_file(row.path());
        }
    }
}

/// The library as a file, which bears the name of its content, so that no version replaces another
/// that programs have loaded.
fn provide_library(cache: &Path, run: &Path) -> Result<PathBuf> {
    if LIBRARY.is_empty() {
        return Err(Error::new(Kind::Unavailable, "there is no library of hooks for this system"));
    }
    // The loader takes a list, parted by blanks and colons.
    let is_one = |folder: &&Path| !folder.as_os_str().as_bytes().iter().any(|byte| b" :\t\n".contains(byte));
    let Some(folder) = [cache, run].into_iter().find(is_one) else {
        let message = format!("{} has a blank or a colon in its name", cache.display());
        return Err(Error::new(Kind::Unavailable, message).hint("set XDG_CACHE_HOME to a folder without"));
    };
    let folder = folder.join("lib");
    std::fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, &e))?;
    let name = format!("libdds_stream-{}.so", hex::encode(Md5::digest(LIBRARY)));
    let file = folder.join(name);
    if std::fs::metadata(&file).is_ok_and(|meta| meta.len() == LIBRARY.len() as u64) {
        return Ok(file);
    }
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".incoming-{}-{number}", std::process::id()));
    let write = || {
        let mut options = std::fs::File::options();
        let mut out = options.write(true).create_new(true).mode(0o755).open(&temporary)?;
        out.write_all(LIBRARY)?;
        std::fs::rename(&temporary, &file)
    };
    let written = write().map_err(|e| Error::io(&file, &e));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.map(|()| file)
}

/// A folder whose files come when they are opened.
pub struct Streams {
    inner: Arc<Inner>,
}

struct Inner {
    copies: Copies,
    tree: RwLock<Tree>,
    streamed: Arc<Streamed>,
    problems: Arc<Problems>,
    cx: Cx,
    socket: PathBuf,
    row: PathBuf,
    ended: AtomicBool,
    askers: Mutex<usize>,
    fewer: Condvar,
    /// Files that somebody has asked about, and that were not fetched since.
    reserved: Mutex<VecDeque<(RepoPath, File, u64)>>,
    /// Files that are being fetched.
    coming: Mutex<HashSet<RepoPath>>,
    came: Condvar,
    ahead: Mutex<Ahead>,
    watched: Mutex<Watched>,
}

/// Where a folder is filled.
pub struct At<'a> {
    pub dir: &'a Path,
    /// Folders that were made for it, outermost first.
    pub made: &'a [PathBuf],
    /// The session's private folder.
    pub run: &'a Path,
    /// This program, which has the role of the watcher.
    pub exe: &'a Path,
}

/// What the folder shows.
struct Tree {
    source: Arc<dyn Source>,
    entries: Vec<Entry>,
    places: HashMap<RepoPath, usize>,
}

impl Tree {
    fn new(source: Arc<dyn Source>, plan: &Plan) -> Self {
        let entries = plan.entries().to_vec();
        let places = entries.iter().enumerate().map(|(at, entry)| (entry.path.clone(), at)).collect();
        Self { source, entries, places }
    }
}

/// Where the reader is, and how far ahead of it files are fetched.
#[derive(Default)]
struct Ahead {
    last: Option<usize>,
    window: usize,
    /// The first file that was not fetched ahead yet.
    next: usize,
    busy: bool,
}

impl Streams {
    /// Fills an existing empty folder with nodes, and answers programs from then on.
    ///
    /// # Errors
    /// When the folder or the socket cannot be written; then the folder is empty again.
    pub fn fill(
        plan: &Plan,
        source: Arc<dyn Source>,
        at: &At<'_>,
        streamed: Arc<Streamed>,
        problems: Arc<Problems>,
        cx: &Cx,
    ) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let run = at.run;
        let table = table_in(run);
        make_private(&table)?;
        remove_old_rows(&table);
        let name = format!("{}-{number}", std::process::id());
        let (row, socket) = (table.join(&name), run.join(format!("stream-{name}")));
        let dir = at.dir.canonicalize().map_err(|e| Error::io(at.dir, &e))?;
        let time = SystemTime::now();
        let mut watched = Watched::new(&socket, &dir, at.made, time, at.exe)?;
        let copies = Copies::place(plan, &*source, &dir, time, cx).inspect_err(|_| watched.dismiss())?;
        let inner = Arc::new(Inner {
            copies,
            tree: RwLock::new(Tree::new(source, plan)),
            streamed,
            problems,
            cx: Cx::new(dir.clone(), Arc::new(dds_core::cx::Silent), dds_core::cx::Cancel::default()),
            socket,
            row,
            ended: AtomicBool::new(false),
            askers: Mutex::default(),
            fewer: Condvar::new(),
            reserved: Mutex::default(),
            coming: Mutex::default(),
            came: Condvar::new(),
            ahead: Mutex::default(),
            watched: Mutex::new(watched),
        });
        let streams = Self { inner };
        match streams.listen(&dir) {
            Ok(()) => Ok(streams),
            Err(error) => {
                streams.remove()?;
                Err(error)
            }
        }
    }

    fn listen(&self, dir: &Path) -> Result<()> {
        let inner = &self.inner;
        let listener = UnixListener::bind(&inner.socket).map_err(|e| Error::io(&inner.socket, &e))?;
        let inner = self.inner.clone();
        let thread = std::thread::Builder::new().name("streams".into());
        // Nobody waits for it: it could not be woken if its socket were removed by somebody else.
        thread
            .spawn(move || inner.answer_all(&listener))
            .map_err(|e| Error::internal(format!("no thread can be started: {e}")))?;
        // Whole at once: programs read this folder at any moment.
        let inner = &self.inner;
        let row = [dir.as_os_str().as_bytes(), inner.socket.as_os_str().as_bytes(), b""].join(&b"\n"[..]);
        let incoming = inner.socket.with_extension("row");
        let placed = std::fs::write(&incoming, row).and_then(|()| std::fs::rename(&incoming, &inner.row));
        placed.map_err(|e| Error::io(&inner.row, &e))
    }

    /// Moves to another revision. Gives the number of files that are new or changed.
    ///
    /// # Errors
    /// As [`Copies::refresh`].
    pub fn refresh(&self, plan: &Plan, source: Arc<dyn Source>, cx: &Cx) -> Result<usize> {
        let mut tree = self.inner.tree.write().unwrap_or_else(PoisonError::into_inner);
        let changed = self.inner.copies.refresh(plan, &*source, &self.inner.streamed, cx)?;
        *tree = Tree::new(source, plan);
        *lock(&self.inner.ahead) = Ahead::default();
        Ok(changed)
    }

    /// Answers nobody any more, and removes what was made and is unchanged.
    ///
    /// # Errors
    /// As [`Copies::remove`].
    pub fn remove(&self) -> Result<crate::copies::Removed> {
        self.inner.end();
        let removed = self.inner.copies.remove()?;
        lock(&self.inner.watched).dismiss();
        Ok(removed)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.inner.end();
    }
}

impl Inner {
    fn end(&self) {
        if self.ended.swap(true, Ordering::SeqCst) {
            return;
        }
        self.cx.cancel.cancel();
        let _ = std::fs::remove_file(&self.row);
        // Wakes the listener.
        let _ = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
    }

    fn answer_all(self: &Arc<Self>, listener: &UnixListener) {
        for stream in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let mut askers = lock(&self.askers);
            while *askers >= MAX_ASKERS {
                askers = self.fewer.wait(askers).unwrap_or_else(PoisonError::into_inner);
            }
            *askers += 1;
            drop(askers);
            let inner = self.clone();
            let thread = std::thread::Builder::new().name("stream".into());
            let spawned = thread.spawn(move || {
                let _ = inner.answer(stream);
                inner.one_less();
            });
            if spawned.is_err() {
                self.one_less();
            }
        }
    }

    fn one_less(&self) {
        *lock(&self.askers) -= 1;
        self.fewer.notify_one();
    }

    /// `M PATH` brings a file, `S PATH` asks for its size and the number of its inode; the answer is a
    /// number or two, the first negative for an error of the system's.
    fn answer(self: &Arc<Self>, mut stream: UnixStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut question = Vec::new();
        (&mut stream).take(MAX_QUESTION).read_to_end(&mut question)?;
        let (number, inode) = self.number(&question);
        stream.write_all(format!("{number} {inode}").as_bytes())?;
        stream.shutdown(Shutdown::Both)
    }

    fn number(self: &Arc<Self>, question: &[u8]) -> (i64, u64) {
        let fail = |number: i32| (-i64::from(number), 0);
        let Some((kind, path)) = question.split_at_checked(2) else { return fail(INVALID) };
        let path = std::str::from_utf8(path).ok().and_then(|path| RepoPath::parse(path).ok());
        let Some(path) = path else { return fail(MISSING) };
        let entry = {
            let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
            tree.places.get(&path).and_then(|at| Some((*at, tree.entries.get(*at)?.size)))
        };
        let Some((at, size)) = entry else { return fail(MISSING) };
        match kind {
            b"S " => self.looks(&path, size).unwrap_or_else(|| fail(MISSING)),
            b"M " => {
                self.fetch_ahead(at);
                match self.bring(&path) {
                    Ok(()) => (0, 0),
                    Err(error) => {
                        self.problems.add(&error.to_string());
                        tracing::warn!("{path}: {error}");
                        fail(number_of(&error))
                    }
                }
            }
            _ => fail(INVALID),
        }
    }

    /// Size and number of a file; the number is the one that it will have when it is there, 0 where that
    /// cannot be known.
    fn looks(&self, path: &RepoPath, size: Option<u64>) -> Option<(i64, u64)> {
        let mut reserved = lock(&self.reserved);
        // Asked under the lock: a file that has come is no longer reserved.
        if !self.copies.is_awaited(path) {
            return self.copies.look(path).map(|(size, inode)| (size.cast_signed(), inode));
        }
        let number = self.reserve(&mut reserved, path).map_or(0, |(_, number)| number);
        Some((i64::try_from(size?).ok()?, number))
    }

    fn reserve(
        &self,
        reserved: &mut VecDeque<(RepoPath, File, u64)>,
        path: &RepoPath,
    ) -> Option<(File, u64)> {
        if let Some((_, file, number)) = reserved.iter().find(|(known, ..)| known == path) {
            return Some((file.try_clone().ok()?, *number));
        }
        let (file, number) = self.copies.reserve(path)?;
        if reserved.len() >= MAX_RESERVED {
            reserved.pop_front();
        }
        reserved.push_back((path.clone(), file.try_clone().ok()?, number));
        Some((file, number))
    }

    /// One fetch for all who want the file at the same time.
    fn bring(&self, path: &RepoPath) -> Result<()> {
        let mut coming = lock(&self.coming);
        while coming.contains(path) {
            coming = self.came.wait(coming).unwrap_or_else(PoisonError::into_inner);
        }
        coming.insert(path.clone());
        drop(coming);
        let done = {
            // Held meanwhile: the folder does not move to another revision under a file that comes.
            let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
            match tree.places.get(path).and_then(|at| tree.entries.get(*at)) {
                Some(entry) => {
                    let file = self.reserve(&mut lock(&self.reserved), path).map(|(file, _)| file);
                    self.copies.bring(entry, file, &*tree.source, &self.streamed, &self.cx)
                }
                None => Err(Error::not_found(format!("{path}: not in this revision"))),
            }
        };
        lock(&self.reserved).retain(|(known, ..)| known != path);
        lock(&self.coming).remove(path);
        self.came.notify_all();
        done
    }

    /// Takes note of what is read, and fetches what follows if the reader goes on in order.
    fn fetch_ahead(self: &Arc<Self>, at: usize) {
        let mut ahead = lock(&self.ahead);
        // What was fetched ahead is opened without a question: the next one comes behind it.
        let near = ahead.next + NEAR;
        let in_order = ahead.last.is_some_and(|last| last < at && at <= near);
        ahead.window = match in_order {
            true => (ahead.window * 2).clamp(WINDOW.start, WINDOW.end),
            false => 0,
        };
        ahead.last = Some(at);
        ahead.next = if in_order { ahead.next.max(at + 1) } else { at + 1 };
        if ahead.window == 0 || ahead.busy {
            return;
        }
        ahead.busy = true;
        drop(ahead);
        let inner = self.clone();
        let spawned =
            std::thread::Builder::new().name("streams ahead".into()).spawn(move || inner.run_ahead());
        if spawned.is_err() {
            lock(&self.ahead).busy = false;
        }
    }

    fn run_ahead(&self) {
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some(path) = self.next_ahead() {
                        // Whoever opens it hears what is wrong with it.
                        if self.bring(&path).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        lock(&self.ahead).busy = false;
    }

    fn next_ahead(&self) -> Option<RepoPath> {
        if self.ended.load(Ordering::SeqCst) {
            return None;
        }
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        let mut ahead = lock(&self.ahead);
        let end = ahead.last?.saturating_add(1 + ahead.window);
        let path = tree.entries.get(ahead.next).filter(|_| ahead.next < end)?.path.clone();
        ahead.next += 1;
        Some(path)
    }
}

/// Numbers of the system's errors.
const MISSING: i32 = rustix::io::Errno::NOENT.raw_os_error();
const INVALID: i32 = rustix::io::Errno::INVAL.raw_os_error();

/// What a program is told, as by a mount with FUSE.
fn number_of(error: &Error) -> i32 {
    match error.kind {
        Kind::NotFound => MISSING,
        Kind::Unauthorized => rustix::io::Errno::ACCESS.raw_os_error(),
        Kind::Interrupted => rustix::io::Errno::INTR.raw_os_error(),
        _ => rustix::io::Errno::IO.raw_os_error(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
