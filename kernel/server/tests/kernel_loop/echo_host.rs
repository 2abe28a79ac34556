//! A toy language, one command a line, so that the protocol is tested without a compiler.

use dds_core::eval::{CellError, CellSink, CommDoor, CommKind, CommMessage, Completion, Completions, Stream};
use dds_core::{Error, Kind, MimeBundle};
use dds_server::kernel::host::{CommSender, Host, IsComplete};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};

#[derive(Default)]
pub struct EchoHost {
    /// How often interrupted.
    interrupts: Mutex<u64>,
    changed: Condvar,
    door: Arc<EchoDoor>,
    pub shutdowns: Arc<AtomicUsize>,
}

impl EchoHost {
    fn line(
        &self,
        line: &str,
        sink: &Arc<dyn CellSink>,
        interrupts: u64,
    ) -> Result<Option<MimeBundle>, CellError> {
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
                let mut now = self.interrupts.lock().unwrap();
                while *now == interrupts {
                    now = self.changed.wait(now).unwrap();
                }
                return Err(error("Interrupted", "interrupted"));
            }
            // `alternate N`: N times a line on each stream.
            "alternate" => {
                for n in 0..rest.parse().unwrap() {
                    sink.stream(Stream::Stdout, &format!("out {n}\n"));
                    sink.stream(Stream::Stderr, &format!("err {n}\n"));
                }
            }
            "clear" => sink.clear_output(rest == "wait"),
            "ask" | "secret" => match sink.input(rest, word == "secret") {
                Ok(answer) => return Ok(Some(MimeBundle::text(answer))),
                Err(e) => return Err(error(e.kind.name(), &e.message)),
            },
            // `open ID TARGET`, `send ID TEXT`, `close ID`, with a buffer each.
            "open" => sink.comm(&comm(first().0, CommKind::Open(first().1.to_owned()), json!({"new": true}))),
            "send" => sink.comm(&comm(first().0, CommKind::Message, json!({"text": first().1}))),
            "close" => sink.comm(&comm(rest, CommKind::Close, Value::Null)),
            // `heavy ID`: more buffers than a message can have.
            "heavy" => {
                let mut message = comm(rest, CommKind::Message, Value::Null);
                message.buffers = vec![Vec::new(); 10_000];
                sink.comm(&message);
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

fn comm(id: &str, kind: CommKind, data: Value) -> CommMessage {
    let buffers = vec![id.as_bytes().to_vec()];
    CommMessage { comm_id: id.to_owned(), kind, data, metadata: json!({"of": "cells"}), buffers }
}

/// Takes messages for the target `cells`. A thread tells what came, after `deliver` has returned.
struct EchoDoor {
    queue: Mutex<Sender<(CommMessage, Arc<dyn CellSink>)>>,
}

impl Default for EchoDoor {
    fn default() -> Self {
        let (queue, messages) = channel();
        std::thread::spawn(move || answer_all(&messages));
        Self { queue: Mutex::new(queue) }
    }
}

/// Prints what came, shows it, and sends it back, buffers in the other order.
fn answer_all(messages: &Receiver<(CommMessage, Arc<dyn CellSink>)>) {
    for (message, sink) in messages {
        sink.stream(Stream::Stdout, &format!("{:?} {}\n", message.kind, message.data));
        if message.data == json!("ask") {
            sink.display(&MimeBundle::text(sink.input("?", false).unwrap_err().message));
        }
        if message.kind == CommKind::Message {
            let buffers = message.buffers.iter().rev().cloned().collect();
            sink.comm(&CommMessage { buffers, ..message });
        }
    }
}

impl CommDoor for EchoDoor {
    fn targets(&self) -> Vec<String> {
        vec!["cells".to_owned()]
    }

    fn deliver(&self, message: CommMessage, sink: Arc<dyn CellSink>) -> dds_core::Result<()> {
        match message.data.as_str() {
            Some("panic") => panic!("asked to"),
            Some("gone") => Err(Error::new(Kind::Unavailable, "the cells are gone")),
            Some("full") => Err(Error::new(Kind::Limit, "too much waits")),
            _ => {
                self.queue.lock().unwrap().send((message, sink)).unwrap();
                Ok(())
            }
        }
    }
}

fn error(ename: &str, evalue: &str) -> CellError {
    CellError { ename: ename.into(), evalue: evalue.into(), traceback: vec![format!("{ename}: {evalue}")] }
}

impl Host for EchoHost {
    fn run_cell(&self, code: &str, sink: &Arc<dyn CellSink>) -> Result<Option<MimeBundle>, CellError> {
        let interrupts = *self.interrupts.lock().unwrap();
        let mut value = None;
        for line in code.lines() {
            value = self.line(line, sink, interrupts)?;
        }
        Ok(value)
    }

    fn interrupt(&self) {
        *self.interrupts.lock().unwrap() += 1;
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

    fn cell_comms(&self) -> Option<Arc<dyn CommDoor>> {
        Some(self.door.clone())
    }

    fn comm_message(&self, target: &str, data: &Value, buffers: &[Vec<u8>], reply: &Arc<dyn CommSender>) {
        assert_ne!(data, &json!("panic"), "asked to");
        reply.send(json!({"target": target, "echo": data}), buffers.iter().rev().cloned().collect());
    }

    fn shutdown(&self) {
        self.shutdowns.fetch_add(1, Ordering::SeqCst);
    }
}
