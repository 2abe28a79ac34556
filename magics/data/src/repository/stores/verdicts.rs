//! Which objects of this machine were verified as a whole, and what came of it.
//!
//! A verdict holds for a file as long as its [`Stamp`] is the same, so that one that was changed, damaged
//! or mended is looked at anew.

use super::super::stamp::Stamp;
use super::Layout;
use crate::flight::lock;
use dds_core::Digest;
use std::collections::HashMap;
use std::sync::Mutex;

/// At this bound all are forgotten.
pub const MAX_VERDICTS: usize = 65_536;

/// One file as it was, and what it is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    pub digest: Digest,
    pub layout: Layout,
    pub stamp: Stamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Damaged,
}

#[derive(Debug, Default)]
pub struct Verdicts(Mutex<HashMap<Candidate, Verdict>>);

impl Verdicts {
    pub fn of(&self, candidate: &Candidate) -> Option<Verdict> {
        lock(&self.0).get(candidate).copied()
    }

    /// Of a file whose stamp was settled before its bytes were read.
    pub fn remember(&self, candidate: Candidate, verdict: Verdict) {
        let mut known = lock(&self.0);
        if known.len() >= MAX_VERDICTS {
            known.clear();
        }
        known.insert(candidate, verdict);
    }
}
