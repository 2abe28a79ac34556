//! The frame parser against generated input: whatever comes, it gives a message or a reason.

use dds_wire::frames::{
    DELIMITER, MAX_FRAME_BYTES, MAX_FRAMES, MAX_HEADER_BYTES, MAX_IDS, MAX_MESSAGE_BYTES, decode, encode,
};
use dds_wire::{Bytes, Malformed, Message, Signer};
use serde_json::{Value, json};

/// Marsaglia's xorshift64: the same inputs on every run.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Bytes {
        let len = self.below(most + 1);
        (0..len).map(|_| self.next() as u8).collect()
    }
}

fn signer() -> Signer {
    Signer::new(b"secret")
}

fn sample(rng: &mut Rng) -> Message {
    let texts = ["", "x", "é\u{1f980}\u{0}", "\"\\<IDS|MSG>", "</script>"];
    let text = texts[rng.below(texts.len())];
    let content = json!({"code": text, "n": rng.below(1000), "deep": [[{"a": null}], text]});
    let mut message = Message::new("execute_request", "session", content).metadata(json!({text: text}));
    if rng.below(2) == 0 {
        message = message.clone().parent(&Message::new("parent", "other", json!({})).header);
    }
    message.ids = (0..rng.below(4)).map(|_| rng.bytes(20)).collect();
    message.buffers = (0..rng.below(4)).map(|_| rng.bytes(300)).collect();
    message
}

fn refused(frames: &[Bytes]) -> Malformed {
    decode(frames, &signer()).expect_err("must be refused")
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut rng = Rng(0x5eed);
    for _ in 0..2_000 {
        let message = sample(&mut rng);
        let (back, _) = decode(&encode(&message, &signer()), &signer()).unwrap();
        assert_eq!(back.ids, message.ids);
        assert_eq!(back.buffers, message.buffers);
        assert_eq!(back.content, message.content);
        assert_eq!(back.metadata, message.metadata);
        assert_eq!(back.parent_id(), message.parent_id());
        assert_eq!(back.msg_id(), message.msg_id());
        assert_eq!(back.header.date, message.header.date);
    }
}

#[test]
fn a_changed_bit_in_what_is_signed_is_refused_and_elsewhere_is_not() {
    let mut rng = Rng(7);
    for _ in 0..2_000 {
        let message = sample(&mut rng);
        let mut frames = encode(&message, &signer());
        let at = frames.iter().position(|f| f.as_ref() == DELIMITER).unwrap();
        let changed = rng.below(frames.len());
        if frames[changed].is_empty() || changed == at {
            continue;
        }
        let mut bytes = frames[changed].to_vec();
        let byte = rng.below(bytes.len());
        bytes[byte] ^= 1 << rng.below(8);
        // A hex digit's other case is the same signature.
        if changed == at + 1 && bytes.eq_ignore_ascii_case(&frames[changed]) {
            continue;
        }
        frames[changed] = bytes.into();
        let signed = (at + 1..=at + 5).contains(&changed);
        assert_eq!(decode(&frames, &signer()).is_err(), signed, "frame {changed} of {frames:?}");
    }
}

#[test]
fn any_frames_whatsoever_end_in_a_message_or_a_reason() {
    let mut rng = Rng(99);
    let mut accepted = 0;
    for round in 0..60_000 {
        let mut frames: Vec<Bytes> = if round % 2 == 0 {
            (0..rng.below(12)).map(|_| rng.bytes(40)).collect()
        } else {
            encode(&sample(&mut rng), &signer())
        };
        for _ in 0..rng.below(4) {
            if frames.is_empty() {
                break;
            }
            let at = rng.below(frames.len());
            match rng.below(5) {
                0 => drop(frames.remove(at)),
                1 => frames.insert(at, Bytes::from_static(DELIMITER)),
                2 => frames.swap(at, 0),
                3 => frames[at] = frames[at].slice(..rng.below(frames[at].len() + 1)),
                _ => frames.insert(at, rng.bytes(10)),
            }
        }
        accepted += usize::from(decode(&frames, &signer()).is_ok());
    }
    assert!(accepted > 1_000, "the generator also makes valid messages: {accepted}");
}

/// Correctly signed frames with these four parts.
fn signed(parts: [&str; 4]) -> Vec<Bytes> {
    let signature = signer().sign(parts.map(str::as_bytes));
    let hex: String = signature.iter().map(|b| format!("{b:02x}")).collect();
    let mut frames = vec![Bytes::from_static(DELIMITER), hex.into()];
    frames.extend(parts.iter().map(|p| Bytes::copy_from_slice(p.as_bytes())));
    frames
}

