//! The process `dds __mount`: one mounted folder, for as long as its owner lives.
//!
//! Ends, and unmounts, when stdin closes (the owner died), on SIGTERM, SIGINT and SIGHUP, on the
//! command `unmount`, and when somebody else took the mount off. A watcher process of its own, in
//! another process group, takes the mount off should this one be killed without a chance.

use crate::block_cache::{BlockCache, CACHE_BYTES};
use crate::fuse::{self, Mounted};
use crate::mount_point;
use crate::open::{Opener, Repositories};
use crate::pool::Pool;
use crate::protocol::{self, Answer, Command, MAX_PATHS, Request, Role, Spec, Tree, Url, What};
use crate::reader::Reader;
use crate::stats::Counters;
use crate::superblock::Superblock;
use dds_core::{Cancel, Config, Cx, Error, Kind, RepoUrl, Result};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime};

/// The hidden role of the binary.
pub const ROLE: &str = "__mount";
/// How often the main loop looks whether the kernel ended the session.
const SESSION_POLL: Duration = Duration::from_millis(500);
/// How long the watcher tries to take a dead mount off.
const REAP_FOR: Duration = Duration::from_secs(10);
const REAP_POLL: Duration = Duration::from_millis(20);
/// Notes that one mount may send; a broken server must not flood its owner.
const MAX_NOTES: usize = 200;

/// Runs `dds __mount`: reads what to do from stdin, answers on stdout.
pub fn child_main() -> ! {
    child_main_with(Arc::new(Repositories))
}

/// As [`child_main`], with another way to open repositories.
pub fn child_main_with(opener: Arc<dyn Opener>) -> ! {
    let mut stdin = BufReader::new(std::io::stdin());
    let code = match protocol::receive::<Role>(&mut stdin) {
        Ok(Some(Role::Mount(spec))) => run(*spec, opener, stdin),
        Ok(Some(Role::Watch { dir })) => watch(&dir, stdin),
        Ok(None) => 0,
        Err(error) => {
            Out::default().say(0, What::Error(error.into()));
            2
        }
    };
    std::process::exit(code)
}

enum Event {
    Request(Request),
    /// A line that is no request.
    Nonsense(Error),
    /// The owner is gone, or a signal came.
    Stop,
}

fn run(spec: Spec, opener: Arc<dyn Opener>, stdin: BufReader<std::io::Stdin>) -> i32 {
    let out = Out::default();
    let cancel = Cancel::default();
    let (events, inbox) = mpsc::sync_channel(16);
    listen(stdin, events.clone(), cancel.clone());
    if let Err(error) = catch_signals(events, cancel.clone()) {
        out.say(0, What::Error(error.into()));
        return 1;
    }
    let dir = spec.dir.clone();
    let mut host = match Host::start(spec, opener, out.clone(), cancel.clone()) {
        Ok(host) => host,
        Err(error) => {
            out.say(0, What::Error(error.into()));
            return 1;
        }
    };
    out.say(0, What::Mounted(host.tree()));
    let last = host.serve(&inbox);
    // Readers that still wait for the network end now; then the folder is free at once.
    cancel.cancel();
    match mount_point::is_mounted(&dir).then(|| mount_point::detach(&dir)) {
        Some(Err(error)) => out.say(last, What::Error(error.into())),
        _ => out.say(last, What::Unmounted {}),
    }
    host.dismiss_watcher();
    // Without joining the session: a file that somebody keeps open would hold it for ever.
    0
}

/// Everything that one mounted folder consists of.
struct Host {
    superblock: Arc<Superblock>,
    reader: Reader,
    counters: Arc<Counters>,
    mounted: Mounted,
    watcher: Option<Child>,
    opener: Arc<dyn Opener>,
    config: Config,
    cx: Cx,
    out: Out,
}

impl Host {
    fn start(spec: Spec, opener: Arc<dyn Opener>, out: Out, cancel: Cancel) -> Result<Self> {
        let config = Config::from(spec.config);
        let mut cx = Cx::silent("/");
        cx.cancel = cancel;
        let source = opener.open(&RepoUrl::from(spec.url), &config, &cx)?;
        let superblock = Arc::new(Superblock::load(source, SystemTime::now(), &cx)?);
        let counters = Arc::new(Counters::default());
        let noted = AtomicUsize::new(0);
        let notes = out.clone();
        let reader = Reader::new(
            superblock.clone(),
            BlockCache::new(CACHE_BYTES),
            Arc::new(Pool::default()),
            counters.clone(),
            Arc::new(move |text| match noted.fetch_add(1, Ordering::Relaxed) {
                n if n < MAX_NOTES => notes.say(0, What::Note(text.to_owned())),
                MAX_NOTES => {
                    notes.say(0, What::Note("more reads fail; no more of them are shown".to_owned()))
                }
                _ => {}
            }),
            cx.clone(),
        );
        let watcher = start_watcher(&config.exe, &spec.dir);
        if let Err(error) = &watcher {
            let text =
                format!("no watcher: should dds __mount be killed, the folder needs umount -l: {error}");
            out.say(0, What::Note(text));
        }
        let mounted = fuse::mount(superblock.clone(), reader.clone(), &spec.dir)?;
        Ok(Self { superblock, reader, counters, mounted, watcher: watcher.ok(), opener, config, cx, out })
    }

