//! The one error type that crosses crates: a stable kind, what failed and why, and what to do next.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in a form that programs can match on. The name is the `ename` in a notebook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// The command line or the cell body is not understood.
    Usage,
    /// A file, name, revision or repository does not exist.
    NotFound,
    /// The server refused the credentials, or none were given (HTTP 401 or 403).
    Unauthorized,
    /// The server cannot be reached, or broke off, after all retries.
    Unreachable,
    /// The other side moved on: a branch has a newer commit.
    Conflict,
    /// Bytes do not have the digest that was promised.
    Corrupt,
    /// A file is not in the format it should be in.
    Format,
    /// A named bound was exceeded.
    Limit,
    /// This machine lacks something: `/dev/fuse`, a compiler, a free port.
    Unavailable,
    /// The user interrupted.
    Interrupted,
    /// The operating system refused a file operation.
    Io,
    /// A bug of ours.
    Internal,
}

impl Kind {
    /// The stable name, as shown in `ename` and in `--json`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Usage => "Usage",
            Kind::NotFound => "NotFound",
            Kind::Unauthorized => "Unauthorized",
            Kind::Unreachable => "Unreachable",
            Kind::Conflict => "Conflict",
            Kind::Corrupt => "Corrupt",
            Kind::Format => "Format",
            Kind::Limit => "Limit",
            Kind::Unavailable => "Unavailable",
            Kind::Interrupted => "Interrupted",
            Kind::Io => "Io",
            Kind::Internal => "Internal",
        }
    }
}

/// An error with a kind, a message that names what failed and why, and an optional hint that says
/// what to type next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<String>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// What to do next. The last hint given wins.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts `what: ` before the message.
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    pub fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
    }

    /// An I/O error with the path it is about.
    pub fn io(path: impl AsRef<std::path::Path>, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Io,
        };
        Self::new(kind, format!("{}: {error}", path.as_ref().display()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
