//! Variables: kept between cells, through interrupts, panics and crashes.

use super::stage::{Stage, Test, eventually, plain};
use dds_core::eval::Evaluator;

pub const TESTS: &[Test] = &[
    ("endless_loop", endless_loop),
    ("sleep_is_interrupted", sleep_is_interrupted),
    ("stubborn_cell", stubborn_cell),
    ("programs_are_interrupted_too", programs_are_interrupted_too),
    ("interrupt_between_cells", interrupt_between_cells),
    ("interrupt_while_compiling", interrupt_while_compiling),
    ("interrupt_at_any_moment", interrupt_at_any_moment),
    ("dependencies", dependencies),
    ("caught_panics_are_output", caught_panics_are_output),
    ("moved_variables_come_back", moved_variables_come_back),
    ("panic_keeps_variables", panic_keeps_variables),
    ("crashes", crashes),
    ("exit_of_a_cell", exit_of_a_cell),
    ("threads_live_on", threads_live_on),
    ("threads_panic", threads_panic),
    ("lost_threads_are_told", lost_threads_are_told),
    ("checkpoints_can_be_turned_off", checkpoints_can_be_turned_off),
    ("question_mark", question_mark),
    ("directives", directives),
    ("working_folder", working_folder),
    ("environment", environment),
    ("run_time", run_time),
];

const LOOP: &str = "v.push(99); println!(\"started\"); loop { std::hint::spin_loop(); }";

fn endless_loop(stage: &mut Stage) {
    stage.value("let mut v = vec![1, 2, 3];");
    stage.value("v.push(4);");
    for _ in 0..3 {
        let (result, _) = stage.interrupt_at(LOOP, "started");
        let error = result.unwrap_err();
        assert_eq!(error.ename, "Interrupted");
        assert!(plain(&error.traceback).contains("as they were before"));
        assert_eq!(stage.value("v"), "[1, 2, 3, 4]");
    }
    stage.value("v.push(5);");
    assert_eq!(stage.value("v.len()"), "5");
}

fn sleep_is_interrupted(stage: &mut Stage) {
    let code = "println!(\"started\"); std::thread::sleep(std::time::Duration::from_secs(3600));";
    assert_eq!(stage.interrupt_at(code, "started").0.unwrap_err().ename, "Interrupted");
}

fn stubborn_cell(stage: &mut Stage) {
    stage.value("let kept = 7;");
    let code = "unsafe extern \"C\" { fn signal(number: i32, how: usize) -> usize; }\n\
                unsafe { signal(2, 1) };\n\
                println!(\"started\");\n\
                loop { std::hint::spin_loop(); }";
    assert_eq!(stage.interrupt_at(code, "started").0.unwrap_err().ename, "Interrupted");
    assert_eq!(stage.value("kept"), "7");
}

fn programs_are_interrupted_too(stage: &mut Stage) {
    let code = "let mut program = std::process::Command::new(\"sleep\").arg(\"3600\").spawn().unwrap();\n\
                println!(\"pid {}.\", program.id());\n\
                program.wait().unwrap();";
    let record = std::sync::Arc::new(super::stage::Record::default());
    let sink: std::sync::Arc<dyn dds_core::eval::CellSink> = record.clone();
    let interrupter = stage.evaluator.interrupter();
    let watcher = std::thread::spawn({
        let record = record.clone();
        move || {
            record.wait_for_out(".");
            interrupter.interrupt();
        }
    });
    let cx = stage.cx();
    assert_eq!(stage.evaluator.execute(code, &sink, &cx).unwrap_err().ename, "Interrupted");
    watcher.join().unwrap();
    let out = record.out();
    let pid = out.trim_start_matches("pid ").trim_end_matches(".\n").to_owned();
    eventually("the program goes on", || !std::path::Path::new("/proc").join(&pid).exists());
}

fn interrupt_between_cells(stage: &mut Stage) {
    stage.evaluator.interrupter().interrupt();
    assert_eq!(stage.value("20 + 3"), "23");
}

