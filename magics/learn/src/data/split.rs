//! Which images validate.
//!
//! Every way is a function of the sorted list and the seed alone. Random choices are a Fisher–Yates
//! shuffle driven by SplitMix64 (Steele, Lea & Flood 2014), so that they can be repeated elsewhere.

use super::Item;
use dds_core::{Error, RepoPath, Result};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq)]
pub enum Split {
    /// A share of every class, chosen by seed and class name: other classes do not matter.
    Stratified { valid: f64, seed: u64 },
    /// A share of all images.
    Random { valid: f64, seed: u64 },
    /// Each Nth of the list sorted by class and path: positions N−1, 2N−1, …
    Every(usize),
    /// What lies below a folder of this name.
    Folder(String),
}

impl Split {
    /// Parses `stratified`, `random`, `every:N` or `folder:NAME`. Errors: `Usage`.
    pub fn parse(text: &str, valid: f64, seed: u64) -> Result<Self> {
        let share = || {
            if valid > 0.0 && valid < 1.0 {
                return Ok(valid);
            }
            Err(Error::usage(format!("valid must be between 0 and 1, not {valid}"))
                .hint("--valid 0.2 is usual"))
        };
        match text.split_once(':') {
            None if text == "stratified" => Ok(Self::Stratified { valid: share()?, seed }),
            None if text == "random" => Ok(Self::Random { valid: share()?, seed }),
            Some(("every", n)) => match n.parse::<usize>() {
                Ok(n) if n >= 2 => Ok(Self::Every(n)),
                _ => Err(Error::usage(format!("split every:{n}: N must be a whole number of 2 or more"))),
            },
            Some(("folder", name)) if !name.is_empty() => Ok(Self::Folder(name.trim_matches('/').to_owned())),
            _ => Err(Error::usage(format!("split {text:?} is not understood"))
                .hint("use stratified, random, every:N or folder:NAME")),
        }
    }

    /// Sets `valid` of all items, which are sorted by class and path. `root` is the folder of the
    /// data set. Errors (`Usage`) when `folder:NAME` finds nothing.
    pub fn assign(&self, items: &mut [Item], classes: &[String], root: &RepoPath) -> Result<()> {
        match self {
            Self::Stratified { valid, seed } => {
                for (label, class) in classes.iter().enumerate() {
                    let of_class: Vec<usize> =
                        (0..items.len()).filter(|i| items[*i].label == label).collect();
                    choose(items, of_class, *valid, seed ^ fnv1a(class));
                }
            }
            Self::Random { valid, seed } => choose(items, (0..items.len()).collect(), *valid, *seed),
            Self::Every(n) => {
                for (at, item) in items.iter_mut().enumerate() {
                    item.valid = at % n == n - 1;
                }
            }
            Self::Folder(name) => {
                let mut seen = BTreeSet::new();
                let mut any = false;
                for item in items.iter_mut() {
                    let below = item.path.strip_prefix(root).and_then(|p| p.parent()).unwrap_or_default();
                    item.valid = below.components().any(|c| c == name);
                    any |= item.valid;
                    seen.extend(below.components().next().map(str::to_owned));
                }
                if !any {
                    let names: Vec<String> = seen.into_iter().take(10).collect();
                    return Err(Error::usage(format!(
                        "split folder:{name}: there is no such folder with images"
                    ))
                    .hint(format!("folders here: {}", names.join(", "))));
                }
            }
        }
        Ok(())
    }
}

/// Marks a share of the items at `places`: the nearest whole number, but at least one, and one less
/// than all. A single item stays in training.
fn choose(items: &mut [Item], mut places: Vec<usize>, share: f64, seed: u64) {
    let n = places.len();
    if n < 2 {
        return;
    }
    let take = ((n as f64 * share).round() as usize).clamp(1, n - 1);
    shuffle(&mut places, seed);
    for at in &places[..take] {
        items[*at].valid = true;
    }
}

/// Fisher–Yates from the end, by SplitMix64.
pub fn shuffle<T>(values: &mut [T], seed: u64) {
    let mut rng = SplitMix64(seed);
    for i in (1..values.len()).rev() {
        values.swap(i, rng.below(i as u64 + 1) as usize);
    }
}

struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly distributed over `0..n`: values past the last whole multiple of `n` are drawn again.
    fn below(&mut self, n: u64) -> u64 {
        let limit = u64::MAX - u64::MAX % n;
        loop {
            let v = self.next();
            if v < limit {
                return v % n;
            }
        }
    }
}

/// FNV-1a, 64 bits.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(sizes: &[usize]) -> (Vec<Item>, Vec<String>) {
        let classes: Vec<String> = (0..sizes.len()).map(|k| format!("c{k}")).collect();
        let mut out = Vec::new();
        for (label, n) in sizes.iter().enumerate() {
            for i in 0..*n {
                let path =
                    RepoPath::parse(&format!("{}/c{label}/{i:03}.jpg", ["train", "val"][i % 2])).unwrap();
                out.push(Item { path, size: None, digest: None, label, valid: false });
            }
        }
        (out, classes)
    }

    fn chosen(split: &str, sizes: &[usize], valid: f64, seed: u64) -> Vec<usize> {
        let (mut items, classes) = items(sizes);
        Split::parse(split, valid, seed).unwrap().assign(&mut items, &classes, &RepoPath::root()).unwrap();
        (0..items.len()).filter(|i| items[*i].valid).collect()
    }

    #[test]
    fn splitmix_gives_the_published_numbers() {
        // First outputs for seed 1234567, from the reference implementation's test.
        let mut r = SplitMix64(1_234_567);
        assert_eq!(
            [r.next(), r.next(), r.next()],
            [6457827717110365317, 3203168211198807973, 9817491932198370423]
        );
    }

    #[test]
    fn stratified_takes_the_share_of_every_class() {
        let got = chosen("stratified", &[60, 10, 2, 1], 0.2, 42);
        let of = |r: std::ops::Range<usize>| got.iter().filter(|i| r.contains(i)).count();
        assert_eq!((of(0..60), of(60..70), of(70..72), of(72..73)), (12, 2, 1, 0));
        assert_eq!(got, chosen("stratified", &[60, 10, 2, 1], 0.2, 42));
        assert_ne!(got, chosen("stratified", &[60, 10, 2, 1], 0.2, 43));
        // A class keeps its split when another one grows.
        let more = chosen("stratified", &[60, 30, 2, 1], 0.2, 42);
        assert!(got.iter().filter(|i| **i < 60).eq(more.iter().filter(|i| **i < 60)));
    }

    #[test]
    fn the_other_ways() {
        assert_eq!(chosen("every:5", &[7, 5], 0.2, 0), [4, 9]);
        assert_eq!(chosen("random", &[10, 10], 0.25, 1).len(), 5);
        assert_eq!(chosen("random", &[1, 1], 0.999, 1).len(), 1);
        assert_eq!(chosen("folder:val", &[4], 0.2, 0), [1, 3]);
    }

    #[test]
    fn nonsense_is_refused() {
        for (split, valid) in [
            ("every:1", 0.2),
            ("every:x", 0.2),
            ("folder:", 0.2),
            ("", 0.2),
            ("random", 0.0),
            ("random", 1.0),
            ("stratified", f64::NAN),
        ] {
            assert!(Split::parse(split, valid, 0).is_err(), "{split} {valid}");
        }
        let (mut list, classes) = items(&[3]);
        let e = Split::parse("folder:test", 0.2, 0)
            .unwrap()
            .assign(&mut list, &classes, &RepoPath::root())
            .unwrap_err();
        assert!(e.hint.unwrap().contains("train, val"));
    }
}
