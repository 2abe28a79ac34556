//! The library that lets programs read a folder whose files are not there yet, where FUSE is not
//! allowed. It stands before the C library (`LD_PRELOAD`) and is compiled by itself, without a
//! crate beside the standard library.
//!
//! In such a folder a file that is not there yet is a node of the kind "socket": nobody can open
//! one (`ENXIO`), so a program that this library does not reach fails plainly and never reads wrong
//! bytes. The functions here call the real one first. Only when that says `ENXIO`, or tells of a
//! socket, is the session asked, by a line over a Unix socket: to bring the file (`M path`), which
//! then lies there as an ordinary one, or for its size (`S path`). All other files cost nothing.
//!
//! `DDS_STREAMS` names a folder with a file for each such folder: its path and the session's socket,
//! a line each.
//!
//! Not reached: programs without the C library (most of those written in Go), static ones, and what
//! the C library does within itself (`posix_spawn` with files to open, `dlopen`).

#![allow(clippy::missing_safety_doc, unsafe_op_in_unsafe_fn)]

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

const STREAMS_VAR: &str = "DDS_STREAMS";
const ENXIO: c_int = 6;
const EIO: c_int = 5;
const AT_FDCWD: c_int = -100;
const AT_EMPTY_PATH: c_int = 0x1000;
const S_IFMT: u32 = 0o170_000;
const S_IFSOCK: u32 = 0o140_000;
const S_IFREG: u32 = 0o100_000;
const DT_REG: u8 = 8;
const DT_SOCK: u8 = 12;
const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
    fn realpath(path: *const c_char, resolved: *mut c_char) -> *mut c_char;
    fn free(memory: *mut c_void);
    fn dirfd(dir: *mut c_void) -> c_int;
}

thread_local! {
    /// This thread is asking: what it opens for that is nobody's.
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

fn errno() -> c_int {
    // SAFETY: the C library gives every thread its own.
    unsafe { *__errno_location() }
}

fn set_errno(number: c_int) {
    // SAFETY: as above.
    unsafe { *__errno_location() = number }
}

/// The real function of a name.
struct Real {
    name: &'static CStr,
    address: AtomicUsize,
}

impl Real {
    const fn of(name: &'static CStr) -> Self {
        Self { name, address: AtomicUsize::new(0) }
    }

    fn address(&self) -> usize {
        match self.address.load(Ordering::Relaxed) {
            0 => {
                // SAFETY: a lookup by a name that ends in a zero.
                let found = unsafe { dlsym(RTLD_NEXT, self.name.as_ptr()) } as usize;
                if found == 0 {
                    // A C library without the function has no program that calls it.
                    std::process::abort();
                }
                self.address.store(found, Ordering::Relaxed);
                found
            }
            found => found,
        }
    }
}

macro_rules! real {
    ($name:literal, $type:ty) => {{
        static REAL: Real = Real::of($name);
        std::mem::transmute::<usize, $type>(REAL.address())
    }};
}

/// Whether the session was asked and has brought the file that cannot be opened. Sets `errno`.
unsafe fn brought(dir: c_int, path: *const c_char) -> bool {
    if errno() != ENXIO || path.is_null() || ASKING.replace(true) {
        return false;
    }
    let answer = std::panic::catch_unwind(|| {
        // SAFETY: the caller's path ends in a zero.
        let path = unsafe { whole(dir, path) }?;
        ask('M', &path)
    });
    ASKING.set(false);
    match answer.unwrap_or(Some((-i64::from(EIO), 0))) {
        Some((0.., _)) => true,
        Some((number, _)) => {
            set_errno(c_int::try_from(-number).unwrap_or(EIO));
            false
        }
        // A socket of somebody else's.
        None => {
            set_errno(ENXIO);
            false
        }
    }
}

/// The size of the file that is not there yet, and the number that it will have, 0 if that is unknown;
/// none for an ordinary socket.
unsafe fn size(dir: c_int, path: *const c_char) -> Option<(u64, u64)> {
    if path.is_null() || ASKING.replace(true) {
        return None;
    }
    let before = errno();
    let answer = std::panic::catch_unwind(|| {
        // SAFETY: as above.
        let path = unsafe { whole(dir, path) }?;
        ask('S', &path)
    });
    ASKING.set(false);
    set_errno(before);
    let (size, number) = answer.ok().flatten()?;
    Some((u64::try_from(size).ok()?, number))
}

/// The path with its links followed, from the root.
unsafe fn whole(dir: c_int, path: *const c_char) -> Option<PathBuf> {
    // SAFETY: it ends in a zero.
    let given = Path::new(std::ffi::OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
    let from =
        if given.is_absolute() || dir == AT_FDCWD { given.to_owned() } else { folder_of(dir)?.join(given) };
    let text = CString::new(from.into_os_string().into_vec()).ok()?;
    // SAFETY: with a null pointer the C library allocates, and the memory is given back here.
    unsafe {
        let found = realpath(text.as_ptr(), std::ptr::null_mut());
        if found.is_null() {
            return None;
        }
        let owned = CStr::from_ptr(found).to_bytes().to_vec();
        free(found.cast());
        Some(PathBuf::from(std::ffi::OsString::from_vec(owned)))
    }
}

fn folder_of(descriptor: c_int) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()
}

/// Asks the session that the path belongs to, which answers with two numbers. None if it belongs to
/// none; an error is a negative number of the system's.
fn ask(question: char, path: &Path) -> Option<(i64, u64)> {
    let (inside, socket) = session_of(path)?;
    let exchange = || -> std::io::Result<(i64, u64)> {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(&[question as u8, b' '])?;
        stream.write_all(inside.as_os_str().as_bytes())?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (first, second) = answer.trim().split_once(' ').unwrap_or((answer.trim(), "0"));
        let first = first.parse().map_err(std::io::Error::other)?;
        Ok((first, second.parse().unwrap_or(0)))
    };
    // A session that is gone cannot bring anything.
    Some(exchange().unwrap_or((-i64::from(EIO), 0)))
}

/// The path below its folder, and the session's socket.
fn session_of(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let streams = std::env::var_os(STREAMS_VAR)?;
    std::fs::read_dir(streams).ok()?.flatten().find_map(|entry| {
        let text = std::fs::read(entry.path()).ok()?;
        let mut lines = text.split(|byte| *byte == b'\n');
        let folder = PathBuf::from(std::ffi::OsStr::from_bytes(lines.next()?));
        let socket = PathBuf::from(std::ffi::OsStr::from_bytes(lines.next()?));
        (!socket.as_os_str().is_empty()).then_some(())?;
        Some((path.strip_prefix(&folder).ok()?.to_owned(), socket))
    })
}

macro_rules! opens {
    ($($name:ident $text:literal),*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
            let real = real!($text, unsafe extern "C" fn(*const c_char, c_int, c_uint) -> c_int);
            match real(path, flags, mode) {
                -1 if brought(AT_FDCWD, path) => real(path, flags, mode),
                found => found,
            }
        }
    )*};
}
opens!(open c"open", open64 c"open64", __open_2 c"__open_2", __open64_2 c"__open64_2");

