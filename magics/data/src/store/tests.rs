use super::*;
use dds_core::Kind;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    /// What this thread has waited for the disk for.
    pub(super) static SYNCED: std::cell::RefCell<Vec<PathBuf>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Objects that are named by a commit afterwards must outlive a crash, those of a cache need not: there they
/// are looked at again when they are read.
#[test]
fn what_is_uploaded_is_on_the_disk_before_it_is_named() {
    let (dir, kept) = store();
    let cache = BlobStore::cache(dir.path().join("cache"));
    let synced = || SYNCED.take().len();
    for (n, store) in [kept, cache].into_iter().enumerate() {
        let staged = |bytes: &[u8]| {
            let mut writer = store.writer().unwrap();
            writer.write(bytes).unwrap();
            writer.stage()
        };
        let (digest, len) = staged(b"uploaded").finish(None).unwrap();
        assert_eq!(synced(), 1, "{n}");
        assert_eq!((store.len(&digest, Layout::V3), len), (Some(8), 8));
        // What a crash left of a file that nobody had waited for: as long, and nothing in it.
        if n == 1 {
            let path = store.path(&digest, Layout::V3);
            fs::remove_file(&path).unwrap();
            fs::write(&path, [0; 8]).unwrap();
            staged(b"uploaded").finish(None).unwrap();
            assert_eq!((synced(), fs::read(&path).unwrap()), (1, b"uploaded".to_vec()));
            store.put(&hash::md5(b"fetched"), b"fetched").unwrap();
            assert_eq!(synced(), 0, "what can be fetched again is not waited for");
        } else {
            store.put(&hash::md5(b"fetched"), b"fetched").unwrap();
            assert_eq!(synced(), 1);
        }
    }
}

fn store() -> (tempfile::TempDir, BlobStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::new(dir.path());
    (dir, store)
}

#[test]
fn objects_lie_where_dvc_looks_and_are_read_only() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, store) = store();
    let d = hash::md5(b"hello");
    store.put(&d, b"hello").unwrap();
    let path = dir.path().join("files/md5/5d/41402abc4b2a76b9719d911017c592");
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
    assert_eq!(store.read(&d, Layout::V3).unwrap().unwrap(), b"hello");
    let g = hash::git_blob(b"hello").unwrap();
    store.put(&g, b"hello").unwrap();
    assert_eq!(store.read(&g, Layout::V3).unwrap().unwrap(), b"hello");
    assert!(entries(path.parent().unwrap()).unwrap().len() == 1, "no temporary file is left");
}

#[test]
fn wrong_bytes_are_refused_on_the_way_in() {
    let (_dir, store) = store();
    let d = hash::md5(b"hello");
    assert_eq!(store.put(&d, b"hullo").unwrap_err().kind, Kind::Corrupt);
    assert!(!store.contains(&d));
    let mut w = store.writer().unwrap();
    w.write(b"hullo").unwrap();
    assert_eq!(w.finish(Some(&d)).unwrap_err().kind, Kind::Corrupt);
    assert!(!store.contains(&d));
}

#[test]
fn every_flipped_bit_is_found_on_read() {
    let (_dir, store) = store();
    let bytes = b"sixteen bytes ok".to_vec();
    for d in [hash::md5(&bytes), hash::git_blob(&bytes).unwrap()] {
        for bit in 0..bytes.len() * 8 {
            let path = store.path(&d, Layout::V3);
            let _ = fs::remove_file(&path);
            store.put(&d, &bytes).unwrap();
            let mut broken = bytes.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            fs::remove_file(&path).unwrap();
            fs::write(&path, &broken).unwrap();
            assert_eq!(store.read(&d, Layout::V3).unwrap_err().kind, Kind::Corrupt, "bit {bit}");
        }
    }
}

#[test]
fn a_damaged_object_is_fetched_again() {
    let (_dir, store) = store();
    let d = hash::md5(b"hello");
    store.put(&d, b"hello").unwrap();
    let path = store.path(&d, Layout::V3);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"hellX").unwrap();
    let got = store.get_or_fetch(&d, &Cancel::default(), || Ok(b"hello".to_vec())).unwrap();
    assert_eq!(&got[..], b"hello");
    assert_eq!(store.read(&d, Layout::V3).unwrap().unwrap(), b"hello");
}

