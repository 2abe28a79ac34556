//! How long cells take on this machine. Tests nothing.

use super::stage::Stage;
use std::time::Instant;

pub fn run() {
    let started = Instant::now();
    let mut stage = Stage::new();
    println!("{:>8.1} ms  start returns", started.elapsed().as_secs_f64() * 1e3);
    stage.evaluator.prewarm();
    println!("{:>8.1} ms  start and prewarm", started.elapsed().as_secs_f64() * 1e3);
    for code in [
        "1 + 1",
        "1 + 2",
        "let a = 1;",
        "let b = vec![1, 2, 3];",
        "let mut c = String::from(\"x\");",
        "c.push('y');",
        "c",
        "println!(\"{c}\")",
        "let x: i32 = \"a\";",
        "panic!(\"x\")",
        "use std::collections::HashMap; let mut m: HashMap<String, i32> = HashMap::new();",
        "m.insert(c.clone(), 1);",
        "m",
        "for i in 0..100_000 { println!(\"{i:099}\"); }",
    ] {
        let at = Instant::now();
        let (result, _) = stage.run(code);
        let how = if result.is_ok() { "ok " } else { "err" };
        println!("{:>8.1} ms  {how} {code}", at.elapsed().as_secs_f64() * 1e3);
    }
    for code in [
        "println!(\"up\"); loop {}",
        "println!(\"up\"); std::thread::sleep(std::time::Duration::from_secs(99));",
    ] {
        let (_, took) = stage.interrupt_at(code, "up");
        println!("{:>8.1} ms  interrupt of {code}", took.as_secs_f64() * 1e3);
    }
    for code in ["c.pu", "m.ins"] {
        let at = Instant::now();
        let found = dds_core::eval::Evaluator::complete(&mut stage.evaluator, code, code.len());
        println!("{:>8.1} ms  {} completions of {code}", at.elapsed().as_secs_f64() * 1e3, found.items.len());
    }
    let at = Instant::now();
    let cx = stage.cx();
    let text = dds_core::eval::Evaluator::display_text(&mut stage.evaluator, "c", &cx);
    println!("{:>8.1} ms  text of c: {text:?}", at.elapsed().as_secs_f64() * 1e3);
}
