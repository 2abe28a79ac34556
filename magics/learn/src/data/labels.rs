//! Labels out of paths.

use dds_core::{Error, RepoPath, Result};
use regex::{Regex, RegexBuilder};

/// Most bytes of a compiled pattern.
const MAX_PATTERN_BYTES: usize = 1 << 20;
/// Longest label, in characters.
pub const MAX_LABEL: usize = 200;

/// Where labels come from.
#[derive(Debug)]
pub enum Labels {
    /// The folder that holds the image.
    Folder,
    /// The first group of a pattern searched in the path below the data set's folder.
    Pattern(Regex),
}

impl Labels {
    /// `folder` or `re:PATTERN`. Errors (`Usage`) point into the pattern.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "folder" {
            return Ok(Self::Folder);
        }
        let Some(pattern) = text.strip_prefix("re:") else {
            return Err(Error::usage(format!("labels {text:?} is not understood"))
                .hint("use --labels folder, or --labels 're:(.+)_\\d+\\.jpg' with one group"));
        };
        let regex = RegexBuilder::new(pattern)
            .size_limit(MAX_PATTERN_BYTES)
            .build()
            .map_err(|e| Error::usage(format!("the pattern of the labels: {e}")))?;
        if regex.captures_len() != 2 {
            return Err(Error::usage(format!(
                "the pattern of the labels has {} groups, it needs exactly one",
                regex.captures_len() - 1
            ))
            .hint("put parentheses around the part that is the label; (?:…) groups without counting"));
        }
        Ok(Self::Pattern(regex))
    }

    /// The label of a path below the data set's folder.
    pub fn of(&self, path: &RepoPath) -> Option<String> {
        let label = match self {
            Self::Folder => path.parent()?.name().to_owned(),
            Self::Pattern(regex) => regex.captures(path.as_str())?.get(1)?.as_str().to_owned(),
        };
        (!label.is_empty() && label.chars().count() <= MAX_LABEL).then_some(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(kind: &str, path: &str) -> Option<String> {
        Labels::parse(kind).unwrap().of(&RepoPath::parse(path).unwrap())
    }

    #[test]
    fn folders_and_patterns() {
        assert_eq!(label("folder", "train/cats/1.jpg").as_deref(), Some("cats"));
        assert_eq!(label("folder", "1.jpg"), None);
        assert_eq!(
            label(r"re:([^/]+)_\d+\.jpg$", "x/great_pyrenees_12.jpg").as_deref(),
            Some("great_pyrenees")
        );
        assert_eq!(label(r"re:([^/]+)_\d+\.jpg$", "x/readme.jpg"), None);
        assert_eq!(label("re:(a*)b", "b.jpg"), None);
    }

    #[test]
    fn patterns_are_checked() {
        for bad in ["re:(", "re:abc", "re:(a)(b)", "re:(.{9999}{9999})", "file", ""] {
            assert_eq!(Labels::parse(bad).unwrap_err().kind, dds_core::Kind::Usage, "{bad}");
        }
    }
}
