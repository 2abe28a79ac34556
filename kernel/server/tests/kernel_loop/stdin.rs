//! Cells that ask the user.

use crate::front_end::FrontEnd;
use dds_wire::client::Client;
use dds_wire::{Channel, Message};
use serde_json::json;

const STDIN: &str = "print first\nask Your name?";

fn asking(front: &FrontEnd, code: &str) -> String {
    front.execute_with(code, json!({"allow_stdin": true}))
}

#[test]
fn the_front_end_that_sent_the_cell_is_asked_and_its_answer_is_the_line() {
    let mut front = FrontEnd::start();
    let id = asking(&front, STDIN);
    front.started(&id, STDIN, 1);
    // What was printed is seen before the question.
    assert_eq!(front.iopub(&id, "stream").content["text"], "first\n");
    let question = front.question(&id);
    assert_eq!(question.content, json!({"prompt": "Your name?", "password": false}));
    front.type_in(Some(&question), "Ferris é\n");
    assert_eq!(front.iopub(&id, "execute_result").content["data"]["text/plain"], "Ferris é");
    front.succeeded(&id, 1);

    // jupyter_client's answers name no question.
    let id = asking(&front, "secret Key");
    front.started(&id, "secret Key", 2);
    assert_eq!(front.question(&id).content, json!({"prompt": "Key", "password": true}));
    front.type_in(None, "hush");
    front.iopub(&id, "execute_result");
    front.succeeded(&id, 2);
    front.finish_with_host();
}

#[test]
fn who_takes_no_input_is_not_asked() {
    let mut front = FrontEnd::start();
    let id = front.execute("ask ?");
    front.started(&id, "ask ?", 1);
    let (ename, evalue) = front.failed(&id, 1);
    assert_eq!(
        (ename.as_str(), evalue.as_str()),
        ("Unavailable", "this front end takes no input for this cell")
    );

    let id = front.execute_with("ask ?", json!({"silent": true, "allow_stdin": true}));
    front.status(&id, "busy");
    assert_eq!(front.reply(&id, "execute_reply").content["evalue"], "a silent cell cannot ask for input");
    front.status(&id, "idle");

    let expressions = json!({"user_expressions": {"a": "ask ?"}, "allow_stdin": true});
    let id = front.execute_with("print x", expressions);
    front.started(&id, "print x", 2);
    front.iopub(&id, "stream");
    assert_eq!(front.reply(&id, "execute_reply").content["user_expressions"]["a"]["ename"], "Unavailable");
    front.status(&id, "idle");
    front.finish_with_host();
}

#[test]
fn an_interrupt_ends_the_question_and_a_late_answer_is_dropped() {
    let mut front = FrontEnd::start();
    let id = asking(&front, "ask one");
    front.started(&id, "ask one", 1);
    let late = front.question(&id);
    front.interrupt();
    assert_eq!(front.failed(&id, 1).0, "Interrupted");

    let id = asking(&front, "ask two");
    front.started(&id, "ask two", 2);
    let question = front.question(&id);
    front.type_in(Some(&late), "too late");
    // Somebody else's answer, with the right question.
    let (other, _messages) = Client::connect(front.info()).unwrap();
    let mut foreign = Message::new("input_reply", other.session(), json!({"value": "not asked"}));
    foreign.parent_header = Some(question.header.clone());
    let frames = dds_wire::frames::encode(&foreign, other.signer());
    other.send_frames(Channel::Stdin, frames).unwrap();
    other.wait_ready_blocking(crate::front_end::DEADLINE).unwrap();
    // No answer at all, then the answer twice.
    front.type_in(Some(&question), "in time");
    front.type_in(Some(&question), "again");
    assert_eq!(front.iopub(&id, "execute_result").content["data"]["text/plain"], "in time");
    front.succeeded(&id, 2);

    let id = asking(&front, "ask three");
    front.started(&id, "ask three", 3);
    let question = front.question(&id);
    let mut refused = Message::new("input_reply", front.client.session(), json!({"status": "error"}));
    refused.parent_header = Some(question.header.clone());
    front.send(Channel::Stdin, &refused);
    assert_eq!(front.failed(&id, 3).1, "the front end gave no answer");
    front.finish_with_host();
}

#[test]
fn the_kernels_end_ends_the_question() {
    let mut front = FrontEnd::start();
    let id = asking(&front, "ask ?");
    front.started(&id, "ask ?", 1);
    front.question(&id);
    let end = front.client.request(Channel::Control, "shutdown_request", json!({"restart": false})).unwrap();
    front.status(&end, "busy");
    front.reply_on(Channel::Control, &end, "shutdown_reply");
    front.iopub(&end, "shutdown_reply");
    front.status(&end, "idle");
    assert_eq!(front.failed(&id, 1).0, "Interrupted");
    front.joined();
}
