//! Content digests as the manifests name them.

use crate::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;

/// The digest of one file or of one DVC folder manifest.
///
/// Text form: 32 lower-case hex digits for MD5 (DVC), the same with `.dir` for a folder manifest,
/// 40 hex digits for a Git blob id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Digest {
    /// MD5 of the file's bytes.
    Md5([u8; 16]),
    /// MD5 of a `.dir` manifest's bytes.
    Md5Dir([u8; 16]),
    /// SHA-1 of `blob LEN\0` followed by the bytes, as Git names blobs.
    Git([u8; 20]),
}

impl Digest {
    /// The path of the object inside a store of DVC's layout, `files/md5/xx/…`; none for Git blobs.
    pub fn store_path(&self) -> Option<String> {
        let text = self.to_string();
        match self {
            Digest::Md5(_) | Digest::Md5Dir(_) => Some(format!("files/md5/{}/{}", &text[..2], &text[2..])),
            Digest::Git(_) => None,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Digest::Md5(b) => f.write_str(&hex::encode(b)),
            Digest::Md5Dir(b) => write!(f, "{}.dir", hex::encode(b)),
            Digest::Git(b) => f.write_str(&hex::encode(b)),
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::new(Kind::Format, format!("not a digest: {text:?}"));
        let (digits, dir) = match text.strip_suffix(".dir") {
            Some(d) => (d, true),
            None => (text, false),
        };
        match (digits.len(), dir) {
            (32, _) => {
                let mut b = [0; 16];
                hex::decode_to_slice(digits, &mut b).map_err(|_| bad())?;
                Ok(if dir { Digest::Md5Dir(b) } else { Digest::Md5(b) })
            }
            (40, false) => {
                let mut b = [0; 20];
                hex::decode_to_slice(digits, &mut b).map_err(|_| bad())?;
                Ok(Digest::Git(b))
            }
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_round_trip() {
        for t in [
            "d41d8cd98f00b204e9800998ecf8427e",
            "d41d8cd98f00b204e9800998ecf8427e.dir",
            "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        ] {
            assert_eq!(t.parse::<Digest>().unwrap().to_string(), t);
        }
        for t in ["", "zz", "d41d8cd98f00b204e9800998ecf8427g", "../../../../etc/passwd.dir"] {
            assert!(t.parse::<Digest>().is_err(), "{t}");
        }
    }

    #[test]
    fn store_layout_is_dvcs() {
        let d: Digest = "d41d8cd98f00b204e9800998ecf8427e".parse().unwrap();
        assert_eq!(d.store_path().unwrap(), "files/md5/d4/1d8cd98f00b204e9800998ecf8427e");
    }
}
