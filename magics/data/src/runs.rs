//! Who reads a file in order, and how far already: what is fetched ahead follows from that.
//!
//! A program's one read may come in pieces, not always in their order, and several programs may read one
//! file; so a file has several runs. Pure bookkeeping, it fetches nothing.

use std::ops::Range;

/// Readers of one file that are told apart.
pub const MAX_RUNS: usize = 8;
/// How far a piece may be before the others of its read, in bytes.
const MAX_EARLY: u64 = 256 << 10;
/// How far a piece may be behind the others.
const MAX_LATE: u64 = 512 << 10;

/// The runs of one file.
#[derive(Debug, Default)]
pub struct Runs {
    runs: Vec<Run>,
    clock: u64,
}

/// Bytes that were read one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where it began.
    pub start: u64,
    /// Where it goes on.
    pub next: u64,
    /// Bytes that were read.
    pub len: u64,
    used: u64,
}

impl Runs {
    /// `range` is read now; gives the run to which it belongs, with it.
    pub fn read(&mut self, range: &Range<u64>) -> Run {
        self.clock += 1;
        let fits = |run: &Run| {
            range.start <= run.next.saturating_add(MAX_EARLY)
                && range.start >= run.next.saturating_sub(MAX_LATE).max(run.start.saturating_sub(MAX_EARLY))
        };
        let near = self.runs.iter_mut().filter(|run| fits(run)).min_by_key(|r| r.next.abs_diff(range.start));
        if let Some(run) = near {
            // What was there before does not count twice.
            let new = range.end.saturating_sub(range.start.max(run.next));
            let before = run.start.saturating_sub(range.start);
            run.len += new + before;
            run.start = run.start.min(range.start);
            run.next = run.next.max(range.end);
            run.used = self.clock;
            return *run;
        }
        if self.runs.len() >= MAX_RUNS
            && let Some(oldest) = (0..self.runs.len()).min_by_key(|at| self.runs.get(*at).map(|run| run.used))
        {
            self.runs.swap_remove(oldest);
        }
        let len = range.end.saturating_sub(range.start);
        let run = Run { start: range.start, next: range.end, len, used: self.clock };
        self.runs.push(run);
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1 << 10;

    #[test]
    fn pieces_in_order_are_one_run() {
        let mut runs = Runs::default();
        for n in 0..40 {
            let run = runs.read(&(n * 128 * K..(n + 1) * 128 * K));
            assert_eq!((run.start, run.len), (0, (n + 1) * 128 * K));
        }
    }

    #[test]
    fn pieces_that_overtake_each_other_are_one_run() {
        let mut runs = Runs::default();
        for n in [1, 0, 2, 4, 3, 6, 5, 7] {
            runs.read(&(n * 128 * K..(n + 1) * 128 * K));
        }
        let run = runs.read(&(8 * 128 * K..9 * 128 * K));
        assert_eq!(run.start, 0);
        // A piece that came late is counted once at most.
        assert!(run.len <= 9 * 128 * K && run.len >= 5 * 128 * K, "{run:?}");
    }

    #[test]
    fn reads_here_and_there_stay_short() {
        let mut runs = Runs::default();
        for n in 0..1000_u64 {
            // In two pieces, as the system asks for one that begins within a page.
            let at = (n * 7919 % 1000) * 1000 * K;
            assert_eq!(runs.read(&(at..at + 60 * K)).len, 60 * K);
            assert_eq!(runs.read(&(at + 60 * K..at + 68 * K)).len, 68 * K);
            assert!(runs.runs.len() <= MAX_RUNS);
        }
    }

    #[test]
    fn several_readers_are_told_apart() {
        let mut runs = Runs::default();
        for n in 0..50 {
            for reader in 0..MAX_RUNS as u64 {
                let at = reader * (1 << 30) + n * 128 * K;
                assert_eq!(runs.read(&(at..at + 128 * K)).len, (n + 1) * 128 * K);
            }
        }
    }

    #[test]
    fn reading_the_same_again_is_no_way_forward() {
        let mut runs = Runs::default();
        for _ in 0..100 {
            assert_eq!(runs.read(&(0..64 * K)).len, 64 * K);
        }
    }
}