/// A compilation that never ends, in a crate beside the notebook, is ended by an interrupt.
fn interrupt_while_compiling(stage: &mut Stage) {
    stage.value("let kept = 8;");
    let home = stage.cwd.path().to_owned();
    write_crate(&home.join("endless"), "endless", "");
    let sign = home.join("building");
    std::fs::write(
        home.join("endless/build.rs"),
        format!(
            "fn main() {{ std::fs::write({:?}, std::process::id().to_string()).unwrap(); \
             loop {{ std::thread::park(); }} }}",
            home.join("building")
        ),
    )
    .unwrap();
    let interrupter = stage.evaluator.interrupter();
    let watcher = std::thread::spawn(move || {
        let pid = || std::fs::read_to_string(&sign).unwrap_or_default();
        eventually("the build does not begin", || !pid().is_empty());
        interrupter.interrupt();
        pid()
    });
    let error = stage.error(":dep endless = { path = \"endless\" }\nendless::two()");
    let builder = watcher.join().unwrap();
    assert_eq!(error.ename, "Interrupted");
    eventually("the build goes on", || !std::path::Path::new("/proc").join(&builder).exists());
    assert_eq!(stage.value("kept"), "8");
}

/// Whenever an interrupt comes, while the cell is analysed, compiled, loaded, running, ending or
/// over: the variables are those of before or of after the cell, never lost.
fn interrupt_at_any_moment(stage: &mut Stage) {
    stage.value("let mut count = 0u32;");
    let mut expected = 0u32;
    for step in 0..24 {
        let interrupter = stage.evaluator.interrupter();
        let moment = std::time::Duration::from_millis(step * 9);
        let other = std::thread::spawn(move || {
            std::thread::sleep(moment);
            interrupter.interrupt();
        });
        let result = stage.run("count += 1; std::thread::sleep(std::time::Duration::from_millis(20));").0;
        other.join().unwrap();
        let now: u32 = stage.value("count").parse().unwrap();
        match result {
            Ok(_) => assert_eq!(now, expected + 1),
            Err(error) => {
                assert_eq!(error.ename, "Interrupted", "{error:?}");
                assert_eq!(now, expected);
            }
        }
        expected = now;
    }
}

fn write_crate(folder: &std::path::Path, name: &str, code: &str) {
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let manifest =
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n");
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(folder.join("src/lib.rs"), code).unwrap();
}

fn dependencies(stage: &mut Stage) {
    write_crate(&stage.cwd.path().join("mine"), "mine", "pub fn two() -> i32 { 2 }");
    assert_eq!(stage.value(":dep mine = { path = \"mine\" }\nmine::two()"), "2");
    assert_eq!(stage.value("mine::two() + 1"), "3");
    let error = stage.error(":dep missing = { path = \"missing\" }\n1");
    assert!(plain(&error.traceback).contains("missing"), "{error:?}");
    assert_eq!(stage.value("mine::two() + 2"), "4");
}

fn caught_panics_are_output(stage: &mut Stage) {
    let (result, record) = stage.run("std::panic::catch_unwind(|| panic!(\"caught\")).is_err()");
    assert_eq!(result.unwrap().unwrap().plain(), "true");
    assert!(
        record.err().contains("] panicked at cell [") && record.err().contains("]:1:29: caught"),
        "{}",
        record.err()
    );
}

fn moved_variables_come_back(stage: &mut Stage) {
    stage.value("let text = String::from(\"mine\");");
    let (result, _) = stage.interrupt_at("drop(text); println!(\"started\"); loop {}", "started");
    assert!(result.is_err());
    assert_eq!(stage.value("text"), "\"mine\"");
}

fn panic_keeps_variables(stage: &mut Stage) {
    stage.value("let mut v = vec![1, 2, 3];");
    let error = stage.error("v.push(4);\nlet fresh = 1;\nlet x = v[10];\nx");
    assert_eq!(error.ename, "panic");
    assert_eq!(error.evalue, "index out of bounds: the len is 4 but the index is 10");
    let shown = plain(&error.traceback);
    assert!(shown.contains(" --> cell [") && shown.contains("3 | let x = v[10];\n"), "{shown}");
    let shown = plain(&stage.error("let a = 1; if a == 1 {\n    let é = 2; panic!(\"é {é}\");\n}").traceback);
    assert!(shown.starts_with("panic: é 2\n --> cell ["), "{shown}");
    assert!(
        shown.contains("]:2:16\n2 |     let é = 2; panic!(\"é {é}\");\n  |                ^\n"),
        "{shown}"
    );
    assert_eq!(stage.value("v"), "[1, 2, 3, 4]");
    assert_eq!(stage.error("fresh").ename, "Error[E0425]");
}

