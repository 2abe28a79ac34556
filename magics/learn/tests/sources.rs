//! Data sets in a repository: pinned, read once, opened again elsewhere, and what happens when the
//! server fails. The repository is in memory and counts what is asked of it.

use dds_core::engine::LearnEngine;
use dds_core::source::Versioning;
use dds_core::{
    Config, Cx, Digest, Entry, EntryKind, Error, Kind, Located, RepoPath, RepoUrl, Resolver, Result, Source,
    request as rq,
};
use dds_learn::Learn;
use md5::{Digest as _, Md5};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const URL: &str = "http://127.0.0.1:9/local/art";
const ID: &str = "http://127.0.0.1:9/local/art@0123456789abcdef0123456789abcdef01234567";

#[derive(Default)]
struct Memory {
    files: BTreeMap<RepoPath, Vec<u8>>,
    reads: AtomicUsize,
    announced: Mutex<Vec<RepoPath>>,
    failing: Mutex<BTreeMap<RepoPath, Kind>>,
}

impl Memory {
    fn entry(&self, path: &RepoPath, bytes: &[u8]) -> Entry {
        Entry {
            path: path.clone(),
            kind: EntryKind::File,
            size: Some(bytes.len() as u64),
            digest: Some(Digest::Md5(Md5::digest(bytes).into())),
            versioning: Versioning::Dvc,
            executable: false,
        }
    }

    fn fail(&self, path: &str, kind: Kind) {
        self.failing.lock().unwrap().insert(RepoPath::parse(path).unwrap(), kind);
    }
}

impl Source for Memory {
    fn id(&self) -> String {
        ID.into()
    }

    fn list(&self, dir: &RepoPath, recursive: bool, _: &Cx) -> Result<Vec<Entry>> {
        assert!(recursive);
        let below = self.files.iter().filter(|(p, _)| p.strip_prefix(dir).is_some());
        Ok(below.map(|(p, b)| self.entry(p, b)).collect())
    }

    fn stat(&self, path: &RepoPath, _: &Cx) -> Result<Entry> {
        if let Some(bytes) = self.files.get(path) {
            return Ok(self.entry(path, bytes));
        }
        if self.files.keys().any(|p| p.strip_prefix(path).is_some()) {
            return Ok(Entry {
                path: path.clone(),
                kind: EntryKind::Dir,
                size: None,
                digest: None,
                versioning: Versioning::Git,
                executable: false,
            });
        }
        Err(Error::not_found(format!("{path}: not in the repository")))
    }

    fn read(&self, path: &RepoPath, _: &Cx) -> Result<Vec<u8>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if let Some(kind) = self.failing.lock().unwrap().get(path) {
            return Err(Error::new(*kind, format!("{path}: made to fail")));
        }
        self.files.get(path).cloned().ok_or_else(|| Error::not_found(path.to_string()))
    }

    fn read_range(&self, path: &RepoPath, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        let bytes = self.read(path, cx)?;
        let at = |n: u64| (n as usize).min(bytes.len());
        Ok(bytes[at(range.start)..at(range.end)].to_vec())
    }

    fn announce(&self, paths: &[RepoPath]) {
        self.announced.lock().unwrap().extend_from_slice(paths);
    }
}

/// The repository is mounted at `art` of the working folder, and can be opened by its pinned URL.
struct World {
    memory: Arc<Memory>,
    mount: Option<PathBuf>,
}

impl Resolver for World {
    fn resolve(&self, path: &Path) -> Located {
        match self.mount.as_ref().and_then(|m| path.strip_prefix(m).ok()) {
            Some(below) => Located::Remote {
                source: self.memory.clone(),
                path: RepoPath::parse(below.to_str().unwrap()).unwrap(),
            },
            None => Located::Local(path.to_path_buf()),
        }
    }

    fn open(&self, url: &RepoUrl, _: &Cx) -> Result<Arc<dyn Source>> {
        if [URL, ID].contains(&url.to_string().as_str()) {
            return Ok(self.memory.clone());
        }
        Err(Error::not_found(format!("{url}: no such repository")))
    }
}

fn engine(dir: &Path, memory: &Arc<Memory>, mounted: bool) -> Learn {
    let config = Config {
        peers: Default::default(),
        exe: PathBuf::new(),
        cache_dir: dir.join("cache"),
        config_dir: PathBuf::new(),
        data_dir: PathBuf::new(),
        runtime_dir: PathBuf::new(),
        dagshub_host: String::new(),
        dagshub_token: None,
        dagshub_login: None,
        threads: 2,
    };
    let mount = mounted.then(|| dir.join("art"));
    Learn::new(Arc::new(config), Arc::new(World { memory: memory.clone(), mount }))
}

