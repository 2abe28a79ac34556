//! Which files to announce when one is opened.
//!
//! Readers mostly walk: in directory order, or in an order that somebody told ([`Prefetcher::follow`]).
//! Each walk is a stream with a window of files ahead, which grows while the walk goes on. Jumps
//! halve the window that new streams start with, so that a shuffled reader soon announces nothing.
//! An announcement is the whole window, because a source puts the newest announcement first.
//! Pure bookkeeping: positions in, positions out; it fetches nothing.

use crate::inode::Ino;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Window of the first stream, in files.
pub const MIN_WINDOW: usize = 4;
/// Factor by which a walk's window grows with each file. With 2 the first round trips still showed.
const GROWTH: usize = 4;
/// Largest window, in files. 32 connections with twice that many files ahead were measured to be
/// enough to hide 20 ms of latency.
pub const MAX_WINDOW: usize = 64;
/// Bytes that the files of one window may have together.
pub const WINDOW_BYTES: u64 = 64 * 1024 * 1024;
/// Walks that are followed at the same time (one per reading thread, say).
pub const MAX_STREAMS: usize = 16;
/// Most files of an announced order.
pub const MAX_ORDER: usize = crate::superblock::MAX_FILES;
/// Files by which parallel readers of one walk may be out of step.
const SLACK: usize = 8;

#[derive(Default)]
pub struct Prefetcher {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    streams: Vec<Stream>,
    clock: u64,
    /// Halvings of the first window, by jumps.
    damping: u32,
    told: Option<Arc<Told>>,
}

/// An order that somebody told.
struct Told {
    files: Vec<Ino>,
    position: HashMap<Ino, usize>,
}

/// One reader walking along an order.
struct Stream {
    told: bool,
    /// The position that a sequential reader opens next.
    next: usize,
    /// Announced up to here, exclusive.
    ahead: usize,
    window: usize,
    used: u64,
}

/// The walk order of the tree, and how big its files are.
pub struct Walk<'a> {
    pub files: &'a [Ino],
    /// Size of a file in bytes; none when it should not be announced.
    pub size: &'a dyn Fn(Ino) -> Option<u64>,
}

