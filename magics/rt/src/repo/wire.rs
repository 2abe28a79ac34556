//! Questions about repositories and their answers, as bytes. Both ends are of the same version of
//! the program.
//!
//! One connection, one question. A question is a length of four bytes and what [`Ask::encode`]
//! makes. An answer is a row of frames ([`frame`]): pieces of data, then an end or an error.

use super::entry::{Entry, Keeper};
use super::error::{Error, ErrorKind};
use crate::wire::{Reader, Writer};

/// Environment variable with the path of the socket.
pub const SOCKET_VAR: &str = "DDS_REPOSITORIES";
/// Longest question, in bytes.
pub const MAX_ASK: usize = 4 << 20;
/// Longest payload of one frame of an answer, in bytes.
pub const MAX_PIECE: usize = 1 << 20;

/// A question about the repository that `target` names, seen from the folder `cwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub cwd: String,
    pub target: String,
    pub what: What,
}

/// Paths are relative to what the target names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The end is an [`Opened`]. With `true` a branch is at its newest commit.
    Open(bool),
    /// Follows the branch. The end is an [`Opened`].
    Refresh,
    /// The end is one entry.
    Stat(String),
    /// The pieces are entries; with `true` of all files below.
    List(String, bool),
    /// The pieces are the bytes from … to before …, cut at the file's end.
    /// With the digest that was told of the file: another version is a conflict.
    Read(String, u64, u64, Option<String>),
    /// These files will be read next; the folders are to be listed before.
    Announce(Vec<String>, Vec<String>),
    /// The end is an [`Uploaded`].
    Upload { files: Vec<String>, to: String, message: Option<String> },
}

/// What an opened repository is. Holds no credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// `URL@commit`.
    pub id: String,
    pub branch: Option<String>,
    /// What the target names inside the repository; empty for all of it.
    pub path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uploaded {
    pub commit: String,
    pub branch: String,
    /// False when the repository held all of it already.
    pub changed: bool,
}

/// A frame of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Piece(Vec<u8>),
    End(Vec<u8>),
    Failed(Error),
}

/// A frame's bytes: tag, length, payload.
pub fn frame(frame: &Frame) -> Vec<u8> {
    let failed;
    let (tag, payload) = match frame {
        Frame::Piece(bytes) => (b'd', bytes),
        Frame::End(bytes) => (b'.', bytes),
        Frame::Failed(error) => {
            failed = encode_error(error);
            (b'!', &failed)
        }
    };
    let mut out = Writer(Vec::with_capacity(payload.len() + 5));
    out.u8(tag);
    out.bytes(payload);
    out.0
}

impl Frame {
    /// Tag and length of the frame that begins with these bytes; none when it cannot be one.
    pub fn head(head: [u8; 5]) -> Option<(u8, usize)> {
        let [tag, length @ ..] = head;
        let len = usize::try_from(u32::from_le_bytes(length)).ok()?;
        (b"d.!".contains(&tag) && len <= MAX_PIECE).then_some((tag, len))
    }

    pub fn decode(tag: u8, payload: Vec<u8>) -> Option<Self> {
        match tag {
            b'd' => Some(Self::Piece(payload)),
            b'.' => Some(Self::End(payload)),
            b'!' => decode_error(&payload).map(Self::Failed),
            _ => None,
        }
    }
}

