//! The messages between the cells and the kernel, as bytes.
//!
//! Both ends are of the same version of the program, so the form may change at any time. Lengths
//! are checked on reading: a message that a cell has spoilt is dropped, not trusted.

/// Longest message, in bytes, either way.
pub const MAX_MESSAGE: usize = 64 << 20;
/// Longest payload of one piece on the wire; below the default send buffer of a local socket.
pub const MAX_PIECE: usize = 32 * 1024;
/// Flags of a piece.
pub const FIRST: u8 = 1;
pub const LAST: u8 = 2;

/// From the cells to the kernel, with the callback that it belongs to: 0 for a cell, else the
/// number of the delivery that is being handled.
#[derive(Clone, Debug, PartialEq)]
pub struct Up {
    pub origin: u64,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Show(Show),
    /// Take away what was shown; with `true` only when something new comes.
    Clear(bool),
    Comm(CommFrame),
    /// The front end may (or may no longer) open comms for this target.
    Target(String, bool),
    /// A delivery is being handled from here …
    Begin(u64),
    /// … to here.
    End(u64),
    /// A checkpoint has taken over, with these comms and targets.
    Restored(Vec<String>, Vec<String>),
}

/// Something to show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Show {
    pub parts: Vec<Part>,
    /// A JSON object, or nothing.
    pub metadata: String,
    pub id: Option<String>,
    /// Replaces what is shown under `id`.
    pub update: bool,
    /// It is the value of the cell's final expression.
    pub value: bool,
}

/// One form of what is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub mime: String,
    pub form: Form,
    pub data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
    /// To be sent as base64.
    Bytes,
}

/// A comm message in either direction. `data` and `metadata` are JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommFrame {
    pub id: String,
    pub kind: CommFrameKind,
    pub data: String,
    pub metadata: String,
    pub buffers: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommFrameKind {
    Open(String),
    Message,
    Close,
}

/// From the kernel to the cells: a comm message, under a number that its `Begin` and `End` name.
#[derive(Clone, Debug, PartialEq)]
pub struct Down {
    pub number: u64,
    pub comm: CommFrame,
}

impl Up {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u64(self.origin);
        match &self.what {
            What::Show(show) => {
                out.u8(b'S');
                out.u8(u8::from(show.update) | u8::from(show.value) << 1 | u8::from(show.id.is_some()) << 2);
                out.text(show.id.as_deref().unwrap_or(""));
                out.text(&show.metadata);
                out.u32(show.parts.len());
                for part in &show.parts {
                    out.text(&part.mime);
                    out.u8(match part.form {
                        Form::Text => 0,
                        Form::Json => 1,
                        Form::Bytes => 2,
                    });
                    out.bytes(&part.data);
                }
            }
            What::Clear(wait) => {
                out.u8(b'X');
                out.u8(u8::from(*wait));
            }
            What::Comm(comm) => {
                out.u8(b'C');
                comm.encode(&mut out);
            }
            What::Target(name, registered) => {
                out.u8(b'T');
                out.text(name);
                out.u8(u8::from(*registered));
            }
            What::Begin(number) => {
                out.u8(b'B');
                out.u64(*number);
            }
            What::End(number) => {
                out.u8(b'E');
                out.u64(*number);
            }
            What::Restored(comms, targets) => {
                out.u8(b'R');
                for list in [comms, targets] {
                    out.u32(list.len());
                    list.iter().for_each(|name| out.text(name));
                }
            }
        }
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let origin = from.u64()?;
        let what = match from.u8()? {
            b'S' => {
                let flags = from.u8()?;
                let id = from.text()?;
                let metadata = from.text()?;
                let count = from.u32()?;
                let mut parts = Vec::new();
                for _ in 0..count {
                    let mime = from.text()?;
                    let form = match from.u8()? {
                        0 => Form::Text,
                        1 => Form::Json,
                        2 => Form::Bytes,
                        _ => return None,
                    };
                    parts.push(Part { mime, form, data: from.bytes()?.to_vec() });
                }
                let id = (flags & 4 != 0).then_some(id);
                What::Show(Show { parts, metadata, id, update: flags & 1 != 0, value: flags & 2 != 0 })
            }
            b'X' => What::Clear(from.u8()? != 0),
            b'C' => What::Comm(CommFrame::decode(&mut from)?),
            b'T' => What::Target(from.text()?, from.u8()? != 0),
            b'B' => What::Begin(from.u64()?),
            b'E' => What::End(from.u64()?),
            b'R' => {
                let mut list = || (0..from.u32()?).map(|_| from.text()).collect::<Option<Vec<_>>>();
                What::Restored(list()?, list()?)
            }
            _ => return None,
        };
        from.0.is_empty().then_some(Self { origin, what })
    }
}

impl Down {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u64(self.number);
        self.comm.encode(&mut out);
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let down = Self { number: from.u64()?, comm: CommFrame::decode(&mut from)? };
        from.0.is_empty().then_some(down)
    }
}

