//! One question to a visitor's kernel: a submission goes out as comm data, its answer comes back
//! on the same comm.
//!
//! Invariant: nothing of a submission is code. A comm whose answer did not come is closed, so that
//! a late answer cannot be taken for the next one.

use super::pool::Prepared;
use crate::kernel::{Channel, Incoming};
use dds_core::form::{Answer, FORM_COMM, Submission};
use dds_core::{Error, Kind, Result};
use serde_json::{Value, json};
use std::time::Duration;

/// How long an interrupted kernel may take to say something.
const INTERRUPT_GRACE: Duration = Duration::from_secs(3);

/// A visitor's kernel and the comm to it.
pub(crate) struct Line {
    pub prepared: Prepared,
    comm: Option<String>,
}

/// How a question ended, besides with an answer.
pub(crate) enum Failed {
    /// The kernel is of no further use.
    Lost(Error),
    /// The kernel is well; the question failed.
    Refused(Error),
}

impl Line {
    pub(crate) fn new(prepared: Prepared) -> Self {
        Self { prepared, comm: None }
    }

    /// Sends `submission` and waits for its answer.
    pub(crate) async fn ask(&mut self, submission: &Submission, limit: Duration) -> Result<Answer, Failed> {
        let data = serde_json::to_value(submission)
            .map_err(|e| Failed::Refused(Error::internal(format!("submission: {e}"))))?;
        let (comm, opened) = self.open().await.map_err(|_| Failed::Lost(lost()))?;
        let content = json!({"comm_id": comm, "data": data});
        self.send("comm_msg", content).await.map_err(|_| Failed::Lost(lost()))?;
        if let Ok(outcome) = tokio::time::timeout(limit, self.wait(&comm, opened.as_deref())).await {
            return outcome;
        }
        let late = Error::new(
            Kind::Limit,
            format!("there was no answer within {} seconds, so it was stopped", limit.as_secs()),
        )
        .hint("try a smaller input, or try again later");
        let kernel = &mut self.prepared.kernel;
        if kernel.send(Channel::Control, "interrupt_request", json!({})).await.is_err() {
            return Err(Failed::Lost(late));
        }
        let stopped = tokio::time::timeout(INTERRUPT_GRACE, self.wait(&comm, opened.as_deref())).await;
        match stopped {
            Ok(Ok(_) | Err(Failed::Refused(_))) => {
                self.comm = None;
                let _ = self.send("comm_close", json!({"comm_id": comm, "data": {}})).await;
                Err(Failed::Refused(late))
            }
            Ok(Err(Failed::Lost(_))) | Err(_) => Err(Failed::Lost(late)),
        }
    }

    /// The comm's id, and the message that opened it when that was just now.
    async fn open(&mut self) -> Result<(String, Option<String>)> {
        if let Some(id) = &self.comm {
            return Ok((id.clone(), None));
        }
        let id = uuid::Uuid::new_v4().to_string();
        let content = json!({"comm_id": id, "target_name": FORM_COMM, "data": {}});
        let message = self.send("comm_open", content).await?;
        self.comm = Some(id.clone());
        Ok((id, Some(message)))
    }

    async fn send(&mut self, msg_type: &str, content: Value) -> Result<String> {
        self.prepared.kernel.send(Channel::Shell, msg_type, content).await
    }

    /// The next answer on `comm`; what answers its opening is not one.
    async fn wait(&mut self, comm: &str, opened: Option<&str>) -> Result<Answer, Failed> {
        loop {
            let Some(m) = self.prepared.kernel.next().await else { return Err(Failed::Lost(lost())) };
            let ours = m.content.get("comm_id").and_then(Value::as_str) == Some(comm);
            if !ours || opened.is_some_and(|id| m.parent == id && m.msg_type == "comm_msg") {
                continue;
            }
            match m.msg_type.as_str() {
                "comm_msg" => return answer_of(&m),
                "comm_close" => {
                    self.comm = None;
                    let error = Error::new(Kind::Unavailable, "this notebook's kernel takes no forms");
                    return Err(Failed::Refused(error.hint("the notebook needs a cell `%%dds app`")));
                }
                _ => {}
            }
        }
    }
}

fn answer_of(message: &Incoming) -> Result<Answer, Failed> {
    let data = message.content.get("data").cloned().unwrap_or_default();
    serde_json::from_value(data).map_err(|e| {
        tracing::error!("a kernel's answer is not understood: {e}");
        Failed::Refused(Error::internal("the notebook's kernel answered in an unexpected way"))
    })
}

fn lost() -> Error {
    Error::new(Kind::Unavailable, "the notebook's session ended unexpectedly")
        .hint("send the form again: a new session starts with it")
}
