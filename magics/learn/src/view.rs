//! Images as they are shown: a part of them, mirrored, and 16-bit ones with their values spread over what a
//! screen can show.

use dds_core::{Error, Result};
use image::{ColorType, DynamicImage};

/// What to show of each image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    /// Left, top, width, height, in pixels of the upright image.
    crop: Option<[u32; 4]>,
    across: bool,
    down: bool,
}

impl Shape {
    /// Of the flags of `show`. Errors (`Usage`).
    pub fn parse(crop: Option<&str>, flip: Option<&str>) -> Result<Self> {
        let crop = crop.map(parse_crop).transpose()?;
        let (across, down) = match flip {
            None => (false, false),
            Some("horizontal") => (true, false),
            Some("vertical") => (false, true),
            Some("both") => (true, true),
            Some(other) => {
                return Err(Error::usage(format!("flip {other:?} is not one of horizontal, vertical, both")));
            }
        };
        Ok(Self { crop, across, down })
    }

    pub fn is_part(&self) -> bool {
        self.crop.is_some()
    }

    /// Cuts and mirrors. Errors (`Usage`) when the part lies outside the image.
    pub fn apply(&self, mut image: DynamicImage) -> Result<DynamicImage> {
        if let Some([x, y, w, h]) = self.crop {
            let (iw, ih) = (image.width(), image.height());
            if x >= iw || y >= ih {
                return Err(Error::usage(format!("the part lies outside: the image has {iw}×{ih} pixels")));
            }
            image = image.crop_imm(x, y, w.min(iw - x), h.min(ih - y));
        }
        if self.across {
            image = image.fliph();
        }
        Ok(if self.down { image.flipv() } else { image })
    }
}

fn parse_crop(text: &str) -> Result<[u32; 4]> {
    let numbers: Option<Vec<u32>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[x, y, w, h]) if w > 0 && h > 0 => Ok([x, y, w, h]),
        _ => Err(Error::usage(format!("--crop takes four numbers of pixels, not {text:?}"))
            .hint("left, top, width, height: --crop 100,50,640,480")),
    }
}

/// Grey images of 16 bits whose values use a small part of the range would be black: the values between
/// the smallest and the largest become all of it. Says which values those were.
pub fn spread(image: DynamicImage) -> (DynamicImage, Option<(u16, u16)>) {
    if !matches!(image.color(), ColorType::L16) {
        return (image, None);
    }
    let mut grey = image.into_luma16();
    let low = grey.iter().min().copied().unwrap_or(0);
    let high = grey.iter().max().copied().unwrap_or(u16::MAX);
    let range = u32::from(high - low);
    if range == 0 || range > u32::from(u16::MAX / 2) {
        return (grey.into(), None);
    }
    for value in grey.iter_mut() {
        *value = (u32::from(*value - low) * u32::from(u16::MAX) / range) as u16;
    }
    (grey.into(), Some((low, high)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, ImageBuffer, Luma};

    #[test]
    fn parts_and_mirrors() {
        let image: DynamicImage = GrayImage::from_fn(10, 4, |x, y| Luma([(x * 10 + y) as u8])).into();
        let at = |crop: Option<&str>, flip: Option<&str>, x: u32, y: u32| {
            let shown = Shape::parse(crop, flip).unwrap().apply(image.clone()).unwrap().into_luma8();
            (shown.dimensions(), shown.get_pixel(x, y).0[0])
        };
        assert_eq!(at(Some("2,1,3,2"), None, 0, 0), ((3, 2), 21));
        assert_eq!(at(Some("8, 3, 99, 99"), None, 1, 0), ((2, 1), 93));
        assert_eq!(at(None, Some("horizontal"), 0, 0), ((10, 4), 90));
        assert_eq!(at(Some("2,1,3,2"), Some("both"), 0, 0), ((3, 2), 42));
        assert!(Shape::parse(Some("10,0,1,1"), None).unwrap().apply(image.clone()).is_err());
        for wrong in ["1,2,3", "a,b,c,d", "0,0,0,5", "1,2,3,4,5", "-1,0,2,2"] {
            assert!(Shape::parse(Some(wrong), None).is_err(), "{wrong}");
        }
        assert!(Shape::parse(None, Some("up")).is_err());
    }

    #[test]
    fn dim_deep_images_are_brought_to_light() {
        let dim: DynamicImage = ImageBuffer::from_fn(4, 1, |x, _| Luma([1000 + 100 * x as u16])).into();
        let (shown, values) = spread(dim);
        assert_eq!(values, Some((1000, 1300)));
        assert_eq!(shown.into_luma8().into_raw(), [0, 85, 170, 255]);
        let full: DynamicImage = ImageBuffer::from_fn(2, 1, |x, _| Luma([65535 * x as u16])).into();
        assert_eq!(spread(full.clone()), (full, None));
        let even: DynamicImage = ImageBuffer::from_pixel(2, 1, Luma([7_u16])).into();
        assert_eq!(spread(even).1, None);
    }
}
