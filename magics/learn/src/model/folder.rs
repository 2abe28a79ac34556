//! A model as a folder: `model.safetensors` and `model.json`, and in `.dds` also `valid.json`.
//!
//! Reading trusts nothing: sizes are bounded, every tensor's shape is checked, the weights must have
//! the digest that the manifest names, and pickles are refused. No code is ever loaded.

use super::{BackboneRef, FORMAT, Head, Manifest, Model, Validation};
use crate::models::weights::{MAX_WEIGHTS_BYTES, Weights, pickle_error, pickle_kind};
use crate::models::{Backbone, squeezenet};
use crate::place::Place;
use crate::store::write_folder;
use crate::transform::Transform;
use dds_core::{Cx, EntryKind, Error, Kind, Result};
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

pub const WEIGHTS: &str = "model.safetensors";
pub const MANIFEST: &str = "model.json";
pub const VALIDATION: &str = "valid.json";
/// Largest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 16 << 20;
/// Largest list of validation results, in bytes.
pub const MAX_VALIDATION_BYTES: u64 = 256 << 20;
/// Most classes of a model.
pub const MAX_CLASSES: usize = 10_000;
const BUNDLE_PREFIX: &str = "backbone.";

/// Writes the model to `dir`, replacing what is there. With `export`, the network's weights go in
/// too and the validation results, which name files, stay out.
pub fn write(dir: &Path, model: &Model, export: bool) -> Result<()> {
    let weights = weights_file(model, export)?;
    let mut manifest = model.manifest.clone();
    manifest.backbone.bundled = export;
    manifest.weights_sha256 = hex::encode(Sha256::digest(&weights));
    let json = |v: serde_json::Result<Vec<u8>>| v.map_err(|e| Error::internal(format!("writing JSON: {e}")));
    let manifest = json(serde_json::to_vec_pretty(&manifest))?;
    let validation = match &model.validation {
        Some(v) if !export => Some(json(serde_json::to_vec(v))?),
        _ => None,
    };
    let mut files: Vec<(&str, &[u8])> = vec![(WEIGHTS, &weights), (MANIFEST, &manifest)];
    if let Some(v) = &validation {
        files.push((VALIDATION, v));
    }
    write_folder(dir, &files)
}

