//! The process `dds __mount`: one mounted folder, for as long as its owner lives.
//!
//! Ends, and unmounts, when stdin closes (the owner died), on SIGTERM, SIGINT and SIGHUP, on the
//! command `unmount`, and when somebody else took the mount off. A watcher process of its own, in
//! another process group, takes the mount off should this one be killed without a chance.

use crate::block_cache::{BlockCache, CACHE_BYTES};
use crate::control;
use crate::fuse::{self, Mounted};
use crate::mount_point;
use crate::open::{Opener, Repositories, commit_of};
use crate::order;
use crate::overlay::{AtCommit, Discarded, Overlay, Staged};
use crate::pool::Pool;
use crate::protocol::{self, Answer, Command, MAX_PATHS, Request, Role, Spec, Tree, Url, What};
use crate::reader::Reader;
use crate::stage::{
    self, Stage,
    area::{self, About},
};
use crate::stats::Counters;
use crate::streams;
use crate::superblock::{Changes, Superblock};
use dds_core::{Cancel, Config, Cx, Error, Kind, RepoPath, RepoUrl, Result, Source};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
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

/// Runs `dds __mount`: reads what to do from stdin, answers on stdout. `loaded` is called once the listing is
/// read, which needs more memory than it leaves.
pub fn child_main(loaded: fn()) -> ! {
    child_main_with(Arc::new(Repositories), loaded)
}