macro_rules! opens_at {
    ($($name:ident $text:literal),*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(dir: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
            let real = real!($text, unsafe extern "C" fn(c_int, *const c_char, c_int, c_uint) -> c_int);
            match real(dir, path, flags, mode) {
                -1 if brought(dir, path) => real(dir, path, flags, mode),
                found => found,
            }
        }
    )*};
}
opens_at!(openat c"openat", openat64 c"openat64", __openat_2 c"__openat_2", __openat64_2 c"__openat64_2");

macro_rules! opens_stream {
    ($($name:ident $text:literal),*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(path: *const c_char, mode: *const c_char) -> *mut c_void {
            let real = real!($text, unsafe extern "C" fn(*const c_char, *const c_char) -> *mut c_void);
            let found = real(path, mode);
            if found.is_null() && brought(AT_FDCWD, path) { real(path, mode) } else { found }
        }
    )*};
}
opens_stream!(fopen c"fopen", fopen64 c"fopen64");

/// Where the C library's `struct stat` has the mode.
#[cfg(target_arch = "x86_64")]
const MODE_AT: usize = 24;
#[cfg(not(target_arch = "x86_64"))]
const MODE_AT: usize = 16;
/// … and the number of the inode, the size in bytes, and that in blocks of 512 bytes.
const NUMBER_AT: usize = 8;
const SIZE_AT: usize = 48;
const BLOCKS_AT: usize = 64;

/// Tells of a file that is not there yet as if it were.
unsafe fn mend(dir: c_int, path: *const c_char, stat: *mut u8) {
    // SAFETY: the real function has filled the structure.
    unsafe {
        let mode = stat.add(MODE_AT).cast::<u32>();
        if mode.read() & S_IFMT == S_IFSOCK
            && let Some((size, number)) = size(dir, path)
        {
            mode.write(mode.read() & !S_IFMT | S_IFREG);
            if number != 0 {
                stat.add(NUMBER_AT).cast::<u64>().write(number);
            }
            stat.add(SIZE_AT).cast::<u64>().write(size);
            stat.add(BLOCKS_AT).cast::<u64>().write(size.div_ceil(512));
        }
    }
}

