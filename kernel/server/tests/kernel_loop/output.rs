//! Output of cells: order, batches, bounds, and what a front end gets that does not read.

use crate::front_end::FrontEnd;
use dds_server::kernel::{BATCH_BYTES, MAX_CELL_DISPLAYS, MAX_CELL_TEXT, MESSAGE_EVERY};
use serde_json::json;
use std::time::Instant;

#[test]
fn output_arrives_while_the_cell_still_runs() {
    let mut front = FrontEnd::start();
    let id = front.execute("print early\nsleep");
    front.started(&id, "print early\nsleep", 1);
    assert_eq!(front.iopub(&id, "stream").content["text"], "early\n");
    front.interrupt();
    assert_eq!(front.failed(&id, 1).0, "Interrupted");
    front.finish_with_host();
}

/// Twenty a second for the time that it took, and what is as large as one message may be.
fn most_messages(begin: Instant, bytes: usize) -> usize {
    2 + bytes / BATCH_BYTES + (begin.elapsed().as_millis() / MESSAGE_EVERY.as_millis()) as usize
}

#[test]
fn a_flood_of_lines_arrives_whole_in_few_messages() {
    let mut front = FrontEnd::start();
    let line = "x".repeat(94);
    let code = format!("flood 100000 {line}");
    let begin = Instant::now();
    let id = front.execute(&code);
    front.started(&id, &code, 1);
    let (text, messages) = front.text(&id, "stdout");
    let most = most_messages(begin, text.len());
    assert_eq!(text.lines().count(), 100_000);
    assert!(text.lines().enumerate().all(|(n, got)| got == format!("{n} {line}")));
    assert!(messages <= most, "{messages} messages for 100,000 lines, not {most}");
    front.succeeded(&id, 1);
    front.finish_with_host();
}

#[test]
fn text_is_cut_between_characters_and_never_longer_than_a_batch() {
    let mut front = FrontEnd::start();
    let code = format!("print \nbytes {} é", BATCH_BYTES);
    let id = front.execute(&code);
    front.started(&id, &code, 1);
    let mut all = String::new();
    while all.len() < 1 + 2 * BATCH_BYTES {
        let text = front.iopub(&id, "stream").text("text").to_owned();
        assert!(text.len() <= BATCH_BYTES);
        all.push_str(&text);
    }
    assert_eq!(all, format!("\n{}", "é".repeat(BATCH_BYTES)));
    front.succeeded(&id, 1);
    front.finish_with_host();
}

#[test]
fn text_past_its_bound_is_left_out_with_a_note_and_the_end_is_shown() {
    let mut front = FrontEnd::start();
    // Exactly at the bound: everything.
    let code = format!("bytes {MAX_CELL_TEXT} x");
    let id = front.execute(&code);
    front.started(&id, &code, 1);
    assert_eq!(front.text(&id, "stdout").0.len(), MAX_CELL_TEXT);
    front.succeeded(&id, 1);

    let code = format!("bytes {MAX_CELL_TEXT} x\nbytes 20000 y\nprint the end");
    let id = front.execute(&code);
    front.started(&id, &code, 2);
    assert_eq!(front.text(&id, "stdout").0.len(), MAX_CELL_TEXT);
    let note = front.text(&id, "stderr").0;
    let tail = front.text(&id, "stdout").0;
    assert!(tail.starts_with('y') && tail.ends_with("ythe end\n"), "{tail}");
    let left_out = 20_000 + "the end\n".len() - tail.len();
    assert!(note.contains(&format!("{left_out} bytes of text left out")), "{note}");
    front.succeeded(&id, 2);
    front.finish_with_host();
}

#[test]
fn displays_past_their_bound_are_counted() {
    let mut front = FrontEnd::start();
    let code = format!("displays {}", MAX_CELL_DISPLAYS + 1);
    let id = front.execute(&code);
    front.started(&id, &code, 1);
    for _ in 0..MAX_CELL_DISPLAYS {
        front.iopub(&id, "display_data");
    }
    let note = front.text(&id, "stderr").0;
    assert!(note.starts_with("[dds: 1 displays left out"), "{note}");
    front.succeeded(&id, 1);
    front.finish_with_host();
}

#[test]
fn streams_that_alternate_come_in_few_messages_and_whole() {
    let mut front = FrontEnd::start();
    let begin = Instant::now();
    let id = front.execute("alternate 50000");
    front.started(&id, "alternate 50000", 1);
    let (mut out, mut err, mut messages) = (String::new(), String::new(), 0);
    while out.lines().count() < 50_000 || err.lines().count() < 50_000 {
        let content = front.iopub(&id, "stream").content;
        let to = if content["name"] == "stdout" { &mut out } else { &mut err };
        to.push_str(content["text"].as_str().unwrap());
        messages += 1;
    }
    for (name, text) in [("out", &out), ("err", &err)] {
        assert!(text.lines().enumerate().all(|(n, line)| line == format!("{name} {n}")));
    }
    // The pieces of the first and of the last window may come on top.
    let most = most_messages(begin, out.len() + err.len()) + 16;
    assert!(messages <= most, "{messages} messages, not {most}");
    front.succeeded(&id, 1);
    front.finish_with_host();
}

#[test]
fn clearing_is_told_in_its_order_and_text_that_nobody_saw_is_not_sent() {
    let mut front = FrontEnd::start();
    let code = "display a\nclear\ndisplay b\nprint unseen\nclear wait\nprint shown";
    let id = front.execute(code);
    front.started(&id, code, 1);
    front.iopub(&id, "display_data");
    assert_eq!(front.iopub(&id, "clear_output").content, json!({"wait": false}));
    front.iopub(&id, "display_data");
    assert_eq!(front.iopub(&id, "clear_output").content, json!({"wait": true}));
    assert_eq!(front.iopub(&id, "stream").content["text"], "shown\n");
    front.succeeded(&id, 1);

    let id = front.execute_with("clear\nprint x", json!({"silent": true}));
    front.status(&id, "busy");
    front.succeeded(&id, 1);
    front.finish_with_host();
}

#[test]
fn a_front_end_that_reads_only_afterwards_gets_every_line_and_the_idle() {
    let mut front = FrontEnd::start();
    let late = front.late_subscriber();
    let line = "x".repeat(94);
    let id = front.execute(&format!("flood 100000 {line}"));
    front.started(&id, &format!("flood 100000 {line}"), 1);
    front.text(&id, "stdout");
    front.succeeded(&id, 1);
    let mut text = String::new();
    let seen = late.read_until_idle(&id);
    for message in seen.iter().filter(|m| m.msg_type() == "stream") {
        text.push_str(message.text("text"));
    }
    assert_eq!(text.lines().count(), 100_000);
    assert!(text.lines().enumerate().all(|(n, got)| got == format!("{n} {line}")));
    front.finish_with_host();
}
