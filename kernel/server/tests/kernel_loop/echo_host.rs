//! A toy language, one command a line, so that the protocol is tested without a compiler.

use dds_core::MimeBundle;
use dds_core::eval::{CellError, CellSink, Completion, Completions, Stream};
use dds_server::kernel::host::{CommSender, Host, IsComplete};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

#[derive(Default)]
pub struct EchoHost {
    interrupted: Mutex<bool>,
    changed: Condvar,
    pub shutdowns: Arc<AtomicUsize>,
}

impl EchoHost {
    fn line(&self, line: &str, sink: &Arc<dyn CellSink>) -> Result<Option<MimeBundle>, CellError> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let first = || rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "print" => sink.stream(Stream::Stdout, &format!("{rest}\n")),
            "eprint" => sink.stream(Stream::Stderr, &format!("{rest}\n")),
            // `flood N TEXT`: N lines.
            "flood" => {
                let (count, text) = first();
                for n in 0..count.parse().unwrap() {
                    sink.stream(Stream::Stdout, &format!("{n} {text}\n"));
                }
            }
            // `bytes N C`: N times the character C, at once.
            "bytes" => {
                let (count, character) = first();
                sink.stream(Stream::Stdout, &character.repeat(count.parse().unwrap()));
            }
            "display" => sink.display(&MimeBundle::text(rest)),
            "displays" => (0..rest.parse().unwrap()).for_each(|_| sink.display(&MimeBundle::text("d"))),
            "show" => sink.display_with_id(&MimeBundle::text(first().1), first().0, false),
            "update" => sink.display_with_id(&MimeBundle::text(first().1), first().0, true),
            "value" => return Ok(Some(MimeBundle::text(rest))),
            "fail" => return Err(error(first().0, first().1)),
            "panic" => panic!("{rest}"),
            "sleep" => {
                let mut interrupted = self.interrupted.lock().unwrap();
                while !*interrupted {
                    interrupted = self.changed.wait(interrupted).unwrap();
                }
                return Err(error("Interrupted", "interrupted"));
            }
            // Does not listen to interrupts.
            "hang" => loop {
                std::thread::park();
            },
            "" => {}
            other => return Err(error("Usage", &format!("no command `{other}`"))),
        }
        Ok(None)
    }
}

fn error(ename: &str, evalue: &str) -> CellError {
    CellError { ename: ename.into(), evalue: evalue.into(), traceback: vec![format!("{ename}: {evalue}")] }
}

impl Host for EchoHost {
    fn run_cell(&self, code: &str, sink: &Arc<dyn CellSink>) -> Result<Option<MimeBundle>, CellError> {
        *self.interrupted.lock().unwrap() = false;
        let mut value = None;
        for line in code.lines() {
            value = self.line(line, sink)?;
        }
        Ok(value)
    }

    fn interrupt(&self) {
        *self.interrupted.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn complete(&self, code: &str, cursor: usize) -> Completions {
        let before: String = code.chars().take(cursor).collect();
        let word = before.rsplit(' ').next().unwrap_or("");
        let start = cursor - word.chars().count();
        let items = ["print", "panic", "größe"].iter().filter(|w| w.starts_with(word)).map(|w| Completion {
            text: (*w).to_owned(),
            kind: "function".to_owned(),
            signature: format!("{w} TEXT"),
        });
        Completions { start, end: cursor, items: items.collect() }
    }

    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle> {
        (code == "print").then(|| MimeBundle::text(format!("prints, at {cursor}")))
    }

    fn is_complete(&self, code: &str) -> IsComplete {
        match code {
            "{" => IsComplete::Incomplete("    ".to_owned()),
            "}" => IsComplete::Invalid,
            "?" => IsComplete::Unknown,
            _ => IsComplete::Complete,
        }
    }

    fn comm_targets(&self) -> Vec<String> {
        vec!["echo".to_owned(), "other".to_owned()]
    }

    fn comm_message(&self, target: &str, data: &Value, buffers: &[Vec<u8>], reply: &Arc<dyn CommSender>) {
        assert_ne!(data, &json!("panic"), "asked to");
        reply.send(json!({"target": target, "echo": data}), buffers.iter().rev().cloned().collect());
    }

    fn shutdown(&self) {
        self.shutdowns.fetch_add(1, Ordering::SeqCst);
    }
}
