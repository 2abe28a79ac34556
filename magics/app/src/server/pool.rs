//! Kernels that have already run the notebook and wait for a visitor.
//!
//! A visitor who comes when none is ready waits for the next one that is made. Makes at most
//! [`MAX_PARALLEL`] at once, refills in the background, and slows down when the notebook keeps
//! failing. Every kernel has an upload folder of its own, mode 0700, that goes with it.

use crate::exec::{ExecReport, OnCell, Rules, run_cells, until_cancelled};
use crate::kernel::{KernelLauncher, KernelSession, LaunchSpec};
use crate::notebook::Notebook;
use crate::render;
use dds_core::form::Form;
use dds_core::{Cancel, Error, Kind, Result};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};

/// Kernels that start at the same time.
pub(crate) const MAX_PARALLEL: usize = 2;
/// Environment variable that tells a kernel its visitor's upload folder.
pub const UPLOADS_ENV: &str = "DDS_UPLOADS";
/// Cells with this tag run for the page only, not again for every visitor: training, uploads.
pub const ONCE_TAG: &str = "once";
/// First and longest pause after a kernel that nobody waits for could not be made.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Longest wait for kernels that are being made while the app ends.
const CLOSE_GRACE: Duration = Duration::from_secs(10);

/// A kernel that ran the notebook. Dropping it kills the kernel and removes its folder.
pub(crate) struct Prepared {
    // The kernel goes before the folder that it may still write to.
    pub kernel: Box<dyn KernelSession>,
    pub uploads: TempDir,
    pub forms: Vec<Form>,
}

/// One run of the notebook, as far as it came.
pub(crate) struct Trial {
    pub notebook: Notebook,
    pub report: ExecReport,
    /// None when the kernel died on the way.
    pub prepared: Option<Prepared>,
    pub problem: Option<Error>,
}

/// How kernels are made for one notebook.
pub(crate) struct Maker {
    pub launcher: Arc<dyn KernelLauncher>,
    pub notebook: Notebook,
    pub cwd: PathBuf,
    pub env: Vec<(OsString, OsString)>,
    /// Private folder in which upload folders are made.
    pub scratch: PathBuf,
    pub cancel: Cancel,
}

impl Maker {
    /// Starts a kernel and runs the notebook in it; unless it is the run `for_page`, without the
    /// cells tagged [`ONCE_TAG`]. Errors when no kernel came up.
    pub(crate) async fn make(&self, for_page: bool, on_cell: Option<OnCell>) -> Result<Trial> {
        let uploads = tempfile::Builder::new()
            .prefix("visitor-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(&self.scratch)
            .map_err(|e| Error::io(&self.scratch, &e).context("cannot make an upload folder"))?;
        let mut env = self.env.clone();
        env.push((UPLOADS_ENV.into(), uploads.path().into()));
        let spec = LaunchSpec { cwd: self.cwd.clone(), env };
        let mut kernel = until_cancelled(&self.cancel, self.launcher.launch(spec)).await??;
        let mut notebook = self.notebook.clone();
        let skip_tag = (!for_page).then_some(ONCE_TAG);
        let rules = Rules { cancel: self.cancel.clone(), on_cell, skip_tag, ..Rules::default() };
        match run_cells(kernel.as_mut(), &mut notebook, &rules).await {
            Ok(report) => {
                let forms = render::forms(&notebook);
                let problem = report.error();
                let prepared = Some(Prepared { kernel, uploads, forms });
                Ok(Trial { notebook, report, prepared, problem })
            }
            Err(e) if e.kind == Kind::Interrupted => Err(e),
            Err(e) => Ok(Trial { notebook, report: ExecReport::default(), prepared: None, problem: Some(e) }),
        }
    }
}

struct State {
    ready: VecDeque<Prepared>,
    waiting: VecDeque<oneshot::Sender<Result<Prepared>>>,
    making: usize,
    pause: Duration,
    pausing: bool,
    closed: bool,
}

pub(crate) struct Pool {
    maker: Maker,
    target: usize,
    state: Mutex<State>,
    made: Notify,
}

impl Pool {
    /// Keeps `target` kernels ready; `first` is one that is there already.
    pub(crate) fn new(maker: Maker, target: usize, first: Option<Prepared>) -> Arc<Self> {
        let state = State {
            ready: first.into_iter().collect(),
            waiting: VecDeque::new(),
            making: 0,
            pause: BACKOFF.0,
            pausing: false,
            closed: false,
        };
        let pool = Arc::new(Self { maker, target, state: Mutex::new(state), made: Notify::new() });
        pool.pump();
        pool
    }

