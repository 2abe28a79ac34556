//! What the kernel and the supervisor of the child say to each other: one datagram each, on a
//! socket of their own, so that nothing a cell prints can be taken for control.
//!
//! Assumes a socket that keeps message boundaries (`SOCK_SEQPACKET`). Does not send or receive.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Longest payload of one frame, in bytes; below the default send buffer of a local socket.
pub(crate) const MAX_PAYLOAD: usize = 32 * 1024;
/// Most functions read of a panic's stack.
const MAX_FRAMES: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToChild {
    /// A cell begins: an interrupt that comes before its code is loaded refers to it.
    Begin,
    Interrupt,
    /// Asks for [`FromChild::Synced`] once everything said before has been passed on.
    Sync(u64),
    Chdir(PathBuf),
    /// A folder to remove when the kernel is gone.
    RemoveAtEnd(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FromChild {
    /// A new child is up.
    Hello,
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// A value in one MIME type; its data follows.
    ContentBegin(String),
    ContentData(Vec<u8>),
    ContentEnd,
    Panic(Panic),
    /// The cell's code caught a panic at its very end: the cell failed.
    Panicked,
    /// `?` left the cell early.
    EarlyReturn,
    Death(Death),
    Synced(u64),
    /// The answer to `Chdir`: 0 or an errno.
    Cwd(i32),
}

/// A panic as the hook inside the user's process saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Panic {
    /// On the thread that runs cells.
    pub main: bool,
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub thread: String,
    pub message: String,
    /// What was being called, innermost first.
    pub frames: Vec<Frame>,
}

/// A call on the stack of a panic: where in which file's code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub module: PathBuf,
    pub offset: u64,
}

/// How the process that runs cells ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    pub cause: Cause,
    /// The checkpoint taken before the cell has taken over.
    pub restored: bool,
    /// The user asked for it.
    pub interrupted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Exit(i32),
    Signal(i32),
}

impl ToChild {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            ToChild::Begin => vec![b'B'],
            ToChild::Interrupt => vec![b'I'],
            ToChild::Sync(n) => tagged(b'S', &n.to_le_bytes()),
            ToChild::Chdir(path) => tagged(b'W', path.as_os_str().as_bytes()),
            ToChild::RemoveAtEnd(path) => tagged(b'T', path.as_os_str().as_bytes()),
        }
    }

    pub(crate) fn decode(frame: &[u8]) -> Option<Self> {
        let (tag, rest) = frame.split_first()?;
        Some(match tag {
            b'B' => ToChild::Begin,
            b'I' => ToChild::Interrupt,
            b'S' => ToChild::Sync(u64::from_le_bytes(rest.try_into().ok()?)),
            b'W' => ToChild::Chdir(path(rest)),
            b'T' => ToChild::RemoveAtEnd(path(rest)),
            _ => return None,
        })
    }
}

impl FromChild {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            FromChild::Hello => vec![b'h'],
            FromChild::Stdout(bytes) => tagged(b'o', bytes),
            FromChild::Stderr(bytes) => tagged(b'e', bytes),
            FromChild::ContentBegin(mime) => tagged(b'b', mime.as_bytes()),
            FromChild::ContentData(bytes) => tagged(b'd', bytes),
            FromChild::ContentEnd => vec![b'f'],
            FromChild::Panic(panic) => tagged(b'p', &panic.encode()),
            FromChild::Panicked => vec![b'P'],
            FromChild::EarlyReturn => vec![b'q'],
            FromChild::Death(death) => {
                let (kind, code) = match death.cause {
                    Cause::Exit(code) => (0, code),
                    Cause::Signal(signal) => (1, signal),
                };
                let mut frame = vec![b'x', kind, death.restored.into(), death.interrupted.into()];
                frame.extend(code.to_le_bytes());
                frame
            }
            FromChild::Synced(n) => tagged(b's', &n.to_le_bytes()),
            FromChild::Cwd(errno) => tagged(b'w', &errno.to_le_bytes()),
        }
    }

    pub(crate) fn decode(frame: &[u8]) -> Option<Self> {
        let (tag, rest) = frame.split_first()?;
        Some(match tag {
            b'h' => FromChild::Hello,
            b'o' => FromChild::Stdout(rest.to_vec()),
            b'e' => FromChild::Stderr(rest.to_vec()),
            b'b' => FromChild::ContentBegin(String::from_utf8_lossy(rest).into_owned()),
            b'd' => FromChild::ContentData(rest.to_vec()),
            b'f' => FromChild::ContentEnd,
            b'p' => FromChild::Panic(Panic::decode(rest)?),
            b'P' => FromChild::Panicked,
            b'q' => FromChild::EarlyReturn,
            b'x' => {
                let [kind, restored, interrupted, code @ ..] = rest else { return None };
                let code = i32::from_le_bytes(code.try_into().ok()?);
                let cause = if *kind == 0 { Cause::Exit(code) } else { Cause::Signal(code) };
                FromChild::Death(Death { cause, restored: *restored != 0, interrupted: *interrupted != 0 })
            }
            b's' => FromChild::Synced(u64::from_le_bytes(rest.try_into().ok()?)),
            b'w' => FromChild::Cwd(i32::from_le_bytes(rest.try_into().ok()?)),
            _ => return None,
        })
    }
}

