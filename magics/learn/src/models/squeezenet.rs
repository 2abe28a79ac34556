//! SqueezeNet 1.1 (Iandola et al., <https://arxiv.org/abs/1602.07360>), in torchvision's layout.
//!
//! ```text
//! [N,3,H,W] → conv 3×3/2, 64 → pool → fire 16·128 ×2 → pool → fire 32·256 ×2 → pool
//!           → fire 48·384 ×2, 64·512 ×2 → [N,512,h,w] → 1×1 conv to 1,000 → mean
//! ```
//! A fire module is a 1×1 convolution to few channels, then 1×1 and 3×3 convolutions side by side.
//! Pools are 3×3/2 and round their size up. Inference only; every image's result is independent of
//! the batch it stands in.

use super::Weights;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, activation::relu, module};
use dds_core::{Error, Result};
use rayon::prelude::*;

/// Channels of the last fire module, and so the length of a feature vector.
pub const FEATURES: usize = 512;
/// ImageNet classes.
pub const CLASSES: usize = 1000;

/// Index in torchvision's `features`, input channels, squeezed, expanded (each of the two halves).
const FIRES: [(usize, usize, usize, usize); 8] = [
    (3, 64, 16, 64),
    (4, 128, 16, 64),
    (6, 128, 32, 128),
    (7, 256, 32, 128),
    (9, 256, 48, 192),
    (10, 384, 48, 192),
    (11, 384, 64, 256),
    (12, 512, 64, 256),
];

/// One convolution: weight `[O, I, k, k]`, bias `[O]`.
struct Conv {
    weight: Tensor<4>,
    bias: Tensor<1>,
    options: ConvOptions<2>,
}

impl Conv {
    fn new(w: &Weights, name: &str, i: usize, o: usize, k: usize, stride: usize, pad: usize) -> Result<Self> {
        let device = Device::flex();
        let weight = w.get(&format!("{name}.weight"), &[o, i, k, k])?;
        let bias = w.get(&format!("{name}.bias"), &[o])?;
        Ok(Self {
            weight: Tensor::from_data(TensorData::new(weight.data.clone(), [o, i, k, k]), &device),
            bias: Tensor::from_data(TensorData::new(bias.data.clone(), [o]), &device),
            options: ConvOptions::new([stride; 2], [pad; 2], [1; 2], 1),
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        module::conv2d(x, self.weight.clone(), Some(self.bias.clone()), self.options.clone())
    }
}

struct Fire {
    squeeze: Conv,
    expand1: Conv,
    expand3: Conv,
}

impl Fire {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.squeeze.forward(x));
        relu(Tensor::cat(vec![self.expand1.forward(x.clone()), self.expand3.forward(x)], 1))
    }
}

/// The network with its weights.
pub struct SqueezeNet {
    first: Conv,
    fires: Vec<Fire>,
    last: Conv,
}

