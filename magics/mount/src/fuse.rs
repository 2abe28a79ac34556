//! The FUSE session: the kernel's requests on one side, [`Superblock`] and [`Reader`] on the other.
//!
//! Read-only: every request that would write is answered with `EROFS`. Threads that answer the
//! kernel never wait for the network when a listing told all sizes; reads that must wait go to the
//! reader's pool. Links do not exist here.

use crate::inode::{Ino, Inode, ROOT};
use crate::reader::{Handle, Reader};
use crate::superblock::{Changes, Superblock};
use dds_core::{Error, Kind, Result};
use fuser::{
    AccessFlags, BackgroundSession, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, MountOption, Notifier,
    OpenAccMode, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, Session, TimeOrNow, WriteFlags,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// How long the kernel may keep names and attributes. Long, because a refresh takes back by name
/// what it changed.
const TTL: Duration = Duration::from_secs(3600);
/// Threads that answer the kernel.
const SESSION_THREADS: usize = 4;
/// Requests that the kernel may have waiting in the background.
const MAX_BACKGROUND: u16 = 64;
const BLOCK_SIZE: u32 = 4096;
/// The file system's name in the kernel's mount table begins with this.
pub const FS_NAME: &str = "dds";

/// A mounted session. Dropping it without [`Mounted::unmount`] unmounts too.
pub struct Mounted {
    session: BackgroundSession,
    notifier: Notifier,
}

/// Mounts `superblock` on `dir`, an existing empty folder.
///
/// Errors: `Unavailable` when this machine does not let us mount.
pub fn mount(superblock: Arc<Superblock>, reader: Reader, dir: &Path) -> Result<Mounted> {
    let notify = Arc::new(OnceLock::new());
    let fs = Fs {
        notify: notify.clone(),
        superblock,
        reader,
        owner: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        files: Mutex::default(),
        dirs: Mutex::default(),
        next: AtomicU64::new(1),
    };
    let mut config = fuser::Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
        MountOption::FSName(FS_NAME.to_owned()),
        MountOption::DefaultPermissions,
    ];
    config.n_threads = Some(SESSION_THREADS);
    config.clone_fd = true;
    let session = Session::new(fs, dir, &config).map_err(|error| unavailable(dir, &error))?;
    let notifier = session.notifier();
    let _ = notify.set(notifier.clone());
    let session = session.spawn().map_err(|error| unavailable(dir, &error))?;
    Ok(Mounted { session, notifier })
}

/// Whether `/dev/fuse` can be opened at all.
pub fn probe() -> Result<()> {
    match std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::new(Kind::Unavailable, format!("/dev/fuse cannot be opened: {error}"))
            .hint("mount with --via copy, or on a machine that allows FUSE")),
    }
}

fn unavailable(dir: &Path, error: &std::io::Error) -> Error {
    let why = match error.kind() {
        // Without privileges the mount goes through a setuid program.
        std::io::ErrorKind::NotFound => "mounting needs root or the program fusermount3".to_owned(),
        _ => error.to_string().trim().to_owned(),
    };
    Error::new(Kind::Unavailable, format!("cannot mount on {}: {why}", dir.display()))
        .hint("mount with --via copy, or install fuse3")
}

impl Mounted {
    /// Tells the kernel what a refresh changed, so that names and attributes are asked anew.
    pub fn invalidate(&self, changes: &Changes) {
        for (parent, name) in &changes.stale {
            // Fails when the kernel never knew the name, which is as good.
            let _ = self.notifier.inval_entry(INodeNo(*parent), OsStr::new(name));
        }
        for dir in &changes.dirs {
            let _ = self.notifier.inval_inode(INodeNo(*dir), -1, 0);
        }
    }

    /// True once the kernel has ended the session (somebody unmounted the folder).
    pub fn ended(&self) -> bool {
        self.session.guard.is_finished()
    }
}

struct Fs {
    /// Set once the session stands.
    notify: Arc<OnceLock<Notifier>>,
    superblock: Arc<Superblock>,
    reader: Reader,
    owner: (u32, u32),
    files: Mutex<HashMap<u64, Arc<Handle>>>,
    /// Listings as they were when the folder was opened, so that a refresh does not shift them.
    dirs: Mutex<HashMap<u64, Arc<Vec<Ino>>>>,
    next: AtomicU64,
}

impl Fs {
    fn attr(&self, inode: &Inode) -> Result<FileAttr> {
        let (size, kind, perm, nlink) = match inode {
            Inode::Dir(_) => (0, FileType::Directory, 0o555, 2),
            Inode::File(file) => (file.size(self.reader.cx())?, FileType::RegularFile, 0o444, 1),
        };
        Ok(self.attr_with(inode, size, kind, perm, nlink))
    }

    fn attr_with(&self, inode: &Inode, size: u64, kind: FileType, perm: u16, nlink: u32) -> FileAttr {
        let time: SystemTime = inode.modified();
        FileAttr {
            ino: INodeNo(inode.ino()),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: BLOCK_SIZE,
            flags: 0,
        }
    }

    fn handle(&self, fh: FileHandle) -> Option<Arc<Handle>> {
        lock(&self.files).get(&fh.0).cloned()
    }

