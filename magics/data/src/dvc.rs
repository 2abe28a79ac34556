//! DVC's files: `.dvc`, `dvc.yaml` and `dvc.lock` (which outputs a repository has), `.dir` manifests
//! (what a folder holds), `.dvc/config` (where the bytes are), `.dvcignore`, and the `.gitignore` lines
//! that go with them.
//!
//! Reads and writes text only; knows neither Git nor the network. Everything read here is untrusted.

pub mod config;
pub mod dvc_file;
pub mod dvcignore;
pub mod ignore;
pub mod manifest;
pub mod pipeline;

pub use config::{DvcConfig, Level, RemoteConfig};
pub use dvc_file::{DvcFile, Output, Versions};
pub use dvcignore::DvcIgnore;
pub use manifest::Manifest;
pub use pipeline::Pipeline;
