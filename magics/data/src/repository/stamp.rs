//! Whether a file is the one that was looked at before, as far as its metadata tell.

use rustix::fs::Stat;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The clock that stamps files moves in steps of up to 10 ms (a kernel with HZ=100): of a file that
/// changed so recently, a further change might not show.
const SETTLING: Duration = Duration::from_millis(100);

/// Identity of a file's content for this process: device, inode, length, time of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub fn of(meta: &Metadata) -> Self {
        let changed = (meta.ctime(), meta.ctime_nsec());
        Self { device: meta.dev(), inode: meta.ino(), len: meta.len(), changed }
    }

    /// The same of what the kernel says itself: the numbers of devices are put together alike.
    pub fn of_stat(found: &Stat) -> Self {
        #[allow(clippy::useless_conversion, reason = "the widths differ between machines")]
        let changed = (i64::from(found.st_ctime), i64::try_from(found.st_ctime_nsec).unwrap_or_default());
        let len = u64::try_from(found.st_size).unwrap_or_default();
        Self { device: found.st_dev, inode: found.st_ino, len, changed }
    }

    /// Of an open file. Errors: of `fstat`.
    pub fn of_file(file: &File) -> std::io::Result<Self> {
        Ok(Self::of_stat(&rustix::fs::fstat(file)?))
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether every change from now on gives another stamp. To be asked before the content is read.
    pub fn is_settled(&self) -> bool {
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(self.changed.0), u32::try_from(self.changed.1)) else {
            return false;
        };
        let changed = UNIX_EPOCH.checked_add(Duration::new(seconds, nanos));
        changed.and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age >= SETTLING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_ask_say_the_same() {
        for file in
            [tempfile::tempfile().unwrap(), File::open("/").unwrap(), File::open("/proc/self/stat").unwrap()]
        {
            assert_eq!(Stamp::of(&file.metadata().unwrap()), Stamp::of_file(&file).unwrap());
        }
    }

    #[test]
    fn what_changed_just_now_or_later_is_not_settled() {
        let at = |ago: i64| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            Stamp { device: 1, inode: 1, len: 1, changed: (now.as_secs() as i64 - ago, 0) }
        };
        assert!(at(5).is_settled() && !at(-5).is_settled());
    }
}