impl SqueezeNet {
    /// Builds the network from torchvision's names. Errors (`Format`) name the tensor.
    pub fn new(w: &Weights) -> Result<Self> {
        let fires = FIRES
            .iter()
            .map(|&(at, i, s, e)| {
                let name = |part: &str| format!("features.{at}.{part}");
                Ok(Fire {
                    squeeze: Conv::new(w, &name("squeeze"), i, s, 1, 1, 0)?,
                    expand1: Conv::new(w, &name("expand1x1"), s, e, 1, 1, 0)?,
                    expand3: Conv::new(w, &name("expand3x3"), s, e, 3, 1, 1)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            first: Conv::new(w, "features.0", 3, 64, 3, 2, 0)?,
            fires,
            last: Conv::new(w, "classifier.1", FEATURES, CLASSES, 1, 1, 0)?,
        })
    }

    /// `input` is `N` images as `[3, side, side]` planes, normalised; gives `N·512` numbers: the
    /// mean over all positions of the last fire module's output.
    pub fn features(&self, input: Vec<f32>, side: usize) -> Result<Vec<f32>> {
        numbers(self.body(batch(input, side)?)?)
    }

    /// As [`SqueezeNet::features`], but on through the ImageNet classifier: `N·1000` logits.
    pub fn logits(&self, input: Vec<f32>, side: usize) -> Result<Vec<f32>> {
        numbers(relu(self.last.forward(self.body(batch(input, side)?)?)))
    }

    fn body(&self, x: Tensor<4>) -> Result<Tensor<4>> {
        let mut x = pool(self.first.forward(x))?;
        for (fire, (at, ..)) in self.fires.iter().zip(FIRES) {
            x = fire.forward(x);
            // torchvision's indices 5 and 8 are pools.
            if at == 4 || at == 7 {
                x = pool(x)?;
            }
        }
        Ok(x)
    }
}

fn batch(input: Vec<f32>, side: usize) -> Result<Tensor<4>> {
    let image = 3 * side * side;
    if image == 0 || !input.len().is_multiple_of(image) {
        return Err(Error::internal(format!("{} numbers are no batch of 3×{side}×{side}", input.len())));
    }
    let n = input.len() / image;
    Ok(Tensor::from_data(TensorData::new(input, [n, 3, side, side]), &Device::flex()))
}

/// ReLU and max pooling 3×3/2 without padding, sizes rounded up: windows at the end are cut off.
///
/// On plain numbers, because burn-flex's pool also finds indices and took 35 % of the forward pass.
fn pool(x: Tensor<4>) -> Result<Tensor<4>> {
    let [n, c, h, w] = x.dims();
    let (oh, ow) = (pooled(h), pooled(w));
    let data = floats(x)?;
    let mut out = vec![0.0f32; n * c * oh * ow];
    if h * w * oh * ow == 0 {
        return Err(Error::internal(format!("a map of {h}×{w} is too small for the network")));
    }
    out.par_chunks_exact_mut(oh * ow).zip(data.par_chunks_exact(h * w)).for_each_init(
        || vec![0.0f32; w],
        |tall, (out, plane)| {
            for (oy, out) in out.chunks_exact_mut(ow).enumerate() {
                // Starting from 0 is the ReLU.
                tall.fill(0.0);
                for row in plane.chunks_exact(w).skip(2 * oy).take(3) {
                    tall.iter_mut().zip(row).for_each(|(t, v)| *t = t.max(*v));
                }
                for (o, window) in out.iter_mut().zip(tall.chunks(2)) {
                    *o = window.iter().fold(0.0, |m: f32, v| m.max(*v));
                }
                for (o, next) in out.iter_mut().zip(tall.iter().skip(2).step_by(2)) {
                    *o = o.max(*next);
                }
            }
        },
    );
    Ok(Tensor::from_data(TensorData::new(out, [n, c, oh, ow]), &Device::flex()))
}

/// `ceil((n − 3) / 2) + 1`
fn pooled(n: usize) -> usize {
    if n < 3 { n.min(1) } else { (n - 3).div_ceil(2) + 1 }
}

fn floats(x: Tensor<4>) -> Result<Vec<f32>> {
    x.into_data().try_into_vec::<f32>().map_err(|e| Error::internal(format!("reading a tensor: {e:?}")))
}

/// Mean over positions, in f64 and a fixed order: `[N, C, h, w]` to `N·C` numbers.
fn numbers(x: Tensor<4>) -> Result<Vec<f32>> {
    let [_, _, h, w] = x.dims();
    let data: Vec<f32> =
        x.into_data().try_to_vec::<f32>().map_err(|e| Error::internal(format!("reading a tensor: {e:?}")))?;
    let area = (h * w).max(1);
    Ok(data
        .chunks_exact(area)
        .map(|p| (p.iter().map(|v| f64::from(*v)).sum::<f64>() / area as f64) as f32)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::ops::MaxPoolOptions;

    #[test]
    fn pooling_is_burns_own_for_every_size() {
        for (h, w) in [(3, 3), (4, 5), (6, 7), (15, 16), (1, 1), (2, 4)] {
            let count = 2 * 3 * h * w;
            let values: Vec<f32> = (0..count).map(|i| ((i * 7919) % 101) as f32 - 50.0).collect();
            let x: Tensor<4> = Tensor::from_data(TensorData::new(values, [2, 3, h, w]), &Device::flex());
            let got = pool(x.clone()).unwrap();
            assert_eq!(got.dims(), [2, 3, pooled(h), pooled(w)]);
            if h >= 3 && w >= 3 {
                let options = MaxPoolOptions {
                    kernel_size: [3; 2],
                    stride: [2; 2],
                    padding: [(0, 0); 2],
                    dilation: [1; 2],
                    ceil_mode: true,
                };
                assert_eq!(floats(got).unwrap(), floats(module::max_pool2d(relu(x), options)).unwrap());
            }
        }
    }
}
