//! "Did you mean": the nearest of the words that would have been right.

/// Similarity (Jaro-Winkler, 0 to 1) below which a suggestion would rather confuse.
const ENOUGH: f64 = 0.75;

/// The candidate nearest to `given`, if one is near enough.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase().replace('_', "-");
    candidates
        .into_iter()
        .map(|c| (score(&given, &c.to_lowercase().replace('_', "-")), c))
        .filter(|(s, _)| *s >= ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c)
}

fn score(given: &str, candidate: &str) -> f64 {
    // One slip of the finger beats a shared beginning.
    let slip = strsim::damerau_levenshtein(given, candidate) <= 1;
    strsim::jaro_winkler(given, candidate) + if slip { 0.5 } else { 0.0 }
}

/// `a`, `a or b`, `a, b or c`.
pub fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_meant_and_nothing_far_fetched() {
        let commands = ["mount", "mounts", "unmount", "show", "top-losses", "predict", "probe", "ls", "cat"];
        for (given, expected) in [
            ("shwo", Some("show")),
            ("SHOW", Some("show")),
            ("mout", Some("mount")),
            ("toplosses", Some("top-losses")),
            ("top_losses", Some("top-losses")),
            ("pedict", Some("predict")),
            ("umount", Some("unmount")),
            ("l", Some("ls")),
            ("xyzzy", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, commands), expected, "{given}");
        }
    }

    #[test]
    fn lists_read_as_english() {
        let w = |n: usize| ["a", "b", "c"].iter().take(n).map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            (either(&w(1)), either(&w(2)), either(&w(3))),
            ("a".into(), "a or b".into(), "a, b or c".into())
        );
    }
}
