//! Frozen features: what a network makes of each image, once, and then from the cache.
//!
//! Files are read ahead by a few threads in the announced order while others decode and compute. An
//! image that cannot be read or decoded is named and left out; the rest goes on. A result depends on
//! the image alone, never on its neighbours or on threads.

pub mod cache;
pub mod reader;

use crate::decode::decode;
use crate::models::Backbone;
use crate::models::squeezenet::FEATURES;
use crate::place::FileRef;
use crate::transform::{Normalisation, Transform, thumbnail};
use cache::FeatureCache;
use dds_core::{Cx, Digest, Error, Kind, Result};
use image::RgbImage;
use md5::{Digest as _, Md5};
use rayon::prelude::*;
use std::time::Instant;

/// Pixels of one batch: 16 images at 128 px. Larger ones were not faster (measured on 2 cores).
const BATCH_PIXELS: u32 = 16 * 128 * 128;

/// Computes features. Call inside nothing: it brings its own threads.
pub struct Extractor<'a> {
    pub backbone: &'a Backbone,
    pub transform: Transform,
    pub normalisation: &'a Normalisation,
    /// Without a cache everything is computed, and nothing kept.
    pub cache: Option<&'a FeatureCache>,
    pub pool: &'a rayon::ThreadPool,
    /// Side of small copies to keep, for the first [`Extractor::thumbs`] files.
    pub thumb_side: u32,
    pub thumbs: usize,
}

/// What came out, in the order of the files.
#[derive(Default)]
pub struct Extraction {
    /// 512 numbers an image; none where the image was skipped.
    pub rows: Vec<Option<Vec<f32>>>,
    /// Milliseconds of decoding and computing, averaged over the image's batch; 0 from the cache.
    pub millis: Vec<f64>,
    pub thumbs: Vec<Option<RgbImage>>,
    /// Index of the file and why it is left out; sorted by index.
    pub skipped: Vec<(usize, Error)>,
    pub cached: usize,
    pub files_read: usize,
    pub bytes_read: u64,
}

struct Loaded {
    index: usize,
    digest: Digest,
    bytes: Vec<u8>,
}

impl Extractor<'_> {
    /// Features of all `files`. Errors: `Interrupted`, a server that cannot be reached, or no image
    /// that could be used at all (then the first one's error).
    pub fn run(&self, files: &[FileRef], cx: &Cx) -> Result<Extraction> {
        let n = files.len();
        let mut out = Extraction {
            rows: vec![None; n],
            millis: vec![0.0; n],
            thumbs: vec![None; n],
            ..Extraction::default()
        };
        cx.items("features", 0, n);
        if let Some(cache) = self.cache {
            let known = |f: &FileRef| f.digest.and_then(|d| cache.get(&d, FEATURES));
            let hits: Vec<Option<Vec<f32>>> = self.pool.install(|| files.par_iter().map(known).collect());
            out.cached = hits.iter().flatten().count();
            out.rows = hits;
        }
        let todo: Vec<usize> = (0..n).filter(|i| out.rows[*i].is_none()).collect();
        let mut done = out.cached;
        cx.items("features", done, n);
        let size = self.transform.size;
        let batch_size = (BATCH_PIXELS / (size * size)).max(1) as usize;
        let mut batch: Vec<Loaded> = Vec::with_capacity(batch_size);
        let mut left = todo.len();
        let mut stored = false;
        reader::read_ahead(files, &todo, cx, |index, read| {
            left -= 1;
            match read {
                Ok(bytes) => {
                    out.files_read += 1;
                    out.bytes_read += bytes.len() as u64;
                    let digest =
                        files[index].digest.unwrap_or_else(|| Digest::Md5(Md5::digest(&bytes).into()));
                    let hit = match (self.cache, files[index].digest) {
                        // With a digest in the listing the cache has been asked before.
                        (Some(cache), None) => cache.get(&digest, FEATURES),
                        _ => None,
                    };
                    match hit {
                        Some(row) => {
                            out.rows[index] = Some(row);
                            out.cached += 1;
                            done += 1;
                        }
                        None => batch.push(Loaded { index, digest, bytes }),
                    }
                }
                Err(e) if fatal(e.kind) => return Err(e),
                Err(e) => {
                    out.skipped.push((index, e));
                    done += 1;
                }
            }
            if batch.len() == batch_size || (left == 0 && !batch.is_empty()) {
                cx.cancel.check()?;
                done += batch.len();
                stored |= self.compute(std::mem::take(&mut batch), files, &mut out)?;
            }
            cx.items("features", done, n);
            Ok(())
        })?;
        if stored && let Some(cache) = self.cache {
            cache.prune();
        }
        out.skipped.sort_by_key(|(i, _)| *i);
        match out.skipped.first() {
            Some((_, first)) if out.skipped.len() == n => {
                let more = if n > 1 { format!(" (and {} more)", n - 1) } else { String::new() };
                Err(Error { message: format!("{}{more}", first.message), ..first.clone() })
            }
            _ => Ok(out),
        }
    }

    /// Decodes and computes one batch; says whether something went into the cache.
    fn compute(&self, batch: Vec<Loaded>, files: &[FileRef], out: &mut Extraction) -> Result<bool> {
        let start = Instant::now();
        let side = self.transform.size as usize;
        let prepare = |l: &Loaded| -> Result<(RgbImage, Option<RgbImage>)> {
            let image = decode(files[l.index].path.as_str(), &l.bytes)?;
            let thumb = if l.index < self.thumbs { Some(thumbnail(&image, self.thumb_side)?) } else { None };
            Ok((self.transform.apply(&image)?, thumb))
        };
        let (prepared, rows) = self.pool.install(|| -> Result<_> {
            let prepared: Vec<Result<(RgbImage, Option<RgbImage>)>> = batch.par_iter().map(prepare).collect();
            let squares: Vec<&RgbImage> = prepared.iter().flatten().map(|(i, _)| i).collect();
            let mut planes = vec![0.0f32; squares.len() * 3 * side * side];
            planes
                .par_chunks_exact_mut(3 * side * side)
                .zip(&squares)
                .for_each(|(out, image)| self.normalisation.write_chw(image, out));
            let rows =
                if squares.is_empty() { Vec::new() } else { self.backbone.net.features(planes, side)? };
            Ok((prepared, rows))
        })?;
        let millis = start.elapsed().as_secs_f64() * 1000.0 / batch.len().max(1) as f64;
        let mut rows = rows.chunks_exact(FEATURES);
        let mut stored = false;
        for (loaded, prepared) in batch.iter().zip(prepared) {
            out.millis[loaded.index] = millis;
            match prepared {
                Ok((_, thumb)) => {
                    let row = rows.next().ok_or_else(|| Error::internal("a batch lost a row"))?.to_vec();
                    if let Some(cache) = self.cache {
                        stored |= cache.put(&loaded.digest, &row);
                    }
                    out.thumbs[loaded.index] = thumb;
                    out.rows[loaded.index] = Some(row);
                }
                Err(e) if fatal(e.kind) => return Err(e),
                Err(e) => out.skipped.push((loaded.index, e)),
            }
        }
        Ok(stored)
    }
}

/// Whether an error concerns more than the one file.
pub fn fatal(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Interrupted | Kind::Unreachable | Kind::Unauthorized | Kind::Unavailable | Kind::Internal
    )
}