/// Whether `dir` may be replaced by a model: missing, empty, or a model and nothing else.
///
/// Errors (`Conflict`) name what else is there.
pub fn check_replaceable(dir: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(Error::new(Kind::Conflict, format!("{}: a file is in the way", dir.display()))
                .hint("choose another folder"));
        }
        Err(e) => return Err(Error::io(dir, &e)),
    };
    let mut names = Vec::new();
    for e in entries {
        names.push(e.map_err(|e| Error::io(dir, &e))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let ours = |n: &String| [WEIGHTS, MANIFEST, VALIDATION].contains(&n.as_str());
    match names.iter().find(|n| !ours(n)) {
        Some(other) => Err(Error::new(
            Kind::Conflict,
            format!("{}: not replaced, it holds other files ({other:?})", dir.display()),
        )
        .hint("choose a new folder, or remove the files")),
        None if !names.is_empty() && !names.iter().any(|n| n == MANIFEST) => Err(Error::new(
            Kind::Conflict,
            format!("{}: not replaced, it is no complete model", dir.display()),
        )
        .hint("choose a new folder, or remove the files")),
        None => Ok(()),
    }
}

fn weights_file(model: &Model, bundle: bool) -> Result<Vec<u8>> {
    let bad = |e: safetensors::SafeTensorError| Error::internal(format!("writing weights: {e}"));
    let bytes = |v: &[f32]| -> Vec<u8> { v.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let (h, f) = (&model.head, model.manifest.backbone.features);
    let parts = [
        ("head.mean", vec![f], bytes(&h.mean)),
        ("head.std", vec![f], bytes(&h.std)),
        ("head.weight", vec![h.bias.len(), f], bytes(&h.weight)),
        ("head.bias", vec![h.bias.len()], bytes(&h.bias)),
    ];
    let mut views = Vec::new();
    for (name, shape, data) in &parts {
        views.push(((*name).to_owned(), TensorView::new(Dtype::F32, shape.clone(), data).map_err(bad)?));
    }
    let network = safetensors::SafeTensors::deserialize(&model.backbone.file).map_err(bad)?;
    if bundle {
        for (name, view) in network.iter() {
            views.push((format!("{BUNDLE_PREFIX}{name}"), view));
        }
    }
    serialize(views, None).map_err(bad)
}

/// Reads the model in the folder `place`. Errors say what is wrong with which file.
pub fn read(place: &Place, name: &str, cx: &Cx) -> Result<Model> {
    let folder = Folder { place, cx };
    refuse_files(&folder)?;
    let Some(manifest) = folder.file(MANIFEST, MAX_MANIFEST_BYTES)? else { return Err(no_model(&folder)) };
    let shown = format!("{}/{MANIFEST}", place.shown);
    let manifest: Manifest = parse(&shown, &manifest)?;
    check(&manifest, &shown)?;
    let shown = format!("{}/{WEIGHTS}", place.shown);
    let bytes = folder.file(WEIGHTS, MAX_WEIGHTS_BYTES)?.ok_or_else(|| no_model(&folder))?;
    let weights = Weights::read(&shown, &bytes)?;
    if hex::encode(Sha256::digest(&bytes)) != manifest.weights_sha256 {
        return Err(Error::new(Kind::Corrupt, format!("{shown}: not the weights that {MANIFEST} describes"))
            .hint("export the model again"));
    }
    let (k, f) = (manifest.vocab.len(), manifest.backbone.features);
    let array = |name: &str, shape: &[usize]| Ok::<_, Error>(weights.get(name, shape)?.data.clone());
    let head = Head {
        mean: array("head.mean", &[f])?,
        std: array("head.std", &[f])?,
        weight: array("head.weight", &[k, f])?,
        bias: array("head.bias", &[k])?,
    };
    if head.std.iter().any(|s| *s <= 0.0) {
        return Err(Error::new(Kind::Format, format!("{shown}: head.std must be positive")));
    }
    let backbone = backbone(&manifest.backbone, &shown, &bytes)?;
    let validation = match folder.file(VALIDATION, MAX_VALIDATION_BYTES)? {
        Some(bytes) => {
            let shown = format!("{}/{VALIDATION}", place.shown);
            let v: Validation = parse(&shown, &bytes)?;
            v.check(k).map_err(|e| e.context(&shown))?;
            Some(v)
        }
        None => None,
    };
    Ok(Model { name: name.to_owned(), manifest, head, backbone, validation })
}

/// The network that the head was trained on: ours when the digest is the same, else the bundled one.
fn backbone(wanted: &BackboneRef, shown: &str, file: &[u8]) -> Result<Arc<Backbone>> {
    let ours = Backbone::shipped()?;
    if ours.digest == wanted.digest {
        return Ok(ours);
    }
    if !wanted.bundled {
        let why =
            format!("{shown}: made for the network {}, which this version does not have", wanted.digest);
        return Err(Error::new(Kind::Unavailable, why)
            .hint("export the model where it was trained: an export brings its network"));
    }
    let bad = |e: safetensors::SafeTensorError| Error::new(Kind::Format, format!("{shown}: {e}"));
    let all = safetensors::SafeTensors::deserialize(file).map_err(bad)?;
    let mut views: Vec<(String, TensorView<'_>)> = Vec::new();
    for (name, view) in all.iter() {
        if let Some(name) = name.strip_prefix(BUNDLE_PREFIX) {
            views.push((name.to_owned(), view));
        }
    }
    let mut own = Backbone::from_safetensors(&serialize(views, None).map_err(bad)?)?;
    // Names the features in the cache: the digest is of this file, whatever it claims to be.
    own.digest = hex::encode(Sha256::digest(file));
    Ok(Arc::new(own))
}

fn check(m: &Manifest, shown: &str) -> Result<()> {
    let bad = |why: String| Err(Error::new(Kind::Format, format!("{shown}: {why}")));
    if m.format != FORMAT {
        return Err(Error::new(
            Kind::Format,
            format!("{shown}: format {} is not known to this version", m.format),
        )
        .hint("update dds, or export the model again"));
    }
    if m.kind != "probe" || m.backbone.arch != "squeezenet1_1" || m.backbone.features != squeezenet::FEATURES
    {
        return bad(format!("a {} on {} is not known to this version", m.kind, m.backbone.arch));
    }
    let unique: BTreeSet<&String> = m.vocab.iter().collect();
    if m.vocab.len() < 2 || m.vocab.len() > MAX_CLASSES || unique.len() != m.vocab.len() {
        return bad(format!("its vocabulary must be 2 to {MAX_CLASSES} different names"));
    }
    if m.vocab.iter().any(|v| v.is_empty() || v.chars().count() > crate::data::labels::MAX_LABEL) {
        return bad("its vocabulary holds an empty or overlong name".into());
    }
    Transform::new(m.transform.size, m.transform.resize).map_err(|e| e.context(shown))?;
    let n = &m.normalisation;
    let numbers = n.mean.iter().all(|v| v.is_finite()) && n.std.iter().all(|v| v.is_finite() && *v > 0.0);
    if !numbers || !matches!(n.channels.as_str(), "bgr" | "rgb") {
        return bad("its normalisation is not usable".into());
    }
    if let Some(metrics) = &m.metrics
        && (metrics.confusion.len() != m.vocab.len()
            || metrics.confusion.iter().any(|r| r.len() != m.vocab.len()))
    {
        return bad("its confusion matrix does not fit its vocabulary".into());
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(shown: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::new(Kind::Format, format!("{shown}: {e}")).hint("export the model again"))
}

/// A model folder in any source.
struct Folder<'a> {
    place: &'a Place,
    cx: &'a Cx,
}

impl Folder<'_> {
    /// A file of the folder; none when it does not exist. Errors: `Limit` past `limit` bytes.
    fn file(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = self.place.path.child(name)?;
        match self.place.source.stat(&path, self.cx) {
            Err(e) if e.kind == Kind::NotFound => return Ok(None),
            Err(e) => return Err(e),
            Ok(_) => {}
        }
        let bytes = self.place.source.read_range(&path, 0..limit + 1, self.cx)?;
        if bytes.len() as u64 > limit {
            return Err(Error::new(
                Kind::Limit,
                format!("{}/{name}: larger than {limit} bytes", self.place.shown),
            ));
        }
        Ok(Some(bytes))
    }
}

/// A single file is not a model; a pickle is refused with its own words.
fn refuse_files(folder: &Folder<'_>) -> Result<()> {
    let (place, cx) = (folder.place, folder.cx);
    if place.path.is_root() {
        return Ok(());
    }
    let entry = match place.source.stat(&place.path, cx) {
        Ok(entry) => entry,
        Err(e) if e.kind == Kind::NotFound => {
            return Err(Error::not_found(format!("{}: no such folder", place.shown)));
        }
        Err(e) => return Err(e),
    };
    if entry.kind != EntryKind::File {
        return Ok(());
    }
    let start = place.source.read_range(&place.path, 0..16, cx)?;
    if let Some(what) = pickle_kind(&start) {
        return Err(pickle_error(&place.shown, what));
    }
    Err(Error::usage(format!("{}: a model is a folder, this is a file", place.shown))
        .hint(format!("give the folder that holds {WEIGHTS} and {MANIFEST}")))
}

fn no_model(folder: &Folder<'_>) -> Error {
    let place = folder.place;
    let listed = place.source.list(&place.path, false, folder.cx).unwrap_or_default();
    let pickle = listed
        .iter()
        .map(|e| e.path.name())
        .find(|n| [".pkl", ".pth", ".pt", ".pickle"].iter().any(|s| n.to_ascii_lowercase().ends_with(s)));
    let error = Error::not_found(format!("{}: no model here ({WEIGHTS} and {MANIFEST})", place.shown));
    match pickle {
        Some(name) => error.hint(format!(
            "{name} is a pickle, which is never opened; train here with %dds probe, or convert its tensors to safetensors"
        )),
        None => error.hint("%dds export DIR writes one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_models_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |n: &str| dir.path().join(n);
        assert!(check_replaceable(&at("missing")).is_ok());
        std::fs::create_dir(at("m")).unwrap();
        assert!(check_replaceable(&at("m")).is_ok());
        std::fs::write(at("m/model.safetensors"), b"").unwrap();
        assert_eq!(check_replaceable(&at("m")).unwrap_err().kind, Kind::Conflict);
        std::fs::write(at("m/model.json"), b"").unwrap();
        assert!(check_replaceable(&at("m")).is_ok());
        std::fs::write(at("m/thesis.tex"), b"").unwrap();
        assert!(check_replaceable(&at("m")).unwrap_err().message.contains("thesis.tex"));
        assert_eq!(check_replaceable(&at("m/model.json")).unwrap_err().kind, Kind::Conflict);
    }
}
