//! A strict front end: every message that arrives must be asserted, in the order of its channel and
//! its parent, or the test fails.

use crate::echo_host::EchoHost;
use dds_core::Result;
use dds_server::kernel::host::Host;
use dds_server::kernel::{Options, serve};
use dds_wire::client::Client;
use dds_wire::frames::encode;
use dds_wire::{Bytes, Channel, ConnectionInfo, Message};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// Far more than any step needs; a test that reaches it fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct FrontEnd {
    pub client: Client,
    messages: mpsc::Receiver<(Channel, Message)>,
    runtime: tokio::runtime::Runtime,
    /// What arrived and was not asked for yet, by channel and parent.
    waiting: HashMap<(Channel, String), VecDeque<Message>>,
    kernel: Option<JoinHandle<Result<()>>>,
    shutdowns: Arc<AtomicUsize>,
    info: ConnectionInfo,
    _dir: tempfile::TempDir,
}

impl FrontEnd {
    pub fn start() -> Self {
        Self::start_with(|host| Ok(Arc::new(host)))
    }

    /// A kernel in this process; `finish` turns the host into what `make_host` gives.
    pub fn start_with(finish: impl FnOnce(EchoHost) -> Result<Arc<dyn Host>> + Send + 'static) -> Self {
        Self::start_as(Options::default(), finish)
    }

    pub fn start_as(
        options: Options,
        finish: impl FnOnce(EchoHost) -> Result<Arc<dyn Host>> + Send + 'static,
    ) -> Self {
        let dir = tempfile::Builder::new().prefix("l-").tempdir_in("/tmp").unwrap();
        let info = ConnectionInfo::ipc(dir.path()).unwrap();
        let host = EchoHost::default();
        let shutdowns = host.shutdowns.clone();
        let kernel = {
            let info = info.clone();
            std::thread::spawn(move || serve(&info, options, move || finish(host)))
        };
        let (client, messages) = Client::connect(&info).unwrap();
        client.wait_ready_blocking(DEADLINE).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let waiting = HashMap::new();
        Self { client, messages, runtime, waiting, kernel: Some(kernel), shutdowns, info, _dir: dir }
    }

    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// A second front end, which reads nothing yet.
    pub fn late_subscriber(&mut self) -> Late {
        let (client, messages) = Client::connect(&self.info).unwrap();
        client.wait_ready_blocking(DEADLINE).unwrap();
        Late { _client: client, messages }
    }

    pub fn shell(&self, msg_type: &str, content: Value) -> String {
        self.client.request(Channel::Shell, msg_type, content).unwrap()
    }

    pub fn execute(&self, code: &str) -> String {
        self.client.execute(code).unwrap()
    }

    /// An execute request with some fields other than the usual ones.
    pub fn execute_with(&self, code: &str, fields: Value) -> String {
        let mut content = json!({
            "code": code, "silent": false, "store_history": true, "user_expressions": {},
            "allow_stdin": false, "stop_on_error": true,
        });
        content.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.shell("execute_request", content)
    }

    /// Sends a message as it is and gives its id.
    pub fn send(&self, channel: Channel, message: &Message) -> String {
        self.client.send_frames(channel, encode(message, self.client.signer())).unwrap();
        message.msg_id().to_owned()
    }

    /// A request on shell for a subshell.
    pub fn in_subshell(&self, subshell: &str, msg_type: &str, content: Value) -> String {
        let message = Message::new(msg_type, self.client.session(), content).subshell(subshell);
        self.send(Channel::Shell, &message)
    }

    /// A question answered on control.
    pub fn control(&mut self, msg_type: &str, content: Value) -> Value {
        let id = self.client.request(Channel::Control, msg_type, content).unwrap();
        self.answered_on(Channel::Control, &id, &msg_type.replace("_request", "_reply"))
    }

    /// What a cell asks the user.
    pub fn question(&mut self, id: &str) -> Message {
        self.reply_on(Channel::Stdin, id, "input_request")
    }

