//! The confusion matrix as a picture: rows are the actual class, columns the predicted one.

use super::{Anchor, Canvas, Colour, FAINT, INK, Png, Style, WHITE};
use dds_core::{Error, Result};
use plotters::prelude::*;

/// Most classes of a readable picture.
pub const MAX_CLASSES: usize = 120;

/// ColorBrewer's "Blues" with nine steps (Cynthia Brewer, <https://colorbrewer2.org>), light to dark.
const BLUES: [Colour; 9] = [
    [247, 251, 255],
    [222, 235, 247],
    [198, 219, 239],
    [158, 202, 225],
    [107, 174, 214],
    [66, 146, 198],
    [33, 113, 181],
    [8, 81, 156],
    [8, 48, 107],
];

/// The colour at `share` of the scale, 0 to 1.
fn blue(share: f64) -> Colour {
    let at = share.clamp(0.0, 1.0) * (BLUES.len() - 1) as f64;
    let low = (at as usize).min(BLUES.len() - 2);
    let part = at - low as f64;
    std::array::from_fn(|i| {
        let (a, b) = (f64::from(BLUES[low][i]), f64::from(BLUES[low + 1][i]));
        (a + (b - a) * part).round() as u8
    })
}

/// Draws `counts[actual][predicted]`; with `normalize` cells hold the share of their row in percent.
///
/// Errors: `Limit` past [`MAX_CLASSES`].
pub fn draw(counts: &[Vec<u64>], names: &[String], normalize: bool, title: &str) -> Result<Png> {
    let k = names.len();
    if k > MAX_CLASSES {
        let why = format!("a picture of {k} classes could not be read; the limit is {MAX_CLASSES}");
        return Err(Error::new(dds_core::Kind::Limit, why).hint("read the list of confusions, or use --json"));
    }
    let cell = match k {
        0..=6 => 64,
        7..=10 => 52,
        11..=16 => 42,
        17..=30 => 32,
        31..=60 => 22,
        _ => 14,
    } as u32;
    let number = Style::new(if cell >= 52 { 16.0 } else { (cell as f32 * 0.36).max(7.0) });
    let label = Style::new((cell as f32 * 0.6).clamp(8.0, 14.0));
    let shown: Vec<String> =
        names.iter().map(|n| label.fitted(&dds_core::mime::printable(n), 180.0)).collect::<Result<_>>()?;
    let widest =
        shown.iter().map(|n| label.width(n)).collect::<Result<Vec<_>>>()?.into_iter().fold(0.0, f32::max);
    let flat = widest <= cell as f32 - 4.0;
    let foot = if flat { 26 } else { widest.ceil() as u32 + 16 };
    let (left, top, side) = (widest.ceil() as u32 + 52, 46u32, cell * k as u32);
    let (right, below) = (84u32, foot + 30);
    let (width, height) = (left + side + right, top + side + below);

    let totals: Vec<u64> = counts.iter().map(|r| r.iter().sum()).collect();
    let share = |a: usize, p: usize| counts[a][p] as f64 / totals[a].max(1) as f64;
    let most = counts.iter().flatten().copied().max().unwrap_or(0).max(1);
    let depth = |a: usize, p: usize| if normalize { share(a, p) } else { counts[a][p] as f64 / most as f64 };

    let mut canvas = Canvas::new(width, height);
    {
        let bad = |e: String| Error::internal(format!("drawing a picture: {e}"));
        let area = BitMapBackend::with_buffer(&mut canvas.image, (width, height)).into_drawing_area();
        let colour = |c: Colour| RGBColor(c[0], c[1], c[2]);
        let rect = |x: u32, y: u32, w: u32, h: u32, style: ShapeStyle| {
            let (x, y, w, h) = (x as i32, y as i32, w as i32, h as i32);
            area.draw(&Rectangle::new([(x, y), (x + w, y + h)], style)).map_err(|e| bad(e.to_string()))
        };
        for a in 0..k {
            for p in 0..k {
                let (x, y) = (left + p as u32 * cell, top + a as u32 * cell);
                rect(x, y, cell, cell, colour(blue(depth(a, p))).filled())?;
            }
        }
        let line = colour([214, 220, 228]);
        for i in 0..=k as u32 {
            rect(left + i * cell, top, 0, side, line.stroke_width(1))?;
            rect(left, top + i * cell, side, 0, line.stroke_width(1))?;
        }
        // The scale beside the matrix, dark at the top.
        let bar = left + side + 24;
        for y in 0..side {
            let c = blue(1.0 - f64::from(y) / f64::from(side.max(1)));
            rect(bar, top + y, 14, 1, colour(c).filled())?;
        }
        rect(bar, top, 14, side, line.stroke_width(1))?;
        area.present().map_err(|e| bad(e.to_string()))?;
    }

    for a in 0..k {
        let y = top as f32 + (a as f32 + 0.5) * cell as f32;
        canvas.text(&shown[a], left as f32 - 8.0, y, Anchor::End, label)?;
        for p in 0..k {
            let x = left as f32 + (p as f32 + 0.5) * cell as f32;
            if a == 0 {
                let y = (top + side) as f32;
                if flat {
                    canvas.text(&shown[p], x, y + 14.0, Anchor::Middle, label)?;
                } else {
                    canvas.text_up(&shown[p], x, y + 8.0, Anchor::End, label)?;
                }
            }
            // Zeros are drawn faintly in small matrices and not at all in large ones.
            let zero = counts[a][p] == 0;
            if zero && k > 16 {
                continue;
            }
            let ink = match (zero, depth(a, p) > 0.55) {
                (true, _) => [176, 186, 200],
                (_, true) => WHITE,
                _ => INK,
            };
            let text =
                if normalize { format!("{:.0}%", share(a, p) * 100.0) } else { counts[a][p].to_string() };
            let style = if a == p { number.bold() } else { number };
            canvas.text(&style.fitted(&text, cell as f32)?, x, y, Anchor::Middle, style.colour(ink))?;
        }
    }
    let middle = left as f32 + side as f32 / 2.0;
    let heading = Style::new(15.0).bold();
    let title = heading.fitted(title, (width - 24) as f32)?;
    let half = heading.width(&title)? / 2.0 + 12.0;
    let centre =
        if half * 2.0 > width as f32 { width as f32 / 2.0 } else { middle.clamp(half, width as f32 - half) };
    canvas.text(&title, centre, 22.0, Anchor::Middle, heading)?;
    let axis = Style::new(13.0).colour(FAINT);
    canvas.text("predicted", middle, (height - 16) as f32, Anchor::Middle, axis)?;
    canvas.text_up("actual", 18.0, top as f32 + side as f32 / 2.0, Anchor::Middle, axis)?;
    let (tick, x) = (Style::new(11.0).colour(FAINT), (left + side + 44) as f32);
    let (high, low) = if normalize { ("100%".to_owned(), "0%") } else { (most.to_string(), "0") };
    canvas.text(&high, x, top as f32 + 5.0, Anchor::Start, tick)?;
    canvas.text(low, x, (top + side) as f32 - 5.0, Anchor::Start, tick)?;
    Png::encode(&canvas.image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_runs_from_light_to_dark() {
        assert_eq!((blue(0.0), blue(1.0), blue(-1.0)), (BLUES[0], BLUES[8], BLUES[0]));
        let mut last = 256;
        for i in 0..=20 {
            let now = i32::from(blue(f64::from(i) / 20.0)[0]);
            assert!(now <= last);
            last = now;
        }
    }

    #[test]
    fn cells_and_scale_carry_their_colours() {
        let names = ["a".to_owned(), "b".to_owned()];
        let png = draw(&[vec![10, 0], vec![0, 10]], &names, false, "t").unwrap();
        let image = crate::decode::decode("m.png", &png.bytes).unwrap();
        let count = |c: Colour| image.pixels().filter(|p| p.0 == c).count();
        // Two full cells of 64 × 64 less their numbers and lines; the scale holds every step.
        assert!(count(BLUES[8]) > 6000 && count(BLUES[0]) > 6000);
        assert!((1..8).all(|i| count(BLUES[i]) >= 1 || count(blue(i as f64 / 8.0)) >= 1));
    }

    #[test]
    fn every_number_of_classes_up_to_the_limit() {
        for k in [1, 2, 6, 12, 40, MAX_CLASSES] {
            let names: Vec<String> = (0..k).map(|i| format!("class {i} with a long name")).collect();
            let counts: Vec<Vec<u64>> =
                (0..k).map(|a| (0..k).map(|p| ((a * p) % 7) as u64).collect()).collect();
            for normalize in [false, true] {
                let png = draw(&counts, &names, normalize, "title").unwrap();
                assert!(png.bytes.len() < super::super::MAX_PNG_BYTES, "{k}: {}", png.bytes.len());
            }
        }
        let names = vec![String::new(); MAX_CLASSES + 1];
        let counts = vec![vec![0; MAX_CLASSES + 1]; MAX_CLASSES + 1];
        assert_eq!(draw(&counts, &names, false, "").unwrap_err().kind, dds_core::Kind::Limit);
    }
}
