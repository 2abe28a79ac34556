//! A TIFF that is too large for memory, scaled down while it is read: strip by strip or tile by tile, each
//! pixel of the result the mean of the area that it covers.

use super::budget::Budget;
use super::{Picture, interrupted_or, too_large};
use crate::transform::fit;
use dds_core::{Cx, Error, Kind, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer};
use std::io::{Read, Seek};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

/// Reads a page so that its longest side is at most `size`, with at most `memory` bytes.
///
/// Errors: `Limit` where a single strip or the result is too large, or for colours that are only decoded as
/// a whole; `Format` for damaged files.
pub fn scaled(reader: impl Read + Seek, size: u32, memory: u64, budget: &Budget, cx: &Cx) -> Result<Picture> {
    let broken = |e: tiff::TiffError| match e {
        tiff::TiffError::LimitsExceeded => {
            Error::new(Kind::Limit, "one of its strips is larger than the memory for it")
                .hint("--memory SIZE raises the limit")
        }
        e => interrupted_or(cx, dds_core::mime::printable(&e.to_string()).chars().take(160).collect()),
    };
    let mut limits = tiff::decoder::Limits::default();
    limits.decoding_buffer_size = usize::try_from(memory / 2).unwrap_or(usize::MAX);
    limits.intermediate_buffer_size = limits.decoding_buffer_size;
    limits.ifd_value_size = limits.decoding_buffer_size.min(64 << 20);
    let mut decoder = Decoder::new(reader).map_err(broken)?.with_limits(limits);
    let (w, h) = decoder.dimensions().map_err(broken)?;
    let channels = channels(&mut decoder).map_err(broken)??;
    let (tw, th) = fit(w, h, size.min(w.max(h)));
    let need = u64::from(tw) * u64::from(th) * channels as u64 * 4;
    if need > memory / 2 {
        return Err(too_large(need, memory / 2));
    }
    let (cw, ch) = decoder.chunk_dimensions();
    let strip = u64::from(cw) * u64::from(ch) * channels as u64 * 2;
    let _held = budget.take(need.saturating_add(strip), cx)?;
    let mut mean = Mean::new((w, h), (tw, th), channels);
    let across = w.div_ceil(cw.max(1));
    let chunks = u64::from(across) * u64::from(h.div_ceil(ch.max(1)));
    let mut deep = false;
    for index in 0..u32::try_from(chunks).map_err(|e| Error::new(Kind::Limit, e.to_string()))? {
        cx.cancel.check()?;
        let (left, top) = (index % across * cw, index / across * ch);
        let (width, _) = decoder.chunk_data_dimensions(index);
        match decoder.read_chunk(index).map_err(broken)? {
            DecodingResult::U8(data) => mean.add(&data, left, top, width),
            DecodingResult::U16(data) => {
                deep = true;
                mean.add(&data, left, top, width);
            }
            _ => return Err(unsupported("its samples are neither 8 nor 16 bits")),
        }
    }
    let turn = decoder.find_tag_unsigned::<u16>(Tag::Orientation).ok().flatten();
    let turn = turn.and_then(|t| Orientation::from_exif(t.min(255) as u8));
    let mut image = mean.image(deep)?;
    image.apply_orientation(turn.unwrap_or(Orientation::NoTransforms));
    Ok(Picture { image, profile: None, full: (w, h), page: None })
}

fn unsupported(why: &str) -> Error {
    Error::new(Kind::Limit, format!("too large for memory, and not readable in parts: {why}"))
        .hint("--memory SIZE raises the limit")
}

fn channels<R: Read + Seek>(decoder: &mut Decoder<R>) -> tiff::TiffResult<Result<usize>> {
    let planar = decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration)?;
    let n = match decoder.colortype()? {
        ColorType::Gray(8 | 16) => 1,
        ColorType::GrayA(8 | 16) => 2,
        ColorType::RGB(8 | 16) => 3,
        ColorType::RGBA(8 | 16) => 4,
        _ => return Ok(Err(unsupported("its colours are neither grey nor RGB of 8 or 16 bits"))),
    };
    if n > 1 && planar == Some(2) {
        return Ok(Err(unsupported("its channels are stored apart")));
    }
    Ok(Ok(n))
}

/// How a row or column of the source falls on the result: its first one, and the shares of that and of the
/// next.
#[derive(Clone, Copy)]
struct Share {
    first: usize,
    here: f32,
    next: f32,
}

fn shares(from: u32, to: u32) -> Vec<Share> {
    let scale = f64::from(from) / f64::from(to.max(1));
    let last = to.saturating_sub(1) as usize;
    (0..from)
        .map(|x| {
            let first = ((f64::from(x) / scale) as usize).min(last);
            let end = (first + 1) as f64 * scale;
            let inside = (end - f64::from(x)).clamp(0.0, 1.0);
            let inside = if first == last { 1.0 } else { inside };
            Share { first, here: (inside / scale) as f32, next: ((1.0 - inside) / scale) as f32 }
        })
        .collect()
}

