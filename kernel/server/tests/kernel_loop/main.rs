//! The kernel's message loop over real sockets, with a toy language for a session.

mod comms;
mod echo_host;
mod front_end;
mod history;
mod hostile;
mod output;
mod process;
mod stdin;
mod subshells;

use dds_core::{Error, Kind};
use dds_wire::Channel;
use front_end::FrontEnd;
use serde_json::json;
use std::sync::Arc;
use std::sync::mpsc;

#[test]
fn kernel_info_has_what_front_ends_need() {
    let mut front = FrontEnd::start();
    let info = front.ask("kernel_info_request", json!({}));
    assert_eq!(info["status"], "ok");
    assert_eq!(info["implementation"], "dds");
    assert_eq!(info["protocol_version"], "5.5");
    assert_eq!(info["language_info"]["name"], "rust");
    assert_eq!(info["language_info"]["file_extension"], ".rs");
    assert_eq!(info["language_info"]["mimetype"], "text/rust");
    assert!(info["banner"].as_str().unwrap().contains("%dds help"));
    assert_eq!(info["supported_features"], json!(["kernel subshells"]));
    assert_eq!(info["debugger"], json!(false));
    let id = front.client.request(Channel::Control, "kernel_info_request", json!({})).unwrap();
    front.status(&id, "busy");
    assert_eq!(front.reply_on(Channel::Control, &id, "kernel_info_reply").content, info);
    front.status(&id, "idle");
    front.finish_with_host();
}

#[test]
fn a_cell_says_busy_input_outputs_result_reply_idle() {
    let mut front = FrontEnd::start();
    let code = "print a\nprint b\neprint c\ndisplay d\nprint e\nshow x f\nupdate x g\nvalue h";
    let id = front.execute(code);
    front.started(&id, code, 1);
    assert_eq!(front.iopub(&id, "stream").content, json!({"name": "stdout", "text": "a\nb\n"}));
    assert_eq!(front.iopub(&id, "stream").content, json!({"name": "stderr", "text": "c\n"}));
    let bundle =
        |text: &str, transient| json!({"data": {"text/plain": text}, "metadata": {}, "transient": transient});
    assert_eq!(front.iopub(&id, "display_data").content, bundle("d", json!({})));
    assert_eq!(front.iopub(&id, "stream").content, json!({"name": "stdout", "text": "e\n"}));
    assert_eq!(front.iopub(&id, "display_data").content, bundle("f", json!({"display_id": "x"})));
    assert_eq!(front.iopub(&id, "update_display_data").content, bundle("g", json!({"display_id": "x"})));
    let result = front.iopub(&id, "execute_result").content;
    assert_eq!(result, json!({"data": {"text/plain": "h"}, "metadata": {}, "execution_count": 1}));
    front.succeeded(&id, 1);
    front.finish_with_host();
}

#[test]
fn kernel_info_is_answered_while_the_host_is_built_and_cells_wait_for_it() {
    let (built, wait) = mpsc::channel::<()>();
    let mut front = FrontEnd::start_with(move |host| {
        wait.recv().unwrap();
        Ok(Arc::new(host))
    });
    let cell = front.execute("value 1");
    let question = front.shell("is_complete_request", json!({"code": "{"}));
    front.ask("kernel_info_request", json!({}));
    front.started(&cell, "value 1", 1);
    built.send(()).unwrap();
    assert_eq!(front.iopub(&cell, "execute_result").content["data"]["text/plain"], "1");
    front.succeeded(&cell, 1);
    assert_eq!(front.answered(&question, "is_complete_reply")["status"], "incomplete");
    front.finish_with_host();
}

#[test]
fn a_cell_that_waits_for_the_host_can_be_interrupted() {
    let (built, wait) = mpsc::channel::<()>();
    let mut front = FrontEnd::start_with(move |host| {
        wait.recv().unwrap();
        Ok(Arc::new(host))
    });
    let cell = front.execute("value 1");
    front.started(&cell, "value 1", 1);
    // The cell may be about to wait: interrupt until it has ended.
    let mut ended = false;
    while !ended {
        front.interrupt();
        front.ask("kernel_info_request", json!({}));
        ended = front.has_output(&cell);
    }
    let (ename, evalue) = front.failed(&cell, 1);
    assert_eq!(ename, "Interrupted");
    assert!(evalue.contains("still starting"), "{evalue}");
    built.send(()).unwrap();
    front.run("", 1);
    front.finish_with_host();
}

