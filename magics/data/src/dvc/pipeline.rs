//! `dvc.lock` together with the `dvc.yaml` beside it: what the stages of a pipeline made.
//!
//! The lock has the digests, one stage for each turn of `foreach` and `matrix`. What it does not say
//! stands in `dvc.yaml`: the stage's working folder, which outputs Git keeps (`cache: false`) and which
//! remote has the others. There, paths may be templates (`models/${item}.pt`): a template stands for
//! every path that it could give.

use super::dvc_file::{Output, RawOut, below, broken, line_of, text, yaml};
use dds_core::{RepoPath, Result};
use serde::Deserialize;
use serde_yaml_ng::Value;
use std::collections::BTreeMap;

/// The outputs of one `dvc.lock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    pub outs: Vec<Output>,
}

#[derive(Deserialize)]
struct RawLock {
    #[serde(default)]
    stages: BTreeMap<String, RawLocked>,
}

#[derive(Deserialize)]
struct RawLocked {
    #[serde(default)]
    outs: Vec<RawOut>,
}

/// A stage of `dvc.yaml`.
#[derive(Debug, Default)]
struct Stage {
    wdir: Option<String>,
    outs: Vec<Declared>,
}

#[derive(Debug)]
struct Declared {
    path: String,
    cache: bool,
    remote: Option<String>,
}

impl Pipeline {
    /// Parses `lock`, the content of the file `file`, and `pipeline`, that of the `dvc.yaml` beside it.
    /// Errors (`Format`, `Limit`) begin with the file and the line.
    pub fn parse(file: &RepoPath, lock: &[u8], pipeline: Option<&[u8]>) -> Result<Self> {
        let text = text(file, lock)?;
        let folder = file.parent().unwrap_or_default();
        let yaml_file = folder.child("dvc.yaml")?;
        let stages = match pipeline {
            Some(bytes) => stages(&yaml_file, bytes)?,
            None => BTreeMap::new(),
        };
        let mut outs = Vec::new();
        for (name, locked) in locked(file, text)? {
            let stage = stages.get(name.split('@').next().unwrap_or(&name));
            let wdir = stage.and_then(|s| s.wdir.as_deref());
            let place = match wdir {
                Some(wdir) => working_folder(&folder, &name, wdir).map_err(|why| broken(&yaml_file, 1, &why)),
                None => Ok(folder.clone()),
            }?;
            for mut raw in locked.outs {
                let declared = stage.and_then(|s| s.declared(&raw.path));
                if !raw.cache || declared.is_some_and(|d| !d.cache) {
                    continue; // Git keeps it, or nobody.
                }
                raw.remote = raw.remote.or_else(|| declared.and_then(|d| d.remote.clone()));
                outs.push(raw.output(file, text, &place)?);
            }
        }
        Ok(Self { outs })
    }
}

fn locked(file: &RepoPath, text: &str) -> Result<BTreeMap<String, RawLocked>> {
    let whole: Value = yaml(file, text)?;
    let has = |key: &str| whole.get(key).is_some();
    // DVC 1.0 wrote the stages without anything around them.
    if whole.is_mapping() && !has("schema") && !has("stages") {
        return yaml(file, text);
    }
    let raw: RawLock = yaml(file, text)?;
    Ok(raw.stages)
}

fn stages(file: &RepoPath, bytes: &[u8]) -> Result<BTreeMap<String, Stage>> {
    let text = text(file, bytes)?;
    let whole: Value = yaml(file, text)?;
    let mut found = BTreeMap::new();
    let Some(stages) = whole.get("stages").filter(|s| !s.is_null()) else { return Ok(found) };
    let stages = stages.as_mapping().ok_or_else(|| broken(file, line_of(text, "stages"), "not stages"))?;
    for (name, body) in stages {
        let Some(name) = name.as_str() else { continue };
        // `foreach` has the stage below `do`; `matrix` stands beside what it multiplies.
        let body = body.get("do").unwrap_or(body);
        let mut stage =
            Stage { wdir: body.get("wdir").and_then(Value::as_str).map(str::to_owned), outs: Vec::new() };
        for key in ["outs", "metrics", "plots"] {
            for out in body.get(key).and_then(Value::as_sequence).into_iter().flatten() {
                stage.outs.extend(Declared::parse(out));
            }
        }
        found.insert(name.to_owned(), stage);
    }
    Ok(found)
}

impl Declared {
    /// `path` or `{path: {cache: false, remote: name}}`.
    fn parse(out: &Value) -> Option<Self> {
        if let Some(path) = out.as_str() {
            return Some(Self { path: path.to_owned(), cache: true, remote: None });
        }
        let (path, flags) = out.as_mapping()?.iter().next()?;
        Some(Self {
            path: path.as_str()?.to_owned(),
            cache: flags.get("cache").and_then(Value::as_bool).unwrap_or(true),
            remote: flags.get("remote").and_then(Value::as_str).map(str::to_owned),
        })
    }
}

impl Stage {
    /// The declaration of a path of the lock: the same text, else the template that fixes most of it.
    fn declared(&self, path: &str) -> Option<&Declared> {
        let path = plain(path);
        self.outs.iter().find(|d| plain(&d.path) == path).or_else(|| {
            let fitting = self.outs.iter().filter(|d| template_gives(plain(&d.path), path));
            fitting.max_by_key(|d| literals(&d.path).iter().map(|l| l.len()).sum::<usize>())
        })
    }
}

fn plain(path: &str) -> &str {
    path.trim_start_matches("./").trim_end_matches('/')
}