/// Sums over areas.
struct Mean {
    columns: Vec<Share>,
    rows: Vec<Share>,
    width: usize,
    height: usize,
    channels: usize,
    sums: Vec<f32>,
    line: Vec<f32>,
}

impl Mean {
    fn new((w, h): (u32, u32), (tw, th): (u32, u32), channels: usize) -> Self {
        let (width, height) = (tw as usize, th as usize);
        Self {
            columns: shares(w, tw),
            rows: shares(h, th),
            width,
            height,
            channels,
            sums: vec![0.0; width * height * channels],
            line: vec![0.0; width * channels],
        }
    }

    /// Adds a part of the source whose rows are `width` pixels, at `left`, `top`.
    fn add<T: Copy + Into<f32>>(&mut self, data: &[T], left: u32, top: u32, width: u32) {
        let n = self.channels;
        let columns = self.columns.get(left as usize..).unwrap_or_default();
        let rows = self.rows.get(top as usize..).unwrap_or_default();
        let Some(first) = columns.first().map(|c| c.first) else { return };
        for (row, share) in data.chunks_exact((width as usize * n).max(1)).zip(rows) {
            self.line.fill(0.0);
            let mut end = first;
            for (pixel, column) in row.chunks_exact(n).zip(columns) {
                let at = column.first * n;
                for (c, value) in pixel.iter().enumerate() {
                    let value: f32 = (*value).into();
                    self.line[at + c] += value * column.here;
                    if column.next > 0.0 {
                        self.line[at + n + c] += value * column.next;
                    }
                }
                end = column.first + 1 + usize::from(column.next > 0.0);
            }
            let part = first * n..end * n;
            for (line, weight) in [(share.first, share.here), (share.first + 1, share.next)] {
                if weight > 0.0 && line < self.height {
                    let to = &mut self.sums[line * self.width * n..][part.clone()];
                    to.iter_mut().zip(&self.line[part.clone()]).for_each(|(s, v)| *s += v * weight);
                }
            }
        }
    }

    fn image(self, deep: bool) -> Result<DynamicImage> {
        let (w, h) = (self.width as u32, self.height as u32);
        let made = if deep {
            let data: Vec<u16> = self.sums.iter().map(|v| v.round().clamp(0.0, 65535.0) as u16).collect();
            match self.channels {
                1 => ImageBuffer::from_raw(w, h, data).map(DynamicImage::ImageLuma16),
                2 => ImageBuffer::from_raw(w, h, data).map(DynamicImage::ImageLumaA16),
                3 => ImageBuffer::from_raw(w, h, data).map(DynamicImage::ImageRgb16),
                _ => ImageBuffer::from_raw(w, h, data).map(DynamicImage::ImageRgba16),
            }
        } else {
            let data: Vec<u8> = self.sums.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
            match self.channels {
                1 => ImageBuffer::from_raw(w, h, data).map(DynamicImage::ImageLuma8),
                2 => ImageBuffer::from_raw(w, h, data).map(DynamicImage::ImageLumaA8),
                3 => ImageBuffer::from_raw(w, h, data).map(DynamicImage::ImageRgb8),
                _ => ImageBuffer::from_raw(w, h, data).map(DynamicImage::ImageRgba8),
            }
        };
        made.ok_or_else(|| Error::internal("wrong buffer size"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_pixel_counts_once_and_every_result_is_a_mean() {
        for (from, to) in [(7, 3), (100, 100), (1000, 7), (5, 1), (3, 2)] {
            let shares = shares(from, to);
            let mut sums = vec![0.0; to as usize + 1];
            for s in &shares {
                sums[s.first] += s.here;
                sums[s.first + 1] += s.next;
            }
            assert!(sums[to as usize].abs() < 1e-6, "{from} → {to}");
            assert!(sums[..to as usize].iter().all(|s| (s - 1.0).abs() < 1e-4), "{from} → {to}: {sums:?}");
        }
    }

    #[test]
    fn parts_add_up_to_the_mean_of_areas() {
        // 4×2 → 2×1, in two tiles.
        let mut mean = Mean::new((4, 2), (2, 1), 1);
        mean.add(&[0_u8, 40, 80, 120], 0, 0, 2);
        mean.add(&[10_u8, 10, 30, 30], 2, 0, 2);
        let DynamicImage::ImageLuma8(image) = mean.image(false).unwrap() else { panic!() };
        assert_eq!(image.into_raw(), [60, 20]);
    }
}
