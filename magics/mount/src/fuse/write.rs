//! The requests that change the folder.

use super::{Errno, FileAttr, Fs, ReplyAttr, ReplyEmpty, ReplyWrite, TTL, errno};
use crate::inode::Ino;
use crate::overlay::{Content, Item, Own};
use dds_core::Error;
use fuser::TimeOrNow;
use std::ffi::OsStr;
use std::fs::{File, FileTimes};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::SystemTime;

/// The type of a file and its bits for running it, of `mode_t`.
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const RUN: u32 = 0o111;

/// Commits that one change may meet.
const MAX_TURNS: usize = 8;

/// What `setattr` asks for.
pub(super) struct Wanted {
    pub mode: Option<u32>,
    pub owner: (Option<u32>, Option<u32>),
    pub size: Option<u64>,
    pub mtime: Option<TimeOrNow>,
}

pub(super) fn answer(outcome: Result<(), rustix::io::Errno>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(system(error)),
    }
}

fn system(error: rustix::io::Errno) -> Errno {
    Errno::from_i32(error.raw_os_error())
}

impl Fs {
    pub(super) fn write_at(&self, ino: Ino, offset: u64, data: &[u8], reply: ReplyWrite) {
        match self.overlay.change(ino, |file| file.write_all_at(data, offset)) {
            Ok(true) => return reply.written(data.len() as u32),
            Ok(false) => {}
            Err(error) => return reply.error(error.into()),
        }
        let (fs, data) = (self.clone(), data.to_vec());
        self.reader.pool().urgent(move || {
            match fs.change(ino, false, |file| file.write_all_at(&data, offset)) {
                Ok(()) => reply.written(data.len() as u32),
                Err(error) => reply.error(error),
            }
        });
    }

    /// Changes the bytes of a file, which are fetched before where it has none of its own. Between the two a
    /// commit may have taken them; then once more.
    fn change(
        &self,
        ino: Ino,
        empty: bool,
        work: impl Fn(&File) -> std::io::Result<()>,
    ) -> Result<(), Errno> {
        for _ in 0..MAX_TURNS {
            self.own_for(ino, empty)?;
            if self.overlay.change(ino, &work)? {
                return Ok(());
            }
        }
        Err(Errno::EIO)
    }

    pub(super) fn set_attributes(&self, ino: Ino, wanted: Wanted, reply: ReplyAttr) {
        if self.overlay.stage().is_none() {
            return reply.error(Errno::EROFS);
        }
        let strange = |id: Option<u32>, ours: u32| id.is_some_and(|id| id != ours);
        if strange(wanted.owner.0, self.owner.0) || strange(wanted.owner.1, self.owner.1) {
            return reply.error(Errno::EPERM);
        }
        let fs = self.clone();
        let work = move || match fs.set(ino, &wanted).and_then(|()| fs.attr_of(ino)) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        };
        // To make a file shorter or longer may need bytes of the repository.
        self.reader.pool().urgent(work);
    }

    fn set(&self, ino: Ino, wanted: &Wanted) -> Result<(), Errno> {
        if let Some(size) = wanted.size {
            self.change(ino, size == 0, |file| file.set_len(size))?;
        }
        if let Some(mode) = wanted.mode {
            self.overlay.set_executable(ino, mode & RUN != 0).map_err(system)?;
        }
        if let Some(mtime) = &wanted.mtime
            && let Some(own) = self.overlay.own_of(ino)?
        {
            let time = match mtime {
                TimeOrNow::SpecificTime(time) => *time,
                TimeOrNow::Now => SystemTime::now(),
            };
            own.file.set_times(FileTimes::new().set_modified(time))?;
        }
        Ok(())
    }

    /// The bytes of a file, to be changed. May wait for the network.
    fn own_for(&self, ino: Ino, empty: bool) -> Result<Arc<Own>, Errno> {
        let made = match empty {
            true => self.overlay.make_empty(ino),
            false => self.overlay.make_own(ino),
        };
        made.map_err(|error| self.refused(ino, &error))
    }

    /// Tells the user why a file could not be changed.
    fn refused(&self, ino: Ino, error: &Error) -> Errno {
        if let Some(file) = self.overlay.item(ino).as_ref().and_then(Item::file) {
            self.reader.report(file, error);
        }
        errno(error)
    }

    pub(super) fn create_file(&self, parent: Ino, name: &OsStr, mode: u32) -> Result<FileAttr, Errno> {
        let (node, _own) = self.overlay.create(parent, name, mode & RUN != 0).map_err(system)?;
        self.attr(&Item::Node(node)).map_err(|e| errno(&e))
    }

    pub(super) fn make_node(
        &self,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        umask: u32,
    ) -> Result<FileAttr, Errno> {
        // Repositories hold no devices, pipes and sockets.
        if !matches!(mode & TYPE, 0 | REGULAR) {
            return Err(Errno::EPERM);
        }
        let (node, _own) = self.overlay.create(parent, name, mode & !umask & RUN != 0).map_err(system)?;
        self.attr(&Item::Node(node)).map_err(|e| errno(&e))
    }

    pub(super) fn make_folder(&self, parent: Ino, name: &OsStr) -> Result<FileAttr, Errno> {
        let node = self.overlay.mkdir(parent, name).map_err(system)?;
        self.attr(&Item::Node(node)).map_err(|e| errno(&e))
    }

    /// On the disk of this machine, with the notes of what it is about.
    pub(super) fn sync(&self, ino: Ino, reply: ReplyEmpty) {
        let fs = self.clone();
        self.reader.pool().urgent(move || {
            let done = match fs.overlay.content(ino) {
                Ok(Content::Own(own)) => own.file.sync_all(),
                Ok(Content::Base(_)) => Ok(()),
                Err(error) => Err(error),
            };
            match done.and_then(|()| fs.overlay.stage().map_or(Ok(()), |stage| stage.sync())) {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(error.into()),
            }
        });
    }
}
