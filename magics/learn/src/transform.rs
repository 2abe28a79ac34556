//! Images to the square that a model sees, and on to its input tensor.
//!
//! Resizing is bilinear with antialiasing when it shrinks (the filter's support grows with the
//! scale), as Pillow's `resize(…, BILINEAR)`. Does no random augmentation.

use dds_core::{Error, Kind, Result};
use fast_image_resize as fir;
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Smallest and largest side of the square, in pixels.
pub const SIDES: std::ops::RangeInclusive<u32> = 32..=1024;

/// How an image becomes square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Both sides scaled on their own; the whole image is kept, its proportions are not.
    Squash,
    /// The largest centred square is cut out.
    Crop,
    /// The whole image in its proportions, centred on white.
    Pad,
}

impl Resize {
    pub fn name(self) -> &'static str {
        match self {
            Resize::Squash => "squash",
            Resize::Crop => "crop",
            Resize::Pad => "pad",
        }
    }
}

impl FromStr for Resize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "squash" => Ok(Resize::Squash),
            "crop" => Ok(Resize::Crop),
            "pad" => Ok(Resize::Pad),
            other => Err(Error::usage(format!("resize {other:?} is not one of squash, crop, pad"))),
        }
    }
}

/// The geometric part of a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transform {
    /// Side of the square, in pixels.
    pub size: u32,
    pub resize: Resize,
}

impl Transform {
    /// Errors (`Usage`) when the side is out of [`SIDES`].
    pub fn new(size: u32, resize: Resize) -> Result<Self> {
        if !SIDES.contains(&size) {
            return Err(Error::usage(format!(
                "size {size} is out of range: {} to {} pixels",
                SIDES.start(),
                SIDES.end()
            )));
        }
        Ok(Self { size, resize })
    }

    /// Names the transform in cache keys; changes whenever its result could.
    pub fn id(&self) -> String {
        format!("{}{}-bilinear1", self.resize.name(), self.size)
    }

    /// The square RGB image that the model sees.
    pub fn apply(&self, image: &RgbImage) -> Result<RgbImage> {
        let (w, h) = image.dimensions();
        let (fw, fh, side) = (f64::from(w), f64::from(h), f64::from(w.min(h)));
        let n = self.size;
        match self.resize {
            Resize::Squash => resize(image, (0.0, 0.0, fw, fh), n, n),
            Resize::Crop => resize(image, ((fw - side) / 2.0, (fh - side) / 2.0, side, side), n, n),
            Resize::Pad => {
                let (iw, ih) = fit(w, h, n);
                let inner = resize(image, (0.0, 0.0, fw, fh), iw, ih)?;
                let mut out = RgbImage::from_pixel(n, n, image::Rgb([255; 3]));
                image::imageops::replace(&mut out, &inner, i64::from((n - iw) / 2), i64::from((n - ih) / 2));
                Ok(out)
            }
        }
    }
}

/// The largest size with the proportions of `w × h` whose longest side is `n`; no side is 0.
pub fn fit(w: u32, h: u32, n: u32) -> (u32, u32) {
    let scale = f64::from(n) / f64::from(w.max(h).max(1));
    let side = |x: u32| ((f64::from(x) * scale).round() as u32).clamp(1, n.max(1));
    (side(w), side(h))
}

/// Scales the image down so that its longest side is at most `n`; never up.
pub fn thumbnail(image: &RgbImage, n: u32) -> Result<RgbImage> {
    let (w, h) = image.dimensions();
    if w.max(h) <= n {
        return Ok(image.clone());
    }
    let (tw, th) = fit(w, h, n);
    resize(image, (0.0, 0.0, f64::from(w), f64::from(h)), tw, th)
}

