//! `export-rs`: the Rust of a notebook as a Cargo project that builds and prints what the cells print.
//!
//! Items go to the top of `src/main.rs`, each once, the last definition of a name; statements of all
//! cells follow one another in `main`, so that a `let` is seen below it as it is in later cells. What is
//! not Rust (`%dds`, `!`) stays as a comment, with the line of a shell that does the same. Assumes that
//! the notebook's cells compile. Runs nothing of the notebook.

mod cells;
mod commands;
mod dependencies;
mod items;
mod project;
mod statements;

use cells::Reader;
use dds_app::Notebook;
use dds_app::notebook::CellKind;
use dds_core::table::count;
use dds_core::{Cx, Error, Kind, Outcome, Result, request as rq};
use project::Project;
use serde_json::json;
use std::path::Path;

/// Writes the project. Errors: those of reading the notebook; `Conflict` when files are there already.
pub fn run(r: &rq::ExportRs, cx: &Cx) -> Result<Outcome> {
    let path = cx.absolute(&r.notebook);
    let notebook = Notebook::read(&path)?;
    let name = match &r.name {
        Some(name) => checked_name(name)?,
        None => package_name(&path),
    };
    let mut reader = Reader::new(path.parent().unwrap_or(Path::new("/")));
    let mut number = 0;
    for cell in &notebook.cells {
        cx.cancel.check()?;
        match cell.kind {
            CellKind::Code { .. } => {
                number += 1;
                reader.code(number, &cell.source);
            }
            CellKind::Markdown { .. } => reader.prose(&cell.source),
            CellKind::Raw { .. } => {}
        }
    }
    let read = reader.finish();
    let (items, dependencies) = (read.items.len(), read.dependencies.len());
    let project = Project::of(&name, &r.notebook, &read);
    let dir = cx.absolute(&r.dir);
    let files = project.write(&dir, r.force)?;
    let own = |f: &&String| !f.starts_with("dds/src/");
    let mut lines: Vec<String> =
        files.iter().filter(own).map(|f| format!("{}/{f}", r.dir.trim_end_matches('/'))).collect();
    lines.extend(read.left_out.iter().map(|why| format!("left out: {why}")));
    let summary = format!(
        "{}: {}, {} and {} from {}",
        r.dir,
        count(number, "cell"),
        count(items, "item"),
        if dependencies == 1 { "1 dependency".to_owned() } else { format!("{dependencies} dependencies") },
        r.notebook
    );
    let result = json!({
        "dir": dir, "name": name, "files": files, "cells": number, "items": items,
        "dependencies": read.dependencies.names(), "left_out": read.left_out,
    });
    lines.push(format!("run it with: cargo run --manifest-path {}/Cargo.toml", r.dir.trim_end_matches('/')));
    Ok(Outcome::new(summary, result).detail(lines.join("\n")))
}

/// Names that Cargo or the compiler keep for themselves.
const TAKEN: &[&str] =
    &["test", "core", "std", "alloc", "proc_macro", "main", "build", "dds", "deps", "examples"];

fn fits(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    plain
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !TAKEN.contains(&name)
        && syn::parse_str::<syn::Ident>(&name.replace('-', "_")).is_ok()
}

fn checked_name(name: &str) -> Result<String> {
    if fits(name) {
        return Ok(name.to_owned());
    }
    Err(Error::new(Kind::Usage, format!("{name:?} cannot be the name of a package"))
        .hint("take letters, digits, - and _, and begin with a letter"))
}

/// From the notebook's file name: `01-Größe & more.ipynb` → `notebook-01-gr-e-more`.
fn package_name(notebook: &Path) -> String {
    let stem = notebook.file_stem().map(|s| s.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let words: String = stem.chars().map(plain).collect();
    let name = words.split('-').filter(|w| !w.is_empty()).collect::<Vec<_>>().join("-");
    if fits(&name) { name } else { format!("notebook-{name}").trim_end_matches('-').to_owned() }
}

#[cfg(test)]
mod tests;
