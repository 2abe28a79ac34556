//! Notebooks on disk: reads nbformat 4, writes nbformat 4.5.
//!
//! Accepts what Jupyter accepts (text as one string or as lines, missing cell ids, unknown
//! metadata) and keeps all metadata as it is. Does not run anything. Older and newer major
//! versions are refused with a hint.

pub(crate) mod output;

pub use output::Output;

use dds_core::{Error, Kind, Result};
use output::{lines_value, text_value};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Largest notebook file read, in bytes.
pub const MAX_NOTEBOOK_BYTES: u64 = 256 * 1024 * 1024;
/// Most cells of one notebook.
pub const MAX_CELLS: usize = 20_000;
/// The minor version of nbformat 4 that is written.
const NBFORMAT_MINOR: i64 = 5;

/// What a cell is, with what only that type has.
#[derive(Clone, Debug, PartialEq)]
pub enum CellKind {
    Code { execution_count: Option<i64>, outputs: Vec<Output> },
    Markdown { attachments: Map<String, Value> },
    Raw { attachments: Map<String, Value> },
}

/// One cell. `id` is unique in its notebook: 1 to 64 of `a-z A-Z 0-9 - _`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub id: String,
    pub source: String,
    pub metadata: Map<String, Value>,
    pub kind: CellKind,
}

impl Cell {
    pub fn is_code(&self) -> bool {
        matches!(self.kind, CellKind::Code { .. })
    }

    /// Outputs of a code cell; nothing for other cells.
    pub fn outputs(&self) -> &[Output] {
        match &self.kind {
            CellKind::Code { outputs, .. } => outputs,
            _ => &[],
        }
    }

    /// Whether the cell carries `tag` (`metadata.tags`).
    pub fn has_tag(&self, tag: &str) -> bool {
        self.metadata
            .get("tags")
            .and_then(Value::as_array)
            .is_some_and(|tags| tags.iter().any(|t| t.as_str() == Some(tag)))
    }
}

/// A notebook in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notebook {
    pub metadata: Map<String, Value>,
    pub cells: Vec<Cell>,
}

impl Notebook {
    /// Reads a notebook file. Errors: `NotFound`, `Io`, `Limit`, and `Format` when it is not a
    /// notebook or of another version; each names the file.
    pub fn read(path: &Path) -> Result<Self> {
        let named = |e: Error| e.context(path.display());
        let meta = std::fs::metadata(path).map_err(|e| {
            let error = Error::io(path, &e);
            match error.kind {
                Kind::NotFound => Error::not_found(format!("there is no notebook {}", path.display()))
                    .hint("check the path; `ls *.ipynb` lists the notebooks of a folder"),
                _ => error,
            }
        })?;
        if meta.is_dir() {
            return Err(Error::new(Kind::Format, format!("{} is a folder, not a notebook", path.display()))
                .hint("name the .ipynb file inside it"));
        }
        if meta.len() > MAX_NOTEBOOK_BYTES {
            return Err(named(Error::new(
                Kind::Limit,
                format!("{} bytes; a notebook may have at most {MAX_NOTEBOOK_BYTES}", meta.len()),
            ))
            .hint("clear its outputs and save it again"));
        }
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
        Self::from_bytes(&bytes).map_err(named)
    }

