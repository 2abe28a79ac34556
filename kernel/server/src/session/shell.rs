//! `!` lines: `sh -c` in the session's folder, its output streamed as it comes.
//!
//! The command is a process group of its own, which an interrupt ends. What it leaves in the
//! background goes on; its later output is read and dropped.

use super::env::Changes;
use dds_core::eval::{CellSink, Stream};
use dds_core::{Cancel, Error, Kind, Result};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How often the interrupt and the end of the command are looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long an interrupted command has to end by itself.
const KILL_AFTER: Duration = Duration::from_millis(150);
/// After the command's end, output of what it left behind is taken until this long a silence.
const QUIET: Duration = Duration::from_millis(200);
/// Pieces of output that wait to be shown; then the command waits.
const PIECES: usize = 64;
/// Bytes of one piece.
const PIECE: usize = 16 * 1024;

/// Runs `command`, with the changes `env` to the kernel's environment. Errors: `Interrupted`; `Io` for an exit status other than 0, naming it.
pub(super) fn run(
    command: &str,
    cwd: &Path,
    env: &Changes,
    sink: &Arc<dyn CellSink>,
    cancel: &Cancel,
) -> Result<()> {
    if command.is_empty() {
        return Err(Error::usage("there is no command behind `!`").hint("write a shell line, as in !ls"));
    }
    let mut shell = Command::new("sh");
    dds_eval::restore_environment(&mut shell);
    for (name, value) in env {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut child = shell
        .arg("-c")
        .arg(command)
        .current_dir(cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| Error::new(Kind::Unavailable, format!("sh does not start in {}: {e}", cwd.display())))?;
    let (send, pieces) = sync_channel(PIECES);
    if let Some(out) = child.stdout.take() {
        forward(out, Stream::Stdout, send.clone());
    }
    if let Some(err) = child.stderr.take() {
        forward(err, Stream::Stderr, send.clone());
    }
    drop(send);
    let status = follow(&mut child, &pieces, sink, cancel);
    cancel.check()?;
    judge(status?)
}

/// Shows what comes until the command has ended and its output is over.
fn follow(
    child: &mut Child,
    pieces: &Receiver<(Stream, String)>,
    sink: &Arc<dyn CellSink>,
    cancel: &Cancel,
) -> Result<ExitStatus> {
    let io = |e: std::io::Error| Error::io("sh", &e);
    let mut interrupted: Option<Instant> = None;
    let mut killed = false;
    let mut ended: Option<ExitStatus> = None;
    let mut last = Instant::now();
    loop {
        match pieces.recv_timeout(TICK) {
            Ok((stream, text)) => {
                sink.stream(stream, &text);
                last = Instant::now();
            }
            // Both outputs are closed: only the command's end is missing.
            Err(RecvTimeoutError::Disconnected) if ended.is_none() => std::thread::sleep(TICK),
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
        if ended.is_none() {
            ended = child.try_wait().map_err(io)?;
            if ended.is_some() {
                last = Instant::now();
            }
        }
        if let Some(status) = ended {
            let over = matches!(pieces.try_recv().map(|(s, t)| sink.stream(s, &t)), Err(e) if e == std::sync::mpsc::TryRecvError::Disconnected);
            if over || last.elapsed() > QUIET || cancel.is_cancelled() {
                return Ok(status);
            }
        }
        if cancel.is_cancelled() && ended.is_none() {
            let since = *interrupted.get_or_insert_with(|| {
                signal(child, libc::SIGINT);
                Instant::now()
            });
            if since.elapsed() > KILL_AFTER && !killed {
                signal(child, libc::SIGKILL);
                killed = true;
            }
        }
    }
}

/// Signals the command's whole process group. The child has not been waited for, so its id is its own.
fn signal(child: &Child, signal: i32) {
    if let Ok(group) = i32::try_from(child.id())
        && group > 1
    {
        // SAFETY: kill has no memory effects; the group is that of our own child, see above.
        unsafe { libc::kill(-group, signal) };
    }
}

fn judge(status: ExitStatus) -> Result<()> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(127), _) => Err(Error::new(Kind::NotFound, "the shell line ended with exit status 127")
            .hint("the command was not found; is it installed?")),
        (Some(code), _) => Err(Error::new(Kind::Io, format!("the shell line ended with exit status {code}"))
            .hint("add `|| true` when that is expected")),
        (None, signal) => Err(Error::new(
            Kind::Io,
            format!("the shell line was ended by signal {}", signal.unwrap_or_default()),
        )),
    }
}

/// Sends what `from` gives as text, whole characters at a time. Goes on reading when nobody
/// listens any more, so that a background process does not die of its output.
fn forward(mut from: impl Read + Send + 'static, stream: Stream, to: SyncSender<(Stream, String)>) {
    let work = move || {
        let mut to = Some(to);
        let mut text = Decoder::default();
        let mut buffer = [0u8; PIECE];
        loop {
            let read = match from.read(&mut buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            let piece = if read == 0 { text.rest() } else { text.push(bytes) };
            if !piece.is_empty() && to.as_ref().is_some_and(|t| t.send((stream, piece)).is_err()) {
                to = None;
            }
            if read == 0 {
                return;
            }
        }
    };
    if let Err(e) = std::thread::Builder::new().name("shell output".into()).spawn(work) {
        tracing::warn!("no thread for a shell line's output: {e}");
    }
}

/// Bytes to text where a character may be cut between two reads.
#[derive(Default)]
struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut out = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(text) => {
                    out.push_str(text);
                    self.pending.clear();
                    return out;
                }
                Err(e) => {
                    let valid: Vec<u8> = self.pending.drain(..e.valid_up_to()).collect();
                    out.push_str(&String::from_utf8_lossy(&valid));
                    let Some(bad) = e.error_len() else { return out };
                    self.pending.drain(..bad);
                    out.push(char::REPLACEMENT_CHARACTER);
                }
            }
        }
    }

    fn rest(&mut self) -> String {
        let out = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_survive_any_cut() {
        let text = "größe → 🎈 ok";
        for cut in 0..=text.len() {
            let mut d = Decoder::default();
            let whole = d.push(&text.as_bytes()[..cut]) + &d.push(&text.as_bytes()[cut..]) + &d.rest();
            assert_eq!(whole, text);
        }
        let mut d = Decoder::default();
        assert_eq!(d.push(b"a\xffb\xf0\x9f") + &d.rest(), "a\u{fffd}b\u{fffd}");
    }
}
