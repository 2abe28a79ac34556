//! Files and values on their way from a browser to a kernel.

use crate::exec::notebook;
use crate::http::{Piece, get, multipart, post};
use crate::server::{Running, TEXT_FORM, one_line, start};
use serde_json::Value;

const PHOTO_FORM: &str = r#"form {"id": "p", "title": "Photo", "intro": "", "submit": "Go",
    "run": ["echo", "$photo", "--top=$k"], "fields": [
    {"name": "photo", "kind": "image", "label": "Your photo", "max_bytes": 2000},
    {"name": "k", "kind": "number", "min": 1, "max": 5, "default": "3"}]}"#;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n0123456789abcdef";

/// What the toy kernel told in its answer.
pub fn told(html: &str) -> Value {
    let text = html.split_once("tabindex=\"0\">").unwrap_or_else(|| panic!("{html}")).1;
    let text = text.split_once("</pre>").unwrap().0.replace("&quot;", "\"").replace("&amp;", "&");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Under which name the last `photo` was handed to a kernel.
fn stored_name(r: &Running) -> String {
    let sent = r.launcher.log.sent.lock().unwrap();
    let asked = sent.iter().rev().find(|(_, kind, _)| kind == "comm_msg").unwrap();
    asked.2["data"]["uploads"]["photo"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_upload_gets_a_name_of_ours_and_is_gone_afterwards() {
    let r = start(&notebook(&[&one_line(PHOTO_FORM)]), |_| {}).await;
    let mut names = std::collections::HashSet::new();
    for evil in ["../../evil.sh", "/etc/passwd", "a\\b.png", "x\u{202e}gnp.exe", "<img src=x>.png", ""] {
        let body = multipart(&[Piece::File("photo", evil, PNG), Piece::Text("k", "2")]);
        let a = post(r.port, "/form/p-of-0", &r.cookie, true, &body).await;
        assert_eq!(a.status, 200, "{}", a.body);
        let told = told(a.json()["html"].as_str().unwrap());
        assert_eq!(told["files"][0]["bytes"], PNG.len());
        assert_eq!(told["files"][0]["name"], "Your photo", "the visitor reads the field's label");
        let name = stored_name(&r);
        let random = name.as_str().strip_prefix("picture-").and_then(|n| n.strip_suffix(".png")).unwrap();
        assert!(random.len() == 12 && random.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
        assert!(names.insert(random.to_owned()), "each upload has a name of its own");
    }
    let specs = r.launcher.log.specs.lock().unwrap().clone();
    for spec in specs {
        use std::os::unix::fs::PermissionsExt;
        let folder = &spec.env.iter().find(|(k, _)| k == "DDS_UPLOADS").unwrap().1;
        if let Ok(meta) = std::fs::metadata(folder) {
            assert_eq!(meta.permissions().mode() & 0o777, 0o700);
            assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "answered uploads are removed");
        }
        assert_eq!(spec.cwd, r.dir.path().join("book").canonicalize().unwrap());
    }
}

#[tokio::test]
async fn what_is_too_large_no_picture_or_missing_is_refused_with_a_reason() {
    let r = start(&notebook(&[&one_line(PHOTO_FORM)]), |_| {}).await;
    let at_limit = [PNG, &vec![7; 2000 - PNG.len()]].concat();
    let past = [PNG, &vec![7; 2001 - PNG.len()]].concat();
    let huge = [PNG, &vec![7; 900_000]].concat();
    let file = |b| Piece::File("photo", "a.png", b);
    for (pieces, status, needle) in [
        (vec![file(&at_limit)], 200, ""),
        (vec![file(&past)], 413, "Your photo: larger than 2.0 KB"),
        (vec![file(&huge), Piece::Text("k", "1")], 413, "larger than"),
        (vec![file(b"%PDF-1.7 and more text")], 415, "this is a PDF, not a picture"),
        (vec![file(b"<svg onload=alert(1)></svg>")], 415, "this is not a picture"),
        (vec![file(b"GIF")], 415, "this is not a picture"),
        (vec![file(b"\0\0\0\x20ftypheic\0\0\0\0")], 415, "HEIC"),
        (vec![file(b"")], 400, "Your photo: nothing was given"),
        (vec![], 400, "Your photo: nothing was given"),
        (vec![Piece::Text("photo", "just text")], 415, "this is not a picture"),
        (vec![file(PNG), Piece::Text("k", "9")], 400, "out of range"),
        (vec![file(PNG), Piece::Text("k", "1; rm -rf")], 400, "is not a number"),
        (vec![file(PNG), file(PNG)], 400, "sent twice"),
        (vec![file(PNG), Piece::Text("unknown", "x")], 200, ""),
    ] {
        let a = post(r.port, "/form/p-of-0", &r.cookie, true, &multipart(&pieces)).await;
        assert_eq!(a.status, status, "{needle}: {}", a.body);
        let html = a.json()["html"].as_str().unwrap().to_owned();
        assert!(html.contains(needle), "{needle}: {html}");
    }
    let many: Vec<_> = (0..200).map(|_| Piece::Text("unknown", "x")).collect();
    assert_eq!(post(r.port, "/form/p-of-0", &r.cookie, true, &multipart(&many)).await.status, 400);
    let a = post(r.port, "/form/p-of-0", &r.cookie, true, b"not multipart at all").await;
    assert_eq!(a.status, 400, "{}", a.body);
    // Refused forms have cost nobody a kernel and left nothing behind.
    let staged = std::fs::read_dir(r.dir.path().join("run")).unwrap().next().unwrap().unwrap().path();
    let files = std::fs::read_dir(staged).unwrap().filter(|e| e.as_ref().unwrap().path().is_file()).count();
    assert_eq!(files, 0);
}

#[tokio::test]
async fn every_image_type_is_known_by_its_bytes() {
    let r = start(&notebook(&[&one_line(PHOTO_FORM)]), |_| {}).await;
    for (bytes, extension) in [
        (&b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01"[..], ".jpg"),
        (PNG, ".png"),
        (b"GIF89a\x01\0\x01\0\0\0\0", ".gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ....", ".webp"),
        (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0", ".bmp"),
        (b"II*\0\x08\0\0\0", ".tif"),
        (b"MM\0*\0\0\0\x08", ".tif"),
    ] {
        let body = multipart(&[Piece::File("photo", "x.exe", bytes)]);
        let a = post(r.port, "/form/p-of-0", &r.cookie, true, &body).await;
        assert_eq!(a.status, 200, "{}", a.body);
        assert!(stored_name(&r).ends_with(extension), "{extension}");
    }
}

#[tokio::test]
async fn two_forms_of_one_page_are_kept_apart_and_answer_in_place() {
    let r = start(&notebook(&["md:# Two", &one_line(TEXT_FORM), &one_line(PHOTO_FORM)]), |_| {}).await;
    let page = get(r.port, "/", &r.cookie).await.body;
    assert!(page.contains("action=\"form/t-of-0#form-0\"") && page.contains("action=\"form/p-of-0#form-1\""));
    let text = multipart(&[Piece::Text("words", "a <b> & \"c\"")]);
    let a = post(r.port, "/form/t-of-0", &r.cookie, false, &text).await;
    assert_eq!(a.status, 200);
    let (first, second) = a.body.split_once("id=\"form-1\"").unwrap();
    assert!(first.contains("a &lt;b&gt; &amp;") && !second.contains("&lt;b&gt;"));
    assert!(first.contains("href=\"../style.css"), "the full page knows where it is");
    let a =
        post(r.port, "/form/p-of-0", &r.cookie, false, &multipart(&[Piece::File("photo", "a", PNG)])).await;
    let (first, second) = a.body.split_once("id=\"form-1\"").unwrap();
    assert!(!first.contains("kernel&quot;") && second.contains("kernel&quot;"), "{}", a.body);
    assert_eq!(post(r.port, "/form/x-of-0", &r.cookie, false, &text).await.status, 404);
    // Reloading the answer's address leads back to the page.
    let back = get(r.port, "/form/t-of-0", &r.cookie).await;
    assert_eq!((back.status, back.header("location")), (303, Some("../")));
}

#[tokio::test]
async fn another_notebook_has_other_fields() {
    let form = r#"form {"id": "settings", "title": "S", "intro": "", "submit": "", "run": ["echo", "$c", "--on=$yes", "$t"],
        "fields": [{"name": "c", "kind": "choice", "choices": ["red", "blue"]}, {"name": "yes", "kind": "checkbox"},
                   {"name": "t", "kind": "text", "default": "x"}]}"#;
    let r = start(&notebook(&["print other", "md:## Colours", &one_line(form)]), |_| {}).await;
    let send = async |pieces: &[Piece<'_>]| {
        post(r.port, "/form/settings-of-0", &r.cookie, true, &multipart(pieces)).await
    };
    let a = send(&[Piece::Text("c", "blue"), Piece::Text("yes", "on"), Piece::Text("t", "")]).await;
    let told = told(a.json()["html"].as_str().unwrap());
    assert_eq!(told["values"], serde_json::json!({"c": "blue", "yes": "on", "t": ""}));
    assert_eq!(told["words"], 4);
    assert_eq!(send(&[Piece::Text("c", "green")]).await.status, 400);
    assert_eq!(send(&[Piece::Text("c", "red"), Piece::Text("t", "--model=/etc")]).await.status, 400);
    let long = "x".repeat(50_000);
    assert_eq!(send(&[Piece::Text("c", "red"), Piece::Text("t", &long)]).await.status, 413);
    assert_eq!(send(&[Piece::Text("c", "red"), Piece::Text("t", &"x".repeat(10_001))]).await.status, 400);
    assert_eq!(send(&[Piece::Text("c", "red"), Piece::Text("t", &"x".repeat(10_000))]).await.status, 200);
}

#[tokio::test]
async fn input_is_never_code() {
    let r = start(&notebook(&[&one_line(TEXT_FORM)]), |_| {}).await;
    for evil in
        ["\"); std::process::exit(1); (\"", "%dds unmount /", "{1+1}", "$words", "a\n%%dds app", "!id"]
    {
        let a =
            post(r.port, "/form/t-of-0", &r.cookie, true, &multipart(&[Piece::Text("words", evil)])).await;
        assert_eq!(a.status, 200, "{}", a.body);
    }
    let sent = r.launcher.log.sent.lock().unwrap();
    let kinds: std::collections::BTreeSet<&str> = sent.iter().map(|(_, k, _)| k.as_str()).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["comm_msg", "comm_open", "execute_request"]);
    for (_, kind, content) in sent.iter().filter(|(_, k, _)| k == "execute_request") {
        assert!(content["code"].as_str().unwrap().starts_with("form {"), "{kind}");
    }
}
