//! Forms of a published notebook: declared by `%%dds app` cells, answered over a comm.
//!
//! Invariant: what a visitor sends becomes whole words of the command that the author fixed, and
//! only of a command of [`ALLOWED`]; it is never parsed as a line, never evaluated, never a flag,
//! never a path outside the session's folder or its uploads, never a file that is written.

use super::output::text_bundle;
use super::{Session, run};
use dds_cmd::{CellCommand, CellLine, Command, grammar};
use dds_core::form::{Answer, FORM_MIME, FieldKind, Form, Problem, Submission};
use dds_core::mime::escape_html;
use dds_core::{Cx, Error, Kind, MimeBundle, Outcome, Progress, RepoPath, Result, Sink, request as rq};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a form may run: commands that read and answer, and change nothing.
pub(super) const ALLOWED: &[&str] = &["predict", "show", "ls", "stat", "cat"];
/// Most forms of one session, old versions of an edited cell included.
pub(super) const MAX_FORMS: usize = 256;
/// Most bundles of one answer.
const MAX_BUNDLES: usize = 64;

/// The forms that this session knows, by id.
#[derive(Default)]
pub(super) struct Forms {
    table: Mutex<BTreeMap<String, Form>>,
}

impl Forms {
    /// Declares a form and gives its display. Errors (`Usage`) name the field or the command.
    pub(super) fn declare(&self, r: &rq::FormCell) -> Result<Outcome> {
        let mut form = Form {
            id: String::new(),
            title: r.title.clone(),
            intro: r.intro.clone(),
            submit: if r.submit.is_empty() { "Run".into() } else { r.submit.clone() },
            fields: r.field.clone(),
            run: r.run.clone(),
        };
        form.validate()?;
        rehearse(&form)?;
        let text = serde_json::to_string(&form).map_err(|e| Error::internal(e.to_string()))?;
        form.id = format!("form-{:016x}", digest(&text));
        let value = serde_json::to_value(&form).map_err(|e| Error::internal(e.to_string()))?;

        let mut table = self.lock();
        if table.len() >= MAX_FORMS && !table.contains_key(&form.id) {
            return Err(Error::new(Kind::Limit, format!("a session has at most {MAX_FORMS} forms"))
                .hint("restart the kernel"));
        }
        table.insert(form.id.clone(), form.clone());
        drop(table);
        let bundle = MimeBundle::text(preview_text(&form))
            .with("text/html", preview_html(&form))
            .with(FORM_MIME, value);
        Ok(Outcome::new("", json!({"form": form.id, "fields": form.fields.len()})).display(bundle))
    }

    fn get(&self, id: &str) -> Option<Form> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Form>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same declaration has the same id in every kernel of the same binary, so that the page of one
/// kernel fits the session of another.
fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Stands for a visitor's text when the command is tried at the declaration.
const SAMPLE: &str = "a-visitors-text";

/// Parses the command with sample values, so that a mistake shows in the author's cell and not to
/// the visitor.
fn rehearse(form: &Form) -> Result<()> {
    let mut s = Submission { form: form.id.clone(), ..Submission::default() };
    for f in &form.fields {
        let value = match f.kind {
            FieldKind::Image | FieldKind::File => {
                s.uploads.insert(f.name.clone(), SAMPLE.into());
                continue;
            }
            FieldKind::Text => SAMPLE.to_owned(),
            FieldKind::Number => f.min.or(f.max).unwrap_or(1.0).to_string(),
            FieldKind::Choice => f.choices.first().cloned().unwrap_or_default(),
            FieldKind::Checkbox => "true".to_owned(),
        };
        s.values.insert(f.name.clone(), value);
    }
    let words = form.command(&s, |name| Ok(name.to_owned()))?;
    let name = words.first().map(String::as_str).unwrap_or_default();
    if form.run.first().is_some_and(|w| w.starts_with('$')) || !ALLOWED.contains(&name) {
        return Err(not_allowed(name));
    }
    let command = allowed(grammar::cell(&words).map_err(|e| e.context("run"))?)?;
    let written = match &command {
        Command::Show(show) => show.out.as_deref(),
        _ => None,
    };
    if written.is_some_and(|out| out.contains(SAMPLE)) {
        return Err(Error::usage("run: a visitor may not name the file that is written")
            .hint("write a fixed name behind --out, or leave it out"));
    }
    Ok(())
}

fn not_allowed(name: &str) -> Error {
    Error::usage(format!("a form cannot run {name:?}"))
        .hint(format!("the first word of run is one of {}", dds_cmd::nearest::either(&words(ALLOWED))))
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|w| (*w).to_owned()).collect()
}

/// The command of a parsed line, if a form may run it.
fn allowed(line: CellLine) -> Result<Command> {
    let name = run::name(&line);
    match line.command {
        Some(CellCommand::Common(command)) if ALLOWED.contains(&name) && line.dir.is_none() => Ok(command),
        _ => Err(not_allowed(name)),
    }
}

/// Answers one submission; never fails, a problem is part of the answer.
pub(super) fn answer(session: &Session, data: &Value) -> Answer {
    let shown = Arc::new(Collected::default());
    let done = submit(session, data, &shown);
    let mut bundles = std::mem::take(&mut *shown.lock());
    let error = match done {
        Ok(outcome) => {
            bundles.extend(text_bundle(&outcome));
            bundles.extend(outcome.displays);
            None
        }
        Err(e) => Some(Problem::from(&e)),
    };
    bundles.truncate(MAX_BUNDLES);
    Answer { bundles, error }
}

