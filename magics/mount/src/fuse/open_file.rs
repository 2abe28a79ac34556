//! A file that a program has open: the bytes of the repository, until somebody changes them, from then
//! on its own.

use super::{Errno, Inner, errno, lock};
use crate::inode::Ino;
use crate::overlay::Own;
use crate::reader::Handle;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

pub(super) struct Opened {
    pub ino: Ino,
    pub base: Option<Arc<Handle>>,
    own: OnceLock<Arc<Own>>,
    pub writes: bool,
}

impl Opened {
    pub fn new(ino: Ino, base: Option<Arc<Handle>>, writes: bool) -> Self {
        Self { ino, base, own: OnceLock::new(), writes }
    }

    pub fn own(&self) -> Option<&Arc<Own>> {
        self.own.get()
    }

    /// From now on its bytes are these.
    pub fn attach(&self, own: &Arc<Own>) {
        if self.own.set(own.clone()).is_ok() && self.writes {
            own.writers.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Inner {
    /// Opens a file that is in the tree; gives its handle.
    pub(super) fn open_item(&self, ino: Ino, reads: bool, writes: bool) -> Result<u64, Errno> {
        let item = self.overlay.item(ino).ok_or(Errno::ESTALE)?;
        let own = self.overlay.own_of(ino)?;
        let base = match item.file().filter(|_| own.is_none() && reads) {
            Some(file) => Some(Arc::new(self.reader.open(file.clone()).map_err(|e| errno(&e))?)),
            None => None,
        };
        let opened = Arc::new(Opened::new(ino, base, writes));
        let fh = self.keep(opened.clone());
        // Asked once it is kept: who changes the file in between finds the handle.
        if let Some(own) = self.overlay.own_of(ino)? {
            opened.attach(&own);
        }
        Ok(fh)
    }

    pub(super) fn keep(&self, opened: Arc<Opened>) -> u64 {
        let fh = self.new_handle();
        lock(&self.files).insert(fh, opened);
        fh
    }

    /// Everybody who has the file open reads and writes these bytes from now on.
    pub(super) fn attach_all(&self, ino: Ino, own: &Arc<Own>) {
        for open in lock(&self.files).values().filter(|open| open.ino == ino) {
            open.attach(own);
        }
    }

    pub(super) fn close(&self, open: &Opened) {
        if let Some(base) = &open.base {
            self.reader.close(base);
        }
        let Some(own) = open.own().filter(|_| open.writes) else { return };
        if own.writers.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        if let Some((parent, name)) = self.overlay.written(open.ino)
            && let Some(notifier) = self.notify.get().cloned()
        {
            // Not in this thread: the kernel waits for our answer meanwhile.
            self.reader.pool().urgent(move || {
                let _ = notifier.inval_entry(super::INodeNo(parent), std::ffi::OsStr::new(&name));
            });
        }
    }
}

/// Up to `size` bytes, less at the end of the file only.
pub(super) fn read_at(file: &File, offset: u64, size: u32) -> std::io::Result<Vec<u8>> {
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
