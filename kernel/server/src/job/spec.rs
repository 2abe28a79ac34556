//! The job file, checked in full before anything runs: fields, types, sizes, and every step by the
//! grammar of the cells. Errors name the field or the step.
//!
//! A job file holds no credentials: it is kept with the run, and jobs are sent to other machines.

use dds_cmd::{CellCommand, CellLine, Command, Segment, body, grammar, words};
use dds_core::secret::looks_secret;
use dds_core::{Error, Kind, Outcome, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Longest job file, in bytes.
pub const MAX_SPEC_BYTES: usize = 1024 * 1024;
/// Most steps of a job.
pub const MAX_STEPS: usize = 1000;
/// Longest step, in bytes.
pub const MAX_STEP_BYTES: usize = 64 * 1024;
/// Longest `name`, in characters.
pub const MAX_NAME: usize = 100;
/// Most variables in `env`.
pub const MAX_ENV: usize = 64;
/// Longest value of a variable, in bytes.
pub const MAX_ENV_VALUE: usize = 32 * 1024;
/// The version of the format.
const VERSION: u64 = 1;
const FIELDS: &[&str] = &["dds_job", "name", "folder", "steps", "env"];

/// A job file that has been understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    pub name: Option<String>,
    /// As written; from the folder in which the job is started.
    pub folder: Option<String>,
    pub env: BTreeMap<String, String>,
    pub steps: Vec<Step>,
    /// The file itself.
    pub text: Vec<u8>,
}

/// One command of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// As written.
    pub text: String,
    pub line: CellLine,
}

impl Step {
    pub fn command(&self) -> &'static str {
        self.line.command.as_ref().map_or("help", CellCommand::name)
    }
}

impl Spec {
    /// Errors (`Format`) name the field or the step, counted from 1.
    pub fn parse(text: &[u8]) -> Result<Self> {
        if text.len() > MAX_SPEC_BYTES {
            return Err(Error::new(Kind::Limit, format!("a job file has at most {MAX_SPEC_BYTES} bytes")));
        }
        let value: Value = serde_json::from_slice(text).map_err(|e| {
            wrong(format!("not JSON: {e}")).hint("see `dds help job` for what a job file holds")
        })?;
        let Value::Object(fields) = value else {
            return Err(wrong(format!("a job is an object, not {}", kind(&value))).hint(EXAMPLE));
        };
        if let Some(key) = fields.keys().find(|k| !FIELDS.contains(&k.as_str())) {
            let e = wrong(format!("`{key}` is no field of a job"));
            return Err(match dds_cmd::nearest::nearest(key, FIELDS.iter().copied()) {
                Some(near) => e.hint(format!("did you mean `{near}`?")),
                None => e.hint(format!("fields: {}", FIELDS.join(", "))),
            });
        }
        match fields.get("dds_job") {
            None => {
                return Err(
                    wrong("`dds_job` is missing").hint("add \"dds_job\": 1, the version of the format")
                );
            }
            Some(v) if v.as_u64() != Some(VERSION) => {
                return Err(wrong(format!("`dds_job` is {VERSION} for this version of dds, not {v}")));
            }
            Some(_) => {}
        }
        let name = text_field(&fields, "name")?;
        if name.as_ref().is_some_and(|n| n.chars().count() > MAX_NAME || n.chars().any(char::is_control)) {
            return Err(wrong(format!("`name` has at most {MAX_NAME} characters, on one line")));
        }
        let folder = text_field(&fields, "folder")?;
        if folder.as_ref().is_some_and(|f| f.is_empty() || f.contains('\0')) {
            return Err(wrong("`folder` names no folder").hint("leave it out for the current folder"));
        }
        Ok(Self { name, folder, env: env(&fields)?, steps: steps(&fields)?, text: text.to_vec() })
    }

    /// What would run, in `folder`.
    pub fn plan(&self, folder: &Path) -> Outcome {
        let steps: Vec<Value> = (1..)
            .zip(&self.steps)
            .map(|(n, s)| json!({"step": n, "command": s.command(), "text": s.text}))
            .collect();
        let lines: Vec<String> = (1..)
            .zip(&self.steps)
            .map(|(n, s)| {
                let mut lines = s.text.trim().lines();
                let first = lines.next().unwrap_or_default();
                format!("{n:>3}  {first}{}", if lines.next().is_some() { " …" } else { "" })
            })
            .collect();
        let name = self.name.as_ref().map(|n| format!("{n}: ")).unwrap_or_default();
        let count =
            if self.steps.len() == 1 { "1 step".into() } else { format!("{} steps", self.steps.len()) };
        let variables: Vec<&String> = self.env.keys().collect();
        Outcome::new(
            format!("{name}{count} in {}", folder.display()),
            json!({"name": self.name, "folder": folder, "steps": steps, "env": variables}),
        )
        .detail(lines.join("\n"))
    }
}

const EXAMPLE: &str = "{\"dds_job\": 1, \"steps\": [\"%dds ls\"]} is one; see `dds help job`";

fn wrong(message: impl Into<String>) -> Error {
    Error::new(Kind::Format, message)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn text_field(fields: &Map<String, Value>, name: &str) -> Result<Option<String>> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong(format!("`{name}` takes text, not {}", kind(other)))),
    }
}

