//! The owner's side of a mount process: starts it, talks to it, and cleans up after its death.

use crate::child::ROLE;
use crate::mount_point;
use crate::protocol::{self, Answer, Command, Request, Role, Spec, Tree, What};
use crate::reader::Notice;
use dds_core::{Cx, Error, Kind, Result};
use std::io::BufReader;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long to wait for an answer that needs no network.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How long a process may take to unmount and end before it is killed.
const END_WAIT: Duration = Duration::from_secs(5);
/// How long a process whose start was given up may take to end by itself: until then the user waits.
const GIVE_UP_WAIT: Duration = Duration::from_millis(150);
/// How often a waiting command looks at its interrupt flag.
const CANCEL_POLL: Duration = Duration::from_millis(50);
/// Answers that may wait for somebody to read them.
const MAX_ANSWERS: usize = 16;

/// Puts this process out of the reach of the terminal that it was started in.
pub fn leave_terminal() {
    // Fails only where it is out of reach already.
    let _ = rustix::process::setsid();
}

/// A running `dds __mount`. Dropping it unmounts.
pub struct MountProcess {
    pid: u32,
    dir: PathBuf,
    line: Mutex<Line>,
    ending: Arc<Ending>,
}

/// The two pipes; held for one question and its answer.
struct Line {
    stdin: Option<ChildStdin>,
    answers: mpsc::Receiver<Answer>,
    last_id: u64,
}

#[derive(Default)]
struct Ending {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl MountProcess {
    /// Starts the process and waits until the folder is mounted. `notice` hears what the user should
    /// know for as long as it runs; `moved` that another process had changes committed; `gone` is called once when it has ended, however that came.
    ///
    /// Errors: those of opening the repository; `Unavailable` where FUSE does not work; `Interrupted`.
    pub fn start(
        exe: &Path,
        spec: Spec,
        notice: Notice,
        moved: Arc<dyn Fn(Tree) + Send + Sync>,
        gone: impl FnOnce() + Send + 'static,
        cx: &Cx,
    ) -> Result<(Self, Tree)> {
        let mut child = std::process::Command::new(exe)
            .arg(ROLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Nothing but the mounted folder itself is kept in use.
            .current_dir("/")
            // Ctrl-C in a terminal is for the owner, which then unmounts in good order.
            .process_group(0)
            .spawn()
            .map_err(|e| Error::io(exe, &e).context("cannot start the mount process"))?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::internal("the mount process has no pipes"));
        };
        let dir = spec.dir.clone();
        let (pid, ending) = (child.id(), Arc::new(Ending::default()));
        let (sender, answers) = mpsc::sync_channel(MAX_ANSWERS);
        let (ends, point) = (ending.clone(), dir.clone());
        std::thread::spawn(move || {
            forward(stdout, &sender, &notice, &*moved);
            drop(sender);
            attend(child, &point);
            ends.set();
            gone();
        });
        let sent = protocol::send(&mut stdin, &Role::Mount(Box::new(spec)));
        let line = Mutex::new(Line { stdin: Some(stdin), answers, last_id: 0 });
        let process = Self { pid, dir, line, ending };
        sent.map_err(|e| Error::new(Kind::Io, format!("the mount process ended at once: {e}")))?;
        // From here on an error drops the process, which unmounts.
        let first = process.await_answer(&lock(&process.line), 0, None, Some(cx));
        match first {
            Ok(What::Mounted(tree)) => Ok((process, tree)),
            Ok(_) => Err(Error::internal("the mount process gave an unexpected first answer")),
            Err(error) => {
                process.give_up();
                Err(error)
            }
        }
    }

    /// Ends a process that is not mounted yet. It hears no commands before that, but a closed stdin
    /// cancels whatever it does; one that does not notice in time is killed.
    fn give_up(&self) {
        lock(&self.line).stdin = None;
        if !self.ending.wait(GIVE_UP_WAIT) {
            tracing::debug!(pid = self.pid, "the mount process does not give up and is killed");
            self.kill();
            self.ending.wait(END_WAIT);
        }
    }