impl Panic {
    /// Fields parted by NUL, the message last; the hook of [`crate::prelude`] writes the same.
    /// Frames are lines of an offset (in hex), a tab, and a path.
    fn encode(&self) -> Vec<u8> {
        let Self { main, file, line, column, thread, message, frames } = self;
        let thread = thread.replace('\0', " ");
        let frames: String = frames
            .iter()
            .map(|Frame { module, offset }| format!("{offset:x}\t{}\n", module.display()))
            .collect();
        format!("{}\0{file}\0{line}\0{column}\0{thread}\0{frames}\0{message}", u8::from(*main)).into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut fields = text.splitn(7, '\0');
        Some(Panic {
            main: fields.next()? == "1",
            file: fields.next()?.to_owned(),
            line: fields.next()?.parse().ok()?,
            column: fields.next()?.parse().ok()?,
            thread: fields.next()?.to_owned(),
            frames: fields.next()?.lines().filter_map(Frame::decode).take(MAX_FRAMES).collect(),
            message: fields.next()?.to_owned(),
        })
    }
}

impl Frame {
    fn decode(line: &str) -> Option<Self> {
        let (offset, module) = line.split_once('\t')?;
        Some(Self { module: module.into(), offset: u64::from_str_radix(offset, 16).ok()? })
    }
}

fn tagged(tag: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 1);
    frame.push(tag);
    frame.extend_from_slice(payload);
    frame
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()))
}

/// The two texts of a `LOAD_AND_RUN path function` line; the path may hold spaces.
pub(crate) fn parse_load_and_run(line: &[u8]) -> Option<(&Path, &str)> {
    let rest = line.strip_prefix(b"LOAD_AND_RUN ")?;
    let space = rest.iter().rposition(|byte| *byte == b' ')?;
    let (so, function) = (rest.get(..space)?, rest.get(space + 1..)?);
    Some((Path::new(OsStr::from_bytes(so)), std::str::from_utf8(function).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_wire() {
        for frame in [
            ToChild::Begin,
            ToChild::Interrupt,
            ToChild::Sync(u64::MAX),
            ToChild::Chdir("/tmp/é x".into()),
            ToChild::RemoveAtEnd("/tmp/y".into()),
        ] {
            assert_eq!(ToChild::decode(&frame.encode()), Some(frame));
        }
        let death = |cause| FromChild::Death(Death { cause, restored: true, interrupted: false });
        for frame in [
            FromChild::Hello,
            FromChild::Stdout(vec![0, 255]),
            FromChild::ContentBegin("image/png".into()),
            FromChild::Panic(Panic {
                main: true,
                file: "src/lib.rs".into(),
                line: 7,
                column: 3,
                thread: "worker".into(),
                message: "a\0b\nc".into(),
                frames: vec![
                    Frame { module: "/tmp/a b.so".into(), offset: 0xabc },
                    Frame { module: "/tmp/c.so".into(), offset: 0 },
                ],
            }),
            death(Cause::Exit(-1)),
            death(Cause::Signal(11)),
            FromChild::Synced(3),
            FromChild::Cwd(2),
        ] {
            assert_eq!(FromChild::decode(&frame.encode()), Some(frame));
        }
        for bad in [&b""[..], b"?", b"S1", b"x\0", b"pno"] {
            assert_eq!(ToChild::decode(bad).map(|_| ()), None);
            assert_eq!(FromChild::decode(bad).map(|_| ()), None);
        }
    }

    #[test]
    fn load_and_run_lines() {
        assert_eq!(
            parse_load_and_run(b"LOAD_AND_RUN /tmp/a b/x.so run_user_code_0"),
            Some((Path::new("/tmp/a b/x.so"), "run_user_code_0"))
        );
        assert_eq!(parse_load_and_run(b"LOAD_AND_RUN x"), None);
    }
}
