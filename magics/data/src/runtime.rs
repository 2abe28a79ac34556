//! The runtime behind the synchronous calls of this crate: two threads, started on first use.
//!
//! A caller may be any thread, also one of another runtime: it waits on a channel, never inside ours.

use dds_core::{Cx, Error, Kind, Result};
use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;
use tokio::runtime::Runtime;

const THREADS: usize = 2;
/// How often a waiting caller looks at its interrupt flag.
const CANCEL_POLL: Duration = Duration::from_millis(25);

static RUNTIME: OnceLock<std::result::Result<Runtime, String>> = OnceLock::new();

pub fn handle() -> Result<&'static tokio::runtime::Handle> {
    let built = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("dds-data")
            .enable_all()
            .build()
            .map_err(|e| e.to_string())
    });
    match built {
        Ok(runtime) => Ok(runtime.handle()),
        Err(e) => Err(Error::new(Kind::Unavailable, format!("cannot start the threads for transfers: {e}"))),
    }
}

/// Runs `future` to its end and gives its result to the calling thread. On interrupt the future is
/// dropped where it waits.
pub fn wait<T: Send + 'static>(
    future: impl Future<Output = Result<T>> + Send + 'static,
    cx: &Cx,
) -> Result<T> {
    cx.cancel.check()?;
    let (send, receive) = sync_channel(1);
    let task = handle()?.spawn(async move {
        let _ = send.send(future.await);
    });
    loop {
        match receive.recv_timeout(CANCEL_POLL) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) => {
                if let Err(e) = cx.cancel.check() {
                    task.abort();
                    return Err(e);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::internal("a transfer ended without a result"));
            }
        }
    }
}

/// Runs blocking work (files, Git objects, long digests) beside the runtime's threads.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::internal(format!("a worker ended early: {e}"))),
    }
}
