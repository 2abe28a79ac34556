//! The shapes of DagsHub's API, as far as we read them. Unknown fields are passed over.

use dds_core::{Digest, Entry, EntryKind, Error, Kind, RepoPath, Result, Versioning};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor, value};
use std::fmt;

#[derive(Deserialize)]
pub struct Repository {
    pub default_branch: String,
    #[serde(default)]
    pub clone_url: Option<String>,
    #[serde(default)]
    pub empty: bool,
}

#[derive(Deserialize)]
pub struct Branch {
    pub commit: Commit,
}

#[derive(Deserialize)]
pub struct CommitAnswer {
    pub commit: Commit,
}

#[derive(Deserialize)]
pub struct Commit {
    pub id: String,
}

/// A folder's listing, or the one entry of a file.
pub enum Content {
    Folder(Vec<RawEntry>),
    File(RawEntry),
}

/// An untagged enum of serde's would hold the whole listing a second time.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of entries, or one")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> std::result::Result<Content, A::Error> {
                Vec::deserialize(value::SeqAccessDeserializer::new(list)).map(Content::Folder)
            }

            fn visit_map<A: MapAccess<'de>>(self, one: A) -> std::result::Result<Content, A::Error> {
                RawEntry::deserialize(value::MapAccessDeserializer::new(one)).map(Content::File)
            }
        }
        from.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
pub struct RawEntry {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    size: Option<i64>,
    #[serde(default)]
    hash: Option<String>,
    #[serde(default)]
    versioning: Option<String>,
    #[serde(default)]
    missing: bool,
    /// Ours alone tells it.
    #[serde(default)]
    executable: bool,
}

/// `{error, details}`, and what other servers write.
#[derive(Deserialize, Default)]
pub struct Refusal {
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default)]
    pub details: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
}

impl RawEntry {
    /// None for what is no file of the repository (a connected bucket). Errors (`Format`) name a path
    /// that is not safe.
    pub fn entry(self) -> Result<Option<Entry>> {
        let kind = match self.kind.as_str() {
            "dir" => EntryKind::Dir,
            "file" => EntryKind::File,
            _ => return Ok(None),
        };
        let path = RepoPath::parse(&self.path).map_err(|e| e.context("the server listed"))?;
        let size = self.size.and_then(|s| u64::try_from(s).ok());
        let size = size.filter(|_| kind == EntryKind::File && !self.missing);
        let digest: Option<Digest> = self.hash.and_then(|h| h.parse().ok());
        let versioning = match self.versioning.as_deref() {
            Some("dvc") => Versioning::Dvc,
            Some("bucket") => Versioning::Bucket,
            _ => Versioning::Git,
        };
        Ok(Some(Entry { path, kind, size, digest, versioning, executable: self.executable }))
    }
}

/// Parses an answer. Errors (`Format`) say what was asked for.
pub fn parse<T: for<'de> Deserialize<'de>>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(
            Kind::Format,
            format!("the server's answer for {what} is not what DagsHub's API gives: {e}"),
        )
        .hint("check the URL: its host must be DagsHub or a `dds serve`")
    })
}
