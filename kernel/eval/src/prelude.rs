//! The first cell of every session: Rust code of ours that runs among the user's cells.
//!
//! It gives the worker three entry points into the standard library that the cells share (the
//! worker has a copy of its own, with other buffers and another panic hook), and brings a
//! fallback into scope with which a final expression compiles once instead of twice.

use libc::c_void;

/// Routes panics to the descriptor given. Called once, on the thread that runs the cells.
pub(crate) type Install = unsafe extern "C" fn(i32);
/// Calls back while no other thread is in the middle of printing, with nothing left in buffers.
pub(crate) type Quiet = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void);
/// Writes out what `print!` has buffered.
pub(crate) type Flush = unsafe extern "C" fn();

pub(crate) const INSTALL: &str = "dds_prelude_install";
pub(crate) const QUIET: &str = "dds_prelude_quiet";
pub(crate) const FLUSH: &str = "dds_prelude_flush";

/// MIME type under which the fallback reports a cell's value.
pub(crate) const VALUE_MIME: &str = "application/x.dds.value";
/// MIME type under which [`crate::RustEvaluator`] asks for the text of an expression.
pub(crate) const TEXT_MIME: &str = "application/x.dds.text";

/// The method by which a value shows itself.
pub(crate) const METHOD: &str = "evcxr_display";

/// `evcxr_display` for whatever is `Debug`. A method of the type itself wins over it.
const FALLBACK: &str = r#"
pub trait DdsShow { fn evcxr_display(&self); }
impl<T: ?Sized + std::fmt::Debug> DdsShow for T {
    fn evcxr_display(&self) {
        let text = format!("{:?}", self);
        println!("EVCXR_BEGIN_CONTENT application/x.dds.value\n{text}\nEVCXR_END_CONTENT");
    }
}
"#;

/// Takes the fallback out of scope again: a crate has brought a trait of its own.
pub(crate) const NO_FALLBACK: &str = "pub trait DdsShow {}";

/// The panic message goes to the worker's socket as one datagram, in the form that
/// `frames::Panic` reads: it is no output of the cell, and standard output may be borrowed.
const HOOKS: &str = r#"
let _ = {
    static SOCKET: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);
    // The calls that led to the panic: an offset and a file each, as `frames::Frame` reads them.
    // (The standard library's own backtrace knows no code that is loaded after its first use.)
    fn frames() -> String {
        use std::ffi::{CStr, c_char, c_int, c_void};
        #[repr(C)]
        struct Found { file: *const c_char, base: usize, name: *const c_char, at: usize }
        unsafe extern "C" {
            fn _Unwind_Backtrace(step: extern "C" fn(*mut c_void, *mut c_void) -> c_int, with: *mut c_void) -> c_int;
            fn _Unwind_GetIP(frame: *mut c_void) -> usize;
            fn dladdr(address: usize, found: *mut Found) -> c_int;
        }
        extern "C" fn step(frame: *mut c_void, with: *mut c_void) -> c_int {
            let calls = unsafe { &mut *with.cast::<Vec<usize>>() };
            // A return address is behind the call.
            calls.push(unsafe { _Unwind_GetIP(frame) }.saturating_sub(1));
            if calls.len() < 256 { 0 } else { 5 }
        }
        let mut calls: Vec<usize> = Vec::with_capacity(256);
        unsafe { _Unwind_Backtrace(step, (&raw mut calls).cast()) };
        let mut out = String::new();
        for call in calls {
            let mut found = Found { file: std::ptr::null(), base: 0, name: std::ptr::null(), at: 0 };
            if unsafe { dladdr(call, &mut found) } == 0 || found.file.is_null() {
                continue;
            }
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
    #[unsafe(no_mangle)]
    pub extern "C" fn dds_prelude_install(socket: i32) {
        SOCKET.store(socket, std::sync::atomic::Ordering::SeqCst);
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
            let frame = format!(
                "P{}\0{}\0{}\0{}\0{}\0{}\0{}",
                (thread.id() == home) as u8, file, line, column,
                thread.name().unwrap_or("<unnamed>").replace('\0', " "), frames(), message
            );
            use std::io::Write;
            use std::os::fd::FromRawFd;
            let socket = SOCKET.load(std::sync::atomic::Ordering::SeqCst);
            let mut socket = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(socket) });
            let _ = socket.write(frame.as_bytes());
        }));
    }
    #[unsafe(no_mangle)]
    pub extern "C" fn dds_prelude_quiet(
        call: extern "C" fn(*mut std::ffi::c_void),
        with: *mut std::ffi::c_void,
    ) {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        let _err = std::io::stderr().lock();
        let _ = out.flush();
        call(with);
    }
    #[unsafe(no_mangle)]
    pub extern "C" fn dds_prelude_flush() {
        use std::io::Write;
        let _ = std::io::stdout().flush();
    }
};
"#;

/// The code of the first cell, with the fallback in scope or without.
pub(crate) fn code(fallback: bool) -> String {
    format!("{}{HOOKS}", if fallback { FALLBACK } else { "" })
}

/// Whether `code` seems to bring a trait with an `evcxr_display` of its own into scope, which
/// would be ambiguous beside the fallback. Calling or defining the method on a type is fine.
pub(crate) fn brings_own_display(code: &str) -> bool {
    let own = code.contains("trait") && code.contains("fn evcxr_display");
    let named = code.match_indices("evcxr").any(|(at, _)| {
        let rest = code.get(at..).unwrap_or("");
        !rest.starts_with("evcxr_display")
    });
    own || named
}

/// Rust code that reports the `Display` text of `expression` under [`TEXT_MIME`]. The expression
/// stands on lines of its own, by which errors in it are found.
pub(crate) fn text_of(expression: &str) -> String {
    format!(
        "{{ let text = format!(\"{{}}\", &(\n{expression}\n));\n\
         println!(\"EVCXR_BEGIN_CONTENT {TEXT_MIME}\\n{{text}}\\nEVCXR_END_CONTENT\"); }};"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_displays_are_noticed() {
        assert!(brings_own_display("use evcxr_image::ImageDisplay;"));
        assert!(brings_own_display("trait Show { fn evcxr_display(&self); }"));
        assert!(!brings_own_display("impl A { fn evcxr_display(&self) {} }"));
        assert!(!brings_own_display("figure.evcxr_display();"));
        assert!(!brings_own_display("1 + 1"));
    }

    #[test]
    fn names_in_the_code_are_the_names_looked_up() {
        for name in [INSTALL, QUIET, FLUSH, VALUE_MIME] {
            assert!(code(true).contains(name), "{name}");
        }
    }
}
