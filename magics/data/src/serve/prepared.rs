//! Answers that were worked out before: which file a target names, where its verified bytes lie, and what
//! goes before them.
//!
//! One is good while the revision stands for the same commit and the file is the one that was verified,
//! which is looked at for every request; anything else is worked out anew, or left to those who may wait.

use super::Shared;
use super::raw::{self, AT_HAND};
use super::route::{At, Route, splits};
use super::site::Site;
use crate::repository::{Node, Stamp, Watch};
use axum::body::Body;
use axum::http::{Response, Uri};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// At this bound all are forgotten. About 1 KB each, 4 at most.
const MAX_PREPARED: usize = 16_384;
/// A longer target is worked out each time.
const MAX_TARGET: usize = 1024;

#[derive(Default)]
pub struct Prepared(RwLock<HashMap<Box<str>, Arc<Answer>>>);

/// What is known of a target.
pub struct Answer {
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    commit: git2::Oid,
    place: PathBuf,
    stamp: Stamp,
    /// No link leads to the file.
    linkless: bool,
    /// That the file can be opened shows that the repository is where it was: no link has come between.
    tells: bool,
    /// Status and headers, up to those that change.
    head: Vec<u8>,
}

/// An answer whose file is open and was the verified one a moment ago.
pub struct Ready {
    pub answer: Arc<Answer>,
    pub file: File,
}

impl Prepared {
    /// The answer to a GET of `target`, as it stands in the request. Reads no more than metadata.
    pub fn get(&self, site: &Site, target: &str) -> Option<Ready> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(target).cloned();
        if let Some(ready) = known.and_then(|answer| answer.ready(site)) {
            return Some(ready);
        }
        let answer = Arc::new(Answer::to(site, target)?);
        if target.len() <= MAX_TARGET {
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MAX_PREPARED {
                known.clear();
            }
            known.insert(target.into(), answer.clone());
        }
        answer.ready(site)
    }
}

impl Answer {
    /// Works it out, when nothing has to be waited for.
    fn to(site: &Site, target: &str) -> Option<Self> {
        let uri: Uri = target.parse().ok()?;
        let At { repository: Some((owner, name)), route: Route::Raw(rest) } = Route::of(uri.path()).ok()?
        else {
            return None;
        };
        let shared = site.opened(&owner, &name)?;
        let (rev, path) = splits(&rest).next()?;
        let watch = shared.repository.watch(&rev)?;
        let commit = watch.revision()?.commit;
        let snapshot = shared.repository.kept_snapshot(commit)?;
        let Node::Dvc { digest, layout, keeper, .. } = snapshot.get(&path.ok()?)? else { return None };
        let remote = keeper.remote.as_deref();
        let (place, stamp) = keeper.stores.verified_place(digest, *layout, remote, AT_HAND)?;
        let linkless = open(&place, true).is_some();
        let at = shared.repository.path();
        let inside = place.starts_with(at) && at.file_name().is_some_and(|folder| *folder == *name);
        let tells = site.is_single() || (linkless && inside);
        let head = head(&raw::whole(digest, stamp.len()).ok()?);
        Some(Self { shared, watch, commit, place, stamp, linkless, tells, head })
    }

    fn ready(self: Arc<Self>, site: &Site) -> Option<Ready> {
        let shared = &self.shared;
        let moved = || site.opened(&shared.owner, &shared.name).is_none_or(|now| !Arc::ptr_eq(&now, shared));
        if !self.watch.is(self.commit) || (!self.tells && moved()) {
            return None;
        }
        let file = open(&self.place, self.linkless)?;
        let ready = Ready { answer: self, file };
        ready.is_still().then_some(ready)
    }

    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Of the body.
    pub fn len(&self) -> u64 {
        self.stamp.len()
    }
}

impl Ready {
    /// Whether the file is the one that was verified.
    pub fn is_still(&self) -> bool {
        Stamp::of_file(&self.file).is_ok_and(|stamp| stamp == self.answer.stamp)
    }
}

/// A pipe in the place of a file makes nobody wait.
fn open(place: &Path, linkless: bool) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = if linkless {
        openat2(CWD, place, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
    } else {
        rustix::fs::open(place, flags, Mode::empty())
    };
    opened.ok().map(File::from)
}

/// As it is sent, without the empty line at its end.
fn head(response: &Response<Body>) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head
}

#[cfg(test)]
mod tests;
