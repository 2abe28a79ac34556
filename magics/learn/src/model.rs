//! A trained classifier: a frozen network, a standardiser and a logistic head, with all that is
//! needed to use it in any process: vocabulary, transform, normalisation, metrics, provenance.

pub mod folder;

use crate::logistic::{Fit, Standardiser, softmax};
use crate::metrics::Metrics;
use crate::models::Backbone;
use crate::place::Pinned;
use crate::transform::{Normalisation, Transform};
use dds_core::{Error, Kind, RepoPath, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Version of the folder format.
pub const FORMAT: u32 = 1;

/// Standardise, multiply, add, softmax. All `f32`, as they are saved, so that a loaded model
/// predicts exactly what the trained one did.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// `[features]`
    pub mean: Vec<f32>,
    /// `[features]`; divides.
    pub std: Vec<f32>,
    /// `[classes, features]`, row-major.
    pub weight: Vec<f32>,
    /// `[classes]`
    pub bias: Vec<f32>,
}

impl Head {
    pub fn new(s: &Standardiser, fit: &Fit) -> Self {
        let narrow = |v: &[f64]| v.iter().map(|v| *v as f32).collect();
        Self {
            mean: narrow(&s.mean),
            std: narrow(&s.std),
            weight: narrow(&fit.weight),
            bias: narrow(&fit.bias),
        }
    }

    /// Probabilities of the classes for one feature vector.
    pub fn probabilities(&self, features: &[f32]) -> Vec<f64> {
        let x: Vec<f64> = features
            .iter()
            .zip(&self.mean)
            .zip(&self.std)
            .map(|((v, m), s)| (f64::from(*v) - f64::from(*m)) / f64::from(*s))
            .collect();
        let mut z: Vec<f64> = self
            .weight
            .chunks_exact(x.len().max(1))
            .zip(&self.bias)
            .map(|(w, b)| w.iter().zip(&x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*b))
            .collect();
        softmax(&mut z);
        z
    }
}

/// The network below the head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackboneRef {
    pub arch: String,
    /// SHA-256 of its weight file.
    pub digest: String,
    /// Whether `model.safetensors` holds its weights too, under `backbone.…`.
    pub bundled: bool,
    /// Length of its feature vectors.
    pub features: usize,
}

/// Where the training images came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRef {
    pub name: String,
    pub place: Pinned,
    pub fingerprint: String,
    pub labels: String,
    pub split: String,
    pub seed: u64,
    pub train: usize,
    pub valid: usize,
}

/// What `model.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// `"probe"`: a frozen network and a logistic head.
    pub kind: String,
    pub made_by: String,
    pub backbone: BackboneRef,
    /// Class names in the order of the outputs.
    pub vocab: Vec<String>,
    pub transform: Transform,
    pub normalisation: Normalisation,
    /// Inverse strength of the L2 penalty.
    pub c: f64,
    pub metrics: Option<Metrics>,
    pub data: Option<DataRef>,
    /// SHA-256 of `model.safetensors`.
    pub weights_sha256: String,
}

/// The validation images and what the model said about them, so that nothing is computed twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    pub place: Pinned,
    pub paths: Vec<RepoPath>,
    pub labels: Vec<usize>,
    /// One row an image.
    pub probabilities: Vec<Vec<f32>>,
}

impl Validation {
    /// Errors (`Format`) when the lists do not fit together or to `classes`.
    pub fn check(&self, classes: usize) -> Result<()> {
        let n = self.paths.len();
        let fits = self.labels.len() == n
            && self.probabilities.len() == n
            && self.labels.iter().all(|l| *l < classes)
            && self
                .probabilities
                .iter()
                .all(|p| p.len() == classes && p.iter().all(|v| (0.0..=1.0).contains(v)));
        if fits {
            Ok(())
        } else {
            Err(Error::new(Kind::Format, "the validation results do not fit the model"))
        }
    }
}

/// A classifier ready for use.
pub struct Model {
    pub name: String,
    pub manifest: Manifest,
    pub head: Head,
    pub backbone: Arc<Backbone>,
    pub validation: Option<Validation>,
}

impl Model {
    /// The label of class `at`; empty when there is none.
    pub fn label(&self, at: usize) -> &str {
        self.manifest.vocab.get(at).map_or("", String::as_str)
    }
}
