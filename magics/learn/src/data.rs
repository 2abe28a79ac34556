//! Data sets: which images, their labels, which of them validate, and how they become square.
//!
//! Made from a listing alone; no image is read. A data set is saved as its recipe and the pinned
//! source, so that another process builds the same one.

pub mod labels;
pub mod split;

use crate::place::{FileRef, Pinned, Place};
use crate::store::{Workspace, check_name, name_from, write_file};
use crate::transform::{Resize, Transform};
use dds_core::{Cx, Digest, Error, Kind, RepoPath, Resolver, Result, Source, request as rq};
use labels::Labels;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use split::Split;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Most images of a data set.
pub const MAX_IMAGES: usize = 200_000;
/// Most classes of a data set.
pub const MAX_CLASSES: usize = 1000;
/// Fewer training images than this in a class are warned about.
pub const FEW: usize = 5;
/// Largest saved recipe, in bytes.
const MAX_RECIPE_BYTES: u64 = 1 << 20;
/// Version of the saved form.
const FORMAT: u32 = 1;

/// One labelled image.
#[derive(Clone, Debug)]
pub struct Item {
    /// Inside the source.
    pub path: RepoPath,
    pub size: Option<u64>,
    pub digest: Option<Digest>,
    /// Index into the classes.
    pub label: usize,
    pub valid: bool,
}

/// How a data set is made; what `.dds/data/<name>.toml` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    pub format: u32,
    pub labels: String,
    pub split: String,
    pub valid: f64,
    pub seed: u64,
    pub transform: Transform,
    /// Digest of the list of files, labels and split, to see whether a folder has changed.
    pub fingerprint: String,
    pub images: usize,
    pub place: Pinned,
}

/// A data set with its files.
pub struct DataSet {
    pub name: String,
    pub recipe: Recipe,
    pub place: Place,
    /// Sorted by their bytes.
    pub classes: Vec<String>,
    /// Sorted by class, then by path.
    pub items: Vec<Item>,
    /// Images without a label, left out.
    pub unlabelled: Vec<RepoPath>,
    /// Files that are not images by name.
    pub other: usize,
}

impl DataSet {
    /// Builds the data set that the request describes.
    ///
    /// Errors: `NotFound` without images, `Usage` for labels or a split that cannot be, `Limit`.
    pub fn build(r: &rq::Data, resolver: &dyn Resolver, cx: &Cx) -> Result<Self> {
        if r.path.is_empty() {
            return Err(
                Error::usage("a data set needs the folder of its images").hint("%dds data --path FOLDER")
            );
        }
        // All of the request is checked before anything is listed.
        Labels::parse(&r.labels)?;
        Split::parse(&r.split, r.valid, r.seed)?;
        let transform = Transform::new(r.size, r.resize.parse::<Resize>()?)?;
        let place = Place::find(&r.path, resolver, cx)?;
        let name = match &r.name {
            Some(n) => {
                check_name(n)?;
                n.clone()
            }
            None => name_from(&place.name(), "data"),
        };
        let recipe = Recipe {
            format: FORMAT,
            labels: r.labels.clone(),
            split: r.split.clone(),
            valid: r.valid,
            seed: r.seed,
            transform,
            fingerprint: String::new(),
            images: 0,
            place: place.pinned(),
        };
        Self::list(name, recipe, place, cx)
    }

