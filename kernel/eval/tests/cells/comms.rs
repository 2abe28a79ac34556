//! Comms between the page and the cells, and the callbacks that answer.

use super::stage::{Record, Shown, Stage, Test, eventually};
use dds_core::eval::{CellSink, CommDoor, CommKind, CommMessage, Evaluator};
use serde_json::{Value, json};
use std::sync::Arc;

pub const TESTS: &[Test] = &[
    ("callbacks_run_while_no_cell_runs", callbacks_run_while_no_cell_runs),
    ("callbacks_run_while_a_cell_runs", callbacks_run_while_a_cell_runs),
    ("the_page_opens_comms", the_page_opens_comms),
    ("large_buffers_pass_both_ways", large_buffers_pass_both_ways),
    ("a_callback_that_panics_is_shown", a_callback_that_panics_is_shown),
    ("a_callback_that_crashes_costs_callbacks_only", a_callback_that_crashes_costs_callbacks_only),
    ("a_callback_that_never_ends_is_interrupted", a_callback_that_never_ends_is_interrupted),
    ("comms_go_back_with_the_variables", comms_go_back_with_the_variables),
];

/// A comm `c` that counts what it hears in `heard`, and answers.
const COUNTER: &str = "use std::sync::{Arc, Mutex};\n\
    let heard = Arc::new(Mutex::new(0i64));\n\
    let comm = dds::comm::Comm::open_as(\"ID\", \"t\", dds::Json::object([(\"a\", 1)]))?;\n\
    comm.on_message({ let (heard, comm) = (heard.clone(), comm.clone()); move |message| {\n\
        let n = message.data.get(\"n\").and_then(dds::Json::as_i64).unwrap_or(0);\n\
        *heard.lock().unwrap() += n;\n\
        println!(\"heard {n}\");\n\
        dds::display_id(\"shown\", &dds::Mime::text(format!(\"{n}\")));\n\
        comm.send(dds::Json::object([(\"answer\", n)])).unwrap();\n\
    } });";

fn counter(stage: &mut Stage, id: &str) -> Arc<dyn CommDoor> {
    let (result, record) = stage.run(&COUNTER.replace("ID", id));
    assert_eq!(result, Ok(None));
    assert_eq!(record.comms(), [message(id, CommKind::Open("t".into()), json!({"a": 1}))]);
    stage.evaluator.comms().unwrap()
}

fn message(id: &str, kind: CommKind, data: Value) -> CommMessage {
    CommMessage { comm_id: id.to_owned(), kind, data, metadata: json!({}), buffers: Vec::new() }
}

fn deliver(door: &Arc<dyn CommDoor>, id: &str, data: Value) -> Arc<Record> {
    let record = Arc::new(Record::default());
    let sink: Arc<dyn CellSink> = record.clone();
    door.deliver(message(id, CommKind::Message, data), sink).unwrap();
    record
}

fn is_comm(shown: &Shown) -> bool {
    matches!(shown, Shown::Comm(_))
}

fn answer(id: &str, n: i64) -> Vec<Shown> {
    vec![
        Shown::Out(format!("heard {n}\n")),
        Shown::WithId("shown".into(), false, dds_core::MimeBundle::text(n.to_string())),
        Shown::Comm(message(id, CommKind::Message, json!({"answer": n}))),
    ]
}

fn callbacks_run_while_no_cell_runs(stage: &mut Stage) {
    let door = counter(stage, "idle");
    let records: Vec<_> = (1..=3).map(|n| deliver(&door, "idle", json!({"n": n}))).collect();
    for (n, record) in (1..).zip(&records) {
        record.wait_for("the answer", is_comm);
        assert_eq!(record.all(), answer("idle", n));
    }
    assert_eq!(stage.value("*heard.lock().unwrap()"), "6");
    let (_, record) = stage.run("comm.close();");
    assert_eq!(record.comms(), [message("idle", CommKind::Close, json!({}))]);
}

