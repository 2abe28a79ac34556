//! Bringing the bytes of a file of the repository into the stage, before they are changed.

use super::{Content, Item, Overlay, Own, lock};
use crate::inode::{FileNode, Ino};
use crate::reader::WHOLE_FILE_BYTES;
use crate::stage::Change;
use dds_core::{Error, Kind, Result};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// Bytes of one request for a large file.
const CHUNK: u64 = 4 * 1024 * 1024;

impl Overlay {
    /// The file's own bytes, to be changed; fetched whole and verified when it has none yet.
    ///
    /// Errors: those of the source, `Corrupt`, `Io`. Nothing has changed then.
    pub fn make_own(&self, ino: Ino) -> Result<Arc<Own>> {
        self.own_with(ino, |file, out, path| copy(file, out, path, self))
    }

    /// The same for a file that is cut to nothing: what it held is not fetched.
    pub fn make_empty(&self, ino: Ino) -> Result<Arc<Own>> {
        let own = self.own_with(ino, |_, _, _| Ok(()))?;
        self.change(ino, |file| file.set_len(0)).map_err(|e| self.io(&e))?;
        Ok(own)
    }

    fn own_with(
        &self,
        ino: Ino,
        fill: impl FnOnce(&FileNode, &mut File, &std::path::Path) -> Result<()>,
    ) -> Result<Arc<Own>> {
        let gate = lock(&self.arriving).entry(ino).or_default().clone();
        let turn = lock(&gate);
        let outcome = match self.content(ino) {
            Ok(Content::Own(own)) => Ok(own),
            Ok(Content::Base(file)) => self.bring(ino, &file, fill),
            Err(e) => Err(self.io(&e)),
        };
        drop(turn);
        lock(&self.arriving).remove(&ino);
        outcome
    }

    fn bring(
        &self,
        ino: Ino,
        file: &FileNode,
        fill: impl FnOnce(&FileNode, &mut File, &std::path::Path) -> Result<()>,
    ) -> Result<Arc<Own>> {
        let stage = self.stage.as_ref().ok_or_else(|| Error::usage("the mount is read-only"))?;
        let (id, mut out) = stage.new_file().map_err(|e| self.io(&e))?;
        let adopted = fill(file, &mut out, &stage.file_path(id)).and_then(|()| self.adopt(ino, id, out));
        adopted.inspect_err(|_| stage.remove_file(id))
    }

    /// From now on the file has these bytes. One that was removed meanwhile has them for those who
    /// still have it open.
    fn adopt(&self, ino: Ino, id: u64, file: File) -> Result<Arc<Own>> {
        let stage = self.stage.as_ref().ok_or_else(|| Error::usage("the mount is read-only"))?;
        let mut state = self.write();
        let path = state.path_of(ino, self.base());
        let item = path.as_ref().and_then(|path| state.resolve(path, self.base()));
        let (Some(path), Some(item)) = (path, item.filter(|item| item.ino() == ino)) else {
            let node = Arc::new(self.node(ino, Change::File { id, executable: None }, None));
            let own = self.own(id, file, node.seq.clone());
            *lock(&node.own) = Arc::downgrade(&own);
            self.part(&mut state, stage, &node);
            return Ok(own);
        };
        // Somebody else was first.
        if let Item::Node(node) = &item
            && let Some(own) = self.open_own(node).map_err(|e| self.io(&e))?
        {
            stage.remove_file(id);
            return Ok(own);
        }
        let said = match &item {
            Item::Node(node) => node.change.executable(),
            Item::Base(_) => None,
        };
        // The repository's own mark goes along with the name.
        let executable = said.or_else(|| item.executable().then_some(true));
        let change = Change::File { id, executable };
        stage.note(&vec![(path.clone(), Some(change.clone()))]).map_err(|e| self.io(&e))?;
        let node = Arc::new(self.node(ino, change, None));
        let own = self.own(id, file, node.seq.clone());
        *lock(&node.own) = Arc::downgrade(&own);
        state.parted.remove(&ino);
        state.insert(&path, node);
        Ok(own)
    }

    fn io(&self, error: &std::io::Error) -> Error {
        let dir = self.stage.as_ref().map_or_else(Default::default, |stage| stage.dir().to_owned());
        // Which limit of the disk it was must reach the writer.
        Error::io(&dir, error)
    }
}

fn copy(file: &FileNode, out: &mut File, path: &std::path::Path, overlay: &Overlay) -> Result<()> {
    let cx = &overlay.cx;
    let io = |e: std::io::Error| Error::io(path, &e);
    let size = file.size(cx)?;
    if size <= WHOLE_FILE_BYTES {
        let bytes = file.source.read(&file.path, cx)?;
        check_length(file, size, bytes.len() as u64)?;
        return out.write_all(&bytes).map_err(io);
    }
    let mut at = 0;
    while at < size {
        cx.cancel.check()?;
        let range = at..(at + CHUNK).min(size);
        let expected = range.end - range.start;
        let bytes = file.source.read_range(&file.path, range, cx)?;
        check_length(file, expected, bytes.len() as u64)?;
        out.write_all(&bytes).map_err(io)?;
        at += expected;
    }
    if let Some(digest) = &file.digest {
        let (found, _) = dds_data::store::digest_of_file(path, digest)?;
        if found != *digest {
            return Err(Error::new(
                Kind::Corrupt,
                format!("{}: its bytes have the digest {found}, not {digest}", file.path),
            ));
        }
    }
    Ok(())
}

fn check_length(file: &FileNode, expected: u64, came: u64) -> Result<()> {
    match expected == came {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Corrupt,
            format!("{}: {expected} bytes were expected, but {came} came", file.path),
        )),
    }
}