    /// The user's answer to a question, or with none to no question in particular.
    pub fn type_in(&self, question: Option<&Message>, value: &str) {
        let mut reply = Message::new("input_reply", self.client.session(), json!({"value": value}));
        reply.parent_header = question.map(|q| q.header.clone());
        self.send(Channel::Stdin, &reply);
    }

    /// The next message of `channel` that belongs to `parent`.
    fn next(&mut self, channel: Channel, parent: &str) -> Message {
        let key = (channel, parent.to_owned());
        loop {
            if let Some(message) = self.waiting.get_mut(&key).and_then(VecDeque::pop_front) {
                return message;
            }
            let receive = async { tokio::time::timeout(DEADLINE, self.messages.recv()).await };
            let Ok(received) = self.runtime.block_on(receive) else {
                panic!("nothing more on {channel:?} for {parent}; waiting: {:?}", self.unasserted());
            };
            let (from, message) = received.expect("the client is open");
            self.keep(from, message);
        }
    }

    fn keep(&mut self, channel: Channel, message: Message) {
        // Whether it is seen depends on how early the subscription was.
        if message.text("execution_state") == "starting" && message.parent_header.is_none() {
            return;
        }
        // Of another client that waited until the kernel answers it.
        if message.parent_header.as_ref().is_some_and(|h| h.session.ends_with("-probe")) {
            return;
        }
        let key = (channel, message.parent_id().to_owned());
        self.waiting.entry(key).or_default().push_back(message);
    }

    /// The next output of `parent`, which must be of this type.
    pub fn iopub(&mut self, parent: &str, msg_type: &str) -> Message {
        let message = self.next(Channel::Iopub, parent);
        assert_eq!(message.msg_type(), msg_type, "{message:?}");
        assert_eq!(message.ids, [Bytes::from(msg_type.to_owned())], "the topic");
        message
    }

    pub fn status(&mut self, parent: &str, state: &str) {
        let message = self.iopub(parent, "status");
        assert_eq!(message.content, json!({"execution_state": state}));
    }

    /// The next reply to `parent`, which must be of this type.
    pub fn reply_on(&mut self, channel: Channel, parent: &str, msg_type: &str) -> Message {
        let message = self.next(channel, parent);
        assert_eq!(message.msg_type(), msg_type, "{message:?}");
        message
    }

    pub fn reply(&mut self, parent: &str, msg_type: &str) -> Message {
        self.reply_on(Channel::Shell, parent, msg_type)
    }

    /// A question answered on shell without output: busy, reply, idle. Gives the reply's content.
    pub fn ask(&mut self, msg_type: &str, content: Value) -> Value {
        let id = self.shell(msg_type, content);
        self.answered(&id, &msg_type.replace("_request", "_reply"))
    }

    pub fn answered(&mut self, id: &str, reply_type: &str) -> Value {
        self.answered_on(Channel::Shell, id, reply_type)
    }

    pub fn answered_on(&mut self, channel: Channel, id: &str, reply_type: &str) -> Value {
        self.status(id, "busy");
        let content = self.reply_on(channel, id, reply_type).content;
        self.status(id, "idle");
        content
    }

    /// Busy and execute_input.
    pub fn started(&mut self, id: &str, code: &str, count: u64) {
        self.status(id, "busy");
        let input = self.iopub(id, "execute_input");
        assert_eq!(input.content, json!({"code": code, "execution_count": count}));
    }

    /// A successful reply, then idle.
    pub fn succeeded(&mut self, id: &str, count: u64) {
        let reply = self.reply(id, "execute_reply");
        let expected =
            json!({"status": "ok", "execution_count": count, "user_expressions": {}, "payload": []});
        assert_eq!(reply.content, expected);
        assert_eq!(reply.metadata["status"], "ok");
        self.status(id, "idle");
    }