fn callbacks_run_while_a_cell_runs(stage: &mut Stage) {
    let door = counter(stage, "busy");
    let record = Arc::new(Record::default());
    let sink: Arc<dyn CellSink> = record.clone();
    let page = std::thread::spawn({
        let record = Arc::clone(&record);
        move || {
            record.wait_for_out("waiting");
            let answered = deliver(&door, "busy", json!({"n": 7}));
            answered.wait_for("the answer", is_comm);
            answered
        }
    });
    let cx = stage.cx();
    // It ends only when the callback has run beside it.
    let code = "println!(\"waiting\"); while *heard.lock().unwrap() == 0 { std::thread::yield_now(); }\n\
                let thread = std::thread::current().id();";
    stage.evaluator.execute(code, &sink, &cx).unwrap();
    let answered = page.join().unwrap();
    // What is printed cannot be told from the cell's own output; what is shown can.
    assert_eq!(answered.all(), answer("busy", 7)[1..]);
    assert_eq!(stage.value("*heard.lock().unwrap()"), "7");
    stage.value("comm.close();");
}

fn the_page_opens_comms(stage: &mut Stage) {
    let door = stage.evaluator.comms().unwrap();
    stage.value(
        "dds::comm::register_target(\"mine\", |comm, message| {\n\
             comm.send(dds::Json::object([(\"opened\", message.data.clone())])).unwrap();\n\
         })?;",
    );
    assert!(door.targets().contains(&"mine".to_owned()));
    let record = Arc::new(Record::default());
    let sink: Arc<dyn CellSink> = record.clone();
    door.deliver(message("theirs", CommKind::Open("mine".into()), json!(5)), sink).unwrap();
    record.wait_for("the answer", is_comm);
    assert_eq!(record.comms(), [message("theirs", CommKind::Message, json!({"opened": 5}))]);
    stage.value("dds::comm::unregister_target(\"mine\");");
    assert_eq!(door.targets(), Vec::<String>::new());
    let record = Arc::new(Record::default());
    let sink: Arc<dyn CellSink> = record.clone();
    door.deliver(message("late", CommKind::Open("mine".into()), json!(5)), sink).unwrap();
    record.wait_for("the refusal", is_comm);
    assert_eq!(record.comms(), [message("late", CommKind::Close, json!({}))]);
}

fn large_buffers_pass_both_ways(stage: &mut Stage) {
    stage.value(
        "let echo = dds::comm::Comm::open_as(\"echo\", \"t\", dds::Json::Null)?;\n\
         echo.on_message({ let echo = echo.clone(); move |message| {\n\
             let mut buffers = message.buffers.clone(); buffers.reverse();\n\
             echo.send(dds::comm::Message::new(dds::Json::Null).buffers(buffers)).unwrap();\n\
         } });",
    );
    let door = stage.evaluator.comms().unwrap();
    let record = Arc::new(Record::default());
    let sink: Arc<dyn CellSink> = record.clone();
    let buffers: Vec<Vec<u8>> = vec![(0..8 << 20).map(|at| at as u8).collect(), vec![], vec![255]];
    let mut sent = message("echo", CommKind::Message, json!({}));
    sent.buffers.clone_from(&buffers);
    door.deliver(sent.clone(), sink).unwrap();
    record.wait_for("the echo", is_comm);
    let back = record.comms().remove(0).buffers;
    assert!(back.iter().eq(buffers.iter().rev()));
    sent.buffers = vec![vec![0; 65 << 20]];
    let sink: Arc<dyn CellSink> = Arc::new(Record::default());
    assert_eq!(door.deliver(sent, sink).unwrap_err().kind, dds_core::Kind::Limit);
    stage.value("echo.close();");
}

fn a_callback_that_panics_is_shown(stage: &mut Stage) {
    stage.value(
        "let wild = dds::comm::Comm::open_as(\"wild\", \"t\", dds::Json::Null)?;\n\
         wild.on_message({ let wild = wild.clone(); move |message| {\n\
             if !message.data.is_null() { panic!(\"no {}\", message.data); }\n\
             wild.send(dds::Json::Null).unwrap();\n\
         } });",
    );
    let door = stage.evaluator.comms().unwrap();
    let first = deliver(&door, "wild", json!(1));
    let second = deliver(&door, "wild", Value::Null);
    second.wait_for("the answer", is_comm);
    assert!(
        matches!(&first.all()[..], [Shown::Err(text)] if text.starts_with("thread 'callback' panicked at cell [") && text.ends_with(": no 1\n"))
    );
    stage.value("wild.close();");
}