fn env(fields: &Map<String, Value>) -> Result<BTreeMap<String, String>> {
    let map = match fields.get("env") {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(wrong(format!("`env` takes an object, not {}", kind(other)))),
    };
    if map.len() > MAX_ENV {
        return Err(wrong(format!("`env` has {} variables, at most {MAX_ENV} are taken", map.len())));
    }
    map.iter()
        .map(|(name, value)| {
            let plain = name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
            if !plain || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(wrong(format!("`env`: {name:?} is no name of a variable"))
                    .hint("a name has letters, digits and _, and begins with no digit"));
            }
            let Value::String(text) = value else {
                return Err(wrong(format!("`env.{name}` takes text, not {}", kind(value)))
                    .hint(format!("write \"{name}\": \"{value}\"")));
            };
            if looks_secret(name) {
                return Err(wrong(format!(
                    "`env.{name}` looks like a credential, and a job file holds none"
                ))
                .hint(format!("set it in the environment that starts the job: {name}=… dds job run SPEC")));
            }
            if text.len() > MAX_ENV_VALUE || text.contains('\0') {
                return Err(wrong(format!("`env.{name}` has at most {MAX_ENV_VALUE} bytes, and no NUL")));
            }
            Ok((name.clone(), text.clone()))
        })
        .collect()
}

fn steps(fields: &Map<String, Value>) -> Result<Vec<Step>> {
    let list = match fields.get("steps") {
        None => return Err(wrong("`steps` is missing").hint(EXAMPLE)),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong(format!("`steps` takes a list, not {}", kind(other))).hint(EXAMPLE)),
    };
    if list.is_empty() {
        return Err(wrong("`steps` is empty").hint(EXAMPLE));
    }
    if list.len() > MAX_STEPS {
        return Err(wrong(format!("`steps` has {} commands, at most {MAX_STEPS} are taken", list.len())));
    }
    (1..)
        .zip(list)
        .map(|(n, value)| {
            let Value::String(text) = value else {
                return Err(wrong(format!("step {n}: a step is text, not {}", kind(value))));
            };
            let line =
                step(text).map_err(|e| Error { kind: Kind::Format, ..e.context(format!("step {n}")) })?;
            Ok(Step { text: text.clone(), line })
        })
        .collect()
}

/// One step by the grammar of the cells. Nothing in it is evaluated.
fn step(text: &str) -> Result<CellLine> {
    if text.len() > MAX_STEP_BYTES {
        return Err(wrong(format!("a step has at most {MAX_STEP_BYTES} bytes, this one {}", text.len())));
    }
    let segments = dds_cmd::split(text)?;
    let (head, body) = match segments.as_slice() {
        [Segment::Line { text, .. }] => (text, None),
        [Segment::Cell { head, body, line }] => (head, Some((body, line + 2))),
        [] => return Err(wrong("there is no command").hint(EXAMPLE)),
        [Segment::Shell { .. }] => {
            return Err(wrong("a job runs %dds commands, no shell lines")
                .hint("run the program before or after the job, from the script that starts it"));
        }
        [Segment::Rust { text, .. }] => {
            let word = text.split_whitespace().next().unwrap_or_default();
            let known = dds_cmd::Door::Cell.tree().find_subcommand(word).is_some() || word == "dds";
            let e = wrong("a job runs %dds commands, no Rust");
            return Err(if known {
                e.hint(format!("write `%dds {}`", text.trim().trim_start_matches("dds ")))
            } else {
                e.hint("a notebook with Rust cells runs as one step: %dds exec NOTEBOOK.ipynb")
            });
        }
        [_, ..] => {
            return Err(wrong("a step is one command").hint("write one text per command in `steps`"));
        }
    };
    let parts = words::split(head)?;
    if words::has_expressions(&parts) {
        return Err(
            wrong("{…} is a Rust expression, and a job has no Rust").hint("write {{ and }} for braces")
        );
    }
    if words::has_patterns(&parts) {
        return Err(wrong(
            "`*`, `?`, `[` and `~` stand for files, which a job does not look for before it runs",
        )
        .hint("name files and folders, or quote the sign when it belongs to a name"));
    }
    let words = words::resolve(parts, &mut |_| Ok::<_, Error>(String::new()))?;
    if let Some(word) = words.iter().find(|w| has_login(w)) {
        let host = word.rsplit('@').next().unwrap_or_default();
        return Err(wrong(format!("the address of {host} holds a login")).hint(NO_SECRETS));
    }
    let line = match body {
        Some((body, first)) => body::parse(&words, body, first)?,
        None => grammar::cell(&words)?,
    };
    fit(&line)?;
    Ok(line)
}

const NO_SECRETS: &str =
    "a job file holds no credentials: set DAGSHUB_USER_TOKEN in the environment that starts the job";

/// Whether a word is a URL with a user's name and password in it.
fn has_login(word: &str) -> bool {
    let Some((_, rest)) = word.split_once("://") else { return false };
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

/// Refuses what has no meaning outside a notebook, and credentials.
fn fit(line: &CellLine) -> Result<()> {
    let Some(command) = &line.command else {
        return Err(wrong("there is no command").hint("%dds alone shows the help"));
    };
    let token = match command {
        CellCommand::App(_) => return Err(wrong("`app` declares a form of a notebook, and a job is none")),
        CellCommand::Time(_) => {
            return Err(wrong("`time` measures Rust, and a job has no Rust"));
        }
        CellCommand::Env(_) => {
            return Err(
                wrong("`env` changes a notebook's session").hint("write the variables into the job's `env`")
            );
        }
        CellCommand::Common(Command::Mount(r)) => &r.token,
        CellCommand::Common(Command::Upload(r)) => &r.token,
        CellCommand::Common(Command::Commit(r)) => &r.token,
        CellCommand::Common(Command::Clone(r)) => &r.token,
        CellCommand::Common(_) | CellCommand::Cd(_) => &None,
    };
    if token.is_some() {
        return Err(wrong(format!("`{}` has a token", command.name())).hint(NO_SECRETS));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
