//! `.dvc` files: the outputs that a repository keeps outside Git.
//!
//! Errors name the file and the line. Fields that we do not use (`desc`, `meta`, `frozen`, …) are kept
//! when a file is rewritten; its comments are not.

use super::manifest::Manifest;
use crate::store::Layout;
use dds_core::{Digest, Error, Kind, RepoPath, Result};
use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};
use std::collections::BTreeMap;

/// Real ones hold a few hundred bytes, `dvc.lock` some hundred kilobytes; with `files:` lists of a
/// version-aware remote, some hundred bytes a file.
pub const MAX_DVC_FILE_BYTES: usize = 64 << 20;

/// The outputs that one file declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DvcFile {
    pub outs: Vec<Output>,
    /// Outputs that are imported and of which nothing but the name is recorded.
    pub absent: Vec<(RepoPath, Import)>,
}

/// One file or folder that DVC keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Inside the repository.
    pub path: RepoPath,
    /// MD5 of the file, or of the folder's manifest.
    pub digest: Digest,
    pub layout: Layout,
    /// Bytes; of a folder, of all its files.
    pub size: Option<u64>,
    pub nfiles: Option<u64>,
    /// The remote to use instead of the default one.
    pub remote: Option<String>,
    /// What a folder holds, when that is told in place (`files:`) and not by a manifest.
    pub files: Option<Vec<ListedFile>>,
    /// Of a single file: its versions in remotes that keep files under their own names.
    pub versions: Versions,
    /// `isexec`: a single file that is a program.
    pub executable: bool,
    /// Where it comes from, when it is no data of this repository.
    pub import: Option<Import>,
}

/// Remote → version id, for remotes with `version_aware` or `worktree`.
pub type Versions = BTreeMap<String, Option<String>>;

/// One file of a `files:` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Below the output.
    pub path: RepoPath,
    pub digest: Digest,
    pub size: Option<u64>,
    pub versions: Versions,
    pub executable: bool,
}

/// The place that `dvc import` or `dvc import-url` copied from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// A Git repository, or the address of a file.
    pub from: String,
    pub path: Option<String>,
    pub rev: Option<String>,
}

impl Import {
    /// Whether another repository keeps the data: `dvc push` does not put it into our remote.
    pub fn is_repository(&self) -> bool {
        self.path.is_some()
    }

    /// What to tell somebody who wants the data.
    pub fn explain(&self, out: &RepoPath, declared_in: &RepoPath) -> Error {
        let rev = self.rev.as_deref().map_or_else(String::new, |r| format!("@{}", r.get(..10).unwrap_or(r)));
        let path = self.path.as_deref().map_or_else(String::new, |p| format!(":{p}"));
        let from = dds_core::mime::printable(&format!("{}{rev}{path}", self.from));
        let error = Error::new(
            Kind::NotFound,
            format!("{out} is imported from {from} ({declared_in}), and imports are not fetched by dds"),
        );
        if self.is_repository() {
            error.hint(format!("open the source itself: dds ls {from}; or run `dvc pull {declared_in}`"))
        } else {
            error.hint(format!("run `dvc update {declared_in}` in the repository, and `dvc push`"))
        }
    }
}

impl Output {
    pub fn is_dir(&self) -> bool {
        matches!(self.digest, Digest::Md5Dir(_))
    }
}

/// Whether a tracked file declares DVC outputs.
pub fn declares_outputs(path: &RepoPath) -> bool {
    path.name() == "dvc.lock" || (path.name().ends_with(".dvc") && path.name() != ".dvc")
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(default)]
    outs: Vec<RawOut>,
    #[serde(default)]
    deps: Vec<RawDep>,
    #[serde(default)]
    wdir: Option<String>,
}

#[derive(Deserialize)]
struct RawDep {
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    repo: Option<RawRepo>,
}

#[derive(Deserialize)]
struct RawRepo {
    url: String,
    #[serde(default)]
    rev: Option<String>,
    #[serde(default)]
    rev_lock: Option<String>,
}

/// An output as `.dvc` files and `dvc.lock` write it.
#[derive(Deserialize)]
pub struct RawOut {
    pub path: String,
    md5: Option<String>,
    hash: Option<String>,
    size: Option<u64>,
    nfiles: Option<u64>,
    pub remote: Option<String>,
    #[serde(default = "yes")]
    pub cache: bool,
    files: Option<Vec<RawListed>>,
    #[serde(default)]
    isexec: bool,
    #[serde(default)]
    cloud: BTreeMap<String, RawVersion>,
}

