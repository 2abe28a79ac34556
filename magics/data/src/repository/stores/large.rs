//! Large objects that are given out while they are verified for the first time.
//!
//! Read from start to end, an object is hashed on the way, and its last bytes come only when the digest is
//! right: who has all of it has what was asked for. Parts of it are given out unverified until a thread
//! behind, which is begun once for each object, has found it good or damaged; a damaged one is given out
//! no more. Who reads parts verifies the whole when it is complete, as mounts and `dvc` do.

use super::super::stamp::Stamp;
use super::verdicts::{Candidate, Verdict};
use super::{Keeper, Stores, is_still, open_object, verified};
use crate::flight::lock;
use crate::hash::{self, Md5Stream};
use crate::store::Layout;
use dds_core::{Digest, Error, RepoPath, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

/// Given out and hashed at a time.
pub const CHUNK: u64 = 256 << 10;
/// Objects that wait for the thread behind; what does not fit is asked for again.
const MAX_WAITING: usize = 256;

/// A large object, opened.
#[derive(Debug)]
pub struct Large {
    file: File,
    len: u64,
    unverified: Option<Unverified>,
}

/// What is to be found out of an object.
#[derive(Debug)]
struct Unverified {
    stores: Weak<Stores>,
    at: PathBuf,
    candidate: Candidate,
    /// Whether a verdict may be kept.
    settled: bool,
}

/// One pass over a part of an object.
#[derive(Debug)]
pub struct Reading {
    file: File,
    range: Range<u64>,
    len: u64,
    unverified: Option<Unverified>,
    /// Of the bytes so far, when all are read.
    hasher: Option<Md5Stream>,
}

impl Keeper {
    /// As [`Keeper::open`], without waiting until the object is verified.
    pub fn open_large(&self, path: &RepoPath, digest: &Digest, layout: Layout) -> Result<Large> {
        let found = Large::open(&self.stores, path, digest, layout, self.remote.as_deref());
        found.map_err(|e| self.explain(e))
    }
}

impl Large {
    /// The first copy that is not known to be damaged. Errors: `NotFound`, `Corrupt`.
    fn open(
        stores: &Arc<Stores>,
        path: &RepoPath,
        digest: &Digest,
        layout: Layout,
        remote: Option<&str>,
    ) -> Result<Self> {
        let mut damaged = None;
        for (store, layout) in stores.places(remote, layout) {
            let at = store.path(digest, layout);
            let Ok((file, stamp)) = open_object(&at) else { continue };
            let candidate = Candidate { digest: *digest, layout, stamp };
            let good = match stores.verdicts.of(&candidate) {
                Some(verdict) => verdict == Verdict::Good,
                // Its line ends are part of the digest: not to be told in pieces.
                None if layout == Layout::V2 => match verified(&file, stamp, digest, layout)? {
                    Some((stamp, settled)) => {
                        if settled {
                            stores.remember(digest, layout, stamp);
                        }
                        true
                    }
                    None => false,
                },
                None => {
                    let unverified = Unverified {
                        stores: Arc::downgrade(stores),
                        at,
                        candidate,
                        settled: stamp.is_settled(),
                    };
                    return Ok(Self { file, len: stamp.len(), unverified: Some(unverified) });
                }
            };
            if good {
                return Ok(Self { file, len: stamp.len(), unverified: None });
            }
            damaged = Some(damage(path, &at, digest, stamp));
        }
        Err(damaged.unwrap_or_else(|| stores.missing(path, digest)))
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// To be read piece by piece.
    pub fn read(self, range: Range<u64>) -> Reading {
        let Self { file, len, unverified } = self;
        let whole = range == (0..len);
        let hasher = unverified.as_ref().filter(|_| whole).map(|_| Md5Stream::default());
        Reading { file, range, len, unverified, hasher }
    }
}

impl Reading {
    /// The next bytes; none at the end. Blocks. Errors: `Corrupt` in place of the last bytes of an object
    /// that was read from start to end and is damaged.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.range.is_empty() {
            return Ok(None);
        }
        if self.hasher.is_none()
            && let Some(unverified) = self.unverified.take()
        {
            unverified.look_behind();
        }
        let io = |e: std::io::Error| Error::io("an object", &e);
        let end = self.range.end.min(self.range.start + CHUNK);
        let mut bytes = vec![0; usize::try_from(end - self.range.start).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, self.range.start).map_err(io)?;
        self.range.start = end;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        if end == self.len
            && let (Some(hasher), Some(unverified)) = (self.hasher.take(), self.unverified.take())
        {
            unverified.judge(&self.file, hasher)?;
        }
        Ok(Some(bytes))
    }
}

