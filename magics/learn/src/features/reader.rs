//! Files read ahead by several threads, handed over one by one.

use crate::decode::MAX_FILE_BYTES;
use crate::place::FileRef;
use dds_core::{Cx, Error, Kind, RepoPath, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Threads that read. They mostly wait: for a server, or for a disk.
pub const READERS: usize = 8;
/// Files that wait to be taken.
pub const QUEUE: usize = 16;
/// How often an Interrupt is looked for while nothing arrives.
const POLL: Duration = Duration::from_millis(50);

/// Reads `files[i]` for every `i` in `order`, after announcing that order to the sources, and calls
/// `take(i, bytes or error)` once for each, in the order of arrival. An error of `take` ends it.
///
/// Errors: `Interrupted`, and whatever `take` gives.
pub fn read_ahead(
    files: &[FileRef],
    order: &[usize],
    cx: &Cx,
    mut take: impl FnMut(usize, Result<Vec<u8>>) -> Result<()>,
) -> Result<()> {
    announce(files, order);
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let (send, receive) = sync_channel::<(usize, Result<Vec<u8>>)>(QUEUE);
    std::thread::scope(|scope| {
        for _ in 0..READERS.min(order.len()) {
            let send = send.clone();
            let (next, stop) = (&next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && !cx.cancel.is_cancelled() {
                    let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let Some(file) = files.get(index) else { return };
                    if send.send((index, read(file, cx))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut taken = 0;
        let result = loop {
            if let Err(e) = cx.cancel.check() {
                break Err(e);
            }
            match receive.recv_timeout(POLL) {
                Ok((index, read)) => {
                    taken += 1;
                    if let Err(e) = take(index, read) {
                        break Err(e);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if taken == order.len() => break Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    break cx.cancel.check().and(Err(Error::internal("a reading thread ended early")));
                }
            }
        };
        stop.store(true, Ordering::Relaxed);
        // Threads that wait to hand over a file see the closed channel and end.
        drop(receive);
        result
    })
}

/// Tells each source which of its files come next.
fn announce(files: &[FileRef], order: &[usize]) {
    let mut rest: Vec<&FileRef> = order.iter().filter_map(|i| files.get(*i)).collect();
    while let Some(first) = rest.first().copied() {
        let same = |f: &&FileRef| std::sync::Arc::ptr_eq(&f.source, &first.source);
        let paths: Vec<RepoPath> = rest.iter().copied().filter(same).map(|f| f.path.clone()).collect();
        first.source.announce(&paths);
        rest.retain(|f| !same(f));
    }
}

fn read(file: &FileRef, cx: &Cx) -> Result<Vec<u8>> {
    let too_large = |n: u64| {
        let why = format!("{}: {n} bytes, the limit for an image file is {MAX_FILE_BYTES}", file.path);
        Error::new(Kind::Limit, why)
    };
    if let Some(size) = file.size.filter(|s| *s > MAX_FILE_BYTES) {
        return Err(too_large(size));
    }
    let bytes = file.source.read(&file.path, cx)?;
    if bytes.len() as u64 > MAX_FILE_BYTES { Err(too_large(bytes.len() as u64)) } else { Ok(bytes) }
}
