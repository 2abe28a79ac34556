//! `.dir` manifests: the files of a folder that DVC keeps, as a JSON list of `{"md5", "relpath"}`.
//!
//! The byte form is DVC's own (sorted by `relpath`, `", "` and `": "`, ASCII escapes), because the
//! manifest's MD5 names the folder's version.

use crate::hash;
use dds_core::{Digest, Error, Kind, RepoPath, Result};
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Three million files of 100 bytes each.
pub const MAX_MANIFEST_BYTES: u64 = 512 << 20;

/// What a folder holds, by path below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub files: BTreeMap<RepoPath, Digest>,
}

#[derive(serde::Deserialize)]
struct RawEntry<'a> {
    #[serde(borrow)]
    md5: Cow<'a, str>,
    #[serde(borrow)]
    relpath: Cow<'a, str>,
}

impl Manifest {
    /// Parses the manifest that `name` stands for. Errors (`Format`) name it and the entry.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let mut files = BTreeMap::new();
        Self::each(name, bytes, |n, path, digest| match files.insert(path, digest) {
            None => Ok(()),
            Some(_) => Err(broken(name, &format!("entry {n}: its path comes twice"))),
        })?;
        Ok(Self { files })
    }

    /// Hands out the entries of a manifest one by one, with their numbers; nothing but the entry at
    /// hand is held. Errors: as for [`Manifest::parse`], and those of `take`.
    pub fn each(
        name: &str,
        bytes: &[u8],
        take: impl FnMut(usize, RepoPath, Digest) -> Result<()>,
    ) -> Result<()> {
        let mut walk = Walk { name, take, failed: None };
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let parsed = json.deserialize_seq(&mut walk).and_then(|()| json.end());
        match (walk.failed, parsed) {
            (Some(e), _) => Err(e),
            (None, parsed) => parsed.map_err(|e| broken(name, &e.to_string())),
        }
    }

    /// The manifest's bytes and their digest.
    pub fn encode(&self) -> (Vec<u8>, Digest) {
        let mut text = String::from("[");
        for (n, (path, digest)) in self.files.iter().enumerate() {
            if n > 0 {
                text.push_str(", ");
            }
            let _ = write!(text, "{{\"md5\": \"{digest}\", \"relpath\": ");
            python_json_string(&mut text, path.as_str());
            text.push('}');
        }
        text.push(']');
        let digest = hash::md5_dir(text.as_bytes());
        (text.into_bytes(), digest)
    }
}

/// Gives each entry on as it is read. Its error is kept, because the parser's own has no room for it.
struct Walk<'a, F> {
    name: &'a str,
    take: F,
    failed: Option<Error>,
}

impl<'de, F: FnMut(usize, RepoPath, Digest) -> Result<()>> Visitor<'de> for &mut Walk<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<(), A::Error> {
        let mut n = 0;
        while let Some(raw) = seq.next_element::<RawEntry<'_>>()? {
            n += 1;
            if let Err(e) = entry(self.name, n, &raw).and_then(|(path, digest)| (self.take)(n, path, digest))
            {
                self.failed = Some(e);
                return Err(serde::de::Error::custom("given up"));
            }
        }
        Ok(())
    }
}

fn entry(name: &str, n: usize, raw: &RawEntry<'_>) -> Result<(RepoPath, Digest)> {
    let at = |e: Error| broken(name, &format!("entry {n}: {}", e.message));
    let path = RepoPath::parse_writable(&raw.relpath).map_err(at)?;
    let digest: Digest = raw.md5.parse().map_err(at)?;
    if path.is_root() || !matches!(digest, Digest::Md5(_)) {
        return Err(broken(name, &format!("entry {n}: {:?} is not a file", raw.relpath)));
    }
    Ok((path, digest))
}

fn broken(name: &str, why: &str) -> Error {
    let (name, why) = (dds_core::mime::printable(name), dds_core::mime::printable(why));
    Error::new(Kind::Format, format!("broken DVC folder manifest {name}: {why}"))
        .hint("restore it from the cache of whoever added the folder: `dvc push` there")
}

/// A string as Python's `json.dumps` writes it: everything but printable ASCII is escaped, in UTF-16.
fn python_json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(names: &[&str]) -> Manifest {
        Manifest {
            files: names.iter().map(|n| (RepoPath::parse(n).unwrap(), hash::md5(n.as_bytes()))).collect(),
        }
    }

    #[test]
    fn the_byte_form_is_pythons() {
        // python3 -c 'import json;print(json.dumps([{"md5":"…","relpath":"…"}], sort_keys=True))'
        let (bytes, digest) = manifest(&["b.jpg", "a/ü\u{1f600}\"\t\u{7f}.jpg"]).encode();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "[{\"md5\": \"MD5A\", \"relpath\": \"a/\\u00fc\\ud83d\\ude00\\\"\\t\\u007f.jpg\"}, {\"md5\": \"MD5B\", \"relpath\": \"b.jpg\"}]"
                .replace("MD5A", &hash::md5("a/ü\u{1f600}\"\t\u{7f}.jpg".as_bytes()).to_string())
                .replace("MD5B", &hash::md5(b"b.jpg").to_string())
        );
        assert!(digest.to_string().ends_with(".dir"));
        assert_eq!(Manifest::default().encode().0, b"[]");
    }

    #[test]
    fn sorted_by_the_whole_path() {
        // '-' and '.' sort before '/', as in Python's comparison of strings.
        let (bytes, _) = manifest(&["a/x", "a.b", "a-b", "a"]).encode();
        let text = String::from_utf8(bytes).unwrap();
        let at = |n: &str| text.find(&format!("\"relpath\": \"{n}\"")).unwrap();
        assert!(at("a") < at("a-b") && at("a-b") < at("a.b") && at("a.b") < at("a/x"));
    }

    #[test]
    fn round_trip_and_refusals() {
        let m = manifest(&["a/b.jpg", "Größe 1/a..b.png"]);
        assert_eq!(Manifest::parse("m", &m.encode().0).unwrap(), m);
        let d = hash::md5(b"");
        for (text, why) in [
            ("{}".to_owned(), "m"),
            ("[{\"md5\":\"zz\",\"relpath\":\"a\"}]".to_owned(), "entry 1"),
            (format!("[{{\"md5\":\"{d}\",\"relpath\":\"../a\"}}]"), "entry 1"),
            (format!("[{{\"md5\":\"{d}\",\"relpath\":\"/etc/passwd\"}}]"), "entry 1"),
            (format!("[{{\"md5\":\"{d}\",\"relpath\":\"x/.GIT/hooks/pre-commit\"}}]"), ".git"),
            (format!("[{{\"md5\":\"{d}\",\"relpath\":\"\"}}]"), "entry 1"),
            (format!("[{{\"md5\":\"{d}.dir\",\"relpath\":\"a\"}}]"), "entry 1"),
            (
                format!("[{{\"md5\":\"{d}\",\"relpath\":\"a\"}},{{\"md5\":\"{d}\",\"relpath\":\"a\"}}]"),
                "twice",
            ),
        ] {
            let e = Manifest::parse("m", text.as_bytes()).unwrap_err();
            assert!(e.kind == Kind::Format && e.message.contains(why), "{text} gave {e}");
        }
    }
}
