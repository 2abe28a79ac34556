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
    /// A variable of the environment; none removes it.
    SetEnv(String, Option<String>),
    /// A folder to remove when the kernel is gone.
    RemoveAtEnd(PathBuf),
    /// Whether checkpoints are taken.
    Checkpoints(bool),
    /// A piece of a comm message, with its flags.
    Comm(u8, Vec<u8>),
    /// A piece of the answer to a question, with its flags. The last one says whether there is an
    /// answer at all.
    Answer {
        question: u64,
        flags: u8,
        answered: bool,
        text: Vec<u8>,
    },
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
    /// A piece of a message of the runtime's ([`dds::wire::Up`]), with its flags.
    Message(u8, Vec<u8>),
    Ask(Question),
    /// The answer to `SetEnv`: 0 or an errno.
    EnvSet(i32),
    /// How long the cell's code has run, in nanoseconds: on the clock, and of all its threads.
    Ran {
        wall: u64,
        cpu: u64,
    },
}

/// The process of the cells wants a line of the user's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Question {
    pub number: u64,
    pub password: bool,
    /// None for a plain read of standard input: what was printed last asks.
    pub prompt: Option<String>,
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
    /// Threads of earlier cells that the checkpoint does not have.
    pub threads: u32,
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
            ToChild::SetEnv(name, value) => tagged(b'V', &assignment(name, value.as_deref())),
            ToChild::RemoveAtEnd(path) => tagged(b'T', path.as_os_str().as_bytes()),
            ToChild::Checkpoints(on) => vec![b'K', u8::from(*on)],
            ToChild::Comm(flags, piece) => flagged(b'C', *flags, piece),
            ToChild::Answer { question, flags, answered, text } => {
                let mut frame = flagged(b'A', *flags, &question.to_le_bytes());
                frame.push(u8::from(*answered));
                frame.extend_from_slice(text);
                frame
            }
        }
    }

    pub(crate) fn decode(frame: &[u8]) -> Option<Self> {
        let (tag, rest) = frame.split_first()?;
        Some(match tag {
            b'B' => ToChild::Begin,
            b'I' => ToChild::Interrupt,
            b'S' => ToChild::Sync(u64::from_le_bytes(rest.try_into().ok()?)),
            b'W' => ToChild::Chdir(path(rest)),
            b'V' => {
                parse_assignment(rest).map(|(n, v)| ToChild::SetEnv(n.to_owned(), v.map(str::to_owned)))?
            }
            b'T' => ToChild::RemoveAtEnd(path(rest)),
            b'K' => ToChild::Checkpoints(*rest.first()? != 0),
            b'C' => {
                let (flags, piece) = rest.split_first()?;
                ToChild::Comm(*flags, piece.to_vec())
            }
            b'A' => {
                let (flags, rest) = rest.split_first()?;
                let (question, rest) = rest.split_first_chunk()?;
                let (answered, text) = rest.split_first()?;
                ToChild::Answer {
                    question: u64::from_le_bytes(*question),
                    flags: *flags,
                    answered: *answered != 0,
                    text: text.to_vec(),
                }
            }
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
                frame.extend(death.threads.to_le_bytes());
                frame.extend(code.to_le_bytes());
                frame
            }
            FromChild::Message(flags, piece) => flagged(b'm', *flags, piece),
            FromChild::Ask(question) => tagged(b'a', &question.encode()),
            FromChild::Synced(n) => tagged(b's', &n.to_le_bytes()),
            FromChild::Cwd(errno) => tagged(b'w', &errno.to_le_bytes()),
            FromChild::EnvSet(errno) => tagged(b'v', &errno.to_le_bytes()),
            FromChild::Ran { wall, cpu } => tagged(b'r', &[wall.to_le_bytes(), cpu.to_le_bytes()].concat()),
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
                let (threads, code) = code.split_first_chunk()?;
                let threads = u32::from_le_bytes(*threads);
                let code = i32::from_le_bytes(code.try_into().ok()?);
                let cause = if *kind == 0 { Cause::Exit(code) } else { Cause::Signal(code) };
                let (restored, interrupted) = (*restored != 0, *interrupted != 0);
                FromChild::Death(Death { cause, restored, interrupted, threads })
            }
            b'm' => {
                let (flags, piece) = rest.split_first()?;
                FromChild::Message(*flags, piece.to_vec())
            }
            b'a' => FromChild::Ask(Question::decode(rest)?),
            b's' => FromChild::Synced(u64::from_le_bytes(rest.try_into().ok()?)),
            b'w' => FromChild::Cwd(i32::from_le_bytes(rest.try_into().ok()?)),
            b'v' => FromChild::EnvSet(i32::from_le_bytes(rest.try_into().ok()?)),
            b'r' => {
                let (wall, cpu) = rest.split_at_checked(8)?;
                let nanos = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
                FromChild::Ran { wall: nanos(wall)?, cpu: nanos(cpu)? }
            }
            _ => return None,
        })
    }
}

impl Question {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.number.to_le_bytes().to_vec();
        bytes.extend([u8::from(self.password), u8::from(self.prompt.is_some())]);
        bytes.extend_from_slice(self.prompt.as_deref().unwrap_or("").as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let [password, has_prompt, prompt @ ..] = rest else { return None };
        let prompt = (*has_prompt != 0).then(|| String::from_utf8_lossy(prompt).into_owned());
        Some(Self { number: u64::from_le_bytes(*number), password: *password != 0, prompt })
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

fn flagged(tag: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 2);
    frame.extend([tag, flags]);
    frame.extend_from_slice(payload);
    frame
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()))
}

/// `NAME=VALUE`, or `NAME` alone for one that is removed; a name holds no `=`.
pub(crate) fn assignment(name: &str, value: Option<&str>) -> Vec<u8> {
    value.map_or_else(|| name.to_owned(), |value| format!("{name}={value}")).into_bytes()
}

/// What [`assignment`] has put together.
pub(crate) fn parse_assignment(bytes: &[u8]) -> Option<(&str, Option<&str>)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let fits = !name.is_empty() && !text.contains('\0');
    fits.then_some((name, value))
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
            ToChild::Checkpoints(false),
            ToChild::Comm(3, vec![0, 1]),
            ToChild::Answer { question: 1 << 40, flags: 2, answered: true, text: vec![0, 255] },
            ToChild::SetEnv("A".into(), Some("b=c é".into())),
            ToChild::SetEnv("A".into(), Some(String::new())),
            ToChild::SetEnv("A".into(), None),
        ] {
            assert_eq!(ToChild::decode(&frame.encode()), Some(frame));
        }
        let death = |cause| FromChild::Death(Death { cause, restored: true, interrupted: false, threads: 7 });
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
            FromChild::Message(1, vec![2, 3]),
            FromChild::Ask(Question { number: 9, password: true, prompt: Some("é? ".into()) }),
            FromChild::Ask(Question::default()),
            FromChild::EnvSet(22),
            FromChild::Ran { wall: 5, cpu: u64::MAX },
        ] {
            assert_eq!(FromChild::decode(&frame.encode()), Some(frame));
        }
        for bad in [
            &b""[..],
            b"?",
            b"S1",
            b"x\0",
            b"pno",
            b"A12",
            b"C",
            b"m",
            b"a12345678",
            b"V",
            b"V=x",
            b"VA=\0",
            b"r1",
            b"v",
        ] {
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