/// Two classes of 10 images below `pictures/`, and files that do not belong.
fn repository() -> Arc<Memory> {
    let mut files = BTreeMap::new();
    for (class, colour) in [("day", [240u8, 220, 120]), ("night", [10, 10, 60])] {
        for i in 0..10u32 {
            let image = image::RgbImage::from_fn(40, 40, |x, y| {
                image::Rgb(colour.map(|c| c.wrapping_add((x * y * (i + 1) % 15) as u8)))
            });
            let mut bytes = std::io::Cursor::new(Vec::new());
            image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
            files.insert(RepoPath::parse(&format!("pictures/{class}/{i}.png")).unwrap(), bytes.into_inner());
        }
    }
    files.insert(RepoPath::parse("pictures/.dvc/tmp/x.png").unwrap(), b"hidden".to_vec());
    files.insert(RepoPath::parse("other/y.png").unwrap(), b"elsewhere".to_vec());
    Arc::new(Memory { files, ..Memory::default() })
}

fn data(path: &str) -> rq::Data {
    rq::Data { path: path.into(), name: Some("sky".into()), ..rq::Data::default() }
}

#[test]
fn a_listing_reads_nothing_and_a_second_probe_reads_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let memory = repository();
    let learn = engine(dir.path(), &memory, true);
    let cx = Cx::silent(dir.path());
    let outcome = learn.data(&data("art/pictures"), &cx).unwrap();
    assert_eq!(memory.reads.load(Ordering::SeqCst), 0);
    assert_eq!((outcome.json["images"].as_u64(), outcome.json["source"].as_str()), (Some(20), Some(ID)));

    let first = learn.probe(&rq::Probe::default(), &cx).unwrap();
    assert_eq!(memory.reads.load(Ordering::SeqCst), 20);
    assert_eq!((first.json["files_read"].as_u64(), first.json["accuracy"].as_f64()), (Some(20), Some(1.0)));
    let announced: Vec<String> = memory.announced.lock().unwrap().iter().map(RepoPath::to_string).collect();
    let mut sorted = announced.clone();
    sorted.sort();
    assert!(announced.len() == 20 && announced == sorted);

    // The digests of the listing find the features: no byte is fetched.
    let again = learn.probe(&rq::Probe::default(), &cx).unwrap();
    assert_eq!(memory.reads.load(Ordering::SeqCst), 20);
    assert_eq!(again.json["accuracy"], first.json["accuracy"]);
}

#[test]
fn another_process_opens_the_pinned_source_by_its_url() {
    let dir = tempfile::tempdir().unwrap();
    let memory = repository();
    let cx = Cx::silent(dir.path());
    engine(dir.path(), &memory, true).data(&data("art/pictures"), &cx).unwrap();
    let saved = std::fs::read_to_string(dir.path().join(".dds/data/sky.toml")).unwrap();
    assert!(saved.contains(ID), "{saved}");
    // Not mounted any more.
    let later = engine(dir.path(), &memory, false);
    assert_eq!(later.probe(&rq::Probe::default(), &cx).unwrap().json["data"], "sky");
    assert!(later.top_losses(&rq::TopLosses { max: 4, ..Default::default() }, &cx).is_ok());
    // By URL from the start, and one file of it.
    let by_url = later.data(&data(&format!("{URL}:pictures")), &cx).unwrap();
    assert_eq!(by_url.json["images"], 20);
    let shown = rq::Show {
        targets: vec![format!("{URL}:pictures/day/3.png")],
        size: 64,
        max: 1,
        ..Default::default()
    };
    assert_eq!(later.show(&shown, &cx).unwrap().json["images"][0]["path"], "3.png");
    let targets = vec![format!("{URL}:pictures/night")];
    let got = later.predict(&rq::Predict { targets, model: None, top: 1 }, &cx).unwrap();
    let labels: BTreeSet<&str> =
        got.json["predictions"].as_array().unwrap().iter().map(|p| p["label"].as_str().unwrap()).collect();
    assert_eq!(labels, BTreeSet::from(["night"]));
}

#[test]
fn one_bad_file_is_left_out_but_a_lost_server_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let memory = repository();
    let learn = engine(dir.path(), &memory, true);
    let cx = Cx::silent(dir.path());
    learn.data(&data("art/pictures"), &cx).unwrap();
    memory.fail("pictures/day/3.png", Kind::Corrupt);
    let probe = learn.probe(&rq::Probe::default(), &cx).unwrap();
    assert_eq!(probe.json["skipped"][0]["path"], "day/3.png");
    memory.fail("pictures/day/3.png", Kind::Unreachable);
    assert_eq!(learn.probe(&rq::Probe::default(), &cx).unwrap_err().kind, Kind::Unreachable);
}

#[test]
fn nothing_is_written_into_a_mount() {
    let dir = tempfile::tempdir().unwrap();
    let memory = repository();
    let learn = engine(dir.path(), &memory, true);
    let cx = Cx::silent(dir.path());
    learn.data(&data("art/pictures"), &cx).unwrap();
    learn.probe(&rq::Probe::default(), &cx).unwrap();
    let e = learn.export(&rq::Export { dir: "art/model".into(), model: None }, &cx).unwrap_err();
    assert!(e.kind == Kind::Usage && e.hint.unwrap().contains("upload"));
    let show = rq::Show {
        targets: vec!["art/pictures".into()],
        size: 64,
        max: 4,
        out: Some("art/x.png".into()),
        ..Default::default()
    };
    assert_eq!(learn.show(&show, &cx).unwrap_err().kind, Kind::Usage);
}
