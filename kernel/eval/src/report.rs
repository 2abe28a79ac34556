//! Failures in the user's words: their own lines with carets, the compiler's code and help; where
//! a panic happened; which signal ended a cell. Never a line of generated code.

mod advice;
mod compile;
mod diagnostic;
mod keep;
mod panic;
mod snippet;
mod sources;
mod symbols;

pub(crate) use compile::{Scene, compile_error};
pub(crate) use keep::unkept;
pub(crate) use panic::{panic_error, side_panic};
pub(crate) use sources::{End, Source, Sources};

use crate::frames::{Cause, Death, Panic};
use dds_core::Error;
use dds_core::eval::CellError;

pub(crate) const RED: &str = "\x1b[1;31m";
pub(crate) const BLUE: &str = "\x1b[1;34m";
pub(crate) const CYAN: &str = "\x1b[1;36m";
pub(crate) const GREEN: &str = "\x1b[1;32m";
pub(crate) const BOLD: &str = "\x1b[1m";
pub(crate) const RESET: &str = "\x1b[0m";

/// An error of the crates' common type, as a cell's failure.
pub(crate) fn cell_error(error: Error) -> CellError {
    let ename = error.kind.name().to_owned();
    let mut traceback: Vec<String> = headline(&ename, &error.message);
    if let Some(hint) = &error.hint {
        traceback.extend(hint.lines().map(|line| format!("{CYAN}hint{RESET}: {line}")));
    }
    CellError { ename, evalue: error.message, traceback }
}

pub(crate) fn interrupted(state_kept: bool) -> CellError {
    let error = Error::interrupted();
    cell_error(if state_kept {
        error.hint("Variables are as they were before this cell.")
    } else {
        error.hint(STATE_LOST)
    })
}

const STATE_LOST: &str =
    "No copy of the variables could be kept: they are lost. Run the cells that define them again.";

/// The process that ran the cell ended in the midst of it.
pub(crate) fn death_error(death: &Death, panic: Option<&Panic>, stderr_tail: &str) -> CellError {
    if death.interrupted {
        let mut error = interrupted(death.restored);
        error.traceback.extend(lost_threads(death));
        return error;
    }
    let (ename, what) = match death.cause {
        Cause::Exit(code) => ("Exit", format!("the cell ended its process with exit code {code}")),
        Cause::Signal(number) => {
            let name = signal_name(number);
            let because = match number {
                libc::SIGABRT if stderr_tail.contains("has overflowed its stack") => ": stack overflow",
                libc::SIGSEGV => ": it touched memory that is not its own",
                libc::SIGKILL => ": it was killed, perhaps because memory ran out",
                _ => "",
            };
            (name, format!("the cell was ended by signal {number} ({name}){because}"))
        }
    };
    let what = match panic {
        Some(panic) => format!("{what}, after a panic: {}", panic.message),
        None => what,
    };
    let mut traceback = headline(ename, &what);
    let kept = if death.restored { "Variables are as they were before this cell." } else { STATE_LOST };
    traceback.push(format!("{CYAN}hint{RESET}: {kept}"));
    traceback.extend(lost_threads(death));
    CellError { ename: ename.to_owned(), evalue: what, traceback }
}

/// The process ended while no cell ran: in a callback of the page's.
pub(crate) fn callback_death(death: &Death) -> String {
    let what = match death.cause {
        _ if death.interrupted => "a callback was interrupted".to_owned(),
        Cause::Exit(code) => format!("a callback ended its process with exit code {code}"),
        Cause::Signal(number) => format!("a callback was ended by signal {number} ({})", signal_name(number)),
    };
    let kept = if death.restored { "Variables are as they were after the last cell." } else { STATE_LOST };
    let threads = lost_threads(death).map_or_else(String::new, |text| text + "\n");
    format!("dds: {what}. {kept}\n{threads}")
}

/// What a checkpoint cannot bring back.
fn lost_threads(death: &Death) -> Option<String> {
    let what = match death.threads {
        0 => return None,
        1 => "A thread that an earlier cell had started is gone".to_owned(),
        n => format!("{n} threads that earlier cells had started are gone"),
    };
    death.restored.then(|| format!("{what}, and connections that they served: run those cells again."))
}

/// The child is gone, and with it all variables; a new one has been started.
pub(crate) fn state_lost(death: Option<&Death>) -> CellError {
    match death {
        Some(death) => death_error(&Death { restored: false, ..*death }, None, ""),
        None => cell_error(
            Error::new(dds_core::Kind::Unavailable, "the process that held the variables has ended")
                .hint(STATE_LOST),
        ),
    }
}

/// `?` left the cell early. The error's text is on standard error already.
pub(crate) fn early_return(stderr_tail: &str) -> CellError {
    let message = stderr_tail.trim_end();
    let message = message.rsplit("\n\n").next().unwrap_or(message).trim();
    let evalue = if message.is_empty() { "`?` met an error" } else { message };
    let mut traceback = headline("Error", evalue);
    traceback.push("`?` left the cell here; variables defined in it were not kept.".to_owned());
    CellError { ename: "Error".to_owned(), evalue: evalue.to_owned(), traceback }
}

/// `name: message` in red; further lines of the message below it.
pub(crate) fn headline(name: &str, message: &str) -> Vec<String> {
    let mut lines = message.lines();
    let first = format!("{RED}{name}{RESET}: {}", lines.next().unwrap_or(""));
    std::iter::once(first).chain(lines.map(str::to_owned)).collect()
}

fn signal_name(number: i32) -> &'static str {
    match number {
        libc::SIGABRT => "SIGABRT",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGBUS => "SIGBUS",
        libc::SIGILL => "SIGILL",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGTERM => "SIGTERM",
        libc::SIGINT => "SIGINT",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGTRAP => "SIGTRAP",
        _ => "Signal",
    }
}

#[cfg(test)]
pub(crate) fn text_of(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    for colour in [RED, BLUE, CYAN, GREEN, BOLD, RESET] {
        text = text.replace(colour, "");
    }
    text
}
