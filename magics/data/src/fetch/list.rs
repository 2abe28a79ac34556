//! Lists of addresses: one a line.

use super::{Credit, Wanted};
use reqwest::Url;
use std::collections::HashSet;

/// Most addresses of one list.
pub const MAX_URLS: usize = 100_000;
/// Largest list.
pub const MAX_LIST_BYTES: u64 = 32 << 20;

/// What a list holds: addresses, each once, and lines that are none with their reason.
pub fn parse(text: &str) -> (Vec<Wanted>, Vec<(String, String)>) {
    let (mut found, mut wrong, mut known) = (Vec::new(), Vec::new(), HashSet::new());
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        // An address holds no blank; what stands behind it is a remark.
        let Some(word) = line.split_whitespace().next().filter(|w| !w.starts_with('#')) else { continue };
        let at = || format!("line {}", number + 1);
        if found.len() >= MAX_URLS {
            wrong.push((at(), format!("more than {MAX_URLS} addresses: this and what follows is left out")));
            break;
        }
        match address(word) {
            Ok(url) if known.insert(url.clone()) => found.push(Wanted { url, credit: Credit::default() }),
            Ok(_) => {}
            Err(why) => wrong.push((at(), why.to_owned())),
        }
    }
    (found, wrong)
}

/// An address that may be fetched, as far as its text tells.
pub fn address(text: &str) -> Result<Url, &'static str> {
    let url: Url = text.parse().map_err(|_| "not an address that begins with http:// or https://")?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("not an address that begins with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an address with a user or password, which are not sent");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_people_write_them() {
        let text = "\u{feff}# birds\nhttp://h/a.jpg\n\n  https://h/b.jpg  a remark\r\nhttp://h/a.jpg\nftp://h/c\nx\nhttp://u:p@h/d\nfile:///etc/passwd\n";
        let (found, wrong) = parse(text);
        let urls: Vec<&str> = found.iter().map(|w| w.url.as_str()).collect();
        assert_eq!(urls, ["http://h/a.jpg", "https://h/b.jpg"]);
        let lines: Vec<&str> = wrong.iter().map(|(at, _)| at.as_str()).collect();
        assert_eq!(lines, ["line 6", "line 7", "line 8", "line 9"]);
        assert!(!format!("{wrong:?}").contains(":p@"));
    }

    #[test]
    fn a_list_is_bounded() {
        let text: String = (0..MAX_URLS + 2).map(|i| format!("http://h/{i}\n")).collect();
        let (found, wrong) = parse(&text);
        assert_eq!((found.len(), wrong.len()), (MAX_URLS, 1));
    }
}