    /// Parses the bytes of a notebook file. Errors: `Format`, `Limit`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let value: Value =
            serde_json::from_slice(bytes).map_err(|e| not_a_notebook(format!("not JSON: {e}")))?;
        Self::from_value(value)
    }

    fn from_value(value: Value) -> Result<Self> {
        let Value::Object(mut top) = value else { return Err(not_a_notebook("its JSON is not an object")) };
        let major = top.get("nbformat").and_then(Value::as_i64);
        match major {
            Some(4) => {}
            Some(v @ 1..=3) => {
                return Err(Error::new(Kind::Format, format!("notebook format {v} is too old; 4 is read"))
                    .hint("convert it with: jupyter nbconvert --to notebook --nbformat 4 FILE"));
            }
            Some(v) => {
                return Err(Error::new(Kind::Format, format!("notebook format {v} is not known; 4 is read"))
                    .hint("save it from Jupyter as notebook format 4"));
            }
            None => return Err(not_a_notebook("it has no `nbformat` number")),
        }
        let Some(Value::Array(cells)) = top.remove("cells") else {
            return Err(not_a_notebook("it has no list `cells`"));
        };
        if cells.len() > MAX_CELLS {
            return Err(Error::new(Kind::Limit, format!("{} cells; at most {MAX_CELLS}", cells.len())));
        }
        let metadata = match top.remove("metadata") {
            Some(Value::Object(m)) => m,
            None => Map::new(),
            Some(_) => return Err(not_a_notebook("its `metadata` is not an object")),
        };
        let cells = cells
            .into_iter()
            .enumerate()
            .map(|(i, c)| read_cell(c).map_err(|e| e.context(format!("cell {}", i + 1))))
            .collect::<Result<Vec<_>>>()?;
        let mut notebook = Self { metadata, cells };
        notebook.repair_ids();
        Ok(notebook)
    }

    /// Writes nbformat 4.5 as Jupyter does (indent 1, sorted keys), into a temporary file beside
    /// `path` that then takes its place. A symbolic link is followed, a file's mode is kept.
    pub fn write(&self, path: &Path) -> Result<()> {
        let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let dir = match target.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        let failed = |e: &std::io::Error| Error::io(path, e).context("cannot write the notebook");
        let mode = std::fs::metadata(&target).map(|m| m.permissions().mode() & 0o777).ok();
        let mut file = tempfile::Builder::new()
            .prefix(".dds-notebook-")
            .permissions(std::fs::Permissions::from_mode(mode.unwrap_or(0o666)))
            .tempfile_in(dir)
            .map_err(|e| failed(&e))?;
        file.write_all(&self.to_bytes()?).map_err(|e| failed(&e))?;
        file.as_file().sync_all().map_err(|e| failed(&e))?;
        file.persist(&target).map_err(|e| failed(&e.error))?;
        // The rename is durable only once the folder is; a folder that cannot be synced (some network
        // file systems) has still been renamed into.
        if let Ok(d) = std::fs::File::open(dir) {
            let _ = d.sync_all();
        }
        Ok(())
    }

    /// The file's bytes: nbformat 4.5 with a final line feed.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut ser = serde_json::Serializer::with_formatter(
            &mut out,
            serde_json::ser::PrettyFormatter::with_indent(b" "),
        );
        serde::Serialize::serialize(&self.to_value(), &mut ser)
            .map_err(|e| Error::internal(format!("notebook does not serialise: {e}")))?;
        out.push(b'\n');
        Ok(out)
    }

    fn to_value(&self) -> Value {
        json!({
            "nbformat": 4,
            "nbformat_minor": NBFORMAT_MINOR,
            "metadata": self.metadata,
            "cells": self.cells.iter().map(write_cell).collect::<Vec<_>>(),
        })
    }

    /// The programming language the notebook says it is in, in lower case.
    pub fn language(&self) -> Option<String> {
        let at = |a: &str, b: &str| self.metadata.get(a)?.get(b)?.as_str().map(str::to_lowercase);
        at("kernelspec", "language").or_else(|| at("language_info", "name"))
    }

    /// `Ok` for Rust notebooks and for those that name no language. Error: `Usage`.
    pub fn require_rust(&self) -> Result<()> {
        match self.language() {
            None => Ok(()),
            Some(l) if l == "rust" => Ok(()),
            Some(language) => {
                let name = match language.as_str() {
                    "python" => "Python",
                    "r" => "R",
                    "julia" => "Julia",
                    other => other,
                };
                Err(Error::usage(format!("this is a {name} notebook; dds runs Rust notebooks"))
                    .hint("choose the kernel “Rust (dds)” in Jupyter and save the notebook"))
            }
        }
    }

    /// Names the kernel in the metadata where nothing is said yet.
    pub fn name_kernel(&mut self) {
        self.metadata
            .entry("kernelspec")
            .or_insert_with(|| json!({"name": "dds", "display_name": "Rust (dds)", "language": "rust"}));
        self.metadata.entry("language_info").or_insert_with(
            || json!({"name": "rust", "file_extension": ".rs", "mimetype": "text/rust", "pygments_lexer": "rust"}),
        );
    }

    /// The title: `metadata.title`, else the first Markdown heading.
    pub fn title(&self) -> Option<String> {
        if let Some(t) = self.metadata.get("title").and_then(Value::as_str) {
            return Some(t.to_owned());
        }
        self.cells.iter().filter(|c| matches!(c.kind, CellKind::Markdown { .. })).find_map(|c| {
            c.source.lines().find_map(|line| {
                let text = line.trim_start().strip_prefix('#')?.trim_start_matches('#');
                let text = text.trim().trim_matches(['*', '`', '_']);
                (!text.is_empty()).then(|| text.to_owned())
            })
        })
    }

    /// Gives every cell a valid id of its own. Ids are made from position and source, so that the
    /// same notebook gets the same ids and diffs stay small.
    fn repair_ids(&mut self) {
        let mut seen = HashSet::new();
        for (index, cell) in self.cells.iter_mut().enumerate() {
            let valid = (1..=64).contains(&cell.id.len())
                && cell.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if valid && seen.insert(cell.id.clone()) {
                continue;
            }
            let mut salt = index as u64;
            loop {
                let id = format!("{:08x}", fnv1a(cell.source.as_bytes(), salt) & 0xffff_ffff);
                if seen.insert(id.clone()) {
                    cell.id = id;
                    break;
                }
                salt = salt.wrapping_add(MAX_CELLS as u64);
            }
        }
    }
}

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), over `salt` and then `bytes`.
pub(crate) fn fnv1a(bytes: &[u8], salt: u64) -> u64 {
    salt.to_le_bytes()
        .iter()
        .chain(bytes)
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn not_a_notebook(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Format, format!("not a Jupyter notebook: {why}"))
        .hint("give a file that Jupyter saved, NAME.ipynb")
}

