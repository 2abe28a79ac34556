//! Questions to the user.

use crate::runtime;
use std::io::{self, Write};

/// Asks for a line and waits for it. The line comes without its end.
///
/// # Errors
/// `UnexpectedEof` where nobody can be asked: the notebook is run by a program, or the front end
/// takes no input.
pub fn input(prompt: impl AsRef<str>) -> io::Result<String> {
    ask(prompt.as_ref(), false)
}

/// As [`input`], without showing what is typed.
///
/// # Errors
/// As [`input`].
pub fn password(prompt: impl AsRef<str>) -> io::Result<String> {
    ask(prompt.as_ref(), true)
}

fn ask(prompt: &str, password: bool) -> io::Result<String> {
    // What was printed belongs before the question.
    let _ = io::stdout().flush();
    runtime::here().port.ask(prompt, password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Front;

    #[test]
    fn questions_are_answered_or_fail() {
        let front = Front::new();
        front.answer("Ada");
        front.answer("secret");
        assert_eq!(input("Name: ").unwrap(), "Ada");
        assert_eq!(password(String::from("Password: ")).unwrap(), "secret");
        assert_eq!(input("").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
