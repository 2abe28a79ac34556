//! Frames from peers that do not know the key, or know it and talk nonsense.

use crate::front_end::FrontEnd;
use dds_wire::frames::{DELIMITER, encode};
use dds_wire::{Bytes, Channel, Message, Signer};
use serde_json::json;

#[test]
fn bad_frames_leave_the_kernel_answering() {
    let mut front = FrontEnd::start();
    let signer = front.client.signer().clone();
    let stranger = Message::new("execute_request", "x", json!({"code": "print hacked"}));
    let mut no_type = Message::new("", "x", json!({}));
    no_type.header.msg_type.clear();
    let bad: [Vec<Bytes>; 5] = [
        vec![Bytes::from_static(b"garbage")],
        vec![Bytes::from_static(DELIMITER)],
        vec![Bytes::from_static(DELIMITER); 7],
        encode(&stranger, &Signer::new(b"guess")),
        encode(&stranger, &Signer::new(b"")),
    ];
    for _ in 0..300 {
        for frames in &bad {
            front.client.send_frames(Channel::Shell, frames.clone()).unwrap();
            front.client.send_frames(Channel::Control, frames.clone()).unwrap();
            front.client.send_frames(Channel::Stdin, frames.clone()).unwrap();
        }
        // What comes back in between shows that nothing waits behind the bad ones.
        front.ask("kernel_info_request", json!({}));
    }
    // Signed, but of no known type: busy and idle, no reply.
    front.client.send_frames(Channel::Shell, encode(&no_type, &signer)).unwrap();
    front.status(no_type.msg_id(), "busy");
    front.status(no_type.msg_id(), "idle");
    front.run("", 0);
    front.finish_with_host();
}

#[test]
fn a_replayed_cell_does_not_run_again() {
    let mut front = FrontEnd::start();
    let content = json!({
        "code": "print once", "silent": false, "store_history": true, "user_expressions": {},
        "allow_stdin": false, "stop_on_error": true,
    });
    let cell = Message::new("execute_request", front.client.session(), content);
    let frames = encode(&cell, front.client.signer());
    for _ in 0..3 {
        front.client.send_frames(Channel::Shell, frames.clone()).unwrap();
    }
    front.started(cell.msg_id(), "print once", 1);
    front.iopub(cell.msg_id(), "stream");
    front.succeeded(cell.msg_id(), 1);
    // The strict end finds any second run.
    front.finish_with_host();
}

#[test]
fn signed_nonsense_gets_an_error_reply_or_none() {
    let mut front = FrontEnd::start();
    for content in [json!({}), json!({"code": 1}), json!({"code": "x", "silent": "no"})] {
        let id = front.shell("execute_request", content);
        front.status(&id, "busy");
        let reply = front.reply(&id, "execute_reply").content;
        assert_eq!((&reply["status"], &reply["ename"]), (&json!("error"), &json!("Format")), "{reply}");
        front.status(&id, "idle");
    }
    for (kind, content) in [
        ("complete_request", json!({"code": []})),
        ("inspect_request", json!({})),
        ("is_complete_request", json!({"code": null})),
    ] {
        assert_eq!(front.ask(kind, content)["ename"], "Format", "{kind}");
    }
    let history = front.ask("history_request", json!({"hist_access_type": {}, "n": "many"}));
    assert_eq!(history["history"], json!([]));
    for (kind, content) in [
        ("comm_msg", json!({"comm_id": {}})),
        ("comm_close", json!({})),
        ("input_reply", json!({"value": "x"})),
        ("execute_reply", json!({})),
        ("no type_request", json!({})),
    ] {
        let id = front.shell(kind, content);
        front.status(&id, "busy");
        front.status(&id, "idle");
    }
    front.finish_with_host();
}

#[test]
fn a_request_that_nobody_knows_gets_an_error_so_that_no_client_waits() {
    let mut front = FrontEnd::start();
    let reply = front.ask("usage_request", json!({}));
    assert_eq!((&reply["status"], &reply["ename"]), (&json!("error"), &json!("Unavailable")));
    assert!(reply["evalue"].as_str().unwrap().contains("`usage_request` is not supported on shell"));
    // Cells run on shell, where they wait for each other.
    assert_eq!(front.control("execute_request", json!({"code": "print x"}))["status"], "error");
    assert_eq!(front.ask("create_subshell_request", json!({}))["status"], "error");

    let debug = json!({"type": "request", "seq": 7, "command": "debugInfo", "arguments": {}});
    let expected = json!({
        "type": "response", "seq": 0, "request_seq": 7, "success": false, "command": "debugInfo",
        "message": "this kernel has no debugger",
    });
    assert_eq!(front.control("debug_request", debug.clone()), expected);
    assert_eq!(front.ask("debug_request", debug), expected);
    assert_eq!(front.ask("debug_request", json!({"seq": "x"}))["success"], json!(false));

    let ports = front.ask("connect_request", json!({}));
    assert_eq!((&ports["shell_port"], &ports["hb_port"]), (&json!(1), &json!(5)));
    front.finish_with_host();
}

#[test]
fn ten_thousand_bad_messages_delay_no_good_one_for_long() {
    let mut front = FrontEnd::start();
    let stranger = Message::new("execute_request", "x", json!({"code": "print hacked"}));
    let forged = encode(&stranger, &Signer::new(b"guess"));
    for round in 0..10 {
        for _ in 0..1_000 {
            // The client's own queue may be full for a moment.
            while front.client.send_frames(Channel::Shell, forged.clone()).is_err() {
                std::thread::yield_now();
            }
        }
        let reply = front.ask("is_complete_request", json!({"code": "{"}));
        assert_eq!(reply["status"], "incomplete", "{round}");
    }
    front.finish_with_host();
}
