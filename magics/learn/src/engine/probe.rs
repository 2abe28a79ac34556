//! `probe`: frozen features and a logistic head, in seconds.

use super::Learn;
use crate::data::DataSet;
use crate::features::{Extraction, Extractor, cache::FeatureCache};
use crate::logistic::{Standardiser, fit};
use crate::metrics::{Metrics, best};
use crate::model::{BackboneRef, DataRef, FORMAT, Head, Manifest, Model, Validation, folder};
use crate::models::{Backbone, squeezenet::FEATURES};
use crate::store::{Workspace, check_name};
use crate::transform::Normalisation;
use dds_core::mime::{escape_html, printable};
use dds_core::table::{Align, Table, count};
use dds_core::{Cx, Error, Outcome, Result, request as rq};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

/// Skipped images that are named one by one; the rest is counted.
const NAMED_SKIPS: usize = 10;

impl Learn {
    pub(super) fn run_probe(&self, r: &rq::Probe, cx: &Cx) -> Result<Outcome> {
        let start = Instant::now();
        let set = self.data_set(r.data.as_deref(), cx)?;
        let name = r.name.clone().unwrap_or_else(|| set.name.clone());
        check_name(&name)?;
        // What cannot work is refused before images are read.
        if !(r.c.is_finite() && r.c > 0.0) {
            return Err(
                Error::usage(format!("C must be a positive number, not {}", r.c)).hint("0.1 is a good start")
            );
        }
        if set.classes.len() < 2 {
            return Err(Error::usage(format!(
                "data set {:?} has only the class {:?}",
                set.name, set.classes[0]
            ))
            .hint("add images of another class, or change its labels"));
        }
        if !set.items.iter().any(|i| i.valid) {
            return Err(Error::usage(format!("data set {:?} has no validation images", set.name))
                .hint("define it with another split: %dds data --path FOLDER --split stratified"));
        }
        let backbone = Backbone::shipped()?;
        let normalisation = Normalisation::caffe();
        let transform = set.recipe.transform;
        let cache =
            FeatureCache::new(&self.config.cache_dir, &format!("{}-{}", backbone.id(), transform.id()));
        let extractor = Extractor {
            backbone: &backbone,
            transform,
            normalisation: &normalisation,
            cache: Some(&cache),
            pool: self.pool()?,
            thumb_side: 0,
            thumbs: 0,
        };
        let files: Vec<_> = set.items.iter().map(|i| set.file(i)).collect();
        let features = extractor.run(&files, cx)?;
        let seconds_features = start.elapsed().as_secs_f64();

        let (head, iterations, converged) = self.fit_head(&set, &features, r.c, cx)?;
        let validation = validate(&set, &features, &head);
        if validation.paths.is_empty() {
            return Err(Error::usage("none of the validation images could be read"));
        }
        let actual = &validation.labels;
        let predicted: Vec<usize> = validation.probabilities.iter().map(|p| best_of(p)).collect();
        let metrics = Metrics::new(actual, &predicted, set.classes.len());
        let used = |valid: bool| {
            set.items.iter().zip(&features.rows).filter(|(i, f)| i.valid == valid && f.is_some()).count()
        };
        let model = Model {
            name: name.clone(),
            manifest: Manifest {
                format: FORMAT,
                kind: "probe".into(),
                made_by: concat!("dds ", env!("CARGO_PKG_VERSION")).into(),
                backbone: BackboneRef {
                    arch: backbone.arch.into(),
                    digest: backbone.digest.clone(),
                    bundled: false,
                    features: FEATURES,
                },
                vocab: set.classes.clone(),
                transform,
                normalisation: normalisation.clone(),
                c: r.c,
                metrics: Some(metrics),
                data: Some(DataRef {
                    name: set.name.clone(),
                    place: set.place.pinned(),
                    fingerprint: set.recipe.fingerprint.clone(),
                    labels: set.recipe.labels.clone(),
                    split: set.recipe.split.clone(),
                    seed: set.recipe.seed,
                    train: used(false),
                    valid: used(true),
                }),
                weights_sha256: String::new(),
            },
            head,
            backbone: backbone.clone(),
            validation: Some(validation),
        };
        let workspace = Workspace::beside(cx);
        workspace.prepare("models")?;
        folder::write(&workspace.model_dir(&name), &model, false)?;
        let seconds = start.elapsed().as_secs_f64();
        let mut outcome = report(&model, &set, &features, seconds)?;
        if let Some(o) = outcome.json.as_object_mut() {
            o.insert("seconds_features".into(), json!(seconds_features));
            o.insert("iterations".into(), json!(iterations));
            o.insert("converged".into(), json!(converged));
        }
        if !converged {
            outcome.detail.push_str("\nwarning: the optimiser stopped before it converged; try a smaller C");
        }
        self.session().models.put(&name, Arc::new(model));
        Ok(outcome)
    }