#[derive(Deserialize)]
struct RawListed {
    relpath: String,
    md5: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    isexec: bool,
    #[serde(default)]
    cloud: BTreeMap<String, RawVersion>,
}

#[derive(Deserialize)]
struct RawVersion {
    version_id: Option<String>,
}

fn yes() -> bool {
    true
}

impl DvcFile {
    /// Parses `bytes`, the content of the `.dvc` file `file`. Errors (`Format`, `Limit`) begin with
    /// `FILE, line N`.
    pub fn parse(file: &RepoPath, bytes: &[u8]) -> Result<Self> {
        let text = text(file, bytes)?;
        let raw: RawFile = yaml(file, text)?;
        let folder = file.parent().unwrap_or_default();
        let folder = match raw.wdir.as_deref() {
            Some(wdir) => below(&folder, wdir).map_err(|why| broken(file, line_of(text, wdir), &why))?,
            None => folder,
        };
        let import = raw.deps.into_iter().find_map(RawDep::import);
        let mut parsed = Self::default();
        for out in raw.outs {
            if !out.cache {
                continue; // Git keeps it.
            }
            if let (None, None, Some(import)) = (&out.md5, &out.files, &import) {
                parsed.absent.push((place(file, text, &folder, &out.path)?, import.clone()));
                continue;
            }
            parsed.outs.push(Output { import: import.clone(), ..out.output(file, text, &folder)? });
        }
        Ok(parsed)
    }
}

impl RawDep {
    /// None for a dependency inside the repository.
    fn import(self) -> Option<Import> {
        match (self.repo, self.path) {
            (Some(repo), path) => Some(Import {
                from: repo.url,
                path: Some(path.unwrap_or_default()),
                rev: repo.rev_lock.or(repo.rev),
            }),
            (None, Some(path)) if path.contains("://") => Some(Import { from: path, path: None, rev: None }),
            _ => None,
        }
    }
}

impl RawOut {
    /// The output seen from `folder`. Errors name `file` and the line in its `text`.
    pub fn output(self, file: &RepoPath, text: &str, folder: &RepoPath) -> Result<Output> {
        let path = place(file, text, folder, &self.path)?;
        let layout = match self.hash.as_deref() {
            Some("md5") => Layout::V3,
            None => Layout::V2,
            Some(other) => {
                return Err(broken(file, line_of(text, other), &format!("unknown kind of hash {other:?}")));
            }
        };
        let files = self.files.map(|files| listed(file, text, files)).transpose()?;
        let digest = match (&self.md5, &files) {
            (Some(md5), _) => md5_digest(file, text, md5)?,
            (None, Some(files)) => {
                Manifest { files: files.iter().map(|f| (f.path.clone(), f.digest)).collect() }.encode().1
            }
            (None, None) => {
                return Err(broken(file, line_of(text, &self.path), "the output has no md5")
                    .hint("run `dvc commit` in the repository, which records it, and commit the file"));
            }
        };
        Ok(Output {
            path,
            digest,
            layout,
            size: self.size,
            nfiles: self.nfiles,
            remote: self.remote,
            files,
            versions: versions(self.cloud),
            executable: self.isexec,
            import: None,
        })
    }
}

fn place(file: &RepoPath, text: &str, folder: &RepoPath, path: &str) -> Result<RepoPath> {
    let at = |why: &str| broken(file, line_of(text, path), why);
    let place = below(folder, path).map_err(|why| at(&why))?;
    if place.is_root() { Err(at("the output is the repository itself")) } else { Ok(place) }
}

fn md5_digest(file: &RepoPath, text: &str, md5: &str) -> Result<Digest> {
    let digest: Digest = md5.parse().map_err(|e: Error| broken(file, line_of(text, md5), &e.message))?;
    if matches!(digest, Digest::Git(_)) {
        return Err(broken(file, line_of(text, md5), &format!("not an MD5: {md5:?}")));
    }
    Ok(digest)
}

