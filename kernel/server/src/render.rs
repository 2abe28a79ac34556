//! What a shell shows: results on stdout, progress, notes and errors on stderr.
//!
//! Colours only where the stream is a terminal and `NO_COLOR` is not set; text from outside is made
//! printable first. A closed pipe ends the output, not the program.

use crate::session::progress_text;
use dds_core::mime::printable;
use dds_core::{Error, Kind, MimeBundle, Outcome, Progress, Sink, Unit};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A command that ends before this shows no progress bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// How to show things in this shell.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Data for programs instead of text.
    pub json: bool,
    pub colour_out: bool,
    pub colour_err: bool,
}

impl Style {
    /// Of this process.
    pub fn detect(json: bool) -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self {
            json,
            colour_out: colour && std::io::stdout().is_terminal(),
            colour_err: colour && std::io::stderr().is_terminal(),
        }
    }
}

/// One line on stdout, at once.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// One line on stderr.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Shows a command's result.
pub fn outcome(outcome: &Outcome, style: Style) {
    if style.json {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let _ = outcome.write_json(&mut out).and_then(|()| writeln!(out)).and_then(|()| out.flush());
        return;
    }
    say(&outcome_text(outcome, style));
}

fn outcome_text(outcome: &Outcome, style: Style) -> String {
    let mut blocks: Vec<String> = Vec::new();
    if !outcome.summary.is_empty() {
        let summary = printable(&outcome.summary);
        blocks.push(if style.colour_out { format!("\u{1b}[1m{summary}\u{1b}[0m") } else { summary });
    }
    if !outcome.detail.is_empty() {
        blocks.push(printable(&outcome.detail));
    }
    blocks.extend(outcome.displays.iter().filter_map(|b| display_text(b, &outcome.detail)));
    blocks.join("\n")
}

/// The text of a display, when it says more than what was shown already.
fn display_text(bundle: &MimeBundle, shown: &str) -> Option<String> {
    let text = bundle.plain().trim_end();
    (!text.is_empty() && text != shown.trim_end()).then(|| printable(text))
}

/// Shows an error: `error: …` and `hint: …` on stderr, with `--json` as JSON on stdout too.
pub fn error(error: &Error, style: Style) {
    if style.json {
        let value = json!({"error": {
            "kind": error.kind.name(), "message": error.message, "hint": error.hint.as_deref().map(in_a_shell),
        }});
        say(&serde_json::to_string_pretty(&value).unwrap_or_default());
    }
    tell(&error_text(error, style));
}

fn error_text(error: &Error, style: Style) -> String {
    let paint = |word: &str, code: &str| {
        if style.colour_err { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
    };
    let mut text = format!("{} {}", paint("error:", "31;1"), printable(&error.message));
    if let Some(hint) = &error.hint {
        text.push_str(&format!("\n{} {}", paint("hint:", "36"), printable(&in_a_shell(hint))));
    }
    text
}

fn in_a_shell(hint: &str) -> String {
    dds_cmd::usage::worded(dds_cmd::Door::Shell, hint)
}

/// The exit status that belongs to an error.
pub fn exit_code(error: &Error) -> u8 {
    match error.kind {
        Kind::Usage => 2,
        Kind::Interrupted => 130,
        _ => 1,
    }
}

/// The sink of one command in a shell.
pub struct Terminal {
    style: Style,
    started: Instant,
    bar: Mutex<Option<(String, ProgressBar)>>,
}

impl Terminal {
    pub fn new(style: Style) -> Self {
        Self { style, started: Instant::now(), bar: Mutex::default() }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some((_, bar)) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }

    /// Prints without tearing the bar.
    fn beside_bar(&self, print: impl FnOnce()) {
        match &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((_, bar)) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Sink for Terminal {
    fn progress(&self, p: &Progress) {
        if self.started.elapsed() < PATIENCE {
            return;
        }
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if bar.as_ref().is_none_or(|(task, _)| *task != p.task) {
            if let Some((_, old)) = bar.take() {
                old.finish_and_clear();
            }
            *bar = Some((p.task.clone(), new_bar(p)));
        }
        if let Some((_, bar)) = &*bar {
            bar.set_position(p.done);
            match p.total {
                Some(total) => bar.set_length(total),
                None => bar.set_message(progress_text(p)),
            }
        }
    }

    fn display(&self, bundle: &MimeBundle) {
        if let (false, Some(text)) = (self.style.json, display_text(bundle, "")) {
            self.beside_bar(|| say(&text));
        }
    }

    fn note(&self, text: &str) {
        self.beside_bar(|| tell(&format!("note: {}", printable(text))));
    }
}

fn new_bar(p: &Progress) -> ProgressBar {
    let template = match (p.total, p.unit) {
        (None, _) => "{spinner} {msg}",
        (Some(_), Unit::Items) => "{msg} [{bar:28}] {pos}/{len} {eta}",
        (Some(_), Unit::Bytes) => "{msg} [{bar:28}] {bytes}/{total_bytes} {bytes_per_sec}",
    };
    // On stderr, ten times a second at most; draws nothing where stderr is no terminal.
    let bar = ProgressBar::new(p.total.unwrap_or_default());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(printable(&p.task));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { json: false, colour_out: false, colour_err: false };

    #[test]
    fn results_as_text() {
        let result = Outcome::new("2 files", json!({"n": 2}))
            .detail("a\nb\u{1b}[31m")
            .display(MimeBundle::text("grid of 2 images"))
            .display(MimeBundle::default().with_png("AAAA".into(), 1, 1));
        assert_eq!(outcome_text(&result, PLAIN), "2 files\na\nb\\u{1b}[31m\ngrid of 2 images");
        let coloured = outcome_text(&result, Style { colour_out: true, ..PLAIN });
        assert!(coloured.starts_with("\u{1b}[1m2 files\u{1b}[0m\n"));
    }

    #[test]
    fn errors_say_what_to_do() {
        let e = Error::not_found("art/x.jpg does not exist").hint("`%dds ls art` lists what is there");
        assert_eq!(
            error_text(&e, PLAIN),
            "error: art/x.jpg does not exist\nhint: `dds ls art` lists what is there"
        );
        let coloured = error_text(&e, Style { colour_err: true, ..PLAIN });
        assert!(coloured.starts_with("\u{1b}[31;1merror:\u{1b}[0m art"));
        for (kind, code) in
            [(Kind::Usage, 2), (Kind::Interrupted, 130), (Kind::NotFound, 1), (Kind::Internal, 1)]
        {
            assert_eq!(exit_code(&Error::new(kind, "x")), code);
        }
    }
}
