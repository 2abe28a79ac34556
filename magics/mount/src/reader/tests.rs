use super::*;
use crate::block_cache::CACHE_BYTES;
use crate::memory::{Memory, noise, path};
use crate::prefetch::MAX_WINDOW;
use std::time::{Duration, Instant, UNIX_EPOCH};

struct Fixture {
    reader: Reader,
    source: Arc<Memory>,
    tree: Arc<Superblock>,
    counters: Arc<Counters>,
    notes: Arc<Mutex<Vec<String>>>,
}

fn fixture(source: Memory) -> Fixture {
    let (source, cx) = (Arc::new(source), Cx::silent("/"));
    let tree = Arc::new(Superblock::load(source.clone(), UNIX_EPOCH, &cx).unwrap());
    let (counters, notes) = (Arc::new(Counters::default()), Arc::new(Mutex::new(Vec::new())));
    let told = notes.clone();
    let reader = Reader::new(
        tree.clone(),
        BlockCache::new(CACHE_BYTES),
        Arc::new(Pool::default()),
        counters.clone(),
        Arc::new(move |text| told.lock().unwrap().push(text.to_owned())),
        cx,
    );
    Fixture { reader, source, tree, counters, notes }
}

impl Fixture {
    fn file(&self, name: &str) -> Arc<FileNode> {
        self.tree.file(self.tree.at(&path(name)).unwrap().ino()).unwrap()
    }

    /// Reads in steps of `step` bytes, as the kernel does.
    fn read_all(&self, name: &str, step: u32) -> Result<Vec<u8>> {
        let file = self.file(name);
        let mut bytes = Vec::new();
        loop {
            let part = self.reader.read(&file, bytes.len() as u64, step)?;
            if part.is_empty() {
                return Ok(bytes);
            }
            bytes.extend_from_slice(&part);
        }
    }
}

#[test]
fn a_small_file_is_fetched_once_and_whole() {
    let f = fixture(Memory::new("u@1", [("a", noise(300_000, 1)), ("empty", vec![])]));
    assert_eq!(f.read_all("a", 65_536).unwrap(), f.source.bytes("a"));
    assert_eq!(f.read_all("empty", 10).unwrap(), b"");
    let handle = f.file("a");
    assert_eq!(f.reader.read(&handle, 299_990, 100).unwrap(), f.source.bytes("a")[299_990..]);
    assert_eq!(f.reader.peek(&handle, 5, 3).unwrap(), f.source.bytes("a")[5..8]);
    assert!(f.reader.read(&handle, u64::MAX, 100).unwrap().is_empty());
    let seen = f.source.seen();
    assert_eq!((seen.reads, seen.ranges.len(), seen.stats), (vec!["a".to_owned()], 0, 0));
    let stats = f.counters.stats(f.tree.totals());
    assert_eq!((stats.files_listed, stats.files_streamed, stats.bytes_streamed), (2, 1, 300_000));
    assert_eq!(stats.bytes_served, 300_013);
}

#[test]
fn the_border_between_whole_and_by_blocks() {
    let limit = WHOLE_FILE_BYTES as usize;
    let f = fixture(Memory::new("u@1", [("at", noise(limit, 1)), ("over", noise(limit + 1, 2))]));
    assert!(f.read_all("at", 1 << 20).unwrap() == f.source.bytes("at"));
    assert_eq!(f.source.seen().ranges.len(), 0);
    assert!(f.read_all("over", 1 << 20).unwrap() == f.source.bytes("over"));
    let seen = f.source.seen();
    // The first block in one piece, then whole blocks, of which the first is taken along.
    assert_eq!((seen.reads.len(), seen.ranges.len()), (1, 9), "{:?}", seen.ranges);
}

