//! The events of a job, as `dds job run` writes them: one JSON object a line, on standard output
//! and in the run's `events.jsonl`. Whoever shows, tracks or resumes a job reads these.
//!
//! Assumes that a reader skips fields it does not know: later versions add some. Does no I/O.

use crate::{Error, Progress, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One line of the stream: when, of which job, and what.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Record {
    /// RFC 3339 in UTC, with milliseconds.
    pub time: String,
    pub job: String,
    #[serde(flatten)]
    pub event: Event,
}

/// What happened. Steps count from 1.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    JobStarted {
        name: Option<String>,
        /// The working folder, absolute.
        folder: String,
        /// The folder of this run, absolute: `spec.json`, `events.jsonl` and the files of displays.
        run: String,
        steps: usize,
        /// Version of `dds`.
        version: String,
    },
    StepStarted {
        step: usize,
        command: String,
        /// The step as the job file has it.
        text: String,
    },
    Progress {
        step: usize,
        task: String,
        done: u64,
        total: Option<u64>,
        /// `items` or `bytes`.
        unit: String,
    },
    /// A warning or remark while a step runs.
    Note {
        step: usize,
        text: String,
    },
    /// Something to show, by MIME type. What is large lies in a file instead.
    Display {
        step: usize,
        data: Map<String, Value>,
        metadata: Map<String, Value>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        files: BTreeMap<String, FileRef>,
    },
    StepFinished {
        step: usize,
        command: String,
        /// The first line of the command's text.
        summary: String,
        /// What `--json` prints; null when it is in `result_file`.
        result: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result_file: Option<FileRef>,
        seconds: f64,
    },
    /// Why the job ends. Without a step the job itself could not begin or go on.
    Error {
        step: Option<usize>,
        kind: String,
        message: String,
        hint: Option<String>,
    },
    JobFinished {
        status: Status,
        seconds: f64,
    },
}

/// A file in the folder of the run.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct FileRef {
    /// Path from the run's folder, with `/`.
    pub file: String,
    pub bytes: u64,
}

/// How a job ended.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    Failed,
    Interrupted,
}

impl Event {
    pub fn progress(step: usize, p: &Progress) -> Self {
        let unit = match p.unit {
            Unit::Items => "items",
            Unit::Bytes => "bytes",
        };
        Event::Progress { step, task: p.task.clone(), done: p.done, total: p.total, unit: unit.into() }
    }

    pub fn error(step: Option<usize>, e: &Error) -> Self {
        Event::Error {
            step,
            kind: e.kind.name().to_owned(),
            message: e.message.clone(),
            hint: e.hint.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_is_one_flat_object() {
        let record = Record {
            time: "2025-01-01T00:00:00.000Z".into(),
            job: "j".into(),
            event: Event::JobFinished { status: Status::Interrupted, seconds: 1.5 },
        };
        let value = serde_json::to_value(&record).unwrap();
        assert_eq!(
            value,
            json!({"time": "2025-01-01T00:00:00.000Z", "job": "j", "event": "job_finished", "status": "interrupted", "seconds": 1.5})
        );
        assert_eq!(serde_json::from_value::<Record>(value).unwrap(), record);
    }

    #[test]
    fn readers_skip_what_they_do_not_know() {
        let text = r#"{"time":"t","job":"j","event":"note","step":2,"text":"x","later":true}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(record.event, Event::Note { step: 2, text: "x".into() });
    }
}
