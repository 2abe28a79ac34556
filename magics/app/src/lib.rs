//! Notebooks run and published: reads and writes them, runs them in a kernel of their own, renders
//! them as one web page, and serves that page with live forms.
//!
//! ```no_run
//! # async fn demo(config: dds_core::Config) -> dds_core::Result<()> {
//! use dds_app::{AppOptions, ExecOptions, Notebook};
//! use std::path::Path;
//!
//! // Run a notebook and keep its outputs.
//! let mut nb = Notebook::read(Path::new("a.ipynb"))?;
//! let report = dds_app::execute(&mut nb, ExecOptions::new(&config.exe, &config.runtime_dir, ".")).await?;
//! nb.write(Path::new("a.ipynb"))?;
//! if let Some(e) = report.error() {
//!     eprintln!("{e}");
//! }
//!
//! // Publish it.
//! let server = dds_app::serve(Path::new("a.ipynb"), AppOptions::new(&config)).await?;
//! println!("serving {}", server.url);
//! server.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! Assumes a tokio runtime with time and I/O. Invariant: a browser never sends code to a kernel;
//! `execute_request` is sent by [`exec`] alone, with the author's cells.

// Nothing that comes from outside may panic us.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

pub mod exec;
pub mod kernel;
pub mod notebook;
pub mod render;
pub mod server;

pub use exec::{CellEvent, CellFailure, CellReport, ExecOptions, ExecReport, execute, execute_with};
pub use notebook::{Cell, CellKind, Notebook, Output};
pub use server::{AppOptions, AppServer, serve, serve_with};
