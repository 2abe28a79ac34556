//! A remote without a network, which can be told to fail: for tests.

use super::{Key, Lengths, Remote};
use crate::client::transport::BoxFuture;
use crate::flight::lock;
use bytes::Bytes;
use dds_core::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
pub struct MemoryRemote {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    /// Every call fails so.
    failing: Arc<Mutex<Option<Error>>>,
    /// `lengths` answers.
    lists: bool,
}

impl MemoryRemote {
    pub fn that_lists() -> Self {
        Self { lists: true, ..Self::default() }
    }

    pub fn insert(&self, key: impl Into<String>, bytes: impl Into<Bytes>) {
        lock(&self.objects).insert(key.into(), bytes.into());
    }

    pub fn fail(&self, error: Option<Error>) {
        *lock(&self.failing) = error;
    }

    fn look(&self, key: &Key) -> Result<Option<Bytes>> {
        match &*lock(&self.failing) {
            Some(e) => Err(e.clone()),
            None => Ok(lock(&self.objects).get(&key.path).cloned()),
        }
    }
}

impl Remote for MemoryRemote {
    fn shown(&self) -> &str {
        "memory"
    }

    fn len(&self, key: &Key) -> BoxFuture<Result<Option<u64>>> {
        let found = self.look(key).map(|b| b.map(|b| b.len() as u64));
        Box::pin(async move { found })
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>, max: u64) -> BoxFuture<Result<Option<Bytes>>> {
        let found = self.look(key).and_then(|bytes| {
            let Some(bytes) = bytes else { return Ok(None) };
            let range = range.unwrap_or(0..bytes.len() as u64);
            let end = range.end.min(bytes.len() as u64);
            let part = bytes.slice(range.start.min(end) as usize..end as usize);
            if part.len() as u64 > max {
                return Err(Error::new(Kind::Limit, format!("more than {max} bytes")));
            }
            Ok(Some(part))
        });
        Box::pin(async move { found })
    }

    fn put(&self, key: &Key, file: PathBuf, _len: u64) -> BoxFuture<Result<()>> {
        let done = self.look(key).and_then(|_| {
            let bytes = std::fs::read(&file).map_err(|e| Error::io(&file, &e))?;
            self.insert(key.path.clone(), bytes);
            Ok(())
        });
        Box::pin(async move { done })
    }

    fn lengths(&self, prefix: &str, max: usize) -> BoxFuture<Result<Option<Lengths>>> {
        let found = self.lists.then(|| {
            let objects = lock(&self.objects);
            let below = objects.iter().filter(|(k, _)| k.starts_with(prefix));
            below.take(max).map(|(k, b)| (k.clone(), b.len() as u64)).collect()
        });
        Box::pin(async move { Ok(found) })
    }
}
