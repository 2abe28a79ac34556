use super::*;
use crate::client::transport::BoxFuture;
use crate::open::fetching::{Fetch, Settings};
use crate::store::BlobStore;
use dds_core::{EntryKind, Versioning};
use tokio::sync::Notify;

const SMALL: u64 = GRANULE;
const LEN: u64 = 8 * SMALL;

/// A server one of whose answers comes late.
struct Late {
    bytes: Vec<u8>,
    late: Range<u64>,
    asked: Notify,
    go: Notify,
    /// Bytes that were asked for.
    sum: AtomicU64,
}

impl Fetch for Arc<Late> {
    fn get(&self, _: &str, _: &Entry, range: Option<Range<u64>>, _: u64) -> BoxFuture<Result<Bytes>> {
        let (server, range) = (self.clone(), range.unwrap());
        Box::pin(async move {
            server.sum.fetch_add(range.end - range.start, Ordering::SeqCst);
            if range == server.late {
                server.asked.notify_one();
                server.go.notified().await;
            }
            Ok(Bytes::copy_from_slice(cut(&server.bytes, &range)))
        })
    }
}

fn files(late: Range<u64>) -> (tempfile::TempDir, Arc<Late>, BigFiles, Entry) {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..LEN).map(|n| (n % 251) as u8).collect();
    let entry = Entry {
        path: RepoPath::parse("big.bin").unwrap(),
        kind: EntryKind::File,
        size: Some(LEN),
        digest: Some(crate::hash::md5(&bytes)),
        versioning: Versioning::Dvc,
        executable: false,
    };
    let server =
        Arc::new(Late { bytes, late, asked: Notify::new(), go: Notify::new(), sum: AtomicU64::new(0) });
    let settings = Settings { small_bytes: 1, block_bytes: 4 * SMALL, ..Settings::default() };
    let cache = BlobStore::new(dir.path());
    let fetching = Arc::new(Fetching { source: Arc::new(server.clone()), cache, settings });
    (dir, server, BigFiles::new(fetching, "c".to_owned()), entry)
}

/// The whole file is read while the answer to a small read within it is on its way.
#[test]
fn what_is_on_its_way_is_not_asked_for_again() {
    let (_dir, server, big, entry) = files(SMALL..2 * SMALL);
    let cx = Cx::silent("/");
    let digest = entry.digest.unwrap();
    std::thread::scope(|scope| {
        let small = scope.spawn(|| big.read_range(&entry, SMALL + 10..SMALL + 90, &cx));
        let asked = server.clone();
        let asked = async move {
            asked.asked.notified().await;
            Ok(())
        };
        crate::runtime::wait(asked, &cx).unwrap();
        let whole = scope.spawn(|| big.read_all(&entry, &cx));
        crate::testing::until("the rest", || {
            let rest = |open: &HashMap<RepoPath, Arc<Partial>>| lock(&open[&entry.path].blocks).missing == 1;
            rest(&lock(&big.open))
        });
        assert!(!whole.is_finished() && !small.is_finished());
        server.go.notify_one();
        let at = usize::try_from(SMALL).unwrap();
        assert_eq!(small.join().unwrap().unwrap(), server.bytes[at + 10..at + 90]);
        assert_eq!(whole.join().unwrap().unwrap(), server.bytes);
    });
    assert_eq!(server.sum.load(Ordering::SeqCst), LEN);
    let cache = &big.fetching.cache;
    crate::testing::until("it is kept", || cache.contains(&digest));
    // Should an answer come twice all the same: the file that was verified, and the cache, stay as they are.
    let partial = lock(&big.open)[&entry.path].clone();
    assert!(!partial.write(&(1..2), &[7; SMALL as usize]).unwrap());
    assert_eq!(big.read_range(&entry, 0..LEN, &cx).unwrap(), server.bytes);
    assert_eq!(cache.read(&digest, Layout::V3).unwrap().unwrap(), server.bytes);
}

/// The last bytes wait for the verdict; a damaged file never has its end.
#[test]
fn the_end_of_a_file_comes_when_the_whole_is_verified() {
    let (_dir, server, big, mut entry) = files(0..0);
    let cx = Cx::silent("/");
    entry.digest = Some(crate::hash::md5(b"another"));
    for at in 0..3 {
        let range = at * SMALL..(at + 1) * SMALL;
        assert_eq!(big.read_range(&entry, range.clone(), &cx).unwrap(), cut(&server.bytes, &range));
    }
    assert!(big.verifies(&entry.path).is_some());
    assert_eq!(big.read_range(&entry, 3 * SMALL..LEN, &cx).unwrap_err().kind, Kind::Corrupt);
    // Begun anew: what was damaged on the way may be good now.
    assert!(big.verifies(&entry.path).is_none());
    assert_eq!(big.read_range(&entry, 0..10, &cx).unwrap(), cut(&server.bytes, &(0..10)));
}

#[test]
fn a_granule_has_one_writer() {
    let mut blocks =
        Blocks { have: vec![State::Missing; 8], missing: 8, runs: Runs::default(), verdict: None };
    assert_eq!(blocks.claim(&(2..5)), Some(2..5));
    assert_eq!(blocks.claim(&(0..8)), Some(0..2), "up to what another flight writes");
    assert_eq!(blocks.claim(&(2..7)), Some(5..7));
    assert!(blocks.claim(&(0..7)).is_none() && blocks.is_claimed(&(0..7)) && !blocks.has(0..7));
    // One that could not write leaves its part to the others.
    blocks.set(&(2..5), State::Missing);
    blocks.set(&(5..7), State::Here);
    assert_eq!(blocks.claim(&(2..7)), Some(2..5));
    assert!(!blocks.is_claimed(&(5..8)) && blocks.has(5..7) && !blocks.has(5..8));
}

/// Until the other writer has written, nothing of its part may be read.
#[test]
fn who_comes_second_waits_for_the_first_writer() {
    let (_dir, server, big, entry) = files(0..0);
    let partial = big.partial(&entry).unwrap();
    let claimed = lock(&partial.blocks).claim(&(0..1)).unwrap();
    std::thread::scope(|scope| {
        let bytes = cut(&server.bytes, &(0..2 * SMALL));
        let second = scope.spawn(|| partial.write(&(0..2), bytes));
        crate::testing::until("its own part", || lock(&partial.blocks).has(1..2));
        assert!(!second.is_finished(), "granule 0 is not there yet");
        lock(&partial.blocks).set(&claimed, State::Missing);
        partial.written.notify_all();
        assert!(!second.join().unwrap().unwrap(), "six granules are missing");
    });
    assert!(lock(&partial.blocks).has(0..2));
    assert_eq!(partial.bytes(0..2 * SMALL, &Cx::silent("/")).unwrap(), cut(&server.bytes, &(0..2 * SMALL)));
}
