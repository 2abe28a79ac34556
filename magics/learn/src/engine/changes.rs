//! The images among the differences of two revisions: the ones that came, and the changed ones before and
//! after.

use super::Learn;
use super::data::short_reason;
use crate::decode::{decode, is_image_name};
use crate::features::{fatal, reader::read_ahead};
use crate::picture::grid::{Caption, Tile, grid};
use crate::picture::{GREEN, INK};
use crate::place::FileRef;
use crate::transform::thumbnail;
use dds_core::mime::printable;
use dds_core::{Cx, MimeBundle, RepoPath, RepoUrl, Result, Source};
use serde_json::Value;
use std::sync::Arc;

/// Most images of the picture.
const MAX_IMAGES: usize = 18;
const SIDE: u32 = 112;
const COLUMNS: usize = 6;

/// What stands below an image.
struct Wanted {
    path: String,
    new: bool,
    word: &'static str,
}

impl Learn {
    /// `diff` is the result of the command `diff`. None when no image is among the changes.
    pub(super) fn run_changes(&self, diff: &Value, cx: &Cx) -> Result<Option<MimeBundle>> {
        let wanted = wanted(diff);
        if wanted.is_empty() {
            return Ok(None);
        }
        let open = |side: &str| -> Result<Arc<dyn Source>> {
            self.resolver.open(&RepoUrl::parse(diff[side].as_str().unwrap_or_default())?, cx)
        };
        let new = open("new")?;
        let old = if wanted.iter().all(|w| w.new) { new.clone() } else { open("old")? };
        let mut files = Vec::with_capacity(wanted.len());
        for w in &wanted {
            let source = if w.new { new.clone() } else { old.clone() };
            files.push(FileRef { source, path: RepoPath::parse(&w.path)?, size: None, digest: None });
        }
        let order: Vec<usize> = (0..files.len()).collect();
        let mut tiles: Vec<Option<Tile>> = wanted.iter().map(|_| None).collect();
        read_ahead(&files, &order, cx, |i, read| {
            let w = &wanted[i];
            let image = match read.and_then(|bytes| thumbnail(&decode(&w.path, &bytes)?, SIDE)) {
                Ok(image) => Ok(image),
                Err(e) if fatal(e.kind) => return Err(e),
                Err(e) => Err(short_reason(&e.message)),
            };
            let name = w.path.rsplit('/').next().unwrap_or(&w.path);
            let colour = if w.word == "before" { INK } else { GREEN };
            let captions = vec![Caption::new(printable(name)), Caption::bold(w.word, colour)];
            tiles[i] = Some(Tile { image, captions });
            Ok(())
        })?;
        let tiles: Vec<Tile> = tiles.into_iter().flatten().collect();
        let alt: Vec<String> =
            wanted.iter().map(|w| format!("{} ({})", printable(&w.path), w.word)).collect();
        let png = grid(&tiles, Some(tiles.len().min(COLUMNS)), SIDE)?;
        Ok(Some(png.bundle(format!("Picture of the changes: {}", alt.join(", ")))))
    }
}

fn wanted(diff: &Value) -> Vec<Wanted> {
    let paths = |kind: &str| -> Vec<String> {
        let entries = diff[kind].as_array().map(Vec::as_slice).unwrap_or_default();
        let paths = entries.iter().filter_map(|e| e["path"].as_str());
        paths.filter(|p| is_image_name(p.rsplit('/').next().unwrap_or(p))).map(str::to_owned).collect()
    };
    let changed = paths("changed").into_iter().flat_map(|path| {
        [Wanted { path: path.clone(), new: false, word: "before" }, Wanted { path, new: true, word: "after" }]
    });
    let added = paths("added").into_iter().map(|path| Wanted { path, new: true, word: "added" });
    // Pairs stay together: the bound is even.
    changed.chain(added).take(MAX_IMAGES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn images_come_in_pairs_and_few() {
        let many: Vec<Value> = (0..40).map(|n| json!({"path": format!("new/{n}.png")})).collect();
        let diff = json!({
            "changed": [{"path": "a/x.jpg"}, {"path": "a/x.jpg.dvc"}, {"path": "labels.csv"}],
            "added": many, "removed": [{"path": "gone.jpg"}],
        });
        let found: Vec<(String, &str)> = wanted(&diff).into_iter().map(|w| (w.path, w.word)).collect();
        assert_eq!(found.len(), MAX_IMAGES);
        assert_eq!(found[..2], [("a/x.jpg".to_owned(), "before"), ("a/x.jpg".to_owned(), "after")]);
        assert_eq!(found[2], ("new/0.png".to_owned(), "added"));
        assert!(wanted(&json!({"removed": [{"path": "gone.jpg"}]})).is_empty());
    }
}