fn submit(session: &Session, data: &Value, shown: &Arc<Collected>) -> Result<Outcome> {
    let s: Submission = serde_json::from_value(data.clone())
        .map_err(|e| Error::usage(format!("the form was sent in a way that is not understood: {e}")))?;
    let form = session.forms.get(&s.form).ok_or_else(|| {
        Error::not_found("this form is not part of the notebook any more").hint("reload the page")
    })?;
    let cwd = session.cwd();
    for f in form.fields.iter().filter(|f| f.kind == FieldKind::Text) {
        if let Some(value) = s.values.get(&f.name) {
            inside(value, &cwd)
                .map_err(|e| e.context(if f.label.is_empty() { &f.name } else { &f.label }))?;
        }
    }
    let words = form.command(&s, |name| upload(session.place.uploads.as_deref(), name))?;
    let command = allowed(grammar::cell(&words)?)?;
    let running = session.interruptible();
    let cx = Cx::new(cwd, shown.clone(), running.cancel.clone());
    dds_cmd::run(&command, dds_cmd::Door::Cell, &session.engines(), &cx)
}

/// A visitor's text reaches commands that open what it names: it must stay below the session's
/// folder, also through links.
fn inside(value: &str, cwd: &Path) -> Result<()> {
    let refused = || Error::usage("the text may not lead out of the notebook's folder");
    let path = RepoPath::parse(value).map_err(|_| refused())?;
    if value.contains(':') {
        return Err(refused());
    }
    // The notebook's code is hidden, and so is what begins with a dot: `.git`, `.dds`, `.env`.
    let hidden = |name: &str| name.starts_with('.') || name.ends_with(".ipynb");
    let kept_back = || Error::usage("the text may not name a hidden file or a notebook");
    if path.components().any(hidden) {
        return Err(kept_back());
    }
    let root = cwd.canonicalize().map_err(|e| Error::io(cwd, &e))?;
    match root.join(path.as_str()).canonicalize() {
        Ok(real) => {
            let below = real.strip_prefix(&root).map_err(|_| refused())?;
            // A plain name may be a link to what is hidden.
            match below.iter().any(|name| hidden(&name.to_string_lossy())) {
                true => Err(kept_back()),
                false => Ok(()),
            }
        }
        // What does not exist is the command's to report.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(refused()),
    }
}

/// The path of a stored upload: a plain file, named plainly, inside the upload folder.
fn upload(folder: Option<&Path>, name: &str) -> Result<String> {
    let refused = |why: &str| Error::usage(format!("the upload is refused: {why}"));
    let folder = folder.ok_or_else(|| refused("this session takes no uploads"))?;
    let plain = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !plain {
        return Err(refused("its name is not a plain file name"));
    }
    let path: PathBuf = folder.join(name);
    let meta = std::fs::symlink_metadata(&path).map_err(|_| refused("the file is not there"))?;
    if !meta.is_file() {
        return Err(refused("it is not an ordinary file"));
    }
    path.to_str().map(str::to_owned).ok_or_else(|| refused("its folder's name is not UTF-8"))
}

/// What a command shows while it still runs.
#[derive(Default)]
struct Collected(Mutex<Vec<MimeBundle>>);

impl Collected {
    fn lock(&self) -> MutexGuard<'_, Vec<MimeBundle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Collected {
    fn progress(&self, _: &Progress) {}

    fn display(&self, bundle: &MimeBundle) {
        let mut all = self.lock();
        if all.len() < MAX_BUNDLES {
            all.push(bundle.clone());
        }
    }

    fn note(&self, _: &str) {}
}

fn label(f: &dds_core::form::Field) -> &str {
    if f.label.is_empty() { &f.name } else { &f.label }
}

fn preview_text(form: &Form) -> String {
    let mut text = if form.title.is_empty() { "Form".to_owned() } else { form.title.clone() };
    for f in &form.fields {
        text.push_str(&format!("\n  {}: {}", label(f), kind(f.kind)));
    }
    text.push_str(&format!("\n  [{}]  runs: {}", form.submit, form.run.join(" ")));
    dds_core::mime::printable(&text)
}

/// A picture of the form: in a notebook it does nothing, in the published app it is replaced.
fn preview_html(form: &Form) -> String {
    let mut rows = String::new();
    for f in &form.fields {
        let default = escape_html(f.default.as_deref().unwrap_or_default());
        let control = match f.kind {
            FieldKind::Image | FieldKind::File => "<input type=\"file\" disabled>".to_owned(),
            FieldKind::Text => format!("<input type=\"text\" value=\"{default}\" disabled>"),
            FieldKind::Number => format!("<input type=\"number\" value=\"{default}\" disabled>"),
            FieldKind::Checkbox => "<input type=\"checkbox\" disabled>".to_owned(),
            FieldKind::Choice => {
                let options: String =
                    f.choices.iter().map(|c| format!("<option>{}</option>", escape_html(c))).collect();
                format!("<select disabled>{options}</select>")
            }
        };
        rows.push_str(&format!(
            "<div style=\"margin:.3em 0\"><label>{} {control}</label></div>",
            escape_html(label(f))
        ));
    }
    let title =
        if form.title.is_empty() { String::new() } else { format!("<b>{}</b>", escape_html(&form.title)) };
    let intro =
        if form.intro.is_empty() { String::new() } else { format!("<p>{}</p>", escape_html(&form.intro)) };
    format!(
        "<div style=\"border:1px solid #8886;border-radius:6px;padding:.8em;max-width:32em\">{title}{intro}{rows}\
         <button disabled>{}</button> <small style=\"opacity:.6\">live in the published app: dds app</small></div>",
        escape_html(&form.submit)
    )
}

fn kind(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Image => "an image",
        FieldKind::File => "a file",
        FieldKind::Text => "text",
        FieldKind::Number => "a number",
        FieldKind::Choice => "a choice",
        FieldKind::Checkbox => "yes or no",
    }
}

#[cfg(test)]
mod tests;
