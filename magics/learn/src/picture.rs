//! Pictures: a canvas with text, and PNG files of a bounded size.
//!
//! Fonts are part of the binary (DejaVu Sans, cut down to Latin, Greek, Cyrillic and some symbols);
//! other letters appear as boxes. Does not read files.

pub mod confusion;
pub mod grid;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};
use base64::Engine as _;
use dds_core::{Error, MimeBundle, Result};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
use std::sync::OnceLock;

pub type Colour = [u8; 3];
pub const WHITE: Colour = [255, 255, 255];
pub const INK: Colour = [33, 37, 41];
pub const FAINT: Colour = [108, 117, 125];
pub const RULE: Colour = [222, 226, 230];
pub const RED: Colour = [190, 30, 45];
pub const GREEN: Colour = [30, 120, 60];

/// Aimed-at size of a PNG; see [`Png::encode`].
pub const MAX_PNG_BYTES: usize = 400_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    Regular,
    Bold,
}

/// Where the given point lies in the text, horizontally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

fn font(weight: Weight) -> Result<&'static FontRef<'static>> {
    type Loaded = Result<FontRef<'static>>;
    static REGULAR: OnceLock<Loaded> = OnceLock::new();
    static BOLD: OnceLock<Loaded> = OnceLock::new();
    let load = |bytes: &'static [u8]| {
        FontRef::try_from_slice(bytes).map_err(|_| Error::internal("the font in the binary is broken"))
    };
    let loaded = match weight {
        Weight::Regular => REGULAR.get_or_init(|| load(include_bytes!("../fonts/DejaVuSans-subset.ttf"))),
        Weight::Bold => BOLD.get_or_init(|| load(include_bytes!("../fonts/DejaVuSans-Bold-subset.ttf"))),
    };
    loaded.as_ref().map_err(Clone::clone)
}

/// A line of text in one size (pixels per em), weight and colour.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub px: f32,
    pub weight: Weight,
    pub colour: Colour,
}

impl Style {
    pub fn new(px: f32) -> Self {
        Self { px, weight: Weight::Regular, colour: INK }
    }

    pub fn bold(mut self) -> Self {
        self.weight = Weight::Bold;
        self
    }

    pub fn colour(mut self, colour: Colour) -> Self {
        self.colour = colour;
        self
    }

    fn scale(&self, font: &FontRef<'_>) -> PxScale {
        // ab_glyph scales by ascent minus descent, not by the em square.
        let units = font.units_per_em().unwrap_or(2048.0);
        PxScale::from(self.px * font.height_unscaled() / units)
    }

    /// Width in pixels.
    pub fn width(&self, text: &str) -> Result<f32> {
        Ok(self.layout(text)?.1)
    }

    /// Glyphs with their pen positions, and the full advance.
    fn layout(&self, text: &str) -> Result<(Vec<(GlyphId, f32)>, f32)> {
        let font = font(self.weight)?;
        let scaled = font.as_scaled(self.scale(font));
        let (mut pen, mut last, mut out) = (0.0f32, None, Vec::new());
        for c in text.chars() {
            let id = font.glyph_id(if c.is_control() { '\u{fffd}' } else { c });
            if let Some(last) = last {
                pen += scaled.kern(last, id);
            }
            out.push((id, pen));
            pen += scaled.h_advance(id);
            last = Some(id);
        }
        Ok((out, pen))
    }

    /// The longest part of `text` that fits `room` pixels, its middle replaced by `…` when it is cut.
    pub fn fitted(&self, text: &str, room: f32) -> Result<String> {
        if self.width(text)? <= room {
            return Ok(text.to_owned());
        }
        let chars: Vec<char> = text.chars().collect();
        // Few glyphs fit anyway: a caption of thousands of characters is not measured again and again.
        let most = chars.len().min((room / (self.px * 0.2).max(1.0)) as usize);
        for keep in (1..=most).rev() {
            let (head, tail) = (keep.div_ceil(2), keep / 2);
            let cut: String =
                chars[..head].iter().chain(['…'].iter()).chain(&chars[chars.len() - tail..]).collect();
            if self.width(&cut)? <= room {
                return Ok(cut);
            }
        }
        Ok("…".into())
    }
}

