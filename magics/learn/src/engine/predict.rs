//! `export`, `load` and `predict`.

use super::Learn;
use crate::features::Extractor;
use crate::model::{Model, folder};
use crate::picture::Png;
use crate::place::{FileRef, Place};
use crate::store::{check_name, name_from};
use base64::Engine as _;
use dds_core::mime::{escape_html, printable};
use dds_core::table::{Align, Table, bytes, count};
use dds_core::{Cx, Error, Kind, Outcome, Result, request as rq};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

/// Most images of one `predict`.
pub const MAX_PREDICT: usize = 10_000;
/// Images that get a card with their picture; the rest is listed.
const CARDS: usize = 24;
/// Lines of the list of several images; `--json` has all.
const LISTED: usize = 200;
/// Side of a card's picture, in pixels.
const CARD_SIDE: u32 = 112;

impl Learn {
    pub(super) fn run_export(&self, r: &rq::Export, cx: &Cx) -> Result<Outcome> {
        if r.dir.is_empty() {
            return Err(Error::usage("export needs a folder").hint("%dds export DIR"));
        }
        let model = self.model(r.model.as_deref(), cx)?;
        let dir = self.writable(&r.dir, cx)?;
        folder::check_replaceable(&dir)?;
        folder::write(&dir, &model, true)?;
        let mut sizes = Vec::new();
        for name in [folder::WEIGHTS, folder::MANIFEST] {
            let path = dir.join(name);
            sizes.push(std::fs::metadata(&path).map_err(|e| Error::io(&path, &e))?.len());
        }
        let summary = format!("exported {:?} to {}", model.name, r.dir);
        let files: Vec<Value> = [folder::WEIGHTS, folder::MANIFEST]
            .iter()
            .zip(&sizes)
            .map(|(n, s)| json!({"name": n, "bytes": s}))
            .collect();
        let detail = format!(
            "{} {}, {} {}: tensors and text, no code; %dds load {} opens it anywhere",
            folder::WEIGHTS,
            bytes(sizes[0]),
            folder::MANIFEST,
            bytes(sizes[1]),
            r.dir
        );
        let json = json!({"model": model.name, "dir": dir.display().to_string(), "files": files});
        Ok(Outcome::new(printable(&summary), json).detail(printable(&detail)))
    }

    pub(super) fn run_load(&self, r: &rq::Load, cx: &Cx) -> Result<Outcome> {
        let place = Place::find(&r.dir, self.resolver.as_ref(), cx)?;
        let name = match &r.name {
            Some(n) => {
                check_name(n)?;
                n.clone()
            }
            None => name_from(&place.name(), "model"),
        };
        let model = folder::read(&place, &name, cx)?;
        let m = &model.manifest;
        let summary =
            format!("loaded {name:?}: {} on {}, {}", m.kind, m.backbone.arch, count(m.vocab.len(), "class"));
        let mut lines = vec![format!("classes: {}", m.vocab.join(", "))];
        lines.push(format!(
            "input: {} to {}×{} pixels",
            m.transform.resize.name(),
            m.transform.size,
            m.transform.size
        ));
        if let Some(metrics) = &m.metrics {
            lines.push(format!(
                "accuracy {:.3} ± {:.3} on {} when it was trained (always the largest class: {:.3})",
                metrics.accuracy,
                metrics.standard_error,
                count(metrics.n, "validation image"),
                metrics.majority_baseline
            ));
        }
        let json = json!({
            "model": name, "kind": m.kind, "arch": m.backbone.arch, "vocab": m.vocab, "made_by": m.made_by,
            "size": m.transform.size, "accuracy": m.metrics.as_ref().map(|m| m.accuracy),
        });
        self.session().models.put(&name, Arc::new(model));
        Ok(Outcome::new(printable(&summary), json).detail(printable(&lines.join("\n"))))
    }

    pub(super) fn run_predict(&self, r: &rq::Predict, cx: &Cx) -> Result<Outcome> {
        let model = self.model(r.model.as_deref(), cx)?;
        let (mut files, mut names): (Vec<FileRef>, Vec<String>) = (Vec::new(), Vec::new());
        for target in &r.targets {
            let place = Place::find(target, self.resolver.as_ref(), cx)?;
            let listing = place.images(cx)?;
            if listing.files.is_empty() {
                return Err(Error::not_found(format!("{}: no images in this folder", place.shown)));
            }
            for f in listing.files {
                let below = f.path.strip_prefix(&place.path).unwrap_or_default();
                let root = place.shown.trim_end_matches('/');
                names.push(match (listing.single, root) {
                    (true, _) => place.shown.clone(),
                    (_, "" | ".") => below.to_string(),
                    _ => format!("{root}/{below}"),
                });
                files.push(f);
            }
            if files.len() > MAX_PREDICT {
                let why = format!("more than {MAX_PREDICT} images at once");
                return Err(Error::new(Kind::Limit, why).hint("give one folder at a time"));
            }
        }
        let extractor = Extractor {
            backbone: &model.backbone,
            transform: model.manifest.transform,
            normalisation: &model.manifest.normalisation,
            cache: None,
            pool: self.pool()?,
            thumb_side: CARD_SIDE,
            thumbs: CARDS,
        };
        let found = extractor.run(&files, cx)?;
        let mut predictions = Vec::new();
        for (i, row) in found.rows.iter().enumerate() {
            let Some(row) = row else { continue };
            let mut top: Vec<(usize, f64)> = model.head.probabilities(row).into_iter().enumerate().collect();
            top.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            top.truncate(r.top.clamp(1, model.manifest.vocab.len()));
            let png = found.thumbs.get(i).and_then(Option::as_ref).map(Png::encode).transpose()?;
            predictions.push(Prediction { path: &names[i], top, millis: found.millis[i], png });
        }
        let failed: Vec<(&String, &Error)> =
            found.skipped.iter().filter_map(|(i, e)| Some((names.get(*i)?, e))).collect();
        Ok(answer(&model, &predictions, &failed))
    }
}

