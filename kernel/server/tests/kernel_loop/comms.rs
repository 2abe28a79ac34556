//! Comms between the front end, the session and the cells.

use crate::front_end::FrontEnd;
use dds_wire::{Bytes, Channel};
use serde_json::{Value, json};

#[test]
fn comms_are_answered_while_a_cell_runs() {
    let mut front = FrontEnd::start();
    let cell = front.execute("sleep");
    front.started(&cell, "sleep", 1);

    let open = json!({"comm_id": "c1", "target_name": "echo", "data": {"hello": 1}});
    let id = front.shell("comm_open", open);
    front.status(&id, "busy");
    let answer = front.iopub(&id, "comm_msg").content;
    assert_eq!(answer, json!({"comm_id": "c1", "data": {"target": "echo", "echo": {"hello": 1}}}));
    front.status(&id, "idle");

    let buffers = vec![Bytes::from_static(b"one"), Bytes::from_static(b"\xff\x00")];
    let content = json!({"comm_id": "c1", "data": {"x": 2}});
    let id = front.client.send(Channel::Shell, "comm_msg", content, json!({}), buffers).unwrap();
    front.status(&id, "busy");
    let answer = front.iopub(&id, "comm_msg");
    assert_eq!(answer.buffers, [Bytes::from_static(b"\xff\x00"), Bytes::from_static(b"one")]);
    front.status(&id, "idle");

    let info = front.ask("comm_info_request", json!({"target_name": "echo"}));
    assert_eq!(info, json!({"status": "ok", "comms": {"c1": {"target_name": "echo"}}}));
    assert_eq!(front.ask("comm_info_request", json!({"target_name": "other"}))["comms"], json!({}));

    front.interrupt();
    front.failed(&cell, 1);
    front.finish_with_host();
}

#[test]
fn unknown_closed_and_failing_comms() {
    let mut front = FrontEnd::start();
    let quiet = |front: &mut FrontEnd, id: &str| {
        front.status(id, "busy");
        front.status(id, "idle");
    };
    for (comm_id, target) in [("c1", "nobody"), ("", "echo"), ("c1", "")] {
        let id = front.shell("comm_open", json!({"comm_id": comm_id, "target_name": target, "data": {}}));
        front.status(&id, "busy");
        assert_eq!(front.iopub(&id, "comm_close").content, json!({"comm_id": comm_id, "data": {}}));
        front.status(&id, "idle");
    }
    let id = front.shell("comm_msg", json!({"comm_id": "c1", "data": {}}));
    quiet(&mut front, &id);

    // A panic in the handler ends neither the comm nor the kernel.
    let id = front.shell("comm_open", json!({"comm_id": "c2", "target_name": "echo", "data": "panic"}));
    quiet(&mut front, &id);
    let id = front.shell("comm_msg", json!({"comm_id": "c2", "data": [1]}));
    front.status(&id, "busy");
    assert_eq!(front.iopub(&id, "comm_msg").content["data"]["echo"], json!([1]));
    front.status(&id, "idle");

    let id = front.shell("comm_close", json!({"comm_id": "c2", "data": {}}));
    quiet(&mut front, &id);
    let id = front.shell("comm_msg", json!({"comm_id": "c2", "data": [1]}));
    quiet(&mut front, &id);
    assert_eq!(front.ask("comm_info_request", json!({}))["comms"], json!({}));
    front.finish_with_host();
}

