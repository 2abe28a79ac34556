//! One file or folder of a repository.

use std::fmt;

/// Who keeps the bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keeper {
    Git,
    Dvc,
    Bucket,
    ThisMachine,
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Git => "git",
            Self::Dvc => "dvc",
            Self::Bucket => "bucket",
            Self::ThisMachine => "this machine",
        })
    }
}

/// One file or folder of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Entry {
    /// With `/` between its parts, below what was opened.
    pub path: String,
    pub is_folder: bool,
    /// Bytes; none for folders, and where a listing does not say.
    pub len: Option<u64>,
    pub kept_by: Keeper,
    /// Of the content, in hexadecimal, where the repository knows it: MD5 for what DVC keeps, Git's own for others.
    pub digest: Option<String>,
}

impl Entry {
    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or("")
    }

    /// What stands behind the last dot of the name; empty where there is none.
    pub fn extension(&self) -> &str {
        match self.name().rsplit_once('.') {
            Some((before, extension)) if !before.is_empty() => extension,
            _ => "",
        }
    }

    /// The path of the folder that it is in; empty at the top.
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    pub fn is_file(&self) -> bool {
        !self.is_folder
    }

    #[doc(hidden)]
    pub fn new(
        path: String,
        is_folder: bool,
        len: Option<u64>,
        kept_by: Keeper,
        digest: Option<String>,
    ) -> Self {
        Self { path, is_folder, len, kept_by, digest }
    }
}

/// The path; that of a folder ends with a `/`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path, if self.is_folder { "/" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_path() {
        let entry = |path: &str| Entry::new(path.into(), false, None, Keeper::Git, None);
        let parts = |path: &str| {
            let entry = entry(path);
            [entry.folder(), entry.name(), entry.extension()].map(str::to_owned)
        };
        assert_eq!(parts("a/b/c.tar.gz"), ["a/b", "c.tar.gz", "gz"]);
        assert_eq!(parts(".hidden"), ["", ".hidden", ""]);
        assert_eq!(entry("x").to_string(), "x");
        assert_eq!(Entry { is_folder: true, ..entry("x") }.to_string(), "x/");
    }
}
