//! The process that evcxr believes runs the cells.
//!
//! It takes evcxr's lines from its standard input and gives evcxr's notices on its standard
//! output; has the cells run by the worker, whose output it passes on to the kernel as frames;
//! and decides, alone, which copy of the variables lives: worker or checkpoint.

use super::library::ForRuntime;
use super::{signals, worker};
use crate::frames::{Cause, Death, FromChild, MAX_PAYLOAD, ToChild, assignment, parse_load_and_run};
use crate::socket;
use crate::stdout::{self, Parser, Piece};
use dds::wire;
use libc::{c_int, pid_t};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time between a polite interrupt (SIGINT) and the end of the worker.
const GRACE: Duration = Duration::from_millis(100);
/// How long text is held back that looks like the beginning of a notice.
const HOLD: Duration = Duration::from_millis(20);
/// Most bytes taken from one pipe after a cell has ended; threads of the cell may print for ever.
const MAX_DRAIN: usize = 1 << 20;
/// A line that evcxr cannot read as text makes it give up the cell and keep what it knew before:
/// exactly the state of the restored checkpoint.
const FORGET_THIS_CELL: &[u8] = b"\xff\n";

/// Supervises until the kernel is gone, or the worker is and nothing can replace it.
pub(super) fn run(control: OwnedFd) -> io::Result<()> {
    let leader = signals::own_session();
    signals::ignore(libc::SIGINT);
    signals::ignore(libc::SIGTERM);
    signals::adopt_orphans();
    let mut supervisor = Supervisor::start(control)?;
    let result = supervisor.serve();
    supervisor.end(leader);
    result
}

/// The running cell.
#[derive(Default)]
struct Cell {
    checkpoint: Option<Checkpoint>,
    /// When the worker is killed, if it has not stopped by then.
    kill_at: Option<Instant>,
    interrupted: bool,
    /// Notices for evcxr that go out with the cell's end.
    notices: Vec<String>,
}

/// A copy of the worker that can take its place.
#[derive(Clone, Copy)]
struct Checkpoint {
    pid: pid_t,
    /// Threads of the worker that it does not have.
    threads: u32,
}

impl Checkpoint {
    /// As the worker says it: pid, 0 for none, and number of threads.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (pid, rest) = bytes.split_first_chunk()?;
        let (threads, _) = rest.split_first_chunk()?;
        let (pid, threads) = (pid_t::from_le_bytes(*pid), u32::from_le_bytes(*threads));
        (pid > 0).then_some(Self { pid, threads })
    }
}

/// Datagrams that wait for the worker to take them.
struct Outbox {
    socket: OwnedFd,
    waiting: VecDeque<Vec<u8>>,
}

impl Outbox {
    fn put(&mut self, frame: Vec<u8>) {
        self.waiting.push_back(frame);
        self.send();
    }

    fn send(&mut self) {
        while let Some(frame) = self.waiting.front() {
            match socket::try_send(self.socket.as_fd(), frame) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The worker is gone: it has no use for the rest.
                Err(_) => self.waiting.clear(),
                Ok(()) => drop(self.waiting.pop_front()),
            }
        }
    }
}

struct Supervisor {
    control: OwnedFd,
    /// Frames for the kernel. While some wait, the worker's output is not read.
    queue: VecDeque<Vec<u8>>,
    worker: pid_t,
    commands: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    /// Messages of the runtime in the worker; each is acknowledged with its number.
    messages: OwnedFd,
    /// Comm messages for the runtime. The kernel bounds how many it has under way.
    events: Outbox,
    /// Answers for who reads standard input.
    answers: Outbox,
    parser: Parser,
    hold_until: Option<Instant>,
    cell: Option<Cell>,
    /// Taken before the first callback after the last cell.
    spare: Option<Checkpoint>,
    /// The worker is in a callback between cells …
    in_callback: bool,
    /// … and is ended at this time, if it still is.
    end_callback_at: Option<Instant>,
    /// As the kernel has said last; a copy of the worker may be older.
    takes_checkpoints: bool,
    /// The user interrupted before the code of the cell was there.
    interrupted_early: bool,
    line: Vec<u8>,
    remove_at_end: Option<PathBuf>,
    over: bool,
    kernel_gone: bool,
}

