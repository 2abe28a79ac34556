//! Hostile text in every place that a page has, judged by a tag scanner of our own rather than by
//! the sanitiser's parser.

use dds_app::Notebook;
use dds_app::notebook::Output;
use dds_app::render::markdown::NoPictures;
use dds_app::render::{Page, answer_html, output_html};
use dds_core::form::{Answer, FORM_MIME, Problem};
use serde_json::json;

pub const PAYLOADS: &[&str] = &[
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src='data:image/svg+xml,<svg onload=alert(1)>'>",
    "<img src=\"data:text/html;base64,PHNjcmlwdD4=\">",
    "<img/src/onerror=alert(1)>",
    "<img src=x:alert(1) onerror=eval(src)>",
    "<IMG \"\"\"><SCRIPT>alert(1)</SCRIPT>\">",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate xlink:href=#x attributeName=href values=javascript:alert(1) /><a id=x><text>x</text></a></svg>",
    "<svg><foreignObject><iframe srcdoc='<script>1</script>'></foreignObject></svg>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<math><a xlink:href=javascript:alert(1)>x</a></math>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<embed src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href=' \u{1}java\nscript:alert(1)'>x</a>",
    "<a href='jav&#x09;ascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='DaTa:text/html;base64,PHNjcmlwdD4='>x</a>",
    "<a href=vbscript:x>x</a>",
    "<form action=//evil.example><input name=a><button formaction=javascript:alert(1)>x</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)><summary>x</summary></details>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<base href=//evil.example/>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<style>@import '//evil.example/x.css';body{background:url(//evil.example)}</style>",
    "<div style=\"background:url(//evil.example)\">x</div>",
    "<div style=\"background-color:red;background-image:url('javascript:alert(1)')\">x</div>",
    "<div style=\"width:expression(alert(1));position:fixed;inset:0\">x</div>",
    "<div style=\"color:r\\65 d;\\62 ackground:\\75rl(//evil.example)\">x</div>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<textarea><script>alert(1)</script></textarea>",
    "<title></title><script>alert(1)</script>",
    "<xmp><script>alert(1)</script></xmp>",
    "<plaintext><script>alert(1)",
    "<table><td background=javascript:alert(1)>x</td></table>",
    "<p id=cookie name=body class=x onclick=alert(1) data-form data-result>x</p>",
    "\"><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "\" autofocus onfocus=\"alert(1)",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    "</title></style></textarea></script><script>alert(1)</script>",
    "{{title}}<script>alert(1)</script>{{body}}",
    "[x](javascript:alert(1)) ![y](javascript:alert(1)) <javascript:alert(1)>",
    "[x]: javascript:alert(1)\n[x]\n\n![a](\"onerror=alert(1))",
    "`<script>alert(1)</script>` ```html\n<script>alert(1)</script>\n```",
    "\u{1b}[31m<script>alert(1)</script>\u{1b}[0m",
    "\u{1b}]8;;javascript:alert(1)\u{7}x\u{1b}]8;;\u{7}",
    "<img src=1 srcset='//evil.example/x 1x' loading=lazy style=x>",
    "<a href='#x' ping=//evil.example target=_top>x</a>",
    "<\u{0}script>alert(1)</script>",
    "<script\u{c}>alert(1)</script\u{c}>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<<script>alert(1);//<</script>",
];

/// The tags of `html` with their attributes, as a simple and strict reader sees them.
fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
    let chars: Vec<char> = html.chars().collect();
    let mut found = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let opens = chars[i] == '<' && chars.get(i + 1).is_some_and(|c| c.is_ascii_alphabetic() || *c == '!');
        if !opens {
            i += 1;
            continue;
        }
        i += 1;
        let word = |i: &mut usize, stop: &dyn Fn(char) -> bool| {
            let start = *i;
            while *i < chars.len() && !stop(chars[*i]) {
                *i += 1;
            }
            chars[start..*i].iter().collect::<String>().to_ascii_lowercase()
        };
        let name = word(&mut i, &|c| c.is_whitespace() || c == '>' || c == '/');
        let mut attributes = Vec::new();
        while i < chars.len() && chars[i] != '>' {
            if chars[i].is_whitespace() || chars[i] == '/' {
                i += 1;
                continue;
            }
            let key = word(&mut i, &|c| c.is_whitespace() || c == '=' || c == '>');
            let mut value = String::new();
            if chars.get(i) == Some(&'=') {
                i += 1;
                match chars.get(i) {
                    Some(&q) if q == '"' || q == '\'' => {
                        i += 1;
                        value = word(&mut i, &|c| c == q);
                        i += 1;
                    }
                    _ => value = word(&mut i, &|c| c.is_whitespace() || c == '>'),
                }
            }
            attributes.push((key, value));
        }
        found.push((name, attributes));
    }
    found
}

