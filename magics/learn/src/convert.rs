//! Images into other formats and sizes: EXIF orientation applied, 16 bits a channel kept where the format
//! can, every page of a TIFF a picture of its own, memory bounded.
//!
//! A TIFF that would not fit is scaled down strip by strip ([`strips`]). Does not write files.

pub mod budget;
pub mod encode;
pub mod strips;

use crate::blocks::BlockReader;
use crate::decode::{MAX_SIDE, jpeg_ends_early};
use crate::pages::{PageReader, pages};
use crate::place::FileRef;
use crate::transform::fit;
use budget::Budget;
use dds_core::image_kind::{MAGIC_BYTES, looks_like};
use dds_core::table::bytes;
use dds_core::{Cx, Error, ImageKind, Kind, Result};
use encode::Format;
use fast_image_resize as fir;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

/// What to make of an image.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// None: the image's own, as far as it can be written.
    pub format: Option<Format>,
    /// Longest side, in pixels.
    pub max_size: Option<u32>,
    /// Of JPEG, 1 to 100.
    pub quality: u8,
    /// Bytes of one decoded image.
    pub memory: u64,
}

/// One picture that was made.
#[derive(Debug)]
pub struct Made {
    /// From 1; none for a file of one picture.
    pub page: Option<usize>,
    pub format: Format,
    pub width: u32,
    pub height: u32,
    pub bytes: Vec<u8>,
}

/// A decoded picture, upright and at most as large as was asked for.
pub struct Picture {
    pub image: DynamicImage,
    /// The colour profile of its file.
    pub profile: Option<Vec<u8>>,
    /// Width and height in the file, as it stands there.
    pub full: (u32, u32),
    /// Its page, from 1, and how many there are; none in a file of one picture.
    pub page: Option<(usize, usize)>,
}

/// Converts one file and hands over each picture as soon as it is made.
///
/// Errors: those of [`pictures`] and of `take`.
pub fn convert(
    file: &FileRef,
    recipe: &Recipe,
    budget: &Budget,
    cx: &Cx,
    take: &mut dyn FnMut(Made) -> Result<()>,
) -> Result<()> {
    pictures(file, recipe, usize::MAX, budget, cx, &mut |kind, picture| {
        let format = recipe.format.unwrap_or_else(|| Format::of(kind));
        let (width, height) = (picture.image.width(), picture.image.height());
        let bytes = encode::encode(picture.image, picture.profile, format, recipe.quality)?;
        take(Made { page: picture.page.map(|(n, _)| n), format, width, height, bytes })
    })
}

/// Decodes the first `most` pictures of a file, one after the other.
///
/// Errors: `Format` for what is no image, `Limit` for one that needs more memory than there may be, and
/// those of reading and of `take`.
pub fn pictures(
    file: &FileRef,
    recipe: &Recipe,
    most: usize,
    budget: &Budget,
    cx: &Cx,
    take: &mut dyn FnMut(ImageKind, Picture) -> Result<()>,
) -> Result<()> {
    let mut reader = BlockReader::open(file, cx)?;
    if reader.is_empty() {
        return Err(Error::new(Kind::Format, "the file is empty"));
    }
    let mut start = vec![0; 512.min(reader.len() as usize)];
    reader.read_exact(&mut start).map_err(|e| interrupted_or(cx, e.to_string()))?;
    let Some(kind) = ImageKind::of(start.get(..MAGIC_BYTES).unwrap_or(&start)) else {
        return Err(Error::new(Kind::Format, format!("not an image: {}", looks_like(&start))));
    };
    if kind != ImageKind::Tiff {
        rewind(&mut reader)?;
        if kind == ImageKind::Jpeg {
            whole_jpeg(&mut reader, recipe, cx)?;
        }
        return take(kind, whole(reader, kind, recipe, budget, cx)?);
    }
    let found = pages(&mut reader)?;
    let all = found.len();
    for (n, page) in found.into_iter().enumerate().take(most) {
        cx.cancel.check()?;
        let open =
            || -> Result<_> { Ok(BufReader::new(PageReader::new(BlockReader::open(file, cx)?, page)?)) };
        let picture = match (whole(open()?, kind, recipe, budget, cx), recipe.max_size) {
            (Err(e), Some(size)) if e.kind == Kind::Limit => {
                strips::scaled(open()?, size, recipe.memory, budget, cx)
            }
            (Err(e), None) if e.kind == Kind::Limit => {
                Err(e.hint("with --max-size a TIFF is made smaller while it is read"))
            }
            (picture, _) => picture,
        };
        let mut picture =
            picture.map_err(|e| if all > 1 { e.context(format!("page {}", n + 1)) } else { e })?;
        picture.page = (all > 1).then_some((n + 1, all));
        take(kind, picture)?;
    }
    Ok(())
}