impl CommFrame {
    fn encode(&self, out: &mut Writer) {
        out.text(&self.id);
        match &self.kind {
            CommFrameKind::Open(target) => {
                out.u8(b'o');
                out.text(target);
            }
            CommFrameKind::Message => out.u8(b'm'),
            CommFrameKind::Close => out.u8(b'c'),
        }
        out.text(&self.data);
        out.text(&self.metadata);
        out.u32(self.buffers.len());
        self.buffers.iter().for_each(|buffer| out.bytes(buffer));
    }

    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let id = from.text()?;
        let kind = match from.u8()? {
            b'o' => CommFrameKind::Open(from.text()?),
            b'm' => CommFrameKind::Message,
            b'c' => CommFrameKind::Close,
            _ => return None,
        };
        let (data, metadata) = (from.text()?, from.text()?);
        let buffers =
            (0..from.u32()?).map(|_| from.bytes().map(<[u8]>::to_vec)).collect::<Option<Vec<_>>>()?;
        Some(Self { id, kind, data, metadata, buffers })
    }
}

#[derive(Default)]
pub(crate) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn u32(&mut self, value: usize) {
        // Longer than a message may be; the sender refuses it for its length.
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        self.0.extend(value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u32(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        self.take(len)
    }

    pub fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }
}

/// Puts messages together from their pieces.
#[derive(Debug, Default)]
pub struct Assembler {
    open: Option<Vec<u8>>,
}

impl Assembler {
    /// The message that this piece completes. A piece of a message whose beginning is not known,
    /// and a message that grows past [`MAX_MESSAGE`], are dropped.
    pub fn add(&mut self, flags: u8, payload: &[u8]) -> Option<Vec<u8>> {
        if flags & FIRST != 0 {
            self.open = Some(Vec::new());
        }
        let message = self.open.as_mut()?;
        if message.len() + payload.len() > MAX_MESSAGE {
            self.open = None;
            return None;
        }
        message.extend_from_slice(payload);
        if flags & LAST != 0 { self.open.take() } else { None }
    }
}

/// The pieces of a message with their flags; at least one.
pub fn pieces(message: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let count = message.len().div_ceil(MAX_PIECE).max(1);
    (0..count).map(move |index| {
        let start = index * MAX_PIECE;
        let end = message.len().min(start + MAX_PIECE);
        let first = if index == 0 { FIRST } else { 0 };
        let last = if index + 1 == count { LAST } else { 0 };
        (first | last, message.get(start..end).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comm() -> CommFrame {
        CommFrame {
            id: "é".into(),
            kind: CommFrameKind::Open("target".into()),
            data: "{}".into(),
            metadata: "{\"a\":1}".into(),
            buffers: vec![vec![0, 255], vec![]],
        }
    }

    #[test]
    fn messages_survive_the_wire() {
        let part = |form| Part { mime: "a/b".into(), form, data: vec![1, 2] };
        let show = Show {
            parts: vec![part(Form::Text), part(Form::Json), part(Form::Bytes)],
            metadata: "{}".into(),
            id: Some(String::new()),
            update: true,
            value: false,
        };
        for what in [
            What::Show(show.clone()),
            What::Show(Show { id: None, update: false, value: true, ..show }),
            What::Clear(true),
            What::Comm(comm()),
            What::Comm(CommFrame { kind: CommFrameKind::Message, ..comm() }),
            What::Comm(CommFrame { kind: CommFrameKind::Close, ..comm() }),
            What::Target("t".into(), false),
            What::Begin(u64::MAX),
            What::End(1),
            What::Restored(vec!["a".into(), "b".into()], vec![]),
        ] {
            let up = Up { origin: 7, what };
            let bytes = up.encode();
            assert_eq!(Up::decode(&bytes), Some(up));
            for len in 0..bytes.len() {
                assert_eq!(Up::decode(&bytes[..len]), None);
            }
        }
        let down = Down { number: 3, comm: comm() };
        assert_eq!(Down::decode(&down.encode()), Some(down));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let mut bytes = Up { origin: 0, what: What::Target("t".into(), true) }.encode();
        bytes[9] = 255;
        assert_eq!(Up::decode(&bytes), None);
        assert_eq!(Up::decode(&[]), None);
    }

    #[test]
    fn messages_are_cut_and_put_together() {
        for len in [0, 1, MAX_PIECE, MAX_PIECE + 1, 3 * MAX_PIECE] {
            let message: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let mut assembler = Assembler::default();
            let mut whole = None;
            for (flags, piece) in pieces(&message) {
                assert!(piece.len() <= MAX_PIECE && whole.is_none());
                whole = assembler.add(flags, piece);
            }
            assert_eq!(whole, Some(message));
        }
    }

    #[test]
    fn halves_and_giants_are_dropped() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.add(LAST, b"rest"), None);
        assert_eq!(assembler.add(FIRST, b"begun"), None);
        assert_eq!(assembler.add(FIRST | LAST, b"new"), Some(b"new".to_vec()));
        let piece = vec![0; 1 << 20];
        assert_eq!(assembler.add(FIRST, &piece), None);
        for _ in 0..MAX_MESSAGE >> 20 {
            assert_eq!(assembler.add(0, &piece), None);
        }
        assert_eq!(assembler.add(LAST, b""), None);
    }
}
