//! A grid of captioned images.

use super::{Anchor, Canvas, Colour, FAINT, INK, MAX_PNG_BYTES, Png, RED, RULE, Style, Weight};
use crate::transform::thumbnail;
use dds_core::Result;
use image::RgbImage;

/// Most tiles of one picture.
pub const MAX_TILES: usize = 100;
/// Smallest cell, in pixels; narrower ones leave no room for captions.
const MIN_CELL: u32 = 72;
/// Pixels between cells and around them.
const GAP: u32 = 14;
const CAPTION: f32 = 12.0;
const LINE: u32 = 17;

/// One line below an image.
#[derive(Clone, Debug)]
pub struct Caption {
    pub text: String,
    pub colour: Colour,
    pub weight: Weight,
}

impl Caption {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), colour: INK, weight: Weight::Regular }
    }

    pub fn faint(text: impl Into<String>) -> Self {
        Self { colour: FAINT, ..Self::new(text) }
    }

    pub fn bold(text: impl Into<String>, colour: Colour) -> Self {
        Self { text: text.into(), colour, weight: Weight::Bold }
    }
}

/// An image, or what to say in its place, and the lines below it.
pub struct Tile {
    pub image: std::result::Result<RgbImage, String>,
    pub captions: Vec<Caption>,
}

/// Draws the tiles `columns` a row (by default about the square root of their number), images scaled
/// down to `cell` pixels. When the PNG is larger than [`MAX_PNG_BYTES`], cells shrink until it fits.
pub fn grid(tiles: &[Tile], columns: Option<usize>, cell: u32) -> Result<Png> {
    let columns =
        columns.unwrap_or_else(|| (tiles.len() as f64).sqrt().ceil() as usize).clamp(1, tiles.len().max(1));
    let mut cell = cell.max(MIN_CELL);
    loop {
        let png = Png::encode(&draw(tiles, columns, cell)?)?;
        if png.bytes.len() <= MAX_PNG_BYTES || cell <= MIN_CELL {
            return Ok(png);
        }
        let factor = (MAX_PNG_BYTES as f64 / png.bytes.len() as f64).sqrt() * 0.97;
        cell = ((f64::from(cell) * factor.clamp(0.3, 0.95)) as u32).max(MIN_CELL);
    }
}

fn draw(tiles: &[Tile], columns: usize, cell: u32) -> Result<RgbImage> {
    let scaled: Vec<std::result::Result<RgbImage, &str>> = tiles
        .iter()
        .map(|t| match &t.image {
            Ok(image) => Ok(Ok(thumbnail(image, cell)?)),
            Err(why) => Ok(Err(why.as_str())),
        })
        .collect::<Result<_>>()?;
    // Cells are no larger than their images need, but wide enough for captions.
    let sizes = || scaled.iter().filter_map(|s| s.as_ref().ok());
    let width = sizes().map(RgbImage::width).max().unwrap_or(0).max(cell.min(112)).max(MIN_CELL);
    let lines = tiles.iter().map(|t| t.captions.len()).max().unwrap_or(0) as u32;
    let rows: Vec<u32> = scaled
        .chunks(columns)
        .map(|row| {
            row.iter().map(|s| s.as_ref().map_or(MIN_CELL, RgbImage::height)).max().unwrap_or(MIN_CELL)
        })
        .collect();
    let text = if lines > 0 { lines * LINE + 4 } else { 0 };
    let height = rows.iter().map(|h| h + text + GAP).sum::<u32>() + GAP;
    let mut canvas = Canvas::new(columns as u32 * (width + GAP) + GAP, height);
    let mut top = GAP;
    for ((row, tiles), tall) in scaled.chunks(columns).zip(tiles.chunks(columns)).zip(&rows) {
        for (i, (image, tile)) in row.iter().zip(tiles).enumerate() {
            let left = GAP + i as u32 * (width + GAP);
            let middle = left as f32 + width as f32 / 2.0;
            match image {
                Ok(image) => {
                    let (w, h) = image.dimensions();
                    // Images stand on their captions, so that a row reads as a line.
                    let (x, y) = (left + (width - w) / 2, top + tall - h);
                    canvas.frame(x, y, w, h, RULE);
                    canvas.paste(image, x, y);
                }
                Err(why) => missing(&mut canvas, left, top, width, *tall, why)?,
            }
            for (n, caption) in tile.captions.iter().enumerate() {
                let style = Style { px: CAPTION, weight: caption.weight, colour: caption.colour };
                let y = (top + tall + 4 + n as u32 * LINE) as f32 + LINE as f32 / 2.0;
                let text = style.fitted(&caption.text, (width + GAP - 4) as f32)?;
                canvas.text(&text, middle, y, Anchor::Middle, style)?;
            }
        }
        top += tall + text + GAP;
    }
    Ok(canvas.image)
}

/// A box that says why there is no image.
fn missing(canvas: &mut Canvas, x: u32, y: u32, w: u32, h: u32, why: &str) -> Result<()> {
    canvas.fill(x, y, w, h, [248, 240, 240]);
    canvas.frame(x, y, w, h, [225, 190, 190]);
    let style = Style::new(11.0).colour(RED);
    let room = (w - 8) as f32;
    let mut lines: Vec<String> = Vec::new();
    for word in why.split(' ') {
        match lines.last_mut() {
            Some(line) if style.width(&format!("{line} {word}"))? <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.truncate((h / 15).max(1) as usize);
    let start = y as f32 + h as f32 / 2.0 - (lines.len() as f32 - 1.0) * 7.5;
    for (i, line) in lines.iter().enumerate() {
        let text = style.fitted(line, room)?;
        canvas.text(&text, x as f32 + w as f32 / 2.0, start + i as f32 * 15.0, Anchor::Middle, style)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_noisy_grid_stays_below_the_limit() {
        let mut v = 7u32;
        let noise = RgbImage::from_fn(300, 300, |_, _| {
            v = v.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            image::Rgb([(v >> 24) as u8, (v >> 16) as u8, (v >> 8) as u8])
        });
        let tiles: Vec<Tile> = (0..9)
            .map(|i| Tile { image: Ok(noise.clone()), captions: vec![Caption::new(format!("n{i}"))] })
            .collect();
        let png = grid(&tiles, None, 300).unwrap();
        assert!(png.bytes.len() <= MAX_PNG_BYTES, "{}", png.bytes.len());
        assert!(png.width < 900);
    }

    #[test]
    fn rows_and_columns() {
        let tile = || Tile { image: Ok(RgbImage::new(80, 40)), captions: vec![Caption::new("x")] };
        let tiles: Vec<Tile> = (0..5).map(|_| tile()).collect();
        let wide = grid(&tiles, Some(5), 80).unwrap();
        let tall = grid(&tiles, Some(1), 80).unwrap();
        assert!(wide.width > 4 * tall.width && tall.height > 4 * wide.height);
        let broken = Tile { image: Err("not an image: the file is empty".into()), captions: vec![] };
        assert!(grid(&[broken], Some(0), 80).unwrap().width >= MIN_CELL);
    }
}
