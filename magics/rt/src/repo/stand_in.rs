//! For a program of its own, without a kernel: the program `dds`, where it is installed, reads
//! repositories in the kernel's place.
//!
//! It is started by the first question and ends with this process, whose end of its standard input
//! it waits for.

use super::error::{Error, ErrorKind, Result};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// What `dds` is called with, and what it says before the path of its socket.
#[doc(hidden)]
pub const ROLE: &str = "__repositories";
#[doc(hidden)]
pub const READY: &str = "listening ";

static RUNNING: Mutex<Option<(Child, OsString)>> = Mutex::new(None);

/// The socket of the stand-in, which is started if it is not running.
#[cfg_attr(test, expect(dead_code, reason = "tests have sockets of their own"))]
pub(super) fn socket() -> Result<OsString> {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let is_there = running.as_mut().is_some_and(|(child, _)| matches!(child.try_wait(), Ok(None)));
    if let Some((_, socket)) = running.as_ref().filter(|_| is_there) {
        return Ok(socket.clone());
    }
    let (child, socket) = start("dds")?;
    *running = Some((child, socket.clone()));
    Ok(socket)
}

fn start(program: &str) -> Result<(Child, OsString)> {
    let absent = |error: std::io::Error| {
        let why = format!("there is no kernel here, and `{program}` cannot be started in its place: {error}");
        Error::new(ErrorKind::Unavailable, why).with_hint("put the program dds into a folder of PATH")
    };
    let mut command = Command::new(program);
    command.arg(ROLE).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(absent)?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut line).map_err(absent)?;
    }
    match line.strip_prefix(READY) {
        Some(socket) => Ok((child, socket.trim_end_matches('\n').into())),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            let why = format!("`{program}` reads no repositories for other programs");
            Err(Error::new(ErrorKind::Unavailable, why)
                .with_hint("install the version of dds that this program is of"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_are_no_stand_in_are_errors() {
        for (program, hint) in [("/nowhere/dds", "PATH"), ("true", "version"), ("echo", "version")] {
            let error = start(program).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.hint().unwrap().contains(hint), "{error}");
        }
    }
}
