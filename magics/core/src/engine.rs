//! What the engines do, as the command layer sees them. Each method is one command: it validates
//! its request, reports progress through [`Cx`], and leaves what was there before when it fails.

use crate::request as rq;
use crate::{Cx, MimeBundle, Outcome, Result};
use serde_json::Value;

/// Repositories without mounting. Implemented by `dds-data`.
pub trait DataEngine: Send + Sync {
    fn ls(&self, r: &rq::Ls, cx: &Cx) -> Result<Outcome>;
    fn stat(&self, r: &rq::Stat, cx: &Cx) -> Result<Outcome>;
    fn cat(&self, r: &rq::Cat, cx: &Cx) -> Result<Outcome>;
    fn tree(&self, r: &rq::Tree, cx: &Cx) -> Result<Outcome>;
    fn head(&self, r: &rq::Head, cx: &Cx) -> Result<Outcome>;
    fn diff(&self, r: &rq::Diff, cx: &Cx) -> Result<Outcome>;
    fn log(&self, r: &rq::Log, cx: &Cx) -> Result<Outcome>;
    fn upload(&self, r: &rq::Upload, cx: &Cx) -> Result<Outcome>;
    fn fetch(&self, r: &rq::Fetch, cx: &Cx) -> Result<Outcome>;
    fn clone_repo(&self, r: &rq::Clone, cx: &Cx) -> Result<Outcome>;
    fn login(&self, r: &rq::Login, cx: &Cx) -> Result<Outcome>;
    fn logout(&self, r: &rq::Logout, cx: &Cx) -> Result<Outcome>;
}

/// Repositories as folders. Implemented by `dds-mount`.
pub trait MountEngine: Send + Sync {
    fn mount(&self, r: &rq::Mount, cx: &Cx) -> Result<Outcome>;
    fn unmount(&self, r: &rq::Unmount, cx: &Cx) -> Result<Outcome>;
    fn mounts(&self, r: &rq::Mounts, cx: &Cx) -> Result<Outcome>;
    fn order(&self, r: &rq::Order, cx: &Cx) -> Result<Outcome>;
    fn status(&self, r: &rq::Status, cx: &Cx) -> Result<Outcome>;
    fn commit(&self, r: &rq::Commit, cx: &Cx) -> Result<Outcome>;
    fn discard(&self, r: &rq::Discard, cx: &Cx) -> Result<Outcome>;
}

/// Images and models. Implemented by `dds-learn`.
pub trait LearnEngine: Send + Sync {
    fn show(&self, r: &rq::Show, cx: &Cx) -> Result<Outcome>;
    fn data(&self, r: &rq::Data, cx: &Cx) -> Result<Outcome>;
    fn batch(&self, r: &rq::Batch, cx: &Cx) -> Result<Outcome>;
    fn probe(&self, r: &rq::Probe, cx: &Cx) -> Result<Outcome>;
    fn confusion(&self, r: &rq::Confusion, cx: &Cx) -> Result<Outcome>;
    fn top_losses(&self, r: &rq::TopLosses, cx: &Cx) -> Result<Outcome>;
    fn export(&self, r: &rq::Export, cx: &Cx) -> Result<Outcome>;
    fn load(&self, r: &rq::Load, cx: &Cx) -> Result<Outcome>;
    fn predict(&self, r: &rq::Predict, cx: &Cx) -> Result<Outcome>;
    fn convert(&self, r: &rq::Convert, cx: &Cx) -> Result<Outcome>;
    fn verify(&self, r: &rq::Verify, cx: &Cx) -> Result<Outcome>;
    /// A picture of the images among the changes that `diff` found (its typed result); none without any.
    fn changes(&self, _diff: &Value, _cx: &Cx) -> Result<Option<MimeBundle>> {
        Ok(None)
    }
    /// Names of data sets and models of this session, for completion.
    fn names(&self) -> Vec<String>;
}

/// What only the session itself can do. Implemented by `kernel/server`.
pub trait SessionEngine: Send + Sync {
    /// Declares a form (`%%dds app`).
    fn form(&self, r: &rq::FormCell, cx: &Cx) -> Result<Outcome>;
    /// Changes the working folder of kernel, cells and commands.
    fn cd(&self, dir: &str, cx: &Cx) -> Result<Outcome>;
    /// Runs a notebook in a kernel of its own.
    fn exec(&self, r: &rq::Exec, cx: &Cx) -> Result<Outcome>;
    /// Writes a notebook's Rust as a Cargo project.
    fn export_rs(&self, r: &rq::ExportRs, cx: &Cx) -> Result<Outcome>;
    /// Shows and changes the environment of kernel, cells and commands.
    fn env(&self, r: &rq::Env, cx: &Cx) -> Result<Outcome>;
    /// Measures a Rust expression.
    fn time(&self, r: &rq::Time, cx: &Cx) -> Result<Outcome>;
    /// Checks the installation; `"ok": false` in the result when something needed is broken.
    fn doctor(&self, r: &rq::Doctor, cx: &Cx) -> Result<Outcome>;
    /// Shows, prunes and verifies the caches of this user.
    fn cache(&self, r: &rq::Cache, cx: &Cx) -> Result<Outcome>;
}

/// All engines of one session.
#[derive(Clone, Copy)]
pub struct Engines<'a> {
    pub data: &'a dyn DataEngine,
    pub mount: &'a dyn MountEngine,
    pub learn: &'a dyn LearnEngine,
    pub session: &'a dyn SessionEngine,
}