    fn fit_head(&self, set: &DataSet, features: &Extraction, c: f64, cx: &Cx) -> Result<(Head, usize, bool)> {
        let mut x = Vec::new();
        let mut y = Vec::new();
        for (item, row) in set.items.iter().zip(&features.rows) {
            if let (false, Some(row)) = (item.valid, row) {
                x.extend(row.iter().map(|v| f64::from(*v)));
                y.push(item.label);
            }
        }
        let scaler = Standardiser::fit(&x, FEATURES);
        scaler.apply(&mut x);
        let fitted = self.pool()?.install(|| fit(&x, FEATURES, &y, set.classes.len(), c, &cx.cancel))?;
        Ok((Head::new(&scaler, &fitted), fitted.iterations, fitted.converged))
    }
}

fn best_of(p: &[f32]) -> usize {
    best(&p.iter().map(|v| f64::from(*v)).collect::<Vec<_>>())
}

fn validate(set: &DataSet, features: &Extraction, head: &Head) -> Validation {
    let mut v =
        Validation { place: set.place.pinned(), paths: vec![], labels: vec![], probabilities: vec![] };
    for (item, row) in set.items.iter().zip(&features.rows) {
        if let (true, Some(row)) = (item.valid, row) {
            v.paths.push(item.path.clone());
            v.labels.push(item.label);
            v.probabilities.push(head.probabilities(row).into_iter().map(|p| p as f32).collect());
        }
    }
    v
}

fn report(model: &Model, set: &DataSet, features: &Extraction, seconds: f64) -> Result<Outcome> {
    let m = model.manifest.metrics.as_ref().ok_or_else(|| Error::internal("no metrics"))?;
    let summary = format!(
        "{}: accuracy {:.3} ± {:.3} on {} (always the largest class: {:.3}), {:.1} s",
        model.name,
        m.accuracy,
        m.standard_error,
        count(m.n, "validation image"),
        m.majority_baseline,
        seconds
    );
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("train", Align::Right),
        ("valid", Align::Right),
        ("recall", Align::Right),
        ("precision", Align::Right),
    ]);
    let share = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:.3}"));
    let mut classes = Vec::new();
    for (k, class) in set.classes.iter().enumerate() {
        let of = |valid: bool| {
            let rows = set.items.iter().zip(&features.rows);
            rows.filter(|(i, f)| i.label == k && i.valid == valid && f.is_some()).count()
        };
        let (train, valid) = (of(false), of(true));
        table.row([
            class.clone(),
            train.to_string(),
            valid.to_string(),
            share(m.recall(k)),
            share(m.precision(k)),
        ]);
        classes.push(json!({
            "class": class, "train": train, "valid": valid, "recall": m.recall(k), "precision": m.precision(k),
        }));
    }
    let data = model.manifest.data.as_ref();
    let (train, valid) = data.map_or((0, 0), |d| (d.train, d.valid));
    let figures = format!(
        "balanced accuracy {:.3}; trained on {} with C = {}; {} of {} features came from the cache",
        m.balanced_accuracy,
        count(train, "image"),
        model.manifest.c,
        features.cached,
        features.rows.len()
    );
    let mut notes = vec![figures];
    for (_, e) in features.skipped.iter().take(NAMED_SKIPS) {
        notes.push(format!("left out: {}", e.message));
    }
    if features.skipped.len() > NAMED_SKIPS {
        notes.push(format!("left out: {} more", features.skipped.len() - NAMED_SKIPS));
    }
    notes.iter_mut().for_each(|n| *n = printable(n));
    let html: String = notes.iter().map(|n| format!("<p>{}</p>", escape_html(n))).collect();
    let skipped: Vec<_> = features
        .skipped
        .iter()
        .filter_map(|(i, e)| Some(json!({"path": set.shown(&set.items.get(*i)?.path), "reason": e.message})))
        .collect();
    let json = json!({
        "model": model.name,
        "data": set.name,
        "accuracy": m.accuracy,
        "standard_error": m.standard_error,
        "majority_baseline": m.majority_baseline,
        "balanced_accuracy": m.balanced_accuracy,
        "train": train,
        "valid": valid,
        "c": model.manifest.c,
        "seconds": seconds,
        "cached": features.cached,
        "files_read": features.files_read,
        "bytes_read": features.bytes_read,
        "classes": classes,
        "skipped": skipped,
    });
    let detail = format!("{}\n{}", table.text(), notes.join("\n"));
    Ok(Outcome::new(printable(&summary), json).detail(detail).html(table.html() + &html))
}
