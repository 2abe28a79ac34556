//! `show`: images inline, as one grid.

use super::Learn;
use super::data::short_reason;
use crate::convert::budget::Budget;
use crate::convert::{Recipe, pictures};
use crate::decode::{MAX_DECODE_BYTES, decode_deep, flat};
use crate::features::{fatal, reader::read_ahead};
use crate::picture::grid::{Caption, MAX_TILES, Tile, grid};
use crate::place::{FileRef, Place};
use crate::transform::thumbnail;
use crate::view::{Shape, spread};
use dds_core::mime::printable;
use dds_core::table::count;
use dds_core::{Cx, Error, ImageKind, Kind, Outcome, Result, request as rq};
use image::{DynamicImage, RgbImage};
use serde_json::{Value, json};

/// Smallest and largest side of a shown image, in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 16..=1600;

impl Learn {
    pub(super) fn run_show(&self, r: &rq::Show, cx: &Cx) -> Result<Outcome> {
        if !SIDES.contains(&r.size) {
            let why = format!("size {} is out of range: {} to {} pixels", r.size, SIDES.start(), SIDES.end());
            return Err(Error::usage(why));
        }
        let (mut files, mut names): (Vec<FileRef>, Vec<String>) = (Vec::new(), Vec::new());
        for target in &r.targets {
            let place = Place::find(target, self.resolver.as_ref(), cx)?;
            let listing = place.images(cx)?;
            if listing.files.is_empty() {
                let why =
                    format!("{}: no images in this folder ({} other files)", place.shown, listing.other);
                return Err(Error::not_found(why).hint("%dds ls -r lists the folder"));
            }
            for f in listing.files {
                let below = f.path.strip_prefix(&place.path).unwrap_or_default();
                names.push(if listing.single { f.path.name().to_owned() } else { below.to_string() });
                files.push(f);
            }
        }
        let all = files.len();
        let most = r.max.clamp(1, MAX_TILES);
        if all > most {
            // Evenly over the list, so that a folder of classes shows all of them.
            let keep: Vec<usize> = (0..most).map(|i| i * all / most).collect();
            files = keep.iter().map(|i| files[*i].clone()).collect();
            names = keep.iter().map(|i| names[*i].clone()).collect();
        }
        let n = files.len();
        let shape = Shape::parse(r.crop.as_deref(), r.flip.as_deref())?;
        let mut tiles: Vec<Vec<Tile>> = names.iter().map(|_| Vec::new()).collect();
        let mut shown: Vec<Vec<Value>> = vec![Vec::new(); n];
        let mut alt: Vec<String> = vec![String::new(); n];
        let mut failed: Vec<(usize, Error)> = Vec::new();
        let mut done = 0;
        let mut put = |i: usize, result: Result<Vec<Seen>>| {
            let (folder, name) = names[i].rsplit_once('/').map_or(("", names[i].as_str()), |(d, n)| (d, n));
            match result {
                Ok(seen) => {
                    alt[i] = printable(&names[i]);
                    for s in seen {
                        let (w, h) = s.full;
                        let mut about = if folder.is_empty() { vec![] } else { vec![printable(folder)] };
                        about.extend(s.page.map(|(page, all)| format!("page {page} of {all}")));
                        about.push(format!("{w}×{h}"));
                        about.extend(s.values.map(|(low, high)| format!("values {low}–{high}")));
                        alt[i].push_str(&format!(" ({w}×{h})"));
                        shown[i].push(json!({
                            "path": names[i], "width": w, "height": h, "page": s.page.map(|(page, _)| page),
                        }));
                        let captions = vec![Caption::new(printable(name)), Caption::faint(about.join(" · "))];
                        tiles[i].push(Tile { image: Ok(s.image), captions });
                    }
                }
                Err(e) if fatal(e.kind) => return Err(e),
                Err(e) => {
                    alt[i] = printable(&e.message);
                    let captions = vec![Caption::new(printable(name))];
                    tiles[i].push(Tile { image: Err(short_reason(&e.message)), captions });
                    failed.push((i, e));
                }
            }
            done += 1;
            cx.items("images", done, n);
            Ok(())
        };
        // A TIFF may have pages, and be larger than memory.
        let (tiffs, others): (Vec<usize>, Vec<usize>) =
            (0..n).partition(|i| ImageKind::of_name(&names[*i]) == Some(ImageKind::Tiff));
        read_ahead(&files, &others, cx, |i, read| {
            let seen = read.and_then(|b| decode_deep(&names[i], &b)).and_then(|image| {
                let full = (image.width(), image.height());
                Ok(vec![seen(image, full, None, &shape, r.size)?])
            });
            put(i, seen)
        })?;
        for i in tiffs {
            put(i, tiff(&files[i], &names[i], &shape, r.size, most, cx))?;
        }
        failed.sort_by_key(|(i, _)| *i);
        if failed.len() == n
            && let Some((_, first)) = failed.first()
        {
            let more = if n > 1 { format!(" (and {} more)", n - 1) } else { String::new() };
            return Err(Error { message: format!("{}{more}", first.message), ..first.clone() });
        }
        let pages = shown.iter().map(Vec::len).max().unwrap_or(0);
        let mut tiles: Vec<Tile> = tiles.into_iter().flatten().collect();
        tiles.truncate(most);
        let png = grid(&tiles, r.columns, r.size)?;
        self.write_picture(&png, r.out.as_ref(), cx)?;
        let what = if all > n { format!("{n} of {}", count(all, "image")) } else { count(n, "image") };
        let what = if pages > 1 { format!("{what}, {}", count(tiles.len(), "page")) } else { what };
        let reasons: Vec<String> = failed.iter().map(|(_, e)| printable(&e.message)).collect();
        let json = json!({
            "images": shown.into_iter().flatten().collect::<Vec<_>>(),
            "found": all,
            "failed": failed.iter().map(|(i, e)| json!({"path": names[*i], "reason": e.message})).collect::<Vec<_>>(),
            "picture": {"width": png.width, "height": png.height, "bytes": png.bytes.len()},
        });
        Ok(Outcome::new(what.clone(), json)
            .detail(reasons.join("\n"))
            .display(png.bundle(format!("Picture of {what}: {}", alt.join(", ")))))
    }
}

