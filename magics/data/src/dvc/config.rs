//! `.dvc/config`: the cache folder and the remotes.
//!
//! The format is configobj's, of which DVC uses sections, `key = value` and comments. Only local
//! remotes are opened by this crate; the others are kept by name so that errors can name them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What `.dvc/config` and `.dvc/config.local` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DvcConfig {
    pub default_remote: Option<String>,
    /// Name → URL, as written.
    pub remotes: BTreeMap<String, String>,
    pub cache_dir: Option<String>,
}

impl DvcConfig {
    /// Adds the settings of one file; later files win, as in DVC. Unknown sections and lines that are
    /// no settings are passed over.
    pub fn merge(&mut self, text: &str) {
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.split(']').next()) {
                name.trim().trim_matches(['\'', '"']).clone_into(&mut section);
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
                continue;
            };
            let value = unquoted(value.trim());
            match (section.as_str(), key.trim()) {
                ("core", "remote") => self.default_remote = Some(value),
                ("cache", "dir") => self.cache_dir = Some(value),
                (name, "url") => {
                    if let Some(remote) = name.strip_prefix("remote") {
                        self.remotes.insert(remote.trim().trim_matches(['\\', '"']).to_owned(), value);
                    }
                }
                _ => {}
            }
        }
    }

    /// A URL as a folder of this machine; none when it has a scheme other than `file`. Relative ones
    /// are seen from the folder of the configuration file, `dvc_dir`.
    pub fn local_path(url: &str, dvc_dir: &Path) -> Option<PathBuf> {
        let path = url.strip_prefix("file://").unwrap_or(url);
        (!path.contains("://") && !path.is_empty()).then(|| dvc_dir.join(path))
    }
}

/// The text of a configuration with one local remote, which is the default.
pub fn encode(name: &str, folder: &Path) -> String {
    format!(
        "[core]\n    remote = {name}\n['remote \"{name}\"']\n    url = {}\n",
        quoted(&folder.display().to_string())
    )
}

fn quoted(value: &str) -> String {
    if !value.contains(['#', '\'', '"', ',']) && value.trim() == value {
        return value.to_owned();
    }
    if value.contains('"') { format!("'{value}'") } else { format!("\"{value}\"") }
}

fn unquoted(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|v| v.split_once(quote)) {
            return inner.to_owned();
        }
    }
    value.split('#').next().unwrap_or("").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_dvc_writes() {
        let mut c = DvcConfig::default();
        c.merge("[core]\n    remote = storage\n    autostage = true\n['remote \"storage\"']\n    url = ../../remote # near\n# url = x\n['remote \"s3\"']\nurl = s3://b/p\n[cache]\ndir = \"/x #1/c\"\n");
        assert_eq!(c.default_remote.as_deref(), Some("storage"));
        assert_eq!(c.remotes["storage"], "../../remote");
        assert_eq!(c.cache_dir.as_deref(), Some("/x #1/c"));
        assert_eq!(
            DvcConfig::local_path(&c.remotes["storage"], Path::new("/r/.dvc")),
            Some("/r/.dvc/../../remote".into())
        );
        assert_eq!(DvcConfig::local_path(&c.remotes["s3"], Path::new("/r/.dvc")), None);
        c.merge("[core]\nremote = other\n");
        assert_eq!(c.default_remote.as_deref(), Some("other"));
    }

    #[test]
    fn reads_what_it_writes() {
        for folder in ["/plain", "/a b/c", "/has#hash", "/it's", "/a,b"] {
            let mut c = DvcConfig::default();
            c.merge(&encode("storage", Path::new(folder)));
            assert_eq!(
                (c.remotes["storage"].as_str(), c.default_remote.as_deref()),
                (folder, Some("storage"))
            );
        }
    }
}