    fn list(name: String, mut recipe: Recipe, place: Place, cx: &Cx) -> Result<Self> {
        let labels = Labels::parse(&recipe.labels)?;
        let split = Split::parse(&recipe.split, recipe.valid, recipe.seed)?;
        let listing = place.images(cx)?;
        if listing.single {
            return Err(Error::usage(format!("{}: a data set is a folder, this is a file", place.shown)));
        }
        if listing.files.is_empty() {
            return Err(Error::not_found(format!(
                "{}: no images in this folder ({} other files)",
                place.shown, listing.other
            ))
            .hint("JPEG, PNG, WebP, GIF, BMP and TIFF files count, by their suffix; %dds ls -r lists the folder"));
        }
        if listing.files.len() > MAX_IMAGES {
            return Err(Error::new(
                Kind::Limit,
                format!("{}: {} images, the limit is {MAX_IMAGES}", place.shown, listing.files.len()),
            )
            .hint("give a subfolder"));
        }
        let mut by_class: BTreeMap<String, Vec<FileRef>> = BTreeMap::new();
        let mut unlabelled = Vec::new();
        for file in listing.files {
            let below = file.path.strip_prefix(&place.path).unwrap_or_default();
            match labels.of(&below) {
                Some(label) => by_class.entry(label).or_default().push(file),
                None => unlabelled.push(file.path),
            }
        }
        if by_class.is_empty() {
            let all = unlabelled.len();
            let (what, hint) = match labels {
                Labels::Folder => (
                    format!("{}: none of {all} images is in a folder that could name its class", place.shown),
                    "put each class into a folder of its name, or use --labels 're:(.+)_\\d+\\.jpg'",
                ),
                Labels::Pattern(_) => (
                    format!("{}: the pattern of the labels matches none of {all} images", place.shown),
                    "the pattern is searched in the path below the folder; its first group is the label",
                ),
            };
            return Err(Error::usage(what).hint(hint));
        }
        if by_class.len() > MAX_CLASSES {
            return Err(Error::new(
                Kind::Limit,
                format!("{}: {} classes, the limit is {MAX_CLASSES}", place.shown, by_class.len()),
            )
            .hint("does the pattern of the labels take in too much of the path?"));
        }
        let mut items = Vec::new();
        let mut classes = Vec::new();
        for (label, (class, mut files)) in by_class.into_iter().enumerate() {
            files.sort_by(|a, b| a.path.cmp(&b.path));
            classes.push(class);
            items.extend(files.into_iter().map(|f| Item {
                path: f.path,
                size: f.size,
                digest: f.digest,
                label,
                valid: false,
            }));
        }
        split.assign(&mut items, &classes, &place.path)?;
        recipe.fingerprint = fingerprint(&place, &items, &classes);
        recipe.images = items.len();
        Ok(Self { name, recipe, place, classes, items, unlabelled, other: listing.other })
    }

    /// Writes `.dds/data/<name>.toml`.
    pub fn save(&self, workspace: &Workspace) -> Result<()> {
        workspace.prepare("data")?;
        let text =
            toml::to_string(&self.recipe).map_err(|e| Error::internal(format!("writing TOML: {e}")))?;
        let head =
            format!("# Data set {:?}, written by dds. Other runs read it; safe to delete.\n", self.name);
        write_file(&workspace.data_file(&self.name), (head + &text).as_bytes())
    }

    /// Builds a saved data set again. A folder that has changed since is noted, not refused.
    pub fn open(name: &str, workspace: &Workspace, resolver: &dyn Resolver, cx: &Cx) -> Result<Self> {
        check_name(name)?;
        let path = workspace.data_file(name);
        let bytes = crate::local::read_bounded(&path, MAX_RECIPE_BYTES)?;
        let bad = |why: String| {
            Error::new(Kind::Format, format!("{}: {why}", path.display()))
                .hint("define the data set again: %dds data --path FOLDER")
        };
        let text = String::from_utf8(bytes).map_err(|_| bad("not text".into()))?;
        let recipe: Recipe = toml::from_str(&text).map_err(|e| bad(e.message().to_owned()))?;
        if recipe.format != FORMAT {
            return Err(bad(format!("format {} is not known to this version", recipe.format)));
        }
        Transform::new(recipe.transform.size, recipe.transform.resize)?;
        let (before, images) = (recipe.fingerprint.clone(), recipe.images);
        let place = recipe.place.open(resolver, cx).map_err(|e| e.context(format!("data set {name:?}")))?;
        let set = Self::list(name.to_owned(), recipe, place, cx)?;
        if set.recipe.fingerprint != before {
            cx.sink.note(&format!(
                "{}: the files have changed since the data set was defined ({images} images then, {} now)",
                set.place.shown,
                set.items.len()
            ));
        }
        Ok(set)
    }

