//! Files handed over: taken whole or not at all, and never sent back.

use super::page::Page;
use crate::json::Json;
use crate::widgets::*;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

fn page() -> (Page, FileUpload) {
    let page = Page::new();
    let upload = FileUpload::new().multiple(true);
    crate::display(&upload);
    page.take();
    (page, upload)
}

fn file(name: &str, size: usize) -> String {
    format!(
        r#"{{"name":{},"type":"text/csv","size":{size},"last_modified":1700000000123}}"#,
        Json::from(name)
    )
}

fn paths(count: usize) -> String {
    Json::array((0..count).map(|at| Json::array(["value".into(), Json::from(at), "content".into()])))
        .to_string()
}

fn send(page: &Page, upload: &FileUpload, files: &[String], buffers: Vec<Vec<u8>>) {
    let state = format!(r#"{{"value":[{}],"error":""}}"#, files.join(","));
    page.update_with(upload, &state, &paths(buffers.len()), buffers);
}

#[test]
fn files_come_with_their_bytes_which_never_go_back() {
    let (page, upload) = page();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    upload.on_change(move |files| kept.lock().unwrap().push(files.len()));
    send(&page, &upload, &[file("a.csv", 3), file("b", 0)], vec![vec![0, 255, 7], vec![]]);
    let files = upload.get_value();
    assert_eq!((files.len(), *heard.lock().unwrap() == [2]), (2, true));
    assert_eq!(
        (files[0].name.as_str(), files[0].mime_type.as_str(), files[0].size),
        ("a.csv", "text/csv", 3)
    );
    assert_eq!(files[0].content.as_slice(), [0, 255, 7]);
    let since = Duration::from_millis(1_700_000_000_123);
    assert_eq!(files[0].last_modified, Some(SystemTime::UNIX_EPOCH + since));

    let sent = page.take();
    assert_eq!(
        (sent.len(), sent[0].method(), sent[0].state()),
        (1, "echo_update", r#"{"error":""}"#.to_owned())
    );
    let answer = page.reload("control");
    assert_eq!(
        (answer.buffers.len(), answer.data.get("buffer_paths").unwrap().to_string()),
        (0, "[]".to_owned())
    );
    let state = answer.data.get("states").unwrap().get(upload.model_id()).unwrap().get("state").unwrap();
    assert_eq!(state.get("value").unwrap().to_string(), format!("[{},{}]", file("a.csv", 3), file("b", 0)));

    assert_eq!(upload.take().len(), 2);
    assert_eq!(page.told(), [r#"update {"value":[]}"#]);
    assert_eq!((upload.get_value().len(), *heard.lock().unwrap() == [2]), (0, true));
}

#[test]
fn names_are_the_last_part_only() {
    let (page, upload) = page();
    for (sent, name) in [("../../etc/passwd", "passwd"), ("C:\\x\\y.png", "y.png"), ("ä ö.txt", "ä ö.txt")]
    {
        send(&page, &upload, &[file(sent, 1)], vec![vec![1]]);
        assert_eq!(upload.take()[0].name, name);
    }
    for name in ["", ".", "..", "a/..", "a/", "\u{0}", "a\nb", &"x".repeat(256)] {
        send(&page, &upload, &[file(name, 1)], vec![vec![1]]);
        assert_eq!(upload.get_value(), [], "{name:?}");
    }
}

#[test]
fn what_is_no_upload_is_refused_whole() {
    let (page, upload) = page();
    send(&page, &upload, &[file("kept", 1)], vec![vec![1]]);
    let content = |bytes: usize| vec![0; bytes];
    // Without bytes, with a wrong size, with the second one missing.
    send(&page, &upload, &[file("a", 1)], vec![]);
    send(&page, &upload, &[file("a", 2)], vec![content(1)]);
    send(&page, &upload, &[file("a", 1), file("b", 1)], vec![content(1)]);
    for value in ["7", "null", r#"[7]"#, r#"[{"name":"a","size":-1}]"#, r#"[{"size":1}]"#] {
        page.update_with(&upload, &format!(r#"{{"value":{value}}}"#), &paths(1), vec![content(1)]);
    }
    page.update_with(
        &upload,
        &format!(r#"{{"value":[{}]}}"#, file("a", 1)),
        r#"{"no":"list"}"#,
        vec![content(1)],
    );
    // The same buffer twice.
    let twice = r#"[["value",0,"content"],["value",0,"content"]]"#;
    let both = format!(r#"{{"value":[{},{}]}}"#, file("a", 1), file("b", 1));
    page.update_with(&upload, &both, twice, vec![content(1), content(1)]);
    assert_eq!(upload.get_value()[0].name, "kept");
    assert!(page.take().iter().all(|sent| sent.buffers.is_empty()));
}

#[test]
fn uploads_are_taken_up_to_their_bounds() {
    let (page, upload) = page();
    let some = |count: usize| (0..count).map(|at| file(&format!("f{at}"), 1)).collect::<Vec<_>>();
    send(&page, &upload, &some(MAX_FILES), vec![vec![0]; MAX_FILES]);
    assert_eq!(upload.take().len(), MAX_FILES);
    send(&page, &upload, &some(MAX_FILES + 1), vec![vec![0]; MAX_FILES + 1]);
    assert_eq!(upload.take().len(), 0);
    send(&page, &upload, &[file("large", MAX_UPLOAD_BYTES)], vec![vec![0; MAX_UPLOAD_BYTES]]);
    assert_eq!(upload.take().len(), 1);
    send(
        &page,
        &upload,
        &[file("l", MAX_UPLOAD_BYTES), file("m", 1)],
        vec![vec![0; MAX_UPLOAD_BYTES], vec![0]],
    );
    assert_eq!(upload.take().len(), 0);
}
