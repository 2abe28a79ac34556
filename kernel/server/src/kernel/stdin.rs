//! Input from the user: a cell asks, the front end that sent the cell answers on the stdin channel.
//!
//! A question ends with its answer, an interrupt, the cell's end or the kernel's end. Answers to
//! questions that have ended, and from front ends that were not asked, are dropped.

use super::front::Front;
use dds_core::{Error, Kind, Result};
use dds_wire::{Bytes, Channel, Message};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Most questions that wait at a time, of all cells.
pub const MAX_QUESTIONS: usize = 64;
/// Longest prompt.
pub const MAX_PROMPT_BYTES: usize = 64 << 10;

/// The questions that wait for an answer.
pub(super) struct Prompts {
    front: Front,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    questions: Vec<Question>,
    interrupts: u64,
    closed: bool,
}

struct Question {
    /// Of the `input_request`.
    id: String,
    /// Who was asked.
    asked: Vec<Bytes>,
    answer: Option<Result<String>>,
}

impl Prompts {
    pub(super) fn new(front: Front) -> Self {
        Self { front, state: Mutex::default(), changed: Condvar::new() }
    }

    /// How the cell of `request` asks.
    pub(super) fn asker(self: &Arc<Self>, request: &Message, allowed: bool) -> Asker {
        // Only what an address needs: the content may be large.
        let mut asked = Message::new("", "", Value::Null);
        asked.ids.clone_from(&request.ids);
        asked.header.clone_from(&request.header);
        let interrupts = self.lock().interrupts;
        let request = Box::new(asked);
        Asker { prompts: self.clone(), request, allowed, interrupts, ended: AtomicBool::new(false) }
    }

    /// Takes answers until the channel is closed.
    pub(super) fn run(&self, replies: &Receiver<Message>) {
        while let Ok(reply) = replies.recv() {
            self.take(&reply);
        }
    }

    fn take(&self, reply: &Message) {
        if reply.msg_type() != "input_reply" {
            return tracing::debug!("a message on stdin that is no input_reply");
        }
        let mut state = self.lock();
        // jupyter_client names no parent; then it is for the oldest question that was put to it.
        let parent = reply.parent_id();
        let question = state
            .questions
            .iter_mut()
            .find(|q| q.asked == reply.ids && q.answer.is_none() && (parent.is_empty() || parent == q.id));
        let Some(question) = question else {
            return tracing::debug!("an input_reply that nobody waits for");
        };
        question.answer = Some(match reply.content.get("value").and_then(Value::as_str) {
            Some(value) => Ok(value.to_owned()),
            None => Err(Error::new(Kind::Unavailable, "the front end gave no answer")
                .hint("run the cell again and answer its question")),
        });
        self.changed.notify_all();
    }

    /// Ends all questions, and those that the running cells were about to ask.
    pub(super) fn interrupt(&self) {
        self.lock().interrupts += 1;
        self.changed.notify_all();
    }

    /// The kernel ends: no more questions.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks in the name of one cell.
pub(super) struct Asker {
    prompts: Arc<Prompts>,
    request: Box<Message>,
    /// The front end said `allow_stdin`.
    allowed: bool,
    /// Interrupts before the cell began.
    interrupts: u64,
    ended: AtomicBool,
}

impl Asker {
    /// Waits for the answer, without its line feed.
    pub(super) fn ask(&self, prompt: &str, password: bool) -> Result<String> {
        if !self.allowed {
            return Err(Error::new(Kind::Unavailable, "this front end takes no input for this cell")
                .hint("run the cell in a notebook or console that asks for input"));
        }
        let prompts = &*self.prompts;
        let prompt = prompt.split_at(prompt.floor_char_boundary(MAX_PROMPT_BYTES)).0;
        let content = json!({"prompt": prompt, "password": password});
        let question = prompts.front.question(&self.request, content);
        let id = question.msg_id().to_owned();
        let mut state = prompts.lock();
        if let Some(e) = self.stopped(&state) {
            return Err(e);
        }
        if state.questions.len() >= MAX_QUESTIONS {
            return Err(Error::new(Kind::Limit, format!("{MAX_QUESTIONS} questions wait for an answer")));
        }
        state.questions.push(Question { id: id.clone(), asked: self.request.ids.clone(), answer: None });
        drop(state);
        prompts.front.send(Channel::Stdin, &question);

        let mut state = prompts.lock();
        let answer = loop {
            let at = state.questions.iter().position(|q| q.id == id && q.answer.is_some());
            if let Some(answer) = at.and_then(|at| state.questions.remove(at).answer) {
                return answer.map(|line| line.trim_end_matches(['\n', '\r']).to_owned());
            }
            if let Some(e) = self.stopped(&state) {
                break Err(e);
            }
            state = prompts.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.questions.retain(|q| q.id != id);
        answer
    }

    fn stopped(&self, state: &State) -> Option<Error> {
        if state.closed {
            return Some(Error::interrupted().context("the kernel ends"));
        }
        let over = state.interrupts != self.interrupts || self.ended.load(Ordering::SeqCst);
        over.then(|| Error::interrupted().context("while the cell asked for input"))
    }

    /// The cell has ended: what it still waits for ends too.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        // Taken, so that no waiter is between its look and its wait.
        drop(self.prompts.lock());
        self.prompts.changed.notify_all();
    }
}