/// The text between the `${…}` of a template.
fn literals(template: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        found.push(before);
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    found.push(rest);
    found
}

fn template_gives(template: &str, path: &str) -> bool {
    let parts = literals(template);
    let [first, middle @ .., last] = parts.as_slice() else { return false };
    let Some(mut rest) = path.strip_prefix(first).and_then(|r| r.strip_suffix(last)) else { return false };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    true
}

/// The folder of a stage; of a templated one, `${item}` and `${key}` are what stands behind the `@`.
fn working_folder(folder: &RepoPath, stage: &str, wdir: &str) -> std::result::Result<RepoPath, String> {
    let turn = stage.split_once('@').map_or("", |(_, turn)| turn);
    let text = ["item", "key"].iter().fold(wdir.to_owned(), |text, name| {
        text.replace(&format!("${{{name}}}"), turn).replace(&format!("${{ {name} }}"), turn)
    });
    if text.contains("${") {
        return Err(format!("the wdir {wdir:?} of stage {stage:?} is a template that dds does not resolve"));
    }
    below(folder, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::path;
    use dds_core::Kind;

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    fn lock(stages: &[(&str, &[&str])]) -> String {
        let mut text = String::from("schema: '2.0'\nstages:\n");
        for (name, outs) in stages {
            text.push_str(&format!("  {name}:\n    cmd: x\n    outs:\n"));
            for out in *outs {
                text.push_str(&format!(
                    "    - path: {out}\n      hash: md5\n      md5: {MD5}\n      size: 0\n"
                ));
            }
        }
        text
    }

    fn outs(lock: &str, pipeline: &str) -> Vec<(String, Option<String>)> {
        let p = Pipeline::parse(&path("p/dvc.lock"), lock.as_bytes(), Some(pipeline.as_bytes())).unwrap();
        p.outs.into_iter().map(|o| (o.path.to_string(), o.remote)).collect()
    }

    #[test]
    fn what_git_keeps_is_left_out_and_remotes_are_named() {
        let text = lock(&[("train", &["model.pt", "m.json", "keep/"]), ("gone", &["old"])]);
        let yaml = "stages:\n  train:\n    cmd: x\n    wdir: ../w\n    frozen: true\n    outs:\n    - model.pt:\n        remote: Big\n        persist: true\n    - ./keep\n    metrics:\n    - m.json:\n        cache: false\n";
        assert_eq!(
            outs(&text, yaml),
            [
                ("p/old".to_owned(), None),
                ("w/model.pt".to_owned(), Some("Big".to_owned())),
                ("w/keep".to_owned(), None)
            ]
        );
        // Without a dvc.yaml the lock speaks for itself.
        let alone = Pipeline::parse(&path("dvc.lock"), text.as_bytes(), None).unwrap();
        assert_eq!(alone.outs.len(), 4);
    }

    #[test]
    fn each_turn_of_foreach_and_matrix_is_a_stage_of_the_lock() {
        let text = lock(&[
            ("f@cat", &["out/cat.pt", "out/cat.json"]),
            ("f@dog", &["out/dog.pt", "out/dog.json"]),
            ("m@a-1", &["m/a/1.bin"]),
        ]);
        let yaml = "vars:\n- x: 1\nstages:\n  f:\n    foreach: [cat, dog]\n    do:\n      cmd: x\n      wdir: ${item}\n      outs:\n      - out/${item}.pt\n      - out/${item}.json:\n          cache: false\n  m:\n    matrix:\n      n: [a]\n      k: [1]\n    cmd: x\n    outs:\n    - m/${item.n}/${item.k}.bin:\n        remote: far\n";
        assert_eq!(
            outs(&text, yaml),
            [
                ("p/cat/out/cat.pt".to_owned(), None),
                ("p/dog/out/dog.pt".to_owned(), None),
                ("p/m/a/1.bin".to_owned(), Some("far".to_owned()))
            ]
        );
    }

    #[test]
    fn the_lock_of_dvc_1() {
        let text = format!(
            "train:\n  cmd: x\n  deps:\n  - path: in\n    md5: {MD5}\n  outs:\n  - path: model\n    md5: {MD5}\n"
        );
        let p = Pipeline::parse(&path("dvc.lock"), text.as_bytes(), None).unwrap();
        assert_eq!((p.outs[0].path.as_str(), p.outs[0].layout), ("model", crate::store::Layout::V2));
    }

    #[test]
    fn broken_ones_name_file_and_line() {
        let good = lock(&[("s", &["x"])]);
        for (lock, yaml, begin) in [
            (lock(&[("s", &["../../x"])]), "stages: {}\n", "p/dvc.lock, line 6: "),
            ("stages: [".to_owned(), "", "p/dvc.lock, line "),
            (good.clone(), "stages:\n  s: [\n", "p/dvc.yaml, line "),
            (good.clone(), "x: 1\nstages: 7\n", "p/dvc.yaml, line 2: "),
            (good.clone(), "stages:\n  s:\n    wdir: ${deep.x}\n", "p/dvc.yaml, line 1: "),
            (good, "stages:\n  s:\n    wdir: ../../..\n", "p/dvc.yaml, line 1: "),
        ] {
            let e = Pipeline::parse(&path("p/dvc.lock"), lock.as_bytes(), Some(yaml.as_bytes())).unwrap_err();
            assert!(e.kind == Kind::Format && e.message.starts_with(begin), "{yaml:?} gave {e}");
        }
    }
}
