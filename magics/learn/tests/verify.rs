//! `verify`: what is found, what is removed, and what is left alone.

use dds_core::engine::LearnEngine;
use dds_core::{Config, Cx, Located, Outcome, RepoUrl, Resolver, Result, Source, request as rq};
use image::{Rgb, RgbImage};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Nothing is mounted.
struct Here;

impl Resolver for Here {
    fn resolve(&self, path: &Path) -> Located {
        Located::Local(path.to_owned())
    }

    fn open(&self, _: &RepoUrl, _: &Cx) -> Result<Arc<dyn Source>> {
        Err(dds_core::Error::not_found("no repositories here"))
    }
}

fn engine(dir: &Path) -> dds_learn::Learn {
    let config = Config {
        exe: PathBuf::new(),
        cache_dir: dir.join("cache"),
        config_dir: PathBuf::new(),
        data_dir: PathBuf::new(),
        runtime_dir: PathBuf::new(),
        dagshub_host: "https://dagshub.invalid".into(),
        dagshub_token: None,
        dagshub_login: None,
        threads: 2,
        peers: Default::default(),
    };
    dds_learn::Learn::new(Arc::new(config), Arc::new(Here))
}

fn encoded(seed: u8, format: image::ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(40, 30, |x, y| Rgb([seed, (x * 6) as u8, (y * 8) as u8]));
    let mut out = std::io::Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// Each kind of bad file among good ones.
fn folder() -> tempfile::TempDir {
    use image::ImageFormat::*;
    let dir = tempfile::tempdir().unwrap();
    let jpeg = encoded(1, Jpeg);
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("good/a.jpg", jpeg.clone()),
        ("good/b.png", encoded(2, Png)),
        ("good/c.TIFF", encoded(3, Tiff)),
        ("good/notes.txt", b"words".to_vec()),
        ("good/same words.txt", b"words".to_vec()),
        ("good/labels.txt", Vec::new()),
        ("bad/again.jpeg", jpeg.clone()),
        ("bad/cut.jpg", half(encoded(4, Jpeg))),
        ("bad/cut.png", half(encoded(5, Png))),
        ("bad/cut.gif", half(encoded(6, Gif))),
        ("bad/cut.webp", half(encoded(6, WebP))),
        ("bad/cut.bmp", half(encoded(6, Bmp))),
        ("bad/cut.tif", half(encoded(6, Tiff))),
        ("bad/empty.webp", Vec::new()),
        ("bad/page.jpg", b"<html>404".to_vec()),
        ("bad/misnamed.jpg", encoded(7, Png)),
        ("bad/image.csv", encoded(8, Gif)),
        (".hidden/x.jpg", b"x".to_vec()),
        (".dds", b"x".to_vec()),
    ];
    for (name, bytes) in files {
        let at = dir.path().join("photos").join(name);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, bytes).unwrap();
    }
    dir
}

fn verify(dir: &Path, remove: bool, all: bool) -> Outcome {
    let cx = Cx::silent(dir);
    engine(dir).verify(&rq::Verify { dir: "photos".into(), remove, all }, &cx).unwrap()
}

fn reasons(out: &Outcome) -> BTreeMap<String, String> {
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    out.json["bad"].as_array().unwrap().iter().map(|b| (text(&b["path"]), text(&b["reason"]))).collect()
}

fn bad() -> BTreeMap<String, String> {
    [
        ("bad/cut.bmp", "truncated"),
        ("bad/cut.gif", "truncated"),
        ("bad/cut.jpg", "truncated"),
        ("bad/cut.png", "truncated"),
        ("bad/cut.tif", "truncated"),
        ("bad/cut.webp", "truncated"),
        ("bad/empty.webp", "empty"),
        ("bad/image.csv", "wrong type"),
        ("bad/misnamed.jpg", "wrong type"),
        ("bad/page.jpg", "wrong type"),
        ("good/a.jpg", "duplicate"),
    ]
    .into_iter()
    .map(|(a, b)| (a.to_owned(), b.to_owned()))
    .collect()
}

#[test]
fn every_bad_file_is_named_with_its_reason() {
    let dir = folder();
    let out = verify(dir.path(), false, false);
    assert_eq!(reasons(&out), bad());
    assert_eq!(out.json["ok"], false);
    assert_eq!((out.json["images"].as_u64(), out.json["others"].as_u64()), (Some(13), Some(4)));
    assert!(out.summary.contains("13 images and 4 other files checked, 11 bad"), "{}", out.summary);
    assert!(out.detail.contains("bad/page.jpg") && out.detail.contains("web page"), "{}", out.detail);
    assert!(out.detail.contains("the same bytes as bad/again.jpeg"), "{}", out.detail);
    // Seen in the notebook: the misnamed, the doubled and the half images.
    assert!(out.displays[0].data["image/png"].as_str().unwrap().len() > 1000);
    assert_eq!(out.displays[0].plain(), out.detail);
    assert!(dir.path().join("photos/bad/cut.jpg").exists());
}

#[test]
fn other_files_count_only_when_asked_for() {
    let dir = folder();
    let found = reasons(&verify(dir.path(), false, true));
    assert_eq!(found.get("good/labels.txt").map(String::as_str), Some("empty"));
    assert_eq!(found.get("good/same words.txt").map(String::as_str), Some("duplicate"));
    assert_eq!(found.len(), bad().len() + 2);
}

#[test]
fn bad_files_are_removed_and_nothing_else() {
    let dir = folder();
    let outside = dir.path().join("outside.jpg");
    std::fs::write(&outside, b"not an image").unwrap();
    let link = dir.path().join("photos/bad/link.jpg");
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    std::os::unix::fs::symlink(dir.path(), dir.path().join("photos/up")).unwrap();
    let out = verify(dir.path(), true, false);
    assert_eq!((out.json["removed"].as_u64(), out.json["ok"].as_bool()), (Some(12), Some(true)));
    assert!(out.summary.ends_with("12 removed"), "{}", out.summary);
    let left = verify(dir.path(), false, false);
    assert!(left.json["bad"].as_array().unwrap().is_empty() && left.displays.is_empty());
    assert!(left.summary.ends_with("all good"), "{}", left.summary);
    for kept in ["good/b.png", "bad/again.jpeg", "good/labels.txt", ".hidden/x.jpg"] {
        assert!(dir.path().join("photos").join(kept).exists(), "{kept}");
    }
    // The link goes, what it leads to stays.
    assert!(outside.exists() && !link.is_symlink());
}

#[test]
fn links_to_nowhere_are_unreadable() {
    let dir = folder();
    std::os::unix::fs::symlink("nowhere", dir.path().join("photos/gone.jpg")).unwrap();
    let found = reasons(&verify(dir.path(), false, false));
    assert_eq!(found.get("gone.jpg").map(String::as_str), Some("unreadable"));
}