fn read_cell(value: Value) -> Result<Cell> {
    let Value::Object(mut c) = value else { return Err(not_a_notebook("not an object")) };
    let source = match c.remove("source") {
        Some(v) => text_value(&v).ok_or_else(|| not_a_notebook("`source` is not text"))?,
        None => String::new(),
    };
    let object = |v: Option<Value>| match v {
        Some(Value::Object(m)) => m,
        _ => Map::new(),
    };
    let kind = match c.get("cell_type").and_then(Value::as_str) {
        Some("code") => {
            let outputs = match c.remove("outputs") {
                Some(Value::Array(list)) => list.iter().filter_map(Output::from_value).collect(),
                _ => Vec::new(),
            };
            CellKind::Code { execution_count: c.get("execution_count").and_then(Value::as_i64), outputs }
        }
        Some("markdown") => CellKind::Markdown { attachments: object(c.remove("attachments")) },
        Some("raw") => CellKind::Raw { attachments: object(c.remove("attachments")) },
        other => return Err(not_a_notebook(format!("unknown cell type {:?}", other.unwrap_or("none")))),
    };
    let id = c.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Cell { id, source, metadata: object(c.remove("metadata")), kind })
}

fn write_cell(cell: &Cell) -> Value {
    let mut out = Map::new();
    out.insert("id".into(), json!(cell.id));
    out.insert("metadata".into(), Value::Object(cell.metadata.clone()));
    out.insert("source".into(), lines_value(&cell.source));
    let attach = |out: &mut Map<String, Value>, a: &Map<String, Value>| {
        if !a.is_empty() {
            out.insert("attachments".into(), Value::Object(a.clone()));
        }
    };
    let name = match &cell.kind {
        CellKind::Code { execution_count, outputs } => {
            out.insert("execution_count".into(), json!(execution_count));
            out.insert("outputs".into(), outputs.iter().map(Output::to_value).collect());
            "code"
        }
        CellKind::Markdown { attachments } => {
            attach(&mut out, attachments);
            "markdown"
        }
        CellKind::Raw { attachments } => {
            attach(&mut out, attachments);
            "raw"
        }
    };
    out.insert("cell_type".into(), json!(name));
    Value::Object(out)
}
