//! HMAC-SHA256 over the four signed parts of a message, and the window that refuses replays.
//!
//! The protocol signs header, parent header, metadata and content, in this order and nothing else:
//! identities and buffers are not covered.

use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::{HashSet, VecDeque};

/// Signatures remembered for refusing replays, as many as ipykernel keeps.
pub const REPLAY_WINDOW: usize = 65_536;

/// A signature as bytes.
pub type Signature = [u8; 32];

/// Signs and verifies with the connection file's key. `Debug` does not show the key.
#[derive(Clone)]
pub struct Signer {
    mac: Hmac<Sha256>,
}

impl Signer {
    pub fn new(key: &[u8]) -> Self {
        // HMAC takes keys of any length (RFC 2104), so the fallback is never used.
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
        Self { mac }
    }

    pub fn sign(&self, parts: [&[u8]; 4]) -> Signature {
        self.over(parts).finalize().into_bytes().into()
    }

    /// The signature, if `hex` is the one for `parts`. Compares in constant time.
    pub fn verify(&self, hex: &[u8], parts: [&[u8]; 4]) -> Option<Signature> {
        let mut given: Signature = [0; 32];
        hex::decode_to_slice(hex, &mut given).ok()?;
        self.over(parts).verify_slice(&given).ok()?;
        Some(given)
    }

    fn over(&self, parts: [&[u8]; 4]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(***)")
    }
}

/// The last signatures that were accepted. Only valid signatures enter, so that nobody without the
/// key can push old ones out; a replay older than the window passes.
#[derive(Debug)]
pub struct ReplayWindow {
    seen: HashSet<Signature>,
    order: VecDeque<Signature>,
    capacity: usize,
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::with_capacity(REPLAY_WINDOW)
    }
}

impl ReplayWindow {
    pub fn with_capacity(capacity: usize) -> Self {
        Self { seen: HashSet::new(), order: VecDeque::new(), capacity: capacity.max(1) }
    }

    /// False when this signature was accepted before.
    pub fn accept(&mut self, signature: Signature) -> bool {
        if !self.seen.insert(signature) {
            return false;
        }
        self.order.push_back(signature);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4231_test_case_2() {
        let signer = Signer::new(b"Jefe");
        let parts: [&[u8]; 4] = [b"what do ya ", b"want for", b" nothing", b"?"];
        let hex = hex::encode(signer.sign(parts));
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(signer.verify(hex.as_bytes(), parts).is_some());
        assert!(signer.verify(hex.to_uppercase().as_bytes(), parts).is_some());
        assert!(Signer::new(b"jefe").verify(hex.as_bytes(), parts).is_none());
        for bad in ["", "5b", "zz", &hex[1..], &format!("{hex}00")] {
            assert!(signer.verify(bad.as_bytes(), parts).is_none(), "{bad}");
        }
        assert_eq!(format!("{signer:?}"), "Signer(***)");
    }

    #[test]
    fn the_window_refuses_replays_and_forgets_the_oldest_first() {
        let sig = |n: u8| [n; 32];
        let mut window = ReplayWindow::with_capacity(3);
        for n in 1..=3 {
            assert!(window.accept(sig(n)));
            assert!(!window.accept(sig(n)));
        }
        assert!(!window.accept(sig(1)), "three of three are remembered");
        assert!(window.accept(sig(4)));
        assert!(window.accept(sig(1)), "one past the bound, the oldest is forgotten");
        assert!(!window.accept(sig(3)));
        assert_eq!(window.seen.len(), 3);
    }
}