macro_rules! stats {
    ($($name:ident $text:literal),*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(path: *const c_char, stat: *mut u8) -> c_int {
            let done = real!($text, unsafe extern "C" fn(*const c_char, *mut u8) -> c_int)(path, stat);
            if done == 0 {
                mend(AT_FDCWD, path, stat);
            }
            done
        }
    )*};
}
stats!(stat c"stat", stat64 c"stat64", lstat c"lstat", lstat64 c"lstat64");

// As programs call them that were built before version 2.33 of the C library.
macro_rules! old_stats {
    ($($name:ident $text:literal),*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(version: c_int, path: *const c_char, stat: *mut u8) -> c_int {
            let done = real!($text, unsafe extern "C" fn(c_int, *const c_char, *mut u8) -> c_int)(version, path, stat);
            if done == 0 {
                mend(AT_FDCWD, path, stat);
            }
            done
        }
    )*};
}
old_stats!(__xstat c"__xstat", __xstat64 c"__xstat64", __lxstat c"__lxstat", __lxstat64 c"__lxstat64");

macro_rules! stats_at {
    ($($name:ident $text:literal),*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(dir: c_int, path: *const c_char, stat: *mut u8, flags: c_int) -> c_int {
            let real = real!($text, unsafe extern "C" fn(c_int, *const c_char, *mut u8, c_int) -> c_int);
            let done = real(dir, path, stat, flags);
            if done == 0 && flags & AT_EMPTY_PATH == 0 {
                mend(dir, path, stat);
            }
            done
        }
    )*};
}
stats_at!(fstatat c"fstatat", fstatat64 c"fstatat64");

macro_rules! old_stats_at {
    ($($name:ident $text:literal),*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(
            version: c_int, dir: c_int, path: *const c_char, stat: *mut u8, flags: c_int,
        ) -> c_int {
            let real = real!($text, unsafe extern "C" fn(c_int, c_int, *const c_char, *mut u8, c_int) -> c_int);
            let done = real(version, dir, path, stat, flags);
            if done == 0 && flags & AT_EMPTY_PATH == 0 {
                mend(dir, path, stat);
            }
            done
        }
    )*};
}
old_stats_at!(__fxstatat c"__fxstatat", __fxstatat64 c"__fxstatat64");

/// Where `struct statx` has the mode, the number of the inode, the size and the blocks.
const X_MODE_AT: usize = 28;
const X_NUMBER_AT: usize = 32;
const X_SIZE_AT: usize = 40;
const X_BLOCKS_AT: usize = 48;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn statx(
    dir: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    stat: *mut u8,
) -> c_int {
    let real = real!(c"statx", unsafe extern "C" fn(c_int, *const c_char, c_int, c_uint, *mut u8) -> c_int);
    let done = real(dir, path, flags, mask, stat);
    if done == 0 && flags & AT_EMPTY_PATH == 0 && !path.is_null() && *path != 0 {
        let mode = stat.add(X_MODE_AT).cast::<u16>();
        if u32::from(mode.read()) & S_IFMT == S_IFSOCK
            && let Some((size, number)) = size(dir, path)
        {
            if number != 0 {
                stat.add(X_NUMBER_AT).cast::<u64>().write(number);
            }
            mode.write((u32::from(mode.read()) & !S_IFMT | S_IFREG) as u16);
            stat.add(X_SIZE_AT).cast::<u64>().write(size);
            stat.add(X_BLOCKS_AT).cast::<u64>().write(size.div_ceil(512));
        }
    }
    done
}

/// Where `struct dirent` has the kind, on 64-bit systems.
const KIND_AT: usize = 18;

macro_rules! reads_folder {
    ($($name:ident $text:literal),*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(dir: *mut c_void) -> *mut u8 {
            let entry = real!($text, unsafe extern "C" fn(*mut c_void) -> *mut u8)(dir);
            if !entry.is_null() && entry.add(KIND_AT).read() == DT_SOCK && is_streamed(dirfd(dir)) {
                entry.add(KIND_AT).write(DT_REG);
            }
            entry
        }
    )*};
}
reads_folder!(readdir c"readdir", readdir64 c"readdir64");

/// Whether a folder that is open belongs to a session.
fn is_streamed(descriptor: c_int) -> bool {
    if ASKING.replace(true) {
        return false;
    }
    let before = errno();
    let found =
        std::panic::catch_unwind(|| folder_of(descriptor).and_then(|path| session_of(&path)).is_some());
    ASKING.set(false);
    set_errno(before);
    found.unwrap_or(false)
}
