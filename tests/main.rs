//! The one integration binary: rules about the tree itself, and the built `dds` from outside.
//!
//! Declared in `kernel/server`, so that Cargo hands it the built binary. What needs the real peers
//! (Jupyter, dvc, dagshub, a browser) is in `tests/e2e`.

mod command_line;
mod dependencies;
mod export_rs;
mod jobs;
mod tidy;
mod tree;
