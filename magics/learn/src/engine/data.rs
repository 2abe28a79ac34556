//! `data` and `batch`.

use super::Learn;
use crate::data::{DataSet, Item, split::shuffle};
use crate::decode::decode;
use crate::features::{fatal, reader::read_ahead};
use crate::picture::grid::{Caption, MAX_TILES, Tile, grid};
use crate::store::Workspace;
use dds_core::mime::{escape_html, printable};
use dds_core::table::{Align, Table, bytes, count};
use dds_core::{Cx, Error, Outcome, Result, request as rq};
use serde_json::json;
use std::sync::Arc;

impl Learn {
    pub(super) fn run_data(&self, r: &rq::Data, cx: &Cx) -> Result<Outcome> {
        let set = DataSet::build(r, self.resolver.as_ref(), cx)?;
        set.save(&Workspace::beside(cx))?;
        let outcome = describe(&set);
        self.session().data.put(&set.name.clone(), Arc::new(set));
        Ok(outcome)
    }

    pub(super) fn run_batch(&self, r: &rq::Batch, cx: &Cx) -> Result<Outcome> {
        let set = self.data_set(r.data.as_deref(), cx)?;
        let mut chosen: Vec<&Item> = set.items.iter().filter(|i| i.valid == r.valid).collect();
        let part = if r.valid { "validation" } else { "training" };
        if chosen.is_empty() {
            return Err(Error::usage(format!("data set {:?} has no {part} images", set.name)));
        }
        shuffle(&mut chosen, r.seed);
        chosen.truncate(r.max.clamp(1, MAX_TILES));
        let files: Vec<_> = chosen.iter().map(|i| set.file(i)).collect();
        let transform = set.recipe.transform;
        let mut tiles: Vec<Option<Tile>> = chosen.iter().map(|_| None).collect();
        let order: Vec<usize> = (0..files.len()).collect();
        let mut failed = Vec::new();
        read_ahead(&files, &order, cx, |i, read| {
            let image =
                read.and_then(|b| decode(files[i].path.as_str(), &b)).and_then(|im| transform.apply(&im));
            let image = match image {
                Err(e) if fatal(e.kind) => return Err(e),
                Err(e) => {
                    failed.push((i, e.message.clone()));
                    Err(short_reason(&e.message))
                }
                Ok(image) => Ok(image),
            };
            let label = Caption::bold(printable(&set.classes[chosen[i].label]), crate::picture::INK);
            let name = Caption::faint(printable(chosen[i].path.name()));
            tiles[i] = Some(Tile { image, captions: vec![label, name] });
            Ok(())
        })?;
        failed.sort();
        let tiles: Vec<Tile> = tiles.into_iter().flatten().collect();
        let png = grid(&tiles, None, transform.size)?;
        self.write_picture(&png, r.out.as_ref(), cx)?;
        let summary = format!(
            "{} of {:?} as the model sees them: {}×{} pixels, {}",
            count(tiles.len(), &format!("{part} image")),
            set.name,
            transform.size,
            transform.size,
            transform.resize.name()
        );
        let named: Vec<String> = chosen
            .iter()
            .map(|i| format!("{} ({})", printable(&set.shown(&i.path)), printable(&set.classes[i.label])))
            .collect();
        let images: Vec<_> = chosen
            .iter()
            .map(|i| json!({"path": set.shown(&i.path), "label": set.classes[i.label]}))
            .collect();
        let failed: Vec<_> = failed.iter().map(|(_, why)| why.clone()).collect();
        let json = json!({"data": set.name, "valid": r.valid, "size": transform.size, "images": images, "failed": failed});
        Ok(Outcome::new(summary.clone(), json)
            .detail(failed.join("\n"))
            .display(png.bundle(format!("Picture: {summary}: {}", named.join(", ")))))
    }
}

/// `dir/x.jpg: not an image: why` → `not an image: why`, for a tile.
pub(super) fn short_reason(message: &str) -> String {
    let at = message.find(": ").map_or(0, |i| i + 2);
    printable(message.get(at..).unwrap_or(message))
}

fn describe(set: &DataSet) -> Outcome {
    let counts = set.counts();
    let valid = set.items.iter().filter(|i| i.valid).count();
    let train = set.items.len() - valid;
    let total = counts.iter().try_fold(0u64, |sum, c| Some(sum + c.bytes?));
    let t = set.recipe.transform;
    let summary = format!(
        "data set {:?}: {} in {}, {train} for training and {valid} for validation",
        set.name,
        count(set.items.len(), "image"),
        count(set.classes.len(), "class")
    );
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("train", Align::Right),
        ("valid", Align::Right),
        ("size", Align::Right),
    ]);
    let size = |b: Option<u64>| b.map_or("?".to_owned(), bytes);
    for c in &counts {
        table.row([c.class.clone(), c.train.to_string(), c.valid.to_string(), size(c.bytes)]);
    }
    if counts.len() > 1 {
        table.row(["all".into(), train.to_string(), valid.to_string(), size(total)]);
    }
    let split = match set.recipe.split.as_str() {
        s @ ("stratified" | "random") => {
            format!("{s}, {} % by seed {}", set.recipe.valid * 100.0, set.recipe.seed)
        }
        s => s.to_owned(),
    };
    let note = format!(
        "labels: {}; split: {split}; {} to {}×{} pixels; from {}",
        set.recipe.labels,
        t.resize.name(),
        t.size,
        t.size,
        set.place.source.id()
    );
    let warnings = set.warnings();
    let mut lines = vec![table.text(), printable(&note)];
    lines.extend(warnings.iter().map(|w| format!("warning: {}", printable(w))));
    let mut html = format!("{}<p>{}</p>", table.html(), escape_html(&printable(&note)));
    for w in &warnings {
        html.push_str(&format!("<p><b>warning:</b> {}</p>", escape_html(&printable(w))));
    }
    let json = json!({
        "data": set.name,
        "source": set.place.source.id(),
        "folder": set.place.path,
        "images": set.items.len(),
        "train": train,
        "valid": valid,
        "bytes": total,
        "classes": counts,
        "labels": set.recipe.labels,
        "split": set.recipe.split,
        "seed": set.recipe.seed,
        "size": t.size,
        "resize": t.resize.name(),
        "fingerprint": set.recipe.fingerprint,
        "unlabelled": set.unlabelled.len(),
        "other_files": set.other,
        "warnings": warnings,
    });
    Outcome::new(printable(&summary), json).detail(lines.join("\n")).html(html)
}
