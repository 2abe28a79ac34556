//! What is compiled, what is found again, and what must not be.

use super::stage::{Stage, Test, plain};
use dds_core::eval::CellError;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub const TESTS: &[Test] = &[
    ("cells_are_found_again", cells_are_found_again),
    ("statics_are_new_in_every_cell", statics_are_new_in_every_cell),
    ("macros_of_cells_in_items_of_cells", macros_of_cells_in_items_of_cells),
    ("included_files_are_read_again", included_files_are_read_again),
    ("a_damaged_cache_is_no_harm", a_damaged_cache_is_no_harm),
    ("local_crates_are_watched", local_crates_are_watched),
    ("two_sessions_build_one_dependency_once", two_sessions_build_one_dependency_once),
    ("crates_of_another_session_are_not_built_again", crates_of_another_session_are_not_built_again),
    ("a_failing_cell_fails_alike_again", a_failing_cell_fails_alike_again),
    ("broken_dependencies_are_reported", broken_dependencies_are_reported),
    ("directives_of_the_compiler", directives_of_the_compiler),
    ("cells_see_no_trace_of_it", cells_see_no_trace_of_it),
];

/// Compiled cells by path, with their inodes, which a cell compiled again would change.
fn kept(cache: &Path) -> BTreeMap<PathBuf, u64> {
    let folders = std::fs::read_dir(cache.join("cells")).into_iter().flatten().flatten();
    folders
        .flat_map(|folder| std::fs::read_dir(folder.path()).unwrap().flatten())
        .map(|entry| (entry.path(), entry.metadata().unwrap().ino()))
        .collect()
}

/// A session's worth of cells in which the order of variables and items could differ.
const NOTEBOOK: [&str; 6] = [
    "#[derive(Debug)]\nstruct Point { x: i32 }\nfn twice(x: i32) -> i32 { 2 * x }\nenum Other { A }",
    "let a = Point { x: 1 };\nlet b = 2;\nlet c = vec![3];\nlet d = String::from(\"4\");",
    "fn thrice(x: i32) -> i32 { 3 * x }\nuse std::collections::{BTreeMap, HashSet};",
    "let sum = a.x + twice(b) + thrice(c[0]);",
    "(sum, &a, &d)",
    "v_is_missing()",
];

fn run_notebook(cache: &Path) -> String {
    let mut stage = Stage::with_cache(Some(cache));
    for code in &NOTEBOOK[..4] {
        stage.value(code);
    }
    let shown = stage.value(NOTEBOOK[4]);
    assert_eq!(stage.error(NOTEBOOK[5]).ename, "Error[E0425]");
    shown
}

fn cells_are_found_again(_: &mut Stage) {
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(run_notebook(cache.path()), "(14, Point { x: 1 }, \"4\")");
    let first = kept(cache.path());
    assert!(first.len() >= 5, "{first:?}");
    // The type `Point` of cells compiled in the first session is that of cells found in the second.
    assert_eq!(run_notebook(cache.path()), "(14, Point { x: 1 }, \"4\")");
    assert_eq!(kept(cache.path()), first, "every cell was found");

    let mut stage = Stage::with_cache(Some(cache.path()));
    stage.value(&NOTEBOOK[0].replace("x: i32 }", "x: i64 }"));
    stage.value("let a = Point { x: 1 << 40 };");
    assert_eq!(stage.value("a.x"), (1_i64 << 40).to_string(), "another type, other code");
    assert_eq!(stage.value("a.x"), (1_i64 << 40).to_string());
    let before = kept(cache.path());
    assert_eq!(stage.value("a.x"), (1_i64 << 40).to_string());
    assert_eq!(kept(cache.path()), before, "the number of the cell does not matter");
    stage.value(":opt 1\na.x");
    assert_eq!(kept(cache.path()).len(), before.len() + 1, "another level is another cell");
}

