//! Whole cells, through rustc and a real child process. The child is this program in its hidden
//! role, so there is no test harness: `main` dispatches, then runs the tests below one by one.
//!
//! `cargo test -p dds-eval --test cells -- NAME` runs those whose name contains NAME; `measure`
//! prints how long cells take and `show FILE` what the cells of a file show; they test nothing. With `DDS_QUICK_TESTS` set the cells are left out:
//! every one of them goes through rustc.

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
    for (name, test) in tests {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        print!("test {name} ... ");
        let _ = std::io::Write::flush(&mut std::io::stdout());
        let result = catch_unwind(AssertUnwindSafe(|| test(&mut stage)));
        println!("{}", if result.is_ok() { "ok" } else { "FAILED" });
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