fn a_callback_that_crashes_costs_callbacks_only(stage: &mut Stage) {
    let door = counter(stage, "crash");
    stage.value(
        "comm.on_message({ let heard = heard.clone(); move |message| {\n\
             *heard.lock().unwrap() += 1;\n\
             if message.data.is_null() { std::process::abort(); }\n\
             println!(\"fine\");\n\
         } });",
    );
    deliver(&door, "crash", json!(1)).wait_for_out("fine");
    let record = deliver(&door, "crash", Value::Null);
    record.wait_for("the end", |shown| matches!(shown, Shown::Err(_)));
    let text = record.err();
    assert!(text.contains("signal 6 (SIGABRT)") && text.contains("after the last cell"), "{text}");
    // As after the cell above: callbacks since then are forgotten, the comm lives.
    assert_eq!(stage.value("*heard.lock().unwrap()"), "0");
    deliver(&door, "crash", json!(1)).wait_for_out("fine");
    assert_eq!(stage.value("*heard.lock().unwrap()"), "1");
    stage.value("comm.close();");
}

fn a_callback_that_never_ends_is_interrupted(stage: &mut Stage) {
    stage.value(
        "let kept = 4;\n\
         let stuck = dds::comm::Comm::open_as(\"stuck\", \"t\", dds::Json::Null)?;\n\
         stuck.on_message(|_| { println!(\"stuck\"); loop { std::hint::spin_loop(); } });",
    );
    let door = stage.evaluator.comms().unwrap();
    let record = deliver(&door, "stuck", Value::Null);
    record.wait_for_out("stuck");
    stage.evaluator.interrupter().interrupt();
    record.wait_for("the end", |shown| matches!(shown, Shown::Err(_)));
    assert!(record.err().contains("a callback was interrupted"), "{}", record.err());
    assert_eq!(stage.value("kept"), "4");
    // A cell that finds the callback running is interrupted in its place.
    let record = deliver(&door, "stuck", Value::Null);
    record.wait_for_out("stuck");
    let (interrupter, cx) = (stage.evaluator.interrupter(), stage.cx());
    let ended = std::sync::atomic::AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            eventually("the cell does not end", || {
                interrupter.interrupt();
                std::thread::sleep(std::time::Duration::from_millis(300));
                ended.load(std::sync::atomic::Ordering::SeqCst)
            });
        });
        let sink: Arc<dyn CellSink> = Arc::new(Record::default());
        // The first interrupt may come before the cell does; then it is the cell that is stopped.
        let code = "let gone = 1; loop { std::hint::spin_loop(); }";
        let result = stage.evaluator.execute(code, &sink, &cx);
        ended.store(true, std::sync::atomic::Ordering::SeqCst);
        result
    });
    assert_eq!(result.unwrap_err().ename, "Interrupted");
    assert_eq!(stage.value("kept"), "4");
    stage.value("stuck.close();");
}

fn comms_go_back_with_the_variables(stage: &mut Stage) {
    let door = counter(stage, "kept");
    let code = "let young = dds::comm::Comm::open_as(\"young\", \"t\", dds::Json::Null)?;\n\
                dds::comm::register_target(\"young\", |_, _| {})?;\n\
                comm.close();\n\
                println!(\"started\"); loop { std::hint::spin_loop(); }";
    let record = Arc::new(Record::default());
    let sink: Arc<dyn CellSink> = record.clone();
    let (interrupter, cx) = (stage.evaluator.interrupter(), stage.cx());
    let other = std::thread::spawn({
        let record = Arc::clone(&record);
        move || {
            record.wait_for_out("started");
            interrupter.interrupt();
        }
    });
    assert_eq!(stage.evaluator.execute(code, &sink, &cx).unwrap_err().ename, "Interrupted");
    other.join().unwrap();
    // The page closes what is gone. What the cell closed stays closed, on both sides.
    let young = message("young", CommKind::Close, json!({}));
    record.wait_for("the young comm's end", |shown| *shown == Shown::Comm(young.clone()));
    assert_eq!(door.targets(), Vec::<String>::new());
    eventually("the closed comm is open", || true);
    assert_eq!(stage.value("let mut left = 1000; while comm.is_open() && left > 0 { left -= 1; std::thread::sleep(std::time::Duration::from_millis(10)); } comm.is_open()"), "false");
    let again = counter(stage, "again");
    let record = deliver(&again, "again", json!({"n": 2}));
    record.wait_for("the answer", is_comm);
    stage.value("comm.close();");
}
