//! What only a session can do, for the steps of a job: it has a working folder, and no cells.

use crate::session;
use dds_core::engine::SessionEngine;
use dds_core::{Config, Cx, Error, Kind, Outcome, Result, request as rq};
use serde_json::json;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

pub(super) struct JobSession {
    config: Arc<Config>,
    cwd: RwLock<PathBuf>,
}

impl JobSession {
    pub(super) fn new(config: Arc<Config>, cwd: PathBuf) -> Self {
        Self { config, cwd: RwLock::new(cwd) }
    }

    /// The folder of the next step.
    pub(super) fn cwd(&self) -> PathBuf {
        self.cwd.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SessionEngine for JobSession {
    fn form(&self, _: &rq::FormCell, _: &Cx) -> Result<Outcome> {
        Err(Error::usage("a form is declared in a notebook"))
    }

    fn cd(&self, dir: &str, cx: &Cx) -> Result<Outcome> {
        let path = cx.absolute(dir);
        let found = std::fs::metadata(&path).map_err(|e| Error::io(&path, &e).context("cd"))?;
        if !found.is_dir() {
            return Err(Error::new(Kind::Usage, format!("cd: {} is not a folder", path.display())));
        }
        *self.cwd.write().unwrap_or_else(PoisonError::into_inner) = path.clone();
        Ok(Outcome::new(path.display().to_string(), json!({"cwd": path})))
    }

    fn exec(&self, r: &rq::Exec, cx: &Cx) -> Result<Outcome> {
        session::exec(&self.config, r, cx)
    }

    fn export_rs(&self, r: &rq::ExportRs, cx: &Cx) -> Result<Outcome> {
        crate::export_rs::run(r, cx)
    }

    fn env(&self, _: &rq::Env, _: &Cx) -> Result<Outcome> {
        Err(Error::usage("env belongs to a notebook").hint("set variables in the job's `env`"))
    }

    fn time(&self, _: &rq::Time, _: &Cx) -> Result<Outcome> {
        Err(Error::usage("`time` measures Rust in a notebook"))
    }

    fn doctor(&self, r: &rq::Doctor, cx: &Cx) -> Result<Outcome> {
        crate::doctor::run(r, &self.config, &crate::config::process_env, cx)
    }

    fn cache(&self, r: &rq::Cache, cx: &Cx) -> Result<Outcome> {
        crate::cache::run(r, &self.config, cx)
    }
}