#[test]
fn one_fetch_serves_all_threads() {
    let (_dir, store) = store();
    let d = hash::md5(b"hello");
    let fetches = AtomicUsize::new(0);
    let gate = std::sync::Barrier::new(8);
    std::thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                gate.wait();
                let got = store.get_or_fetch(&d, &Cancel::default(), || {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    Ok(b"hello".to_vec())
                });
                assert_eq!(&got.unwrap()[..], b"hello");
            });
        }
    });
    assert!(store.contains(&d));
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
}

#[test]
fn a_failed_fetch_is_told_to_all_and_tried_again_later() {
    let (_dir, store) = store();
    let d = hash::md5(b"hello");
    let failed =
        store.get_or_fetch(&d, &Cancel::default(), || Err(Error::new(Kind::Unreachable, "no server")));
    assert_eq!(failed.unwrap_err().kind, Kind::Unreachable);
    let wrong = store.get_or_fetch(&d, &Cancel::default(), || Ok(b"other".to_vec()));
    assert_eq!(wrong.unwrap_err().kind, Kind::Corrupt);
    assert!(store.get_or_fetch(&d, &Cancel::default(), || Ok(b"hello".to_vec())).is_ok());
}

#[test]
fn old_layout_is_read() {
    let (dir, store) = store();
    let d = hash::md5(b"one\ntwo\n");
    let path = dir.path().join(&d.to_string()[..2]).join(&d.to_string()[2..]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"one\r\ntwo\r\n").unwrap();
    assert_eq!(store.read(&d, Layout::V3).unwrap(), None);
    assert_eq!(store.read(&d, Layout::V2).unwrap().unwrap(), b"one\r\ntwo\r\n");
}

#[test]
fn pruning_stops_at_the_bound() {
    let (_dir, store) = store();
    for n in 0..10u8 {
        store.put(&hash::md5(&[n; 100]), &[n; 100]).unwrap();
    }
    assert_eq!(store.prune(1000, &Cancel::default()).unwrap(), 0);
    assert_eq!(store.prune(999, &Cancel::default()).unwrap(), 100);
    assert_eq!(store.prune(350, &Cancel::default()).unwrap(), 600);
}

#[test]
fn staged_objects_hold_no_file_open() {
    let (_dir, store) = store();
    let mut writer = store.writer().unwrap();
    writer.write(b"hello").unwrap();
    let staged = writer.stage();
    let open = entries(Path::new("/proc/self/fd")).unwrap();
    assert!(open.iter().all(|fd| fs::read_link(fd).ok().as_deref() != Some(staged.path())));
    assert_eq!(staged.digest(), (hash::md5(b"hello"), 5));
    let lay = staged.path().to_owned();
    let (digest, _) = staged.finish(None).unwrap();
    assert_eq!(store.read(&digest, Layout::V3).unwrap().unwrap(), b"hello");
    assert!(!lay.exists());
    let dropped = store.writer().unwrap().stage();
    let lay = dropped.path().to_owned();
    drop(dropped);
    assert!(!lay.exists());
}

#[test]
fn pruning_removes_what_dead_processes_left() {
    let (dir, store) = store();
    let tmp = dir.path().join("tmp");
    fs::create_dir_all(&tmp).unwrap();
    let [old, fresh, foreign] = [".incoming-old", ".incoming-new", "other"].map(|n| tmp.join(n));
    let long_ago = SystemTime::now() - 2 * ABANDONED;
    for (at, time) in [(&old, long_ago), (&fresh, SystemTime::now()), (&foreign, long_ago)] {
        File::create(at).unwrap().set_modified(time).unwrap();
    }
    store.prune(u64::MAX, &Cancel::default()).unwrap();
    assert!(!old.exists() && fresh.exists() && foreign.exists());
}
