//! `confusion` and `top-losses`: pictures of the validation that the model brought along; nothing
//! is computed again.

use super::Learn;
use super::data::short_reason;
use crate::decode::decode;
use crate::features::{fatal, reader::read_ahead};
use crate::metrics::best;
use crate::picture::grid::{Caption, MAX_TILES, Tile, grid};
use crate::picture::{GREEN, RED, confusion};
use crate::place::FileRef;
use dds_core::mime::printable;
use dds_core::table::{Align, Table, count};
use dds_core::{Cx, Error, Outcome, Result, request as rq};
use serde_json::json;

/// Confusions listed below the matrix.
const LISTED: usize = 10;
/// Side of the images of `top-losses`, in pixels.
const CELL: u32 = 150;

impl Learn {
    pub(super) fn run_confusion(&self, r: &rq::Confusion, cx: &Cx) -> Result<Outcome> {
        let model = self.model(r.model.as_deref(), cx)?;
        let vocab = &model.manifest.vocab;
        let Some(m) = &model.manifest.metrics else {
            return Err(Error::not_found(format!("model {:?} has no validation results", model.name))
                .hint("train it with %dds probe"));
        };
        let title =
            format!("{}: accuracy {:.3}, {}", printable(&model.name), m.accuracy, count(m.n, "image"));
        let png = confusion::draw(&m.confusion, vocab, r.normalize, &title)?;
        self.write_picture(&png, r.out.as_ref(), cx)?;

        let mut heads: Vec<(&str, Align)> = vec![("actual \\ predicted", Align::Left)];
        heads.extend(vocab.iter().map(|v| (v.as_str(), Align::Right)));
        let mut table = Table::new(&heads);
        for (name, row) in vocab.iter().zip(&m.confusion) {
            let total: u64 = row.iter().sum();
            let cell = |v: &u64| {
                if r.normalize { format!("{:.2}", *v as f64 / total.max(1) as f64) } else { v.to_string() }
            };
            table.row(std::iter::once(name.clone()).chain(row.iter().map(cell)));
        }
        let confused = m.most_confused();
        let list: Vec<String> = confused
            .iter()
            .take(LISTED)
            .map(|(a, p, n)| printable(&format!("{} taken for {}: {n}", model.label(*a), model.label(*p))))
            .collect();
        let wrong: u64 = confused.iter().map(|c| c.2).sum();
        let summary = match confused.first() {
            None => format!("{}: all {} right", model.name, count(m.n, "validation image")),
            Some((a, p, n)) => format!(
                "{}: {wrong} of {} wrong; most often {} taken for {} ({n})",
                model.name,
                count(m.n, "validation image"),
                model.label(*a),
                model.label(*p)
            ),
        };
        let pairs: Vec<_> = confused
            .iter()
            .map(|(a, p, n)| json!({"actual": model.label(*a), "predicted": model.label(*p), "count": n}))
            .collect();
        let json = json!({
            "model": model.name, "vocab": vocab, "confusion": m.confusion, "accuracy": m.accuracy,
            "n": m.n, "most_confused": pairs,
        });
        Ok(Outcome::new(printable(&summary), json)
            .detail(list.join("\n"))
            .display(png.bundle(format!("Confusion matrix of {title}\n{}", table.text()))))
    }

    pub(super) fn run_top_losses(&self, r: &rq::TopLosses, cx: &Cx) -> Result<Outcome> {
        let model = self.model(r.model.as_deref(), cx)?;
        let Some(v) = &model.validation else {
            return Err(Error::not_found(format!(
                "model {:?} does not know its validation images: an export leaves them out",
                model.name
            ))
            .hint("train it here with %dds probe"));
        };
        let mut losses: Vec<Loss> = v
            .probabilities
            .iter()
            .zip(&v.labels)
            .enumerate()
            .map(|(index, (p, actual))| {
                let wide: Vec<f64> = p.iter().map(|v| f64::from(*v)).collect();
                let predicted = best(&wide);
                // The smallest positive f32 bounds the loss of a probability that was rounded to 0.
                let of_actual = wide[*actual].max(f64::from(f32::MIN_POSITIVE));
                Loss {
                    index,
                    actual: *actual,
                    predicted,
                    loss: -of_actual.ln(),
                    probability: wide[predicted],
                }
            })
            .collect();
        losses.sort_by(|a, b| b.loss.total_cmp(&a.loss).then(a.index.cmp(&b.index)));
        losses.truncate(r.max.clamp(1, MAX_TILES));

        let place = v.place.open(self.resolver.as_ref(), cx)?;
        let files: Vec<FileRef> = losses
            .iter()
            .map(|l| FileRef {
                source: place.source.clone(),
                path: v.paths[l.index].clone(),
                size: None,
                digest: None,
            })
            .collect();
        let mut tiles: Vec<Option<Tile>> = losses.iter().map(|_| None).collect();
        read_ahead(&files, &(0..files.len()).collect::<Vec<_>>(), cx, |i, read| {
            let l = &losses[i];
            let image = match read.and_then(|b| decode(files[i].path.as_str(), &b)) {
                Err(e) if fatal(e.kind) => return Err(e),
                other => other.map_err(|e| short_reason(&e.message)),
            };
            let colour = if l.actual == l.predicted { GREEN } else { RED };
            let captions = vec![
                Caption::bold(printable(model.label(l.predicted)), colour),
                Caption::new(format!("actual {}", printable(model.label(l.actual)))),
                Caption::new(format!("loss {:.2}, probability {:.2}", l.loss, l.probability)),
                Caption::faint(printable(files[i].path.name())),
            ];
            tiles[i] = Some(Tile { image, captions });
            Ok(())
        })?;
        let tiles: Vec<Tile> = tiles.into_iter().flatten().collect();
        let png = grid(&tiles, None, CELL)?;
        self.write_picture(&png, r.out.as_ref(), cx)?;

        let mut table = Table::new(&[
            ("predicted", Align::Left),
            ("actual", Align::Left),
            ("loss", Align::Right),
            ("probability", Align::Right),
            ("image", Align::Left),
        ]);
        let mut list = Vec::new();
        for (l, file) in losses.iter().zip(&files) {
            let shown = file.path.strip_prefix(&place.path).unwrap_or_else(|| file.path.clone());
            let (predicted, actual) = (model.label(l.predicted), model.label(l.actual));
            table.row([
                predicted.to_owned(),
                actual.to_owned(),
                format!("{:.2}", l.loss),
                format!("{:.2}", l.probability),
                shown.to_string(),
            ]);
            list.push(json!({
                "path": shown, "predicted": predicted, "actual": actual, "loss": l.loss, "probability": l.probability,
            }));
        }
        let wrong = losses.iter().filter(|l| l.actual != l.predicted).count();
        let summary = format!(
            "{}: the {} with the highest loss, {wrong} of them wrong",
            model.name,
            count(losses.len(), "validation image")
        );
        let json = json!({"model": model.name, "losses": list});
        Ok(Outcome::new(printable(&summary), json)
            .detail(table.text())
            .html(table.html())
            .display(png.bundle(format!("Predicted, actual, loss and probability:\n{}", table.text()))))
    }
}

struct Loss {
    index: usize,
    actual: usize,
    predicted: usize,
    loss: f64,
    probability: f64,
}
