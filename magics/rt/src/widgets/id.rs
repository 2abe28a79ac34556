//! Ids of models: 32 hexadecimal digits.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// A new id. The randomness comes from the system each time: a generator of our own would go on
/// alike in a process and in the copy of it that is kept as a checkpoint, and give out ids twice.
pub(super) fn fresh() -> String {
    let mut bytes = [0; 16];
    if File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).is_err() {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let seed = (SystemTime::now(), std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&RandomState::new().hash_one(seed).to_le_bytes());
        second.copy_from_slice(&RandomState::new().hash_one(seed).to_le_bytes());
    }
    format!("{:032x}", u128::from_le_bytes(bytes))
}
