//! The requests that read bytes.

use super::{Fs, INodeNo, ReplyData, errno};
use crate::inode::{FileNode, Ino};
use crate::overlay::Content;
use dds_core::Kind;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

impl Fs {
    pub(super) fn read_at(&self, ino: Ino, offset: u64, size: u32, reply: ReplyData) {
        match self.overlay.content(ino) {
            Ok(Content::Own(own)) => match read_own(&own.file, offset, size) {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(error.into()),
            },
            Ok(Content::Base(file)) => self.read_base(file, offset, size, reply),
            Err(error) => reply.error(error.into()),
        }
    }

    fn read_base(&self, file: Arc<FileNode>, offset: u64, size: u32, reply: ReplyData) {
        if let Some(bytes) = self.reader.peek(&file, offset, size) {
            return reply.data(&bytes);
        }
        let (reader, notify) = (self.reader.clone(), self.notify.clone());
        self.reader.pool().urgent(move || match reader.read(&file, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => {
                reply.error(errno(&error));
                // After the answer: until then this very read holds pages that the kernel would wait for. Not
                // in the pool, where the reads wait that hold others.
                if error.kind == Kind::Corrupt
                    && file.drop_pages()
                    && let Some(notifier) = notify.get().cloned()
                {
                    std::thread::spawn(move || drop(notifier.inval_inode(INodeNo(file.ino), 0, 0)));
                }
            }
        });
    }
}

/// Up to `size` bytes, less at the end of the file only.
fn read_own(file: &File, offset: u64, size: u32) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
