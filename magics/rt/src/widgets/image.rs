//! Pictures from the bytes of their files.

use super::any::AnyWidget;
use super::spec::IMAGE;
use super::typed::widget;
use super::value::Bytes;
use std::sync::Arc;

widget! {
    /// A picture. Its bytes travel as they are, not as text.
    Image [] {
        /// `png`, `jpeg`, `gif`, `webp`, `svg+xml`, or `url` when the value is an address.
        format set_format get_format: String;
        /// Width in pixels; empty for that of the picture.
        width set_width get_width: String;
        /// Height in pixels; empty for that of the picture.
        height set_height get_height: String;
    }
}

impl Image {
    /// From the bytes of a file. The format is read from them where they tell it.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Image {
        let image = Image(AnyWidget::new(&IMAGE));
        image.set_value(bytes);
        image
    }

    /// Shows another picture, in the format that its bytes tell or else that of the last.
    pub fn set_value(&self, bytes: impl Into<Vec<u8>>) {
        use super::value::{Typed, Value};
        let bytes: Vec<u8> = bytes.into();
        let mut values = Vec::new();
        if let Some(format) = format_of(&bytes) {
            values.push(("format", format.to_owned().to_value()));
        }
        values.push(("value", Value::Bytes(Arc::new(bytes))));
        self.0.set_all(values);
    }

    pub fn get_value(&self) -> Arc<Vec<u8>> {
        self.0.get::<Bytes>("value")
    }
}

/// By the first bytes of each format.
fn format_of(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("png"),
        [0xff, 0xd8, 0xff, ..] => Some("jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        [b'B', b'M', ..] => Some("bmp"),
        _ if bytes.starts_with(b"<svg") => Some("svg+xml"),
        _ => None,
    }
}