    pub fn file(&self, item: &Item) -> FileRef {
        FileRef {
            source: self.place.source.clone(),
            path: item.path.clone(),
            size: item.size,
            digest: item.digest,
        }
    }

    pub fn source(&self) -> &Arc<dyn Source> {
        &self.place.source
    }

    /// The path below the data set's folder, as tables and captions show it.
    pub fn shown(&self, path: &RepoPath) -> String {
        path.strip_prefix(&self.place.path).unwrap_or_else(|| path.clone()).to_string()
    }

    /// Per class: training images, validation images, bytes (none when a size is not known).
    pub fn counts(&self) -> Vec<ClassCount> {
        let mut out: Vec<ClassCount> = self
            .classes
            .iter()
            .map(|c| ClassCount { class: c.clone(), train: 0, valid: 0, bytes: Some(0) })
            .collect();
        for i in &self.items {
            if let Some(c) = out.get_mut(i.label) {
                if i.valid {
                    c.valid += 1
                } else {
                    c.train += 1
                }
                c.bytes = c.bytes.zip(i.size).map(|(a, b)| a + b);
            }
        }
        out
    }

    /// What could make training fail or its result mislead, in words.
    pub fn warnings(&self) -> Vec<String> {
        let counts = self.counts();
        let list = |names: Vec<&str>| {
            let more = names.len().saturating_sub(5);
            let head = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            if more > 0 { format!("{head} and {more} more") } else { head }
        };
        let mut out = Vec::new();
        if self.classes.len() == 1 {
            out.push(format!("only one class, {:?}: there is nothing to tell apart", self.classes[0]));
        }
        let few: Vec<&str> = counts.iter().filter(|c| c.train < FEW).map(|c| c.class.as_str()).collect();
        if !few.is_empty() {
            out.push(format!("fewer than {FEW} training images: {}", list(few)));
        }
        let none: Vec<&str> = counts.iter().filter(|c| c.valid == 0).map(|c| c.class.as_str()).collect();
        if none.len() == counts.len() {
            out.push("no validation images: nothing can be measured".into());
        } else if !none.is_empty() {
            out.push(format!("no validation images: {}", list(none)));
        }
        let sizes = || counts.iter().map(|c| c.train + c.valid);
        let (most, least) = (sizes().max().unwrap_or(0), sizes().min().unwrap_or(0));
        if least > 0 && most >= 10 * least {
            out.push(format!(
                "the largest class has {} times the images of the smallest: look at balanced accuracy",
                most / least
            ));
        }
        if let Some(first) = self.unlabelled.first() {
            out.push(format!(
                "{} left out for want of a label, the first is {:?}",
                dds_core::table::count(self.unlabelled.len(), "image"),
                self.shown(first)
            ));
        }
        let train: HashSet<Digest> =
            self.items.iter().filter(|i| !i.valid).filter_map(|i| i.digest).collect();
        let copies =
            self.items.iter().filter(|i| i.valid && i.digest.is_some_and(|d| train.contains(&d))).count();
        if copies > 0 {
            out.push(format!(
                "{} identical to a training image",
                dds_core::table::count(copies, "validation image")
            ));
        }
        out
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassCount {
    pub class: String,
    pub train: usize,
    pub valid: usize,
    pub bytes: Option<u64>,
}

/// SHA-256 over path, content or size, label and split of every item; 32 hexadecimal digits of it.
fn fingerprint(place: &Place, items: &[Item], classes: &[String]) -> String {
    let mut hash = Sha256::new();
    for i in items {
        let below = i.path.strip_prefix(&place.path).unwrap_or_default();
        let content = i.digest.map_or_else(|| format!("{:?}", i.size), |d| d.to_string());
        let class = classes.get(i.label).map_or("", String::as_str);
        hash.update(format!("{below}\0{content}\0{class}\0{}\n", u8::from(i.valid)));
    }
    hex::encode(&hash.finalize()[..16])
}