fn crashes(stage: &mut Stage) {
    stage.value("let mut v = vec![1];");
    let error = stage.error("v.push(2); std::process::abort();");
    assert_eq!(error.ename, "SIGABRT");
    assert!(error.evalue.contains("signal 6"));
    let error = stage.error("v.push(2); unsafe { *(8 as *mut u8) = 1 };");
    assert_eq!(error.ename, "SIGSEGV");
    let error = stage.error(
        "fn deep(n: u64) -> u64 { if n == u64::MAX { 0 } else { 1 + deep(n + 1) + deep(n + 2) } }\ndeep(0)",
    );
    assert!(error.evalue.contains("stack overflow"), "{}", error.evalue);
    assert_eq!(stage.value("v"), "[1]");
}

fn exit_of_a_cell(stage: &mut Stage) {
    stage.value("let kept = 9;");
    let error = stage.error("print!(\"bye\"); std::process::exit(3);");
    assert_eq!((error.ename.as_str(), error.evalue.contains("exit code 3")), ("Exit", true));
    assert_eq!(stage.value("kept"), "9");
}

fn threads_live_on(stage: &mut Stage) {
    stage.value(
        "let (ask, asked) = std::sync::mpsc::channel::<i32>();\n\
         let (reply, answers) = std::sync::mpsc::channel::<i32>();\n\
         std::thread::spawn(move || for n in asked { reply.send(n * 2).unwrap(); });",
    );
    stage.value("ask.send(21).unwrap();");
    assert_eq!(stage.value("answers.recv().unwrap()"), "42");
}

fn lost_threads_are_told(_: &mut Stage) {
    let mut stage = Stage::new();
    let told = |error: &dds_core::eval::CellError| {
        plain(&error.traceback).contains("that an earlier cell had started")
    };
    assert!(!told(&stage.error("std::process::abort();")));
    // It lives on, and a thread of the failing cell itself is not told of.
    stage.value("std::thread::spawn(|| loop { std::thread::park(); });");
    let error = stage.error("std::thread::spawn(|| loop { std::thread::park(); }); std::process::abort();");
    assert!(told(&error), "{error:?}");
    assert!(!told(&stage.error("std::process::abort();")), "it is gone already");
}

fn checkpoints_can_be_turned_off(_: &mut Stage) {
    let mut stage = Stage::new();
    stage.value(":checkpoint off");
    stage.value("let lost = 1;");
    let error = stage.error("std::process::abort();");
    assert!(plain(&error.traceback).contains("they are lost"), "{error:?}");
    assert_eq!(stage.error("lost").ename, "Error[E0425]");
    // Also in the process that has taken its place.
    stage.value("let lost = 2;");
    assert!(plain(&stage.error("std::process::abort();").traceback).contains("they are lost"));
    stage.value(":checkpoint on\nlet kept = 3;");
    assert!(!plain(&stage.error("std::process::abort();").traceback).contains("they are lost"));
    assert_eq!(stage.value("kept"), "3");
    assert_eq!(stage.error(":checkpoint").ename, "Usage");
}

fn threads_panic(stage: &mut Stage) {
    let (result, record) =
        stage.run("std::thread::Builder::new().name(\"mine\".into()).spawn(|| panic!(\"there\")).unwrap().join().is_err()");
    assert_eq!(result.unwrap().unwrap().plain(), "true");
    assert!(record.err().starts_with("thread 'mine' panicked at cell ["), "{}", record.err());
    assert!(record.err().ends_with("]:1:58: there\n"), "{}", record.err());
}