    /// Asks and waits. `cx` lets an interrupt end the waiting; without it there is a time limit.
    pub fn ask(&self, command: Command, cx: Option<&Cx>) -> Result<What> {
        let mut line = lock(&self.line);
        line.last_id += 1;
        let id = line.last_id;
        let Some(stdin) = &mut line.stdin else { return Err(self.ended_error()) };
        protocol::send(stdin, &Request { id, command }).map_err(|_| self.ended_error())?;
        self.await_answer(&line, id, cx.is_none().then_some(ANSWER_WAIT), cx)
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn has_ended(&self) -> bool {
        *lock(&self.ending.ended)
    }

    /// Unmounts and ends the process; kills it when it does not answer. Afterwards nothing of it is
    /// left on the folder.
    pub fn stop(&self) -> Result<()> {
        if !self.has_ended() {
            let asked = self.ask(Command::Unmount {}, None).err();
            lock(&self.line).stdin = None;
            if !self.ending.wait(END_WAIT) {
                tracing::warn!(pid = self.pid, ?asked, "the mount process does not end and is killed");
                self.kill();
                self.ending.wait(END_WAIT);
            }
        }
        match mount_point::is_mounted(&self.dir) {
            // Somebody else may have mounted here since; only a dead one is ours to remove.
            true if mount_point::reap(&self.dir) => Ok(()),
            true if self.has_ended() => Ok(()),
            true => mount_point::detach(&self.dir),
            false => Ok(()),
        }
    }

    fn kill(&self) {
        let ended = lock(&self.ending.ended);
        // Not ended: the process is not waited for yet, so its number is still its own.
        if !*ended && let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    fn await_answer(&self, line: &Line, id: u64, limit: Option<Duration>, cx: Option<&Cx>) -> Result<What> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            if let Some(cx) = cx {
                cx.cancel.check()?;
            }
            match line.answers.recv_timeout(CANCEL_POLL) {
                Ok(answer) if answer.id == id => {
                    return match answer.what {
                        What::Error(failure) => Err(failure.into()),
                        what => Ok(what),
                    };
                }
                // The late answer to a question that was given up.
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(self.ended_error()),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                        let dir = self.dir.display();
                        return Err(Error::new(
                            Kind::Unavailable,
                            format!("the mount process of {dir} does not answer"),
                        )
                        .hint(format!("type `%dds unmount {dir}` and mount again")));
                    }
                }
            }
        }
    }

    fn ended_error(&self) -> Error {
        let dir = self.dir.display();
        Error::new(Kind::Unavailable, format!("the mount process of {dir} has ended"))
            .hint(format!("type `%dds mount URL {dir}` to mount again"))
    }
}

impl Drop for MountProcess {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(dir = %self.dir.display(), "{error}");
        }
    }
}

/// Passes answers on until the process closes its side.
fn forward(
    stdout: ChildStdout,
    answers: &mpsc::SyncSender<Answer>,
    notice: &Notice,
    moved: &(dyn Fn(Tree) + Send + Sync),
) {
    let mut stdout = BufReader::new(stdout);
    loop {
        match protocol::receive::<Answer>(&mut stdout) {
            Ok(Some(Answer { what: What::Note(text), .. })) => notice(&text),
            Ok(Some(Answer { what: What::Moved(tree), .. })) => moved(tree),
            // Full: nobody asks, so nobody misses it.
            Ok(Some(answer)) => drop(answers.try_send(answer)),
            Ok(None) => return,
            Err(error) if error.kind == Kind::Format => tracing::warn!("{error}"),
            Err(_) => return,
        }
    }
}

/// Waits for the end of the process and takes the mount off if it left a dead one.
fn attend(mut child: Child, dir: &Path) {
    if let Err(error) = child.wait() {
        tracing::warn!("cannot wait for the mount process: {error}");
    }
    mount_point::reap(dir);
}

impl Ending {
    fn set(&self) {
        *lock(&self.ended) = true;
        self.changed.notify_all();
    }

    /// True when it ended within `limit`.
    fn wait(&self, limit: Duration) -> bool {
        let ended = lock(&self.ended);
        let outcome = self.changed.wait_timeout_while(ended, limit, |ended| !*ended);
        *outcome.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
