//! What the demo measured, read from the executed notebook: every command leaves its typed result
//! in its output's metadata, under `dds`.

use dds_app::{Notebook, Output};
use dds_core::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The report of `--report FILE`. All values were measured in this run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Files that the mount listed.
    pub files_listed: u64,
    /// Bytes that the mount and the commands fetched from the server.
    pub bytes_streamed: u64,
    pub files_streamed: u64,
    /// Share of validation pictures classified right.
    pub probe_accuracy: f64,
    /// Share of the largest class: what a constant answer would reach.
    pub majority_baseline: f64,
    pub probe_seconds: f64,
    /// The first picture that was predicted: path, label and probability.
    pub prediction: Value,
    /// The files that `upload` put into the repository, each found again by a listing.
    pub uploaded: Vec<String>,
    pub app_url: String,
    /// What the app answered to one picture; only with `--exit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_answer: Option<String>,
    /// Where the executed notebook was written.
    pub notebook: String,
    /// Whether the files came through FUSE or as verified copies.
    pub mount: String,
    /// Step → seconds.
    pub seconds: BTreeMap<String, f64>,
}

/// The typed results of one command, in the order in which the cells ran.
fn results<'a>(nb: &'a Notebook, command: &'static str) -> impl DoubleEndedIterator<Item = &'a Value> {
    nb.cells.iter().flat_map(|c| c.outputs()).filter_map(move |output| {
        let (Output::Display { bundle, .. } | Output::Result { bundle, .. }) = output else { return None };
        let result = bundle.metadata.get("dds")?;
        (result.get("command")?.as_str()? == command).then(|| result.get("result")).flatten()
    })
}

/// The result of the last `command` that ran.
fn last_result<'a>(nb: &'a Notebook, command: &'static str) -> Result<&'a Value> {
    results(nb, command)
        .next_back()
        .ok_or_else(|| Error::internal(format!("the notebook holds no result of `%dds {command}`")))
}

impl Report {
    /// Fills in what the notebook's commands gave back. Errors (`Internal`) name what is missing.
    pub fn read(&mut self, nb: &Notebook) -> Result<()> {
        let last = |command| last_result(nb, command);
        let mounts = last("mounts")?;
        let mount = mounts.pointer("/mounts/0").ok_or_else(|| Error::internal("nothing was mounted"))?;
        self.files_listed = whole(mount, "files_listed")?;
        self.files_streamed = whole(mount, "files_streamed")?;
        self.bytes_streamed = whole(mount, "bytes_streamed")?;
        self.mount = word(mount, "way")?;

        let probe = last("probe")?;
        self.probe_accuracy = number(probe, "accuracy")?;
        self.majority_baseline = number(probe, "majority_baseline")?;
        self.probe_seconds = number(probe, "seconds")?;

        self.prediction = last("predict")?
            .pointer("/predictions/0")
            .cloned()
            .ok_or_else(|| Error::internal("nothing was predicted"))?;

        let listed: Vec<&str> = last("ls")?
            .pointer("/entries")
            .and_then(Value::as_array)
            .map(|entries| entries.iter().filter_map(|e| e.get("path")?.as_str()).collect())
            .unwrap_or_default();
        self.uploaded = last("upload")?
            .pointer("/files")
            .and_then(Value::as_array)
            .map(|files| files.iter().filter_map(|f| Some(f.get("path")?.as_str()?.to_owned())).collect())
            .unwrap_or_default();
        for path in &self.uploaded {
            if !listed.contains(&path.as_str()) {
                return Err(Error::internal(format!(
                    "{path} was uploaded, but the listing does not show it"
                )));
            }
        }
        if self.uploaded.is_empty() {
            return Err(Error::internal("nothing was uploaded"));
        }
        Ok(())
    }

    /// The sample picture that was predicted first, as `class/file`, and the class that was predicted.
    pub fn predicted_sample(&self) -> Result<(String, String)> {
        let path = word(&self.prediction, "path")?;
        let mut parts = path.rsplit('/');
        let (Some(file), Some(class)) = (parts.next(), parts.next()) else { return Err(missing("path")) };
        Ok((format!("{class}/{file}"), word(&self.prediction, "label")?))
    }
}

fn number(v: &Value, field: &str) -> Result<f64> {
    v.get(field).and_then(Value::as_f64).ok_or_else(|| missing(field))
}

fn whole(v: &Value, field: &str) -> Result<u64> {
    v.get(field).and_then(Value::as_u64).ok_or_else(|| missing(field))
}

fn word(v: &Value, field: &str) -> Result<String> {
    v.get(field).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| missing(field))
}

fn missing(field: &str) -> Error {
    Error::internal(format!("a result of the notebook has no {field}"))
}
