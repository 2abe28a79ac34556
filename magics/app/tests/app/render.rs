//! What the page shows of a notebook, and how.

use crate::exec::notebook;
use dds_app::notebook::Output;
use dds_app::render::markdown::NoPictures;
use dds_app::render::{Page, answer_html, bundle_html, output_html};
use dds_app::{CellKind, Notebook};
use dds_core::MimeBundle;
use dds_core::form::{Answer, FORM_MIME, Problem};
use serde_json::{Value, json};

fn with_outputs(outputs: Value) -> Notebook {
    let cell = json!({"cell_type": "code", "source": "SECRET CODE", "metadata": {}, "outputs": outputs});
    let v = json!({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]});
    Notebook::from_bytes(v.to_string().as_bytes()).unwrap()
}

fn page(nb: &Notebook) -> String {
    Page::render(nb, "file name", &NoPictures, None).html("", None)
}

fn bundle(data: Value) -> MimeBundle {
    serde_json::from_value(json!({"data": data, "metadata": {}})).unwrap()
}

pub fn form(id: &str, fields: Value) -> Value {
    json!({"id": id, "title": "Classify", "intro": "Upload *one*.", "submit": "Go", "fields": fields, "run": ["echo"]})
}

#[test]
fn code_is_hidden_and_the_title_is_there_once() {
    let mut nb = notebook(&["md:# My app\n\nHello.", "print x"]);
    let html = page(&nb);
    assert!(html.contains("<title>My app</title>"));
    assert_eq!(html.matches("<h1").count(), 1);
    assert!(!html.contains("print x"));
    assert!(html.contains("from before"));
    nb.cells.remove(0);
    assert!(page(&nb).contains("<h1>file name</h1>"));
}

#[test]
fn tags_hide_cells_and_outputs() {
    for (tag, shown) in [("remove-cell", false), ("hide-output", false), ("other", true)] {
        let mut nb = notebook(&["print x"]);
        nb.cells[0].metadata.insert("tags".into(), json!([tag]));
        assert_eq!(page(&nb).contains("from before"), shown, "{tag}");
    }
}

#[test]
fn the_best_representation_wins() {
    let png = "iVBORw0KGgo=";
    for (data, needle) in [
        (json!({"text/html": "<b>h</b>", "image/png": png, "text/plain": "p"}), "<b>h</b>"),
        (
            json!({"text/html": "<script>1</script>", "image/png": png, "text/plain": "p"}),
            "data:image/png;base64,iVBORw0KGgo=",
        ),
        (json!({"image/png": "iVBO\nRw0KGgo=\n", "text/plain": "a cat"}), "alt=\"a cat\""),
        (
            json!({"image/svg+xml": "<svg onload=x>", "text/plain": "p"}),
            "src=\"data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9eD4=\"",
        ),
        (json!({"image/jpeg": "not base64!\"><script>", "text/plain": "only text"}), "only text"),
        (json!({"text/markdown": "*m*", "text/plain": "p"}), "<em>m</em>"),
        (json!({"text/plain": "\u{1b}[32mgreen\u{1b}[0m <x>"}), "<span class=\"fg2\">green</span> &lt;x&gt;"),
        (json!({"application/json": {"k": "<v>"}}), "&lt;v&gt;"),
    ] {
        let html = bundle_html(&bundle(data));
        assert!(html.contains(needle), "{html}");
        assert!(!html.contains("<script"), "{html}");
    }
    assert_eq!(bundle_html(&bundle(json!({"application/vnd.unknown": 1}))), "");
    let sized = json!({"data": {"image/png": png}, "metadata": {"image/png": {"width": 300, "height": "1\" onload=\"x"}}});
    let html = bundle_html(&serde_json::from_value(sized).unwrap());
    assert!(html.contains(" width=\"300\"") && !html.contains("onload"), "{html}");
}

#[test]
fn errors_are_friendly_and_their_traceback_is_folded_away() {
    let html = output_html(&Output::Error {
        ename: "NotFound".into(),
        evalue: "no file <a>".into(),
        traceback: vec!["\u{1b}[31mline <1>\u{1b}[0m".into(), "hint: look again".into()],
    });
    assert!(html.contains("NotFound: no file &lt;a&gt;"));
    assert!(html.contains("<p class=\"problem-hint\">Look again.</p>"));
    let (before, details) = html.split_once("<details>").unwrap();
    assert!(!before.contains("line") && details.contains("line &lt;1&gt;"));
}

#[test]
fn very_long_text_is_cut_in_its_middle() {
    let text = format!("START{}END", "é".repeat(300_000));
    let html = output_html(&Output::Stream { name: "stdout".into(), text });
    assert!(html.contains("START") && html.contains("END") && html.contains("characters left out"));
    assert!(html.chars().count() < 210_000);
}