    fn tree(&self) -> Tree {
        let (files, bytes) = self.superblock.totals();
        Tree { id: self.superblock.source().id(), files, bytes }
    }

    /// Answers requests until the end; gives the id of the request that asked for it, or 0.
    fn serve(&mut self, inbox: &mpsc::Receiver<Event>) -> u64 {
        loop {
            match inbox.recv_timeout(SESSION_POLL) {
                Ok(Event::Request(Request { id, command })) => {
                    if matches!(command, Command::Unmount {}) {
                        return id;
                    }
                    let what = self.perform(command).unwrap_or_else(|error| What::Error(error.into()));
                    self.out.say(id, what);
                }
                Ok(Event::Nonsense(error)) => self.out.say(0, What::Note(error.message)),
                Ok(Event::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return 0,
                Err(mpsc::RecvTimeoutError::Timeout) if self.mounted.ended() => return 0,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn perform(&mut self, command: Command) -> Result<What> {
        match command {
            Command::Refresh { url } => self.refresh(url),
            Command::Follow { paths } => {
                self.reader.follow(&paths);
                Ok(What::Following {})
            }
            Command::Stats {} => Ok(What::Stats {
                stats: self.counters.stats(self.superblock.totals()),
                streamed: self.counters.streamed.take_changed(MAX_PATHS),
            }),
            Command::Unmount {} => Ok(What::Unmounted {}),
        }
    }

    fn refresh(&mut self, url: Url) -> Result<What> {
        let source = self.opener.open(&RepoUrl::from(url), &self.config, &self.cx)?;
        let changes = self.superblock.refresh(source, SystemTime::now(), &self.cx)?;
        self.reader.tree_changed();
        self.mounted.invalidate(&changes);
        Ok(What::Refreshed(self.tree()))
    }

    fn dismiss_watcher(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        if let Some(stdin) = &mut watcher.stdin {
            let _ = stdin.write_all(b"done\n");
        }
        let _ = watcher.wait();
    }
}

/// Stdout, one line at a time from any thread. A closed one is not an error: then stdin is closed
/// as well, and that ends the process.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<()>>);

impl Out {
    fn say(&self, id: u64, what: What) {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = protocol::send(&mut std::io::stdout().lock(), &Answer { id, what });
    }
}

fn listen(mut stdin: BufReader<std::io::Stdin>, events: mpsc::SyncSender<Event>, cancel: Cancel) {
    std::thread::spawn(move || {
        loop {
            let event = match protocol::receive(&mut stdin) {
                Ok(Some(request)) => Event::Request(request),
                Err(error) if error.kind == Kind::Format => Event::Nonsense(error),
                Ok(None) | Err(_) => {
                    // Also ends what the main loop may be waiting for.
                    cancel.cancel();
                    let _ = events.send(Event::Stop);
                    return;
                }
            };
            if events.send(event).is_err() {
                return;
            }
        }
    });
}

fn catch_signals(events: mpsc::SyncSender<Event>, cancel: Cancel) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |e: std::io::Error| Error::new(Kind::Io, format!("cannot handle signals: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let guard = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    drop(guard);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        cancel.cancel();
        let _ = events.send(Event::Stop);
    });
    Ok(())
}

fn start_watcher(exe: &Path, dir: &Path) -> Result<Child> {
    let mut watcher = std::process::Command::new(exe)
        .arg(ROLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        // What kills our group must not kill the watcher.
        .process_group(0)
        .spawn()
        .map_err(|e| Error::io(exe, &e))?;
    if let Some(stdin) = &mut watcher.stdin {
        let role = Role::Watch { dir: dir.to_owned() };
        protocol::send(stdin, &role).map_err(|e| Error::io(exe, &e))?;
    }
    Ok(watcher)
}

/// The watcher: stdin closes when the mount process is gone. A word before means that it went in peace.
fn watch(dir: &Path, mut stdin: BufReader<std::io::Stdin>) -> i32 {
    let mut word = String::new();
    if stdin.read_line(&mut word).is_ok_and(|n| n > 0) {
        return 0;
    }
    let deadline = Instant::now() + REAP_FOR;
    while Instant::now() < deadline && mount_point::is_mounted(dir) {
        if mount_point::reap(dir) {
            break;
        }
        std::thread::sleep(REAP_POLL);
    }
    0
}
