//! The mount table of one owner process: which folders lead to which repositories.
//!
//! Also a [`Resolver`]: commands that are given a path inside a mounted folder get the repository
//! itself, and read it without a detour through the kernel.

use crate::copies::{Copies, Plan, Removed};
use crate::counted::Counted;
use crate::mount_point;
use crate::open::{Opener, pinned, same_repository};
use crate::process::MountProcess;
use crate::protocol::{Command, MAX_PATHS, Tree, What};
use crate::stats::{Stats, Streamed};
use crate::streams::Streams;
use dds_core::{Config, Cx, Error, Located, RepoPath, RepoUrl, Resolver, Result, Source};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Repositories that are kept open without being mounted; the one opened first is closed first.
pub const MAX_OPEN: usize = 32;
/// Problems that are kept for each mount.
pub const MAX_PROBLEMS: usize = 100;

/// How the files of a mount are provided.
pub enum Way {
    Fuse(MountProcess),
    Copy(Copies),
    Stream(Streams),
}

impl Way {
    pub fn name(&self) -> &'static str {
        match self {
            Way::Fuse(_) => "fuse",
            Way::Copy(_) => "copy",
            Way::Stream(_) => "stream",
        }
    }
}

/// One mounted folder.
pub struct Mount {
    /// Without links.
    pub dir: PathBuf,
    /// As the user named it, absolute.
    pub named: PathBuf,
    /// With which credentials.
    pub config: Config,
    pub way: Way,
    /// Where what is written is kept; none when the folder cannot be written.
    pub stage: Option<PathBuf>,
    /// What the folder shows since another process had its changes committed, until that is noticed here.
    pub(crate) moved: Arc<Mutex<Option<Tree>>>,
    /// Folders that were made for it, outermost first.
    pub made: Vec<PathBuf>,
    pub streamed: Arc<Streamed>,
    pub problems: Arc<Problems>,
    pub(crate) state: RwLock<State>,
    /// One refresh at a time.
    pub(crate) following: Mutex<()>,
}

/// What is shown in the folder.
pub(crate) struct State {
    /// What was asked for; a branch here follows our own uploads.
    pub url: RepoUrl,
    /// Shared with everybody who opened the same URL; follows its branch when it is refreshed.
    pub source: Arc<dyn Source>,
    /// The source's id when the folder was last brought up to date.
    pub shown: String,
    pub files: u64,
    pub bytes: u64,
}

/// What went wrong in a mount, for the user to see; bounded.
#[derive(Debug, Default)]
pub struct Problems(Mutex<Vec<String>>);

impl Problems {
    pub fn add(&self, text: &str) {
        let mut problems = lock(&self.0);
        if problems.len() < MAX_PROBLEMS {
            problems.push(text.to_owned());
        }
    }

    pub fn list(&self) -> Vec<String> {
        lock(&self.0).clone()
    }
}

impl Mount {
    /// The repository at the revision that is mounted now. Reads through it count as streamed, and
    /// refreshing it (as an upload does) brings the folder up to date too.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        self.catch_up();
        let inner = self.state.read().unwrap_or_else(PoisonError::into_inner).source.clone();
        Arc::new(Counted::new(inner, self.clone()))
    }

    pub fn url(&self) -> RepoUrl {
        self.state.read().unwrap_or_else(PoisonError::into_inner).url.clone()
    }

    /// Notices what another process had committed.
    fn catch_up(&self) {
        let Some(tree) = lock(&self.moved).take() else { return };
        let source = self.state.read().unwrap_or_else(PoisonError::into_inner).source.clone();
        if let Err(e) = source.refresh(&Cx::silent("/")) {
            tracing::warn!(dir = %self.dir.display(), "the newest commit is not read yet: {e}");
        }
        self.shows(&tree, None);
    }

    /// The folder shows this now; with `to`, a commit of another branch.
    pub(crate) fn shows(&self, tree: &Tree, to: Option<(RepoUrl, Arc<dyn Source>)>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        (state.shown, state.files, state.bytes) = (tree.id.clone(), tree.files, tree.bytes);
        if let Some((url, source)) = to {
            (state.url, state.source) = (url, source);
        }
    }

    /// Follows the branch: the source first, then what the folder shows.
    pub(crate) fn follow(&self, cx: &Cx) -> Result<()> {
        let _turn = lock(&self.following);
        let (url, source) = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            (state.url.clone(), state.source.clone())
        };
        source.refresh(cx)?;
        let shown = source.id();
        if shown == self.id() {
            return Ok(());
        }
        let (files, bytes) = match &self.way {
            Way::Fuse(process) => {
                let url = pinned(&url, &*source).into();
                let What::Refreshed(tree) = process.ask(Command::Refresh { url }, Some(cx))? else {
                    return Err(Error::internal("the mount process answered something else"));
                };
                (tree.files, tree.bytes)
            }
            Way::Copy(copies) => {
                let plan = Plan::new(&*source, cx)?;
                copies.refresh(&plan, &*source, &self.streamed, cx)?;
                (plan.files(), plan.bytes)
            }
            Way::Stream(streams) => {
                let plan = Plan::when_wanted(&*source, cx)?;
                streams.refresh(&plan, source.clone(), cx)?;
                (plan.files(), plan.bytes)
            }
        };
        *self.state.write().unwrap_or_else(PoisonError::into_inner) =
            State { url, source, shown, files, bytes };
        Ok(())
    }

    /// `URL@commit` of what the folder shows.
    pub fn id(&self) -> String {
        self.state.read().unwrap_or_else(PoisonError::into_inner).shown.clone()
    }

    /// False once its process has ended by itself or somebody else took the mount off.
    pub fn is_alive(&self) -> bool {
        match &self.way {
            Way::Fuse(process) => !process.has_ended(),
            Way::Copy(_) | Way::Stream(_) => true,
        }
    }

    /// Whether nothing is mounted there any more.
    pub(crate) fn is_gone(&self) -> bool {
        match &self.way {
            Way::Fuse(process) => process.has_ended() || !mount_point::is_mounted(&self.dir),
            Way::Copy(_) | Way::Stream(_) => false,
        }
    }

    /// Asks the mount process and adds what this process read itself.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        if let Way::Fuse(process) = &self.way {
            loop {
                let What::Stats { stats: theirs, streamed } = process.ask(Command::Stats {}, None)? else {
                    return Err(Error::internal("the mount process answered something else"));
                };
                for (path, bytes) in &streamed {
                    self.streamed.at_least(path, *bytes);
                }
                stats = theirs;
                if streamed.len() < MAX_PATHS {
                    break;
                }
            }
        } else {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            (stats.files_listed, stats.bytes_listed) = (state.files, state.bytes);
        }
        (stats.files_streamed, stats.bytes_streamed) = self.streamed.totals();
        Ok(stats)
    }

    /// Takes the folder away from the user. `kept` tells which copies were changed and stay.
    pub(crate) fn end(&self) -> Result<Removed> {
        let outcome = match &self.way {
            Way::Fuse(process) => process.stop().map(|()| Removed::default()),
            Way::Copy(copies) => copies.remove(),
            Way::Stream(streams) => streams.remove(),
        }?;
        mount_point::remove_made(&self.made);
        Ok(outcome)
    }

    fn covers(&self, path: &Path) -> Option<PathBuf> {
        [&self.named, &self.dir].into_iter().find_map(|dir| path.strip_prefix(dir).ok()).map(Path::to_owned)
    }
}

