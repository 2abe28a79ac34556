//! A path inside a repository, safe to join to a folder.

use crate::{Error, Kind, Result};
use std::fmt;

/// Longest accepted path, in bytes (Linux `PATH_MAX`).
pub const MAX_PATH_BYTES: usize = 4096;
/// Longest accepted component, in bytes (Linux `NAME_MAX`).
pub const MAX_NAME_BYTES: usize = 255;

/// A relative path with `/` between components. No component is empty, `.`, `..` or holds NUL or a
/// backslash; the root is the empty path. Spaces, non-ASCII letters and names such as `a..b` are
/// ordinary.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoPath(String);

impl RepoPath {
    pub fn root() -> Self {
        Self::default()
    }

    /// Parses a path that comes from a user, a server or a manifest.
    ///
    /// One leading `./` and trailing slashes are dropped. Errors (`Format`) name the offending path.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::new(Kind::Format, format!("unsafe path {text:?}: {why}"));
        let trimmed = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
        if trimmed.is_empty() || trimmed == "." {
            if text.starts_with('/') {
                return Err(bad("it is absolute"));
            }
            return Ok(Self::root());
        }
        if trimmed.len() > MAX_PATH_BYTES {
            return Err(bad("it is too long"));
        }
        for part in trimmed.split('/') {
            match part {
                "" => return Err(bad("it has an empty component or is absolute")),
                "." | ".." => return Err(bad("it has a '.' or '..' component")),
                p if p.len() > MAX_NAME_BYTES => return Err(bad("a component is too long")),
                p if p.contains(['\0', '\\']) => return Err(bad("it holds a NUL or a backslash")),
                _ => {}
            }
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// Parses a path that will be written into a working tree: as [`RepoPath::parse`], and no
    /// component may be `.git` in any spelling that a file system could fold to it.
    pub fn parse_writable(text: &str) -> Result<Self> {
        let path = Self::parse(text)?;
        for part in path.components() {
            let folded: String = part
                .chars()
                .filter(|c| {
                    !('\u{200b}'..='\u{200f}').contains(c)
                        && !('\u{202a}'..='\u{202e}').contains(c)
                        && !('\u{206a}'..='\u{206f}').contains(c)
                        && *c != '\u{feff}'
                })
                .flat_map(char::to_lowercase)
                .collect();
            let folded = folded.split(':').next().unwrap_or("").trim_end_matches([' ', '.']);
            if folded == ".git" || folded == "git~1" {
                return Err(Error::new(
                    Kind::Format,
                    format!("unsafe path {text:?}: it goes into a .git folder"),
                ));
            }
        }
        Ok(path)
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|p| !p.is_empty())
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// The containing folder; none for the root.
    pub fn parent(&self) -> Option<RepoPath> {
        if self.is_root() {
            return None;
        }
        Some(self.0.rsplit_once('/').map_or_else(Self::root, |(dir, _)| Self(dir.to_owned())))
    }

    /// This path with one more relative path below it.
    pub fn join(&self, below: &RepoPath) -> RepoPath {
        match (self.is_root(), below.is_root()) {
            (true, _) => below.clone(),
            (_, true) => self.clone(),
            _ => Self(format!("{}/{}", self.0, below.0)),
        }
    }

    /// This path with one more name, which is checked.
    pub fn child(&self, name: &str) -> Result<RepoPath> {
        let below = Self::parse(name)?;
        if below.is_root() || below.0.contains('/') {
            return Err(Error::new(Kind::Format, format!("not a file name: {name:?}")));
        }
        Ok(self.join(&below))
    }

    /// The rest of this path below `dir`; none when it is not inside.
    pub fn strip_prefix(&self, dir: &RepoPath) -> Option<RepoPath> {
        if dir.is_root() {
            return Some(self.clone());
        }
        if self == dir {
            return Some(Self::root());
        }
        self.0.strip_prefix(&dir.0)?.strip_prefix('/').map(|rest| Self(rest.to_owned()))
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl serde::Serialize for RepoPath {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for RepoPath {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_ordinary_names() {
        for (given, kept) in [
            ("a/b.jpg", "a/b.jpg"),
            ("./a/", "a"),
            ("", ""),
            (".", ""),
            ("Größe 1/ü b.png", "Größe 1/ü b.png"),
            ("a..b/..c/d..", "a..b/..c/d.."),
            ("-rf", "-rf"),
        ] {
            assert_eq!(RepoPath::parse(given).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn refuses_what_could_leave_the_folder() {
        for given in [
            "..",
            "a/../b",
            "/etc/passwd",
            "/",
            "a//b",
            "a/./b",
            "a\\..\\b",
            "a\0b",
            &"x".repeat(256),
            &"x/".repeat(3000),
        ] {
            assert!(RepoPath::parse(given).is_err(), "{given}");
        }
    }

    #[test]
    fn refuses_to_write_into_git_folders() {
        for given in [
            ".git/config",
            "a/.GIT/x",
            ".git.",
            ".git /x",
            "git~1/x",
            ".g\u{200c}it/x",
            ".git::$INDEX_ALLOCATION/x",
        ] {
            assert!(RepoPath::parse_writable(given).is_err(), "{given}");
        }
        for given in [".gitignore", ".github/x", "git/x", "a.git/x"] {
            assert!(RepoPath::parse_writable(given).is_ok(), "{given}");
        }
    }

    #[test]
    fn relations() {
        let p = RepoPath::parse("a/b/c").unwrap();
        assert_eq!(p.name(), "c");
        assert_eq!(p.parent().unwrap().as_str(), "a/b");
        assert_eq!(p.strip_prefix(&RepoPath::parse("a").unwrap()).unwrap().as_str(), "b/c");
        assert!(p.strip_prefix(&RepoPath::parse("a/bb").unwrap()).is_none());
        assert!(RepoPath::parse("ab").unwrap().strip_prefix(&RepoPath::parse("a").unwrap()).is_none());
        assert!(p.child("x/y").is_err());
    }
}