#[test]
fn a_session_that_cannot_start_tells_every_cell_why() {
    let mut front = FrontEnd::start_with(|_| {
        Err(Error::new(Kind::Unavailable, "no C++ compiler").hint("apt-get install g++"))
    });
    for count in 1..=2 {
        let id = front.execute("value 1");
        front.started(&id, "value 1", count);
        let error = front.iopub(&id, "error").content;
        assert_eq!(error["ename"], "Unavailable");
        assert_eq!(error["traceback"][1], "hint: apt-get install g++");
        assert_eq!(front.reply(&id, "execute_reply").content["evalue"], "no C++ compiler");
        front.status(&id, "idle");
    }
    assert_eq!(front.ask("is_complete_request", json!({"code": "1"})), json!({"status": "unknown"}));
    let reply = front.ask("complete_request", json!({"code": "1", "cursor_pos": 1}));
    assert_eq!((&reply["status"], &reply["ename"]), (&json!("error"), &json!("Unavailable")));
    front.finish();
}

#[test]
fn a_panic_in_the_session_is_an_error_and_the_kernel_lives() {
    let mut front = FrontEnd::start();
    let id = front.execute("panic on purpose");
    front.started(&id, "panic on purpose", 1);
    let (ename, evalue) = front.failed(&id, 1);
    assert_eq!((ename.as_str(), evalue.contains("on purpose")), ("Internal", true));
    front.run("", 1);
    front.finish_with_host();
}

#[test]
fn an_error_aborts_what_is_queued_only_when_asked_to() {
    let mut front = FrontEnd::start();
    let failing = front.execute("sleep");
    front.started(&failing, "sleep", 1);
    let queued = [front.execute("print never"), front.execute("print never")];
    // Requests of one channel are handled in order: this answer means that both are queued.
    front.ask("kernel_info_request", json!({}));
    front.interrupt();
    assert_eq!(front.failed(&failing, 1).0, "Interrupted");
    for id in queued {
        front.aborted(&id);
    }

    let failing = front.execute_with("fail Broken it is", json!({"stop_on_error": false}));
    let next = front.execute("value on");
    front.started(&failing, "fail Broken it is", 2);
    assert_eq!(front.failed(&failing, 2), ("Broken".to_owned(), "it is".to_owned()));
    front.started(&next, "value on", 3);
    front.iopub(&next, "execute_result");
    front.succeeded(&next, 3);
    front.finish_with_host();
}

#[test]
fn cells_sent_in_one_go_are_aborted_by_the_first_ones_error() {
    let mut front = FrontEnd::start();
    let ids: Vec<String> = ["fail A b", "print no", "print no"].iter().map(|c| front.execute(c)).collect();
    front.started(&ids[0], "fail A b", 1);
    front.failed(&ids[0], 1);
    front.aborted(&ids[1]);
    front.aborted(&ids[2]);
    front.finish_with_host();
}

#[test]
fn silent_and_unstored_cells() {
    let mut front = FrontEnd::start();
    let id = front.execute_with("print x\ndisplay x\nvalue x", json!({"silent": true}));
    front.status(&id, "busy");
    front.succeeded(&id, 0);

    let id = front.execute_with("fail A b", json!({"silent": true, "stop_on_error": false}));
    front.status(&id, "busy");
    assert_eq!(front.reply(&id, "execute_reply").content["ename"], "A");
    front.status(&id, "idle");

    let id = front.execute_with("value x", json!({"store_history": false}));
    front.started(&id, "value x", 0);
    front.iopub(&id, "execute_result");
    front.succeeded(&id, 0);

    front.run("  \n", 0);
    let history = front.ask("history_request", json!({"hist_access_type": "tail", "n": 10}));
    assert_eq!(history, json!({"status": "ok", "history": []}));
    front.finish_with_host();
}

#[test]
fn many_cells_run_in_order() {
    let mut front = FrontEnd::start();
    let ids: Vec<String> = (1..=300).map(|n| front.execute(&format!("value {n}"))).collect();
    for (n, id) in (1..).zip(&ids) {
        front.started(id, &format!("value {n}"), n);
        assert_eq!(front.iopub(id, "execute_result").content["data"]["text/plain"], n.to_string());
        front.succeeded(id, n);
    }
    front.finish_with_host();
}