#[test]
fn a_large_file_is_read_by_blocks_at_any_offset() {
    let f = fixture(Memory::new("u@1", [("big", noise(20 * 1024 * 1024 + 77, 1))]));
    let (handle, bytes) = (f.file("big"), f.source.bytes("big"));
    for (offset, len) in
        [(13 << 20, 10_u32), (3_145_720, 131_072), (bytes.len() - 5, 100), (0, 1), (9, 3 << 20)]
    {
        let end = (offset + len as usize).min(bytes.len());
        assert!(f.reader.read(&handle, offset as u64, len).unwrap() == bytes[offset..end], "{offset}");
    }
    let ranges = f.source.seen().ranges;
    let blocks = |r: &Range<u64>| r.start.is_multiple_of(BLOCK_BYTES) && r.end - r.start <= BLOCK_BYTES;
    // Who jumps gets what was asked for.
    assert_eq!(ranges[..4], [13 << 20..(13 << 20) + 10, 3_145_720..3_276_792, 20_971_592..20_971_597, 0..1]);
    assert!(ranges[4..].iter().all(blocks) && ranges.len() < 12, "{ranges:?}");
    assert!(f.source.seen().reads.is_empty(), "never as a whole");
}

#[test]
fn who_reads_a_large_file_in_order_gets_each_block_once() {
    let f = fixture(Memory::new("u@1", [("big", noise(20 * 1024 * 1024 + 77, 1))]));
    assert!(f.read_all("big", 131_072).unwrap() == f.source.bytes("big"));
    let ranges = f.source.seen().ranges;
    let (pieces, blocks): (Vec<_>, Vec<_>) = ranges.iter().partition(|r| r.end - r.start == 131_072);
    // Seven pieces until it is known; what they were of comes again, from the source's own memory of it.
    assert_eq!((pieces.len(), blocks.len()), (7, 21), "{ranges:?}");
    assert_eq!(f.counters.stats((0, 0)).bytes_streamed, 20 * 1024 * 1024 + 77);
}

/// As programs ask that look for something in a large file: the system sends one read in two pieces.
#[test]
fn reads_here_and_there_fetch_no_more_than_was_asked_for() {
    let f = fixture(Memory::new("u@1", [("big", noise(40 * 1024 * 1024, 1))]));
    let (file, bytes) = (f.file("big"), f.source.bytes("big"));
    let mut read = 0;
    for n in 0..40_usize {
        let at = (n * 17 % 40) << 20;
        for (from, len) in [(at + 4000, 61_440), (at + 65_440, 4096)] {
            let part = f.reader.read(&file, from as u64, len as u32).unwrap();
            assert!(part == bytes[from..from + len], "{from}");
            read += len;
        }
    }
    // Again what is at the beginning, a little further each time, as formats with a header are read.
    for len in [1 << 10, 64 << 10, 256 << 10] {
        assert!(f.reader.read(&file, 0, len).unwrap() == bytes[..len as usize]);
        read += len as usize;
    }
    let fetched: u64 = f.source.seen().ranges.iter().map(|r| r.end - r.start).sum();
    assert_eq!(fetched, read as u64);
}

#[test]
fn a_damaged_file_is_never_served_and_named_once() {
    let f = fixture(Memory::new("u@1", [("a", noise(1000, 1)), ("b", noise(1000, 2))]).damage("a"));
    let handle = f.file("a");
    for _ in 0..3 {
        assert_eq!(f.reader.read(&handle, 0, 10).unwrap_err().kind, Kind::Corrupt);
    }
    assert!(f.reader.peek(&handle, 0, 10).is_none());
    assert_eq!(f.source.seen().reads, ["a"], "not fetched again");
    let notes = f.notes.lock().unwrap().clone();
    assert!(notes.len() == 1 && notes[0].contains("a: bytes do not have"), "{notes:?}");
    assert_eq!(f.read_all("b", 100).unwrap(), f.source.bytes("b"));
}