impl Unverified {
    /// Compares what all bytes gave. Errors: `Corrupt`.
    fn judge(self, file: &File, hasher: Md5Stream) -> Result<()> {
        let Candidate { digest, stamp, .. } = self.candidate;
        let (found, _) = hasher.finish();
        let good = match (found, digest) {
            (Digest::Md5(found), Digest::Md5(wanted) | Digest::Md5Dir(wanted)) => found == wanted,
            _ => false,
        };
        if self.settled
            && is_still(file, &stamp)
            && let Some(stores) = self.stores.upgrade()
        {
            stores.verdicts.remember(self.candidate, if good { Verdict::Good } else { Verdict::Damaged });
        }
        if good {
            return Ok(());
        }
        Err(hash::mismatch(&self.at.display().to_string(), &digest, stamp.len())
            .hint("remove this file and fetch it again"))
    }

    /// Has it verified by the thread behind.
    fn look_behind(self) {
        if let Some(stores) = self.stores.upgrade() {
            stores.behind.add(self);
        }
    }
}

fn damage(path: &RepoPath, at: &Path, digest: &Digest, stamp: Stamp) -> Error {
    hash::mismatch(&format!("{path}: {}", at.display()), digest, stamp.len())
}

/// The thread that verifies large objects one after the other; there while there are any.
#[derive(Debug, Default)]
pub struct Behind(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    objects: VecDeque<Unverified>,
    /// The one that is looked at.
    now: Option<Candidate>,
}

impl Behind {
    fn add(&self, object: Unverified) {
        let mut waiting = lock(&self.0);
        let same = |o: &Candidate| *o == object.candidate;
        let known = waiting.now.as_ref().is_some_and(same);
        if known || waiting.objects.iter().any(|o| same(&o.candidate)) || waiting.objects.len() >= MAX_WAITING
        {
            return;
        }
        if waiting.now.is_none() {
            let shared = self.0.clone();
            let work = move || work(&shared, look);
            if let Err(e) = std::thread::Builder::new().name("dds-verify".into()).spawn(work) {
                tracing::warn!("large objects are not verified: {e}");
                return;
            }
            waiting.now = Some(object.candidate);
        }
        waiting.objects.push_back(object);
    }
}

/// Looks at what waits until nothing does. A panic costs the one object.
fn work(shared: &Mutex<Waiting>, look: impl Fn(Unverified)) {
    while let Some(object) = next(shared) {
        let at = object.at.clone();
        if catch_unwind(AssertUnwindSafe(|| look(object))).is_err() {
            tracing::error!("{} could not be verified", at.display());
        }
    }
}

/// The next object; none ends the thread.
fn next(shared: &Mutex<Waiting>) -> Option<Unverified> {
    let mut waiting = lock(shared);
    let object = waiting.objects.pop_front();
    waiting.now = object.as_ref().map(|o| o.candidate);
    object
}

fn look(object: Unverified) {
    let stores = object.stores.clone();
    let Ok((file, stamp)) = open_object(&object.at) else { return };
    if stamp != object.candidate.stamp {
        return;
    }
    let mut reading = Large { file, len: stamp.len(), unverified: Some(object) }.read(0..stamp.len());
    // Nobody waits for it any more when the repository is closed.
    while stores.strong_count() > 0 {
        match reading.next() {
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(e) => return tracing::error!("{e}"),
        }
    }
}

#[cfg(test)]
mod tests;
