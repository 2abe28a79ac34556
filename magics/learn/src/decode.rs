//! Image files to RGB: JPEG, PNG, WebP, GIF (first frame), BMP, TIFF.
//!
//! Assumes nothing about the bytes: dimensions and memory are checked before pixels are decoded.
//! Transparent images are laid on white; EXIF orientation is applied. Does not read files.

use dds_core::image_kind::looks_like;
use dds_core::{Error, ImageKind, Kind, Result};
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};
use std::io::Cursor;

/// Most pixels of one image (100 megapixels; an RGB copy of it takes 300 MB).
pub const MAX_PIXELS: u64 = 100_000_000;
/// Most bytes that a decoder may allocate.
pub const MAX_DECODE_BYTES: u64 = 512 << 20;
/// Longest side; more is no photograph.
pub const MAX_SIDE: u32 = 65_535;
/// Largest image file that is read.
pub const MAX_FILE_BYTES: u64 = 128 << 20;

/// Whether a file name ends like an image that [`decode`] reads. Hidden files are not images.
pub fn is_image_name(name: &str) -> bool {
    !name.starts_with('.') && ImageKind::of_name(name).is_some()
}

/// Decodes an image file to RGB, 8 bits a channel. `name` is only for the error.
///
/// Errors: `Format` for what is not an image, `Limit` for what is too large.
pub fn decode(name: &str, bytes: &[u8]) -> Result<RgbImage> {
    decode_deep(name, bytes).map(flat)
}

/// As [`decode`], with the channels and the depth of the file.
pub fn decode_deep(name: &str, bytes: &[u8]) -> Result<DynamicImage> {
    // A decoder that panics over a hostile file must not take the kernel with it. It holds nothing
    // that outlives the call.
    std::panic::catch_unwind(|| decode_checked(name, bytes, true))
        .unwrap_or_else(|_| Err(not_an_image(name, "its decoder gave up")))
}

/// What can be seen of an image that [`decode`] may refuse: of a JPEG that breaks off, the part that is
/// there.
pub fn glimpse(bytes: &[u8]) -> Option<RgbImage> {
    std::panic::catch_unwind(|| decode_checked("", bytes, false)).ok()?.ok().map(flat)
}

