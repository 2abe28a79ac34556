//! `dds export-rs`: a notebook with everything in it becomes a project that builds, and prints what the
//! notebook's cells print.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// One code cell each.
const CELLS: &[&str] = &[
    "#![allow(unused_variables)]\n// Not an item.\nlet a = 20;\nlet b = 22; // the rest\na + b",
    ":dep itoa = \"1\"\nuse std::collections::{BTreeMap, HashMap as Map};\nuse std::fmt;",
    "/// A point.\n#[derive(Debug, Clone, PartialEq)]\nstruct Point { x: i32 }\nimpl Point { fn twice(&self) -> i32 { self.x * 2 } }\nfn scale() -> i32 { 3 }",
    // The cell that was written again, as in a notebook that was worked in.
    "fn scale() -> i32 { 5 }\nimpl fmt::Display for Point {\n    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result { write!(f, \"<{}>\", self.x) }\n}",
    "let p = Point { x: 4 };\nprintln!(\"{p} {}\", p.twice() * scale());\np",
    "macro_rules! add { ($a:expr, $b:expr) => { $a + $b } }\nconst LIMIT: i32 = 3;\nstatic NAME: &str = \"größe\";\nmod deep { pub fn seven() -> i32 { super::LIMIT + 4 } }\nenum Kind { A, B }",
    "let mut v: Vec<i32> = (0..LIMIT).collect();\nv.push(add!(deep::seven(), 1));\nv",
    "v.push(9)",
    "let text = \"two\n   lines, {a}\";\ntext.len()",
    "let n: i32 = \"12\".parse()?;\nn",
    "%dds ls\n!echo from the shell >&2\nlet a = a + n;",
    "a",
    "fn greet(name: &str) -> String { format!(\"hello {name}\") }\ngreet(NAME)",
    "let mut count = Map::new();\nfor w in [\"x\", \"y\", \"x\"] { *count.entry(w).or_insert(0) += 1; }\nlet sorted: BTreeMap<_, _> = count.into_iter().collect();\nsorted",
    "if a > 3 { \"more\" } else { \"less\" }",
    "let mut buffer = itoa::Buffer::new();\nprintln!(\"{}\", buffer.format(77));",
    "let kind = Kind::B;\nmatch kind { Kind::A => 1, Kind::B => 2 }",
    "let p = Point { x: p.x + 1 };\nprint!(\"no line feed;\");\nprintln!();",
    "p.twice()",
    "%%dds time\nlet timed = 5;",
    "timed + 1",
];

fn dds(desk: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dds"))
        .args(args)
        .current_dir(desk)
        .env("XDG_CACHE_HOME", desk.join("cache"))
        .env("XDG_CONFIG_HOME", desk.join("config"))
        .env("XDG_RUNTIME_DIR", desk)
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("DDS_CACHE")
        .output()
        .expect("dds runs")
}

fn write_notebook(path: &Path, cells: &[&str]) {
    let cells: Vec<Value> = cells
        .iter()
        .map(|c| json!({"cell_type": "code", "metadata": {}, "source": c, "outputs": [], "execution_count": null}))
        .collect();
    let notebook = json!({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells});
    std::fs::write(path, notebook.to_string()).expect("the notebook is written");
}

/// What the cells of an executed notebook printed and showed, commands' own results left out.
fn printed(notebook: &Path) -> String {
    let text = std::fs::read(notebook).expect("the executed notebook");
    let notebook: Value = serde_json::from_slice(&text).expect("JSON");
    let plain = |value: &Value| match value {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    let mut out = String::new();
    for cell in notebook["cells"].as_array().expect("cells") {
        for output in cell["outputs"].as_array().expect("outputs") {
            match output["output_type"].as_str() {
                Some("stream") if output["name"] == "stdout" => out.push_str(&plain(&output["text"])),
                Some("execute_result") => {
                    out.push_str(&format!("{}\n", plain(&output["data"]["text/plain"])))
                }
                _ => {}
            }
        }
    }
    out
}

fn cargo_run(project: &Path) -> Output {
    Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline"])
        .current_dir(project)
        // The project's own settings, not those of the build that runs this test.
        .env_remove("RUSTC_BOOTSTRAP")
        .env_remove("CARGO_UNSTABLE_FEATURE_UNIFICATION")
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .env("CARGO_TARGET_DIR", project.join("target"))
        .output()
        .expect("cargo runs")
}

/// `tests/run --quick` leaves out what compiles whole projects.
fn quick() -> bool {
    std::env::var_os("DDS_QUICK_TESTS").is_some()
}

#[test]
fn the_project_builds_and_prints_what_the_cells_print() {
    if quick() {
        return;
    }
    let desk = tempfile::tempdir().expect("a temporary folder");
    write_notebook(&desk.path().join("all.ipynb"), CELLS);
    let ran = dds(desk.path(), &["exec", "all.ipynb", "--out", "done.ipynb"]);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let expected = printed(&desk.path().join("done.ipynb"));
    assert!(expected.contains("<4> 40\n") && expected.contains("\"hello größe\"\n"), "{expected}");

    let out = dds(desk.path(), &["--json", "export-rs", "all.ipynb", "out"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let told: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!((&told["left_out"], &told["dependencies"]), (&json!([]), &json!(["itoa"])));
    let ran = cargo_run(&desk.path().join("out"));
    let source = std::fs::read_to_string(desk.path().join("out/src/main.rs")).expect("source");
    assert!(ran.status.success(), "{}\n{source}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(String::from_utf8_lossy(&ran.stdout), expected, "{source}");
    assert!(
        source.contains("// in a shell: dds ls") && source.contains("// !echo from the shell"),
        "{source}"
    );
}

#[test]
fn cells_that_await_and_a_main_of_their_own_build_too() {
    if quick() {
        return;
    }
    let desk = tempfile::tempdir().expect("a temporary folder");
    let cells = [
        ":dep tokio = { version = \"1\", features = [\"rt-multi-thread\"] }",
        "async fn later(n: i32) -> Result<i32, std::num::ParseIntError> { Ok(n + 1) }",
        "fn main() { println!(\"a main of its own\"); }",
        "struct Silent;\nlet s = Silent;\ns",
        "struct Shown;\nimpl dds::Display for Shown {\n    fn bundle(&self) -> dds::Bundle { dds::Mime::text(\"as it likes\") }\n}\nShown",
        "use dds::Mime;\ndds::display(&Mime::text(\"on the way\"));",
        "let n = later(1).await?;\nprintln!(\"{}\", later(n).await?);\nn",
        "main()",
    ];
    write_notebook(&desk.path().join("async.ipynb"), &cells);
    let out = dds(desk.path(), &["export-rs", "async.ipynb", "out"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let ran = cargo_run(&desk.path().join("out"));
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "as it likes\non the way\n3\n2\na main of its own\n");
}

#[test]
fn crates_are_compiled_ahead() {
    if quick() {
        return;
    }
    let desk = tempfile::tempdir().expect("a temporary folder");
    let out = dds(desk.path(), &["--json", "install", "--prefix", "there", "--prebuild", "itoa@1"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let told: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(told["built"][0]["crate"], "itoa");
    assert!(desk.path().join("there/share/jupyter/kernels/dds/kernel.json").is_file());
    let out = dds(desk.path(), &["--json", "cache", "--only", "deps"]);
    let told: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert!(told["bytes"].as_u64().is_some_and(|bytes| bytes > 10_000), "{told}");
    // One that does not exist is named.
    let out = dds(desk.path(), &["install", "--prefix", "there", "--prebuild", "no-such-crate-at-all"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("not compiled: no-such-crate-at-all"));
}
