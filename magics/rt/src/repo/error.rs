//! What went wrong with a repository: a kind to match on, a message, and what to do next.

use std::fmt;
use std::io;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, to match on. The names are those of the `%dds` commands' errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was given is not understood.
    Usage,
    /// A file, a revision or a repository does not exist.
    NotFound,
    /// The server refused the credentials, or none were given.
    Unauthorized,
    /// The server cannot be reached, or broke off, after all retries.
    Unreachable,
    /// The other side moved on: a branch has a newer commit.
    Conflict,
    /// Bytes do not have the digest that was promised.
    Corrupt,
    /// A file is not in the format it should be in.
    Format,
    /// A bound was exceeded.
    Limit,
    /// There is no kernel, or this machine lacks something.
    Unavailable,
    /// The user interrupted.
    Interrupted,
    /// The operating system refused something.
    Io,
    /// A bug of ours.
    Internal,
}

impl ErrorKind {
    const ALL: [Self; 12] = [
        Self::Usage,
        Self::NotFound,
        Self::Unauthorized,
        Self::Unreachable,
        Self::Conflict,
        Self::Corrupt,
        Self::Format,
        Self::Limit,
        Self::Unavailable,
        Self::Interrupted,
        Self::Io,
        Self::Internal,
    ];

    /// `"NotFound"` and so on.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    #[doc(hidden)]
    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Self::Internal)
    }
}

/// An error with a kind, a message that says what failed and why, and often a hint.
///
/// `{}` gives message and hint on one line; `{:?}`, which is what a cell shows of an error that `?`
/// hands on, puts the hint on a line of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl Error {
    #[doc(hidden)]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    #[doc(hidden)]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        Self::new(kind, format!("{what}: {error}"))
    }

    pub(crate) fn broken() -> Self {
        Self::new(ErrorKind::Internal, "the kernel's answer is not understood")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// So that readers of files ([`super::File`]) can hand it on.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::Unauthorized => io::ErrorKind::PermissionDenied,
            ErrorKind::Corrupt | ErrorKind::Format => io::ErrorKind::InvalidData,
            ErrorKind::Usage => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names_of_their_own() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::named(&kind.name()), kind);
        }
        assert_eq!(ErrorKind::named("of a later version"), ErrorKind::Internal);
    }

    #[test]
    fn hints_are_shown() {
        let error = Error::new(ErrorKind::NotFound, "no a.txt").with_hint("there is b.txt");
        assert_eq!(error.to_string(), "no a.txt (there is b.txt)");
        assert_eq!(format!("{error:?}"), "NotFound: no a.txt\nhint: there is b.txt");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
    }
}