struct Prediction<'a> {
    path: &'a str,
    /// Class and probability, the most probable first; never empty.
    top: Vec<(usize, f64)>,
    millis: f64,
    png: Option<Png>,
}

fn answer(model: &Model, predictions: &[Prediction<'_>], failed: &[(&String, &Error)]) -> Outcome {
    let name = |p: &Prediction<'_>| p.path.rsplit('/').next().unwrap_or(p.path).to_owned();
    let summary = match predictions {
        [p] if failed.is_empty() => {
            let (class, probability) = p.top[0];
            format!("{}: {} ({}), {:.0} ms", name(p), model.label(class), percent(probability), p.millis)
        }
        _ => {
            let mean = predictions.iter().map(|p| p.millis).sum::<f64>() / predictions.len().max(1) as f64;
            format!("{} classified, {mean:.1} ms each", count(predictions.len(), "image"))
        }
    };
    let mut lines: Vec<String> = match predictions {
        [p] => bars(model, p),
        _ => vec![listing(model, predictions)],
    };
    lines.extend(failed.iter().map(|(_, e)| format!("left out: {}", e.message)));
    let mut html = String::from("<div style=\"display:flex;flex-wrap:wrap;gap:16px\">");
    for p in predictions.iter().take(CARDS) {
        card(&mut html, model, p, &name(p));
    }
    html.push_str("</div>");
    if predictions.len() > CARDS {
        let _ = write!(html, "<p>and {} more; --json lists all</p>", predictions.len() - CARDS);
    }
    for (_, e) in failed {
        let _ = write!(html, "<p>left out: {}</p>", escape_html(&printable(&e.message)));
    }
    let list: Vec<Value> = predictions
        .iter()
        .map(|p| {
            let top: Vec<Value> =
                p.top.iter().map(|(c, v)| json!({"label": model.label(*c), "probability": v})).collect();
            json!({
                "path": p.path, "label": model.label(p.top[0].0), "probability": p.top[0].1, "top": top,
                "ms": p.millis,
            })
        })
        .collect();
    let failed: Vec<Value> = failed
        .iter()
        .map(|(path, e)| json!({"path": path, "kind": e.kind.name(), "reason": e.message}))
        .collect();
    let json = json!({"model": model.name, "predictions": list, "failed": failed});
    Outcome::new(printable(&summary), json).detail(printable(&lines.join("\n"))).html(html)
}

/// The classes of one image, each with a bar of text.
fn bars(model: &Model, p: &Prediction<'_>) -> Vec<String> {
    let widest = p.top.iter().map(|(c, _)| model.label(*c).chars().count()).max().unwrap_or(0);
    p.top
        .iter()
        .map(|(class, v)| {
            let label = model.label(*class);
            let gap = " ".repeat(widest - label.chars().count());
            let bar = "█".repeat((v * 30.0).round() as usize);
            format!("  {label}{gap}  {:>7}  {bar}", percent(*v)).trim_end().to_owned()
        })
        .collect()
}

/// One line an image: the first class, and what else it might be.
fn listing(model: &Model, predictions: &[Prediction<'_>]) -> String {
    let mut table = Table::new(&[
        ("image", Align::Left),
        ("class", Align::Left),
        ("probability", Align::Right),
        ("or else", Align::Left),
    ]);
    for p in predictions.iter().take(LISTED) {
        let (class, probability) = p.top[0];
        let others: Vec<String> =
            p.top.iter().skip(1).map(|(c, v)| format!("{} {}", model.label(*c), percent(*v))).collect();
        table.row([
            p.path.to_owned(),
            model.label(class).to_owned(),
            percent(probability),
            others.join(", "),
        ]);
    }
    let more = predictions.len().saturating_sub(LISTED);
    if more > 0 { format!("{}\nand {more} more; --json lists all", table.text()) } else { table.text() }
}

fn percent(v: f64) -> String {
    format!("{:.1} %", v * 100.0)
}

/// One image with a bar for each class.
fn card(html: &mut String, model: &Model, p: &Prediction<'_>, name: &str) {
    html.push_str("<div style=\"display:flex;gap:12px;align-items:flex-start;min-width:320px\">");
    if let Some(png) = &p.png {
        let data = base64::engine::general_purpose::STANDARD.encode(&png.bytes);
        let alt = escape_html(&printable(name));
        let _ = write!(
            html,
            "<img alt=\"{alt}\" width=\"{}\" height=\"{}\" src=\"data:image/png;base64,{data}\">",
            png.width, png.height
        );
    }
    let _ = write!(
        html,
        "<table style=\"border-collapse:collapse\"><caption style=\"text-align:left\">{} <small>{:.0} ms</small></caption>",
        escape_html(&printable(name)),
        p.millis
    );
    for (i, (class, v)) in p.top.iter().enumerate() {
        let label = escape_html(&printable(model.label(*class)));
        let label = if i == 0 { format!("<b>{label}</b>") } else { label };
        let colour = if i == 0 { "#2171b5" } else { "#9ecae1" };
        let _ = write!(
            html,
            "<tr><td style=\"text-align:left\">{label}</td><td style=\"text-align:right;padding:0 8px\">{:.1}&nbsp;%</td><td style=\"text-align:left;width:130px\"><div style=\"background:{colour};height:12px;width:{:.0}px\"></div></td></tr>",
            v * 100.0,
            (v * 120.0).max(1.0)
        );
    }
    html.push_str("</table></div>");
}
