//! Names for files that come from the web.

use super::Wanted;
use crate::percent;
use dds_core::ImageKind;
use sha2::{Digest, Sha256};

/// Of the part before the suffix, in bytes.
const MAX_STEM: usize = 80;

/// The name for an image of `kind` at its `attempt` (0, 1, …): each one is another, and the same in the
/// next run. Letters, digits and `-_.` of the address's last part stay; it begins with a letter or digit.
pub fn name(wanted: &Wanted, kind: ImageKind, attempt: usize) -> String {
    let last = wanted.url.path_segments().and_then(|mut s| s.rfind(|p| !p.is_empty())).unwrap_or_default();
    let last = percent::decode(last).unwrap_or_else(|| last.to_owned());
    let last = match ImageKind::of_name(&last) {
        Some(_) => last.rsplit_once('.').map_or(last.as_str(), |(stem, _)| stem),
        None => &last,
    };
    let plain: String =
        last.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let plain = plain.trim_start_matches(|c: char| !c.is_alphanumeric()).trim_end_matches(['.', '_', '-']);
    let mut end = plain.len().min(MAX_STEM);
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    let stem = match plain.get(..end) {
        None | Some("") => "image",
        Some(stem) => stem,
    };
    let digest = hex::encode(Sha256::digest(super::shown(&wanted.url)));
    match attempt {
        0 => format!("{stem}.{}", kind.suffix()),
        n => format!("{stem}-{}.{}", digest.get(..8 + n - 1).unwrap_or(&digest), kind.suffix()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Credit;
    use dds_core::RepoPath;

    fn of(url: &str, attempt: usize) -> String {
        name(&Wanted { url: url.parse().unwrap(), credit: Credit::default() }, ImageKind::Jpeg, attempt)
    }

    #[test]
    fn names_are_safe_and_stay_readable() {
        for (url, expected) in [
            ("http://h/a/German%20shepherd.JPEG", "German_shepherd.jpg"),
            ("http://h/x.png?size=5", "x.jpg"),
            ("http://h/%2e%2e%2fetc%2fpasswd", "etc_passwd.jpg"),
            ("http://h/.git", "git.jpg"),
            ("http://h/-rf", "rf.jpg"),
            ("http://h/", "image.jpg"),
            ("http://h/a%00b%0a.jpg", "a_b.jpg"),
            ("http://h/Gr%C3%B6%C3%9Fe.webp", "Größe.jpg"),
            ("http://h/photo.php", "photo.php.jpg"),
            ("http://h/%ff%fe", "ff_fe.jpg"),
        ] {
            assert_eq!(of(url, 0), expected);
            assert!(RepoPath::parse_writable(expected).is_ok());
        }
        let long = of(&format!("http://h/{}", "ü".repeat(300)), 0);
        assert!(long.len() <= MAX_STEM + 4, "{long}");
    }

    #[test]
    fn a_name_that_is_taken_gives_way_the_same_way_every_time() {
        assert_ne!(of("http://h/a/x.jpg", 1), of("http://h/b/x.jpg", 1));
        assert_eq!(of("http://h/a/x.jpg", 1), of("http://h/a/x.jpg", 1));
        assert_ne!(of("http://h/a/x.jpg", 1), of("http://h/a/x.jpg", 2));
    }
}
