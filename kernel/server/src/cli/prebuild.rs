//! `dds install --prebuild`: crates compiled into the machine's cache, as a cell's `:dep` would, so that
//! the first notebook that asks for one does not wait.
//!
//! Each crate gets an evaluator of its own, for that is how the first `:dep` of a notebook finds it.

use dds_core::eval::{CellSink, Evaluator, Stream};
use dds_core::{Config, Cx, Error, Kind, MimeBundle, Outcome, Result};
use dds_eval::{EvalOptions, RustEvaluator};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Most crates of one call.
pub(super) const MAX_CRATES: usize = 100;

/// `ndarray`, `polars@0.49+lazy+csv`, `image@0.25+png-default`: what a notebook's `:dep` names, for
/// crates with other features are compiled anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    name: String,
    version: String,
    features: Vec<String>,
    default_features: bool,
}

impl Wanted {
    /// Errors (`Usage`): no name of a crate, no version, or no name of a feature.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (rest, default_features) = match text.trim().strip_suffix("-default") {
            Some(rest) => (rest, false),
            None => (text.trim(), true),
        };
        let mut parts = rest.split('+');
        let crate_ = parts.next().unwrap_or_default();
        let features: Vec<String> = parts.map(str::to_owned).collect();
        let (name, version) = crate_.split_once('@').unwrap_or((crate_, "*"));
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let sign = |c: char| c.is_ascii_alphanumeric() || ".*^~=<>- ".contains(c);
        let is_feature = |text: &String| !text.is_empty() && text.chars().all(|c| plain(c) || c == '/');
        let is_crate = !name.is_empty() && name.chars().all(plain);
        if !is_crate || version.is_empty() || !version.chars().all(sign) || !features.iter().all(is_feature) {
            return Err(Error::usage(format!("--prebuild takes names of crates, not {text:?}"))
                .hint("such as --prebuild ndarray,polars@0.49+lazy,image@0.25+png-default (without its default features)"));
        }
        Ok(Self { name: name.into(), version: version.into(), features, default_features })
    }

    fn cell(&self) -> String {
        let Self { name, version, features, default_features } = self;
        let more = match (features.is_empty(), default_features) {
            (true, true) => format!("{version:?}"),
            (true, false) => format!("{{ version = {version:?}, default-features = false }}"),
            (false, true) => format!("{{ version = {version:?}, features = {features:?} }}"),
            (false, false) => {
                format!("{{ version = {version:?}, default-features = false, features = {features:?} }}")
            }
        };
        format!(":dep {name} = {more}\nuse {} as _;\n();", name.replace('-', "_"))
    }
}

/// What a cell says to the end; only shown when it fails.
#[derive(Default)]
struct Quiet(Mutex<String>);

impl CellSink for Quiet {
    fn stream(&self, _: Stream, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
    }

    fn display(&self, _: &MimeBundle) {}

    fn display_with_id(&self, _: &MimeBundle, _: &str, _: bool) {}
}

/// Compiles each crate. Goes on after one that does not compile; the error names those.
pub(super) fn run(wanted: &[Wanted], config: &Config, cx: &Cx) -> Result<Outcome> {
    let folder = tempfile::tempdir_in(&config.runtime_dir).map_err(|e| Error::io(&config.runtime_dir, &e))?;
    let (mut built, mut failed, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for (number, crate_) in wanted.iter().enumerate() {
        cx.cancel.check()?;
        cx.items(&format!("compiling {}", crate_.name), number, wanted.len());
        let began = Instant::now();
        let options =
            EvalOptions { cache: Some(config.cache_dir.clone()), ..EvalOptions::new(folder.path()) };
        let mut evaluator = RustEvaluator::start(&config.exe, options)?;
        let interrupter = evaluator.interrupter();
        let sink: Arc<dyn CellSink> = Arc::new(Quiet::default());
        let done = std::thread::scope(|scope| {
            let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let (watched, cancel) = (over.clone(), cx.cancel.clone());
            scope.spawn(move || {
                while !watched.load(std::sync::atomic::Ordering::SeqCst) {
                    if cancel.is_cancelled() {
                        interrupter.interrupt();
                    }
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
            });
            let done = evaluator.execute(&crate_.cell(), &sink, cx);
            over.store(true, std::sync::atomic::Ordering::SeqCst);
            done
        });
        cx.cancel.check()?;
        let seconds = began.elapsed().as_secs_f64();
        match done {
            Ok(_) => {
                lines.push(format!("compiled {} in {seconds:.1} s", crate_.name));
                built.push(json!({
                    "crate": crate_.name, "version": crate_.version, "features": crate_.features,
                    "default_features": crate_.default_features, "seconds": seconds,
                }));
            }
            Err(e) => {
                cx.sink.note(&format!("{} does not compile: {}", crate_.name, e.evalue));
                failed.push(crate_.name.clone());
            }
        }
    }
    cx.items("compiling", wanted.len(), wanted.len());
    if !failed.is_empty() {
        return Err(Error::new(Kind::Unavailable, format!("not compiled: {}", failed.join(", ")))
            .hint("see what was said about each; `dds doctor` checks the compiler and the folders"));
    }
    Ok(Outcome::new(lines.join("\n"), json!({"built": built})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_and_their_versions() {
        let cell = |text: &str| Wanted::parse(text).unwrap().cell();
        assert_eq!(cell("ndarray"), ":dep ndarray = \"*\"\nuse ndarray as _;\n();");
        assert_eq!(cell(" image-webp@0.2 "), ":dep image-webp = \"0.2\"\nuse image_webp as _;\n();");
        assert_eq!(
            cell("image@0.25.6+png+jpeg-default"),
            ":dep image = { version = \"0.25.6\", default-features = false, features = [\"png\", \"jpeg\"] }\n\
             use image as _;\n();"
        );
        assert_eq!(cell("a+b"), ":dep a = { version = \"*\", features = [\"b\"] }\nuse a as _;\n();");
        for wrong in ["", "@1", "a b", "a@", "a@\"1\"", "a/b", "a@1\nb", "a+", "a@1++b", "a+b c", "-default"]
        {
            assert_eq!(Wanted::parse(wrong).unwrap_err().kind, Kind::Usage, "{wrong}");
        }
    }
}
