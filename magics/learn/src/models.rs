//! Networks and their weights. One file a network; weights are named arrays read from safetensors.

pub mod squeezenet;
pub mod weights;

pub use squeezenet::SqueezeNet;
pub use weights::{Array, Weights};

use dds_core::Result;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// The frozen network under a probe.
pub struct Backbone {
    pub net: SqueezeNet,
    /// `squeezenet1_1`
    pub arch: &'static str,
    /// SHA-256 of the weight file, hexadecimal.
    pub digest: String,
    /// The weight file itself, for exports.
    pub file: Cow<'static, [u8]>,
}

static SHIPPED: &[u8] = include_bytes!("../weights/squeezenet1_1-f16.safetensors");
static CLASSES: &str = include_str!("../weights/imagenet_classes.txt");

impl Backbone {
    /// The SqueezeNet 1.1 that is part of the binary, unpacked once a process.
    pub fn shipped() -> Result<Arc<Backbone>> {
        static ONCE: OnceLock<Result<Arc<Backbone>>> = OnceLock::new();
        ONCE.get_or_init(|| Self::new(Cow::Borrowed(SHIPPED)).map(Arc::new)).clone()
    }

    /// Reads a SqueezeNet 1.1 with torchvision's names. Errors (`Format`) name the tensor.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Backbone> {
        Self::new(Cow::Owned(bytes.to_vec()))
    }

    fn new(file: Cow<'static, [u8]>) -> Result<Backbone> {
        let weights = Weights::read("squeezenet1_1", &file)?;
        Ok(Backbone {
            net: SqueezeNet::new(&weights)?,
            arch: "squeezenet1_1",
            digest: hex::encode(Sha256::digest(&file)),
            file,
        })
    }

    /// Names the features that this network computes, for cache keys.
    pub fn id(&self) -> String {
        format!("{}-{}", self.arch, self.digest.get(..16).unwrap_or(&self.digest))
    }
}

/// The 1,000 ImageNet class names in the order of the network's outputs.
pub fn imagenet_classes() -> Vec<&'static str> {
    CLASSES.lines().collect()
}
