//! Percent-encoding of repository paths in URLs: everything but unreserved characters and `/`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// RFC 3986, section 2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// A path whose slashes stay.
pub fn path(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

/// One segment: slashes are encoded too.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Decodes once; none when the result is not UTF-8 or an escape is cut or not hexadecimal.
pub fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut escapes = bytes.iter().enumerate().filter(|(_, b)| **b == b'%').map(|(n, _)| n);
    let whole = escapes
        .all(|n| bytes.get(n + 1..n + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
    if !whole {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for text in ["a b/ü.jpg", "a..b/%41", "100%", "#?&=+;", "a\"b'c"] {
            assert_eq!(decode(&path(text)).unwrap(), text);
            assert_eq!(decode(&segment(text)).unwrap(), text);
        }
        assert_eq!(path("a b/c"), "a%20b/c");
        assert_eq!(segment("a/b"), "a%2Fb");
        for bad in ["%", "%4", "%zz", "%c0%af", "%ff"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
