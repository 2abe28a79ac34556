//! What a path that does not exist may have been meant to be.

use dds_core::{Cx, RepoPath, Source};

/// Names of a folder that are compared.
const MAX_NAMES: usize = 20_000;
/// Longest name that is compared, in characters.
const MAX_CHARS: usize = 128;

/// The path that exists and differs least, in the deepest folder of `path` that exists.
pub(super) fn nearest(source: &dyn Source, path: &RepoPath, cx: &Cx) -> Option<RepoPath> {
    let (mut missing, mut folder) = (path.clone(), path.parent()?);
    loop {
        if let Ok(entries) = source.list(&folder, false, cx) {
            let wanted = missing.name().to_lowercase();
            let near = |name: &str| distance(&wanted, &name.to_lowercase());
            let found = entries.iter().take(MAX_NAMES).map(|entry| (near(entry.path.name()), &entry.path));
            let (away, found) = found.min_by_key(|(away, _)| *away)?;
            // A third of the letters may be wrong.
            return (away * 3 <= wanted.chars().count().max(3)).then(|| found.clone());
        }
        cx.cancel.check().ok()?;
        (missing, folder) = (folder.clone(), folder.parent()?);
    }
}

/// Letters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().take(MAX_CHARS).collect(), b.chars().take(MAX_CHARS).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let replaced = corner + usize::from(from != to);
            corner = *cell;
            left = replaced.min(left + 1).min(corner + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn letters_that_differ_are_counted() {
        for (a, b, away) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("größe", "grosse", 3),
            ("x", "x", 0),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (away, away), "{a} {b}");
        }
    }
}
