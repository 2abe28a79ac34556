//! Whole cells, through rustc and a real child process. The child is this program in its hidden
//! role, so there is no test harness: `main` dispatches, then runs the tests below one by one.
//!
//! `cargo test -p dds-eval --test cells -- NAME` runs those whose name contains NAME; `measure`
//! prints how long cells take and `show FILE` what the cells of a file show; they test nothing. With
//! `DDS_QUICK_TESTS` set the cells are left out: every one of them goes through rustc. A test that
//! hangs ends the run, so that it is known which one it was.

mod cells {
    pub mod bench;
    pub mod comms;
    pub mod compile;
    pub mod display;
    pub mod failures;
    pub mod input;
    pub mod language;
    pub mod lifetime;
    pub mod output;
    pub mod show;
    pub mod stage;
    pub mod state;
    pub mod widgets;
}

use cells::stage::{Stage, Test};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// No test takes this long, be the machine ever so busy.
const HUNG: Duration = Duration::from_secs(400);

fn main() {
    dds_eval::take_over_child_roles();
    let place = tempfile::tempdir().unwrap();
    dds_eval::stand_between(&place.path().join("tools"), &place.path().join("cache")).unwrap();
    match std::env::args().nth(1).as_deref() {
        Some(cells::lifetime::VICTIM_ARG) => return cells::lifetime::victim(),
        Some(cells::lifetime::BARE_ARG) => return cells::lifetime::bare(),
        _ => {}
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if wanted.iter().any(|name| name == "measure") {
        return cells::bench::run();
    }
    if let [show, file, ..] = wanted.as_slice()
        && show == "show"
    {
        return cells::show::run(file);
    }
    if wanted.is_empty() && std::env::var_os("DDS_QUICK_TESTS").is_some() {
        println!("left out: cells through rustc (DDS_QUICK_TESTS is set)");
        return;
    }
    let tests: Vec<Test> = [
        cells::output::TESTS,
        cells::display::TESTS,
        cells::input::TESTS,
        cells::comms::TESTS,
        cells::widgets::TESTS,
        cells::state::TESTS,
        cells::failures::TESTS,
        cells::language::TESTS,
        cells::compile::TESTS,
        cells::lifetime::TESTS,
    ]
    .concat();
    // Starting takes seconds, so the tests share an evaluator; one that fails gets the next a new one.
    let mut stage = Stage::new();
    let mut failed = Vec::new();
    let alive = watchdog();
    for (name, test) in tests {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        print!("test {name} ... ");
        let _ = std::io::Write::flush(&mut std::io::stdout());
        let began = Instant::now();
        alive.send(name).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| test(&mut stage)));
        println!("{} ({:.1} s)", if result.is_ok() { "ok" } else { "FAILED" }, began.elapsed().as_secs_f64());
        if result.is_err() {
            failed.push(name);
            stage = Stage::new();
        }
    }
    drop(stage);
    if !failed.is_empty() {
        println!("\nfailed: {}", failed.join(", "));
        std::process::exit(1);
    }
}

/// Ends this program when no test's name is sent for too long. The child processes end with it.
fn watchdog() -> mpsc::Sender<&'static str> {
    let (alive, names) = mpsc::channel();
    std::thread::spawn(move || {
        let mut running = "the start";
        loop {
            match names.recv_timeout(HUNG) {
                Ok(name) => running = name,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    println!("FAILED\n\n{running} hangs: nothing came of it in {} s", HUNG.as_secs());
                    std::process::exit(1);
                }
            }
        }
    });
    alive
}