#[test]
fn cells_open_comms_and_the_front_end_answers_them() {
    let mut front = FrontEnd::start();
    let code = "print before\nopen c1 widget\nsend c1 hello\nsend nobody lost\nclose nobody\nheavy c1\nsleep";
    let cell = front.execute(code);
    front.started(&cell, code, 1);
    front.iopub(&cell, "stream");
    let open = front.iopub(&cell, "comm_open");
    assert_eq!(open.content, json!({"comm_id": "c1", "target_name": "widget", "data": {"new": true}}));
    assert_eq!(
        (&open.metadata, &open.buffers[..]),
        (&json!({"of": "cells"}), &[Bytes::from_static(b"c1")][..])
    );
    let sent = front.iopub(&cell, "comm_msg");
    assert_eq!(sent.content, json!({"comm_id": "c1", "data": {"text": "hello"}}));
    let note = front.iopub(&cell, "stream");
    assert!(note.text("text").contains("10000 buffers"), "{note:?}");
    assert_eq!(note.content["name"], "stderr");

    // While the cell runs: a callback's output belongs to the message that it answers.
    let buffers = vec![Bytes::from_static(b"one"), Bytes::from_static(b"\xff\x00")];
    let content = json!({"comm_id": "c1", "data": {"x": 2}});
    let id = front.client.send(Channel::Shell, "comm_msg", content, json!({"m": 1}), buffers).unwrap();
    front.status(&id, "busy");
    assert_eq!(front.iopub(&id, "stream").content["text"], "Message {\"x\":2}\n");
    let answer = front.iopub(&id, "comm_msg");
    assert_eq!(answer.content, json!({"comm_id": "c1", "data": {"x": 2}}));
    assert_eq!(answer.metadata, json!({"m": 1}));
    assert_eq!(answer.buffers, [Bytes::from_static(b"\xff\x00"), Bytes::from_static(b"one")]);
    front.status(&id, "idle");

    let id = front.shell("comm_msg", json!({"comm_id": "c1", "data": "ask"}));
    front.status(&id, "busy");
    front.iopub(&id, "stream");
    let refused = &front.iopub(&id, "display_data").content["data"]["text/plain"];
    assert_eq!(refused, "a callback cannot ask for input");
    front.iopub(&id, "comm_msg");
    front.status(&id, "idle");

    let info = front.ask("comm_info_request", json!({"target_name": "widget"}));
    assert_eq!(info["comms"], json!({"c1": {"target_name": "widget"}}));
    front.interrupt();
    front.failed(&cell, 1);

    // The id is taken; then the cell closes it, and what comes for it is nobody's.
    let code = "open c1 again\nclose c1";
    let cell = front.execute(code);
    front.started(&cell, code, 2);
    assert!(front.iopub(&cell, "stream").text("text").contains("the comm c1 is open already"));
    assert_eq!(front.iopub(&cell, "comm_close").content, json!({"comm_id": "c1", "data": {}}));
    front.succeeded(&cell, 2);
    assert_eq!(front.ask("comm_info_request", json!({}))["comms"], json!({}));

    // A silent cell's widgets are seen all the same.
    let cell = front.execute_with("open c2 widget\nprint no", json!({"silent": true}));
    front.status(&cell, "busy");
    front.iopub(&cell, "comm_open");
    front.succeeded(&cell, 2);
    front.finish_with_host();
}

/// Busy, what the callback prints, idle.
fn told(front: &mut FrontEnd, msg_type: &str, content: Value) -> String {
    let id = front.shell(msg_type, content);
    front.status(&id, "busy");
    let text = front.iopub(&id, "stream").text("text").to_owned();
    if msg_type == "comm_msg" {
        front.iopub(&id, "comm_msg");
    }
    front.status(&id, "idle");
    text
}

#[test]
fn the_front_end_opens_comms_to_targets_that_the_cells_registered() {
    let mut front = FrontEnd::start();
    let open = |id: &str, data: Value| json!({"comm_id": id, "target_name": "cells", "data": data});
    assert_eq!(told(&mut front, "comm_open", open("f1", json!({"a": 1}))), "Open(\"cells\") {\"a\":1}\n");
    let text = told(&mut front, "comm_msg", json!({"comm_id": "f1", "data": [2]}));
    assert_eq!(text, "Message [2]\n");
    let id = front.shell("comm_close", json!({"comm_id": "f1", "data": {}}));
    front.status(&id, "busy");
    assert_eq!(front.iopub(&id, "stream").content["text"], "Close {}\n");
    front.status(&id, "idle");
    assert_eq!(front.ask("comm_info_request", json!({}))["comms"], json!({}));

    // What cannot be delivered: the opening closes again, a message only when the cells are gone.
    for (data, open_after) in [("full", false), ("gone", false), ("panic", false)] {
        let id = front.shell("comm_open", open("f2", json!(data)));
        front.status(&id, "busy");
        assert_eq!(front.iopub(&id, "comm_close").content["comm_id"], "f2", "{data}");
        assert!(front.iopub(&id, "stream").text("text").contains("was not delivered"));
        front.status(&id, "idle");
        let comms = &front.ask("comm_info_request", json!({}))["comms"];
        assert_eq!(comms.as_object().unwrap().len(), usize::from(open_after), "{data}");
    }
    told(&mut front, "comm_open", open("f3", json!({})));
    let id = front.shell("comm_msg", json!({"comm_id": "f3", "data": "full"}));
    front.status(&id, "busy");
    assert!(front.iopub(&id, "stream").text("text").contains("too much waits"));
    front.status(&id, "idle");
    let id = front.shell("comm_msg", json!({"comm_id": "f3", "data": "gone"}));
    front.status(&id, "busy");
    assert_eq!(front.iopub(&id, "comm_close").content["comm_id"], "f3");
    assert!(front.iopub(&id, "stream").text("text").contains("the cells are gone"));
    front.status(&id, "idle");
    front.finish_with_host();
}