/// As [`child_main`], with another way to open repositories.
pub fn child_main_with(opener: Arc<dyn Opener>, loaded: fn()) -> ! {
    let mut stdin = BufReader::new(std::io::stdin());
    let code = match protocol::receive::<Role>(&mut stdin) {
        Ok(Some(Role::Mount(spec))) => run(*spec, opener, loaded, stdin),
        Ok(Some(Role::Watch { dir })) => watch(&dir, stdin),
        Ok(Some(Role::Sweep { record })) => streams::watch(&record, stdin),
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
    /// Of another process, by the socket of the staging area.
    Asked(Command, mpsc::SyncSender<What>),
    /// A line that is no request.
    Nonsense(Error),
    /// The owner is gone, or a signal came.
    Stop,
}

fn run(spec: Spec, opener: Arc<dyn Opener>, loaded: fn(), stdin: BufReader<std::io::Stdin>) -> i32 {
    let out = Out::default();
    let cancel = Cancel::default();
    let (events, inbox) = mpsc::sync_channel(16);
    listen(stdin, events.clone(), cancel.clone());
    if let Err(error) = catch_signals(events.clone(), cancel.clone()) {
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
    loaded();
    host.hear(events);
    out.say(0, What::Mounted(host.tree()));
    let last = host.serve(&inbox);
    // Readers that still wait for the network end now; then the folder is free at once.
    cancel.cancel();
    // Before the end is told: the next mount of the folder listens there.
    let _ = std::fs::remove_dir_all(&host.ear);
    match mount_point::is_mounted(&dir).then(|| mount_point::detach(&dir)) {
        Some(Err(error)) => out.say(last, What::Error(error.into())),
        _ => out.say(last, What::Unmounted {}),
    }
    host.overlay.end();
    host.dismiss_watcher();
    // Without joining the session: a file that somebody keeps open would hold it for ever.
    0
}

/// Everything that one mounted folder consists of.
struct Host {
    superblock: Arc<Superblock>,
    overlay: Arc<Overlay>,
    /// With credentials.
    url: RepoUrl,
    about: Option<About>,
    /// The folder of the socket by which other processes ask.
    ear: PathBuf,
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
        let url = RepoUrl::from(spec.url);
        let source = opener.open(&url, &config, &cx)?;
        let superblock = Arc::new(Superblock::load(source, SystemTime::now(), &cx)?);
        let about = spec.branch.map(|branch| About { url: url.plain(), branch, dir: spec.dir.clone() });
        let overlay = match &about {
            None => Overlay::read_only(superblock.clone(), cx.clone()),
            Some(about) => {
                let (stage, changes) = area::take(&area::home(&config.data_dir), about)?;
                let at_commit = revisions(opener.clone(), url.clone(), config.clone(), cx.clone());
                Overlay::new(superblock.clone(), stage, changes, &at_commit, cx.clone())
            }
        };
        let overlay = Arc::new(overlay);
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
        let mounted = fuse::mount(overlay.clone(), reader.clone(), &spec.dir)?;
        let watcher = watcher.ok();
        Ok(Self {
            superblock,
            overlay,
            url,
            about,
            ear: order::ear(&config.runtime_dir, &spec.dir),
            reader,
            counters,
            mounted,
            watcher,
            opener,
            config,
            cx,
            out,
        })
    }

    /// Answers other processes: by the socket of the staging area, and by one for every mount.
    fn hear(&self, events: mpsc::SyncSender<Event>) {
        let handle = move |command| {
            let (sender, answer) = mpsc::sync_channel(1);
            let asked = events.send(Event::Asked(command, sender)).ok().and_then(|()| answer.recv().ok());
            asked.unwrap_or_else(|| {
                What::Error(Error::new(Kind::Unavailable, "the mount process is ending").into())
            })
        };
        let mut heard =
            stage::private_dir(&self.ear).and_then(|()| control::listen(&self.ear, handle.clone()));
        if let Some(stage) = self.overlay.stage() {
            heard = heard.and(control::listen(stage.dir(), handle));
        }
        if let Err(error) = heard {
            let text = format!("commands of other processes do not reach this mount: {error}");
            self.out.say(0, What::Note(text));
        }
    }

    fn tree(&self) -> Tree {
        let (files, bytes) = self.superblock.totals();
        let stage = self.overlay.stage().map(|stage| stage.dir().to_owned());
        let staged = self.overlay.staged().0.len();
        Tree { id: self.superblock.source().id(), files, bytes, stage, staged }
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
                Ok(Event::Asked(command, answer)) => {
                    let what = self.perform_for_other(command).unwrap_or_else(|e| What::Error(e.into()));
                    let _ = answer.send(what);
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
            Command::Follow { list } => self.follow(&list),
            Command::Stats {} => Ok(What::Stats {
                stats: self.counters.stats(self.superblock.totals()),
                streamed: self.counters.streamed.take_changed(MAX_PATHS),
            }),
            Command::Staged {} => self.staged(),
            Command::Settle { commit, branch, until } => self.settle(&commit, branch, until),
            Command::Discard { paths, all } => self.discard(&paths, all),
            Command::Unmount {} => Ok(What::Unmounted {}),
        }
    }

    fn follow(&self, list: &Path) -> Result<What> {
        let paths = order::read(list)?;
        let files = self.reader.follow(&paths);
        Ok(What::Following { files, unknown: paths.len() - files })
    }

    /// Another process may tell an order, ask for what is staged and say that it is committed; the owner is
    /// told then.
    fn perform_for_other(&mut self, command: Command) -> Result<What> {
        match command {
            Command::Follow { list } => self.follow(&list),
            Command::Staged {} => self.staged(),
            Command::Discard { paths, all } => self.discard(&paths, all),
            Command::Settle { commit, branch, until } => {
                let done = self.settle(&commit, branch, until)?;
                self.out.say(0, What::Moved(self.tree()));
                Ok(done)
            }
            _ => Err(Error::usage("only the owner of a mount can ask for that")),
        }
    }

    fn refresh(&mut self, url: Url) -> Result<What> {
        self.show(RepoUrl::from(url), None)?;
        Ok(What::Refreshed(self.tree()))
    }

    fn show(&mut self, url: RepoUrl, until: Option<u64>) -> Result<()> {
        let source = self.opener.open(&url, &self.config, &self.cx)?;
        let changes = self.superblock.refresh(source, SystemTime::now(), &self.cx)?;
        let settled = self.overlay.settle(until);
        self.url = url;
        self.reader.tree_changed();
        self.mounted.invalidate(&changes, &settled, &self.overlay.take_left());
        Ok(())
    }

    fn staged(&self) -> Result<What> {
        let (Some(stage), Some(about)) = (self.overlay.stage(), &self.about) else {
            return Err(Error::usage("the mount is read-only, so nothing is staged"));
        };
        let (found, until) = self.overlay.staged();
        let list = written(stage, "staged.jsonl", &found)?;
        let commit = commit_of(&self.superblock.source().id()).unwrap_or_default().to_owned();
        let (url, branch) = (without_credentials(self.url.at(&about.branch)).into(), about.branch.clone());
        Ok(What::Staged { url, branch, commit, count: found.len(), until, list })
    }

    fn discard(&self, paths: &[RepoPath], all: bool) -> Result<What> {
        let Some(stage) = self.overlay.stage() else {
            return Err(Error::usage("the mount is read-only, so nothing is staged"));
        };
        if paths.is_empty() != all {
            return Err(Error::internal("either some paths, or all"));
        }
        let Discarded { files, stale } = self.overlay.discard(paths)?;
        self.mounted.invalidate(&Changes::default(), &stale, &self.overlay.take_left());
        Ok(What::Discarded { count: files.len(), list: written(stage, "discarded.jsonl", &files)? })
    }

    fn settle(&mut self, commit: &str, branch: String, until: u64) -> Result<What> {
        self.show(self.url.at(commit), Some(until))?;
        if let (Some(stage), Some(about)) = (self.overlay.stage(), &mut self.about) {
            about.branch = branch;
            area::write_about(stage.dir(), about)?;
        }
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

/// A list that may be longer than a message, as a file of the staging area.
fn written(stage: &Stage, name: &str, found: &[Staged]) -> Result<PathBuf> {
    let list = stage.dir().join(name);
    let mut lines = Vec::new();
    for staged in found {
        serde_json::to_writer(&mut lines, staged).map_err(|e| Error::internal(e.to_string()))?;
        lines.push(b'\n');
    }
    std::fs::write(&list, lines).map_err(|e| Error::io(&list, &e))?;
    Ok(list)
}

/// Opens the repository at earlier commits.
fn revisions(opener: Arc<dyn Opener>, url: RepoUrl, config: Config, cx: Cx) -> AtCommit {
    let known: Mutex<HashMap<String, Arc<dyn Source>>> = Mutex::default();
    Box::new(move |commit| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = known.get(commit) {
            return Ok(source.clone());
        }
        let source = opener.open(&url.at(commit), &config, &cx)?;
        known.insert(commit.to_owned(), source.clone());
        Ok(source)
    })
}

fn without_credentials(mut url: RepoUrl) -> RepoUrl {
    if let RepoUrl::Hub { credentials, .. } | RepoUrl::Git { credentials, .. } = &mut url {
        *credentials = None;
    }
    url
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
