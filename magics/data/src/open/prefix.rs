//! The MD5 of a file that comes in pieces: taken of what is here from its start, while the rest still comes.

use crate::flight::lock;
use md5::{Digest as _, Md5};
use std::fs::File;
use std::io::Result;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

/// Bytes read from the file at a time.
const PIECE: u64 = 256 << 10;

/// What was hashed so far.
#[derive(Default)]
pub struct Prefix(Mutex<State>);

#[derive(Default)]
struct State {
    md5: Md5,
    next: u64,
}

impl Prefix {
    /// Hashes on while `here` says that bytes from an offset on have come, and up to where. Does nothing
    /// while somebody else is at it.
    ///
    /// The bytes are read from the file, also where the caller has them: what counts is what lies there.
    pub fn advance(&self, file: &File, here: impl Fn(u64) -> u64) -> Result<()> {
        let Ok(mut state) = self.0.try_lock() else { return Ok(()) };
        loop {
            let end = here(state.next);
            if end <= state.next {
                return Ok(());
            }
            state.hash(file, end)?;
        }
    }

    /// The digest of a file of `size` bytes, all of which have come. Once.
    pub fn finish(&self, file: &File, size: u64) -> Result<[u8; 16]> {
        let mut state = lock(&self.0);
        state.hash(file, size)?;
        Ok(std::mem::take(&mut *state).md5.finalize().into())
    }
}

impl State {
    fn hash(&mut self, file: &File, end: u64) -> Result<()> {
        let mut piece = vec![0; usize::try_from(PIECE.min(end.saturating_sub(self.next))).unwrap_or(0)];
        while self.next < end {
            let len = usize::try_from((end - self.next).min(piece.len() as u64)).unwrap_or(0);
            let Some(part) = piece.get_mut(..len) else { break };
            file.read_exact_at(part, self.next)?;
            self.md5.update(part);
            self.next += len as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_the_rest_give_the_digest_of_the_whole() {
        let bytes: Vec<u8> = (0..1_000_003_u32).map(|n| (n * 31 % 251) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let expected: [u8; 16] = Md5::digest(&bytes).into();
        for known in [0, 1, 300_000, bytes.len() as u64] {
            let prefix = Prefix::default();
            prefix.advance(&file, |next| next.max(known)).unwrap();
            prefix.advance(&file, |next| next).unwrap();
            assert_eq!(prefix.finish(&file, bytes.len() as u64).unwrap(), expected, "{known}");
        }
        let short = Prefix::default();
        assert!(short.finish(&file, bytes.len() as u64 + 1).is_err());
    }
}
