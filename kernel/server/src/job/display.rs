//! A display as an event: what is large lies in a file of the run's folder.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dds_core::job::{Event, FileRef};
use dds_core::{Error, MimeBundle, Result};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Most bytes of a binary representation (in base64) that travel in the event itself.
const INLINE_BINARY: usize = 4 * 1024;
/// Most bytes of a textual one.
const INLINE_TEXT: usize = 64 * 1024;
/// Folder of these files, in the run's folder.
const FOLDER: &str = "displays";

/// The event of the `number`-th display of a step.
pub(super) fn event(step: usize, number: usize, bundle: &MimeBundle, run: &Path) -> Result<Event> {
    let mut data = Map::new();
    let mut files = BTreeMap::new();
    for (mime, value) in &bundle.data {
        match outside(mime, value) {
            None => drop(data.insert(mime.clone(), value.clone())),
            Some(bytes) => {
                let name = format!("{FOLDER}/{step:03}-{number:03}.{}", extension(mime));
                files.insert(mime.clone(), write(run, &name, &bytes)?);
            }
        }
    }
    Ok(Event::Display { step, data, metadata: bundle.metadata.clone(), files })
}

/// The bytes of a representation that is too large for the event; base64 is undone.
fn outside(mime: &str, value: &Value) -> Option<Vec<u8>> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if is_binary(mime) {
        let joined: String = text.split_ascii_whitespace().collect();
        let bytes = (text.len() > INLINE_BINARY).then(|| STANDARD.decode(joined));
        return bytes.map(|b| b.unwrap_or_else(|_| text.into_bytes()));
    }
    (text.len() > INLINE_TEXT).then(|| text.into_bytes())
}

/// Whether Jupyter carries this type in base64.
fn is_binary(mime: &str) -> bool {
    let top = mime.split('/').next().unwrap_or_default();
    match top {
        "image" => mime != "image/svg+xml",
        "audio" | "video" | "font" => true,
        _ => ["application/pdf", "application/octet-stream", "application/zip"].contains(&mime),
    }
}

/// The end of a file's name: the type's own name, without what could be a path.
fn extension(mime: &str) -> String {
    let sub = mime.split(['/', ';']).nth(1).unwrap_or("data");
    match sub {
        "plain" => "txt".into(),
        "jpeg" => "jpg".into(),
        "svg+xml" => "svg".into(),
        other => other.chars().filter(|c| c.is_ascii_alphanumeric() || "-+.".contains(*c)).take(60).collect(),
    }
}

/// Writes a file of the run. `name` is its path from there.
pub(super) fn write(run: &Path, name: &str, bytes: &[u8]) -> Result<FileRef> {
    let path = run.join(name);
    let told = |e: std::io::Error| Error::io(&path, &e);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(told)?;
    }
    std::fs::write(&path, bytes).map_err(told)?;
    Ok(FileRef { file: name.to_owned(), bytes: bytes.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_representations_lie_in_files() {
        let run = tempfile::tempdir().unwrap();
        let picture = vec![7u8; INLINE_BINARY];
        let bundle = MimeBundle::text("grid")
            .with_png(STANDARD.encode(&picture), 2, 2)
            .with("text/html", "x".repeat(INLINE_TEXT + 1))
            .with("image/svg+xml", "<svg/>");
        let Event::Display { data, metadata, files, .. } = event(2, 1, &bundle, run.path()).unwrap() else {
            panic!("another event")
        };
        assert_eq!(data.keys().collect::<Vec<_>>(), ["image/svg+xml", "text/plain"]);
        assert!(metadata.contains_key("image/png"));
        let png = &files["image/png"];
        assert_eq!((png.file.as_str(), png.bytes), ("displays/002-001.png", picture.len() as u64));
        assert_eq!(std::fs::read(run.path().join(&png.file)).unwrap(), picture);
        assert_eq!(files["text/html"].bytes as usize, INLINE_TEXT + 1);
    }

    #[test]
    fn small_ones_travel_in_the_event() {
        let bundle = MimeBundle::text("x".repeat(INLINE_TEXT)).with("image/png", "A".repeat(INLINE_BINARY));
        let Event::Display { data, files, .. } = event(1, 1, &bundle, Path::new("/nowhere")).unwrap() else {
            panic!("another event")
        };
        assert!(files.is_empty() && data.len() == 2);
    }

    #[test]
    fn a_type_never_becomes_a_path() {
        assert_eq!(extension("image/../../x"), "..");
        assert_eq!(extension("text"), "data");
        assert!(!extension("a/b\0c d").contains(['/', '\0', ' ']));
    }
}
