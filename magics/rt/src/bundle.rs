//! What can be shown: one value in one or several MIME types, of which the page takes the richest
//! that it knows.

use crate::json::Json;
use crate::wire::{Form, Part};

/// A value in one or several MIME types.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bundle {
    pub(crate) parts: Vec<Part>,
    pub(crate) metadata: Json,
}

/// Makes bundles of one MIME type, to which others are added: `Mime::html(…).and(Mime::text(…))`.
#[derive(Clone, Copy, Debug)]
pub struct Mime;

impl Mime {
    /// `text/plain`
    pub fn text(text: impl Into<String>) -> Bundle {
        Bundle::default().text(text)
    }

    /// `text/html`
    pub fn html(html: impl Into<String>) -> Bundle {
        Bundle::default().html(html)
    }

    /// `text/markdown`
    pub fn markdown(markdown: impl Into<String>) -> Bundle {
        Bundle::default().with("text/markdown", markdown)
    }

    /// `image/svg+xml`
    pub fn svg(svg: impl Into<String>) -> Bundle {
        Bundle::default().with("image/svg+xml", svg)
    }

    /// `text/latex`: a formula between `$` or `$$`.
    pub fn latex(latex: impl Into<String>) -> Bundle {
        Bundle::default().with("text/latex", latex)
    }

    /// `application/json`
    pub fn json(json: impl Into<Json>) -> Bundle {
        Bundle::default().with_json("application/json", json)
    }

    /// `image/png`, from the bytes of the file.
    pub fn png(bytes: impl Into<Vec<u8>>) -> Bundle {
        Bundle::default().with_bytes("image/png", bytes)
    }

    /// `image/jpeg`, from the bytes of the file.
    pub fn jpeg(bytes: impl Into<Vec<u8>>) -> Bundle {
        Bundle::default().with_bytes("image/jpeg", bytes)
    }

    /// Any other type, as text.
    pub fn of(mime: &str, text: impl Into<String>) -> Bundle {
        Bundle::default().with(mime, text)
    }
}

impl Bundle {
    /// Adds `text/plain`.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.with("text/plain", text)
    }

    /// Adds `text/html`.
    pub fn html(self, html: impl Into<String>) -> Self {
        self.with("text/html", html)
    }

    /// Adds a type as text, in place of what was there for it.
    pub fn with(self, mime: &str, text: impl Into<String>) -> Self {
        self.part(mime, Form::Text, text.into().into_bytes())
    }

    /// Adds a type whose data is JSON (`application/vnd.vegalite.v5+json` and the like).
    pub fn with_json(self, mime: &str, json: impl Into<Json>) -> Self {
        self.part(mime, Form::Json, json.into().to_string().into_bytes())
    }

    /// Adds a binary type.
    pub fn with_bytes(self, mime: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.part(mime, Form::Bytes, bytes.into())
    }

    /// Adds the types of `other`.
    pub fn and(mut self, other: Bundle) -> Self {
        for part in other.parts {
            self = self.part(&part.mime, part.form, part.data);
        }
        self
    }

    /// Sets the metadata: an object with a key for each MIME type, such as
    /// `{"image/png": {"width": 200}}`.
    pub fn metadata(mut self, metadata: impl Into<Json>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// The text of a type, when it is there and is text.
    pub fn get(&self, mime: &str) -> Option<&str> {
        let part = self.parts.iter().find(|part| part.mime == mime && part.form != Form::Bytes)?;
        std::str::from_utf8(&part.data).ok()
    }

    fn part(mut self, mime: &str, form: Form, data: Vec<u8>) -> Self {
        let part = Part { mime: mime.to_owned(), form, data };
        match self.parts.iter_mut().find(|there| there.mime == mime) {
            Some(place) => *place = part,
            None => self.parts.push(part),
        }
        self
    }
}

/// How a value is shown: implement it for your own types.
///
/// ```
/// struct Red(&'static str);
/// impl dds::Display for Red {
///     fn bundle(&self) -> dds::Bundle {
///         dds::Mime::html(format!("<b style='color:red'>{}</b>", self.0)).text(self.0)
///     }
/// }
/// dds::display(&Red("stop"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be displayed",
    label = "does not implement `dds::Display`",
    note = "implement `dds::Display` for it, or show its `Debug` text with `dds::debug(&value)`"
)]
pub trait Display {
    fn bundle(&self) -> Bundle;
}

impl Display for Bundle {
    fn bundle(&self) -> Bundle {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_hold_each_type_once() {
        let bundle = Mime::html("<b>a</b>").text("a").and(Mime::png([1, 2])).html("<i>a</i>");
        assert_eq!(bundle.get("text/html"), Some("<i>a</i>"));
        assert_eq!(bundle.get("text/plain"), Some("a"));
        assert_eq!(bundle.get("image/png"), None);
        assert_eq!(bundle.parts.len(), 3);
        let json = Mime::json(Json::object([("a", 1)]));
        assert_eq!(json.get("application/json"), Some("{\"a\":1}"));
    }
}