fn statics_are_new_in_every_cell(stage: &mut Stage) {
    let code = "static N: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(5);\n\
        N.fetch_add(1, std::sync::atomic::Ordering::SeqCst)";
    for _ in 0..3 {
        assert_eq!(stage.value(code), "5");
    }
}

fn macros_of_cells_in_items_of_cells(stage: &mut Stage) {
    // With items in any order this would fail now and then.
    for n in 0..4 {
        stage.value(&format!(
            "fn uses_{n}() -> i32 {{ later_{n}!() }}\nmacro_rules! later_{n} {{ () => {{ {n} }} }}"
        ));
        assert_eq!(stage.value(&format!("uses_{n}()")), n.to_string());
    }
}

fn included_files_are_read_again(stage: &mut Stage) {
    let file = stage.cwd.path().join("text.txt");
    let code = format!("include_str!({file:?})");
    for text in ["one", "two"] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(stage.value(&code), format!("{text:?}"));
    }
}

fn a_damaged_cache_is_no_harm(_: &mut Stage) {
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(Stage::with_cache(Some(cache.path())).value("6 * 7"), "42");
    for path in kept(cache.path()).into_keys() {
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    }
    assert_eq!(Stage::with_cache(Some(cache.path())).value("6 * 7"), "42");
}

fn write_crate(folder: &Path, name: &str, code: &str) {
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(folder.join("src/lib.rs"), code).unwrap();
}

fn local_crates_are_watched(stage: &mut Stage) {
    let folder = stage.cwd.path().join("watched");
    write_crate(&folder, "watched", "pub fn n() -> i32 { 1 }");
    let (value, record) = stage.run(":dep watched = { path = \"watched\" }\nwatched::n()");
    assert_eq!(value.unwrap().unwrap().plain(), "1");
    let told = format!("{:?}", record.all());
    assert!(told.contains("Compiling watched v0.1.0 (1)") && told.contains("Compiled 1 crate."), "{told}");
    write_crate(&folder, "watched", "pub fn n() -> i32 { 22 }");
    assert_eq!(stage.value("watched::n()"), "22");
}

/// A crate with a build script that notes every compilation in the file returned.
fn noting_crate(folder: &Path, name: &str) -> PathBuf {
    write_crate(folder, name, "pub fn n() -> i32 { 3 }");
    let note = folder.with_file_name(format!("{name}-built"));
    let script = format!(
        "use std::io::Write; fn main() {{ let mut f = std::fs::OpenOptions::new().append(true).create(true)\
         .open({note:?}).unwrap(); f.write_all(b\"x\").unwrap(); println!(\"cargo::rerun-if-changed=src\"); }}"
    );
    std::fs::write(folder.join("build.rs"), script).unwrap();
    note
}

fn crates_of_another_session_are_not_built_again(_: &mut Stage) {
    let place = tempfile::tempdir().unwrap();
    let (cache, folder) = (place.path().join("cache"), place.path().join("ahead"));
    let note = noting_crate(&folder, "ahead");
    let code = format!(":dep ahead = {{ path = {folder:?} }}\nahead::n()");
    for told in ["Compiling ahead v0.1.0 (1)", ""] {
        let (value, record) = Stage::with_cache(Some(&cache)).run(&code);
        assert_eq!(value.unwrap().unwrap().plain(), "3");
        let shown = format!("{:?}", record.all());
        assert!(shown.contains(told) && (!told.is_empty() || record.all().is_empty()), "{shown}");
    }
    assert_eq!(std::fs::read_to_string(&note).unwrap(), "x");
    assert!(dds_eval::caches(&cache).deps > 0);
    assert!(dds_eval::prune(&cache, true).unwrap() > 0);
    assert_eq!(dds_eval::caches(&cache).deps, 0);
}

