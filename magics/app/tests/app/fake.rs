//! A kernel of a toy language, one command per line, and a launcher that counts its kernels.
//!
//! `print T`, `eprint T`, `value T`, `show JSON` (a `display_data` content), `iopub TYPE JSON`,
//! `form JSON`, `fail ENAME EVALUE`, `die`, `hang`. A form whose `run` begins with `echo` answers
//! with what it got, `crash` ends the kernel, `hang` answers only when interrupted, `stubborn` never,
//! `echo` of `please hang` hangs, `refuse` answers with an error.

use dds_app::kernel::{BoxFuture, Channel, Incoming, KernelLauncher, KernelSession, LaunchSpec};
use dds_core::form::{FORM_COMM, FORM_MIME, Form, Submission};
use dds_core::{Error, Kind, Result};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub struct Log {
    pub alive: AtomicUsize,
    pub launched: AtomicUsize,
    /// Every message sent to any kernel: kernel number, type, content.
    pub sent: Mutex<Vec<(usize, String, Value)>>,
    pub specs: Mutex<Vec<LaunchSpec>>,
}

#[derive(Clone, Default)]
pub struct FakeLauncher {
    pub log: Arc<Log>,
    pub broken: bool,
}

impl FakeLauncher {
    pub fn alive(&self) -> usize {
        self.log.alive.load(Ordering::SeqCst)
    }

    pub fn launched(&self) -> usize {
        self.log.launched.load(Ordering::SeqCst)
    }
}

impl KernelLauncher for FakeLauncher {
    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Box<dyn KernelSession>>> {
        Box::pin(async move {
            if self.broken {
                return Err(Error::new(Kind::Unavailable, "no kernel today").hint("try tomorrow"));
            }
            let number = self.log.launched.fetch_add(1, Ordering::SeqCst);
            self.log.alive.fetch_add(1, Ordering::SeqCst);
            let uploads = spec.env.iter().find(|(k, _)| k == "DDS_UPLOADS").map(|(_, v)| PathBuf::from(v));
            self.log.specs.lock().unwrap().push(spec);
            Ok(Box::new(FakeKernel {
                number,
                log: self.log.clone(),
                queue: VecDeque::new(),
                uploads,
                forms: Vec::new(),
                comm: None,
                dead: false,
                hanging: None,
                count: 0,
                asked: 0,
                ids: 0,
            }) as Box<dyn KernelSession>)
        })
    }
}

struct FakeKernel {
    number: usize,
    log: Arc<Log>,
    queue: VecDeque<Incoming>,
    uploads: Option<PathBuf>,
    forms: Vec<Form>,
    comm: Option<String>,
    dead: bool,
    /// The comm message that waits for an interrupt.
    hanging: Option<String>,
    count: i64,
    asked: usize,
    ids: usize,
}

impl Drop for FakeKernel {
    fn drop(&mut self) {
        self.log.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl KernelSession for FakeKernel {
    fn send<'a>(&'a mut self, _: Channel, kind: &'a str, content: Value) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            self.log.sent.lock().unwrap().push((self.number, kind.to_owned(), content.clone()));
            if self.dead {
                return Err(Error::new(Kind::Unreachable, "gone"));
            }
            self.ids += 1;
            let id = format!("k{}-{}", self.number, self.ids);
            match kind {
                "execute_request" => self.execute(&id, content["code"].as_str().unwrap()),
                "comm_open" => {
                    assert_eq!(content["target_name"], FORM_COMM);
                    self.comm = Some(content["comm_id"].as_str().unwrap().to_owned());
                    // A kernel may answer the opening; that is no answer to a form.
                    self.answer(&id, json!({"bundles": [], "error": {"kind": "Usage", "message": "opened"}}));
                }
                "comm_msg" => {
                    let submission: Submission = serde_json::from_value(content["data"].clone()).unwrap();
                    self.submission(&id, &submission);
                }
                "interrupt_request" => {
                    if let Some(id) = self.hanging.take() {
                        let error = json!({"kind": "Interrupted", "message": "interrupted", "hint": null});
                        self.answer(&id, json!({"bundles": [], "error": error}));
                    }
                }
                _ => {}
            }
            Ok(id)
        })
    }

    fn next(&mut self) -> BoxFuture<'_, Option<Incoming>> {
        Box::pin(async move {
            match self.queue.pop_front() {
                Some(m) => Some(m),
                None if self.dead => None,
                // Messages only come from `send`, which needs this borrow to end first.
                None => std::future::pending().await,
            }
        })
    }

    fn is_alive(&mut self) -> bool {
        !self.dead
    }

    fn last_words(&self) -> String {
        if self.dead { "thread panicked".into() } else { String::new() }
    }

    fn shutdown(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { drop(self) })
    }
}

