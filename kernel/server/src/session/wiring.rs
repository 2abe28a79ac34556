//! Puts the real engines together.

use super::{MakeEvaluator, Notes, Place, Services, Session};
use dds_core::{Config, Cx, RepoTarget, Result, request as rq};
use dds_data::Data;
use dds_eval::{EvalOptions, RustEvaluator};
use dds_learn::Learn;
use dds_mount::Mounts;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The engines over one table of mounts.
pub fn services(config: &Arc<Config>) -> Services {
    let mounts = Mounts::new(config.clone());
    let notes = Arc::new(Notes::default());
    mounts.set_sink(notes.clone());
    let (after, end) = (mounts.clone(), mounts.clone());
    Services {
        data: Arc::new(Data::new(config.clone(), mounts.clone())),
        learn: Arc::new(Learn::new(config.clone(), mounts.clone())),
        mount: mounts,
        uploaded: Box::new(move |r, cx| refresh(&after, r, cx)),
        notes,
        close: Box::new(move || end.shutdown()),
    }
}

/// Mounts of the repository that was uploaded to move to its newest commit.
fn refresh(mounts: &Mounts, r: &rq::Upload, cx: &Cx) -> Result<()> {
    if RepoTarget::looks_like_url(&r.to) {
        return mounts.refresh(&RepoTarget::parse(&r.to)?.url, cx);
    }
    let to = cx.absolute(&r.to);
    let holds =
        mounts.table().mounts().into_iter().find(|m| to.starts_with(&m.dir) || to.starts_with(&m.named));
    holds.map_or(Ok(()), |mount| mounts.refresh(&mount.url, cx))
}

/// A session with the real engines and the real evaluator, in `cwd`.
pub fn session(config: Arc<Config>, cwd: &Path, uploads: Option<PathBuf>) -> Result<Arc<Session>> {
    let services = services(&config);
    let (theirs, folder) = (config.clone(), cwd.to_owned());
    let make: MakeEvaluator = Box::new(move || {
        let options = EvalOptions { cache: Some(theirs.cache_dir.clone()), ..EvalOptions::new(folder) };
        Ok(Box::new(RustEvaluator::start(&theirs.exe, options)?))
    });
    Session::new(services, Place { config, cwd: cwd.to_owned(), uploads }, make)
}