impl Supervisor {
    fn start(control: OwnedFd) -> io::Result<Self> {
        let (commands, worker_commands) = socket::pair()?;
        let (stdout, worker_stdout) = socket::pipe()?;
        let (stderr, worker_stderr) = socket::pipe()?;
        let (messages, worker_messages) = socket::pair()?;
        let (events, worker_events) = socket::pair()?;
        let (answers, worker_answers) = socket::pair()?;
        let nothing = std::fs::File::open("/dev/null")?;
        let supervisor = signals::own_pid();
        // SAFETY: this process has one thread.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            signals::die_with_parent();
            if signals::parent() != supervisor {
                std::process::exit(0);
            }
            for (from, to) in [(nothing.as_fd(), 0), (worker_stdout.as_fd(), 1), (worker_stderr.as_fd(), 2)] {
                // SAFETY: the three standard descriptors, which nothing in this process owns.
                unsafe { libc::dup2(from.as_raw_fd(), to) };
            }
            drop((nothing, worker_stdout, worker_stderr, stdout, stderr, commands, control));
            drop((messages, events, answers));
            signals::forget_child_end();
            signals::block_interrupt();
            signals::reset(libc::SIGINT);
            signals::reset(libc::SIGTERM);
            let runtime = ForRuntime { up: worker_messages, events: worker_events };
            let sockets = worker::Sockets { commands: worker_commands, answers: worker_answers, runtime };
            worker::run(sockets, supervisor);
        }
        for fd in [stdout.as_fd(), stderr.as_fd()] {
            socket::set_nonblocking(fd)?;
        }
        signals::wake_on_child_end();
        Ok(Self {
            control,
            queue: VecDeque::from([FromChild::Hello.encode()]),
            worker: pid,
            commands,
            stdout,
            stderr,
            messages,
            events: Outbox { socket: events, waiting: VecDeque::new() },
            answers: Outbox { socket: answers, waiting: VecDeque::new() },
            parser: Parser::default(),
            hold_until: None,
            cell: None,
            spare: None,
            in_callback: false,
            end_callback_at: None,
            takes_checkpoints: true,
            interrupted_early: false,
            line: Vec::new(),
            remove_at_end: None,
            over: false,
            kernel_gone: false,
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        while !self.over {
            let idle = self.queue.is_empty();
            let interest = |fd: c_int, on: bool, events| libc::pollfd {
                fd: if on { fd } else { -1 },
                events,
                revents: 0,
            };
            let sending = if idle { libc::POLLIN } else { libc::POLLIN | libc::POLLOUT };
            let mut fds = [
                interest(self.control.as_raw_fd(), true, sending),
                interest(self.commands.as_raw_fd(), true, libc::POLLIN),
                interest(self.stdout.as_raw_fd(), idle, libc::POLLIN),
                interest(self.stderr.as_raw_fd(), idle, libc::POLLIN),
                interest(0, true, libc::POLLIN),
                interest(self.messages.as_raw_fd(), idle, libc::POLLIN),
                interest(self.events.socket.as_raw_fd(), !self.events.waiting.is_empty(), libc::POLLOUT),
                interest(self.answers.socket.as_raw_fd(), !self.answers.waiting.is_empty(), libc::POLLOUT),
            ];
            signals::poll(&mut fds, self.patience());
            let [control, commands, stdout, stderr, stdin, messages, events, answers] =
                fds.map(|fd| fd.revents);
            self.send_queue()?;
            if control & !libc::POLLOUT != 0 {
                self.control()?;
            }
            if commands != 0 {
                self.worker_frames()?;
            }
            if messages != 0 {
                self.take_message()?;
            }
            if events != 0 {
                self.events.send();
            }
            if answers != 0 {
                self.answers.send();
            }
            if stdout != 0 {
                self.take_stdout(MAX_PAYLOAD);
            }
            if stderr != 0 {
                self.take_stderr(MAX_PAYLOAD);
            }
            self.ended_children()?;
            if stdin != 0 {
                // What the kernel said before it sent the line must be known first.
                self.control()?;
                self.stdin()?;
            }
            self.deadlines();
            self.send_queue()?;
        }
        Ok(())
    }

    /// Milliseconds until something is due; -1 when nothing is.
    fn patience(&self) -> i64 {
        let kill_at = self.cell.as_ref().and_then(|cell| cell.kill_at);
        let Some(due) = [self.hold_until, kill_at, self.end_callback_at].into_iter().flatten().min() else {
            return -1;
        };
        let left = due.saturating_duration_since(Instant::now());
        i64::try_from(left.as_millis()).unwrap_or(i64::MAX) + 1
    }

    fn deadlines(&mut self) {
        let now = Instant::now();
        if self.hold_until.is_some_and(|due| due <= now) {
            self.hold_until = None;
            self.parse(|parser, found| parser.release(found));
        }
        if let Some(cell) = &mut self.cell
            && cell.kill_at.is_some_and(|due| due <= now)
        {
            cell.kill_at = None;
            signals::kill(self.worker, libc::SIGKILL);
        }
        if self.end_callback_at.is_some_and(|due| due <= now) {
            signals::kill(self.worker, libc::SIGKILL);
        }
    }

    fn send_queue(&mut self) -> io::Result<()> {
        while let Some(frame) = self.queue.front() {
            match socket::try_send(self.control.as_fd(), frame) {
                Ok(()) => {
                    self.queue.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn tell(&mut self, frame: FromChild) {
        self.queue.push_back(frame.encode());
    }

    /// Everything that the kernel has said so far.
    fn control(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; MAX_PAYLOAD * 2];
        loop {
            let frame = match socket::try_recv(self.control.as_fd(), &mut buffer) {
                Ok([]) => {
                    self.over = true;
                    self.kernel_gone = true;
                    return Ok(());
                }
                Ok(frame) => ToChild::decode(frame),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            match frame {
                Some(ToChild::Begin) => self.interrupted_early = false,
                Some(ToChild::Interrupt) => self.interrupt(),
                Some(ToChild::Sync(number)) => {
                    self.drain();
                    self.tell(FromChild::Synced(number));
                }
                Some(ToChild::Chdir(folder)) => self.command(b'W', folder.as_os_str().as_bytes())?,
                Some(ToChild::SetEnv(name, value)) => {
                    self.command(b'V', &assignment(&name, value.as_deref()))?;
                }
                Some(ToChild::RemoveAtEnd(folder)) => self.remove_at_end = Some(folder),
                Some(ToChild::Checkpoints(on)) => {
                    self.takes_checkpoints = on;
                    self.command(b'K', &[u8::from(on)])?;
                }
                Some(ToChild::Comm(flags, piece)) => {
                    let mut frame = vec![flags];
                    frame.extend(piece);
                    self.events.put(frame);
                }
                Some(ToChild::Answer { question, flags, answered, text }) => {
                    let mut frame = question.to_le_bytes().to_vec();
                    frame.extend([flags, u8::from(answered)]);
                    frame.extend(text);
                    self.answers.put(frame);
                }
                None => {}
            }
        }
    }

    fn interrupt(&mut self) {
        let Some(cell) = &mut self.cell else {
            self.interrupted_early = true;
            if self.in_callback && self.end_callback_at.is_none() {
                self.end_callback_at = Some(Instant::now() + GRACE);
            }
            return;
        };
        if !cell.interrupted {
            cell.interrupted = true;
            cell.kill_at = Some(Instant::now() + GRACE);
            // To the group: programs that the cell started are interrupted too.
            signals::kill(-signals::own_pid(), libc::SIGINT);
        }
    }

    fn command(&self, tag: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![tag];
        frame.extend_from_slice(payload);
        socket::send(self.commands.as_fd(), &frame)
    }

    /// Lines of evcxr; the end of the input is the end of the kernel.
    fn stdin(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        // SAFETY: descriptor 0 is open for the whole life of this process.
        let stdin = unsafe { BorrowedFd::borrow_raw(0) };
        let bytes = socket::read(stdin, &mut buffer)?;
        if bytes.is_empty() {
            self.over = true;
            self.kernel_gone = true;
        }
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            self.run_line(line.strip_suffix(b"\n").unwrap_or(&line))?;
        }
        Ok(())
    }

    fn run_line(&mut self, line: &[u8]) -> io::Result<()> {
        let Some((so, function)) = parse_load_and_run(line) else { return Ok(()) };
        if std::mem::take(&mut self.interrupted_early) {
            self.tell(FromChild::Death(Death {
                cause: Cause::Signal(libc::SIGINT),
                restored: true,
                interrupted: true,
                threads: 0,
            }));
            return to_evcxr(FORGET_THIS_CELL);
        }
        let mut payload = so.as_os_str().as_bytes().to_vec();
        payload.push(0);
        payload.extend_from_slice(function.as_bytes());
        self.cell = Some(Cell::default());
        self.command(b'R', &payload)
    }

    fn worker_frames(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; MAX_PAYLOAD * 2];
        loop {
            let frame = match socket::try_recv(self.commands.as_fd(), &mut buffer) {
                // The worker is gone; its end is noticed as that of a child.
                Ok([]) => return Ok(()),
                Ok(frame) => frame.to_vec(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            };
            match frame.split_first() {
                Some((b'C', checkpoint)) => self.checkpointed(checkpoint),
                Some((b'J', checkpoint)) => {
                    self.in_callback = true;
                    self.spare = Checkpoint::parse(checkpoint);
                }
                Some((b'j', _)) => {
                    self.in_callback = false;
                    self.end_callback_at = None;
                }
                Some((b'I', question)) => {
                    // What was printed is, or goes with, the prompt.
                    self.drain();
                    self.parse(|parser, found| parser.release(found));
                    self.queue.push_back([b"a", question].concat());
                }
                Some((b'D', time)) => {
                    self.queue.push_back([&b"r"[..], time].concat());
                    self.cell_done()?;
                }
                Some((b'E', text)) => {
                    self.tell(FromChild::Stderr(text.to_vec()));
                    self.tell(FromChild::Panicked);
                    self.cell_done()?;
                }
                Some((b'P', payload)) => self.panicked(payload),
                Some((b'w' | b'v', _)) => self.queue.push_back(frame),
                _ => {}
            }
        }
    }

    fn checkpointed(&mut self, checkpoint: &[u8]) {
        // The worker has ended the spare one.
        self.spare = None;
        if let Some(cell) = &mut self.cell {
            cell.checkpoint = Checkpoint::parse(checkpoint);
        }
    }

    /// One piece of a message, after everything that was printed before it. While the kernel does
    /// not keep up, none is taken.
    fn take_message(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; MAX_PAYLOAD * 2];
        let (flags, number) = match socket::try_recv(self.messages.as_fd(), &mut buffer) {
            Ok(frame) => {
                let Some((flags, rest)) = frame.split_first() else { return Ok(()) };
                let Some((number, piece)) = rest.split_first_chunk::<8>() else { return Ok(()) };
                let (flags, number, piece) = (*flags, *number, piece.to_vec());
                if flags & wire::FIRST != 0 {
                    self.worker_frames()?;
                    self.drain();
                    self.parse(|parser, found| parser.release(found));
                }
                self.tell(FromChild::Message(flags, piece));
                (flags, number)
            }
            // The worker is gone; its end is noticed as that of a child.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if flags & wire::LAST != 0 {
            // The worker waits for it, so there is room, unless the worker has just died.
            let _ = socket::try_send(self.messages.as_fd(), &number);
        }
        Ok(())
    }

    fn panicked(&mut self, payload: &[u8]) {
        let mut frame = vec![b'p'];
        frame.extend_from_slice(payload);
        self.queue.push_back(frame);
    }

    fn cell_done(&mut self) -> io::Result<()> {
        if self.ended_worker_waits()? {
            return Ok(());
        }
        self.drain();
        self.parse(|parser, found| parser.finish(found));
        let Some(cell) = self.cell.take() else { return Ok(()) };
        if let Some(checkpoint) = cell.checkpoint {
            signals::kill(checkpoint.pid, libc::SIGKILL);
            // It is a child of the worker, which may have died a moment ago.
            let _ = self.command(b'Z', &[]);
        }
        let mut lines = cell.notices;
        lines.push("EVCXR_EXECUTION_COMPLETE\n".to_owned());
        to_evcxr(lines.join("\n").as_bytes())
    }

    /// Whether the worker, though its cell is done, has ended: then the checkpoint, which is still
    /// there, takes over.
    fn ended_worker_waits(&mut self) -> io::Result<bool> {
        let worker = self.worker;
        self.ended_children()?;
        Ok(self.over || self.worker != worker)
    }

    fn ended_children(&mut self) -> io::Result<()> {
        while let Some((pid, cause)) = signals::reap_any() {
            if pid == self.worker {
                self.worker_ended(cause)?;
            } else if let Some(cell) = &mut self.cell
                && cell.checkpoint.is_some_and(|checkpoint| checkpoint.pid == pid)
            {
                cell.checkpoint = None;
            }
        }
        Ok(())
    }

    fn worker_ended(&mut self, cause: Cause) -> io::Result<()> {
        self.last_words();
        self.drain();
        self.parse(|parser, found| parser.finish(found));
        let cell = self.cell.take();
        let interrupted = cell.as_ref().map_or(self.end_callback_at.is_some(), |cell| cell.interrupted);
        let cell_ran = cell.is_some();
        // Without one of the cell's own: the cell had to wait for a callback that did not end.
        let checkpoint = cell.and_then(|cell| cell.checkpoint).or(self.spare.take());
        let checkpoint = checkpoint.filter(|checkpoint| signals::exists(checkpoint.pid));
        (self.in_callback, self.end_callback_at) = (false, None);
        // What was meant for the dead worker.
        self.events.waiting.clear();
        self.answers.waiting.clear();
        let (restored, threads) = (checkpoint.is_some(), checkpoint.map_or(0, |c| c.threads));
        self.tell(FromChild::Death(Death { cause, restored, interrupted, threads }));
        match checkpoint {
            Some(checkpoint) => {
                self.worker = checkpoint.pid;
                // Should it be dead as well, its own end tells so.
                let _ = self.command(b'K', &[u8::from(self.takes_checkpoints)]);
                let _ = self.command(b'T', &[]);
                if cell_ran { to_evcxr(FORGET_THIS_CELL) } else { Ok(()) }
            }
            None => {
                self.over = true;
                Ok(())
            }
        }
    }

    /// What the dead worker still had to say: its checkpoint, a panic. "Done" no longer counts.
    fn last_words(&mut self) {
        let mut buffer = vec![0; MAX_PAYLOAD * 2];
        while let Ok(frame @ [_, ..]) = socket::try_recv(self.commands.as_fd(), &mut buffer) {
            match frame.split_first() {
                Some((b'C', checkpoint)) => self.checkpointed(checkpoint),
                Some((b'J', checkpoint)) => self.spare = Checkpoint::parse(checkpoint),
                Some((b'P', payload)) => self.panicked(payload),
                // The kernel waits for these, whoever has done it.
                Some((b'w' | b'v', _)) => self.queue.push_back(frame.to_vec()),
                _ => {}
            }
        }
        // Whatever is complete of what it wanted to show is shown; it waits for no answer.
        while let Ok([flags, _, _, _, _, _, _, _, _, piece @ ..]) =
            socket::try_recv(self.messages.as_fd(), &mut buffer)
        {
            self.queue.push_back(FromChild::Message(*flags, piece.to_vec()).encode());
        }
    }

    /// Takes what the worker has printed so far.
    fn drain(&mut self) {
        let mut left = MAX_DRAIN;
        while left > 0 {
            let taken = self.take_stdout(MAX_PAYLOAD.min(left));
            left -= taken;
            if taken == 0 {
                break;
            }
        }
        let mut left = MAX_DRAIN;
        while left > 0 {
            let taken = self.take_stderr(MAX_PAYLOAD.min(left));
            left -= taken;
            if taken == 0 {
                break;
            }
        }
        if self.cell.is_none() {
            self.parse(|parser, found| parser.release(found));
        }
    }

    fn take_stdout(&mut self, most: usize) -> usize {
        let mut buffer = vec![0; most];
        let Ok(bytes) = socket::read(self.stdout.as_fd(), &mut buffer) else { return 0 };
        let (len, bytes) = (bytes.len(), bytes.to_vec());
        self.parse(|parser, found| parser.feed(&bytes, found));
        self.hold_until = self.parser.holds_text().then(|| Instant::now() + HOLD);
        len
    }

    fn take_stderr(&mut self, most: usize) -> usize {
        let mut buffer = vec![0; most];
        let Ok(bytes) = socket::read(self.stderr.as_fd(), &mut buffer) else { return 0 };
        let (len, bytes) = (bytes.len(), bytes.to_vec());
        if len > 0 {
            self.tell(FromChild::Stderr(bytes));
        }
        len
    }

    /// Turns what the parser finds into frames for the kernel and notices for evcxr.
    fn parse(&mut self, call: impl FnOnce(&mut Parser, &mut dyn FnMut(Piece<'_>))) {
        let Self { parser, queue, cell, .. } = self;
        let mut notice = |line: String| {
            if let Some(cell) = cell {
                cell.notices.push(line);
            }
        };
        call(parser, &mut |piece| {
            let frame = match piece {
                Piece::Text(bytes) => {
                    for chunk in bytes.chunks(MAX_PAYLOAD) {
                        queue.push_back(FromChild::Stdout(chunk.to_vec()).encode());
                    }
                    return;
                }
                Piece::Data(bytes) => {
                    for chunk in bytes.chunks(MAX_PAYLOAD) {
                        queue.push_back(FromChild::ContentData(chunk.to_vec()).encode());
                    }
                    return;
                }
                Piece::Begin(mime) => FromChild::ContentBegin(mime.to_owned()),
                Piece::End => FromChild::ContentEnd,
                Piece::Panicked => {
                    notice(stdout::PANICKED.to_owned());
                    FromChild::Panicked
                }
                Piece::EarlyReturn => {
                    notice(stdout::EARLY_RETURN.to_owned());
                    FromChild::EarlyReturn
                }
                Piece::TypeChanged(name) => {
                    notice(format!("{}{name}", stdout::TYPE_CHANGED));
                    return;
                }
            };
            queue.push_back(frame.encode());
        });
    }

    /// Leaves nothing behind: processes of the session's group, and the temporary folder if the
    /// kernel cannot remove it any more.
    fn end(&mut self, leader: bool) {
        let _ = self.send_queue();
        let checkpoint = self.cell.as_ref().and_then(|cell| cell.checkpoint);
        let copies = [checkpoint, self.spare].into_iter().flatten().map(|checkpoint| checkpoint.pid);
        for pid in copies.chain([self.worker]) {
            signals::kill(pid, libc::SIGKILL);
        }
        if let Some(folder) = self.remove_at_end.take().filter(|_| self.kernel_gone) {
            let _ = std::fs::remove_dir_all(folder);
        }
        if leader {
            // This process is of the group as well, and its work is done.
            signals::kill(-signals::own_pid(), libc::SIGKILL);
        }
    }
}

fn to_evcxr(bytes: &[u8]) -> io::Result<()> {
    // SAFETY: descriptor 1 is open for the whole life of this process.
    socket::write_all(unsafe { BorrowedFd::borrow_raw(1) }, bytes)
}