#[test]
fn completion_inspection_and_completeness_count_characters() {
    let mut front = FrontEnd::start();
    let reply = front.ask("complete_request", json!({"code": "é\u{1f980} pr rest", "cursor_pos": 5}));
    assert_eq!(reply["matches"], json!(["print"]));
    assert_eq!((&reply["cursor_start"], &reply["cursor_end"]), (&json!(3), &json!(5)));
    let typed = &reply["metadata"]["_jupyter_types_experimental"][0];
    assert_eq!(
        typed,
        &json!({"text": "print", "type": "function", "signature": "print TEXT", "start": 3, "end": 5})
    );
    // A cursor past the end is the end.
    let reply = front.ask("complete_request", json!({"code": "grö", "cursor_pos": 999}));
    assert_eq!((&reply["matches"], &reply["cursor_end"]), (&json!(["größe"]), &json!(3)));
    let reply = front.ask("complete_request", json!({"code": "grö", "cursor_pos": -1}));
    assert_eq!(reply["status"], "error");

    let reply = front.ask("inspect_request", json!({"code": "print", "cursor_pos": 2, "detail_level": 0}));
    let data = json!({"text/plain": "prints, at 2"});
    assert_eq!(reply, json!({"status": "ok", "found": true, "data": data, "metadata": {}}));
    let reply = front.ask("inspect_request", json!({"code": "nothing", "cursor_pos": 2}));
    assert_eq!(reply, json!({"status": "ok", "found": false, "data": {}, "metadata": {}}));

    for (code, expected) in [
        ("1", json!({"status": "complete"})),
        ("{", json!({"status": "incomplete", "indent": "    "})),
        ("}", json!({"status": "invalid"})),
        ("?", json!({"status": "unknown"})),
    ] {
        assert_eq!(front.ask("is_complete_request", json!({"code": code})), expected);
    }
    front.finish_with_host();
}

#[test]
fn a_question_mark_asks_for_a_page() {
    let mut front = FrontEnd::start();
    assert_eq!(front.ask("is_complete_request", json!({"code": "?print"})), json!({"status": "complete"}));
    let id = front.execute("?print");
    front.started(&id, "?print", 1);
    let reply = front.reply(&id, "execute_reply").content;
    let data = json!({"text/plain": "prints, at 5"});
    assert_eq!(reply["payload"], json!([{"source": "page", "data": data, "start": 0}]));
    front.status(&id, "idle");
    let id = front.execute("?nothing");
    front.started(&id, "?nothing", 2);
    assert_eq!(front.failed(&id, 2).0, "NotFound");
    front.finish_with_host();
}

#[test]
fn user_expressions_are_values_or_errors_of_their_own() {
    let mut front = FrontEnd::start();
    let expressions = json!({"a": "print hidden\nvalue 7", "b": "fail X y"});
    let id = front.execute_with("print shown", json!({"user_expressions": expressions}));
    front.started(&id, "print shown", 1);
    front.iopub(&id, "stream");
    let reply = front.reply(&id, "execute_reply").content;
    assert_eq!(reply["status"], "ok");
    let a = json!({"status": "ok", "data": {"text/plain": "7"}, "metadata": {}});
    assert_eq!(reply["user_expressions"]["a"], a);
    let b = json!({"status": "error", "ename": "X", "evalue": "y", "traceback": ["X: y"]});
    assert_eq!(reply["user_expressions"]["b"], b);
    front.status(&id, "idle");
    front.finish_with_host();
}

#[test]
fn the_kernel_ends_though_a_cell_hangs() {
    let mut front = FrontEnd::start();
    let id = front.execute("hang");
    front.started(&id, "hang", 1);
    front.finish_with_host();
}

#[test]
fn cells_queued_at_the_end_are_aborted() {
    let mut front = FrontEnd::start();
    let running = front.execute("sleep");
    front.started(&running, "sleep", 1);
    let queued = front.execute("print never");
    front.ask("kernel_info_request", json!({}));
    let id = front.client.request(Channel::Shell, "shutdown_request", json!({"restart": false})).unwrap();
    front.status(&id, "busy");
    assert_eq!(front.reply(&id, "shutdown_reply").content, json!({"status": "ok", "restart": false}));
    front.iopub(&id, "shutdown_reply");
    front.status(&id, "idle");
    front.failed(&running, 1);
    front.aborted(&queued);
    front.joined();
}
