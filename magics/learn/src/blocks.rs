//! A file of a [`Source`] as something to read and seek in, block by block, so that a giant image is never
//! in memory as a whole.

use crate::place::FileRef;
use dds_core::{Cx, Result};
use std::io::{self, BufRead, Read, Seek, SeekFrom};

/// One request of a file that lies on a server.
const BLOCK: u64 = 1 << 20;

pub struct BlockReader<'a> {
    file: &'a FileRef,
    cx: &'a Cx,
    len: u64,
    position: u64,
    block: Vec<u8>,
    /// Where `block` begins.
    start: u64,
}

impl<'a> BlockReader<'a> {
    /// Errors: those of asking for the file's size.
    pub fn open(file: &'a FileRef, cx: &'a Cx) -> Result<Self> {
        let len = match file.size {
            Some(len) => len,
            None => file.source.stat(&file.path, cx)?.size.unwrap_or(0),
        };
        Ok(Self { file, cx, len, position: 0, block: Vec::new(), start: 0 })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl BufRead for BlockReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let inside = self.position.checked_sub(self.start).is_some_and(|at| at < self.block.len() as u64);
        if !inside && self.position < self.len {
            self.start = self.position - self.position % BLOCK;
            let range = self.start..(self.start + BLOCK).min(self.len);
            let read = self
                .cx
                .cancel
                .check()
                .and_then(|()| self.file.source.read_range(&self.file.path, range, self.cx));
            self.block = read.map_err(io::Error::other)?;
        }
        let at = self.position.saturating_sub(self.start) as usize;
        Ok(self.block.get(at..).unwrap_or_default())
    }

    fn consume(&mut self, n: usize) {
        self.position += n as u64;
    }
}

impl Read for BlockReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let have = self.fill_buf()?;
        let n = have.len().min(out.len());
        out[..n].copy_from_slice(&have[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl Seek for BlockReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::End(by) => (self.len, by),
            SeekFrom::Current(by) => (self.position, by),
        };
        let at = from.checked_add_signed(by).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.position = at;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalTree;
    use dds_core::RepoPath;
    use std::sync::Arc;

    #[test]
    fn any_part_is_what_the_file_holds() {
        let dir = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..2 * BLOCK + 100).map(|i| (i * 7 % 251) as u8).collect();
        std::fs::write(dir.path().join("x"), &content).unwrap();
        let source = Arc::new(LocalTree::new(dir.path()));
        let file = FileRef { source, path: RepoPath::parse("x").unwrap(), size: None, digest: None };
        let cx = Cx::silent("/");
        let mut reader = BlockReader::open(&file, &cx).unwrap();
        for at in [0, BLOCK - 3, 2 * BLOCK + 90, 5] {
            let mut part = vec![0; 9];
            reader.seek(SeekFrom::Start(at)).unwrap();
            reader.read_exact(&mut part).unwrap();
            assert_eq!(part, content[at as usize..at as usize + 9]);
        }
        assert_eq!(reader.seek(SeekFrom::End(-1)).unwrap(), content.len() as u64 - 1);
        let mut rest = Vec::new();
        assert_eq!(reader.read_to_end(&mut rest).unwrap(), 1);
        assert!(reader.seek(SeekFrom::Current(-1 - content.len() as i64)).is_err());
    }
}
