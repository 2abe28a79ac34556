//! The vocabulary of `dds`: paths, URLs, digests, secrets, requests, outcomes, errors and the
//! traits that the engines implement.
//!
//! Assumes nothing about terminal, notebook or network. Invariant: no I/O, no environment, no
//! clock, no randomness; everything outside is handed in through [`Cx`] and [`Config`].

pub mod config;
pub mod cx;
pub mod digest;
pub mod engine;
pub mod error;
pub mod eval;
pub mod form;
pub mod image_kind;
pub mod job;
pub mod lex;
pub mod mime;
pub mod outcome;
pub mod repo_path;
pub mod repo_url;
pub mod request;
pub mod secret;
pub mod source;
pub mod table;
pub mod timestamp;

pub use config::{Config, PeerSettings};
pub use cx::{Cancel, Cx, Progress, Sink, Unit};
pub use digest::Digest;
pub use error::{Error, Kind, Result};
pub use image_kind::ImageKind;
pub use mime::MimeBundle;
pub use outcome::Outcome;
pub use repo_path::RepoPath;
pub use repo_url::{RepoTarget, RepoUrl};
pub use secret::Secret;
pub use source::{CellData, Entry, EntryKind, Located, Resolver, Source, Uploaded, Versioning};
