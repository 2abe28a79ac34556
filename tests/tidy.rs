//! House rules that a machine can check: every file says what it is, none is huge, no test is
//! switched off or bound to a fixed port, and the files that every project carries are there.

use crate::tree::{Source, root, sources};

/// Lines from which a file needs a reason to be that long.
const LONG_FILE: usize = 700;
/// Longer files and why they are one file.
const LONG_WITH_REASON: &[(&str, &str)] = &[];
const VAGUE_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "misc", "common", "mod"];
/// Written apart, so that this file does not break its own rule.
const IGNORED: &str = concat!("#[", "ignore");

fn untidy_rust(file: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let Source { path, text } = file;
    // The test half of a module is explained by the module beside it.
    if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
        found.push(format!("{path}: does not open with `//!`"));
    }
    let lines = text.lines().count();
    if lines > LONG_FILE && !LONG_WITH_REASON.iter().any(|(long, _)| long == path) {
        found.push(format!("{path}: {lines} lines; split it, or list it with a reason"));
    }
    let stem = path.rsplit('/').next().unwrap_or("").trim_end_matches(".rs");
    if VAGUE_NAMES.contains(&stem) {
        found.push(format!("{path}: name it after what it holds"));
    }
    if text.contains(IGNORED) {
        found.push(format!("{path}: a test is switched off"));
    }
    found
}

/// Places where a port other than 0 is bound or, in a test that starts servers, asked for.
fn fixed_ports(file: &Source) -> Vec<String> {
    let starts_servers = file.path.starts_with("tests/");
    let numbered = file.text.lines().enumerate();
    numbered
        .filter(|(_, line)| binds_fixed_port(line) || (starts_servers && asks_for_fixed_port(line)))
        .map(|(n, line)| format!("{}:{}: fixed port: {}", file.path, n + 1, line.trim()))
        .collect()
}

/// `bind("127.0.0.1:8080")`, `bind(("127.0.0.1", 8080))`.
fn binds_fixed_port(line: &str) -> bool {
    let calls = ["bind(", "listen(", "create_server("].iter().filter_map(|call| line.split_once(call));
    let mut parts = calls.flat_map(|(_, rest)| {
        rest.split_once(')').map_or(rest, |(inside, _)| inside).split([':', ',', '"']).map(str::trim)
    });
    parts.any(|part| !part.contains('.') && begins_with_port(part))
}

/// `"--port", "8080"`, `--port=8080`.
fn asks_for_fixed_port(line: &str) -> bool {
    let mut values = line
        .match_indices("--port")
        .map(|(at, flag)| line[at + flag.len()..].trim_start_matches(['"', '\'', ',', ' ', '=']));
    values.any(begins_with_port)
}

fn begins_with_port(text: &str) -> bool {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<u32>().is_ok_and(|n| (1..=65_535).contains(&n))
}

fn all_rust() -> Vec<Source> {
    sources(&["kernel", "magics", "tests"], &["rs"])
}

#[test]
fn rust_files_are_tidy() {
    let files = all_rust();
    assert!(files.len() > 50, "the walk finds the tree");
    let found: Vec<String> = files.iter().flat_map(untidy_rust).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_reason_is_still_needed() {
    let files = all_rust();
    for (path, reason) in LONG_WITH_REASON {
        let file = files.iter().find(|f| f.path == *path).unwrap_or_else(|| panic!("{path} is gone"));
        assert!(file.text.lines().count() > LONG_FILE, "{path} is short again ({reason})");
    }
}

#[test]
fn tests_take_free_ports() {
    let mut files = sources(&["kernel", "magics"], &["rs"]);
    files.extend(sources(&["tests"], &["rs", "py"]));
    files.retain(|f| f.path != "tests/tidy.rs"); // holds bad samples
    let found: Vec<String> = files.iter().flat_map(fixed_ports).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn what_every_project_carries_is_there() {
    for path in [
        "Cargo.lock",
        "CHANGELOG.md",
        "LICENSE",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "LICENSE-THIRD-PARTY.md",
        "README.md",
        ".ci/run",
        "tests/run",
        "tests/requirements.txt",
        "tests/bench/RESULTS.md",
    ] {
        let size = std::fs::metadata(root().join(path)).map(|m| m.len()).unwrap_or(0);
        assert!(size > 0, "{path} is missing or empty");
    }
}

#[test]
fn every_manifest_takes_the_workspaces_lints_and_versions() {
    for file in sources(&["kernel", "magics"], &["toml"]) {
        if !file.path.ends_with("Cargo.toml") {
            continue;
        }
        assert!(file.text.contains("[lints]\nworkspace = true"), "{}", file.path);
        let own = file.text.lines().find(|l| l.contains("version = \""));
        assert!(own.is_none(), "{}: {own:?} belongs into the workspace's manifest", file.path);
    }
}

#[test]
fn peers_are_pinned() {
    let text = std::fs::read_to_string(root().join("tests/requirements.txt")).expect("requirements");
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        assert!(line.split_once("==").is_some_and(|(_, v)| !v.is_empty()), "{line} is not pinned");
    }
}

#[test]
fn the_checker_sees_each_kind_of_untidiness() {
    let good = Source::new("magics/x/src/good.rs", "//! What it is.\nfn f() {}\n");
    assert_eq!(untidy_rust(&good), Vec::<String>::new());
    let long = format!("//! Long.\n{}", "\n".repeat(LONG_FILE + 1));
    let ignored = format!("//! Off.\n#[test]\n{IGNORED}]\nfn t() {{}}\n");
    for (path, text) in [
        ("magics/x/src/silent.rs", "fn f() {}\n"),
        ("magics/x/src/utils.rs", "//! Things.\n"),
        ("magics/x/src/x/mod.rs", "//! A module.\n"),
        ("magics/x/src/long.rs", long.as_str()),
        ("magics/x/src/off.rs", ignored.as_str()),
    ] {
        assert_eq!(untidy_rust(&Source::new(path, text)).len(), 1, "{path}");
    }
}

#[test]
fn the_checker_sees_fixed_ports() {
    let seen = |line: &str| fixed_ports(&Source::new("tests/x.py", line)).len();
    for line in [
        "let l = TcpListener::bind(\"127.0.0.1:8080\");",
        "sock.bind((\"127.0.0.1\", 8888))",
        "run([\"serve\", \"--port\", \"9000\"])",
        "dds serve . --port=9000",
        "dds serve . --port 9000",
    ] {
        assert_eq!(seen(line), 1, "{line}");
    }
    for line in [
        "let l = TcpListener::bind(\"127.0.0.1:0\");",
        "sock.bind((\"127.0.0.1\", 0))",
        "run([\"serve\", \"--port\", \"0\"])",
        "let u = \"http://127.0.0.1:8080/o/r\"; // parsed only",
        "run([\"app\", \"--port\", str(port)])",
    ] {
        assert_eq!(seen(line), 0, "{line}");
    }
}