fn listed(file: &RepoPath, text: &str, raw: Vec<RawListed>) -> Result<Vec<ListedFile>> {
    let mut seen = std::collections::HashSet::new();
    // A list may be long: a line is looked for only where something is wrong.
    raw.into_iter()
        .map(|one| {
            let at = |why: &str| broken(file, line_of(text, &one.relpath), why);
            let path = RepoPath::parse_writable(&one.relpath).map_err(|e| at(&e.message))?;
            let md5 = one.md5.as_deref().ok_or_else(|| at("a file of the list has no md5"))?;
            let digest: Digest = md5.parse().map_err(|e: Error| at(&e.message))?;
            if path.is_root() || !matches!(digest, Digest::Md5(_)) || !seen.insert(path.clone()) {
                return Err(at(&format!("{:?} is not a file, or comes twice", one.relpath)));
            }
            let (versions, executable) = (versions(one.cloud), one.isexec);
            Ok(ListedFile { path, digest, size: one.size, versions, executable })
        })
        .collect()
}

fn versions(raw: BTreeMap<String, RawVersion>) -> Versions {
    raw.into_iter().map(|(remote, v)| (remote.to_lowercase(), v.version_id)).collect()
}

/// The text of a DVC file, which has a bound.
pub fn text<'a>(file: &RepoPath, bytes: &'a [u8]) -> Result<&'a str> {
    if bytes.len() > MAX_DVC_FILE_BYTES {
        return Err(Error::new(
            Kind::Limit,
            format!("{file}: larger than {MAX_DVC_FILE_BYTES} bytes, which no DVC file is"),
        ));
    }
    std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        broken(file, line, "it is not UTF-8")
    })
}

/// Parses YAML; errors name file and line.
pub fn yaml<T: for<'de> Deserialize<'de>>(file: &RepoPath, text: &str) -> Result<T> {
    serde_yaml_ng::from_str(text).map_err(|e| {
        let line = e.location().map_or(1, |l| l.line());
        let why = e.to_string();
        // The library puts the position at the end, where we have put it in front already.
        broken(file, line, why.split(" at line ").next().unwrap_or(&why))
    })
}

/// The text of a new `.dvc` file beside its output, as DVC 3 writes it.
pub fn encode(name: &str, digest: &Digest, size: u64, nfiles: Option<u64>) -> String {
    let nfiles = nfiles.map_or_else(String::new, |n| format!("  nfiles: {n}\n"));
    format!("outs:\n- md5: {digest}\n  size: {size}\n{nfiles}  hash: md5\n  path: {}\n", scalar(name))
}

/// The text of an existing `.dvc` file with one output changed, its other fields kept.
///
/// `folder` is where the `.dvc` file lies and `out` the output's path inside the repository.
pub fn rewrite(
    file: &RepoPath,
    bytes: &[u8],
    out: &RepoPath,
    digest: &Digest,
    size: Option<u64>,
    nfiles: Option<u64>,
) -> Result<String> {
    DvcFile::parse(file, bytes)?;
    let mut doc: Value = serde_yaml_ng::from_slice(bytes).map_err(|e| broken(file, 1, &e.to_string()))?;
    let folder = file.parent().unwrap_or_default();
    let folder = match doc.get("wdir").and_then(Value::as_str) {
        Some(wdir) => below(&folder, wdir).map_err(|why| broken(file, 1, &why))?,
        None => folder,
    };
    let outs = doc.get_mut("outs").and_then(Value::as_sequence_mut);
    let entry = outs.into_iter().flatten().filter_map(Value::as_mapping_mut).find(|m| {
        m.get("path").and_then(Value::as_str).is_some_and(|p| below(&folder, p).as_ref() == Ok(out))
    });
    let Some(entry) = entry else {
        return Err(Error::internal(format!("{file} does not declare {out}")));
    };
    *entry = updated(entry, digest, size, nfiles);
    serde_yaml_ng::to_string(&doc).map_err(|e| Error::internal(format!("{file}: {e}")))
}

/// Keys in the order in which DVC writes them; unknown ones after them, in theirs.
fn updated(old: &Mapping, digest: &Digest, size: Option<u64>, nfiles: Option<u64>) -> Mapping {
    let mut new = Mapping::new();
    new.insert("md5".into(), digest.to_string().into());
    if let Some(size) = size {
        new.insert("size".into(), size.into());
    }
    if let Some(n) = nfiles {
        new.insert("nfiles".into(), n.into());
    }
    new.insert("hash".into(), "md5".into());
    for (key, value) in old {
        if !matches!(key.as_str(), Some("md5" | "size" | "nfiles" | "hash")) {
            new.insert(key.clone(), value.clone());
        }
    }
    new
}