fn rewind(reader: &mut impl Seek) -> Result<()> {
    reader.seek(SeekFrom::Start(0)).map(drop).map_err(|e| Error::internal(e.to_string()))
}

/// The decoder fills the missing part of a JPEG with grey and says nothing.
fn whole_jpeg(reader: &mut BlockReader<'_>, recipe: &Recipe, cx: &Cx) -> Result<()> {
    if reader.len() > recipe.memory {
        return Err(too_large(reader.len(), recipe.memory));
    }
    let mut all = Vec::new();
    reader.read_to_end(&mut all).map_err(|e| interrupted_or(cx, e.to_string()))?;
    if jpeg_ends_early(&all) {
        return Err(Error::new(Kind::Format, "not a complete JPEG: it ends early"));
    }
    rewind(reader)
}

/// Decodes a picture in one piece and turns it as its metadata says.
fn whole(
    reader: impl BufRead + Seek,
    kind: ImageKind,
    recipe: &Recipe,
    budget: &Budget,
    cx: &Cx,
) -> Result<Picture> {
    // A decoder that panics over a hostile file must not take the kernel with it.
    let work = || decoded(reader, kind, recipe, budget, cx);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::new(Kind::Format, "not an image: its decoder gave up")))
}

fn decoded(
    reader: impl BufRead + Seek,
    kind: ImageKind,
    recipe: &Recipe,
    budget: &Budget,
    cx: &Cx,
) -> Result<Picture> {
    let failed = |e: image::ImageError| match e {
        image::ImageError::Limits(_) => Error::new(Kind::Limit, "its decoder would need too much memory"),
        e => {
            let text = dds_core::mime::printable(&e.to_string()).replace('\n', " ");
            interrupted_or(cx, text.chars().take(160).collect())
        }
    };
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE * 16), Some(MAX_SIDE * 16));
    limits.max_alloc = Some(recipe.memory);
    let mut reader = ImageReader::with_format(reader, image_format(kind));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let need = decoder.total_bytes();
    if need > recipe.memory {
        return Err(too_large(need, recipe.memory));
    }
    let _held = budget.take(need, cx)?;
    let full = decoder.dimensions();
    let profile = decoder.icc_profile().ok().flatten();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    // The smaller picture is turned, not the larger one.
    if let Some(size) = recipe.max_size {
        image = smaller(image, size)?;
    }
    image.apply_orientation(orientation);
    Ok(Picture { image, profile, full, page: None })
}

fn interrupted_or(cx: &Cx, text: String) -> Error {
    match cx.cancel.check() {
        Err(e) => e,
        Ok(()) => Error::new(Kind::Format, text),
    }
}

fn too_large(need: u64, limit: u64) -> Error {
    Error::new(Kind::Limit, format!("it takes {} of memory, the limit is {}", bytes(need), bytes(limit)))
        .hint("--memory SIZE raises the limit")
}

fn image_format(kind: ImageKind) -> ImageFormat {
    match kind {
        ImageKind::Jpeg => ImageFormat::Jpeg,
        ImageKind::Png => ImageFormat::Png,
        ImageKind::WebP => ImageFormat::WebP,
        ImageKind::Gif => ImageFormat::Gif,
        ImageKind::Bmp => ImageFormat::Bmp,
        ImageKind::Tiff => ImageFormat::Tiff,
    }
}

/// Scales down so that the longest side is at most `size`, at the image's own depth; never up.
pub fn smaller(image: DynamicImage, size: u32) -> Result<DynamicImage> {
    let (w, h) = (image.width(), image.height());
    if w.max(h) <= size {
        return Ok(image);
    }
    let (tw, th) = fit(w, h, size);
    let mut out = DynamicImage::new(tw, th, image.color());
    let options =
        fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Lanczos3));
    fir::Resizer::new()
        .resize(&image, &mut out, &options)
        .map_err(|e| Error::internal(format!("resize to {tw}×{th}: {e}")))?;
    Ok(out)
}

#[cfg(test)]
mod tests;