    fn new_handle(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// `.`, `..` and the entries from `offset` on, until `add` says that the answer is full.
    fn walk(&self, ino: Ino, fh: FileHandle, offset: u64, mut add: impl FnMut(&Inode, u64, &str) -> bool) {
        let Some(listing) = lock(&self.dirs).get(&fh.0).cloned() else { return };
        let Some(dir) = self.superblock.inode(ino) else { return };
        let parent = self.superblock.inode(dir.parent()).unwrap_or_else(|| dir.clone());
        let dots = [(&dir, "."), (&parent, "..")];
        for (at, (inode, name)) in dots.into_iter().enumerate().skip(usize::try_from(offset).unwrap_or(2)) {
            if add(inode, at as u64 + 1, name) {
                return;
            }
        }
        let start = usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX);
        for (at, ino) in listing.iter().enumerate().skip(start) {
            let Some(inode) = self.superblock.inode(*ino) else { continue };
            if add(&inode, at as u64 + 3, inode.name()) {
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn errno(error: &Error) -> Errno {
    match error.kind {
        Kind::NotFound => Errno::ENOENT,
        Kind::Unauthorized => Errno::EACCES,
        Kind::Interrupted => Errno::EINTR,
        _ => Errno::EIO,
    }
}

impl Filesystem for Fs {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let _ = config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS);
        if self.superblock.sizes_known() {
            // Names with attributes in one answer; where sizes must be asked one by one, only names.
            let plus = InitFlags::FUSE_DO_READDIRPLUS | InitFlags::FUSE_READDIRPLUS_AUTO;
            let _ = config.add_capabilities(plus);
        }
        let _ = config.set_max_background(MAX_BACKGROUND);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Some(inode) = name.to_str().and_then(|name| self.superblock.lookup(parent.0, name)) else {
            return reply.error(Errno::ENOENT);
        };
        match self.attr(&inode) {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let Some(inode) = self.superblock.inode(ino.0) else { return reply.error(Errno::ESTALE) };
        match self.attr(&inode) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        let Some(file) = self.superblock.file(ino.0) else { return reply.error(Errno::ESTALE) };
        match self.reader.open(file) {
            Ok(handle) => {
                let fh = self.new_handle();
                lock(&self.files).insert(fh, Arc::new(handle));
                reply.opened(FileHandle(fh), FopenFlags::FOPEN_KEEP_CACHE);
            }
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(handle) = self.handle(fh) else { return reply.error(Errno::EBADF) };
        if let Some(bytes) = self.reader.peek(&handle, offset, size) {
            return reply.data(&bytes);
        }
        let (reader, notify) = (self.reader.clone(), self.notify.clone());
        self.reader.pool().urgent(move || match reader.read(&handle, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => {
                reply.error(errno(&error));
                // After the answer: until then this very read holds pages that the kernel would wait for.
                if error.kind == Kind::Corrupt
                    && let Some(notifier) = notify.get()
                {
                    let _ = notifier.inval_inode(INodeNo(handle.file().ino), 0, 0);
                }
            }
        });
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        if let Some(handle) = lock(&self.files).remove(&fh.0) {
            self.reader.close(&handle);
        }
        reply.ok();
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let Some(children) = self.superblock.children(ino.0) else { return reply.error(Errno::ENOTDIR) };
        let fh = self.new_handle();
        lock(&self.dirs).insert(fh, children);
        reply.opened(FileHandle(fh), FopenFlags::empty());
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.walk(ino.0, fh, offset, |inode, next, name| {
            let kind = match inode {
                Inode::Dir(_) => FileType::Directory,
                Inode::File(_) => FileType::RegularFile,
            };
            reply.add(INodeNo(inode.ino()), next, kind, name)
        });
        reply.ok();
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let mut failed = None;
        self.walk(ino.0, fh, offset, |inode, next, name| match self.attr(inode) {
            Ok(attr) => reply.add(INodeNo(inode.ino()), next, name, &TTL, &attr, Generation(0)),
            Err(error) => {
                failed = Some(error);
                true
            }
        });
        match failed {
            Some(error) => reply.error(errno(&error)),
            None => reply.ok(),
        }
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        lock(&self.dirs).remove(&fh.0);
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let (files, bytes) = self.superblock.totals();
        let blocks = bytes.div_ceil(u64::from(BLOCK_SIZE));
        reply.statfs(
            blocks,
            0,
            0,
            files,
            0,
            BLOCK_SIZE,
            dds_core::repo_path::MAX_NAME_BYTES as u32,
            BLOCK_SIZE,
        );
    }

    // What a reader's programs ask beside reading. `ENOSYS` tells the kernel never to ask again and to
    // do what is usual: closing and syncing succeed, there are no extended attributes, no holes.

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsyncdir(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn access(&self, _req: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn getxattr(&self, _req: &Request, _ino: INodeNo, _name: &OsStr, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _req: &Request, _ino: INodeNo, _size: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn poll(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    /// Programs ask whether a file is a terminal.
    fn ioctl(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn readlink(&self, _req: &Request, _ino: INodeNo, reply: ReplyData) {
        reply.error(Errno::EINVAL);
    }

    // The kernel refuses these itself on a read-only mount; a remount with `rw` brings them here.

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        _data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::EROFS);
    }

    fn setattr(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        _size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(Errno::EROFS);
    }

    fn create(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        reply.error(Errno::EROFS);
    }

    fn mknod(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EROFS);
    }

    fn mkdir(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        reply.error(Errno::EROFS);
    }

    fn unlink(&self, _req: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn rmdir(&self, _req: &Request, _parent: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }

    fn symlink(&self, _req: &Request, _parent: INodeNo, _name: &OsStr, _target: &Path, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn link(&self, _req: &Request, _ino: INodeNo, _parent: INodeNo, _name: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EROFS);
    }

    fn rename(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _newparent: INodeNo,
        _newname: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn setxattr(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::EROFS);
    }

    fn removexattr(&self, _req: &Request, _ino: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::EROFS);
    }
}

const _: () = assert!(ROOT == INodeNo::ROOT.0, "the root's number is the kernel's");