    /// Kernels that wait for a visitor.
    pub(crate) fn ready(&self) -> usize {
        self.lock().ready.len()
    }

    /// A kernel for a visitor: one that is ready, else the next one made.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Prepared> {
        let answer = {
            let mut s = self.lock();
            if s.closed {
                return Err(ending());
            }
            let mut found = None;
            while let Some(mut p) = s.ready.pop_front() {
                // One that died while it waited is dropped here.
                if p.kernel.is_alive() {
                    found = Some(p);
                    break;
                }
            }
            match found {
                Some(p) => Ok(p),
                None => {
                    let (tx, rx) = oneshot::channel();
                    s.waiting.push_back(tx);
                    Err(rx)
                }
            }
        };
        self.pump();
        match answer {
            Ok(p) => Ok(p),
            Err(rx) => rx.await.unwrap_or_else(|_| Err(ending())),
        }
    }

    /// Ends all kernels that wait and all that are being made.
    pub(crate) async fn close(&self) {
        let ready = {
            let mut s = self.lock();
            s.closed = true;
            s.waiting.clear();
            std::mem::take(&mut s.ready)
        };
        self.maker.cancel.cancel();
        let ends = ready.into_iter().map(end);
        futures_util::future::join_all(ends).await;
        let made = async {
            loop {
                let next = self.made.notified();
                if self.lock().making == 0 {
                    break;
                }
                next.await;
            }
        };
        if tokio::time::timeout(CLOSE_GRACE, made).await.is_err() {
            tracing::warn!("a kernel that was starting did not end in time");
        }
    }

    /// Starts as many kernels as are wanted and allowed.
    fn pump(self: &Arc<Self>) {
        let mut s = self.lock();
        while !s.closed && s.making < MAX_PARALLEL {
            let spare = if s.pausing { 0 } else { self.target };
            if s.making + s.ready.len() >= s.waiting.len() + spare {
                break;
            }
            s.making += 1;
            let pool = self.clone();
            tokio::spawn(async move {
                let made = pool.maker.make(false, None).await.and_then(|t| match (t.prepared, t.problem) {
                    (Some(p), _) => Ok(p),
                    (None, Some(e)) => Err(e),
                    (None, None) => Err(Error::internal("no kernel and no problem")),
                });
                pool.deliver(made);
                pool.made.notify_waiters();
                pool.pump();
            });
        }
    }

    fn deliver(self: &Arc<Self>, made: Result<Prepared>) {
        let mut s = self.lock();
        s.making -= 1;
        if s.closed {
            return;
        }
        if let Err(e) = &made {
            tracing::error!("a kernel for visitors could not be made: {e}");
        } else {
            s.pause = BACKOFF.0;
        }
        let mut made = made;
        while let Some(waiter) = s.waiting.pop_front() {
            match waiter.send(made) {
                Ok(()) => return,
                // This visitor has gone; it is for the next.
                Err(back) => made = back,
            }
        }
        match made {
            Ok(p) => s.ready.push_back(p),
            Err(_) => {
                s.pausing = true;
                let pause = s.pause;
                s.pause = (pause * 2).min(BACKOFF.1);
                let pool = Arc::downgrade(self);
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    if let Some(pool) = pool.upgrade() {
                        pool.lock().pausing = false;
                        pool.pump();
                    }
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a kernel in order; its folder goes afterwards.
pub(crate) async fn end(prepared: Prepared) {
    let Prepared { kernel, uploads, .. } = prepared;
    kernel.shutdown().await;
    drop(uploads);
}

fn ending() -> Error {
    Error::new(Kind::Unavailable, "the app is being stopped").hint("come back in a moment")
}
