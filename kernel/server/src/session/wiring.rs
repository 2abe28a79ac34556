//! Puts the real engines together.

use super::cell_data::ForCells;
use super::{MakeEvaluator, Notes, Place, Services, Session};
use crate::config;
use dds_core::engine::DataEngine;
use dds_core::{CellData, Config, Cx, Outcome, RepoTarget, RepoUrl, Result, request as rq};
use dds_data::{Data, here};
use dds_eval::{EvalOptions, Repositories, RustEvaluator};
use dds_learn::Learn;
use dds_mount::Mounts;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// The engines over one table of mounts.
pub fn services(config: &Arc<Config>) -> Services {
    with_cells(config).0
}

/// The same, and what Rust cells reach through the crate `dds`.
fn with_cells(config: &Arc<Config>) -> (Services, Arc<dyn CellData>) {
    let mounts = Mounts::new(config.clone());
    let notes = Arc::new(Notes::default());
    mounts.set_sink(notes.clone());
    let data = Arc::new(CurrentData { config: RwLock::new(config.clone()), mounts: mounts.clone() });
    let (after, end, told) = (mounts.clone(), mounts.clone(), mounts.clone());
    let for_cells = {
        let (data, after) = (data.clone(), mounts.clone());
        Arc::new(ForCells {
            data: Box::new(move || data.now()),
            mounts: mounts.clone(),
            uploaded: Box::new(move |r, cx| refresh(&after, r, cx)),
        })
    };
    let services = Services {
        data: data.clone(),
        learn: Arc::new(Learn::new(config.clone(), mounts.clone())),
        mount: mounts,
        uploaded: Box::new(move |r, cx| refresh(&after, r, cx)),
        notes,
        reconfigure: Box::new(move |config| {
            data.set(config.clone());
            told.set_config(config);
        }),
        close: Box::new(move || end.shutdown()),
    };
    (services, for_cells)
}

/// The data engine with the settings of the moment; it keeps nothing between commands.
struct CurrentData {
    config: RwLock<Arc<Config>>,
    mounts: Arc<Mounts>,
}

impl CurrentData {
    fn set(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn now(&self) -> Data {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner).clone();
        Data::new(config, self.mounts.clone())
    }
}

impl DataEngine for CurrentData {
    fn ls(&self, r: &rq::Ls, cx: &Cx) -> Result<Outcome> {
        self.now().ls(r, cx)
    }

    fn stat(&self, r: &rq::Stat, cx: &Cx) -> Result<Outcome> {
        self.now().stat(r, cx)
    }

    fn cat(&self, r: &rq::Cat, cx: &Cx) -> Result<Outcome> {
        self.now().cat(r, cx)
    }

    fn tree(&self, r: &rq::Tree, cx: &Cx) -> Result<Outcome> {
        self.now().tree(r, cx)
    }

    fn head(&self, r: &rq::Head, cx: &Cx) -> Result<Outcome> {
        self.now().head(r, cx)
    }

    fn diff(&self, r: &rq::Diff, cx: &Cx) -> Result<Outcome> {
        self.now().diff(r, cx)
    }

    fn log(&self, r: &rq::Log, cx: &Cx) -> Result<Outcome> {
        self.now().log(r, cx)
    }

    fn upload(&self, r: &rq::Upload, cx: &Cx) -> Result<Outcome> {
        self.now().upload(r, cx)
    }

    fn fetch(&self, r: &rq::Fetch, cx: &Cx) -> Result<Outcome> {
        self.now().fetch(r, cx)
    }

    fn clone_repo(&self, r: &rq::Clone, cx: &Cx) -> Result<Outcome> {
        self.now().clone_repo(r, cx)
    }

    fn login(&self, r: &rq::Login, cx: &Cx) -> Result<Outcome> {
        self.now().login(r, cx)
    }

    fn logout(&self, r: &rq::Logout, cx: &Cx) -> Result<Outcome> {
        self.now().logout(r, cx)
    }
}

/// Whatever is open of the repository that was uploaded to moves to its newest commit: mounts, and what
/// Rust cells have opened.
fn refresh(mounts: &Mounts, r: &rq::Upload, cx: &Cx) -> Result<()> {
    if RepoTarget::looks_like_url(&r.to) {
        return mounts.refresh(&RepoTarget::parse(&r.to)?.url, cx);
    }
    let to = cx.absolute(&r.to);
    let holds =
        mounts.table().mounts().into_iter().find(|m| to.starts_with(&m.dir) || to.starts_with(&m.named));
    let url = match holds {
        Some(mount) => Some(mount.url()),
        None => here::working_tree(&to)?.map(|(path, _)| RepoUrl::Local { path, rev: None }),
    };
    url.map_or(Ok(()), |url| mounts.refresh(&url, cx))
}

/// What programs made of cells reach, without a session.
pub fn repositories(config: &Arc<Config>) -> Repositories {
    let (_, data) = with_cells(config);
    Repositories { data, run: config.runtime_dir.clone() }
}

/// A session with the real engines and the real evaluator, in `cwd`.
pub fn session(config: Arc<Config>, cwd: &Path, uploads: Option<PathBuf>) -> Result<Arc<Session>> {
    let (services, for_cells) = with_cells(&config);
    let (theirs, folder) = (config.clone(), cwd.to_owned());
    let make: MakeEvaluator = Box::new(move || {
        let options = EvalOptions {
            cache: Some(theirs.cache_dir.clone()),
            checkpoints: config::checkpoints(&config::process_env),
            repositories: Some(Repositories { data: for_cells, run: theirs.runtime_dir.clone() }),
            ..EvalOptions::new(folder)
        };
        Ok(Box::new(RustEvaluator::start(&theirs.exe, options)?))
    });
    Session::new(services, Place { config, cwd: cwd.to_owned(), uploads }, make)
}