impl Ask {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.text(&self.cwd);
        out.text(&self.target);
        match &self.what {
            What::Open(newest) => {
                out.u8(b'O');
                out.u8(u8::from(*newest));
            }
            What::Refresh => out.u8(b'F'),
            What::Stat(path) => {
                out.u8(b'S');
                out.text(path);
            }
            What::List(path, deep) => {
                out.u8(b'L');
                out.text(path);
                out.u8(u8::from(*deep));
            }
            What::Read(path, from, to, digest) => {
                out.u8(b'R');
                out.text(path);
                out.u64(*from);
                out.u64(*to);
                option(&mut out, digest.as_deref());
            }
            What::Announce(folders, paths) => {
                out.u8(b'A');
                texts(&mut out, folders);
                texts(&mut out, paths);
            }
            What::Upload { files, to, message } => {
                out.u8(b'U');
                texts(&mut out, files);
                out.text(to);
                option(&mut out, message.as_deref());
            }
        }
        out.0
    }

    /// None for what [`Ask::encode`] has not made.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let (cwd, target) = (from.text()?, from.text()?);
        let what = match from.u8()? {
            b'O' => What::Open(from.u8()? == 1),
            b'F' => What::Refresh,
            b'S' => What::Stat(from.text()?),
            b'L' => What::List(from.text()?, from.u8()? == 1),
            b'R' => What::Read(from.text()?, from.u64()?, from.u64()?, read_option(&mut from)?),
            b'A' => What::Announce(read_texts(&mut from)?, read_texts(&mut from)?),
            b'U' => What::Upload {
                files: read_texts(&mut from)?,
                to: from.text()?,
                message: read_option(&mut from)?,
            },
            _ => return None,
        };
        from.0.is_empty().then_some(Self { cwd, target, what })
    }
}

impl Opened {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.text(&self.id);
        option(&mut out, self.branch.as_deref());
        out.text(&self.path);
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        Some(Self { id: from.text()?, branch: read_option(&mut from)?, path: from.text()? })
    }
}

impl Uploaded {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.text(&self.commit);
        out.text(&self.branch);
        out.u8(u8::from(self.changed));
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        Some(Self { commit: from.text()?, branch: from.text()?, changed: from.u8()? == 1 })
    }
}

/// Appends an entry.
pub fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    let mut writer = Writer(std::mem::take(out));
    writer.text(&entry.path);
    writer.u8(match entry.kept_by {
        Keeper::Git => 0,
        Keeper::Dvc => 1,
        Keeper::Bucket => 2,
        Keeper::ThisMachine => 3,
    });
    writer.u8(u8::from(entry.is_folder) | u8::from(entry.len.is_some()) << 1);
    writer.u64(entry.len.unwrap_or(0));
    option(&mut writer, entry.digest.as_deref());
    *out = writer.0;
}

/// All entries of a piece; none when it is damaged.
pub fn entries(piece: &[u8]) -> Option<Vec<Entry>> {
    let mut from = Reader(piece);
    let mut found = Vec::new();
    while !from.0.is_empty() {
        let path = from.text()?;
        let kept_by = match from.u8()? {
            0 => Keeper::Git,
            1 => Keeper::Dvc,
            2 => Keeper::Bucket,
            3 => Keeper::ThisMachine,
            _ => return None,
        };
        let flags = from.u8()?;
        let len = from.u64()?;
        let digest = read_option(&mut from)?;
        let len = (flags & 2 != 0).then_some(len);
        found.push(Entry { path, is_folder: flags & 1 != 0, len, kept_by, digest });
    }
    Some(found)
}

fn encode_error(error: &Error) -> Vec<u8> {
    let mut out = Writer::default();
    out.text(&error.kind().name());
    out.text(error.message());
    option(&mut out, error.hint());
    out.0
}

fn decode_error(bytes: &[u8]) -> Option<Error> {
    let mut from = Reader(bytes);
    let error = Error::new(ErrorKind::named(&from.text()?), from.text()?);
    Some(match read_option(&mut from)? {
        Some(hint) => error.with_hint(hint),
        None => error,
    })
}

fn texts(out: &mut Writer, texts: &[String]) {
    out.u32(texts.len());
    texts.iter().for_each(|text| out.text(text));
}

fn read_texts(from: &mut Reader<'_>) -> Option<Vec<String>> {
    (0..from.u32()?).map(|_| from.text()).collect()
}

fn option(out: &mut Writer, text: Option<&str>) {
    out.u8(u8::from(text.is_some()));
    out.text(text.unwrap_or(""));
}

fn read_option(from: &mut Reader<'_>) -> Option<Option<String>> {
    let (is_some, text) = (from.u8()? == 1, from.text()?);
    Some(is_some.then_some(text))
}

#[cfg(test)]
mod tests;
