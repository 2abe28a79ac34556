//! What earlier cells are found by.

use crate::front_end::FrontEnd;
use dds_server::kernel::Options;
use serde_json::json;
use std::sync::Arc;

#[test]
fn history_remembers_stored_cells_and_their_values() {
    let mut front = FrontEnd::start();
    front.run("", 0);
    let id = front.execute("value 41");
    front.started(&id, "value 41", 1);
    front.iopub(&id, "execute_result");
    front.succeeded(&id, 1);
    let id = front.execute("fail A b");
    front.started(&id, "fail A b", 2);
    front.failed(&id, 2);
    for (request, expected) in [
        (
            json!({"hist_access_type": "tail", "n": 5, "output": true, "raw": true}),
            json!([[1, 1, ["value 41", "41"]], [1, 2, ["fail A b", null]]]),
        ),
        (
            json!({"hist_access_type": "range", "session": 0, "start": 2, "stop": 3, "output": false}),
            json!([[1, 2, "fail A b"]]),
        ),
        (json!({"hist_access_type": "search", "pattern": "value*", "n": 3}), json!([[1, 1, "value 41"]])),
    ] {
        assert_eq!(front.ask("history_request", request), json!({"status": "ok", "history": expected}));
    }
    front.finish_with_host();
}

#[test]
fn the_next_session_finds_the_cells_of_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { history: Some(dir.path().join("h.jsonl")), ..Options::default() };
    let start = || FrontEnd::start_as(options(), |host| Ok(Arc::new(host)));
    for session in 1..=2 {
        let mut front = start();
        let id = front.execute("value 41");
        front.started(&id, "value 41", 1);
        front.iopub(&id, "execute_result");
        front.succeeded(&id, 1);
        for (request, expected) in [
            (json!({"hist_access_type": "range", "session": 0}), json!([[session, 1, "value 41"]])),
            (
                json!({"hist_access_type": "range", "session": -1, "output": true}),
                if session == 1 { json!([]) } else { json!([[1, 1, ["value 41", "41"]]]) },
            ),
            (
                json!({"hist_access_type": "search", "pattern": "val*", "unique": true}),
                json!([[session, 1, "value 41"]]),
            ),
        ] {
            assert_eq!(front.ask("history_request", request.clone())["history"], expected, "{request}");
        }
        front.finish_with_host();
    }
}
