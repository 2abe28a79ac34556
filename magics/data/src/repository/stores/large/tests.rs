use super::*;
use crate::dvc::DvcConfig;
use crate::store::BlobStore;
use crate::testing::{path, until, write};
use dds_core::Kind;

const LEN: usize = 3 * CHUNK as usize + 1000;

/// A store whose one object is not what its name says when `damaged`.
fn with_object(damaged: bool) -> (tempfile::TempDir, Arc<Stores>, Digest, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes: Vec<u8> = (0..LEN).map(|n| (n / 7) as u8).collect();
    let digest = hash::md5(&bytes);
    bytes[10] ^= u8::from(damaged);
    let stores = Arc::new(Stores::new(dir.path(), &DvcConfig::default(), None));
    let at = stores.cache().path(&digest, Layout::V3);
    write(&at, &bytes);
    until("the object's stamp to settle", || Stamp::of(&at.metadata().unwrap()).is_settled());
    (dir, stores, digest, bytes)
}

fn open(stores: &Arc<Stores>, digest: &Digest) -> Result<Large> {
    Large::open(stores, &path("a.bin"), digest, Layout::V3, None)
}

fn is_known(stores: &Arc<Stores>, digest: &Digest) -> bool {
    open(stores, digest).unwrap().unverified.is_none()
}

/// What came, and how it ended.
fn read(large: Large, range: Range<u64>) -> (Vec<u8>, Result<()>) {
    let (mut reading, mut all) = (large.read(range), Vec::new());
    loop {
        match reading.next() {
            Ok(Some(bytes)) => all.extend(bytes),
            Ok(None) => return (all, Ok(())),
            Err(e) => return (all, Err(e)),
        }
    }
}

#[test]
fn read_from_start_to_end_an_object_is_verified_on_the_way() {
    let (_dir, stores, digest, bytes) = with_object(false);
    assert!(!is_known(&stores, &digest));
    let len = bytes.len() as u64;
    let (got, end) = read(open(&stores, &digest).unwrap(), 0..len);
    assert!(end.is_ok() && got == bytes);
    assert!(is_known(&stores, &digest) && lock(&stores.behind.0).objects.is_empty());
    let (part, end) = read(open(&stores, &digest).unwrap(), 5..CHUNK + 9);
    assert!(end.is_ok() && part == bytes[5..CHUNK as usize + 9]);
}

#[test]
fn the_last_bytes_of_a_damaged_object_do_not_come() {
    let (_dir, stores, digest, bytes) = with_object(true);
    let len = bytes.len() as u64;
    let (got, end) = read(open(&stores, &digest).unwrap(), 0..len);
    assert!(got == bytes[..3 * CHUNK as usize] && end.unwrap_err().kind == Kind::Corrupt);
    assert_eq!(open(&stores, &digest).unwrap_err().kind, Kind::Corrupt);
    // A good copy elsewhere, or put into its place, is found.
    let at = stores.cache().path(&digest, Layout::V3);
    let mut good = bytes.clone();
    good[10] ^= 1;
    std::fs::remove_file(&at).unwrap();
    write(&at, &good);
    assert!(read(open(&stores, &digest).unwrap(), 0..len).0 == good);
}

#[test]
fn parts_come_before_the_verdict_and_no_more_after_a_bad_one() {
    let (_dir, stores, digest, bytes) = with_object(true);
    let (got, end) = read(open(&stores, &digest).unwrap(), 100..200);
    assert!(end.is_ok() && got == bytes[100..200]);
    until("the verdict", || open(&stores, &digest).is_err_and(|e| e.kind == Kind::Corrupt));
    let (_dir, stores, digest, _) = with_object(false);
    assert!(read(open(&stores, &digest).unwrap(), 100..200).1.is_ok());
    until("the verdict", || is_known(&stores, &digest));
}

#[test]
fn a_part_of_what_takes_hours_to_verify_comes_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Arc::new(Stores::new(dir.path(), &DvcConfig::default(), None));
    let digest = hash::md5(b"something else");
    let at = stores.cache().path(&digest, Layout::V3);
    write(&at, b"");
    let len = 1 << 40;
    std::fs::File::options().write(true).open(&at).unwrap().set_len(len).unwrap();
    for _ in 0..3 {
        let (got, end) = read(open(&stores, &digest).unwrap(), len - 10..len);
        assert!(end.is_ok() && got == [0; 10]);
    }
    let behind = stores.behind.0.clone();
    assert!(lock(&behind).now.is_some() && lock(&behind).objects.len() <= 1, "once for each object");
    // With the repository, the work is given up.
    drop(stores);
    until("the thread to end", || lock(&behind).now.is_none());
}

#[test]
fn objects_that_wait_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Arc::new(Stores::new(dir.path(), &DvcConfig::default(), None));
    let long = stores.cache().path(&hash::md5(b"long"), Layout::V3);
    write(&long, b"");
    std::fs::File::options().write(true).open(&long).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(read(open(&stores, &hash::md5(b"long")).unwrap(), 0..1).0, [0]);
    for n in 0..=MAX_WAITING {
        let digest = hash::md5(&n.to_le_bytes());
        stores.cache().put(&digest, &n.to_le_bytes()).unwrap();
        assert_eq!(read(open(&stores, &digest).unwrap(), 0..1).0, n.to_le_bytes()[..1]);
    }
    assert!(lock(&stores.behind.0).objects.len() <= MAX_WAITING);
}

#[test]
fn old_objects_are_verified_first() {
    let (dir, digest) = (tempfile::tempdir().unwrap(), hash::md5(b"one\ntwo\n"));
    let stores = Arc::new(Stores::new(dir.path(), &DvcConfig::default(), None));
    let at = BlobStore::new(stores.cache().root()).path(&digest, Layout::V2);
    for (bytes, good) in [(&b"one\r\ntwo\r\n"[..], true), (b"one\r\ntwo", false)] {
        write(&at, bytes);
        let opened = Large::open(&stores, &path("a.txt"), &digest, Layout::V2, None);
        assert_eq!(opened.is_ok(), good);
    }
}

#[test]
fn a_panic_costs_one_object_and_no_other() {
    let (_dir, stores, digest, _) = with_object(false);
    let good = || open(&stores, &digest).unwrap().unverified.unwrap();
    let bad = Unverified { at: "panics".into(), ..good() };
    let waiting = Mutex::new(Waiting { now: Some(bad.candidate), objects: [bad, good()].into() });
    work(&waiting, |object| {
        assert!(object.at != Path::new("panics"), "what a look at it may do");
        look(object);
    });
    let waiting = lock(&waiting);
    assert!(waiting.now.is_none() && waiting.objects.is_empty() && is_known(&stores, &digest));
}
