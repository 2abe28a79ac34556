//! Pictures as files: PNG, JPEG, WebP without loss, TIFF.

use crate::decode::on_white;
use dds_core::{Error, ImageKind, Result};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::tiff::TiffEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ColorType, DynamicImage, ImageEncoder};
use std::io::Cursor;
use std::str::FromStr;

/// A format that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Png,
    Jpeg,
    WebP,
    Tiff,
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "png" => Ok(Self::Png),
            "jpeg" => Ok(Self::Jpeg),
            "webp" => Ok(Self::WebP),
            "tiff" => Ok(Self::Tiff),
            other => Err(Error::usage(format!("format {other:?} is not one of png, jpeg, webp, tiff"))),
        }
    }
}

impl Format {
    /// The format in which an image of this kind is written again.
    pub fn of(kind: ImageKind) -> Self {
        match kind {
            ImageKind::Jpeg => Self::Jpeg,
            ImageKind::WebP => Self::WebP,
            ImageKind::Tiff => Self::Tiff,
            ImageKind::Png | ImageKind::Gif | ImageKind::Bmp => Self::Png,
        }
    }

    pub fn kind(self) -> ImageKind {
        match self {
            Self::Png => ImageKind::Png,
            Self::Jpeg => ImageKind::Jpeg,
            Self::WebP => ImageKind::WebP,
            Self::Tiff => ImageKind::Tiff,
        }
    }
}

/// The file of a picture. Its colour profile goes with it where the channels stay what they were.
pub fn encode(image: DynamicImage, profile: Option<Vec<u8>>, format: Format, quality: u8) -> Result<Vec<u8>> {
    let before = image.color().has_color();
    let image = fitting(image, format);
    let profile = profile.filter(|_| image.color().has_color() == before);
    let mut out = Cursor::new(Vec::new());
    match format {
        Format::Png => write(PngEncoder::new(&mut out), &image, profile)?,
        Format::Jpeg => write(JpegEncoder::new_with_quality(&mut out, quality), &image, profile)?,
        Format::WebP => write(WebPEncoder::new_lossless(&mut out), &image, profile)?,
        Format::Tiff => write(TiffEncoder::new(&mut out), &image, profile)?,
    }
    Ok(out.into_inner())
}

fn write(mut encoder: impl ImageEncoder, image: &DynamicImage, profile: Option<Vec<u8>>) -> Result<()> {
    if let Some(profile) = profile {
        // A format that cannot carry one goes without.
        let _ = encoder.set_icc_profile(profile);
    }
    image.write_with_encoder(encoder).map_err(|e| Error::internal(format!("encoding: {e}")))
}

/// The picture with channels and depth that the format has.
fn fitting(image: DynamicImage, format: Format) -> DynamicImage {
    use ColorType::*;
    let grey = !image.color().has_color();
    let alpha = image.color().has_alpha();
    match (format, image.color()) {
        (Format::Png, L8 | La8 | Rgb8 | Rgba8 | L16 | La16 | Rgb16 | Rgba16) => image,
        (Format::Png, _) if alpha => image.into_rgba16().into(),
        (Format::Png, _) => image.into_rgb16().into(),
        (Format::Tiff, L8 | Rgb8 | Rgba8 | L16 | Rgb16 | Rgba16 | Rgb32F | Rgba32F) => image,
        (Format::Tiff, La8) => image.into_rgba8().into(),
        (Format::Tiff, _) => image.into_rgba16().into(),
        (Format::WebP, Rgb8 | Rgba8) => image,
        (Format::WebP, _) if alpha => image.into_rgba8().into(),
        (Format::WebP, _) => image.into_rgb8().into(),
        (Format::Jpeg, L8 | Rgb8) => image,
        (Format::Jpeg, _) if alpha => on_white(image).into(),
        (Format::Jpeg, _) if grey => image.into_luma8().into(),
        (Format::Jpeg, _) => image.into_rgb8().into(),
    }
}