fn decode_checked(name: &str, bytes: &[u8], whole: bool) -> Result<DynamicImage> {
    let failed = |e: image::ImageError| match e {
        image::ImageError::Limits(_) => too_large(name, "its decoder would need too much memory".to_owned()),
        e => not_an_image(name, &reason(bytes, &e)),
    };
    if bytes.is_empty() {
        return Err(not_an_image(name, "the file is empty"));
    }
    if whole && jpeg_ends_early(bytes) {
        return Err(Error::new(Kind::Format, format!("{name}: not a complete JPEG: it ends early"))
            .hint("copy or download the file again, or remove it"));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| not_an_image(name, &e.to_string()))?;
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (w, h) = decoder.dimensions();
    if u64::from(w) * u64::from(h) > MAX_PIXELS {
        return Err(too_large(
            name,
            format!("{w}×{h} pixels, the limit is {} megapixels", MAX_PIXELS / 1_000_000),
        ));
    }
    if decoder.total_bytes() > MAX_DECODE_BYTES {
        return Err(too_large(name, format!("{w}×{h} pixels at this depth need more than 512 MiB")));
    }
    if w == 0 || h == 0 {
        return Err(not_an_image(name, "it has no pixels"));
    }
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// RGB of 8 bits, on white.
pub fn flat(image: DynamicImage) -> RgbImage {
    if image.color().has_alpha() { on_white(image) } else { image.into_rgb8() }
}

/// Whether this is a JPEG without its end: its decoder fills the missing part with grey and says
/// nothing. The end-of-image marker must follow the start of the first scan; one before it belongs to
/// a thumbnail. Coded data never contains that marker (ITU-T T.81, B.1.1.5), and bytes after it are
/// allowed. What else is wrong with the file is the decoder's to say.
pub(crate) fn jpeg_ends_early(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let Some(mut rest) = bytes.strip_prefix(&[0xff, 0xd8]).filter(|r| r.starts_with(&[0xff])) else {
        return false;
    };
    loop {
        // Fill bytes and stray ones may stand before a marker.
        let Some(at) = rest.windows(2).position(|w| w[0] == 0xff && w[1] != 0xff) else { return true };
        let (marker, segment) = match rest.get(at + 1..) {
            Some([marker, segment @ ..]) => (*marker, segment),
            _ => return true,
        };
        match marker {
            0xd9 => return false,
            // Markers without a length.
            0x00 | 0x01 | 0xd0..=0xd8 => {
                rest = segment;
                continue;
            }
            _ => {}
        }
        let [high, low, ..] = segment else { return true };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length < 2 {
            return false;
        }
        let Some(after) = segment.get(length..) else { return true };
        if marker == START_OF_SCAN {
            return !after.windows(2).rev().any(|w| w == END_OF_IMAGE);
        }
        rest = after;
    }
}

/// Lays a transparent image on white: `c·α + 255·(1 − α)`, rounded.
pub(crate) fn on_white(image: DynamicImage) -> RgbImage {
    let rgba = image.into_rgba8();
    let mut out = RgbImage::new(rgba.width(), rgba.height());
    for (o, i) in out.pixels_mut().zip(rgba.pixels()) {
        let [r, g, b, a] = i.0.map(u32::from);
        o.0 = [r, g, b].map(|c| ((c * a + 255 * (255 - a) + 127) / 255) as u8);
    }
    out
}

fn not_an_image(name: &str, why: &str) -> Error {
    Error::new(Kind::Format, format!("{name}: not an image: {why}"))
        .hint("JPEG, PNG, WebP, GIF, BMP and TIFF are read; remove the file or replace it")
}

fn too_large(name: &str, why: String) -> Error {
    Error::new(Kind::Limit, format!("{name}: image too large: {why}")).hint("scale the image down first")
}

/// The decoder's complaint in words that help; outside text is cut to one line.
fn reason(bytes: &[u8], e: &image::ImageError) -> String {
    if matches!(e, image::ImageError::Unsupported(_)) {
        return looks_like(bytes).into();
    }
    let text = dds_core::mime::printable(&e.to_string()).replace('\n', " ");
    text.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgba, RgbaImage};

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        image.write_to(&mut out, format).unwrap();
        out.into_inner()
    }

    fn ramp() -> RgbImage {
        RgbImage::from_fn(24, 10, |x, y| image::Rgb([(x * 10) as u8, (y * 20) as u8, 77]))
    }

    #[test]
    fn lossless_formats_come_back_as_they_were() {
        use ImageFormat::*;
        for format in [Png, WebP, Bmp, Tiff] {
            let got = decode("a", &encoded(&ramp().into(), format)).unwrap();
            assert_eq!(got, ramp(), "{format:?}");
        }
        for format in [Jpeg, Gif] {
            let got = decode("a", &encoded(&ramp().into(), format)).unwrap();
            assert_eq!(got.dimensions(), (24, 10), "{format:?}");
            let worst = got.iter().zip(ramp().iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst < 40, "{format:?} {worst}");
        }
    }

    #[test]
    fn transparency_becomes_white() {
        let mut image = RgbaImage::from_pixel(3, 1, Rgba([200, 0, 0, 255]));
        image.put_pixel(1, 0, Rgba([200, 0, 0, 0]));
        image.put_pixel(2, 0, Rgba([0, 0, 0, 51]));
        let got = decode("a", &encoded(&image.into(), ImageFormat::Png)).unwrap();
        assert_eq!(got.into_raw(), [200, 0, 0, 255, 255, 255, 204, 204, 204]);
    }

    #[test]
    fn exif_orientation_is_applied() {
        let jpeg = encoded(&ramp().into(), ImageFormat::Jpeg);
        // One EXIF entry: orientation 6, the camera was held upright.
        let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
        let mut turned = jpeg[..2].to_vec();
        turned.extend([0xff, 0xe1]);
        turned.extend(((exif.len() + 2) as u16).to_be_bytes());
        turned.append(&mut exif);
        turned.extend(&jpeg[2..]);
        assert_eq!(decode("a", &turned).unwrap().dimensions(), (10, 24));
    }

    #[test]
    fn a_jpeg_that_ends_early_is_refused() {
        let whole = encoded(&ramp().into(), ImageFormat::Jpeg);
        // A thumbnail in the metadata has an end of its own, which does not count.
        let mut jpeg = whole[..2].to_vec();
        jpeg.extend([0xff, 0xe1]);
        jpeg.extend(((whole.len() + 2) as u16).to_be_bytes());
        jpeg.extend(&whole);
        jpeg.extend(&whole[2..]);
        assert!(decode("a.jpg", &jpeg).is_ok());
        for cut in [1, 2, 30, whole.len() / 2, whole.len() - 2, jpeg.len() - 4] {
            let e = decode("dir/a.jpg", &jpeg[..jpeg.len() - cut]).unwrap_err();
            assert_eq!(
                (e.kind, e.message.as_str()),
                (Kind::Format, "dir/a.jpg: not a complete JPEG: it ends early"),
                "{cut}"
            );
        }
        let mut zeroed = jpeg.clone();
        let end = zeroed.len();
        zeroed[end - 20..].fill(0);
        assert!(decode("a.jpg", &zeroed).is_err());
        // Cameras append previews and padding.
        jpeg.extend(b"\0\0trailing");
        assert!(decode("a.jpg", &jpeg).is_ok());
    }

    #[test]
    fn what_is_no_image_is_named_with_its_reason() {
        let jpeg = encoded(&ramp().into(), ImageFormat::Png);
        for (bytes, why) in [
            (&b""[..], "the file is empty"),
            (b"hello world", "it looks like text"),
            (b"<html><body>404", "web page"),
            (b"outs:\n- md5: 00", "DVC pointer"),
            (&[0x80, 4, 0x95, 0xff, 0xfe, 0, 0, 1], "format is not known"),
            (&jpeg[..jpeg.len() / 2], "not an image: "),
        ] {
            let e = decode("dir/x y.jpg", bytes).unwrap_err();
            assert_eq!(e.kind, Kind::Format);
            assert!(e.message.starts_with("dir/x y.jpg: not an image: ") && e.message.contains(why), "{e}");
        }
    }

    #[test]
    fn a_pixel_bomb_is_refused_before_it_is_decoded() {
        // A PNG header that claims 20,000 × 20,000 and one of 100 megapixels exactly, without data.
        let header = |w: u32, h: u32| {
            let mut out = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
            out.extend(w.to_be_bytes());
            out.extend(h.to_be_bytes());
            out.extend([8, 2, 0, 0, 0]);
            let crc = crc32(&out[12..]);
            out.extend(crc.to_be_bytes());
            out.extend(b"\0\0\0\0IDAT");
            out.extend(crc32(b"IDAT").to_be_bytes());
            out
        };
        assert_eq!(decode("bomb.png", &header(20_000, 20_000)).unwrap_err().kind, Kind::Limit);
        assert_eq!(decode("bomb.png", &header(10_001, 10_000)).unwrap_err().kind, Kind::Limit);
        assert_eq!(decode("edge.png", &header(10_000, 10_000)).unwrap_err().kind, Kind::Format);
        assert_eq!(decode("wide.png", &header(70_000, 1)).unwrap_err().kind, Kind::Limit);
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, b| {
            (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
        })
    }

    #[test]
    fn names() {
        for yes in ["a.jpg", "a b.JPEG", "x.y.webp", "é.png"] {
            assert!(is_image_name(yes), "{yes}");
        }
        for no in ["a.txt", ".jpg", "jpg", ".hidden.png", "a.jpg.dvc", ""] {
            assert!(!is_image_name(no), "{no}");
        }
    }
}