const HEADER: &str = r#"{"msg_id": "1", "username": "u", "session": "s", "msg_type": "t", "version": "5.3"}"#;

#[test]
fn signed_nonsense_is_refused_by_part() {
    assert!(decode(&signed([HEADER, "{}", "{}", "{}"]), &signer()).is_ok());
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (parts, part) in [
        (["", "{}", "{}", "{}"], "header"),
        (["{}", "{}", "{}", "{}"], "header"),
        (["[]", "{}", "{}", "{}"], "header"),
        ([r#"{"msg_id": 1}"#, "{}", "{}", "{}"], "header"),
        ([HEADER, "x", "{}", "{}"], "parent header"),
        ([HEADER, r#"{"msg_id": "1"}"#, "{}", "{}"], "parent header"),
        ([HEADER, "{}", "null", "{}"], "metadata"),
        ([HEADER, "{}", "{}", "{} {}"], "content"),
        ([HEADER, "{}", "{}", "\u{0}"], "content"),
        ([HEADER, "{}", "{}", deep.as_str()], "content"),
    ] {
        match refused(&signed(parts)) {
            Malformed::Content { part: named, .. } => assert_eq!(named, part),
            other => panic!("{part}: {other}"),
        }
    }
}

#[test]
fn shapes_are_refused_by_name() {
    let bare = Bytes::from_static(DELIMITER);
    assert_eq!(refused(&[]), Malformed::NoDelimiter);
    assert_eq!(refused(&[Bytes::from_static(b"garbage")]), Malformed::NoDelimiter);
    assert_eq!(refused(std::slice::from_ref(&bare)), Malformed::TooFewFrames(0));
    assert_eq!(refused(&vec![bare.clone(); 5]), Malformed::TooFewFrames(4));
    assert_eq!(refused(&vec![bare; 6]), Malformed::WrongSignature);
    let other = encode(&Message::new("t", "s", json!({})), &Signer::new(b"other"));
    assert_eq!(refused(&other), Malformed::WrongSignature);
}

#[test]
fn bounds_hold_exactly() {
    let with_ids = |n: usize| {
        let mut frames = vec![Bytes::from_static(b"id"); n];
        frames.extend(signed([HEADER, "{}", "{}", "{}"]));
        frames
    };
    assert!(decode(&with_ids(MAX_IDS), &signer()).is_ok());
    assert_eq!(refused(&with_ids(MAX_IDS + 1)), Malformed::NoDelimiter);

    let with_frames = |n: usize| {
        let mut frames = signed([HEADER, "{}", "{}", "{}"]);
        frames.resize(n, Bytes::new());
        frames
    };
    assert!(decode(&with_frames(MAX_FRAMES), &signer()).is_ok());
    assert_eq!(refused(&with_frames(MAX_FRAMES + 1)), Malformed::TooManyFrames);

    let padded = |n: usize| format!("{HEADER}{}", " ".repeat(n - HEADER.len()));
    assert!(decode(&signed([&padded(MAX_HEADER_BYTES), "{}", "{}", "{}"]), &signer()).is_ok());
    let too_long = padded(MAX_HEADER_BYTES + 1);
    assert_eq!(refused(&signed([&too_long, "{}", "{}", "{}"])), Malformed::TooLarge("header"));

    let with_buffers = |sizes: &[usize]| {
        let mut frames = signed([HEADER, "{}", "{}", "{}"]);
        frames.extend(sizes.iter().map(|n| Bytes::from(vec![0; *n])));
        frames
    };
    assert!(decode(&with_buffers(&[MAX_FRAME_BYTES]), &signer()).is_ok());
    assert_eq!(refused(&with_buffers(&[MAX_FRAME_BYTES + 1])), Malformed::TooLarge("a frame"));
    let half = MAX_MESSAGE_BYTES / 2;
    assert_eq!(refused(&with_buffers(&[half, half])), Malformed::TooLarge("the message"));
}

#[test]
fn an_unsigned_bomb_is_refused_before_its_json_is_read() {
    let mut frames = signed([HEADER, "{}", "{}", "{}"]);
    *frames.last_mut().unwrap() = Bytes::from(vec![b'['; 10 << 20]);
    assert_eq!(refused(&frames), Malformed::WrongSignature);
}

#[test]
fn a_header_without_a_date_is_accepted() {
    let (message, _) = decode(&signed([HEADER, "{}", "{}", "{}"]), &signer()).unwrap();
    assert_eq!(message.msg_type(), "t");
    assert_eq!(message.content, Value::Object(serde_json::Map::new()));
}
