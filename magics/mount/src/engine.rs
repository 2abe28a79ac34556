//! The commands `mount`, `unmount` and `mounts`, and what a session needs besides: paths of mounted
//! folders, refreshing after an upload, and taking everything off at the end.

use crate::copies::{Copies, Plan};
use crate::fuse;
use crate::mount_point::{self, Target};
use crate::open::{Opener, Repositories, commit_of, pinned, same_repository, with_token};
use crate::process::MountProcess;
use crate::protocol::{Settings, Spec, Tree};
use crate::reader::Notice;
use crate::stats::{Stats, Streamed};
use crate::streams::{self, Streams};
use crate::table::{Mount, MountTable, Problems, State, Way};
use dds_core::engine::MountEngine;
use dds_core::request as rq;
use dds_core::table::{bytes as size_text, count as count_text};
use dds_core::{Config, Cx, Error, Kind, Located, Outcome, RepoUrl, Resolver, Result, Secret, Sink, Source};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// How often `dds mount` in a shell looks whether it should end.
const FOREGROUND_POLL: Duration = Duration::from_millis(100);

/// The mounts of one session.
pub struct Mounts {
    table: MountTable,
    /// One change of the table at a time.
    changing: Mutex<()>,
    /// Hears of problems while no command runs.
    sink: Arc<RwLock<Option<Arc<dyn Sink>>>>,
}

impl Mounts {
    pub fn new(config: Arc<Config>) -> Arc<Self> {
        Self::with_opener(config, Arc::new(Repositories))
    }

    /// With another way to open repositories. Mount processes open them by their own
    /// ([`crate::child::child_main_with`]).
    pub fn with_opener(config: Arc<Config>, opener: Arc<dyn Opener>) -> Arc<Self> {
        let table = MountTable::new(config, opener);
        Arc::new(Self { table, changing: Mutex::default(), sink: Arc::default() })
    }

    /// Where notes about damaged files and the like go, beside the list in `mounts`.
    pub fn set_sink(&self, sink: Arc<dyn Sink>) {
        *self.sink.write().unwrap_or_else(PoisonError::into_inner) = Some(sink);
    }

    /// Settings for what is opened from now on.
    pub fn set_config(&self, config: Arc<Config>) {
        self.table.set_config(config);
    }

    pub fn table(&self) -> &MountTable {
        &self.table
    }

    /// Numbers of the mount on `dir`. Errors: `NotFound`; `Unavailable` when its process is gone.
    pub fn stats(&self, dir: &Path) -> Result<Stats> {
        self.find(dir)?.stats()
    }

    /// What went wrong in the mount on `dir` so far.
    pub fn problems(&self, dir: &Path) -> Result<Vec<String>> {
        Ok(self.find(dir)?.problems.list())
    }

    /// After an upload: whatever follows a branch of this repository moves to its newest commit, open
    /// sources and mounted folders alike. What is pinned to a commit stays.
    ///
    /// Errors: the first one met; the others are refreshed all the same.
    pub fn refresh(&self, url: &RepoUrl, cx: &Cx) -> Result<()> {
        let _turn = lock(&self.changing);
        let url = absolute(url.clone(), cx);
        let mut outcome = Ok(());
        for source in self.table.opened(&url) {
            outcome = outcome.and(source.refresh(cx).map(drop));
        }
        for mount in self.table.mounts() {
            if same_repository(&mount.url(), &url) && mount.is_alive() {
                let refreshed = mount.follow(cx);
                outcome = outcome.and(refreshed.map_err(|e| e.context(mount.named.display())));
            }
        }
        outcome
    }

    /// The repository at `url`, a branch at its newest commit, unless a mount shows it: then it is the
    /// one that is shown there.
    pub fn open_newest(&self, url: &RepoUrl, cx: &Cx) -> Result<Arc<dyn Source>> {
        self.table.open_to_mount(&absolute(url.clone(), cx), &self.table.config(), cx)
    }

    /// Takes all mounts off. Called at the end of the session; dropping does it too.
    pub fn shutdown(&self) {
        let _turn = lock(&self.changing);
        for mount in self.table.mounts() {
            if let Err(error) = mount.end() {
                tracing::warn!(dir = %mount.dir.display(), "{error}");
            }
            self.table.remove(&mount);
        }
    }

    pub(crate) fn find(&self, dir: &Path) -> Result<Arc<Mount>> {
        self.table.at(dir).ok_or_else(|| {
            let known = self.table.mounts();
            let hint = match known.first() {
                Some(mount) => format!("mounted is {}; `%dds mounts` lists all", mount.named.display()),
                None => "nothing is mounted; type `%dds mount URL DIR` first".to_owned(),
            };
            Error::not_found(format!("{} is not mounted", dir.display())).hint(hint)
        })
    }

