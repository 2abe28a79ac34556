use super::*;
use crate::client::transport::BoxFuture;
use crate::open::fetching::{Fetch, Settings};
use crate::store::BlobStore;
use dds_core::{EntryKind, Versioning};
use tokio::sync::Notify;

const SMALL: u64 = GRANULE;
const LEN: u64 = 8 * SMALL;

/// A server one of whose answers comes late, and wrong.
struct Late {
    bytes: Vec<u8>,
    late: Range<u64>,
    asked: Notify,
    go: Notify,
}

impl Fetch for Arc<Late> {
    fn get(&self, _: &str, _: &Entry, range: Option<Range<u64>>, _: u64) -> BoxFuture<Result<Bytes>> {
        let (server, range) = (self.clone(), range.unwrap());
        Box::pin(async move {
            let good = Bytes::copy_from_slice(cut(&server.bytes, &range));
            if range != server.late {
                return Ok(good);
            }
            server.asked.notify_one();
            server.go.notified().await;
            Ok(good.iter().map(|byte| !byte).collect())
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
    let server = Arc::new(Late { bytes, late, asked: Notify::new(), go: Notify::new() });
    let settings = Settings { small_bytes: 1, block_bytes: 4 * SMALL, ..Settings::default() };
    let cache = BlobStore::new(dir.path());
    let fetching = Arc::new(Fetching { source: Arc::new(server.clone()), cache, settings });
    (dir, server, BigFiles::new(fetching, "c".to_owned()), entry)
}

/// The rest of the file comes, and is verified, while the answer to a small read within it is on its way.
#[test]
fn a_late_answer_is_not_written_into_a_verified_file() {
    let (_dir, server, big, entry) = files(SMALL..2 * SMALL);
    let cx = Cx::silent("/");
    let digest = entry.digest.unwrap();
    std::thread::scope(|scope| {
        let small = scope.spawn(|| big.read_range(&entry, SMALL + 10..SMALL + 90, &cx));
        crate::runtime::wait(
            {
                let server = server.clone();
                async move {
                    server.asked.notified().await;
                    Ok(())
                }
            },
            &cx,
        )
        .unwrap();
        assert_eq!(big.read_all(&entry, &cx).unwrap(), server.bytes);
        let cache = &big.fetching.cache;
        crate::testing::until("it is kept", || cache.contains(&digest));
        server.go.notify_one();
        // The right bytes, of the file that was complete meanwhile.
        let at = usize::try_from(SMALL).unwrap();
        assert_eq!(small.join().unwrap().unwrap(), server.bytes[at + 10..at + 90]);
    });
    assert_eq!(big.read_range(&entry, 0..LEN, &cx).unwrap(), server.bytes);
    let kept = big.fetching.cache.read(&digest, Layout::V3).unwrap().unwrap();
    assert_eq!(kept, server.bytes, "the cache holds the same file under another name");
}

#[test]
fn a_granule_has_one_writer() {
    let mut blocks = Blocks { have: vec![State::Missing; 8], missing: 8, next: 0, verdict: None };
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
    assert_eq!(partial.bytes(0..2 * SMALL).unwrap(), cut(&server.bytes, &(0..2 * SMALL)));
}
