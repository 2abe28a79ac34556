//! What kind of image some bytes are, by their first bytes, and what kind a file name promises.

/// The formats that are read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageKind {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
    Tiff,
}

/// How many bytes [`ImageKind::of`] looks at, at most.
pub const MAGIC_BYTES: usize = 16;

const ALL: [ImageKind; 6] =
    [ImageKind::Jpeg, ImageKind::Png, ImageKind::WebP, ImageKind::Gif, ImageKind::Bmp, ImageKind::Tiff];

impl ImageKind {
    /// The kind of a file that begins with `bytes`; none when it is no image that is read here.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            // Its reserved words are zero; two letters alone begin many a text.
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Some(Self::Bmp),
            // Classic and big TIFF, in either byte order.
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Self::Tiff),
            _ => None,
        }
    }

    /// The kind that a file name promises by its suffix.
    pub fn of_name(name: &str) -> Option<Self> {
        let (stem, suffix) = name.rsplit_once('.')?;
        let named = |kind: &Self| kind.suffixes().iter().any(|s| s.eq_ignore_ascii_case(suffix));
        ALL.into_iter().find(named).filter(|_| !stem.is_empty())
    }

    /// Suffixes of its files, without the dot; the usual one first.
    pub fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Jpeg => &["jpg", "jpeg", "jpe"],
            Self::Png => &["png"],
            Self::WebP => &["webp"],
            Self::Gif => &["gif"],
            Self::Bmp => &["bmp"],
            Self::Tiff => &["tif", "tiff"],
        }
    }

    pub fn suffix(self) -> &'static str {
        self.suffixes().first().copied().unwrap_or_default()
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        }
    }
}

/// What a file that is no image looks like, by its first bytes (some hundred are enough).
pub fn looks_like(bytes: &[u8]) -> &'static str {
    let start = bytes.get(..bytes.len().min(512)).unwrap_or_default();
    // The end may cut a character.
    let text = std::str::from_utf8(start).map_or_else(|e| e.valid_up_to() + 4 >= start.len(), |_| true);
    if matches!(start, [_, _, _, _, b'f', b't', b'y', b'p', ..]) {
        "it looks like HEIC, AVIF or a video"
    } else if text && start.trim_ascii_start().starts_with(b"<") {
        "it looks like a web page or SVG"
    } else if text && start.starts_with(b"outs:") {
        "it is a DVC pointer, not the file itself"
    } else if text {
        "it looks like text"
    } else {
        "its format is not known"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_content_and_by_name() {
        for (bytes, kind) in [
            (&b"\xff\xd8\xff\xe0"[..], Some(ImageKind::Jpeg)),
            (b"\x89PNG\r\n\x1a\n", Some(ImageKind::Png)),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some(ImageKind::WebP)),
            (b"RIFF\0\0\0\0WAVEfmt ", None),
            (b"GIF89a", Some(ImageKind::Gif)),
            (b"BM\x01\0\0\0\0\0\0\0\x36", Some(ImageKind::Bmp)),
            (b"BMW is a car, no image", None),
            (b"II\x2a\0", Some(ImageKind::Tiff)),
            (b"MM\0\x2b", Some(ImageKind::Tiff)),
            (b"", None),
            (b"\xff\xd8", None),
        ] {
            assert_eq!(ImageKind::of(bytes), kind, "{bytes:?}");
        }
        for kind in ALL {
            for suffix in kind.suffixes() {
                assert_eq!(ImageKind::of_name(&format!("a b.{}", suffix.to_uppercase())), Some(kind));
            }
        }
        for none in ["jpg", ".jpg", "a.txt", "a.jpg.dvc", ""] {
            assert_eq!(ImageKind::of_name(none), None, "{none}");
        }
    }

    #[test]
    fn what_else_it_may_be() {
        for (bytes, what) in [
            (&b" \n<!doctype html>"[..], "web page"),
            (b"outs:\n- md5: 0", "DVC pointer"),
            (b"hello", "text"),
            (b"\0\0\0\x18ftypheic\xff", "HEIC"),
            (&[0x80, 4, 0x95, 0xff, 0xfe, 0, 0, 1], "not known"),
        ] {
            assert!(looks_like(bytes).contains(what), "{bytes:?}");
        }
    }
}
