//! A notebook's form as an accessible HTML form. It works as it is (multipart POST, full page
//! back); the page's script only makes it nicer.

use super::{Part, markdown, markdown::NoPictures};
use dds_core::form::{DEFAULT_UPLOAD_BYTES, Field, FieldKind, Form, MAX_TEXT};
use dds_core::mime::escape_html as esc;
use serde_json::Map;
use std::fmt::Write;

/// What an image field takes, for the file chooser; the server checks the bytes themselves.
pub const IMAGE_TYPES: &str = "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff";

/// Appends the form. `number` counts the forms of the page and keeps ids apart.
pub(super) fn push(form: &Form, number: usize, parts: &mut Vec<Part>) {
    let mut html = format!("<section class=\"form\" id=\"form-{number}\">");
    if !form.title.is_empty() {
        let _ = write!(html, "<h2 id=\"form-{number}-title\">{}</h2>", esc(&form.title));
    }
    if !form.intro.is_empty() {
        let _ = write!(
            html,
            "<div class=\"intro\">{}</div>",
            markdown::to_html(&form.intro, &Map::new(), &NoPictures)
        );
    }
    html.push_str("<form method=\"post\" enctype=\"multipart/form-data\"");
    if !form.title.is_empty() {
        let _ = write!(html, " aria-labelledby=\"form-{number}-title\"");
    }
    html.push_str(" data-form action=\"");
    parts.push(Part::Html(html));
    parts.push(Part::Root);
    let mut html = format!("form/{}#form-{number}\">", path_segment(&form.id));
    for (i, f) in form.fields.iter().enumerate() {
        push_field(f, &format!("f{number}-{i}"), &mut html);
    }
    let submit = if form.submit.is_empty() { "Run" } else { &form.submit };
    let _ = write!(
        html,
        "<div class=\"actions\"><button type=\"submit\">{}</button>\
         <span class=\"progress\" data-progress hidden><span class=\"spinner\" aria-hidden=\"true\"></span>\
         <span data-progress-text></span></span></div></form>\
         <div class=\"result\" id=\"form-{number}-result\" role=\"status\" aria-live=\"polite\" tabindex=\"-1\" data-result>",
        esc(submit)
    );
    parts.push(Part::Html(html));
    parts.push(Part::Result(form.id.clone()));
    parts.push(Part::Html("</div></section>".into()));
}

fn push_field(f: &Field, id: &str, html: &mut String) {
    let name = esc(&f.name);
    let label = esc(if f.label.is_empty() { &f.name } else { &f.label });
    let default = f.default.as_deref().unwrap_or_default();
    match f.kind {
        FieldKind::Image => {
            let limit = f.max_bytes.unwrap_or(DEFAULT_UPLOAD_BYTES);
            let _ = write!(
                html,
                "<div class=\"field image\" data-drop><label for=\"{id}\">{label}</label>\
                 <div class=\"drop\"><figure data-preview hidden></figure>\
                 <p class=\"invite\" aria-hidden=\"true\"><span class=\"invite-icon\"></span>\
                 <span data-invite>Choose a picture</span></p>\
                 <input type=\"file\" id=\"{id}\" name=\"{name}\" accept=\"{IMAGE_TYPES}\" required \
                 aria-describedby=\"{id}-note\" data-max-bytes=\"{limit}\" data-image></div>\
                 <p class=\"note\" id=\"{id}-note\">JPEG, PNG, WebP, GIF, BMP or TIFF, up to {}.</p></div>",
                bytes_text(limit)
            );
        }
        FieldKind::File => {
            let limit = f.max_bytes.unwrap_or(DEFAULT_UPLOAD_BYTES);
            let _ = write!(
                html,
                "<div class=\"field\"><label for=\"{id}\">{label}</label>\
                 <input type=\"file\" id=\"{id}\" name=\"{name}\" required aria-describedby=\"{id}-note\" \
                 data-max-bytes=\"{limit}\"><p class=\"note\" id=\"{id}-note\">Up to {}.</p></div>",
                bytes_text(limit)
            );
        }
        FieldKind::Text => {
            let _ = write!(html, "<div class=\"field\"><label for=\"{id}\">{label}</label>");
            // `default = ""` says that nothing may be given.
            let required = if f.default.is_none() { " required" } else { "" };
            if default.contains('\n') {
                let _ = write!(
                    html,
                    "<textarea id=\"{id}\" name=\"{name}\" rows=\"5\" maxlength=\"{MAX_TEXT}\">\n{}</textarea></div>",
                    esc(default)
                );
            } else {
                let _ = write!(
                    html,
                    "<input type=\"text\" id=\"{id}\" name=\"{name}\" maxlength=\"{MAX_TEXT}\" value=\"{}\" \
                     autocomplete=\"off\"{required}></div>",
                    esc(default)
                );
            }
        }
        FieldKind::Number => {
            let bound = |key: &str, v: Option<f64>| {
                v.filter(|v| v.is_finite()).map(|v| format!(" {key}=\"{v}\"")).unwrap_or_default()
            };
            let _ = write!(
                html,
                "<div class=\"field\"><label for=\"{id}\">{label}</label>\
                 <input type=\"number\" id=\"{id}\" name=\"{name}\" step=\"any\" inputmode=\"decimal\" required{}{} \
                 value=\"{}\"></div>",
                bound("min", f.min),
                bound("max", f.max),
                esc(default)
            );
        }
        FieldKind::Choice => {
            let _ = write!(
                html,
                "<div class=\"field\"><label for=\"{id}\">{label}</label><select id=\"{id}\" name=\"{name}\">"
            );
            for c in &f.choices {
                let selected = if c == default { " selected" } else { "" };
                let _ = write!(html, "<option value=\"{0}\"{selected}>{0}</option>", esc(c));
            }
            html.push_str("</select></div>");
        }
        FieldKind::Checkbox => {
            let checked = if matches!(default, "true" | "on" | "yes" | "1") { " checked" } else { "" };
            let _ = write!(
                html,
                "<div class=\"field check\"><input type=\"checkbox\" id=\"{id}\" name=\"{name}\" value=\"on\"{checked}>\
                 <label for=\"{id}\">{label}</label></div>"
            );
        }
    }
}

/// `32 MB`: decimal where it is exact, else binary multiples, for people.
pub fn bytes_text(n: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];
    for (unit, size) in UNITS {
        if n >= size {
            let value = n as f64 / size as f64;
            return if n.is_multiple_of(size) {
                format!("{} {unit}", n / size)
            } else {
                format!("{value:.1} {unit}")
            };
        }
    }
    format!("{n} bytes")
}

/// One segment of a relative URL: everything but letters, digits, `-` and `_` is percent-encoded.
pub fn path_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b == b'-' || b == b'_' {
            out.push(b as char);
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}
