//! Rust evaluation in a child process of our own; the only crate that names evcxr.
//!
//! [`RustEvaluator`] implements [`dds_core::eval::Evaluator`]. Cells are compiled by evcxr and run
//! in a child process, a hidden role of the one binary ([`child`]), which keeps a checkpoint of
//! the variables while a cell runs: an interrupt, a crash or an endless loop costs that cell only.
//!
//! Invariant: nothing a cell prints can be taken for control, and no line of generated code is
//! ever shown. Linux only.

mod builds;
mod cell;
pub mod child;
mod compile;
mod directives;
mod engine;
mod evaluator;
mod frames;
mod known;
mod language;
mod link;
mod memory;
mod output;
mod parse;
mod prelude;
mod progress;
mod report;
mod repositories;
mod runtime;
mod socket;
mod stdout;

pub use child::{CHILD_ARG, child_main};
pub use compile::{
    CacheSizes, caches, original_path, prune, prune_dependencies, restore_environment, stand_between,
};
pub use dds::repo::stand_in::READY as STAND_IN_READY;
pub use evaluator::{EvalOptions, RustEvaluator};
pub use memory::{give_back as give_memory_back, share as share_memory};
pub use repositories::{Repositories, Service as RepositoryService};
pub use runtime::{runtime_folder, runtime_source};

/// Takes over the process if it was started for one of this crate's purposes: in cargo's place,
/// as the child that runs cells, or as the wrapper around rustc that evcxr's
/// `:allow_static_linking` uses. `main` calls this first, before it starts any thread; it returns
/// for everybody else.
pub fn take_over_child_roles() {
    match compile::started_as() {
        Some(compile::Role::Cargo) => compile::role(),
        Some(compile::Role::Described) => compile::described_role(),
        Some(compile::Role::Recorder) => compile::record_role(),
        None => {}
    }
    if std::env::args_os().nth(1).is_some_and(|arg| arg == CHILD_ARG) {
        child_main();
    }
    if std::env::var_os("EVCXR_RUSTC_WRAPPER").is_some() && std::env::var_os("EVCXR_IS_RUNTIME").is_none() {
        evcxr::runtime_hook();
    }
}
