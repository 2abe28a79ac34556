//! What the demo needs from the machine, checked before anything is made.

use super::steps::Steps;
use dds_core::{Error, Kind, Result};
use std::process::{Command, Stdio};

/// Programs that compile a Rust cell, and how to get each.
const PROGRAMS: [(&str, &str); 3] = [
    ("rustc", "install Rust from https://rustup.rs"),
    ("cargo", "install Rust from https://rustup.rs"),
    ("cc", "install a C compiler, which links Rust cells: apt-get install gcc, or your system's way"),
];

/// Errors: `Unavailable` with the way to install what is missing. Without `/dev/fuse` the demo goes
/// on with verified copies, and says so.
pub fn check(steps: &mut Steps) -> Result<()> {
    check_programs(&PROGRAMS)?;
    if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
        steps.note("/dev/fuse cannot be opened here: the mount will hold verified copies");
    }
    Ok(())
}

fn check_programs(programs: &[(&str, &str)]) -> Result<()> {
    for (program, hint) in programs {
        let ran = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !ran.is_ok_and(|status| status.success()) {
            return Err(
                Error::new(Kind::Unavailable, format!("`{program}` is missing or does not run")).hint(*hint)
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_remedy() {
        let error = check_programs(&[("no-such-compiler-at-all", "get one")]).unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.message.contains("no-such-compiler-at-all"));
        assert_eq!(error.hint.as_deref(), Some("get one"));
        assert!(check_programs(&[("rustc", "")]).is_ok());
    }
}