/// All mounts of this process, and the repositories that it opened.
pub struct MountTable {
    config: RwLock<Arc<Config>>,
    opener: Arc<dyn Opener>,
    mounts: RwLock<Vec<Arc<Mount>>>,
    open: Mutex<Vec<Opened>>,
}

struct Opened {
    /// With credentials: two users of one URL do not share.
    url: RepoUrl,
    source: Arc<dyn Source>,
}

impl MountTable {
    pub fn new(config: Arc<Config>, opener: Arc<dyn Opener>) -> Self {
        Self { config: RwLock::new(config), opener, mounts: RwLock::default(), open: Mutex::default() }
    }

    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.mounts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The mount on exactly this folder.
    pub fn at(&self, dir: &Path) -> Option<Arc<Mount>> {
        self.mounts().into_iter().find(|mount| mount.dir == dir || mount.named == dir)
    }

    pub(crate) fn insert(&self, mount: Arc<Mount>) {
        self.mounts.write().unwrap_or_else(PoisonError::into_inner).push(mount);
    }

    pub(crate) fn remove(&self, mount: &Arc<Mount>) {
        let mut mounts = self.mounts.write().unwrap_or_else(PoisonError::into_inner);
        mounts.retain(|other| !Arc::ptr_eq(other, mount));
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_config(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The repository at `url`: opened once, then shared.
    pub(crate) fn open_with(&self, url: &RepoUrl, config: &Config, cx: &Cx) -> Result<Arc<dyn Source>> {
        if let Some(opened) = lock(&self.open).iter().find(|opened| opened.url == *url) {
            return Ok(opened.source.clone());
        }
        let source = self.opener.open(url, config, cx)?;
        let mut open = lock(&self.open);
        // Somebody may have opened the same meanwhile; then theirs is the shared one.
        if let Some(opened) = open.iter().find(|opened| opened.url == *url) {
            return Ok(opened.source.clone());
        }
        if open.len() >= MAX_OPEN {
            open.remove(0);
        }
        open.push(Opened { url: url.clone(), source: source.clone() });
        Ok(source)
    }

    /// The repository at `url` for a new mount: at its branch's newest commit, unless another mount
    /// shows the same URL already; then it is the one that is shown there.
    pub(crate) fn open_to_mount(&self, url: &RepoUrl, config: &Config, cx: &Cx) -> Result<Arc<dyn Source>> {
        let known = lock(&self.open).iter().any(|opened| opened.url == *url);
        let source = self.open_with(url, config, cx)?;
        if known && !self.mounts().iter().any(|mount| mount.url() == *url && mount.is_alive()) {
            source.refresh(cx)?;
        }
        Ok(source)
    }

    /// Repositories that are open at `url`, whatever the revision.
    pub(crate) fn opened(&self, url: &RepoUrl) -> Vec<Arc<dyn Source>> {
        let open = lock(&self.open);
        open.iter()
            .filter(|opened| same_repository(&opened.url, url))
            .map(|opened| opened.source.clone())
            .collect()
    }
}

impl Resolver for MountTable {
    fn resolve(&self, path: &Path) -> Located {
        let found = self
            .mounts()
            .into_iter()
            .filter(|mount| mount.is_alive())
            .filter_map(|mount| {
                let rest = mount.covers(path)?;
                let inside = RepoPath::parse(rest.to_str()?).ok()?;
                Some((mount, inside))
            })
            .max_by_key(|(mount, _)| mount.dir.as_os_str().len());
        match found {
            Some((mount, path)) => Located::Remote { source: mount.source(), path },
            None => Located::Local(path.to_owned()),
        }
    }

    fn open(&self, url: &RepoUrl, cx: &Cx) -> Result<Arc<dyn Source>> {
        self.open_with(url, &self.config(), cx)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
