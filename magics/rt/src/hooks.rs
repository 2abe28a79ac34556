//! What the process that runs the cells needs of the standard library that the cells use (it has
//! a copy of its own, with other buffers and another panic hook).
//!
//! Assumes nothing of this crate: where the crate cannot be built, the kernel puts this file into
//! the first cell as it is. Whatever this crate adds comes through the two cells below.

/// Calls back with the crate's own locks held.
pub(crate) static AROUND_FORK: std::sync::OnceLock<fn(&mut dyn FnMut())> = std::sync::OnceLock::new();
/// Whether this thread is running a callback of the page's.
pub(crate) static IN_CALLBACK: std::sync::OnceLock<fn() -> bool> = std::sync::OnceLock::new();

/// Routes panics to the descriptor given: one datagram each, in the form that the kernel reads. A
/// panic is no output of the cell, and standard output may be borrowed. Called once, on the thread
/// that runs the cells.
#[unsafe(no_mangle)]
pub extern "C" fn dds_prelude_install(socket: i32) {
    let home = std::thread::current().id();
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let mut message: String = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (_, Some(text)) => text.clone(),
            _ => "a value that is no text".to_owned(),
        };
        if message.len() > 16_000 {
            let end = (0..16_000).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(end);
            message.push('…');
        }
        let thread = std::thread::current();
        let (file, line, column) = match info.location() {
            Some(at) => (at.file(), at.line(), at.column()),
            None => ("", 0, 0),
        };
        let callback = IN_CALLBACK.get().is_some_and(|ask| ask());
        let name = if callback { "callback" } else { thread.name().unwrap_or("<unnamed>") };
        let frame = format!(
            "P{}\0{}\0{}\0{}\0{}\0{}\0{}",
            (thread.id() == home && !callback) as u8,
            file,
            line,
            column,
            name.replace('\0', " "),
            calls(),
            message
        );
        use std::io::Write;
        use std::os::fd::FromRawFd;
        // SAFETY: the worker keeps the descriptor open for its whole life, and it is not closed here.
        let mut socket = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(socket) });
        let _ = socket.write(frame.as_bytes());
    }));
}

/// The calls that led to the panic: lines of an offset, a tab and a file. (The standard library's
/// own backtrace knows no code that is loaded after its first use.)
fn calls() -> String {
    use std::ffi::{CStr, c_char, c_int, c_void};
    const MOST: usize = 256;
    #[repr(C)]
    struct Found {
        file: *const c_char,
        base: usize,
        name: *const c_char,
        at: usize,
    }
    unsafe extern "C" {
        fn _Unwind_Backtrace(
            step: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
            with: *mut c_void,
        ) -> c_int;
        fn _Unwind_GetIP(frame: *mut c_void) -> usize;
        fn dladdr(address: usize, found: *mut Found) -> c_int;
    }
    extern "C" fn step(frame: *mut c_void, with: *mut c_void) -> c_int {
        // SAFETY: `with` is the vector of the caller below, who waits; `frame` is the unwinder's.
        let (calls, address) = unsafe { (&mut *with.cast::<Vec<usize>>(), _Unwind_GetIP(frame)) };
        // A return address is behind the call.
        calls.push(address.saturating_sub(1));
        // Anything but 0 ends the walk.
        if calls.len() < MOST { 0 } else { 5 }
    }
    let mut calls: Vec<usize> = Vec::with_capacity(MOST);
    // SAFETY: the callback gets the vector for the time of this call.
    unsafe { _Unwind_Backtrace(step, (&raw mut calls).cast()) };
    let mut out = String::new();
    for call in calls {
        let mut found = Found { file: std::ptr::null(), base: 0, name: std::ptr::null(), at: 0 };
        // SAFETY: it takes any address, and fills in what it finds.
        if unsafe { dladdr(call, &raw mut found) } == 0 || found.file.is_null() {
            continue;
        }
        // SAFETY: the loader's name of a library that is loaded.
        let file = unsafe { CStr::from_ptr(found.file) }.to_string_lossy();
        let system = ["/libstd-", "/libc.so", "/libgcc_s"].iter().any(|name| file.contains(name));
        if system || !file.ends_with(".so") || file.contains('\n') {
            continue;
        }
        let line = format!("{:x}\t{file}\n", call.wrapping_sub(found.base));
        if out.len() + line.len() > 12_000 {
            break;
        }
        out.push_str(&line);
    }
    out
}

/// Calls back while no other thread is in the middle of printing, with nothing left in buffers.
#[unsafe(no_mangle)]
pub extern "C" fn dds_prelude_quiet(call: extern "C" fn(*mut std::ffi::c_void), with: *mut std::ffi::c_void) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _err = std::io::stderr().lock();
    let _ = out.flush();
    match AROUND_FORK.get() {
        Some(around) => around(&mut || call(with)),
        None => call(with),
    }
}

/// Writes out what `print!` has buffered.
#[unsafe(no_mangle)]
pub extern "C" fn dds_prelude_flush() {
    use std::io::Write;
    let _ = std::io::stdout().flush();
}