impl Prefetcher {
    /// From now on files are read in this order (a training epoch). Replaces an earlier one; files
    /// beyond [`MAX_ORDER`] are left out.
    pub fn follow(&self, mut files: Vec<Ino>) {
        files.truncate(MAX_ORDER);
        let mut position = HashMap::with_capacity(files.len());
        for (at, ino) in files.iter().enumerate() {
            position.entry(*ino).or_insert(at);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.streams.retain(|stream| !stream.told);
        state.told = (!files.is_empty()).then(|| Arc::new(Told { files, position }));
    }

    /// The tree changed: positions of earlier walks mean nothing any more.
    pub fn reset(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.streams.clear();
        state.told = None;
    }

    /// `ino`, at `position` of the walk, was opened. Gives the files to announce, in reading order:
    /// nothing while most of the window was announced before.
    pub fn opened(&self, ino: Ino, position: usize, walk: &Walk<'_>) -> Vec<Ino> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let told = state.told.clone();
        let in_told = told.as_ref().and_then(|told| Some((told, *told.position.get(&ino)?)));
        let (files, position) = match in_told {
            Some((told, position)) => (told.files.as_slice(), position),
            None => (walk.files, position),
        };
        let range = state.advance(position, in_told.is_some(), files, walk.size);
        files
            .get(range)
            .unwrap_or_default()
            .iter()
            .copied()
            .filter(|ino| (walk.size)(*ino).is_some())
            .collect()
    }
}

impl State {
    fn advance(
        &mut self,
        position: usize,
        told: bool,
        files: &[Ino],
        size: &dyn Fn(Ino) -> Option<u64>,
    ) -> Range<usize> {
        self.clock += 1;
        let clock = self.clock;
        let found = self.streams.iter_mut().find(|stream| {
            stream.told == told
                && position + SLACK >= stream.next
                && position <= stream.ahead.max(stream.next) + 1
        });
        let stream = match found {
            Some(stream) => {
                if position >= stream.next {
                    stream.window = (stream.window * GROWTH).clamp(MIN_WINDOW, MAX_WINDOW);
                    stream.next = position + 1;
                    self.damping = self.damping.saturating_sub(1);
                }
                stream
            }
            None => {
                // A told order is certain: it starts with a full window.
                let window = if told { MAX_WINDOW } else { MIN_WINDOW >> self.damping.min(usize::BITS - 1) };
                if !told {
                    self.damping = (self.damping + 1).min(MIN_WINDOW.ilog2() + 1);
                }
                if self.streams.len() >= MAX_STREAMS
                    && let Some(oldest) = (0..self.streams.len()).min_by_key(|at| self.streams[*at].used)
                {
                    self.streams.swap_remove(oldest);
                }
                self.streams.push(Stream { told, next: position + 1, ahead: position + 1, window, used: 0 });
                let Some(stream) = self.streams.last_mut() else { return 0..0 };
                stream
            }
        };
        stream.used = clock;
        let from = stream.ahead.max(stream.next);
        let limit = stream.next.saturating_add(stream.window).min(files.len());
        // Announced in portions of a quarter window, not file by file.
        let portion = (stream.window / 4).max(1);
        if from >= limit || (from + portion > limit && limit < files.len()) {
            return 0..0;
        }
        let mut bytes: u64 =
            files.get(stream.next..from).unwrap_or_default().iter().filter_map(|i| size(*i)).sum();
        let mut to = from;
        while to < limit {
            bytes = bytes.saturating_add(files.get(to).and_then(|ino| size(*ino)).unwrap_or(0));
            if bytes > WINDOW_BYTES {
                break;
            }
            to += 1;
        }
        if to == from {
            return 0..0;
        }
        stream.ahead = to;
        stream.next..to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(count: usize) -> Vec<Ino> {
        (100..100 + count as u64).collect()
    }

    fn open(prefetcher: &Prefetcher, files: &[Ino], position: usize) -> Vec<usize> {
        let walk = Walk { files, size: &|_| Some(1000) };
        prefetcher.opened(files[position], position, &walk).iter().map(|ino| *ino as usize - 100).collect()
    }

    #[test]
    fn a_walk_announces_every_file_in_time_and_never_too_far_ahead() {
        let (prefetcher, files) = (Prefetcher::default(), files(500));
        let (mut ahead, mut farthest, mut announcements) = (0, 0, 0);
        for position in 0..files.len() {
            assert!(position == 0 || ahead >= position, "{position} came late");
            let window = open(&prefetcher, &files, position);
            let Some(last) = window.last() else { continue };
            // The whole window, in reading order.
            assert_eq!(window, (position + 1..=*last).collect::<Vec<_>>());
            if position == 0 {
                assert_eq!(window, [1, 2, 3, 4]);
            }
            assert!(*last > ahead, "{position} announces nothing new");
            (ahead, farthest, announcements) = (*last, farthest.max(last - position), announcements + 1);
        }
        assert_eq!((ahead, farthest), (499, MAX_WINDOW));
        assert!(announcements < 50, "announced in portions, not {announcements} times");
    }

    #[test]
    fn a_shuffled_reader_soon_announces_nothing() {
        let (prefetcher, files) = (Prefetcher::default(), files(10_000));
        let shuffled = (0..1000_usize).map(|i| (i * 7919) % 10_000);
        let counts: Vec<usize> = shuffled.map(|position| open(&prefetcher, &files, position).len()).collect();
        assert_eq!(counts[..4], [4, 2, 1, 0]);
        assert!(counts.iter().skip(4).sum::<usize>() < 50, "{counts:?}");
        // Walking again is noticed at the second file.
        open(&prefetcher, &files, 5000);
        assert_eq!(open(&prefetcher, &files, 5001).first(), Some(&5002));
    }

    #[test]
    fn parallel_walks_are_told_apart() {
        let (prefetcher, files) = (Prefetcher::default(), files(2000));
        let mut announced = vec![false; 2000];
        for step in 0..200 {
            for start in [0, 500, 1000, 1500] {
                assert!(step < 8 || announced[start + step], "{step} of the walk from {start}");
                for position in open(&prefetcher, &files, start + step) {
                    assert!(position > start + step && position <= start + step + MAX_WINDOW);
                    announced[position] = true;
                }
            }
        }
    }

    #[test]
    fn a_told_order_is_followed_from_its_first_file() {
        let (prefetcher, files) = (Prefetcher::default(), files(1000));
        let order: Vec<usize> = (0..1000_usize).map(|i| (i * 389) % 1000).collect();
        prefetcher.follow(order.iter().map(|position| files[*position]).collect());
        let mut ahead = 0;
        for (step, position) in order.iter().enumerate() {
            let window = open(&prefetcher, &files, *position);
            if !window.is_empty() {
                assert_eq!(window, order[step + 1..step + 1 + window.len()]);
                ahead = step + window.len();
            }
            assert!(ahead == 999 || ahead >= step + MAX_WINDOW / 2, "{step}");
        }
        prefetcher.reset();
        assert!(open(&prefetcher, &files, 0).len() <= MIN_WINDOW);
    }

    #[test]
    fn a_window_is_bounded_in_bytes() {
        let (prefetcher, files) = (Prefetcher::default(), files(300));
        let mebibytes = WINDOW_BYTES / 8;
        let walk = Walk { files: &files, size: &|_| Some(mebibytes) };
        let mut most = 0;
        for (position, ino) in files.iter().enumerate() {
            most = most.max(prefetcher.opened(*ino, position, &walk).len());
        }
        assert_eq!(most, 8);
        let unlisted = Walk { files: &files, size: &|_| None };
        prefetcher.reset();
        assert!(prefetcher.opened(files[0], 0, &unlisted).is_empty(), "large files are not announced");
    }

    #[test]
    fn streams_are_bounded() {
        let (prefetcher, files) = (Prefetcher::default(), files(100_000));
        for position in (0..100_000).step_by(1000) {
            open(&prefetcher, &files, position);
            assert!(prefetcher.state.lock().unwrap().streams.len() <= MAX_STREAMS);
        }
    }
}
