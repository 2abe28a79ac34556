//! DVC's files: `.dvc` and `dvc.lock` (which outputs a repository has), `.dir` manifests (what a
//! folder holds), `.dvc/config` (where the bytes are) and the `.gitignore` lines that go with them.
//!
//! Reads and writes text only; knows neither Git nor the network. Everything read here is untrusted.

pub mod config;
pub mod dvc_file;
pub mod ignore;
pub mod manifest;

pub use config::DvcConfig;
pub use dvc_file::{DvcFile, Output};
pub use manifest::Manifest;