/// `crop` is left, top, width, height.
fn resize(image: &RgbImage, crop: (f64, f64, f64, f64), w: u32, h: u32) -> Result<RgbImage> {
    let bad = |e: String| Error::new(Kind::Internal, format!("resize to {w}×{h}: {e}"));
    let (iw, ih) = image.dimensions();
    let source = fir::images::ImageRef::new(iw, ih, image.as_raw(), fir::PixelType::U8x3)
        .map_err(|e| bad(e.to_string()))?;
    let mut out = fir::images::Image::new(w, h, fir::PixelType::U8x3);
    let options = fir::ResizeOptions::new()
        .resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Bilinear))
        .crop(crop.0, crop.1, crop.2, crop.3)
        .use_alpha(false);
    fir::Resizer::new().resize(&source, &mut out, &options).map_err(|e| bad(e.to_string()))?;
    RgbImage::from_raw(w, h, out.into_vec()).ok_or_else(|| bad("wrong buffer size".into()))
}

/// How RGB bytes become a network's numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// `"bgr"` or `"rgb"`: order of the channels, in which `mean` and `std` stand too.
    pub channels: String,
    /// Subtracted from bytes 0..255.
    pub mean: [f32; 3],
    /// Divides after that.
    pub std: [f32; 3],
}

impl Normalisation {
    /// The Caffe form that the shipped SqueezeNet was trained with.
    pub fn caffe() -> Self {
        Self { channels: "bgr".into(), mean: [103.939, 116.779, 123.68], std: [1.0; 3] }
    }

    /// Writes one image as `[3, H, W]` planes into `out`, which must hold `3·H·W` numbers.
    pub fn write_chw(&self, image: &RgbImage, out: &mut [f32]) {
        let plane = (image.width() * image.height()) as usize;
        let bgr = self.channels == "bgr";
        for (c, row) in out.chunks_exact_mut(plane).take(3).enumerate() {
            let from = if bgr { 2 - c } else { c };
            let (mean, scale) = (self.mean[c], 1.0 / self.std[c]);
            for (o, p) in row.iter_mut().zip(image.as_raw().chunks_exact(3)) {
                *o = (f32::from(p[from]) - mean) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves() -> RgbImage {
        RgbImage::from_fn(
            40,
            20,
            |x, _| if x < 20 { image::Rgb([255, 0, 0]) } else { image::Rgb([0, 0, 255]) },
        )
    }

    #[test]
    fn three_ways_to_a_square() {
        let t = |r| Transform::new(32, r).unwrap().apply(&halves()).unwrap();
        let squash = t(Resize::Squash);
        assert_eq!((squash.get_pixel(3, 3).0, squash.get_pixel(28, 28).0), ([255, 0, 0], [0, 0, 255]));
        let crop = t(Resize::Crop);
        assert_eq!((crop.get_pixel(2, 16).0, crop.get_pixel(29, 16).0), ([255, 0, 0], [0, 0, 255]));
        let pad = t(Resize::Pad);
        assert_eq!(pad.get_pixel(16, 2).0, [255; 3]);
        assert_eq!(pad.get_pixel(2, 16).0, [255, 0, 0]);
        assert_eq!(pad.get_pixel(16, 29).0, [255; 3]);
    }

    #[test]
    fn extreme_proportions_keep_a_pixel() {
        let line = RgbImage::from_pixel(3000, 1, image::Rgb([9, 9, 9]));
        for r in [Resize::Squash, Resize::Crop, Resize::Pad] {
            assert_eq!(Transform::new(64, r).unwrap().apply(&line).unwrap().dimensions(), (64, 64));
        }
        assert_eq!(thumbnail(&line, 100).unwrap().dimensions(), (100, 1));
        assert_eq!(thumbnail(&halves(), 100).unwrap().dimensions(), (40, 20));
    }

    #[test]
    fn sides_are_bounded() {
        for (n, ok) in [(31, false), (32, true), (1024, true), (1025, false)] {
            assert_eq!(Transform::new(n, Resize::Squash).is_ok(), ok, "{n}");
        }
    }

    #[test]
    fn caffe_form_is_bgr_minus_mean() {
        let image = RgbImage::from_pixel(1, 1, image::Rgb([10, 20, 30]));
        let mut out = [0.0; 3];
        Normalisation::caffe().write_chw(&image, &mut out);
        assert_eq!(out, [30.0 - 103.939, 20.0 - 116.779, 10.0 - 123.68]);
    }
}