/// `relative` seen from `folder`; `..` is resolved by text. The error says why it is not inside the
/// repository.
pub fn below(folder: &RepoPath, relative: &str) -> std::result::Result<RepoPath, String> {
    if relative.starts_with('/') {
        return Err(format!("{relative:?} is absolute"));
    }
    let mut at = folder.clone();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => at = at.parent().ok_or_else(|| format!("{relative:?} leaves the repository"))?,
            name => at = at.child(name).map_err(|e| e.message)?,
        }
    }
    RepoPath::parse_writable(at.as_str()).map_err(|e| e.message)
}

/// A broken file, named with its line.
pub fn broken(file: &RepoPath, line: usize, why: &str) -> Error {
    let file = dds_core::mime::printable(file.as_str());
    Error::new(
        Kind::Format,
        format!("{file}, line {line}: broken DVC file: {}", dds_core::mime::printable(why)),
    )
    .hint(format!("mend {file} and commit it, or restore it with `git checkout HEAD~ -- {file}`"))
}

/// The first line that holds `value`; 1 when none does.
pub fn line_of(text: &str, value: &str) -> usize {
    text.lines().position(|l| !value.is_empty() && l.contains(value)).map_or(1, |n| n + 1)
}

/// A YAML scalar that every parser reads back as this string.
fn scalar(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_alphanumeric() || "_-./".contains(c))
        && text.chars().next().is_some_and(char::is_alphabetic)
        && text.chars().any(|c| c.is_ascii_alphabetic() && !"eExXoO".contains(c))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n" | "inf" | "nan"
        );
    if plain {
        return text.to_owned();
    }
    if text.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{2029}' || c == '\u{85}') {
        // JSON strings are YAML's double-quoted scalars.
        return serde_json::Value::String(text.to_owned()).to_string();
    }
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(t: &str) -> RepoPath {
        RepoPath::parse(t).unwrap()
    }

    const DIR: &str = "outs:\n- md5: 5e1d9d4c0b1b4e1e8f4a3c2b1a098765.dir\n  size: 10\n  nfiles: 2\n  hash: md5\n  path: set\n";

    #[test]
    fn versions_2_and_3() {
        let f = DvcFile::parse(&path("data/set.dvc"), DIR.as_bytes()).unwrap();
        assert_eq!(f.outs.len(), 1);
        let o = &f.outs[0];
        assert_eq!(
            (o.path.as_str(), o.layout, o.size, o.nfiles),
            ("data/set", Layout::V3, Some(10), Some(2))
        );
        assert!(o.is_dir());
        let old = "md5: 00\nouts:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  path: a b.csv\nwdir: ../x\n";
        let f = DvcFile::parse(&path("data/set.dvc"), old.as_bytes()).unwrap();
        assert_eq!((f.outs[0].path.as_str(), f.outs[0].layout), ("x/a b.csv", Layout::V2));
    }

    #[test]
    fn which_files_declare() {
        assert!(declares_outputs(&path("a/dvc.lock")) && declares_outputs(&path("x.dvc")));
        assert!(!declares_outputs(&path(".dvc")) && !declares_outputs(&path("x.dvcignore")));
    }

    #[test]
    fn lists_in_place_and_versions_of_the_cloud() {
        let text = "outs:\n- path: set\n  hash: md5\n  files:\n  - relpath: b.csv\n    md5: d41d8cd98f00b204e9800998ecf8427e\n    size: 0\n    cloud:\n      Store:\n        etag: x\n        version_id: v7\n  - relpath: a/c\n    md5: 37b51d194a7513e45b56f6524f2d51f2\n    size: 3\n- path: one\n  md5: 37b51d194a7513e45b56f6524f2d51f2\n  hash: md5\n  cloud:\n    store:\n      version_id: v1\n";
        let f = DvcFile::parse(&path("data/x.dvc"), text.as_bytes()).unwrap();
        let set = &f.outs[0];
        let files = set.files.as_ref().unwrap();
        assert!(set.is_dir() && files.len() == 2);
        assert_eq!((files[0].path.as_str(), files[0].size), ("b.csv", Some(0)));
        assert_eq!(files[0].versions["store"].as_deref(), Some("v7"));
        assert_eq!(f.outs[1].versions["store"].as_deref(), Some("v1"));
        for (bad, why) in [
            ("relpath: ../x\n    md5: d41d8cd98f00b204e9800998ecf8427e", "line 5"),
            ("relpath: x", "no md5"),
            ("relpath: x\n    md5: d41d8cd98f00b204e9800998ecf8427e.dir", "not a file"),
        ] {
            let text = format!("outs:\n- path: set\n  hash: md5\n  files:\n  - {bad}\n");
            let e = DvcFile::parse(&path("x.dvc"), text.as_bytes()).unwrap_err();
            assert!(e.kind == Kind::Format && e.message.contains(why), "{e}");
        }
    }

    #[test]
    fn imports_are_named() {
        let text = "deps:\n- path: data/x\n  repo:\n    url: https://h/reg.git\n    rev_lock: 0123456789abcdef0123456789abcdef01234567\nouts:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  hash: md5\n  path: x\nfrozen: true\n";
        let f = DvcFile::parse(&path("x.dvc"), text.as_bytes()).unwrap();
        let import = f.outs[0].import.clone().unwrap();
        assert!(import.is_repository());
        let e = import.explain(&path("x"), &path("x.dvc"));
        assert!(e.message.contains("https://h/reg.git@0123456789:data/x") && e.hint.is_some(), "{e}");
        let partial = "deps:\n- path: s3://b/k\nouts:\n- path: x\n";
        let f = DvcFile::parse(&path("d/x.dvc"), partial.as_bytes()).unwrap();
        assert!(f.outs.is_empty() && f.absent[0].0.as_str() == "d/x");
        // A dependency inside the repository is no import.
        let stage =
            "deps:\n- path: in\n  md5: x\nouts:\n- path: x\n  md5: d41d8cd98f00b204e9800998ecf8427e\n";
        assert_eq!(DvcFile::parse(&path("x.dvc"), stage.as_bytes()).unwrap().outs[0].import, None);
    }

    #[test]
    fn a_broken_file_names_itself_and_the_line() {
        for (text, line, why) in [
            ("outs:\n- md5: [unclosed\n  path: x\n", 2, ""),
            ("outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n path: x\n", 2, "path"),
            ("outs:\n- md5: d41d\n  path: x\n", 2, "d41d"),
            ("outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  path: ../../etc/passwd\n", 3, "leaves"),
            ("outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  path: /etc/passwd\n", 3, "absolute"),
            ("outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  path: .git/hooks\n", 3, ".git"),
            ("outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  size: many\n  path: x\n", 3, "size"),
            ("outs:\n- path: x\n", 2, "no md5"),
            ("outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  hash: sha9\n  path: x\n", 3, "sha9"),
            ("outs: 7\n", 1, ""),
        ] {
            let e = DvcFile::parse(&path("data/x.dvc"), text.as_bytes()).unwrap_err();
            assert_eq!(e.kind, Kind::Format);
            assert!(e.message.starts_with(&format!("data/x.dvc, line {line}: ")), "{text:?} gave {e}");
            assert!(e.message.contains(why), "{e}");
            assert!(e.hint.is_some());
        }
        let e = DvcFile::parse(&path("x.dvc"), b"outs:\n\xff").unwrap_err();
        assert!(e.message.starts_with("x.dvc, line 2"), "{e}");
    }

    #[test]
    fn written_files_read_back() {
        let d: Digest = "d41d8cd98f00b204e9800998ecf8427e".parse().unwrap();
        for name in
            ["set", "a b", "Größe", "1e5", "0x1", "true", "it's", "#x", "-", "a: b", "x\ty", "2020", "a..b"]
        {
            let text = encode(name, &d, 7, None);
            let f = DvcFile::parse(&path(&format!("{name}.dvc")), text.as_bytes()).unwrap();
            assert_eq!((f.outs[0].path.as_str(), f.outs[0].digest, f.outs[0].size), (name, d, Some(7)));
        }
        assert_eq!(
            encode("set", &d, 7, Some(2)),
            "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  size: 7\n  nfiles: 2\n  hash: md5\n  path: set\n"
        );
    }

    #[test]
    fn rewriting_keeps_the_other_fields() {
        let d: Digest = "d41d8cd98f00b204e9800998ecf8427e.dir".parse().unwrap();
        let text = format!("{DIR}  desc: birds\nmeta:\n  by: me\n");
        let new =
            rewrite(&path("data/set.dvc"), text.as_bytes(), &path("data/set"), &d, Some(9), Some(3)).unwrap();
        let f = DvcFile::parse(&path("data/set.dvc"), new.as_bytes()).unwrap();
        assert_eq!((f.outs[0].digest, f.outs[0].nfiles), (d, Some(3)));
        assert!(new.contains("desc: birds") && new.contains("by: me"), "{new}");
        assert!(
            rewrite(&path("data/set.dvc"), text.as_bytes(), &path("data/other"), &d, None, None).is_err()
        );
    }
}