/// An RGB picture to draw on.
pub struct Canvas {
    pub image: RgbImage,
}

impl Canvas {
    pub fn new(width: u32, height: u32) -> Self {
        Self { image: RgbImage::from_pixel(width.max(1), height.max(1), Rgb(WHITE)) }
    }

    pub fn paste(&mut self, image: &RgbImage, x: u32, y: u32) {
        image::imageops::replace(&mut self.image, image, i64::from(x), i64::from(y));
    }

    pub fn fill(&mut self, x: u32, y: u32, w: u32, h: u32, colour: Colour) {
        for py in y..(y + h).min(self.image.height()) {
            for px in x..(x + w).min(self.image.width()) {
                self.image.put_pixel(px, py, Rgb(colour));
            }
        }
    }

    /// A frame of one pixel just outside the given box.
    pub fn frame(&mut self, x: u32, y: u32, w: u32, h: u32, colour: Colour) {
        let (l, t) = (x.saturating_sub(1), y.saturating_sub(1));
        self.fill(l, t, w + 2, 1, colour);
        self.fill(l, y + h, w + 2, 1, colour);
        self.fill(l, t, 1, h + 2, colour);
        self.fill(x + w, t, 1, h + 2, colour);
    }

    /// Draws `text` with its middle line (half the height of capitals) at `y`.
    pub fn text(&mut self, text: &str, x: f32, y: f32, anchor: Anchor, style: Style) -> Result<()> {
        self.draw(text, anchor, style, (x.fract(), y.fract()), |dx, dy| (x.floor() + dx, y.floor() + dy))
    }

    /// As [`Canvas::text`], but turned by a quarter, reading upwards; `anchor` goes along the text.
    pub fn text_up(&mut self, text: &str, x: f32, y: f32, anchor: Anchor, style: Style) -> Result<()> {
        self.draw(text, anchor, style, (0.0, 0.0), |dx, dy| (x.round() + dy, y.round() - dx))
    }

    /// Draws relative to the point `part` (a fraction of a pixel); `place` moves pixels into the picture.
    fn draw(
        &mut self,
        text: &str,
        anchor: Anchor,
        style: Style,
        part: (f32, f32),
        place: impl Fn(f32, f32) -> (f32, f32),
    ) -> Result<()> {
        let font = font(style.weight)?;
        let (glyphs, width) = style.layout(text)?;
        let start = match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -width / 2.0,
            Anchor::End => -width,
        };
        let scale = style.scale(font);
        // Capitals of DejaVu Sans are 0.73 em high.
        let baseline = (part.1 + style.px * 0.365).round();
        for (id, pen) in glyphs {
            let glyph = id.with_scale_and_position(scale, point(part.0 + start + pen, baseline));
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|gx, gy, cover| {
                let (px, py) = place(corner.x + gx as f32, corner.y + gy as f32);
                self.blend(px as i64, py as i64, style.colour, cover);
            });
        }
        Ok(())
    }

    fn blend(&mut self, x: i64, y: i64, colour: Colour, cover: f32) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if x >= self.image.width() || y >= self.image.height() {
            return;
        }
        let p = self.image.get_pixel_mut(x, y);
        let cover = cover.clamp(0.0, 1.0);
        for (p, c) in p.0.iter_mut().zip(colour) {
            *p = (f32::from(*p) + (f32::from(c) - f32::from(*p)) * cover).round() as u8;
        }
    }
}

/// An encoded picture.
#[derive(Clone, Debug)]
pub struct Png {
    pub bytes: Vec<u8>,
    pub width: u32,
    pub height: u32,
}

