//! Which HTML of a notebook reaches the page.
//!
//! Everything passes one allow-list (ammonia, which parses like a browser): no scripts, handlers,
//! forms, frames, style sheets or foreign markup; images only as raster or SVG `data:` URIs inside
//! `<img>`; inline styles property by property. The page's Content-Security-Policy is the second
//! fence, not the first.

use ammonia::Builder;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Elements beyond ammonia's default list.
const EXTRA_TAGS: &[&str] = &["section", "main", "tfoot", "progress", "meter", "big"];

/// Style properties that cannot load anything or leave their element's place in the flow.
const STYLE_PROPERTIES: &[&str] = &[
    "align-content",
    "align-items",
    "align-self",
    "aspect-ratio",
    "background",
    "background-color",
    "border",
    "border-bottom",
    "border-bottom-color",
    "border-bottom-style",
    "border-bottom-width",
    "border-collapse",
    "border-color",
    "border-left",
    "border-left-color",
    "border-left-style",
    "border-left-width",
    "border-radius",
    "border-right",
    "border-right-color",
    "border-right-style",
    "border-right-width",
    "border-spacing",
    "border-style",
    "border-top",
    "border-top-color",
    "border-top-style",
    "border-top-width",
    "border-width",
    "color",
    "column-gap",
    "display",
    "flex",
    "flex-basis",
    "flex-direction",
    "flex-grow",
    "flex-shrink",
    "flex-wrap",
    "font-family",
    "font-size",
    "font-style",
    "font-variant-numeric",
    "font-weight",
    "gap",
    "grid-column",
    "grid-row",
    "grid-template-columns",
    "height",
    "image-rendering",
    "justify-content",
    "justify-items",
    "letter-spacing",
    "line-height",
    "margin",
    "margin-bottom",
    "margin-left",
    "margin-right",
    "margin-top",
    "max-height",
    "max-width",
    "min-height",
    "min-width",
    "object-fit",
    "opacity",
    "overflow",
    "overflow-x",
    "overflow-y",
    "padding",
    "padding-bottom",
    "padding-left",
    "padding-right",
    "padding-top",
    "row-gap",
    "text-align",
    "text-decoration",
    "text-overflow",
    "text-transform",
    "vertical-align",
    "white-space",
    "width",
    "word-break",
];

static POLICY: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut b = Builder::default();
    b.add_tags(EXTRA_TAGS)
        .add_clean_content_tags(&[
            "template", "noscript", "iframe", "object", "svg", "math", "textarea", "title",
        ])
        .add_generic_attributes(&["class", "style", "role", "dir", "id"])
        .add_generic_attribute_prefixes(&["aria-"])
        .add_tag_attributes("details", &["open"])
        .add_tag_attributes("progress", &["value", "max"])
        .add_tag_attributes("meter", &["value", "min", "max", "low", "high", "optimum"])
        .add_tag_attributes("td", &["width"])
        .add_tag_attributes("th", &["width"])
        .add_url_schemes(&["data"])
        .filter_style_properties(STYLE_PROPERTIES.iter().copied().collect())
        .id_prefix(Some("n-"))
        .attribute_filter(filter_attribute);
    b
});

/// HTML that is safe to put into the page.
pub fn html(source: &str) -> String {
    POLICY.clean(source).to_string()
}

fn filter_attribute<'v>(element: &str, attribute: &str, value: &'v str) -> Option<Cow<'v, str>> {
    match (element, attribute) {
        ("img", "src") => is_data_image(value).then(|| value.into()),
        (_, "src" | "cite" | "poster" | "srcset") => None,
        (_, "href") => match value.trim().strip_prefix('#') {
            // Ids get a prefix, so links to them do too.
            Some(id) => Some(format!("#n-{id}").into()),
            None => {
                let scheme: String =
                    value.chars().filter(|c| !c.is_whitespace() && !c.is_control()).take(5).collect();
                (!scheme.eq_ignore_ascii_case("data:")).then(|| value.into())
            }
        },
        // The property list lets nothing load; this refuses what would need a CSS parser to judge.
        (_, "style") => {
            let low = value.to_ascii_lowercase();
            let bad = ["url(", "\\", "expression", "image(", "image-set(", "/*", "@"];
            (!bad.iter().any(|b| low.contains(b))).then(|| value.into())
        }
        _ => Some(value.into()),
    }
}

/// Image types that an `<img>` may show from a `data:` URI. SVG in an `<img>` runs no script and
/// loads nothing.
const DATA_IMAGES: &[&str] =
    &["image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/avif", "image/svg+xml"];

/// Whether `uri` is `data:image/TYPE;base64,…` of an allowed type and clean base64.
pub fn is_data_image(uri: &str) -> bool {
    uri.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")).is_some_and(|(mime, data)| {
        DATA_IMAGES.contains(&mime)
            && data.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
    })
}

/// The `data:` URI of base64 text as a notebook holds it (line feeds are dropped); none when it is
/// not base64 or the type is not an image for the page.
pub fn data_uri(mime: &str, base64: &str) -> Option<String> {
    let clean: String = base64.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let uri = format!("data:{mime};base64,{clean}");
    (!clean.is_empty() && is_data_image(&uri)).then_some(uri)
}
