//! Ctrl-C in a shell: the first one asks, the second one leaves.

use dds_core::Cancel;
use tokio::signal::unix::{SignalKind, signal};

/// A flag that SIGINT, SIGTERM and SIGHUP set. The second signal ends the process with status 130.
pub(super) fn watch() -> Cancel {
    let cancel = Cancel::default();
    let theirs = cancel.clone();
    let watch = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(e) => return tracing::warn!("signals are not handled: {e}"),
        };
        if let Err(e) = runtime.block_on(handle(&theirs)) {
            tracing::warn!("signals are not handled: {e}");
        }
    };
    if let Err(e) = std::thread::Builder::new().name("signals".into()).spawn(watch) {
        tracing::warn!("signals are not handled: {e}");
    }
    cancel
}

async fn handle(cancel: &Cancel) -> std::io::Result<()> {
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hangup.recv() => {}
        }
        if cancel.is_cancelled() {
            std::process::exit(130);
        }
        cancel.cancel();
    }
}