fn question_mark(stage: &mut Stage) {
    let error = stage.error("let n: i32 = \"x\".parse::<i32>()?;\nn");
    assert_eq!(error.ename, "Error");
    assert_eq!(error.evalue, "invalid digit found in string");
    assert_eq!(stage.value("let n: i32 = \"5\".parse::<i32>()?; n"), "5");
}

fn directives(stage: &mut Stage) {
    stage.value("let listed = 1u8;");
    assert!(stage.value(":vars").lines().any(|line| line.starts_with("listed ") && line.contains("u8")));
    assert!(stage.value(":help").contains(":dep"));
    assert_eq!(stage.error(":quit").ename, "Usage");
    assert!(stage.error(":nonsense").evalue.contains(":nonsense"));
    let (result, record) = stage.run(":opt 1\n1 + 2\n:type listed");
    assert_eq!(result.unwrap().unwrap().plain(), "listed: u8");
    let shown: Vec<String> = record
        .all()
        .iter()
        .map(|shown| match shown {
            super::stage::Shown::Display(bundle) => bundle.plain().to_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(shown, ["Optimization: 1", "3"]);
    stage.value(":opt 0");
    stage.value(":restart");
    assert_eq!(stage.error("listed").ename, "Error[E0425]");
    let (_, record) = stage.run("print!(\"after\");");
    assert_eq!(record.out(), "after");
    stage.value("let gone = 1;");
    stage.value(":clear");
    assert_eq!(stage.value("1 + 3"), "4");
    assert_eq!(stage.error("panic!(\"once more\")").evalue, "once more");
}

fn working_folder(stage: &mut Stage) {
    let there = stage.cwd.path().join("there é");
    std::fs::create_dir(&there).unwrap();
    stage.evaluator.set_cwd(&there).unwrap();
    let shown = "std::env::current_dir().unwrap().file_name().unwrap().to_string_lossy().into_owned()";
    assert_eq!(stage.value(shown), "\"there é\"");
    // A new child starts there as well.
    stage.value(":restart");
    assert_eq!(stage.value(shown), "\"there é\"");
    assert_eq!(stage.evaluator.set_cwd(&there.join("no")).unwrap_err().ename, "NotFound");
    let home = stage.cwd.path().to_owned();
    stage.evaluator.set_cwd(&home).unwrap();
}

fn environment(stage: &mut Stage) {
    let shown = "std::env::var(\"DDS_TEST_NAME\").ok()";
    stage.evaluator.set_env("DDS_TEST_NAME", Some("a=b é")).unwrap();
    assert_eq!(stage.value(shown), "Some(\"a=b é\")");
    // A new child has it as well, and loses it when told.
    stage.value(":restart");
    assert_eq!(stage.value(shown), "Some(\"a=b é\")");
    stage.evaluator.set_env("DDS_TEST_NAME", None).unwrap();
    assert_eq!(stage.value(shown), "None");
    let long = "x".repeat(12 * 1024 - 1);
    stage.evaluator.set_env("L", Some(&long)).unwrap();
    assert_eq!(stage.value("std::env::var(\"L\").map(|v| v.len())"), "Ok(12287)");
    assert_eq!(stage.evaluator.set_env("L", Some(&format!("{long}x"))).unwrap_err().ename, "Limit");
    assert_eq!(stage.evaluator.set_env("A=B", Some("x")).unwrap_err().ename, "Usage");
    stage.evaluator.set_env("L", None).unwrap();
}

fn run_time(stage: &mut Stage) {
    stage.evaluator.take_run_time();
    stage.value(
        "let end = std::time::Instant::now() + std::time::Duration::from_millis(60); while std::time::Instant::now() < end {}",
    );
    let busy = stage.evaluator.take_run_time().unwrap();
    assert!(busy.wall.as_millis() >= 60 && busy.cpu > std::time::Duration::ZERO, "{busy:?}");
    assert_eq!(stage.evaluator.take_run_time().unwrap(), dds_core::eval::RunTime::default());
    stage.value("std::thread::sleep(std::time::Duration::from_millis(60));");
    let idle = stage.evaluator.take_run_time().unwrap();
    assert!(idle.wall.as_millis() >= 60 && idle.cpu < idle.wall, "{idle:?}");
}
