//! Repositories: transport, blob store, Git and DVC formats, DagsHub client and server, upload.
//!
//! - [`open`] gives a [`Repo`], a [`dds_core::Source`] over a server or over a local repository;
//! - [`serve`] gives a local Git+DVC repository to others over DagsHub's API;
//! - [`create::git_dvc_repo`] makes such a repository out of a folder;
//! - [`Data`] performs the commands `ls`, `stat`, `cat`, `upload` and `clone`.
//!
//! Knows no FUSE and no Jupyter; reads no environment. The network is reached only through
//! [`client::Transport`]. Synchronous calls may come from any thread: the crate has a small runtime of
//! its own.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod account;
pub mod client;
pub mod create;
mod dvc;
mod engine;
mod fetch;
mod flight;
mod git_program;
mod hash;
pub mod here;
mod open;
mod percent;
pub mod publish;
mod remote;
mod repository;
pub mod runs;
mod runtime;
pub mod serve;
pub mod store;
mod utc;

pub use dds_contain as contain;
pub use engine::{Data, Named};
pub use open::{Repo, connect, open, open_repo};
pub use serve::{ServeOptions, Server, serve};

#[cfg(test)]
mod testing;
