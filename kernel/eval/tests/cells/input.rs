//! Questions to the user, from `dds` and by plain reads of standard input.

use super::stage::{Record, Shown, Stage, Test};
use dds_core::eval::{CellSink, Evaluator};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub const TESTS: &[Test] = &[
    ("input_asks", input_asks),
    ("reading_standard_input_asks", reading_standard_input_asks),
    ("no_input_is_an_end_of_file", no_input_is_an_end_of_file),
    ("a_waiting_question_is_interrupted", a_waiting_question_is_interrupted),
    ("programs_of_cells_read_nothing", programs_of_cells_read_nothing),
    ("threads_ask_one_after_the_other", threads_ask_one_after_the_other),
];

fn run(stage: &mut Stage, code: &str, lines: &[&str]) -> (String, Arc<Record>) {
    let record = Record::default();
    record.types(lines);
    let (result, record) = stage.run_with(code, record);
    (result.unwrap().map(|bundle| bundle.plain().to_owned()).unwrap_or_default(), record)
}

fn asked(record: &Record) -> Vec<(String, bool)> {
    record.asked.lock().unwrap().clone()
}

fn input_asks(stage: &mut Stage) {
    let code = "print!(\"first\"); (dds::input(\"Name: \")?, dds::password(format!(\"Key é: \"))?)";
    let long = "x".repeat(100_000);
    let (value, record) = run(stage, code, &["Ada é", &long]);
    assert!(value == format!("(\"Ada é\", \"{long}\")"), "{} bytes", value.len());
    assert_eq!(asked(&record), [("Name: ".to_owned(), false), ("Key é: ".to_owned(), true)]);
    assert_eq!(record.all(), [Shown::Out("first".into())]);
}

fn reading_standard_input_asks(stage: &mut Stage) {
    let code = "print!(\"Age? \"); let mut line = String::new();\n\
                std::io::stdin().read_line(&mut line)?; line";
    let (value, record) = run(stage, code, &["36"]);
    assert_eq!(value, "\"36\\n\"");
    assert_eq!(asked(&record), [("Age? ".to_owned(), false)]);
    // Without a line that asks; and what is read in small pieces is one line.
    let code = "println!(\"hello\"); let mut bytes = [0u8; 3];\n\
                let mut file = std::mem::ManuallyDrop::new(unsafe { \
                <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(0) });\n\
                std::io::Read::read_exact(&mut *file, &mut bytes[..2])?;\n\
                std::io::Read::read_exact(&mut *file, &mut bytes[2..])?; bytes";
    let (value, record) = run(stage, code, &["ab"]);
    assert_eq!(value, "[97, 98, 10]");
    assert_eq!(asked(&record), [(String::new(), false)]);
    let (value, record) =
        run(stage, "std::io::stdin().lines().take(2).collect::<Result<Vec<_>, _>>()?", &["1", "2"]);
    assert_eq!((value.as_str(), asked(&record).len()), ("[\"1\", \"2\"]", 2));
}

fn no_input_is_an_end_of_file(stage: &mut Stage) {
    let (result, record) =
        stage.run("let mut line = String::new(); std::io::stdin().read_line(&mut line).unwrap()");
    assert_eq!(result.unwrap().unwrap().plain(), "0");
    assert_eq!(record.err(), "dds: no input: nobody is there\n");
    let error = stage.error("dds::input(\"?\")?;");
    assert!(error.evalue.contains("nobody can be asked"), "{error:?}");
}

fn a_waiting_question_is_interrupted(stage: &mut Stage) {
    stage.value("let mut kept = vec![1];");
    for code in [
        "kept.push(2); println!(\"now\"); dds::input(\"?\")?;",
        "kept.push(2); println!(\"now\"); std::io::stdin().read_line(&mut String::new())?;",
    ] {
        let record = Arc::new(Record::default());
        record.types(&[]);
        let sink: Arc<dyn CellSink> = record.clone();
        let (interrupter, cx) = (stage.evaluator.interrupter(), stage.cx());
        let watcher = std::thread::spawn({
            let record = Arc::clone(&record);
            move || {
                super::stage::eventually("nothing is asked", || !asked(&record).is_empty());
                interrupter.interrupt();
            }
        });
        let error = stage.evaluator.execute(code, &sink, &cx).unwrap_err();
        record.stopped.store(true, Ordering::SeqCst);
        watcher.join().unwrap();
        assert_eq!(error.ename, "Interrupted");
        assert_eq!(stage.value("kept"), "[1]");
    }
    // The answer that came too late is nobody's.
    let (value, _) = run(stage, "dds::input(\"?\")?", &["right"]);
    assert_eq!(value, "\"right\"");
}

fn programs_of_cells_read_nothing(stage: &mut Stage) {
    let (value, record) = run(stage, "std::process::Command::new(\"cat\").status()?.success()", &["unread"]);
    assert_eq!(value, "true");
    assert_eq!(asked(&record), []);
}

fn threads_ask_one_after_the_other(stage: &mut Stage) {
    let code = "let mut all: Vec<String> = std::thread::scope(|scope| {\n\
                    let asking: Vec<_> = (0..3).map(|_| scope.spawn(|| dds::input(\"?\").unwrap())).collect();\n\
                    asking.into_iter().map(|thread| thread.join().unwrap()).collect()\n\
                });\n\
                all.sort(); all";
    let (value, _) = run(stage, code, &["a", "b", "c"]);
    assert_eq!(value, "[\"a\", \"b\", \"c\"]");
}
