use super::*;
use crate::local::LocalTree;
use crate::pages::tests::tiff_of;
use dds_core::RepoPath;
use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use std::io::Cursor;
use std::sync::Arc;

const RECIPE: Recipe = Recipe { format: Some(Format::Png), max_size: None, quality: 90, memory: 64 << 20 };

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn all(bytes: &[u8], recipe: &Recipe) -> Result<Vec<Made>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x"), bytes).unwrap();
    let source = Arc::new(LocalTree::new(dir.path()));
    let file = FileRef { source, path: RepoPath::parse("x").unwrap(), size: None, digest: None };
    let mut out = Vec::new();
    let mut take = |made| {
        out.push(made);
        Ok(())
    };
    convert(&file, recipe, &Budget::new(recipe.memory), &Cx::silent("/"), &mut take)?;
    Ok(out)
}

fn one(bytes: &[u8], recipe: &Recipe) -> DynamicImage {
    let made = all(bytes, recipe).unwrap();
    assert_eq!(made.len(), 1);
    let image = image::load_from_memory(&made[0].bytes).unwrap();
    assert_eq!((image.width(), image.height()), (made[0].width, made[0].height));
    assert_eq!(ImageKind::of(&made[0].bytes), Some(made[0].format.kind()));
    image
}

#[test]
fn sixteen_bits_stay_where_the_format_has_them() {
    let deep: DynamicImage = ImageBuffer::from_fn(40, 20, |x, y| Luma([(x * 1500 + y * 100) as u16])).into();
    let bytes = encoded(&deep, ImageFormat::Png);
    for format in [Format::Png, Format::Tiff] {
        let got = one(&bytes, &Recipe { format: Some(format), ..RECIPE });
        let wide: Vec<u16> = got.to_luma16().into_raw();
        assert_eq!(wide, deep.to_luma16().into_raw(), "{format:?}");
    }
    let got = one(&bytes, &Recipe { format: Some(Format::Jpeg), ..RECIPE });
    let worst = got.to_luma8().iter().zip(deep.to_luma8().iter()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst.unwrap() < 8 && !got.color().has_color());
    let small = one(&bytes, &Recipe { max_size: Some(10), ..RECIPE });
    assert_eq!((small.width(), small.height(), small.color()), (10, 5, image::ColorType::L16));
}

#[test]
fn transparency_stays_or_becomes_white() {
    let mut image = RgbaImage::from_pixel(9, 9, Rgba([200, 0, 0, 255]));
    image.put_pixel(4, 4, Rgba([0, 0, 0, 0]));
    let bytes = encoded(&image.clone().into(), ImageFormat::Png);
    for format in [Format::Png, Format::WebP, Format::Tiff] {
        assert_eq!(one(&bytes, &Recipe { format: Some(format), ..RECIPE }).to_rgba8(), image, "{format:?}");
    }
    let clear = RgbaImage::from_pixel(16, 16, Rgba([0, 0, 0, 0]));
    let got =
        one(&encoded(&clear.into(), ImageFormat::Png), &Recipe { format: Some(Format::Jpeg), ..RECIPE });
    assert!(got.to_rgb8().iter().all(|v| *v > 250));
}

#[test]
fn the_picture_stands_upright() {
    let image = RgbImage::from_fn(30, 10, |x, _| if x < 15 { Rgb([250, 0, 0]) } else { Rgb([0, 0, 250]) });
    let jpeg = encoded(&image.into(), ImageFormat::Jpeg);
    // One EXIF entry: orientation 6, to be turned clockwise.
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    let mut turned = jpeg[..2].to_vec();
    turned.extend([0xff, 0xe1]);
    turned.extend(((exif.len() + 2) as u16).to_be_bytes());
    turned.append(&mut exif);
    turned.extend(&jpeg[2..]);
    for max_size in [None, Some(15)] {
        let got = one(&turned, &Recipe { max_size, ..RECIPE }).to_rgb8();
        assert!(got.height() == 3 * got.width());
        let (top, bottom) = (got.get_pixel(1, 1).0, got.get_pixel(1, got.height() - 2).0);
        assert!(top[0] > 200 && bottom[2] > 200, "{top:?} {bottom:?}");
    }
}

#[test]
fn every_page_is_a_picture() {
    let colours = [[200, 0, 0], [0, 200, 0], [0, 0, 200]];
    let made = all(&tiff_of(&colours), &RECIPE).unwrap();
    assert_eq!(made.iter().map(|m| m.page).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    for (made, colour) in made.iter().zip(colours) {
        assert_eq!(image::load_from_memory(&made.bytes).unwrap().to_rgb8().get_pixel(2, 2).0, colour);
    }
    assert_eq!(all(&tiff_of(&colours[..1]), &RECIPE).unwrap()[0].page, None);
}

/// A TIFF in strips of a few rows, as scanners write them.
fn striped(image: &GrayImage) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut out).unwrap();
    let mut page =
        encoder.new_image::<tiff::encoder::colortype::Gray8>(image.width(), image.height()).unwrap();
    page.rows_per_strip(16).unwrap();
    let mut at = 0;
    while page.next_strip_sample_count() > 0 {
        let n = page.next_strip_sample_count() as usize;
        page.write_strip(&image.as_raw()[at..at + n]).unwrap();
        at += n;
    }
    page.finish().unwrap();
    out.into_inner()
}

#[test]
fn a_giant_tiff_is_scaled_within_its_memory() {
    // 6 MB of pixels, 2 MB of memory: left half dark, right half light.
    let giant = GrayImage::from_fn(3000, 2000, |x, _| Luma([if x < 1500 { 40 } else { 200 }]));
    let bytes = striped(&giant);
    let tight = Recipe { memory: 2 << 20, ..RECIPE };
    let e = all(&bytes, &tight).unwrap_err();
    assert!(e.kind == Kind::Limit && e.hint.unwrap().contains("--max-size"));
    let small = one(&bytes, &Recipe { max_size: Some(300), ..tight }).to_luma8();
    assert_eq!(small.dimensions(), (300, 200));
    assert_eq!((small.get_pixel(10, 100).0, small.get_pixel(290, 5).0), ([40], [200]));
    let png = encoded(&giant.into(), ImageFormat::Png);
    assert_eq!(all(&png, &Recipe { max_size: Some(300), ..tight }).unwrap_err().kind, Kind::Limit);
}

#[test]
fn what_is_no_image_is_named() {
    let jpeg = encoded(&RgbImage::new(20, 20).into(), ImageFormat::Jpeg);
    for (bytes, why) in [
        (&b""[..], "empty"),
        (b"<html>", "web page"),
        (&jpeg[..jpeg.len() - 20], "ends early"),
        (b"II*\0\xff\xff\xff\xff", "pages"),
    ] {
        let e = all(bytes, &RECIPE).unwrap_err();
        assert!(e.kind == Kind::Format && e.message.contains(why), "{e}");
    }
}
