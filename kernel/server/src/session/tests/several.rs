//! What goes on beside a running Rust cell: questions about code, comms, cells of subshells.

use super::*;
use std::thread::JoinHandle;

type Running = JoinHandle<Result<Option<MimeBundle>, CellError>>;

/// A Rust cell that runs until it is interrupted.
fn spinning(b: &Bench) -> Running {
    let (cell, shown) = beside(b, "spin");
    wait_for("the cell", || !shown.all().is_empty());
    cell
}

fn beside(b: &Bench, code: &'static str) -> (Running, Arc<Shown>) {
    let shown = Arc::new(Shown::default());
    let (session, sink): (_, Arc<dyn CellSink>) = (b.session.clone(), shown.clone());
    (std::thread::spawn(move || session.run_cell(code, &sink)), shown)
}

#[test]
fn questions_are_answered_from_what_is_known() {
    let b = bench();
    let cell = spinning(&b);
    assert_eq!(b.session.complete("%dds ls x\na", 11).items[0].text, "known in          \na");
    assert_eq!(b.session.inspect("vec", 1).unwrap().plain(), "known of vec");
    assert_eq!(b.session.complete("%dds mou", 8).items.len(), 2);
    assert_eq!(b.session.cell_comms().unwrap().targets(), ["toy"]);
    b.session.interrupt();
    assert!(cell.join().unwrap().is_err());
}

#[test]
fn commands_run_beside_a_rust_cell_and_rust_waits_for_it() {
    let b = bench();
    let first = spinning(&b);
    let (done, shown) = b.run("%dds cat a\n!echo beside");
    assert!(done.is_ok());
    assert_eq!((shown.displays().len(), shown.text(Stream::Stdout).as_str()), (1, "beside\n"));

    // The first segment shows that the cell has begun; its second needs the evaluator.
    let (second, shown) = beside(&b, "!echo begun\nwhere");
    wait_for("the second cell", || !shown.all().is_empty());
    assert!(!second.is_finished());
    b.session.interrupt();
    assert_eq!(first.join().unwrap().unwrap_err().evalue, "stopped");
    let ended = second.join().unwrap();
    // It may have got the evaluator in the moment of the interrupt.
    assert!(ended.is_ok() || ended.unwrap_err().ename == "Interrupted");

    let (second, _) = beside(&b, "y = 1\ny");
    assert!(second.join().unwrap().is_ok(), "after an interrupt the evaluator is there again");
}

#[test]
fn notes_go_to_the_cell_that_began_last() {
    let notes = Notes::default();
    let (first, second) = (Arc::new(Shown::default()), Arc::new(Shown::default()));
    let sinks: [Arc<dyn CellSink>; 2] = [first.clone(), second.clone()];
    let one = notes.lead_to(&sinks[0]);
    let two = notes.lead_to(&sinks[1]);
    dds_core::Sink::note(&notes, "a");
    drop(one);
    dds_core::Sink::note(&notes, "b");
    drop(two);
    dds_core::Sink::note(&notes, "to the log");
    assert_eq!((first.text(Stream::Stderr), second.text(Stream::Stderr)), (String::new(), "a\nb\n".into()));
    let _again = notes.lead_to(&sinks[0]);
    dds_core::Sink::note(&notes, "c");
    assert_eq!(first.text(Stream::Stderr), "c\n");
}

#[test]
fn idle_time_is_used_until_nothing_is_left_to_do() {
    let chores = Arc::new(AtomicUsize::new(3));
    let rust = crate::session::evaluator::Rust::start(toy_with(chores.clone())).unwrap();
    let cx = Cx::silent("/");
    // Nobody has run anything yet, so there is nothing to prepare for; from here on there is.
    let value = rust.with(&cx, |toy| toy.display_text("x", "x", &cx));
    assert!(value.is_err());
    wait_for("the work for idle time", || chores.load(Ordering::SeqCst) == 0);
    assert!(rust.with(&cx, |toy| toy.set_cwd(Path::new("/"))).is_ok(), "it is there for cells");
}
