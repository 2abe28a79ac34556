//! Patterns of `history_request`: `*`, `?` and literal characters.

/// Whether all of `text` fits a pattern of `*`, `?` and literal characters. Linear in memory and at
/// worst the product of both lengths in time.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut rest = text.chars();
    let mut want = pattern.chars();
    // Where to go on when a guess about the last star fails: after the star, one character later.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut ahead = want.clone();
        match ahead.next() {
            Some('*') => {
                want = ahead;
                retry = Some((want.clone(), rest.clone()));
                continue;
            }
            Some(c) => {
                let mut after = rest.clone();
                if after.next().is_some_and(|t| c == '?' || c == t) {
                    (want, rest) = (ahead, after);
                    continue;
                }
            }
            None if rest.clone().next().is_none() => return true,
            None => {}
        }
        let Some((after_star, from)) = &mut retry else { return false };
        if from.next().is_none() {
            return false;
        }
        (want, rest) = (after_star.clone(), from.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*é?*", "caféx", true),
            ("?", "", false),
            ("a*b*c*d", "aXbXcXbXcX", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_ends() {
        assert!(!glob(&"*a".repeat(50), &"a".repeat(49)));
        assert!(glob(&"*a".repeat(50), &"a".repeat(50)));
    }
}
