//! The one stream of events: standard output and `events.jsonl`, a line at a time, without secrets.
//!
//! A reader that goes away does not end the job. A file that cannot be written does: the record of a
//! run must not have gaps.

use crate::render;
use dds_core::job::{Event, Record};
use dds_core::secret::looks_secret;
use dds_core::timestamp::rfc3339_millis;
use dds_core::{Config, Error, Result, Secret};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) struct Stream {
    job: String,
    scrub: Scrub,
    file: Mutex<Option<Result<File>>>,
}

impl Stream {
    pub(super) fn new(job: String, scrub: Scrub) -> Self {
        Self { job, scrub, file: Mutex::default() }
    }

    /// Appends every event to `file` too.
    pub(super) fn into_file(self, file: File) -> Self {
        Self { file: Mutex::new(Some(Ok(file))), ..self }
    }

    pub(super) fn emit(&self, event: Event) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that times never go back within the stream.
        let record = Record { time: rfc3339_millis(now()), job: self.job.clone(), event };
        let Ok(mut value) = serde_json::to_value(&record) else { return };
        self.scrub.value(&mut value);
        let line = value.to_string();
        render::say(&line);
        if let Some(Ok(open)) = &mut *file
            && let Err(e) = open.write_all(format!("{line}\n").as_bytes())
        {
            *file =
                Some(Err(Error::io("events.jsonl", &e).hint("make room on the disk, and run the job again")));
        }
    }

    /// Why the file lacks events.
    pub(super) fn failure(&self) -> Option<Error> {
        match &*self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(Err(e)) => Some(e.clone()),
            _ => None,
        }
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Replaces credentials that this process knows by `***` wherever they turn up in an event.
#[derive(Default)]
pub(super) struct Scrub(Vec<Secret>);

/// Shorter values are no secrets, but parts of ordinary words.
const SHORTEST_SECRET: usize = 6;

impl Scrub {
    /// The credentials of the configuration, and of variables whose names look like one.
    pub(super) fn of(config: &Config, variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let configured =
            config.dagshub_token.iter().chain(config.dagshub_login.iter().map(|(_, p)| p)).cloned();
        let named = variables.filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            looks_secret(&name).then(|| Secret::new(value))
        });
        let mut secrets: Vec<Secret> =
            configured.chain(named).filter(|s| s.expose().len() >= SHORTEST_SECRET).collect();
        // One secret may be the beginning of another.
        secrets.sort_by_key(|s| std::cmp::Reverse(s.expose().len()));
        Self(secrets)
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                for secret in &self.0 {
                    if text.contains(secret.expose()) {
                        *text = secret.redact(text);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|v| self.value(v)),
            Value::Object(map) => {
                let named = |key: &String| self.0.iter().any(|s| key.contains(s.expose()));
                let keys: Vec<String> = map.keys().filter(|k| named(k)).cloned().collect();
                for key in keys {
                    if let Some(inner) = map.remove(&key) {
                        let clean = self.0.iter().fold(key, |k, s| s.redact(&k));
                        map.insert(clean, inner);
                    }
                }
                map.values_mut().for_each(|v| self.value(v));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> Config {
        Config {
            exe: "/nowhere".into(),
            cache_dir: "/nowhere".into(),
            config_dir: "/nowhere".into(),
            data_dir: "/nowhere".into(),
            runtime_dir: "/nowhere".into(),
            dagshub_host: "https://dagshub.com".into(),
            dagshub_token: Some(Secret::new("tok-12345")),
            dagshub_login: Some(("user".into(), Secret::new("pa55word"))),
            threads: 1,
            peers: Default::default(),
        }
    }

    #[test]
    fn secrets_are_taken_out_of_values_and_keys() {
        let vars = [("MY_API_KEY", "tok-12345-longer"), ("PATH", "/usr/bin"), ("A_TOKEN", "abc")];
        let scrub = Scrub::of(&config(), vars.into_iter().map(|(n, v)| (n.into(), v.into())));
        let mut value = json!({
            "a": ["x tok-12345-longer", {"pa55word": "tok-12345"}],
            "path": "/usr/bin abc", "n": 3,
        });
        scrub.value(&mut value);
        assert_eq!(value, json!({"a": ["x ***", {"***": "***"}], "path": "/usr/bin abc", "n": 3}));
    }
}