impl Png {
    /// Encodes a picture. One that is larger than [`MAX_PNG_BYTES`] keeps 6 bits a channel, which
    /// is hard to see and compresses much better.
    pub fn encode(image: &RgbImage) -> Result<Self> {
        let mut bytes = png_bytes(image)?;
        if bytes.len() > MAX_PNG_BYTES {
            let mut coarse = image.clone();
            coarse.iter_mut().for_each(|v| *v = (*v & 0xfc) | (*v >> 6));
            bytes = png_bytes(&coarse)?;
        }
        Ok(Self { bytes, width: image.width(), height: image.height() })
    }

    /// `image/png` with `alt` as its text.
    pub fn bundle(&self, alt: impl Into<String>) -> MimeBundle {
        let text = base64::engine::general_purpose::STANDARD.encode(&self.bytes);
        MimeBundle::text(alt).with_png(text, self.width, self.height)
    }
}

fn png_bytes(image: &RgbImage) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    PngEncoder::new_with_quality(&mut out, CompressionType::Default, FilterType::Adaptive)
        .write_image(image.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8)
        .map_err(|e| Error::internal(format!("encoding a PNG: {e}")))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dark(image: &RgbImage) -> usize {
        image.pixels().filter(|p| p.0[0] < 128).count()
    }

    #[test]
    fn text_is_drawn_and_turned() {
        let style = Style::new(16.0);
        let mut c = Canvas::new(120, 120);
        c.text("Hello", 60.0, 60.0, Anchor::Middle, style).unwrap();
        let across = dark(&c.image);
        assert!(across > 60, "{across}");
        let mut up = Canvas::new(120, 120);
        up.text_up("Hello", 60.0, 60.0, Anchor::Middle, style).unwrap();
        assert!(dark(&up.image) > 60);
        let columns =
            |i: &RgbImage| (0..120).filter(|x| (0..120).any(|y| i.get_pixel(*x, y).0[0] < 128)).count();
        assert!(columns(&c.image) > 2 * columns(&up.image));
    }

    #[test]
    fn every_letter_of_european_names_has_a_glyph() {
        for weight in [Weight::Regular, Weight::Bold] {
            let f = font(weight).unwrap();
            for c in "Größe çàéñøłžğİ Ελληνικά Русский ×…–—“”€→✓".chars()
            {
                assert!(f.glyph_id(c).0 != 0, "{c:?} {weight:?}");
            }
        }
    }

    #[test]
    fn long_text_is_cut_in_its_middle() {
        let s = Style::new(12.0);
        let cut = s.fitted("a_very_long_file_name_of_a_photograph_0001.jpg", 100.0).unwrap();
        assert!(cut.contains('…') && cut.ends_with("jpg") && s.width(&cut).unwrap() <= 100.0, "{cut}");
        assert_eq!(s.fitted("short", 100.0).unwrap(), "short");
        assert_eq!(s.fitted(&"w".repeat(100_000), 1.0).unwrap(), "…");
    }

    #[test]
    fn drawing_outside_is_harmless() {
        let mut c = Canvas::new(10, 10);
        c.text("outside", -300.0, 900.0, Anchor::End, Style::new(300.0)).unwrap();
        c.fill(8, 8, 100, 100, RED);
        c.frame(0, 0, 50, 50, RED);
        c.paste(&RgbImage::new(50, 50), 5, 5);
    }

    #[test]
    fn a_noisy_picture_loses_bits_not_pixels() {
        let mut v = 1u32;
        let noise = RgbImage::from_fn(500, 500, |_, _| {
            v = v.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Rgb([(v >> 24) as u8, (v >> 16) as u8, (v >> 8) as u8])
        });
        let png = Png::encode(&noise).unwrap();
        let back = crate::decode::decode("x.png", &png.bytes).unwrap();
        assert_eq!(back.dimensions(), (500, 500));
        assert!(back.iter().zip(noise.iter()).all(|(a, b)| a.abs_diff(*b) < 4));
    }
}
