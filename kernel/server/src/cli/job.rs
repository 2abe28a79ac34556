//! `dds job run`: checks the file, gives its variables to this process, and runs it to its end.
//!
//! Standard output belongs to the events alone; what a person should read goes to standard error.

use super::interrupt;
use crate::config;
use crate::job::{self, Ended, Spec};
use crate::render::{self, Style};
use dds_cmd::grammar::Job;
use dds_core::{Cx, Error, Kind, Result};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

pub(super) fn run(r: &Job, cwd: &Path, style: Style) -> Result<()> {
    let (named, text) = read(&r.spec, cwd)?;
    let spec = Spec::parse(&text).map_err(|e| e.context(&named));
    if r.plan {
        let spec = spec?;
        let folder = job::folder(&spec, cwd).map_err(|e| e.context(&named))?;
        render::outcome(&spec.plan(&folder), style);
        return Ok(());
    }
    let ended = match spec {
        Err(e) => job::refused(&e),
        Ok(spec) => {
            for (name, value) in &spec.env {
                // SAFETY: no other thread of this process has been started yet, see `cli::main`.
                unsafe { std::env::set_var(name, value) };
            }
            let config = Arc::new(config::load(&config::process_env)?);
            job::run(&spec, &config, cwd, &interrupt::watch())
        }
    };
    match ended {
        Ended::Ok => Ok(()),
        // As JSON it stands among the events already.
        Ended::Error(e) => {
            render::error(&e, Style { json: false, ..style });
            std::process::exit(if e.kind == Kind::Interrupted { 130 } else { 1 });
        }
    }
}

/// How messages name the job file, and what it holds.
fn read(spec: &str, cwd: &Path) -> Result<(String, Vec<u8>)> {
    let limit = job::MAX_SPEC_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    if spec == "-" {
        let told = |e: std::io::Error| Error::io("standard input", &e);
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(told)?;
        return Ok(("standard input".into(), bytes));
    }
    let path = Cx::silent(cwd).absolute(spec);
    let file = std::fs::File::open(&path).map_err(|e| {
        Error::io(&path, &e).hint("name the job file, or - to give it on standard input; see `dds help job`")
    })?;
    file.take(limit).read_to_end(&mut bytes).map_err(|e| Error::io(&path, &e))?;
    Ok((spec.to_owned(), bytes))
}