/// One picture, small enough to be shown.
struct Seen {
    image: RgbImage,
    /// Width and height in its file.
    full: (u32, u32),
    page: Option<(usize, usize)>,
    /// The values that were spread over what a screen shows.
    values: Option<(u16, u16)>,
}

fn seen(
    image: DynamicImage,
    full: (u32, u32),
    page: Option<(usize, usize)>,
    shape: &Shape,
    side: u32,
) -> Result<Seen> {
    let (image, values) = spread(shape.apply(image)?);
    Ok(Seen { image: thumbnail(&flat(image), side)?, full, page, values })
}

/// The first pages of a TIFF; one that is larger than memory is scaled down while it is read.
fn tiff(file: &FileRef, name: &str, shape: &Shape, side: u32, most: usize, cx: &Cx) -> Result<Vec<Seen>> {
    // A part keeps its pixels.
    let max_size = (!shape.is_part()).then_some(side);
    let recipe = Recipe { format: None, max_size, quality: 100, memory: MAX_DECODE_BYTES };
    let mut found = Vec::new();
    let budget = Budget::new(recipe.memory);
    let done = pictures(file, &recipe, most, &budget, cx, &mut |_, p| {
        found.push(seen(p.image, p.full, p.page, shape, side)?);
        Ok(())
    });
    match done {
        Ok(()) => Ok(found),
        Err(e) if e.kind == Kind::Limit && shape.is_part() => {
            Err(e.context(name).hint("without --crop it is made smaller while it is read"))
        }
        Err(e) => Err(e.context(name)),
    }
}