fn a_failing_cell_fails_alike_again(stage: &mut Stage) {
    let mut both = || ["missing + 1", "let ok = 1;\nlet bad: u8 = \"x\";"].map(|code| stage.error(code));
    let (first, second) = (both(), both());
    // The same words, each with the name of its own cell.
    let told = |error: &CellError| {
        let text = plain(&error.traceback);
        let (before, name) = text.split_once("cell [").unwrap_or_else(|| panic!("no cell is named: {text}"));
        let (number, after) = name.split_once(']').unwrap();
        (format!("{before}cell{after}"), number.parse::<u32>().unwrap())
    };
    for (a, b) in first.iter().zip(&second) {
        assert_eq!(a.evalue, b.evalue);
        assert_eq!(told(a).0, told(b).0);
        assert_eq!(told(a).1 + 2, told(b).1);
    }
    assert!(told(&first[0]).0.contains("cell:1:1"), "{first:?}");
    assert!(told(&first[1]).0.contains("cell:2:15"), "{first:?}");
    // What was missing comes to be.
    stage.error("later::n()");
    write_crate(&stage.cwd.path().join("later"), "later", "pub fn n() -> i32 { 8 }");
    assert_eq!(stage.value(":dep later = { path = \"later\" }\nlater::n()"), "8");
}

fn two_sessions_build_one_dependency_once(_: &mut Stage) {
    let place = tempfile::tempdir().unwrap();
    let cache = place.path().join("cache");
    let folder = place.path().join("shared");
    let note = noting_crate(&folder, "shared");
    let sessions: Vec<_> = (0..2)
        .map(|_| {
            let (cache, code) =
                (cache.clone(), format!(":dep shared = {{ path = {folder:?} }}\nshared::n()"));
            std::thread::spawn(move || Stage::with_cache(Some(&cache)).value(&code))
        })
        .collect();
    for session in sessions {
        assert_eq!(session.join().unwrap(), "3");
    }
    assert_eq!(std::fs::read_to_string(&note).unwrap(), "x");
    let plans = std::fs::read_dir(cache.join("deps")).unwrap().flatten();
    let plans: usize =
        plans.filter_map(|t| Some(std::fs::read_dir(t.path().join("plans")).ok()?.count())).sum();
    assert_eq!(plans, 2, "one without the dependency, one with it");
}

fn broken_dependencies_are_reported(stage: &mut Stage) {
    let folder = stage.cwd.path().join("broken");
    write_crate(&folder, "broken", "pub fn n() -> i32 { \"text\" }");
    let error = stage.error(":dep broken = { path = \"broken\" }\nbroken::n()");
    assert!(!error.evalue.is_empty());
    assert!(!plain(&error.traceback).contains("plans"), "{error:?}");
    write_crate(&folder, "broken", "pub fn n() -> i32 { 1 }");
    assert_eq!(stage.value(":dep broken = { path = \"broken\" }\nbroken::n()"), "1");
}

fn directives_of_the_compiler(stage: &mut Stage) {
    stage.value(":linker system");
    assert_eq!(stage.value("1 + 10"), "11");
    stage.error(":linker no-such-linker\n1 + 11");
    assert_eq!(stage.value(":linker system\n1 + 11"), "12");
    stage.value(":build_env DDS_TEST_VALUE=some text");
    assert_eq!(stage.value("env!(\"DDS_TEST_VALUE\")"), "\"some text\"");
    stage.value(":build_env DDS_TEST_VALUE=other");
    assert_eq!(stage.value("env!(\"DDS_TEST_VALUE\")"), "\"other\"");
    stage.value(":cache 100");
    assert_eq!(stage.value("1 + 12"), "13");
    stage.value(":cache 0");
    assert_eq!(stage.value(":offline 1\n1 + 13"), "14");
    stage.value(":offline 0");
}

fn cells_see_no_trace_of_it(stage: &mut Stage) {
    let code = "std::env::vars().filter(|(name, value)| name.starts_with(\"DDS_\") || \
        name == \"RUST_SRC_PATH\" || (name == \"PATH\" && value.contains(\"tools\"))).count()";
    assert_eq!(stage.value(code), "0");
}