#[test]
fn large_images_are_moved_beside_the_page() {
    let small = "AAAA".repeat(10);
    let large = "AAAA".repeat(1000);
    let nb = with_outputs(json!([
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": small}},
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": large}},
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": format!("<p>x<img src='data:image/jpeg;base64,{large}'>y</p>")}},
    ]));
    let page = Page::render(&nb, "t", &NoPictures, None);
    assert_eq!(page.media.len(), 2);
    let html = page.html("../", None);
    assert!(html.contains(&small) && !html.contains(&large));
    for (name, m) in &page.media {
        assert!(html.contains(&format!("src=\"../media/{name}\"")), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'), "{name}");
        assert_eq!(m.bytes.len(), 3000);
    }
    assert!(!html.contains("SECRET CODE"));
}

#[test]
fn a_form_is_accessible_and_works_without_script() {
    let fields = json!([
        {"name": "photo", "kind": "image", "label": "Photo", "max_bytes": 1048576},
        {"name": "doc", "kind": "file"},
        {"name": "note", "kind": "text", "label": "A \"note\"", "default": "<x>"},
        {"name": "k", "kind": "number", "min": 1, "max": 9, "default": "3"},
        {"name": "c", "kind": "choice", "choices": ["a", "b&c"], "default": "b&c"},
        {"name": "yes", "kind": "checkbox", "default": "true"},
        {"name": "must", "kind": "text"},
    ]);
    let nb = with_outputs(json!([
        {"output_type": "display_data", "metadata": {}, "data": {FORM_MIME: form("f 1", fields), "text/plain": "FALLBACK"}},
    ]));
    let page = Page::render(&nb, "t", &NoPictures, None);
    assert_eq!(page.forms.len(), 1);
    assert_eq!(dds_app::render::forms(&nb), page.forms);
    let html = page.html("", None);
    assert!(html.contains("method=\"post\"") && html.contains("enctype=\"multipart/form-data\""));
    assert!(html.contains("action=\"form/f%201#form-0\""), "{html}");
    assert!(html.contains("<em>one</em>") && !html.contains("FALLBACK"));
    assert!(html.contains("aria-live=\"polite\""));
    assert!(html.contains("up to 1 MB"));
    assert!(html.contains("value=\"&lt;x&gt;\"") && html.contains("A &quot;note&quot;"));
    assert!(html.contains("min=\"1\" max=\"9\"") && html.contains("<option value=\"b&amp;c\" selected>"));
    // Every control has a label of its own.
    assert!(html.contains("name=\"must\" maxlength=\"10000\" value=\"\" autocomplete=\"off\" required>"));
    assert!(html.contains("value=\"&lt;x&gt;\" autocomplete=\"off\">"));
    for i in 0..7 {
        assert_eq!(html.matches(&format!("for=\"f0-{i}\"")).count(), 1);
        assert_eq!(html.matches(&format!(" id=\"f0-{i}\"")).count(), 1);
    }
    let answered = page.html("../", Some(("f 1", "<p>ANSWER</p>")));
    assert!(
        answered.contains("data-result><p>ANSWER</p></div>") && answered.contains("action=\"../form/f%201")
    );
    assert!(!page.html("", Some(("other", "ANSWER"))).contains("ANSWER"));
}

#[test]
fn a_broken_form_falls_back_to_its_text() {
    for bad in [json!({}), json!(7), form("f", json!([])), form("", json!([{"name": "a", "kind": "text"}]))] {
        let nb = with_outputs(json!([
            {"output_type": "display_data", "metadata": {}, "data": {FORM_MIME: bad, "text/plain": "FALLBACK"}},
        ]));
        let page = Page::render(&nb, "t", &NoPictures, None);
        assert!(page.forms.is_empty() && page.html("", None).contains("FALLBACK"));
    }
}

#[test]
fn answers_show_bundles_then_the_error() {
    let a = Answer {
        bundles: vec![MimeBundle::text("cat 97 %")],
        error: Some(Problem { kind: "Usage".into(), message: "<m>".into(), hint: Some("<h>".into()) }),
    };
    let html = answer_html(&a);
    assert!(html.find("cat 97 %").unwrap() < html.find("&lt;m&gt;").unwrap());
    assert!(html.contains("&lt;h&gt;"));
    assert!(answer_html(&Answer::default()).contains("nothing to show"));
}

#[test]
fn the_page_asks_nothing_of_other_hosts() {
    let nb = notebook(&[
        "md:![x](http://evil.example/x.png) <img src=//evil.example/y> [a link](https://ok.example)",
    ]);
    let html = page(&nb);
    assert!(!html.contains("evil.example"), "{html}");
    assert!(html.contains("href=\"https://ok.example\"") && html.contains("noopener"));
    for attribute in ["src=\"http", "src=\"//", "src=\"/", "href=\"/", "action=\"/", "<base", "style>"] {
        assert!(!html.contains(attribute), "{attribute}");
    }
    for asset in [include_str!("../../assets/style.css"), include_str!("../../assets/app.js")] {
        assert!(!asset.contains("http:") && !asset.contains("https:") && !asset.contains("@import"));
        assert!(!asset.contains("url("), "style and script load nothing");
    }
    assert!(matches!(nb.cells[0].kind, CellKind::Markdown { .. }));
}
