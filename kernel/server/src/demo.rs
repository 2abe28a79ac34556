//! `dds demo`: the main job on sample data, from nothing to a published app.
//!
//! Every step is what a user would do, through the same doors: a repository in DVC's format, our
//! server on a loopback port, a real kernel process that runs the notebook, and the app server.
//! Assumes nothing but a Rust toolchain (for the notebook's Rust cells).

mod preflight;
mod report;
mod samples;
mod steps;
mod visit;

pub use report::Report;

use dds_app::{AppOptions, ExecOptions, Notebook};
use dds_core::{Config, Cx, Error, RepoPath, Result};
use dds_data::create::{self, git_dvc_repo};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use steps::Steps;

/// Folder and repository name of the sample set.
const REPOSITORY: &str = "clipart";
const README: &str =
    "# Drawings\n\nSix classes of sixty drawings from Openclipart (public domain), kept by DVC.\n";

/// What `dds demo` was asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Stop after checking that the app answers.
    pub exit: bool,
    /// Write what was measured to this JSON file.
    pub report: Option<PathBuf>,
    /// Port of the app; 0 takes a free one.
    pub port: u16,
    /// Where the executed notebook goes; by default into the current folder.
    pub out: Option<PathBuf>,
}

/// Runs the demo until it ends (`exit`) or the user interrupts it.
pub async fn run(options: Options, config: Arc<Config>, cx: &Cx) -> Result<Report> {
    let mut steps = Steps::new();
    let mut report = Report::default();
    preflight::check(&mut steps)?;
    // Opened first: nothing is worse than a report that cannot be written after all the work.
    let report_file = options.report.as_deref().map(|p| ReportFile::create(&cx.absolute(p))).transpose()?;
    let out = cx.absolute(options.out.as_deref().unwrap_or(Path::new("dds-demo.ipynb")));
    let work = tempfile::Builder::new()
        .prefix("dds-demo-")
        .tempdir()
        .map_err(|e| Error::io(std::env::temp_dir(), &e))?;

    steps.begin("repository", "making a Git+DVC repository of the sample pictures");
    let repository = work.path().join(REPOSITORY);
    let pictures = make_repository(work.path(), &repository, cx)?;
    steps.done(&format!("{pictures} pictures in {}", repository.display()));

    steps.begin("serve", "serving it with DagsHub's API");
    let server = dds_data::serve::serve(&repository, dds_data::serve::ServeOptions::default()).await?;
    let url = server.repo_url();
    steps.done(&url);

    // A cache of its own: what the report says was streamed does not depend on earlier runs.
    let environment =
        vec![("DDS_REPO".into(), url.into()), ("DDS_CACHE".into(), work.path().join("cache").into())];

    steps.begin("notebook", "running the notebook in a real kernel");
    let folder = work.path().join("notebook");
    std::fs::create_dir(&folder).map_err(|e| Error::io(&folder, &e))?;
    let source = folder.join(samples::NOTEBOOK_NAME);
    std::fs::write(&source, samples::NOTEBOOK).map_err(|e| Error::io(&source, &e))?;
    let mut notebook = Notebook::read(&source)?;
    let mut exec = ExecOptions::new(&config.exe, &config.runtime_dir, &folder);
    exec.env = environment.clone();
    exec.cancel = cx.cancel.clone();
    exec.on_cell = Some(Arc::new(steps::show_cell));
    let ran = dds_app::execute(&mut notebook, exec).await?;
    // Written before a failure is reported: the outputs so far say more than the error.
    notebook.write(&out)?;
    report.notebook = out.display().to_string();
    if let Some(error) = ran.error() {
        return Err(error.hint(format!("the notebook with its outputs so far is {}", out.display())));
    }
    for cell in &ran.cells {
        report.seconds.insert(format!("cell {}", cell.id), cell.seconds);
    }
    report.read(&notebook)?;
    steps.done(&format!(
        "{} cells; accuracy {:.3} where a constant answer reaches {:.3}; written to {}",
        ran.cells.len(),
        report.probe_accuracy,
        report.majority_baseline,
        out.display()
    ));

    steps.begin("app", "publishing the notebook as an app");
    let mut app = AppOptions::new(&config);
    app.cancel = cx.cancel.clone();
    app.port = options.port;
    app.env = environment;
    let app = dds_app::serve(&source, app).await?;
    if let Some(problem) = &app.problem {
        return Err(problem.clone());
    }
    report.app_url = app.url.clone();
    steps.done(&report.app_url);

    if options.exit {
        steps.begin("visit", "visiting the app with a picture");
        // The picture that the notebook predicted first: the app must say the same.
        let (picture, expected) = report.predicted_sample()?;
        let picture = samples::picture(&picture)?;
        let answer = visit::visit(&report.app_url, picture, "drawing.jpg").await?;
        let label = visit::label(&answer, &class_names(&repository.join(REPOSITORY))?)
            .ok_or_else(|| Error::internal("the app's answer names no class"))?;
        if label != expected {
            return Err(Error::internal(format!("the app says {label}, but the notebook said {expected}")));
        }
        steps.done(&format!("it says: {label}, as the notebook did"));
        report.app_answer = Some(label);
    }
    report.seconds.extend(steps.seconds());
    if let Some(file) = report_file {
        file.write(&report)?;
    }
    if !options.exit {
        eprintln!("\nOpen the address above and classify a picture. Ctrl-C ends the demo.");
        wait_for_interrupt(cx).await;
    }
    app.shutdown().await;
    server.shutdown().await;
    Ok(report)
}

/// Writes the sample pictures and makes a repository of them: one DVC output, and a README that Git keeps.
fn make_repository(work: &Path, repository: &Path, cx: &Cx) -> Result<u64> {
    let pictures = work.join("pictures");
    samples::write_pictures(&pictures)?;
    let options = create::Options {
        folder: Some(RepoPath::parse(REPOSITORY)?),
        message: "Add 360 drawings in six classes".to_owned(),
        git_files: vec![(RepoPath::parse("README.md")?, README.to_owned())],
        ..create::Options::default()
    };
    Ok(git_dvc_repo(&pictures, repository, &options, cx)?.files)
}

fn class_names(dir: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir, &e))?;
    Ok(entries
        .flatten()
        .filter(|e| e.path().is_dir())
        .filter_map(|e| e.file_name().into_string().ok())
        .collect())
}

async fn wait_for_interrupt(cx: &Cx) {
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
    while !cx.cancel.is_cancelled() {
        tick.tick().await;
    }
}

/// The report's file, opened before the work begins.
struct ReportFile {
    path: PathBuf,
    file: std::fs::File,
}

impl ReportFile {
    fn create(path: &Path) -> Result<Self> {
        let file = std::fs::File::create(path).map_err(|e| {
            Error::io(path, &e).hint("choose a file in a folder that exists: --report report.json")
        })?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn write(mut self, report: &Report) -> Result<()> {
        use std::io::Write;
        let text = serde_json::to_string_pretty(report).map_err(|e| Error::internal(e.to_string()))?;
        writeln!(self.file, "{text}")
            .and_then(|()| self.file.sync_all())
            .map_err(|e| Error::io(&self.path, &e))
    }
}
