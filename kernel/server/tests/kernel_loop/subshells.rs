//! Subshells: further shells beside the one whose cell runs.

use crate::front_end::FrontEnd;
use dds_server::kernel::MAX_SUBSHELLS;
use dds_wire::Channel;
use serde_json::{Value, json};

fn create(front: &mut FrontEnd) -> String {
    let reply = front.control("create_subshell_request", json!({}));
    assert_eq!(reply["status"], "ok", "{reply}");
    reply["subshell_id"].as_str().unwrap().to_owned()
}

fn cell(code: &str) -> Value {
    json!({
        "code": code, "silent": false, "store_history": true, "user_expressions": {},
        "allow_stdin": true, "stop_on_error": true,
    })
}

#[test]
fn subshells_are_made_listed_and_deleted() {
    let mut front = FrontEnd::start();
    let list = |front: &mut FrontEnd| front.control("list_subshell_request", json!({}));
    assert_eq!(list(&mut front), json!({"status": "ok", "subshell_id": []}));
    let mut ids = vec![create(&mut front), create(&mut front)];
    ids.sort();
    assert_eq!(list(&mut front), json!({"status": "ok", "subshell_id": ids}));
    let gone = json!({"subshell_id": ids[0]});
    assert_eq!(front.control("delete_subshell_request", gone.clone()), json!({"status": "ok"}));
    assert_eq!(front.control("delete_subshell_request", gone)["ename"], "NotFound");
    assert_eq!(list(&mut front)["subshell_id"], json!([ids[1]]));

    let id = front.in_subshell(&ids[0], "execute_request", cell("print x"));
    front.status(&id, "busy");
    let reply = front.reply(&id, "execute_reply").content;
    assert_eq!((&reply["status"], &reply["ename"]), (&json!("error"), &json!("NotFound")));
    front.status(&id, "idle");

    for _ in 1..MAX_SUBSHELLS {
        create(&mut front);
    }
    assert_eq!(front.control("create_subshell_request", json!({}))["ename"], "Limit");
    front.finish_with_host();
}

#[test]
fn a_subshell_answers_and_runs_cells_while_the_main_shells_cell_runs() {
    let mut front = FrontEnd::start();
    let shell = create(&mut front);
    let running = front.execute("print begun\nsleep");
    front.started(&running, "print begun\nsleep", 1);
    front.iopub(&running, "stream");

    for (kind, content) in [
        ("kernel_info_request", json!({})),
        ("complete_request", json!({"code": "pr", "cursor_pos": 2})),
        ("inspect_request", json!({"code": "print", "cursor_pos": 2})),
        ("is_complete_request", json!({"code": "1"})),
        ("history_request", json!({"hist_access_type": "tail", "n": 1})),
        ("comm_info_request", json!({})),
    ] {
        let id = front.in_subshell(&shell, kind, content);
        front.status(&id, "busy");
        let reply = front.reply(&id, &kind.replace("_request", "_reply"));
        assert_ne!(reply.content["status"], "error", "{kind}");
        assert_eq!(reply.parent_header.unwrap().subshell_id.as_deref(), Some(shell.as_str()));
        front.status(&id, "idle");
    }
    let open = json!({"comm_id": "c", "target_name": "echo", "data": {}});
    let id = front.in_subshell(&shell, "comm_open", open);
    front.status(&id, "busy");
    front.iopub(&id, "comm_msg");
    front.status(&id, "idle");

    // One count for all shells.
    let id = front.in_subshell(&shell, "execute_request", cell("value 1"));
    front.started(&id, "value 1", 2);
    let result = front.iopub(&id, "execute_result");
    assert_eq!(result.parent_header.unwrap().subshell_id.as_deref(), Some(shell.as_str()));
    front.succeeded(&id, 2);

    // Its errors abort its own queue only, and an interrupt stops the cells of all shells.
    let waiting = front.execute("value 2");
    let failing = front.in_subshell(&shell, "execute_request", cell("sleep"));
    front.started(&failing, "sleep", 3);
    let aborted = front.in_subshell(&shell, "execute_request", cell("value 3"));
    let question = front.in_subshell(&shell, "is_complete_request", json!({"code": "1"}));
    front.ask("kernel_info_request", json!({}));
    front.interrupt();
    assert_eq!(front.failed(&failing, 3).0, "Interrupted");
    front.aborted(&aborted);
    assert_eq!(front.answered(&question, "is_complete_reply")["status"], "complete");
    assert_eq!(front.failed(&running, 1).0, "Interrupted");
    front.aborted(&waiting);
    front.finish_with_host();
}

#[test]
fn a_deleted_subshell_aborts_what_waits_in_it() {
    let mut front = FrontEnd::start();
    let shell = create(&mut front);
    let running = front.in_subshell(&shell, "execute_request", cell("ask go on?"));
    front.started(&running, "ask go on?", 1);
    let question = front.question(&running);
    let waiting = front.in_subshell(&shell, "execute_request", cell("value 3"));
    front.ask("kernel_info_request", json!({}));
    let gone =
        front.client.request(Channel::Control, "delete_subshell_request", json!({"subshell_id": shell}));
    front.aborted(&waiting);
    let reply = front.answered_on(Channel::Control, &gone.unwrap(), "delete_subshell_reply");
    assert_eq!(reply, json!({"status": "ok"}));
    // What runs in it runs to its end.
    front.type_in(Some(&question), "yes");
    front.iopub(&running, "execute_result");
    front.succeeded(&running, 1);
    front.finish_with_host();
}
