//! A credential that cannot be printed by accident.

use std::fmt;

/// A token or password. `Debug` and `Display` show `***`; only [`Secret::expose`] gives the text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that puts it on the wire or into a file of mode 0600.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces every occurrence of the secret in `text` by `***`.
    pub fn redact(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "***") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Words in a variable's name that say that its value is a credential.
const SECRET_WORDS: &[&str] =
    &["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "APIKEY"];

/// Whether the variable `name` seems to hold a credential, so that its value is not shown:
/// `DAGSHUB_USER_TOKEN`, `AWS_SECRET_ACCESS_KEY`, `OPENAI_API_KEY`, `db-password`.
pub fn looks_secret(name: &str) -> bool {
    let upper = name.to_uppercase();
    let words: Vec<&str> = upper.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    // `SSH_KEY_FILE` names a place, not the key itself.
    words.iter().any(|w| SECRET_WORDS.iter().any(|s| w.ends_with(s)))
        || words.last().is_some_and(|w| ["KEY", "PAT", "AUTH"].contains(w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let s = Secret::new("hunter2");
        assert_eq!(format!("{s} {s:?}"), "*** ***");
        assert_eq!(s.redact("GET /?t=hunter2"), "GET /?t=***");
        assert_eq!(Secret::default().redact("abc"), "abc");
    }

    #[test]
    fn names_of_secrets() {
        for name in
            ["DAGSHUB_USER_TOKEN", "AWS_SECRET_ACCESS_KEY", "db-password", "GITHUB_PAT", "MyToken", "KEY"]
        {
            assert!(looks_secret(name), "{name}");
        }
        for name in
            ["PATH", "PWD", "KEYBOARD", "RUST_LOG", "SSH_KEY_FILE", "AUTHOR", "TOKENIZERS_PARALLELISM"]
        {
            assert!(!looks_secret(name), "{name}");
        }
    }
}
