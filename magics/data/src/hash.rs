//! Digests of bytes as Git and DVC compute them.
//!
//! MD5 over the bytes (DVC 3), MD5 over text with `\r\n` turned into `\n` (DVC 1 and 2), SHA-1 over
//! `blob LEN\0` and the bytes (Git). Does no I/O.

use dds_core::{Digest, Error, Kind, Result};
use md5::{Digest as _, Md5};

/// DVC 1 and 2 converted line ends chunk by chunk; a `\r\n` across two chunks stayed.
const LEGACY_CHUNK: usize = 1 << 20;
/// How much of a file DVC looks at to tell text from binary.
const LEGACY_PROBE: usize = 512;

pub fn md5(bytes: &[u8]) -> Digest {
    Digest::Md5(Md5::digest(bytes).into())
}

pub fn md5_dir(manifest: &[u8]) -> Digest {
    Digest::Md5Dir(Md5::digest(manifest).into())
}

/// The Git blob id of `bytes`.
pub fn git_blob(bytes: &[u8]) -> Result<Digest> {
    let oid = git2::Oid::hash_object(git2::ObjectType::Blob, bytes)
        .map_err(|e| Error::internal(format!("cannot hash a Git blob: {}", e.message())))?;
    git_digest(oid)
}

/// A Git object id as a digest. Errors (`Format`) for repositories that use SHA-256.
pub fn git_digest(oid: git2::Oid) -> Result<Digest> {
    let bytes: [u8; 20] = oid
        .as_bytes()
        .try_into()
        .map_err(|_| Error::new(Kind::Format, format!("{oid} is not a SHA-1 object id")))?;
    Ok(Digest::Git(bytes))
}

/// Whether `bytes` are what `digest` names.
pub fn matches(digest: &Digest, bytes: &[u8]) -> bool {
    match digest {
        Digest::Md5(want) | Digest::Md5Dir(want) => Md5::digest(bytes).as_slice() == want,
        Digest::Git(_) => git_blob(bytes).is_ok_and(|d| d == *digest),
    }
}

/// Whether `bytes` are what an MD5 of DVC 1 or 2 names: text was hashed with Unix line ends.
pub fn matches_legacy(digest: &Digest, bytes: &[u8]) -> bool {
    let (Digest::Md5(want) | Digest::Md5Dir(want)) = digest else { return false };
    if !looks_like_text(bytes.get(..LEGACY_PROBE).unwrap_or(bytes)) {
        return Md5::digest(bytes).as_slice() == want;
    }
    let mut hasher = Md5::new();
    for chunk in bytes.chunks(LEGACY_CHUNK) {
        let mut rest = chunk;
        while let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
            let (before, after) = rest.split_at(at);
            hasher.update(before);
            rest = after.get(1..).unwrap_or_default();
        }
        hasher.update(rest);
    }
    hasher.finalize().as_slice() == want
}

/// DVC's test: no NUL, and at most 30 % of the bytes outside printable ASCII and white space.
pub fn looks_like_text(block: &[u8]) -> bool {
    let odd = block.iter().filter(|b| !matches!(b, 32..=126 | b'\n' | b'\r' | b'\t' | 0x0c | 0x08)).count();
    !block.contains(&0) && odd * 10 <= block.len() * 3
}

/// `Corrupt`, naming what was promised and what came.
pub fn mismatch(what: &str, want: &Digest, bytes: u64) -> Error {
    Error::new(Kind::Corrupt, format!("{what}: its {bytes} bytes do not have the digest {want}"))
}

/// MD5 of a stream of chunks.
#[derive(Default, Clone, Debug)]
pub struct Md5Stream {
    hasher: Md5,
    len: u64,
}

impl Md5Stream {
    pub fn update(&mut self, chunk: &[u8]) {
        self.hasher.update(chunk);
        self.len += chunk.len() as u64;
    }

    /// The digest and the number of bytes seen.
    pub fn finish(self) -> (Digest, u64) {
        (Digest::Md5(self.hasher.finalize().into()), self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        assert_eq!(md5(b"").to_string(), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(git_blob(b"").unwrap().to_string(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert!(matches(&md5(b"x"), b"x") && !matches(&md5(b"x"), b"y"));
        let mut s = Md5Stream::default();
        s.update(b"a");
        s.update(b"b");
        assert_eq!(s.finish(), (md5(b"ab"), 2));
    }

    #[test]
    fn old_dvc_hashed_text_with_unix_line_ends() {
        let unix = md5(b"one\ntwo\n");
        assert!(matches_legacy(&unix, b"one\r\ntwo\r\n"));
        assert!(matches_legacy(&unix, b"one\ntwo\n"));
        // Binary files were hashed as they are.
        assert!(!matches_legacy(&md5(b"\0one\n"), b"\0one\r\n"));
        assert!(matches_legacy(&md5(b"\0one\r\n"), b"\0one\r\n"));
    }
}