impl FakeKernel {
    fn push(&mut self, channel: Channel, msg_type: &str, parent: &str, content: Value) {
        self.queue.push_back(Incoming {
            channel,
            msg_type: msg_type.to_owned(),
            parent: parent.to_owned(),
            content,
        });
    }

    fn execute(&mut self, id: &str, code: &str) {
        self.count += 1;
        let count = self.count;
        let io = Channel::Iopub;
        self.push(io, "status", id, json!({"execution_state": "busy"}));
        self.push(io, "execute_input", id, json!({"code": code, "execution_count": count}));
        // Output of something else must not land in this cell.
        self.push(io, "stream", "another-request", json!({"name": "stdout", "text": "STRAY"}));
        let mut reply = json!({"status": "ok", "execution_count": count});
        for line in code.lines() {
            let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
            match command {
                "print" => {
                    self.push(io, "stream", id, json!({"name": "stdout", "text": format!("{rest}\n")}))
                }
                "eprint" => {
                    self.push(io, "stream", id, json!({"name": "stderr", "text": format!("{rest}\n")}))
                }
                "value" => self.push(
                    io,
                    "execute_result",
                    id,
                    json!({"data": {"text/plain": rest}, "metadata": {}, "execution_count": count}),
                ),
                "show" => self.push(io, "display_data", id, serde_json::from_str(rest).unwrap()),
                "iopub" => {
                    let (kind, content) = rest.split_once(' ').unwrap();
                    self.push(io, kind, id, serde_json::from_str(content).unwrap());
                }
                "form" => {
                    let mut form: Value = serde_json::from_str(rest).unwrap();
                    // Kernels name their forms as they like.
                    let own = format!("{}-of-{}", form["id"].as_str().unwrap(), self.number);
                    form["id"] = json!(own);
                    self.forms.push(serde_json::from_value(form.clone()).unwrap());
                    let data = json!({FORM_MIME: form, "text/plain": "a form"});
                    self.push(io, "display_data", id, json!({"data": data, "metadata": {}}));
                }
                "fail" => {
                    let (ename, evalue) = rest.split_once(' ').unwrap();
                    let traceback = ["\u{1b}[31mat cell\u{1b}[0m", "\u{1b}[36mhint:\u{1b}[0m try less"];
                    let error = json!({"ename": ename, "evalue": evalue, "traceback": traceback});
                    self.push(io, "error", id, error.clone());
                    reply = error;
                    reply["status"] = json!("error");
                    reply["execution_count"] = json!(count);
                    break;
                }
                "die" => {
                    self.dead = true;
                    return;
                }
                "hang" => return,
                _ => {}
            }
        }
        // The reply often overtakes the last output; both orders must work.
        if count % 2 == 0 {
            self.push(Channel::Shell, "execute_reply", id, reply);
            self.push(io, "status", id, json!({"execution_state": "idle"}));
        } else {
            self.push(io, "status", id, json!({"execution_state": "idle"}));
            self.push(Channel::Shell, "execute_reply", id, reply);
        }
    }

    fn answer(&mut self, parent: &str, data: Value) {
        let content = json!({"comm_id": self.comm, "data": data});
        self.push(Channel::Iopub, "comm_msg", parent, content);
    }

    fn submission(&mut self, id: &str, s: &Submission) {
        self.asked += 1;
        let Some(form) = self.forms.iter().find(|f| f.id == s.form).cloned() else {
            let error = json!({"kind": "NotFound", "message": format!("no form {}", s.form)});
            return self.answer(id, json!({"error": error}));
        };
        let folder = self.uploads.clone().unwrap();
        let words = form.command(s, |name| Ok(folder.join(name).display().to_string())).unwrap();
        match words[0].as_str() {
            "echo" if words.get(1).is_some_and(|w| w == "please hang") => self.hanging = Some(id.to_owned()),
            "crash" => self.dead = true,
            "hang" => self.hanging = Some(id.to_owned()),
            "stubborn" => {}
            "refuse" => {
                let error = json!({"kind": "Usage", "message": "<b>no</b>", "hint": "ask <i>again</i>"});
                self.answer(id, json!({"bundles": [{"data": {"text/plain": "so far"}}], "error": error}));
            }
            "html" => {
                let html = s.values.values().next().cloned().unwrap_or_default();
                self.answer(id, json!({"bundles": [{"data": {"text/html": html}}]}));
            }
            _ => {
                let files: Vec<Value> = s
                    .uploads
                    .values()
                    .map(|name| {
                        let bytes = std::fs::read(folder.join(name)).unwrap();
                        json!({"name": name, "bytes": bytes.len()})
                    })
                    .collect();
                let told = json!({
                    "kernel": self.number, "asked": self.asked, "values": s.values, "files": files,
                    "words": words.len(), "form": s.form,
                });
                self.answer(id, json!({"bundles": [{"data": {"text/plain": told.to_string()}}]}));
            }
        }
    }
}
