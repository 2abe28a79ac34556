//! One value in several MIME types, as Jupyter's `display_data` carries it.

use serde_json::{Map, Value, json};

/// MIME type → representation. Binary types hold base64 text, as the protocol asks.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct MimeBundle {
    pub data: Map<String, Value>,
    pub metadata: Map<String, Value>,
}

impl MimeBundle {
    pub fn text(text: impl Into<String>) -> Self {
        Self::default().with("text/plain", Value::String(text.into()))
    }

    pub fn with(mut self, mime: &str, value: impl Into<Value>) -> Self {
        self.data.insert(mime.to_owned(), value.into());
        self
    }

    /// A PNG, base64-encoded, shown at `width` × `height` CSS pixels.
    pub fn with_png(mut self, base64: String, width: u32, height: u32) -> Self {
        self.data.insert("image/png".into(), Value::String(base64));
        self.metadata.insert("image/png".into(), json!({"width": width, "height": height}));
        self
    }

    pub fn plain(&self) -> &str {
        self.data.get("text/plain").and_then(Value::as_str).unwrap_or("")
    }

    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// Escapes the five characters that are special in HTML text and attributes.
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Shows control and bidirectional-override characters of outside text as escapes, so that a file
/// name or a server's message cannot drive a terminal. Line feeds and tabs stay.
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let hide = (c.is_control() && c != '\n' && c != '\t')
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c);
            let shown: Vec<char> = if hide { c.escape_unicode().collect() } else { vec![c] };
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_text_cannot_drive_page_or_terminal() {
        assert_eq!(escape_html("<a b='\"&'>"), "&lt;a b=&#39;&quot;&amp;&#39;&gt;");
        assert_eq!(printable("a\u{1b}[31mb\n"), "a\\u{1b}[31mb\n");
    }
}
