//! Keys of the caches: SHA-256 over parts, each with its length, so that no two lists of parts
//! run together.

use sha2::{Digest, Sha256};

pub(super) struct Key(Sha256);

impl Key {
    /// `kind` keeps the keys of one cache apart from those of another, and of an older layout.
    pub(super) fn new(kind: &str) -> Self {
        let mut key = Self(Sha256::new());
        key.part(kind);
        key
    }

    pub(super) fn part(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    pub(super) fn parts<T: AsRef<[u8]>>(&mut self, parts: impl IntoIterator<Item = T>) -> &mut Self {
        let mut count = 0_u64;
        for part in parts {
            self.part(part);
            count += 1;
        }
        self.part(count.to_le_bytes())
    }

    /// 64 hexadecimal digits.
    pub(super) fn hex(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        let key = |parts: &[&str]| {
            let mut key = Key::new("t");
            key.parts(parts);
            key.hex()
        };
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        assert_ne!(key(&["ab", ""]), key(&["a", "b"]));
        assert_ne!(key(&["a"]), key(&["a", ""]));
        assert_eq!(key(&[]).len(), 64);
    }
}