    fn mount_on(&self, r: &rq::Mount, cx: &Cx) -> Result<Arc<Mount>> {
        let _turn = lock(&self.changing);
        let token = r.token.as_deref().map(Secret::new);
        let config = self.table.config();
        let (url, named) = dds_data::here::to_mount(&r.url, &r.dir, &config, cx)?;
        let (url, config) = with_token(absolute(url, cx), &config, token.as_ref());
        self.check_apart(&named)?;
        streams::sweep_dead(&config.runtime_dir);
        // Before anything is made: a wrong URL or token leaves no trace.
        let source = self.table.open_to_mount(&url, &config, cx)?;
        let target = Target::prepare(&named)?;
        match self.provide(r, url, config, named, source, &target, cx) {
            Ok(mount) => {
                self.table.insert(mount.clone());
                Ok(mount)
            }
            Err(error) => {
                target.undo();
                Err(error)
            }
        }
    }

    /// Folders with copies are no mounts for the kernel, so the table itself keeps mounts apart.
    fn check_apart(&self, named: &Path) -> Result<()> {
        for mount in self.table.mounts() {
            if mount.is_gone() {
                // Its process may still be on its way out.
                mount.end()?;
                self.table.remove(&mount);
                continue;
            }
            let shown = mount.named.display();
            if [&mount.named, &mount.dir].contains(&&named.to_owned()) {
                return Err(Error::usage(format!("{shown} is mounted already"))
                    .hint(format!("type `%dds unmount {shown}` first, or mount on another folder")));
            }
            if named.starts_with(&mount.named) || named.starts_with(&mount.dir) {
                return Err(Error::usage(format!(
                    "{} lies inside the mounted folder {shown}",
                    named.display()
                ))
                .hint("mount on a folder outside it"));
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one mount, used here only")]
    fn provide(
        &self,
        r: &rq::Mount,
        url: RepoUrl,
        config: Config,
        named: PathBuf,
        source: Arc<dyn Source>,
        target: &Target,
        cx: &Cx,
    ) -> Result<Arc<Mount>> {
        let (streamed, problems) = (Arc::new(Streamed::default()), Arc::new(Problems::default()));
        let moved: Arc<Mutex<Option<Tree>>> = Arc::default();
        let by_fuse = |target: &Target| {
            self.by_fuse(&url, &config, &*source, target, r.read_only, (&problems, &moved), cx)
        };
        let run = &config.runtime_dir;
        let by_fuse = match r.via.as_str() {
            "copy" | "stream" => None,
            "auto" | "" if streams::is_offered(run) => {
                // Where FUSE works, somebody has asked for it.
                if let Err(error) = fuse::probe() {
                    cx.sink.note(&streams::instead_of_fuse(&error));
                }
                None
            }
            "fuse" => Some(by_fuse(target)?),
            "auto" | "" => match by_fuse(target) {
                Ok(made) => Some(made),
                Err(error) if error.kind == Kind::Unavailable => {
                    let note = format!("{}; the files are copied instead", error.message);
                    cx.sink.note(&note);
                    None
                }
                Err(error) => return Err(error),
            },
            other => {
                return Err(Error::usage(format!("no such way to mount: {other:?}"))
                    .hint("write --via auto, --via fuse, --via stream or --via copy"));
            }
        };
        let (way, files, bytes, stage) = match by_fuse {
            Some((process, tree)) => (Way::Fuse(process), tree.files, tree.bytes, tree.stage),
            None if r.via == "stream" || (r.via != "copy" && streams::is_offered(run)) => {
                let plan = Plan::when_wanted(&*source, cx)?;
                let streams = Streams::fill(
                    &plan,
                    source.clone(),
                    &streams::At { dir: &target.dir, made: &target.made, run, exe: &config.exe },
                    streamed.clone(),
                    problems.clone(),
                    cx,
                )?;
                (Way::Stream(streams), plan.files(), plan.bytes, None)
            }
            None => {
                let plan = Plan::new(&*source, cx)?;
                let copies = Copies::fill(&plan, &*source, &target.dir, &streamed, cx)?;
                (Way::Copy(copies), plan.files(), plan.bytes, None)
            }
        };
        Ok(Arc::new(Mount {
            dir: target.dir.clone(),
            named,
            config,
            way,
            stage,
            moved,
            made: target.made.clone(),
            streamed,
            problems,
            following: Mutex::default(),
            state: RwLock::new(State { url, shown: source.id(), source, files, bytes }),
        }))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one mount, used here only")]
    fn by_fuse(
        &self,
        url: &RepoUrl,
        config: &Config,
        source: &dyn Source,
        target: &Target,
        read_only: bool,
        (problems, moved): (&Arc<Problems>, &Arc<Mutex<Option<Tree>>>),
        cx: &Cx,
    ) -> Result<(MountProcess, Tree)> {
        fuse::probe()?;
        let spec = Spec {
            url: pinned(url, source).into(),
            dir: target.dir.clone(),
            branch: source.branch().filter(|_| !read_only),
            config: Settings::from(config),
        };
        let (problems, sink, dir) = (problems.clone(), self.sink.clone(), target.dir.clone());
        let notice: Notice = Arc::new(move |text| {
            let text = dds_core::mime::printable(text);
            problems.add(&text);
            tracing::warn!(dir = %dir.display(), "{text}");
            if let Some(sink) = &*sink.read().unwrap_or_else(PoisonError::into_inner) {
                sink.note(&format!("{}: {text}", dir.display()));
            }
        });
        let (gone, moved) = (target.dir.clone(), moved.clone());
        MountProcess::start(
            &config.exe,
            spec,
            notice,
            Arc::new(move |tree| *lock(&moved) = Some(tree)),
            move || tracing::debug!(dir = %gone.display(), "the mount process has ended"),
            cx,
        )
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Resolver for Mounts {
    fn resolve(&self, path: &Path) -> Located {
        self.table.resolve(path)
    }

    fn open(&self, url: &RepoUrl, cx: &Cx) -> Result<Arc<dyn Source>> {
        self.table.open(&absolute(url.clone(), cx), cx)
    }
}

impl MountEngine for Mounts {
    fn mount(&self, r: &rq::Mount, cx: &Cx) -> Result<Outcome> {
        if r.daemon {
            return Err(Error::usage("--daemon is for a shell: a mount of a notebook goes on by itself")
                .hint("leave --daemon out"));
        }
        let mount = self.mount_on(r, cx)?;
        let (files, bytes) = {
            let state = mount.state.read().unwrap_or_else(PoisonError::into_inner);
            (state.files, state.bytes)
        };
        let (dir, id, way) = (mount.named.display().to_string(), mount.id(), mount.way.name());
        let how = match mount.way {
            Way::Fuse(_) if mount.stage.is_some() => "streamed when read",
            Way::Fuse(_) if r.read_only => "streamed when read, read-only",
            Way::Fuse(_) => "streamed when read, read-only: a commit was asked for, not a branch",
            Way::Copy(_) => "verified copies",
            Way::Stream(_) => "fetched when opened",
        };
        let staged = self.staged_count(&mount);
        let mut summary = format!(
            "mounted {dir}: {}, {} of {} ({how})",
            count_text(files, "file"),
            size_text(bytes),
            short(&id)
        );
        if staged > 0 {
            let what = count_text(staged as u64, "change");
            summary.push_str(&format!("; {what} of an earlier mount not committed yet: dds status {dir}"));
        }
        let value = json!({
            "dir": dir,
            "url": mount.url().to_string(),
            "id": id,
            "commit": commit_of(&id),
            "way": way,
            "read_only": mount.stage.is_none(),
            "staged": staged,
            "files": files,
            "bytes": bytes,
        });
        Ok(Outcome::new(summary, value))
    }

    fn unmount(&self, r: &rq::Unmount, cx: &Cx) -> Result<Outcome> {
        let _turn = lock(&self.changing);
        let dir = cx.absolute(&r.dir);
        let mount = match self.find(&dir) {
            Ok(mount) => mount,
            // Left over from a session that was killed together with its mount process.
            Err(_) if mount_point::reap(&dir) => {
                let summary = format!("unmounted {}, whose mount process was gone", dir.display());
                return Ok(Outcome::new(summary, json!({"dir": dir.display().to_string(), "kept": []})));
            }
            Err(error) => return Err(error),
        };
        let left = self.left_behind(&mount);
        let outcome = mount.end()?;
        self.table.remove(&mount);
        let shown = mount.named.display().to_string();
        let mut summary = format!("unmounted {shown}");
        if let Way::Copy(_) | Way::Stream(_) = mount.way {
            summary.push_str(&format!(": {} removed", count_text(outcome.removed as u64, "copy")));
        }
        let kept: Vec<String> = outcome.kept.iter().map(ToString::to_string).collect();
        let mut detail = String::new();
        if !kept.is_empty() {
            summary.push_str(&format!(", {} kept that you changed", count_text(kept.len() as u64, "file")));
            detail = kept.join("\n");
        }
        let staged = left.as_ref().map_or(0, |left| left.count);
        if let Some(left) = left {
            summary.push_str(&format!("; {left}"));
        }
        let value = json!({"dir": shown, "removed": outcome.removed, "kept": kept, "staged": staged});
        Ok(Outcome::new(summary, value).detail(detail))
    }

    fn order(&self, r: &rq::Order, cx: &Cx) -> Result<Outcome> {
        self.announce_order(r, cx)
    }

    fn status(&self, r: &rq::Status, cx: &Cx) -> Result<Outcome> {
        self.show_status(r, cx)
    }

    fn commit(&self, r: &rq::Commit, cx: &Cx) -> Result<Outcome> {
        self.commit_staged(r, cx)
    }

    fn discard(&self, r: &rq::Discard, cx: &Cx) -> Result<Outcome> {
        self.discard_staged(r, cx)
    }

    fn mounts(&self, _: &rq::Mounts, _: &Cx) -> Result<Outcome> {
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        for mount in self.table.mounts() {
            let (dir, id) = (mount.named.display().to_string(), mount.id());
            let stats = mount.stats();
            let problems = mount.problems.list();
            let mut state = match &stats {
                Ok(stats) => format!(
                    "{}, {} · read {}, {}",
                    count_text(stats.files_listed, "file"),
                    size_text(stats.bytes_listed),
                    count_text(stats.files_streamed, "file"),
                    size_text(stats.bytes_streamed)
                ),
                Err(error) => error.message.clone(),
            };
            if !problems.is_empty() {
                state.push_str(&format!(" · {}", count_text(problems.len() as u64, "problem")));
            }
            rows.push(format!("{dir}  {}  {}  {state}", short(&id), mount.way.name()));
            rows.extend(problems.iter().map(|text| format!("  ! {text}")));
            let stats = stats.unwrap_or_default();
            values.push(json!({
                "dir": dir,
                "url": mount.url().to_string(),
                "id": id,
                "commit": commit_of(&id),
                "way": mount.way.name(),
                "alive": mount.is_alive(),
                "files_listed": stats.files_listed,
                "bytes_listed": stats.bytes_listed,
                "files_streamed": stats.files_streamed,
                "bytes_streamed": stats.bytes_streamed,
                "reads_served": stats.reads_served,
                "bytes_served": stats.bytes_served,
                "problems": problems,
            }));
        }
        let summary = match rows.is_empty() {
            true => "nothing is mounted".to_owned(),
            false => count_text(values.len() as u64, "mount"),
        };
        Ok(Outcome::new(summary, json!({"mounts": values})).detail(rows.join("\n")))
    }
}

/// `dds mount URL DIR` in a shell: mounts, says so, stays until the user interrupts or somebody else
/// unmounts the folder, and takes it off.
pub fn foreground(
    request: &rq::Mount,
    config: &Arc<Config>,
    cx: &Cx,
    on_mounted: impl FnOnce(&Path),
) -> Result<()> {
    let mounts = Mounts::new(config.clone());
    let mount = mounts.mount_on(request, cx)?;
    if let Way::Stream(_) = mount.way {
        let [(preload, library), (name, table)] = streams::variables(&config.cache_dir, &config.runtime_dir)?;
        cx.sink.note(&format!(
            "programs see the files when they are started with\n  export {preload}={} {name}={}",
            library.display(),
            table.display()
        ));
    }
    on_mounted(&mount.named);
    while !cx.cancel.is_cancelled() && mount.is_alive() {
        std::thread::sleep(FOREGROUND_POLL);
    }
    let left = mounts.left_behind(&mount);
    let kept = mount.end()?.kept;
    if let Some(left) = left {
        cx.sink.note(&left.to_string());
    }
    mounts.table.remove(&mount);
    if !kept.is_empty() {
        let files: Vec<String> = kept.iter().map(ToString::to_string).collect();
        cx.sink.note(&format!(
            "kept in {}, because you changed them: {}",
            mount.named.display(),
            files.join(", ")
        ));
    }
    Ok(())
}

/// Local repositories are named relative to the current folder, which the mount process does not share.
pub(crate) fn absolute(url: RepoUrl, cx: &Cx) -> RepoUrl {
    match url {
        RepoUrl::Local { path, rev } => RepoUrl::Local { path: cx.absolute(path), rev },
        url => url,
    }
}

/// `URL@commit` with the commit cut to ten digits.
fn short(id: &str) -> String {
    match commit_of(id) {
        Some(commit) => id.get(..id.len() - commit.len() + 10).unwrap_or(id).to_owned(),
        None => id.to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
