//! Reasons outside the protocol for which a kernel ends or is interrupted: signals, and the death of
//! the process that started it.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// How often the parent is looked at.
const PARENT_EVERY: Duration = Duration::from_millis(500);

/// What ends a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A front end asked for it.
    Requested,
    Terminated,
    ParentDied,
}

/// Sends [`End::ParentDied`] once this process has another parent than now (the system gives orphans
/// to another process), or the process `named` has ended: there may be a wrapper in between, which
/// waits for us. A `named` that cannot be seen from here, as from inside a container, says nothing.
/// (Linux's death signal is no help: it comes when the *thread* ends that started us.) The watching
/// thread lives as long as the process.
pub(super) fn parent(named: u32, end: Sender<End>) {
    let first = std::os::unix::process::parent_id();
    let named = Some(named).filter(|pid| exists(*pid));
    let watch = move || {
        loop {
            if std::os::unix::process::parent_id() != first || named.is_some_and(|pid| !exists(pid)) {
                let _ = end.send(End::ParentDied);
                return;
            }
            std::thread::sleep(PARENT_EVERY);
        }
    };
    spawn("parent watch", watch);
}

fn exists(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    if pid <= 0 {
        return false;
    }
    // SAFETY: signal 0 is sent to nobody; it only asks whether the process is there.
    let asked = unsafe { libc::kill(pid, 0) };
    asked == 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// SIGINT interrupts the running cell; SIGTERM and SIGHUP end the kernel in order.
pub(super) fn signals(interrupt: Arc<dyn Fn() + Send + Sync>, end: Sender<End>) {
    spawn("signals", move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(e) => return tracing::warn!("signals are not handled: {e}"),
        };
        if let Err(e) = runtime.block_on(handle(interrupt, end)) {
            tracing::warn!("signals are not handled: {e}");
        }
    });
}

async fn handle(interrupt: Arc<dyn Fn() + Send + Sync>, end: Sender<End>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut int = signal(SignalKind::interrupt())?;
    let mut term = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = int.recv() => interrupt(),
            _ = term.recv() => break,
            _ = hangup.recv() => break,
        }
    }
    let _ = end.send(End::Terminated);
    Ok(())
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    if let Err(e) = std::thread::Builder::new().name(name.to_owned()).spawn(body) {
        tracing::warn!("no thread for {name}: {e}");
    }
}