    /// The error on iopub, the same in the reply, then idle. Gives (ename, evalue).
    pub fn failed(&mut self, id: &str, count: u64) -> (String, String) {
        let error = self.iopub(id, "error").content;
        assert_eq!(error.as_object().unwrap().len(), 3, "{error}");
        assert!(error["traceback"].as_array().unwrap().iter().all(Value::is_string));
        let reply = self.reply(id, "execute_reply").content;
        let mut expected = error.clone();
        expected.as_object_mut().unwrap().extend(
            json!({"status": "error", "execution_count": count, "user_expressions": {}, "payload": []})
                .as_object()
                .unwrap()
                .clone(),
        );
        assert_eq!(reply, expected);
        self.status(id, "idle");
        (error["ename"].as_str().unwrap().to_owned(), error["evalue"].as_str().unwrap().to_owned())
    }

    pub fn aborted(&mut self, id: &str) {
        self.status(id, "busy");
        assert_eq!(self.reply(id, "execute_reply").content["status"], "aborted");
        self.status(id, "idle");
    }

    /// Runs a cell that must succeed without output.
    pub fn run(&mut self, code: &str, count: u64) {
        let id = self.execute(code);
        self.started(&id, code, count);
        self.succeeded(&id, count);
    }

    /// All stream text of one kind up to something else, which is kept.
    pub fn text(&mut self, id: &str, name: &str) -> (String, usize) {
        let (mut text, mut messages) = (String::new(), 0);
        loop {
            let message = self.next(Channel::Iopub, id);
            if message.msg_type() != "stream" || message.text("name") != name {
                let key = (Channel::Iopub, id.to_owned());
                self.waiting.entry(key).or_default().push_front(message);
                return (text, messages);
            }
            text.push_str(message.text("text"));
            messages += 1;
        }
    }

    pub fn interrupt(&mut self) {
        assert_eq!(self.control("interrupt_request", json!({})), json!({"status": "ok"}));
    }

    /// Ends the kernel; fails when anything was received and not asserted.
    pub fn finish(mut self) {
        let id = self.client.request(Channel::Control, "shutdown_request", json!({"restart": true})).unwrap();
        let expected = json!({"status": "ok", "restart": true});
        self.status(&id, "busy");
        assert_eq!(self.reply_on(Channel::Control, &id, "shutdown_reply").content, expected);
        assert_eq!(self.iopub(&id, "shutdown_reply").content, expected);
        self.status(&id, "idle");
        self.joined();
    }

    /// Waits for the kernel's end; fails when anything was received and not asserted.
    pub fn joined(mut self) {
        self.kernel.take().unwrap().join().expect("no panic").expect("the kernel ends in order");
        // All sockets of the kernel are closed and flushed: nothing more can come but what is here.
        while let Ok((channel, message)) = self.messages.try_recv() {
            self.keep(channel, message);
        }
        assert_eq!(self.unasserted(), Vec::<String>::new(), "received and not asserted");
    }

    /// [`FrontEnd::finish`], and the host was shut down once.
    pub fn finish_with_host(self) {
        let shutdowns = self.shutdowns.clone();
        self.finish();
        assert_eq!(shutdowns.load(Ordering::SeqCst), 1);
    }

    /// Whether some output of `parent` waits to be asserted.
    pub fn has_output(&self, parent: &str) -> bool {
        self.waiting.get(&(Channel::Iopub, parent.to_owned())).is_some_and(|queue| !queue.is_empty())
    }

    fn unasserted(&self) -> Vec<String> {
        let all =
            self.waiting.iter().flat_map(|((channel, _), queue)| queue.iter().map(move |m| (channel, m)));
        all.map(|(channel, m)| format!("{channel:?} {} {} of {}", m.msg_type(), m.content, m.parent_id()))
            .collect()
    }
}

/// A front end that only listens.
pub struct Late {
    _client: Client,
    messages: mpsc::Receiver<(Channel, Message)>,
}

impl Late {
    /// All output of `parent`.
    pub fn read_until_idle(mut self, parent: &str) -> Vec<Message> {
        let mut seen = Vec::new();
        loop {
            let (_, message) = self.messages.blocking_recv().expect("the client is open");
            if message.parent_id() != parent {
                continue;
            }
            let idle = message.text("execution_state") == "idle";
            seen.push(message);
            if idle {
                return seen;
            }
        }
    }
}
