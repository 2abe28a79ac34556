//! Notebooks, outputs and answers as HTML: one page, code hidden, rendered on the server.
//!
//! Everything that a notebook or a kernel says is untrusted here: text is escaped, HTML passes
//! [`sanitize`], images are `data:` URIs of known types. Does no I/O; pictures of Markdown cells
//! come through [`markdown::Pictures`].

pub mod ansi;
pub mod form;
pub mod markdown;
mod privacy;
pub mod sanitize;

use crate::notebook::{Cell, CellKind, Notebook, Output};
use base64::Engine as _;
use dds_core::form::{Answer, FORM_MIME, Form};
use dds_core::mime::{escape_html as esc, printable};
use dds_core::{Error, MimeBundle};
use markdown::Pictures;
pub(crate) use privacy::Places;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

const PAGE: &str = include_str!("../assets/page.html");
/// Longest plain text shown of one output, in characters; the middle is left out beyond it.
const MAX_PLAIN_CHARS: usize = 200_000;
/// Images above this many characters of base64 are served beside the page instead of inside it.
const INLINE_IMAGE_CHARS: usize = 2_048;

/// A piece of a rendered page. What differs from one request to the next is kept apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    Html(String),
    /// The relative way from the requested page to the app's root: empty or `../`.
    Root,
    /// Where the answer to the form of this id goes.
    Result(String),
}

/// An image served beside the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    pub mime: String,
    pub bytes: Vec<u8>,
}

/// A rendered notebook.
#[derive(Clone, Debug, Default)]
pub struct Page {
    title: String,
    parts: Vec<Part>,
    /// The forms, in the order of the page.
    pub forms: Vec<Form>,
    /// Images by their name under `media/`: digits, letters and one dot.
    pub media: BTreeMap<String, Media>,
}

impl Page {
    /// Renders `nb`. `fallback_title` is used when the notebook has none; `notice` is HTML above it.
    pub fn render(
        nb: &Notebook,
        fallback_title: &str,
        pictures: &dyn Pictures,
        notice: Option<&str>,
    ) -> Self {
        let own_title = nb.title();
        let mut page =
            Page { title: own_title.unwrap_or_else(|| fallback_title.to_owned()), ..Page::default() };
        if let Some(n) = notice {
            page.parts.push(Part::Html(n.to_owned()));
        }
        for cell in &nb.cells {
            page.push_cell(cell, pictures);
        }
        let heading = |p: &Part| matches!(p, Part::Html(h) if h.contains("<h1"));
        if !page.parts.iter().any(heading) {
            page.parts.insert(0, Part::Html(format!("<h1>{}</h1>", esc(&page.title))));
        }
        page.move_images_out();
        page
    }

    fn push_cell(&mut self, cell: &Cell, pictures: &dyn Pictures) {
        if hides_cell(cell) {
            return;
        }
        match &cell.kind {
            CellKind::Markdown { attachments } => {
                let html = markdown::to_html(&cell.source, attachments, pictures);
                self.parts.push(Part::Html(format!("<div class=\"cell prose\">{html}</div>")));
            }
            CellKind::Raw { .. } => {}
            CellKind::Code { outputs, .. } => {
                if hides_outputs(cell) {
                    return;
                }
                let start = self.parts.len();
                self.parts.push(Part::Html("<div class=\"cell outputs\">".into()));
                for output in outputs {
                    match form_of(output) {
                        Some(form) => {
                            form::push(&form, self.forms.len(), &mut self.parts);
                            self.forms.push(form);
                        }
                        None => self.parts.push(Part::Html(output_html(output))),
                    }
                }
                let empty =
                    self.parts.iter().skip(start + 1).all(|p| matches!(p, Part::Html(h) if h.is_empty()));
                if empty {
                    self.parts.truncate(start);
                } else {
                    self.parts.push(Part::Html("</div>".into()));
                }
            }
        }
    }

