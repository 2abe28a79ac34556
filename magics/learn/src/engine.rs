//! The learning commands. Each one finds its data set or model, does its work through the modules
//! beside this one, and words the result.

mod changes;
mod convert;
mod data;
mod interpret;
mod predict;
mod probe;
mod session;
mod show;
mod verify;

use crate::picture::Png;
use crate::store::write_file;
use dds_core::engine::LearnEngine;
use dds_core::{Config, Cx, Error, Kind, Located, MimeBundle, Outcome, Resolver, Result, request as rq};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::Value;
use session::Session;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The engine behind `show`, `verify`, `data`, `batch`, `probe`, `confusion`, `top-losses`, `export`, `load`
/// and `predict`. One a session: it keeps the names that were given.
pub struct Learn {
    config: Arc<Config>,
    resolver: Arc<dyn Resolver>,
    pool: OnceLock<Result<ThreadPool>>,
    session: Mutex<Session>,
}

impl Learn {
    /// Does no work: threads start and weights are unpacked with the first command that needs them.
    pub fn new(config: Arc<Config>, resolver: Arc<dyn Resolver>) -> Self {
        Self { config, resolver, pool: OnceLock::new(), session: Mutex::default() }
    }

    fn pool(&self) -> Result<&ThreadPool> {
        let start = || {
            ThreadPoolBuilder::new()
                .num_threads(self.config.threads.max(1))
                .thread_name(|i| format!("dds-learn-{i}"))
                .build()
                .map_err(|e| Error::new(Kind::Unavailable, format!("starting threads: {e}")))
        };
        self.pool.get_or_init(start).as_ref().map_err(Clone::clone)
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        // The session holds finished values only; a panic elsewhere leaves it usable.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A path to write to: of this machine, outside mounts.
    fn writable(&self, text: &str, cx: &Cx) -> Result<PathBuf> {
        let path = cx.absolute(text);
        match self.resolver.resolve(&path) {
            Located::Local(path) => Ok(path),
            Located::Remote { .. } => {
                Err(Error::usage(format!("{text}: inside a mount, which is read-only"))
                    .hint("write to a folder outside, then use %dds upload"))
            }
        }
    }

    /// Writes the picture where `--out` says: to a name in `.png`, and over nothing but a PNG.
    fn write_picture(&self, png: &Png, out: Option<&String>, cx: &Cx) -> Result<()> {
        let Some(out) = out else { return Ok(()) };
        if !Path::new(out).extension().is_some_and(|e| e.eq_ignore_ascii_case("png")) {
            let why = format!("{out}: the picture is a PNG, and this name does not end in .png");
            return Err(Error::usage(why).hint("write --out NAME.png"));
        }
        let path = self.writable(out, cx)?;
        if !replaceable(&path)? {
            return Err(Error::usage(format!("{out}: exists and is not a PNG, so it is left as it is"))
                .hint("write --out NAME.png with another name"));
        }
        write_file(&path, &png.bytes)
    }
}

/// Whether nothing is at `path`, or a file that begins as a PNG does.
fn replaceable(path: &Path) -> Result<bool> {
    const MAGIC: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
    // Looked at before it is opened: opening a pipe would wait for its other end.
    match fs::metadata(path) {
        // A missing folder is for the writing to report; a link to nowhere is not ours to replace.
        Err(_) => return Ok(!path.is_symlink()),
        Ok(found) if !found.is_file() => return Ok(false),
        Ok(_) => {}
    }
    let mut start = Vec::new();
    let file = fs::File::open(path).map_err(|e| Error::io(path, &e))?;
    file.take(MAGIC.len() as u64).read_to_end(&mut start).map_err(|e| Error::io(path, &e))?;
    Ok(start == MAGIC)
}

impl LearnEngine for Learn {
    fn show(&self, r: &rq::Show, cx: &Cx) -> Result<Outcome> {
        self.run_show(r, cx)
    }

    fn data(&self, r: &rq::Data, cx: &Cx) -> Result<Outcome> {
        self.run_data(r, cx)
    }

    fn batch(&self, r: &rq::Batch, cx: &Cx) -> Result<Outcome> {
        self.run_batch(r, cx)
    }

    fn probe(&self, r: &rq::Probe, cx: &Cx) -> Result<Outcome> {
        self.run_probe(r, cx)
    }

    fn confusion(&self, r: &rq::Confusion, cx: &Cx) -> Result<Outcome> {
        self.run_confusion(r, cx)
    }

    fn top_losses(&self, r: &rq::TopLosses, cx: &Cx) -> Result<Outcome> {
        self.run_top_losses(r, cx)
    }

    fn export(&self, r: &rq::Export, cx: &Cx) -> Result<Outcome> {
        self.run_export(r, cx)
    }

    fn load(&self, r: &rq::Load, cx: &Cx) -> Result<Outcome> {
        self.run_load(r, cx)
    }

    fn predict(&self, r: &rq::Predict, cx: &Cx) -> Result<Outcome> {
        self.run_predict(r, cx)
    }

    fn convert(&self, r: &rq::Convert, cx: &Cx) -> Result<Outcome> {
        self.run_convert(r, cx)
    }

    fn verify(&self, r: &rq::Verify, cx: &Cx) -> Result<Outcome> {
        self.run_verify(r, cx)
    }

    fn changes(&self, diff: &Value, cx: &Cx) -> Result<Option<MimeBundle>> {
        self.run_changes(diff, cx)
    }

    fn names(&self) -> Vec<String> {
        self.session().names()
    }
}
