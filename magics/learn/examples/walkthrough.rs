//! All learning commands on one folder of images, with their pictures written to another:
//! `cargo run --release -p dds-learn --example walkthrough -- IMAGES OUT`.
//! Keeps its cache in OUT, so that a second run shows what cached features save.

use dds_core::engine::LearnEngine;
use dds_core::{Config, Cx, Located, Outcome, RepoUrl, Resolver, Result, Source, request as rq};
use dds_learn::Learn;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

struct Plain;

impl Resolver for Plain {
    fn resolve(&self, path: &Path) -> Located {
        Located::Local(path.to_path_buf())
    }

    fn open(&self, url: &RepoUrl, _: &Cx) -> Result<Arc<dyn Source>> {
        Err(dds_core::Error::not_found(url.to_string()))
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, images, out] = args.as_slice() else {
        return Err(dds_core::Error::usage("walkthrough IMAGES OUT"));
    };
    let out = std::path::absolute(out).map_err(|e| dds_core::Error::io(out, &e))?;
    std::fs::create_dir_all(&out).map_err(|e| dds_core::Error::io(&out, &e))?;
    let images =
        std::path::absolute(images).map_err(|e| dds_core::Error::io(images, &e))?.display().to_string();
    let config = Config {
        exe: PathBuf::new(),
        cache_dir: out.join("cache"),
        config_dir: PathBuf::new(),
        data_dir: PathBuf::new(),
        runtime_dir: PathBuf::new(),
        dagshub_host: String::new(),
        dagshub_token: None,
        dagshub_login: None,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        peers: Default::default(),
    };
    let learn = Learn::new(Arc::new(config), Arc::new(Plain));
    let cx = Cx::silent(&out);
    let start = Instant::now();
    let step = |name: &str, outcome: Result<Outcome>| -> Result<()> {
        let outcome = outcome?;
        println!("== {name} at {:.2} s\n{}\n", start.elapsed().as_secs_f64(), outcome.text());
        if let Some(html) = &outcome.html {
            let path = out.join(format!("{name}.html"));
            std::fs::write(&path, html).map_err(|e| dds_core::Error::io(&path, &e))?;
        }
        Ok(())
    };
    let png = |name: &str| Some(format!("{name}.png"));
    step(
        "data",
        learn.data(&rq::Data { path: images.clone(), split: "every:5".into(), ..Default::default() }, &cx),
    )?;
    step("probe", learn.probe(&rq::Probe::default(), &cx))?;
    let targets = vec![images.clone()];
    step(
        "show",
        learn.show(
            &rq::Show {
                targets: targets.clone(),
                size: 224,
                max: 16,
                out: png("show"),
                ..Default::default()
            },
            &cx,
        ),
    )?;
    step(
        "batch",
        learn.batch(&rq::Batch { data: None, max: 9, valid: false, seed: 0, out: png("batch") }, &cx),
    )?;
    step(
        "confusion",
        learn.confusion(&rq::Confusion { model: None, normalize: false, out: png("confusion") }, &cx),
    )?;
    step(
        "normalized",
        learn.confusion(&rq::Confusion { model: None, normalize: true, out: png("normalized") }, &cx),
    )?;
    step(
        "top-losses",
        learn.top_losses(&rq::TopLosses { model: None, max: 9, out: png("top-losses") }, &cx),
    )?;
    step("export", learn.export(&rq::Export { dir: "exported".into(), model: None }, &cx))?;
    step("load", learn.load(&rq::Load { dir: "exported".into(), name: Some("again".into()) }, &cx))?;
    let first = std::fs::read_dir(&images).map_err(|e| dds_core::Error::io(&images, &e))?;
    let folder = first.flatten().map(|e| e.path()).find(|p| p.is_dir()).unwrap_or_default();
    step(
        "predict",
        learn.predict(&rq::Predict { targets: vec![folder.display().to_string()], model: None, top: 3 }, &cx),
    )
}
