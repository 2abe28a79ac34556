//! Where messages to the kernel go: its socket, the terminal when there is no kernel, or a list in
//! memory for tests.

use crate::wire::{self, Form, Show, Up, What};
use std::io::{self, Write};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) trait Port: Send + Sync {
    /// Returns when the message is in its place among what this thread prints.
    fn send(&self, up: &Up) -> io::Result<()>;
    /// Asks the user for a line.
    fn ask(&self, prompt: &str, password: bool) -> io::Result<String>;
    /// Calls back while no message is half sent.
    fn hold_still(&self, call: &mut dyn FnMut()) {
        call();
    }
}

/// The function of the worker's that asks the user: prompt, its length, password or not, and who
/// takes the answer. Returns 0, or what [`Kernel::ask`] makes of it.
pub type Ask = unsafe extern "C" fn(
    *const u8,
    usize,
    bool,
    extern "C" fn(*mut Vec<u8>, *const u8, usize),
    *mut Vec<u8>,
) -> i32;

/// The kernel, behind a socket of the worker's that keeps message boundaries.
///
/// A message goes out in pieces, each with its flags and the message's number in front; the other
/// side answers with the number when it has the whole and has read what was printed before it. So
/// what the thread prints next cannot overtake the message. One message at a time.
pub(crate) struct Kernel {
    socket: UnixDatagram,
    sent: Mutex<u64>,
    ask: Ask,
}

impl Kernel {
    /// # Safety
    /// `socket` must be an open socket that nobody else in this process reads or writes.
    pub unsafe fn new(socket: RawFd, ask: Ask) -> Self {
        // SAFETY: the caller says so.
        let socket = unsafe { UnixDatagram::from_raw_fd(socket) };
        Self { socket, sent: Mutex::new(0), ask }
    }

    fn turn(&self) -> MutexGuard<'_, u64> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, number: &[u8; 8]) -> io::Result<()> {
        let mut answer = [0; 8];
        // An answer to another number was meant for a process whose place this one took.
        loop {
            match self.socket.recv(&mut answer) {
                Ok(0) => return Err(io::ErrorKind::BrokenPipe.into()),
                Ok(_) if answer == *number => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Port for Kernel {
    fn send(&self, up: &Up) -> io::Result<()> {
        let message = up.encode();
        if message.len() > wire::MAX_MESSAGE {
            let (len, most) = (message.len() >> 20, wire::MAX_MESSAGE >> 20);
            let text = format!("{len} MiB are too much for one message; the most is {most} MiB");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut sent = self.turn();
        *sent += 1;
        // Copies of this process count on from the same number.
        let number = (u64::from(std::process::id()) << 32 | (*sent & 0xffff_ffff)).to_le_bytes();
        let mut frame = Vec::with_capacity(wire::MAX_PIECE.min(message.len()) + 9);
        for (flags, piece) in wire::pieces(&message) {
            frame.clear();
            frame.push(flags);
            frame.extend_from_slice(&number);
            frame.extend_from_slice(piece);
            while let Err(error) = self.socket.send(&frame) {
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
        self.wait_for(&number)
    }

    fn ask(&self, prompt: &str, password: bool) -> io::Result<String> {
        extern "C" fn take(into: *mut Vec<u8>, from: *const u8, len: usize) {
            // SAFETY: the pointer is that of `line` below; the bytes are the caller's.
            unsafe { (*into).extend_from_slice(std::slice::from_raw_parts(from, len)) };
        }
        let mut line: Vec<u8> = Vec::new();
        // SAFETY: prompt and line live across the call.
        let result = unsafe { (self.ask)(prompt.as_ptr(), prompt.len(), password, take, &raw mut line) };
        match result {
            0 => Ok(String::from_utf8_lossy(&line).into_owned()),
            1 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "nobody can be asked: no input here")),
            _ => Err(io::Error::other("the kernel cannot be asked")),
        }
    }

    fn hold_still(&self, call: &mut dyn FnMut()) {
        let _turn = self.turn();
        call();
    }
}

/// No kernel: texts are printed, questions asked on standard input.
pub(crate) struct Terminal;

impl Port for Terminal {
    fn send(&self, up: &Up) -> io::Result<()> {
        match &up.what {
            What::Show(show) => match text_of(show) {
                Some(text) => writeln!(io::stdout(), "{text}"),
                None => Ok(()),
            },
            What::Comm(_) => Err(io::Error::new(io::ErrorKind::NotConnected, "there is no front end")),
            _ => Ok(()),
        }
    }

    fn ask(&self, prompt: &str, _: bool) -> io::Result<String> {
        print!("{prompt}");
        io::stdout().flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end_matches(['\n', '\r']).len());
        Ok(line)
    }
}

/// What a terminal can show of it.
fn text_of(show: &Show) -> Option<String> {
    let part = |mime: &str| show.parts.iter().find(|part| part.mime == mime && part.form == Form::Text);
    let part = part("text/plain").or_else(|| part("text/markdown"));
    match part {
        Some(part) => Some(String::from_utf8_lossy(&part.data).into_owned()),
        None => show.parts.first().map(|part| format!("[{}]", part.mime)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Assembler;
    use std::os::fd::IntoRawFd;

    unsafe extern "C" fn nobody(
        _: *const u8,
        _: usize,
        _: bool,
        _: extern "C" fn(*mut Vec<u8>, *const u8, usize),
        _: *mut Vec<u8>,
    ) -> i32 {
        1
    }

    #[test]
    fn threads_do_not_mix_their_messages() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        // SAFETY: handed over.
        let kernel = unsafe { Kernel::new(theirs.into_raw_fd(), nobody) };
        let long = |number: u64| Up { origin: number, what: What::Target("x".repeat(200_000), true) };
        let mut got = std::thread::scope(|scope| {
            for number in 0..4 {
                let kernel = &kernel;
                scope.spawn(move || kernel.send(&long(number)).unwrap());
            }
            let mut assembler = Assembler::default();
            let mut got = Vec::new();
            let mut buffer = vec![0; wire::MAX_PIECE + 9];
            while got.len() < 4 {
                let len = ours.recv(&mut buffer).unwrap();
                if let Some(message) = assembler.add(buffer[0], &buffer[9..len]) {
                    got.push(Up::decode(&message).unwrap());
                    // An answer for somebody else is no answer.
                    ours.send(&[0; 8]).unwrap();
                    ours.send(&buffer[1..9]).unwrap();
                }
            }
            got
        });
        got.sort_by_key(|up| up.origin);
        assert_eq!(got, (0..4).map(long).collect::<Vec<_>>());
    }

    #[test]
    fn a_kernel_that_is_gone_is_an_error() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        // SAFETY: handed over.
        let kernel = unsafe { Kernel::new(theirs.into_raw_fd(), nobody) };
        drop(ours);
        assert!(kernel.send(&Up { origin: 0, what: What::Clear(true) }).is_err());
        assert_eq!(kernel.ask("?", false).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn terminals_show_text() {
        let part = |mime: &str| wire::Part { mime: mime.into(), form: Form::Text, data: b"x".to_vec() };
        let show =
            |mimes: &[&str]| Show { parts: mimes.iter().map(|m| part(m)).collect(), ..Show::default() };
        assert_eq!(text_of(&show(&["text/html", "text/plain"])).unwrap(), "x");
        assert_eq!(text_of(&show(&["image/png"])).unwrap(), "[image/png]");
        assert_eq!(text_of(&show(&[])), None);
    }
}
