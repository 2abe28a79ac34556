//! How long cells take on this machine, in time and in processor time, which is less disturbed by
//! what else runs there. Tests nothing.

use super::stage::Stage;
use std::path::Path;
use std::time::Instant;

/// How often each of the short cells is run.
const ROUNDS: usize = 9;

pub fn run() {
    let cache = tempfile::tempdir().unwrap();
    println!("an empty cache");
    let mut stage = started(cache.path());
    memory();
    // SAFETY: gives free memory back to the system.
    unsafe { libc::malloc_trim(0) };
    memory();
    notebook(&mut stage, 0);
    memory();
    unsafe { libc::malloc_trim(0) };
    memory();
    medians(&mut stage);
    interrupts(&mut stage);
    languages(&mut stage);
    memory();
    drop(stage);
    println!("another session, the same cells");
    let mut stage = started(cache.path());
    notebook(&mut stage, 0);
    memory();
    drop(stage);
    println!("another session, other cells");
    notebook(&mut started(cache.path()), 7000);
    println!("{} bytes of compiled cells", dds_eval::caches(cache.path()).cells);
}

fn started(cache: &Path) -> Stage {
    let clock = Clock::start();
    let mut stage = Stage::with_cache(Some(cache));
    clock.print("start returns");
    stage.evaluator.prewarm();
    clock.print("start and prewarm");
    stage
}

/// The cells of a notebook, one by one; another `number` makes others of them.
fn notebook(stage: &mut Stage, number: usize) {
    for code in [
        "N + 1",
        "N + 2",
        "let a = N;",
        "let b = vec![N, 2, 3];",
        "let mut c = String::from(\"xN\");",
        "c.push('y'); c.push_str(\"N\");",
        "(&c, N)",
        "println!(\"{c}N\")",
        "let x: i32 = \"aN\";",
        "missing + N",
        "panic!(\"xN\")",
        "use std::collections::HashMap; let mut m: HashMap<String, i32> = HashMap::new(); let n = N;",
        "m.insert(c.clone(), N);",
        "(&m, N)",
        "\"N\".parse::<i32>()?",
        "let p = \"N\".parse::<i32>()?;",
    ] {
        let code = code.replace('N', &number.to_string());
        let clock = Clock::start();
        let (result, _) = stage.run(&code);
        clock.print(&format!("{} {code}", if result.is_ok() { "ok " } else { "err" }));
    }
}

/// The cells of which there are targets; each round has code of its own, then the same again.
fn medians(stage: &mut Stage) {
    stage.value("let mut v = vec![1, 2, 3];");
    for (name, code) in [
        ("1 + 1", "1 + N"),
        ("let", "let xN = N;"),
        ("push", "v.push(N);"),
        ("println", "println!(\"{}\", N);"),
        ("compile error", "let y: i32 = \"N\";"),
        ("panic", "panic!(\"N\");"),
    ] {
        let mut run = |what: &str| {
            let mut all = Vec::new();
            for round in 0..ROUNDS {
                let clock = Clock::start();
                let _ = stage.run(&code.replace('N', &(1000 + round).to_string()));
                all.push(clock.passed());
            }
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            let wall = all[ROUNDS / 2].0;
            all.sort_by(|a, b| a.1.total_cmp(&b.1));
            println!("{wall:>8.1} ms {:>8.1} ms CPU  median, {name}, {what}", all[ROUNDS / 2].1);
        };
        run("new");
        if name != "let" && name != "push" {
            run("again");
        }
    }
}

fn interrupts(stage: &mut Stage) {
    for code in [
        "println!(\"up\"); loop {}",
        "println!(\"up\"); std::thread::sleep(std::time::Duration::from_secs(99));",
    ] {
        let (_, took) = stage.interrupt_at(code, "up");
        println!("{:>8.1} ms  interrupt of {code}", took.as_secs_f64() * 1e3);
    }
}

fn languages(stage: &mut Stage) {
    for code in ["c.pu", "m.ins"] {
        let clock = Clock::start();
        let found = dds_core::eval::Evaluator::complete(&mut stage.evaluator, code, code.len());
        clock.print(&format!("{} completions of {code}", found.items.len()));
    }
    let clock = Clock::start();
    let cx = stage.cx();
    let text = dds_core::eval::Evaluator::display_text(&mut stage.evaluator, "c", "c", &cx);
    clock.print(&format!("text of c: {text:?}"));
    let clock = Clock::start();
    let (result, _) = stage.run("for i in 0..100_000 { println!(\"{i:099}\"); }");
    clock.print(&format!("10 MB printed: {}", result.is_ok()));
}

/// Proportional memory of this process and of the evaluation process.
fn memory() {
    let mut left = vec![std::process::id().to_string()];
    let mut total = 0;
    while let Some(pid) = left.pop() {
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0);
        println!("{:>8.1} MB  process {pid}", kilobytes as f64 / 1024.0);
        total += kilobytes;
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            left.extend(children.split_whitespace().map(str::to_owned));
        }
    }
    println!("{:>8.1} MB  in all", total as f64 / 1024.0);
}

struct Clock {
    at: Instant,
    cpu: f64,
}

impl Clock {
    fn start() -> Self {
        Self { at: Instant::now(), cpu: cpu() }
    }

    fn passed(&self) -> (f64, f64) {
        (self.at.elapsed().as_secs_f64() * 1e3, cpu() - self.cpu)
    }

    fn print(&self, what: &str) {
        let (wall, cpu) = self.passed();
        println!("{wall:>8.1} ms {cpu:>8.1} ms CPU  {what}");
    }
}

/// Processor time of this process and of those it has waited for, in milliseconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<i64> =
        stat.rsplit_once(')').unwrap().1.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // utime, stime, cutime and cstime, in hundredths of a second; the state is no number.
    fields[10..14].iter().sum::<i64>() as f64 * 10.0
}