    /// Moves large `data:` images out of the text, so that the page stays small and its images are
    /// cached and decoded beside it.
    fn move_images_out(&mut self) {
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in std::mem::take(&mut self.parts) {
            let Part::Html(html) = part else {
                parts.push(part);
                continue;
            };
            let mut rest = html.as_str();
            let mut kept = String::new();
            while let Some((before, uri, after)) = next_data_image(rest) {
                kept.push_str(before);
                match (uri.len() > INLINE_IMAGE_CHARS).then(|| decode_uri(uri)).flatten() {
                    Some(media) => {
                        let name = format!(
                            "{:016x}{:08x}.{}",
                            crate::notebook::fnv1a(&media.bytes, 0),
                            media.bytes.len(),
                            extension(&media.mime)
                        );
                        parts.push(Part::Html(std::mem::take(&mut kept)));
                        parts.push(Part::Root);
                        let _ = write!(kept, "media/{name}");
                        self.media.insert(name, media);
                    }
                    None => kept.push_str(uri),
                }
                rest = after;
            }
            kept.push_str(rest);
            parts.push(Part::Html(kept));
        }
        self.parts = parts;
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    /// The whole page. `root` is the relative way to the app's root: empty or `../`. `result` puts
    /// an answer's HTML into the form of that id.
    pub fn html(&self, root: &str, result: Option<(&str, &str)>) -> String {
        let mut body = String::new();
        for part in &self.parts {
            match part {
                Part::Html(h) => body.push_str(h),
                Part::Root => body.push_str(root),
                Part::Result(id) => {
                    if let Some((_, html)) = result.filter(|(form, _)| form == id) {
                        body.push_str(html);
                    }
                }
            }
        }
        shell(&self.title, root, &body)
    }
}

/// A page of ours with `body` as it is.
pub fn shell(title: &str, root: &str, body: &str) -> String {
    // One pass over the template: what is put in is never looked at for places again.
    let mut out = String::with_capacity(PAGE.len() + body.len());
    let mut rest = PAGE;
    while let Some((before, place)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((name, after)) = place.split_once("}}") else { break };
        match name {
            "title" => out.push_str(&esc(title)),
            "root" => out.push_str(root),
            "version" => out.push_str(env!("CARGO_PKG_VERSION")),
            "body" => out.push_str(body),
            _ => {}
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The forms that the page of `nb` has, in its order.
pub fn forms(nb: &Notebook) -> Vec<Form> {
    let shown = nb.cells.iter().filter(|c| !hides_cell(c) && !hides_outputs(c));
    shown.flat_map(Cell::outputs).filter_map(form_of).collect()
}

/// Tags of Jupyter Book and of nbconvert's TagRemovePreprocessor.
fn hides_cell(cell: &Cell) -> bool {
    ["remove-cell", "remove_cell", "hide-cell"].iter().any(|t| cell.has_tag(t))
}

fn hides_outputs(cell: &Cell) -> bool {
    ["remove-output", "remove_output", "hide-output"].iter().any(|t| cell.has_tag(t))
}

fn next_data_image(html: &str) -> Option<(&str, &str, &str)> {
    const MARK: &str = "src=\"data:image/";
    let at = html.find(MARK)? + "src=\"".len();
    let (before, rest) = html.split_at_checked(at)?;
    let end = rest.find('"')?;
    let (uri, after) = rest.split_at_checked(end)?;
    Some((before, uri, after))
}

fn decode_uri(uri: &str) -> Option<Media> {
    if !sanitize::is_data_image(uri) {
        return None;
    }
    let (mime, data) = uri.strip_prefix("data:")?.split_once(";base64,")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(data).ok()?;
    Some(Media { mime: mime.to_owned(), bytes })
}

fn extension(mime: &str) -> &str {
    match mime {
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/bmp" => "bmp",
        "image/avif" => "avif",
        "image/svg+xml" => "svg",
        _ => "png",
    }
}

fn form_of(output: &Output) -> Option<Form> {
    let (Output::Display { bundle, .. } | Output::Result { bundle, .. }) = output else { return None };
    let value = bundle.data.get(FORM_MIME)?;
    // A form that does not validate is shown as its other representations.
    let form: Form = match value {
        Value::String(s) => serde_json::from_str(s).ok()?,
        v => serde_json::from_value(v.clone()).ok()?,
    };
    (!form.id.is_empty() && form.validate().is_ok()).then_some(form)
}

/// One output; nothing when there is nothing to show.
pub fn output_html(output: &Output) -> String {
    match output {
        Output::Stream { name, text } => {
            let text = bounded(text.trim_end_matches('\n'));
            if text.trim().is_empty() {
                return String::new();
            }
            let class = if name == "stderr" { "text stream stderr" } else { "text stream" };
            format!("<pre class=\"{class}\" tabindex=\"0\">{}</pre>", ansi::to_html(&text))
        }
        Output::Display { bundle, .. } | Output::Result { bundle, .. } => bundle_html(bundle),
        Output::Error { ename, evalue, traceback } => {
            let hint = crate::exec::hint_of(traceback);
            problem_html(
                "This step of the notebook did not work",
                &ansi::strip(&if ename.is_empty() { evalue.clone() } else { format!("{ename}: {evalue}") }),
                hint.as_deref(),
                &traceback.join("\n"),
            )
        }
    }
}

/// The best representation of a bundle that this page can show.
pub fn bundle_html(bundle: &MimeBundle) -> String {
    let text = |mime: &str| match bundle.data.get(mime) {
        Some(Value::String(s)) => Some(s.as_str()),
        _ => None,
    };
    if let Some(html) = text("text/html") {
        let clean = sanitize::html(html);
        if has_content(&clean) {
            return format!("<div class=\"rich\">{clean}</div>");
        }
    }
    if let Some(svg) = text("image/svg+xml") {
        let data = base64::engine::general_purpose::STANDARD.encode(svg);
        if let Some(img) = image_html(bundle, "image/svg+xml", &data) {
            return img;
        }
    }
    for mime in ["image/png", "image/jpeg", "image/webp", "image/gif"] {
        if let Some(img) = text(mime).and_then(|data| image_html(bundle, mime, data)) {
            return img;
        }
    }
    if let Some(md) = text("text/markdown") {
        let html = markdown::to_html(md, &serde_json::Map::new(), &markdown::NoPictures);
        return format!("<div class=\"rich prose\">{html}</div>");
    }
    if let Some(plain) = text("text/plain").or_else(|| text("text/latex")) {
        if plain.trim().is_empty() {
            return String::new();
        }
        return format!("<pre class=\"text\" tabindex=\"0\">{}</pre>", ansi::to_html(&bounded(plain)));
    }
    if let Some(v) = bundle.data.get("application/json") {
        let json = serde_json::to_string_pretty(v).unwrap_or_default();
        return format!("<pre class=\"text\" tabindex=\"0\">{}</pre>", esc(&bounded(&json)));
    }
    String::new()
}

/// Whether sanitised HTML still shows something.
fn has_content(html: &str) -> bool {
    let mut in_tag = false;
    html.contains("<img")
        || html.contains("<hr")
        || html.contains("<progress")
        || html.contains("<meter")
        || html.chars().any(|c| match c {
            '<' => {
                in_tag = true;
                false
            }
            '>' => {
                in_tag = false;
                false
            }
            c => !in_tag && !c.is_whitespace(),
        })
}

fn image_html(bundle: &MimeBundle, mime: &str, base64: &str) -> Option<String> {
    let uri = sanitize::data_uri(mime, base64)?;
    let side = |key: &str| {
        let meta = bundle.metadata.get(mime).and_then(|m| m.get(key)).or_else(|| bundle.metadata.get(key));
        match meta.and_then(Value::as_f64) {
            Some(v) if (1.0..=20_000.0).contains(&v) => format!(" {key}=\"{}\"", v.round()),
            _ => String::new(),
        }
    };
    let alt = bundle.plain().lines().next().unwrap_or_default();
    let alt: String = ansi::strip(alt).chars().take(200).collect();
    Some(format!(
        "<figure class=\"picture\"><img alt=\"{}\"{}{} decoding=\"async\" src=\"{uri}\"></figure>",
        esc(&alt),
        side("width"),
        side("height"),
    ))
}

/// What a kernel answered to a form: its bundles, then its error.
pub fn answer_html(answer: &Answer) -> String {
    let mut out: String = answer.bundles.iter().map(bundle_html).collect();
    if let Some(p) = &answer.error {
        out.push_str(&problem_html("That did not work", &ansi::strip(&p.message), p.hint.as_deref(), ""));
    } else if out.is_empty() {
        out.push_str("<p class=\"note\">Done. There is nothing to show.</p>");
    }
    out
}

/// An error of ours, for the visitor.
pub fn error_html(error: &Error) -> String {
    problem_html("That did not work", &error.message, error.hint.as_deref(), "")
}

/// Text as a sentence for people: a plain first word gets a capital, the end a full stop. Names and
/// paths at its beginning stay as they are.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    let first = text.split_whitespace().next().unwrap_or_default();
    let mut letters = text.chars();
    let mut out: String = match first.bytes().all(|b| b.is_ascii_lowercase()) {
        true => letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect(),
        false => text.to_owned(),
    };
    if !text.is_empty() && !text.contains('\n') && !text.ends_with(['.', '!', '?', ':', '…']) {
        out.push('.');
    }
    out
}

/// A friendly box: what happened, why, what to do; the technical part is folded away. A hint that
/// names a command of ours is for authors and left out.
pub fn problem_html(title: &str, message: &str, hint: Option<&str>, details: &str) -> String {
    let mut out = format!("<div class=\"problem\"><p class=\"problem-title\">{}</p>", esc(title));
    if !message.trim().is_empty() {
        let _ =
            write!(out, "<p class=\"problem-message\">{}</p>", esc(&printable(&sentence(&bounded(message)))));
    }
    if let Some(h) = hint.filter(|h| !privacy::for_authors(h)) {
        let text = if privacy::quotes_a_command(h) { h.trim().to_owned() } else { sentence(h) };
        let _ = write!(out, "<p class=\"problem-hint\">{}</p>", esc(&printable(&text)));
    }
    if !details.trim().is_empty() {
        let _ = write!(
            out,
            "<details><summary>Technical details</summary><pre class=\"text\" tabindex=\"0\">{}</pre></details>",
            ansi::to_html(&bounded(details))
        );
    }
    out.push_str("</div>");
    out
}

/// Text cut in its middle when it is longer than [`MAX_PLAIN_CHARS`].
fn bounded(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= MAX_PLAIN_CHARS {
        return text.into();
    }
    let count = text.chars().count();
    if count <= MAX_PLAIN_CHARS {
        return text.into();
    }
    let half = MAX_PLAIN_CHARS / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().skip(count - half).collect();
    format!("{head}\n… {} characters left out …\n{tail}", count - 2 * half).into()
}
