//! What cells look like to who runs them, for a pair of eyes: `cells -- show FILE` runs the cells
//! of a file, parted by lines of dashes, and prints their output and errors with colours.

use super::stage::{Shown, Stage};
use std::time::Instant;

pub fn run(file: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    let mut stage = Stage::new();
    for cell in text.split("\n----\n") {
        let begun = Instant::now();
        let (result, record) = stage.run(cell);
        println!("\n══════ {:.0?}\n{cell}\n──────", begun.elapsed());
        for shown in record.all() {
            match shown {
                Shown::Out(text) => print!("{text}"),
                Shown::Err(text) => print!("stderr: {text}"),
                other => println!("shown: {other:?}"),
            }
        }
        match result {
            Ok(Some(value)) => println!("value: {value:?}"),
            Ok(None) => {}
            Err(error) => {
                println!("[{}] {}\n{}", error.ename, error.evalue, error.traceback.join("\n"));
            }
        }
    }
}
