//! The seam to a Jupyter kernel: what running and publishing notebooks need from one, and nothing
//! of how its sockets work.
//!
//! The real implementation is in [`process`]; tests bring kernels of their own. Invariant: only
//! [`crate::exec`] sends `execute_request`; what a visitor sends travels as comm data.

pub mod process;

pub use dds_wire::Channel;

/// Environment variable that tells a kernel of ours where to remember cells across sessions.
pub const HISTORY: &str = "DDS_HISTORY";
/// … and its value for: nowhere. A published notebook's cells are not its user's history.
pub const NO_HISTORY: &str = "off";

use dds_core::Result;
use serde_json::Value;
use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

/// A boxed future, so that the seam's traits can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One message from the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    pub channel: Channel,
    pub msg_type: String,
    /// `msg_id` of the request it belongs to; empty when there is none.
    pub parent: String,
    pub content: Value,
}

/// Where and with what a kernel starts.
#[derive(Clone, Debug, Default)]
pub struct LaunchSpec {
    /// Working folder: the notebook's.
    pub cwd: PathBuf,
    /// Added to the environment that the kernel inherits.
    pub env: Vec<(OsString, OsString)>,
}

/// One running kernel, owned by one user at a time. Dropping it kills the kernel.
pub trait KernelSession: Send {
    /// Sends a request and gives its `msg_id`. Errors when the kernel is gone.
    fn send<'a>(
        &'a mut self,
        channel: Channel,
        msg_type: &'a str,
        content: Value,
    ) -> BoxFuture<'a, Result<String>>;

    /// The next message of any channel; none once the kernel is gone. Dropping the future loses no
    /// message.
    fn next(&mut self) -> BoxFuture<'_, Option<Incoming>>;

    /// Whether the kernel's process still runs.
    fn is_alive(&mut self) -> bool;

    /// The end of what the process itself printed, for the author's log; often empty.
    fn last_words(&self) -> String;

    /// Asks the kernel to end, and kills it when it does not within a few seconds.
    fn shutdown(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Starts kernels.
pub trait KernelLauncher: Send + Sync {
    /// Starts one and waits until it answers. Errors: `Unavailable` when it does not come up.
    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Box<dyn KernelSession>>>;
}
