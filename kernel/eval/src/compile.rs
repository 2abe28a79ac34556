//! Cells are compiled without cargo where that is safe: the compiler is called directly with the
//! arguments that cargo found once, and a cell that was compiled before is not compiled at all.
//!
//! evcxr starts `mold -run cargo …` when it finds a program `mold` on PATH. [`stand_between`] puts
//! a folder there in which `mold` is this very program; in that role ([`role`]) it answers evcxr's
//! question in cargo's stead:
//! ```text
//! build ─▶ plan of the dependencies (recorded once per machine) ─▶ cell cache ─▶ rustc
//! other, or anything unexpected ─▶ cargo, exactly as asked
//! ```
//! Linux only. Does not decide what is compiled: that is evcxr's.

mod answer;
mod cells;
mod deps;
mod described;
mod digest;
mod layout;
mod library_source;
mod lock;
mod plan;
mod predict;
mod record;
mod replay;
mod request;
mod rustc;
mod source;
mod stand;
// Also the source of a crate; compiled here for its tests alone.
#[cfg(test)]
mod store_crate;
mod toolchain;
mod tools;

pub(crate) use answer::role;
pub(crate) use described::role as described_role;
pub use layout::{CacheSizes, caches, prune, prune_dependencies};
pub(crate) use layout::{Session, prune_daily};
pub(crate) use library_source::LibrarySource;
pub(crate) use lock::InUse;
pub(crate) use record::role as record_role;
pub(crate) use source::FUNCTION;
pub(crate) use stand::{
    BUILD_ENV_VAR, CACHE_VAR, LINKER_VAR, Role, cache, keep_standing, leave as leave_environment, started_as,
};
pub use stand::{original_path, restore_environment, stand_between};
