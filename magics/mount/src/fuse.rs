//! The FUSE session: the kernel's requests on one side, [`Overlay`] and [`Reader`] on the other.
//!
//! A file is not opened here: the kernel is told not to ask, and everything goes by the number of the
//! inode. Reading again what the kernel has then costs what it costs on a disk. Nor does anybody say that
//! a file is closed; what has no name any more is kept until the kernel forgets its number.
//!
//! Threads that answer the kernel never wait for the network when a listing told all sizes; reads that
//! must wait, and the first change of a file of the repository, go to the reader's pool. What changes
//! the tree is answered in `write`. Links do not exist here.

mod read;
mod write;

use crate::inode::{Ino, Inode, ROOT};
use crate::overlay::{Content, Item, Left, Listing, Overlay};
use crate::reader::Reader;
use crate::superblock::Changes;
use dds_core::{Error, Kind, Result};
use fuser::{
    AccessFlags, BackgroundSession, BsdFileFlags, CopyFileRangeFlags, Errno, FileAttr, FileHandle, FileType,
    Filesystem, FopenFlags, Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, MountOption,
    Notifier, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, Session, TimeOrNow, WriteFlags,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
/// Files have no handles.
const NO_HANDLE: FileHandle = FileHandle(0);
/// The file system's name in the kernel's mount table begins with this.
pub const FS_NAME: &str = "dds";

/// A mounted session. Dropping it without [`Mounted::unmount`] unmounts too.
pub struct Mounted {
    session: BackgroundSession,
    notifier: Notifier,
}

/// Mounts `overlay` on `dir`, an existing empty folder.
///
/// Errors: `Unavailable` when this machine does not let us mount.
pub fn mount(overlay: Arc<Overlay>, reader: Reader, dir: &Path) -> Result<Mounted> {
    let notify = Arc::new(OnceLock::new());
    let writable = overlay.stage().is_some();
    let fs = Fs(Arc::new(Inner {
        notify: notify.clone(),
        overlay,
        reader,
        owner: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        dirs: Mutex::default(),
        next: AtomicU64::new(1),
        no_open: AtomicBool::new(false),
    }));
    let mut config = fuser::Config::default();
    config.mount_options = vec![
        // The kernel itself refuses to write then.
        if writable { MountOption::RW } else { MountOption::RO },
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
    /// Tells the kernel what a refresh changed, so that names and attributes are asked anew; and which numbers
    /// have left their places, so that it forgets them once nobody has them open.
    pub fn invalidate(&self, changes: &Changes, settled: &[(Ino, String)], left: &[Left]) {
        for (parent, name, ino) in left {
            let _ = self.notifier.delete(INodeNo(*parent), INodeNo(*ino), OsStr::new(name));
        }
        for (parent, name) in changes.stale.iter().chain(settled) {
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

/// Cheap to clone, so that work of a request can go on in the pool.
#[derive(Clone)]
struct Fs(Arc<Inner>);

struct Inner {
    /// Set once the session stands.
    notify: Arc<OnceLock<Notifier>>,
    overlay: Arc<Overlay>,
    reader: Reader,
    owner: (u32, u32),
    /// Whether the kernel can do without opening files; set when the session begins.
    no_open: AtomicBool,
    /// Listings as they were when the folder was opened, so that a change does not shift them.
    dirs: Mutex<HashMap<u64, Listing>>,
    next: AtomicU64,
}

impl std::ops::Deref for Fs {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    fn attr(&self, item: &Item) -> Result<FileAttr> {
        let writable = self.overlay.stage().is_some();
        let (file, folder) = if writable { (0o644, 0o755) } else { (0o444, 0o555) };
        let perm = if item.executable() { file | 0o111 } else { file };
        let (ino, node) = match item {
            Item::Base(Inode::Dir(dir)) => {
                return Ok(self.attr_with(dir.ino, 0, FileType::Directory, folder, dir.modified));
            }
            Item::Base(Inode::File(base)) => {
                let size = base.size(self.reader.cx())?;
                return Ok(self.attr_with(base.ino, size, FileType::RegularFile, perm, base.modified));
            }
            Item::Node(node) => (node.ino, node),
        };
        if node.change.is_dir() {
            return Ok(self.attr_with(ino, 0, FileType::Directory, folder, node.modified));
        }
        if let Some(meta) = self.overlay.metadata(node) {
            let modified = meta.modified().unwrap_or(node.modified);
            return Ok(self.attr_with(ino, meta.len(), FileType::RegularFile, perm, modified));
        }
        let base = node.base.as_ref().ok_or_else(|| {
            Error::new(Kind::Unreachable, "the revision from which the file was renamed cannot be read")
        })?;
        let size = base.size(self.reader.cx())?;
        Ok(self.attr_with(ino, size, FileType::RegularFile, perm, base.modified))
    }

    fn attr_with(&self, ino: Ino, size: u64, kind: FileType, perm: u16, time: SystemTime) -> FileAttr {
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: BLOCK_SIZE,
            flags: 0,
        }
    }

    /// The attributes of a number: of what is in the tree, else of a file that is still open.
    fn attr_of(&self, ino: Ino) -> std::result::Result<FileAttr, Errno> {
        match self.overlay.nameless(ino) {
            Some(Content::Own(own)) => {
                let meta = own.file.metadata()?;
                let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let attr = self.attr_with(ino, meta.len(), FileType::RegularFile, 0o644, modified);
                Ok(FileAttr { nlink: 0, ..attr })
            }
            Some(Content::Base(file)) => {
                let size = file.size(self.reader.cx()).map_err(|e| errno(&e))?;
                Ok(self.attr_with(ino, size, FileType::RegularFile, 0o644, file.modified))
            }
            None => {
                let item = self.overlay.item(ino).ok_or(Errno::ESTALE)?;
                self.attr(&item).map_err(|e| errno(&e))
            }
        }
    }

    /// Tells the kernel what a name stands for.
    fn tell(&self, reply: ReplyEntry, attr: &FileAttr) {
        self.overlay.met(attr.ino.0);
        reply.entry(&TTL, attr, Generation(0));
    }

    fn new_handle(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// `.`, `..` and the entries from `offset` on, until `add` says that the answer is full.
    fn walk(&self, ino: Ino, fh: FileHandle, offset: u64, mut add: impl FnMut(&Item, u64, &str) -> bool) {
        let Some(listing) = lock(&self.dirs).get(&fh.0).cloned() else { return };
        let Some(dir) = self.overlay.item(ino) else { return };
        let parent = self.overlay.parent(ino).unwrap_or_else(|| dir.clone());
        let dots = [(&dir, "."), (&parent, "..")];
        for (at, (item, name)) in dots.into_iter().enumerate().skip(usize::try_from(offset).unwrap_or(2)) {
            if add(item, at as u64 + 1, name) {
                return;
            }
        }
        let start = usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX);
        for at in start..listing.len() {
            // As it is now: what was renamed since must not come back in the kernel's memory of names.
            let Some(name) = listing.name(at, self.overlay.base()) else { continue };
            let Some(item) = self.overlay.lookup(ino, &name) else { continue };
            if add(&item, at as u64 + 3, &name) {
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
        if self.overlay.base().sizes_known() {
            // Names with attributes in one answer; where sizes must be asked one by one, only names.
            let plus = InitFlags::FUSE_DO_READDIRPLUS | InitFlags::FUSE_READDIRPLUS_AUTO;
            let _ = config.add_capabilities(plus);
        }
        let _ = config.set_max_background(MAX_BACKGROUND);
        let no_open = config.capabilities().contains(InitFlags::FUSE_NO_OPEN_SUPPORT);
        self.no_open.store(no_open, Ordering::Relaxed);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Some(item) = name.to_str().and_then(|name| self.overlay.lookup(parent.0, name)) else {
            return reply.error(Errno::ENOENT);
        };
        match self.attr(&item) {
            Ok(attr) => self.tell(reply, &attr),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr_of(ino.0) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.overlay.forget(ino.0, nlookup);
    }

    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // `ENOSYS`: never ask again. Whether a file may be written the kernel knows itself.
        match self.no_open.load(Ordering::Relaxed) {
            true => reply.error(Errno::ENOSYS),
            false => reply.opened(NO_HANDLE, FopenFlags::FOPEN_KEEP_CACHE),
        }
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.read_at(ino.0, offset, size, reply);
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let Some(children) = self.overlay.children(ino.0) else { return reply.error(Errno::ENOTDIR) };
        let fh = self.new_handle();
        lock(&self.dirs).insert(fh, children);
        reply.opened(FileHandle(fh), FopenFlags::empty());
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.walk(ino.0, fh, offset, |item, next, name| {
            let kind = if item.is_dir() { FileType::Directory } else { FileType::RegularFile };
            reply.add(INodeNo(item.ino()), next, kind, name)
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
        self.walk(ino.0, fh, offset, |item, next, name| match self.attr(item) {
            Ok(attr) => {
                let is_full = reply.add(INodeNo(item.ino()), next, name, &TTL, &attr, Generation(0));
                if !is_full && !matches!(name, "." | "..") {
                    self.overlay.met(item.ino());
                }
                is_full
            }
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
        let (files, bytes) = self.overlay.base().totals();
        // Free is what the disk of the staging area has.
        let stage = self.overlay.stage().and_then(|stage| rustix::fs::statvfs(stage.dir()).ok());
        let free = stage
            .as_ref()
            .map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) / u64::from(BLOCK_SIZE));
        let blocks = bytes.div_ceil(u64::from(BLOCK_SIZE)).saturating_add(free);
        let nodes = stage.map_or(0, |disk| disk.f_favail);
        reply.statfs(
            blocks,
            free,
            free,
            files.saturating_add(nodes),
            nodes,
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

    fn fsync(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.sync(ino.0, reply);
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

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.write_at(ino.0, offset, data, reply);
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let wanted = write::Wanted { mode, owner: (uid, gid), size, mtime };
        self.set_attributes(ino.0, wanted, reply);
    }

    fn create(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.create_file(parent.0, name, mode & !umask) {
            Ok(attr) => {
                self.overlay.met(attr.ino.0);
                reply.created(&TTL, &attr, Generation(0), NO_HANDLE, FopenFlags::FOPEN_KEEP_CACHE);
            }
            Err(error) => reply.error(error),
        }
    }

    fn mknod(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        match self.make_node(parent.0, name, mode, umask) {
            Ok(attr) => self.tell(reply, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        match self.make_folder(parent.0, name) {
            Ok(attr) => self.tell(reply, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        write::answer(self.overlay.unlink(parent.0, name), reply);
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        write::answer(self.overlay.rmdir(parent.0, name), reply);
    }

    fn symlink(&self, _req: &Request, _parent: INodeNo, _name: &OsStr, _target: &Path, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn link(&self, _req: &Request, _ino: INodeNo, _parent: INodeNo, _name: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::EPERM);
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.intersects(RenameFlags::RENAME_EXCHANGE | RenameFlags::RENAME_WHITEOUT) {
            return reply.error(Errno::EINVAL);
        }
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        write::answer(self.overlay.rename(parent.0, name, newparent.0, newname, replace), reply);
    }

    fn fallocate(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _offset: u64,
        _length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _req: &Request,
        _ino_in: INodeNo,
        _fh_in: FileHandle,
        _offset_in: u64,
        _ino_out: INodeNo,
        _fh_out: FileHandle,
        _offset_out: u64,
        _len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS);
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
        reply.error(Errno::ENOSYS);
    }

    fn removexattr(&self, _req: &Request, _ino: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }
}

const _: () = assert!(ROOT == INodeNo::ROOT.0, "the root's number is the kernel's");
