use super::*;

#[test]
fn questions_survive_the_wire() {
    let path = || "größe – 1.txt".to_owned();
    for what in [
        What::Open(true),
        What::Open(false),
        What::Refresh,
        What::Stat(path()),
        What::List(String::new(), true),
        What::Read(path(), 3, u64::MAX, None),
        What::Read(path(), 3, 4, Some("ab".into())),
        What::Announce(vec![path()], vec![String::new(), path()]),
        What::Upload { files: vec!["a".into()], to: "b".into(), message: Some(String::new()) },
        What::Upload { files: vec![], to: String::new(), message: None },
    ] {
        let ask = Ask { cwd: "/here".into(), target: "http://h/o/r".into(), what };
        let bytes = ask.encode();
        assert_eq!(Ask::decode(&bytes), Some(ask));
        for len in 0..bytes.len() {
            assert_eq!(Ask::decode(&bytes[..len]), None);
        }
        assert_eq!(Ask::decode(&[bytes, vec![0]].concat()), None, "something behind it");
    }
}

#[test]
fn answers_survive_the_wire() {
    let failed = Error::new(ErrorKind::NotFound, "no x").with_hint("try y");
    for given in [
        Frame::Piece(vec![]),
        Frame::Piece(vec![7; MAX_PIECE]),
        Frame::End(b"x".to_vec()),
        Frame::Failed(failed),
        Frame::Failed(Error::new(ErrorKind::Limit, "")),
    ] {
        let bytes = frame(&given);
        let (head, payload) = bytes.split_at(5);
        let (tag, len) = Frame::head(head.try_into().unwrap()).unwrap();
        assert_eq!(len, payload.len());
        assert_eq!(Frame::decode(tag, payload.to_vec()), Some(given));
    }
    for opened in [
        Opened { id: "u@c".into(), branch: Some("main".into()), path: "a/b".into() },
        Opened { id: "u@c".into(), ..Opened::default() },
    ] {
        assert_eq!(Opened::decode(&opened.encode()), Some(opened));
    }
    let uploaded = Uploaded { commit: "c".into(), branch: "b".into(), changed: true };
    assert_eq!(Uploaded::decode(&uploaded.encode()), Some(uploaded));
}

#[test]
fn frames_are_bounded() {
    let head = |tag: u8, len: usize| {
        let mut head = [tag, 0, 0, 0, 0];
        head[1..].copy_from_slice(&u32::try_from(len).unwrap().to_le_bytes());
        head
    };
    assert_eq!(Frame::head(head(b'd', MAX_PIECE)), Some((b'd', MAX_PIECE)));
    assert_eq!(Frame::head(head(b'd', MAX_PIECE + 1)), None);
    assert_eq!(Frame::head(head(b'x', 1)), None);
}

#[test]
fn entries_survive_the_wire() {
    let file = Entry {
        path: "a/b.txt".into(),
        is_folder: false,
        len: Some(3),
        kept_by: Keeper::Dvc,
        digest: Some("md5:00".into()),
    };
    let folder = Entry { path: "a".into(), is_folder: true, len: None, kept_by: Keeper::Git, digest: None };
    let all = vec![file, folder];
    let mut piece = Vec::new();
    all.iter().for_each(|entry| put_entry(&mut piece, entry));
    assert_eq!(entries(&piece), Some(all));
    assert_eq!(entries(&piece[..piece.len() - 1]), None);
    assert_eq!(entries(&[]), Some(vec![]));
}