#[test]
fn a_large_damaged_file_fails_before_its_last_block() {
    let len = 11 * 1024 * 1024 + 5;
    let f = fixture(Memory::new("u@1", [("big", noise(len, 1))]).damage("big"));
    let handle = f.file("big");
    let mut served = 0;
    let error = loop {
        match f.reader.read(&handle, served, 131_072) {
            Ok(part) if part.is_empty() => panic!("served to its end"),
            Ok(part) => served += part.len() as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, Kind::Corrupt);
    assert!(served < len as u64 && error.message.contains("big"), "{error}");
    assert_eq!(f.reader.read(&handle, 0, 10).unwrap_err().kind, Kind::Corrupt);
    assert_eq!(f.notes.lock().unwrap().len(), 1);
}

#[test]
fn other_errors_are_told_and_tried_again() {
    let f = fixture(Memory::new("u@1", [("x1", noise(1000, 1))]));
    let (file, cancel) = (f.file("x1"), f.reader.cx().cancel.clone());
    f.reader.report(&file, &Error::new(Kind::Unreachable, "server away"));
    assert_eq!(*f.notes.lock().unwrap(), ["read failed: x1: server away"]);
    assert!(!cancel.is_cancelled() && file.trouble().is_none());
    assert_eq!(f.reader.read(&file, 0, 4).unwrap().len(), 4);
}

#[test]
fn walking_announces_in_order_within_the_window_and_listing_fetches_nothing() {
    let f = fixture(Memory::grid("u@1", 360, 100, Duration::ZERO));
    assert_eq!((f.source.seen().fetches, f.source.seen().announcements.len()), (0, 0));
    let names = f.source.names();
    for (position, name) in names.iter().enumerate() {
        f.read_all(name, 4096).unwrap();
        let announced = f.source.seen().announced().len();
        assert!(announced <= position + MAX_WINDOW, "{announced} at {position}");
    }
    assert_eq!(f.source.seen().announced(), names[1..].iter().collect::<Vec<_>>());
}

#[test]
fn a_told_order_is_announced_instead() {
    let f = fixture(Memory::grid("u@1", 360, 100, Duration::ZERO));
    let names = f.source.names();
    let shuffled: Vec<String> = (0..360).map(|i| names[(i * 77) % 360].clone()).collect();
    let mut order: Vec<RepoPath> = shuffled.iter().map(|name| path(name)).collect();
    order.push(path("not/there"));
    f.reader.follow(&order);
    for name in &shuffled {
        f.read_all(name, 4096).unwrap();
    }
    assert_eq!(f.source.seen().announced(), shuffled[1..].iter().collect::<Vec<_>>());
}

/// Not a test of time: prints the figure, and asserts only that fetches overlapped.
#[test]
fn latency_is_hidden_by_the_window() {
    let latency = Duration::from_millis(20);
    let raw = Memory::grid("u@1", 360, 45_000, latency);
    let names = raw.names();
    let start = Instant::now();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..crate::memory::CONNECTIONS {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    raw.fetch(raw.bytes(name));
                }
            });
        }
    });
    let floor = start.elapsed();
    let f = fixture(Memory::grid("u@1", 360, 45_000, latency));
    let start = Instant::now();
    for name in &names {
        assert!(f.read_all(name, 131_072).unwrap() == f.source.bytes(name));
    }
    let ours = start.elapsed();
    let seen = f.source.seen();
    eprintln!(
        "360 files, 20 ms a request: {ours:.2?}, floor {floor:.2?}, {:.2} x, {} fetches, peak {}",
        ours.as_secs_f64() / floor.as_secs_f64(),
        seen.fetches,
        seen.peak
    );
    assert_eq!(seen.fetches, 360);
    assert!(seen.peak >= 16, "{}", seen.peak);
}

#[test]
fn another_reader_does_not_end_the_verification() {
    let len = 30 * 1024 * 1024 + 5;
    let f = fixture(Memory::new("u@1", [("big", noise(len, 1))]).damage("big"));
    let file = f.file("big");
    let mut served = 0;
    let error = loop {
        // Somebody else looks here and there, and from the beginning again.
        let _ = f.reader.read(&file, served * 7 % len as u64, 1000);
        let _ = f.reader.read(&file, served / 3, 131_072);
        match f.reader.read(&file, served, 131_072) {
            Ok(part) if part.is_empty() => panic!("served to its end"),
            Ok(part) => served += part.len() as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, Kind::Corrupt);
}

#[test]
fn what_is_known_of_readers_is_bounded() {
    let mut recent = Recent::default();
    for ino in 0..1000 {
        recent.put(ino, (), MAX_FOLLOWED);
        recent.put(5, (), MAX_FOLLOWED);
    }
    assert!(recent.entries.len() == MAX_FOLLOWED && recent.get(5).is_some() && recent.get(6).is_none());
    let names = ["a", "b", "c"];
    let f = fixture(Memory::new("u@1", names.map(|name| (name, noise(WHOLE_FILE_BYTES as usize + 1, 1)))));
    for name in names {
        f.reader.read(&f.file(name), 0, 2 << 20).unwrap();
    }
    assert_eq!((lock(&f.reader.0.hashing).entries.len(), lock(&f.reader.0.runs).entries.len()), (3, 3));
}
