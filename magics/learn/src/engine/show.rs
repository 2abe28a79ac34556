//! `show`: images inline, as one grid.

use super::Learn;
use super::data::short_reason;
use crate::decode::decode;
use crate::features::{fatal, reader::read_ahead};
use crate::picture::grid::{Caption, MAX_TILES, Tile, grid};
use crate::place::{FileRef, Place};
use crate::transform::thumbnail;
use dds_core::mime::printable;
use dds_core::table::count;
use dds_core::{Cx, Error, Outcome, Result, request as rq};
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
        let mut tiles: Vec<Option<Tile>> = names.iter().map(|_| None).collect();
        let mut shown: Vec<Value> = vec![Value::Null; n];
        let mut alt: Vec<String> = vec![String::new(); n];
        let mut failed: Vec<(usize, Error)> = Vec::new();
        let mut done = 0;
        read_ahead(&files, &(0..n).collect::<Vec<_>>(), cx, |i, read| {
            let (folder, name) = names[i].rsplit_once('/').map_or(("", names[i].as_str()), |(d, n)| (d, n));
            let mut captions = vec![Caption::new(printable(name))];
            let image = match read.and_then(|b| decode(&names[i], &b)) {
                Ok(image) => {
                    let (w, h) = image.dimensions();
                    let folder =
                        if folder.is_empty() { String::new() } else { format!("{} · ", printable(folder)) };
                    captions.push(Caption::faint(format!("{folder}{w}×{h}")));
                    shown[i] = json!({"path": names[i], "width": w, "height": h});
                    alt[i] = format!("{} ({w}×{h})", printable(&names[i]));
                    Ok(thumbnail(&image, r.size)?)
                }
                Err(e) if fatal(e.kind) => return Err(e),
                Err(e) => {
                    alt[i] = printable(&e.message);
                    let reason = short_reason(&e.message);
                    failed.push((i, e));
                    Err(reason)
                }
            };
            tiles[i] = Some(Tile { image, captions });
            done += 1;
            cx.items("images", done, n);
            Ok(())
        })?;
        failed.sort_by_key(|(i, _)| *i);
        if failed.len() == n
            && let Some((_, first)) = failed.first()
        {
            let more = if n > 1 { format!(" (and {} more)", n - 1) } else { String::new() };
            return Err(Error { message: format!("{}{more}", first.message), ..first.clone() });
        }
        let tiles: Vec<Tile> = tiles.into_iter().flatten().collect();
        let png = grid(&tiles, r.columns, r.size)?;
        self.write_picture(&png, r.out.as_ref(), cx)?;
        let what = if all > n { format!("{n} of {}", count(all, "image")) } else { count(n, "image") };
        let reasons: Vec<String> = failed.iter().map(|(_, e)| printable(&e.message)).collect();
        let json = json!({
            "images": shown.into_iter().filter(|v| !v.is_null()).collect::<Vec<_>>(),
            "found": all,
            "failed": failed.iter().map(|(i, e)| json!({"path": names[*i], "reason": e.message})).collect::<Vec<_>>(),
            "picture": {"width": png.width, "height": png.height, "bytes": png.bytes.len()},
        });
        Ok(Outcome::new(what.clone(), json)
            .detail(reasons.join("\n"))
            .display(png.bundle(format!("Picture of {what}: {}", alt.join(", ")))))
    }
}
