//! `.dvc` files and `dvc.lock`: the outputs that a repository keeps outside Git.
//!
//! Errors name the file and the line. Fields that we do not use (`desc`, `meta`, `deps`, …) are kept
//! when a file is rewritten; its comments are not.

use crate::store::Layout;
use dds_core::{Digest, Error, Kind, RepoPath, Result};
use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};
use std::collections::BTreeMap;

/// Real ones hold a few hundred bytes, `dvc.lock` some hundred kilobytes.
pub const MAX_DVC_FILE_BYTES: usize = 16 << 20;

/// The outputs that one file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DvcFile {
    pub outs: Vec<Output>,
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
    wdir: Option<String>,
    #[serde(default)]
    stages: BTreeMap<String, RawStage>,
}

#[derive(Deserialize)]
struct RawStage {
    #[serde(default)]
    outs: Vec<RawOut>,
}

#[derive(Deserialize)]
struct RawOut {
    path: String,
    md5: Option<String>,
    hash: Option<String>,
    size: Option<u64>,
    nfiles: Option<u64>,
    remote: Option<String>,
    #[serde(default = "yes")]
    cache: bool,
}

fn yes() -> bool {
    true
}

impl DvcFile {
    /// Parses `bytes`, the content of `file`. Errors (`Format`, `Limit`) begin with `FILE, line N`.
    pub fn parse(file: &RepoPath, bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_DVC_FILE_BYTES {
            return Err(Error::new(
                Kind::Limit,
                format!("{file}: larger than {MAX_DVC_FILE_BYTES} bytes, which no DVC file is"),
            ));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let line = bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
            broken(file, line, "it is not UTF-8")
        })?;
        let raw: RawFile = serde_yaml_ng::from_str(text).map_err(|e| {
            let line = e.location().map_or(1, |l| l.line());
            let why = e.to_string();
            // The library puts the position at the end, where we have put it in front already.
            broken(file, line, why.split(" at line ").next().unwrap_or(&why))
        })?;
        let folder = file.parent().unwrap_or_default();
        let folder = match raw.wdir.as_deref() {
            Some(wdir) => below(&folder, wdir).map_err(|why| broken(file, line_of(text, wdir), &why))?,
            None => folder,
        };
        let mut outs = Vec::new();
        for out in raw.outs.into_iter().chain(raw.stages.into_values().flat_map(|s| s.outs)) {
            if !out.cache {
                continue; // Git keeps it.
            }
            outs.push(output(file, text, &folder, out)?);
        }
        Ok(Self { outs })
    }
}

fn output(file: &RepoPath, text: &str, folder: &RepoPath, out: RawOut) -> Result<Output> {
    let at_path = || line_of(text, &out.path);
    let path = below(folder, &out.path).map_err(|why| broken(file, at_path(), &why))?;
    if path.is_root() {
        return Err(broken(file, at_path(), "the output is the repository itself"));
    }
    let Some(md5) = out.md5 else {
        return Err(broken(file, at_path(), "the output has no md5")
            .hint("outputs of version-aware cloud remotes are not supported; run `dvc add` on a copy"));
    };
    let digest: Digest = md5.parse().map_err(|e: Error| broken(file, line_of(text, &md5), &e.message))?;
    if matches!(digest, Digest::Git(_)) {
        return Err(broken(file, line_of(text, &md5), &format!("not an MD5: {md5:?}")));
    }
    let layout = match out.hash.as_deref() {
        Some("md5") => Layout::V3,
        None => Layout::V2,
        Some(other) => {
            return Err(broken(file, line_of(text, other), &format!("unknown kind of hash {other:?}")));
        }
    };
    Ok(Output { path, digest, layout, size: out.size, nfiles: out.nfiles, remote: out.remote })
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
fn below(folder: &RepoPath, relative: &str) -> std::result::Result<RepoPath, String> {
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

fn broken(file: &RepoPath, line: usize, why: &str) -> Error {
    let file = dds_core::mime::printable(file.as_str());
    Error::new(
        Kind::Format,
        format!("{file}, line {line}: broken DVC file: {}", dds_core::mime::printable(why)),
    )
    .hint(format!("mend {file} and commit it, or restore it with `git checkout HEAD~ -- {file}`"))
}

/// The first line that holds `value`; 1 when none does.
fn line_of(text: &str, value: &str) -> usize {
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
    fn lock_files_declare_outputs_too() {
        let lock = "schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - path: model.bin\n      hash: md5\n      md5: d41d8cd98f00b204e9800998ecf8427e\n      size: 0\n";
        let f = DvcFile::parse(&path("sub/dvc.lock"), lock.as_bytes()).unwrap();
        assert_eq!(f.outs[0].path.as_str(), "sub/model.bin");
        assert!(declares_outputs(&path("a/dvc.lock")) && declares_outputs(&path("x.dvc")));
        assert!(!declares_outputs(&path(".dvc")) && !declares_outputs(&path("x.dvcignore")));
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
