//! A message as ZeroMQ frames: `ids… <IDS|MSG> signature header parent metadata content buffers…`.
//!
//! [`decode`] takes whatever a socket yields and gives a message or the reason why it is none. It
//! checks bounds and signature before it parses any JSON.

use crate::message::{Header, Message};
use crate::signature::{Signature, Signer};
use bytes::Bytes;
use serde_json::Value;

/// Separates routing identities from the message.
pub const DELIMITER: &[u8] = b"<IDS|MSG>";
/// Most frames of one message, identities and buffers included.
pub const MAX_FRAMES: usize = 512;
/// Most bytes of one frame; libzmq drops a peer that announces more, before it allocates.
pub const MAX_FRAME_BYTES: usize = 64 << 20;
/// Most bytes of all frames of one message.
pub const MAX_MESSAGE_BYTES: usize = 128 << 20;
/// Most bytes of a header or parent header.
pub const MAX_HEADER_BYTES: usize = 64 << 10;
/// Most identities before the delimiter. A ROUTER adds one; proxies may add more.
pub const MAX_IDS: usize = 16;

/// Why a sequence of frames is not a message of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("no <IDS|MSG> delimiter within the first {} frames", MAX_IDS + 1)]
    NoDelimiter,
    #[error("{0} frames after the delimiter, at least 5 are needed")]
    TooFewFrames(usize),
    #[error("more than {MAX_FRAMES} frames")]
    TooManyFrames,
    #[error("{0} is larger than its bound")]
    TooLarge(&'static str),
    #[error("wrong signature")]
    WrongSignature,
    #[error("this signature was used before")]
    Replayed,
    #[error("{part} is not what it should be: {reason}")]
    Content { part: &'static str, reason: String },
}

/// The frames of `message`, signed.
pub fn encode(message: &Message, signer: &Signer) -> Vec<Bytes> {
    let header = json(&message.header);
    let parent = message.parent_header.as_ref().map_or_else(|| Bytes::from_static(b"{}"), json);
    let metadata = json(&message.metadata);
    let content = json(&message.content);
    let signature = signer.sign([&header, &parent, &metadata, &content]);

    let mut frames = Vec::with_capacity(message.ids.len() + 6 + message.buffers.len());
    frames.extend(message.ids.iter().cloned());
    frames.push(Bytes::from_static(DELIMITER));
    frames.push(Bytes::from(hex::encode(signature)));
    frames.extend([header, parent, metadata, content]);
    frames.extend(message.buffers.iter().cloned());
    frames
}

/// The message in `frames` and its signature, verified.
pub fn decode(frames: &[Bytes], signer: &Signer) -> Result<(Message, Signature), Malformed> {
    check_bounds(frames)?;
    let at = frames.iter().take(MAX_IDS + 1).position(|f| f.as_ref() == DELIMITER);
    let at = at.ok_or(Malformed::NoDelimiter)?;
    let (ids, rest) = frames.split_at(at);
    let [_, signature, header, parent, metadata, content, buffers @ ..] = rest else {
        return Err(Malformed::TooFewFrames(rest.len().saturating_sub(1)));
    };
    if header.len() > MAX_HEADER_BYTES || parent.len() > MAX_HEADER_BYTES {
        return Err(Malformed::TooLarge("header"));
    }
    let signature =
        signer.verify(signature, [header, parent, metadata, content]).ok_or(Malformed::WrongSignature)?;

    let message = Message {
        ids: ids.to_vec(),
        header: parse_header("header", header)?
            .ok_or_else(|| Malformed::Content { part: "header", reason: "it is empty".to_owned() })?,
        parent_header: parse_header("parent header", parent)?,
        metadata: parse_object("metadata", metadata)?,
        content: parse_object("content", content)?,
        buffers: buffers.to_vec(),
    };
    Ok((message, signature))
}

/// Number and sizes of frames, before anything else is looked at.
pub(crate) fn check_bounds(frames: &[Bytes]) -> Result<(), Malformed> {
    if frames.len() > MAX_FRAMES {
        return Err(Malformed::TooManyFrames);
    }
    if frames.iter().any(|f| f.len() > MAX_FRAME_BYTES) {
        return Err(Malformed::TooLarge("a frame"));
    }
    if frames.iter().map(Bytes::len).sum::<usize>() > MAX_MESSAGE_BYTES {
        return Err(Malformed::TooLarge("the message"));
    }
    Ok(())
}

fn parse_header(part: &'static str, bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let value = parse_object(part, bytes)?;
    if value.as_object().is_none_or(serde_json::Map::is_empty) {
        return Ok(None);
    }
    let header = serde_json::from_value(value);
    header.map(Some).map_err(|e| Malformed::Content { part, reason: e.to_string() })
}

fn parse_object(part: &'static str, bytes: &[u8]) -> Result<Value, Malformed> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|e| Malformed::Content { part, reason: e.to_string() })?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Malformed::Content { part, reason: "not a JSON object".to_owned() })
    }
}

fn json<T: serde::Serialize>(value: &T) -> Bytes {
    // Maps with text keys, text and numbers always serialise; an object is a safe stand-in.
    Bytes::from(serde_json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec()))
}