/// What a page of ours may hold. `ours` is the number of forms and scripts that belong to it.
fn assert_harmless(html: &str, what: &str, scripts: usize, forms: usize) {
    let all = tags(html);
    let count = |n: &str| all.iter().filter(|(name, _)| name == n).count();
    assert_eq!(count("script"), scripts, "{what}\n{html}");
    assert_eq!(count("form"), forms, "{what}\n{html}");
    assert_eq!(count("link"), scripts * 2, "{what}\n{html}");
    for (name, attributes) in &all {
        let never = [
            "iframe",
            "object",
            "embed",
            "svg",
            "math",
            "style",
            "base",
            "template",
            "frame",
            "applet",
            "video",
            "audio",
            "xmp",
            "plaintext",
            "noscript",
        ];
        assert!(!never.contains(&name.as_str()), "{what}: <{name}>\n{html}");
        if name == "meta" {
            assert!(!attributes.iter().any(|(k, _)| k == "http-equiv"), "{what}");
        }
        for (k, v) in attributes {
            assert!(!k.starts_with("on"), "{what}: {name} {k}={v}\n{html}");
            assert!(
                !["srcdoc", "srcset", "formaction", "ping", "background", "xlink:href", "autofocus"]
                    .contains(&k.as_str()),
                "{what}: {k}"
            );
            let plain: String = v.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
            if matches!(k.as_str(), "href" | "src" | "action") {
                assert!(
                    !plain.starts_with("javascript:") && !plain.starts_with("vbscript:"),
                    "{what}: {k}={v}"
                );
                assert!(!plain.starts_with("data:text"), "{what}: {k}={v}");
                // A form's id is part of its address, encoded.
                let own_action = k == "action" && plain.starts_with("form/");
                assert!(k == "href" || own_action || !plain.contains("evil"), "{what}: {k}={v}");
                assert!(!own_action || !plain.contains([':', '<', '\\']), "{what}: {k}={v}");
                if k == "src" {
                    let own = plain.starts_with("app.js") || plain.starts_with("media/");
                    let image = plain.starts_with("data:image/") && plain.contains(";base64,");
                    assert!(own || image, "{what}: src={v}");
                }
            }
            if k == "style" {
                for bad in ["url(", "expression", "position", "\\", "import"] {
                    assert!(!v.contains(bad), "{what}: style={v}");
                }
            }
            // Only forms of ours may carry what the page's script looks for.
            if k == "data-form" {
                assert_eq!(name, "form", "{what}");
            }
        }
    }
}

#[test]
fn the_scanner_sees_what_it_should() {
    for bad in [
        "<img src=x onerror=alert(1)>",
        "<a href=\"java\nscript:x\">",
        "<p style='background:url(x)'>",
        "<iframe>",
        "<script>",
        "<p data-form>",
    ] {
        assert!(std::panic::catch_unwind(|| assert_harmless(bad, "", 0, 0)).is_err(), "{bad}");
    }
    assert_harmless("<p title='<script>'>&lt;script&gt;</p>", "", 0, 0);
    assert!(PAYLOADS.len() >= 60);
}

#[test]
fn outputs_survive_no_payload() {
    for p in PAYLOADS {
        let bundle = |mime: &str| serde_json::from_value(json!({"data": {mime: p}, "metadata": {}})).unwrap();
        for mime in [
            "text/html",
            "text/markdown",
            "text/plain",
            "text/latex",
            "image/png",
            "image/jpeg",
            "image/svg+xml",
            "application/json",
        ] {
            let html = output_html(&Output::Display { bundle: bundle(mime), display_id: None });
            assert_harmless(&html, &format!("{mime}: {p}"), 0, 0);
        }
        let both =
            json!({"data": {"image/png": "AAAA", "text/plain": p}, "metadata": {"image/png": {"width": p}}});
        let html =
            output_html(&Output::Display { bundle: serde_json::from_value(both).unwrap(), display_id: None });
        assert_harmless(&html, &format!("alt: {p}"), 0, 0);
        for name in ["stdout", "stderr", p] {
            let html = output_html(&Output::Stream { name: name.to_string(), text: p.to_string() });
            assert_harmless(&html, &format!("stream: {p}"), 0, 0);
        }
        let error = Output::Error {
            ename: p.to_string(),
            evalue: p.to_string(),
            traceback: vec![p.to_string(), format!("hint: {p}")],
        };
        assert_harmless(&output_html(&error), &format!("error: {p}"), 0, 0);
        let answer = Answer {
            bundles: vec![bundle("text/html"), bundle("text/plain")],
            error: Some(Problem { kind: p.to_string(), message: p.to_string(), hint: Some(p.to_string()) }),
        };
        assert_harmless(&answer_html(&answer), &format!("answer: {p}"), 0, 0);
    }
}

#[test]
fn whole_pages_survive_no_payload() {
    for p in PAYLOADS {
        let form = json!({
            "id": p, "title": p, "intro": p, "submit": p, "run": ["echo", p],
            "fields": [
                {"name": "a", "kind": "image", "label": p},
                {"name": "b", "kind": "text", "label": p, "default": p},
                {"name": "c", "kind": "choice", "label": p, "choices": [p], "default": p},
                {"name": "d", "kind": "text", "default": format!("{p}\n</textarea>{p}")},
                {"name": "e", "kind": "number", "label": p, "default": p},
            ],
        });
        let v = json!({
            "nbformat": 4, "nbformat_minor": 5, "metadata": {"title": p},
            "cells": [
                {"cell_type": "markdown", "source": p, "metadata": {}, "attachments": {*p: {*p: p}}},
                {"cell_type": "markdown", "source": format!("# {p}\n\n![{p}](attachment:{p})\n\n| {p} |\n|---|\n| {p} |"), "metadata": {}},
                {"cell_type": "raw", "source": p, "metadata": {}},
                {"cell_type": "code", "source": p, "metadata": {}, "outputs": [
                    {"output_type": "display_data", "metadata": {}, "data": {FORM_MIME: form}}]},
            ],
        });
        let nb = Notebook::from_bytes(v.to_string().as_bytes()).unwrap();
        let page = Page::render(&nb, p, &NoPictures, None);
        assert_eq!(page.forms.len(), 1, "{p}");
        assert_harmless(&page.html("", None), p, 1, 1);
    }
}
