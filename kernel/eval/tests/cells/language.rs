//! Completion and inspection.

use super::stage::{Stage, Test, plain};
use dds_core::Kind;
use dds_core::eval::{Completion, Completions, Evaluator};

pub const TESTS: &[Test] = &[
    ("completions", completions),
    ("inspections", inspections),
    ("known_while_a_cell_runs", known_while_a_cell_runs),
    ("directives", directives),
    ("redefinitions", redefinitions),
    ("waiting_for_futures", waiting_for_futures),
    ("types_of_the_standard_library", types_of_the_standard_library),
    ("types_that_hold_stand_ins", types_that_hold_stand_ins),
];

fn offered(found: &Completions, text: &str) -> Completion {
    let item = found.items.iter().find(|item| item.text == text);
    item.unwrap_or_else(|| panic!("{text} is not offered: {found:?}")).clone()
}

fn completions(stage: &mut Stage) {
    stage.value("let words = vec![String::new()];");
    let code = "let é = 1;\n%dds show ü\nwords.pu";
    let cursor = code.chars().count();
    let found = stage.evaluator.complete(code, cursor);
    assert_eq!((found.start, found.end), (cursor - 2, cursor));
    let push = found.items.iter().find(|item| item.text == "push").expect("push is offered");
    assert_eq!((push.kind.as_str(), push.signature.as_str()), ("function", "push(value)"));
    assert!(!found.items.iter().any(|item| item.text.contains("evcxr")));
    let found = stage.evaluator.complete(":va", 3);
    assert!(found.items.iter().any(|item| item.text == ":vars"), "{found:?}");
    for code in ["\"words.pu", "// words.pu", "let s = \"{wor"] {
        assert!(stage.evaluator.complete(code, code.chars().count()).items.is_empty(), "{code}");
    }
    let mut complete = |code: &str| stage.evaluator.complete(code, code.chars().count());
    offered(&complete("use std::collections::HashM"), "HashMap");
    assert_eq!(offered(&complete("std::me"), "mem::").kind, "module");
    assert_eq!(offered(&complete("words.len().wrap"), "wrapping_add").kind, "function");
    assert!(stage.evaluator.complete("", 0).items.len() <= 500);
    let _ = stage.evaluator.complete("é", 99);
}

fn inspections(stage: &mut Stage) {
    stage.value("let words: Vec<String> = Vec::new();");
    let found = stage.evaluator.inspect("words", 2).expect("a variable is known");
    assert!(found.plain().contains("Vec<String>"), "{found:?}");
    let code = "/* é */ words.push(";
    let found = stage.evaluator.inspect(code, code.chars().count()).expect("a method is known");
    assert!(found.plain().contains("fn push"), "{found:?}");
    assert_eq!(stage.evaluator.inspect("  ", 1), None);
}

/// What is known answers without the evaluator, which a cell would be using.
fn known_while_a_cell_runs(stage: &mut Stage) {
    stage.value("let numbers = vec![1_i32, 2];\n/// Adds one.\nfn my_fun(x: i32) -> i32 { x + 1 }\nuse std::collections::BTreeMap;");
    let known = stage.evaluator.known().expect("knowledge");
    let complete = |code: &str| known.complete(code, code.chars().count());
    offered(&complete("my_f"), "my_fun");
    offered(&complete("numb"), "numbers");
    offered(&complete("BTree"), "BTreeMap");
    assert_eq!(offered(&complete("numbers.pu"), "push").signature, "", "not asked about yet");
    while stage.evaluator.idle() {}
    assert_eq!(offered(&complete("numbers.pu"), "push").signature, "push(value)");
    offered(&complete("std::collections::HashM"), "HashMap");
    assert_eq!(known.inspect("numbers", 3).unwrap().plain(), "numbers: Vec<i32>");
    assert_eq!(known.inspect("my_fun(1)", 3).unwrap().plain(), "fn my_fun(x: i32) -> i32\n\nAdds one.");
    // Variables that are moved away are no more.
    stage.value("drop(numbers);");
    assert!(complete("numb").items.is_empty());
}

fn directives(stage: &mut Stage) {
    stage.value("let table = vec![(1, \"a\")];");
    let shown = stage.run(":vars").0.unwrap().unwrap();
    let line = shown.plain().lines().find(|line| line.starts_with("table ")).expect("a row");
    assert!(line.contains("Vec<(i32, &str)>") && line.contains("cell ["), "{line}");
    assert!(shown.data["text/html"].as_str().unwrap().contains("<code>Vec&lt;(i32, &amp;str)&gt;</code>"));
    assert_eq!(stage.value(":type table[0].0 + 1"), "table[0].0 + 1: i32");
    assert_eq!(
        stage.value(":t table.iter().map(|x| x.1).collect::<String>()").rsplit(": ").next(),
        Some("String")
    );
    assert!(stage.error(":t nothing_at_all()").evalue.contains("is not known"));
    let shown = stage.run(":doc Vec::push").0.unwrap().unwrap();
    assert!(
        shown.plain().contains("pub fn push(&mut self, value: T)")
            && shown.plain().contains("\n#### Panics\n"),
        "{shown:?}"
    );
    assert!(shown.data["text/markdown"].as_str().unwrap().starts_with("```rust\n"), "{shown:?}");
    assert_eq!(stage.error(":doc nothing_at_all").ename, Kind::NotFound.name());
    assert!(stage.value(":help").contains(":dep NAME = VERSION"));
    assert!(stage.value(":version").contains("rustc 1."));
    assert!(stage.value(":efmt {:?}").contains("Debug"));
    assert!(stage.error("\"x\".parse::<u8>()?").evalue.contains("InvalidDigit"));
    stage.value(":efmt {}");
    let (_, record) = stage.run(":timing\n1");
    assert!(record.err().contains("Took "), "{}", record.err());
    stage.value(":timing");
    assert!(stage.error(":vras").traceback.join("").contains("`:vars`"));
    // Directives keep the lines of what follows them.
    assert!(stage.error(":vars\n:t 1\n\nno_such_name").traceback.join("").contains("]:4:1"));
}

/// Items, macros, imports and variables may be defined anew, as often as one likes.
fn redefinitions(stage: &mut Stage) {
    stage.value("#[derive(Debug, Clone)] struct R<T> { x: T }\ntrait Speak { fn say(&self) -> String; }\nimpl<T: std::fmt::Debug> Speak for R<T> { fn say(&self) -> String { format!(\"{:?}\", self.x) } }\nmacro_rules! twice { ($e:expr) => { $e * 2 } }\nuse std::collections::HashMap as Map;\nstatic NAME: &str = \"a\";\nconst N: usize = 2;");
    assert_eq!(
        stage.value("(R { x: 1 }.say(), twice!(4), Map::<u8, u8>::new().len(), NAME, N)"),
        "(\"1\", 8, 0, \"a\", 2)"
    );
    stage.value("fn redefined() -> i32 { 1 }");
    stage.value("fn redefined() -> &'static str { \"two\" }\nmacro_rules! twice { ($e:expr) => { $e + $e } }\nstatic NAME: &str = \"b\";");
    assert_eq!(stage.value("(redefined(), twice!(2), NAME)"), "(\"two\", 4, \"b\")");
    stage.value("let same = 1;");
    stage.value("let same = \"text\";");
    assert_eq!(stage.value("same"), "\"text\"");
    // A type that changes takes the variables of the old one with it, and says so.
    stage.value("struct Old { x: i32 }\nlet old = Old { x: 1 };");
    stage.value("struct Old { y: i32 }");
    assert_eq!(stage.value("Old { y: 3 }.y"), "3");
    let said = plain(&stage.error("old.x").traceback);
    assert!(said.contains("defined the type of `old` anew"), "{said}");
}

/// `.await` in a cell needs no setup beyond the crate tokio, which is added by itself.
fn waiting_for_futures(stage: &mut Stage) {
    assert_eq!(stage.value("async fn later(x: i32) -> i32 { x + 1 }\nlater(1).await"), "2");
    stage.value("let kept = later(later(1).await).await;");
    assert_eq!(stage.value("kept"), "3");
    assert_eq!(
        stage.value("async fn may() -> Result<i32, std::num::ParseIntError> { \"7\".parse() }\nmay().await?"),
        "7"
    );
    assert!(stage.error("let r: Result<i32, String> = Err(\"gone\".into());\nr?").evalue.contains("gone"));
}

/// The analysis does not read all of the library's source; what notebooks use must be there.
fn types_of_the_standard_library(stage: &mut Stage) {
    stage.value("use std::collections::*; let map: HashMap<i32, i32> = [(1, 2)].into();");
    for (code, expected) in [
        ("let keys = map.keys().copied().collect::<Vec<_>>(); keys", "[1]"),
        ("let turned = map.iter().map(|(a, b)| (b * 2, *a)).collect::<HashMap<_, _>>(); turned", "{4: 1}"),
        ("let both = HashSet::from([1, 2]).intersection(&[2].into()).count(); both", "1"),
        ("let wide = is_x86_feature_detected!(\"sse2\"); wide as u8 + 1", "2"),
        ("let calls = std::backtrace::Backtrace::disabled(); calls.status()", "Disabled"),
        // Of this the type must be written out.
        ("let four: std::arch::x86_64::__m128 = unsafe { std::arch::x86_64::_mm_set1_ps(1.5) }; 4", "4"),
    ] {
        let is_for_x86 = code.contains("x86");
        if !is_for_x86 || cfg!(target_arch = "x86_64") {
            assert_eq!(stage.value(code), expected, "{code}");
        }
    }
}

/// What std builds on other crates and on the C library is known to the analysis without them.
fn types_that_hold_stand_ins(stage: &mut Stage) {
    let expected = [
        ("HashMap::from([(1, 'a')]).into_iter()", "IntoIter<i32, char>"),
        ("HashMap::from([(1, 2.5)]).into_iter().next()", "Option<(i32, f64)>"),
        ("HashMap::from([(1, 2.5)]).into_values().fold(0.0, |a, b| a + b)", "f64"),
        ("HashMap::from([(1, \"one\")]).get(&1).copied()", "Option<&str>"),
        ("{ let mut m = HashMap::new(); *m.entry('x').or_insert(0_u64) += 1; m }", "Map<char, u64>"),
        ("HashMap::from([(1, 2_i16)]).entry(1).or_default().wrapping_add(1)", "i16"),
        ("HashSet::from([1_u8, 2]).into_iter().map(u32::from).sum::<u32>()", "u32"),
        ("HashSet::from([1_u8]).union(&HashSet::from([2])).copied().collect::<Vec<_>>()", "Vec<u8>"),
        ("HashSet::from(['a']).difference(&HashSet::new()).count()", "usize"),
        ("HashMap::<i32, i32>::with_capacity(4).drain().collect::<BTreeMap<_, _>>()", "BTreeMap<i32, i32>"),
        ("HashMap::from([(1, 2)]).try_reserve(1)", "Result<(), TryReserveError>"),
        ("BTreeMap::from([(1, 'a')]).range(1..).next().map(|(k, v)| (*k, *v))", "Option<(i32, char)>"),
        ("VecDeque::from([1.0, 2.0]).make_contiguous().len()", "usize"),
        ("BinaryHeap::from([3, 1]).into_sorted_vec()", "Vec<i32>"),
        ("std::fs::metadata(\"/\").unwrap()", "Metadata"),
        ("std::fs::metadata(\"/\").unwrap().file_type()", "FileType"),
        ("std::fs::metadata(\"/\").unwrap().permissions()", "Permissions"),
        ("std::fs::metadata(\"/\").unwrap().modified().unwrap()", "SystemTime"),
        ("std::fs::read_dir(\"/\").unwrap()", "ReadDir"),
        ("std::fs::read_dir(\"/\").unwrap().next().unwrap().unwrap()", "DirEntry"),
        ("std::fs::File::open(\"/dev/null\").unwrap()", "File"),
        ("std::io::BufReader::new(std::fs::File::open(\"/dev/null\").unwrap())", "BufReader<File>"),
        ("std::fs::OpenOptions::new()", "OpenOptions"),
        ("std::process::Command::new(\"true\")", "Command"),
        ("std::process::Command::new(\"true\").status().unwrap()", "ExitStatus"),
        ("std::process::Command::new(\"true\").output()", "Result<Output, Error>"),
        ("std::process::Command::new(\"true\").spawn().unwrap()", "Child"),
        ("std::time::Instant::now()", "Instant"),
        ("std::time::Instant::now().elapsed()", "Duration"),
        ("std::time::SystemTime::now()", "SystemTime"),
        ("std::thread::spawn(|| 3_u16)", "JoinHandle<u16>"),
        ("std::thread::Builder::new()", "Builder"),
        ("std::thread::current().id()", "ThreadId"),
        ("std::sync::Mutex::new(vec![1])", "Mutex<Vec<i32>>"),
        ("std::sync::Arc::new(std::sync::RwLock::new(1_i64))", "Arc<RwLock<i64>>"),
        ("std::sync::Condvar::new()", "Condvar"),
        ("std::sync::mpsc::channel::<String>().1", "Receiver<String>"),
        ("std::sync::OnceLock::<u8>::new()", "OnceLock<u8>"),
        ("std::net::TcpListener::bind(\"127.0.0.1:0\").unwrap()", "TcpListener"),
        ("std::net::TcpListener::bind(\"127.0.0.1:0\").unwrap().local_addr().unwrap()", "SocketAddr"),
        ("std::net::UdpSocket::bind(\"127.0.0.1:0\").unwrap()", "UdpSocket"),
        ("\"127.0.0.1\".parse::<std::net::IpAddr>()", "Result<IpAddr, AddrParseError>"),
        ("std::os::unix::net::UnixStream::pair().unwrap()", "(UnixStream, UnixStream)"),
        ("std::io::stdin().lines()", "Lines<StdinLock<'_>>"),
        ("std::io::Error::last_os_error().raw_os_error()", "Option<i32>"),
        ("std::env::args().collect::<Vec<_>>()", "Vec<String>"),
        ("std::env::vars_os()", "VarsOs"),
        ("std::env::temp_dir()", "PathBuf"),
        ("std::ffi::CString::new(\"a\").unwrap()", "CString"),
        ("std::panic::catch_unwind(|| 1_u8)", "Result<u8, Box<dyn Any + Send>>"),
        ("std::backtrace::Backtrace::disabled()", "Backtrace"),
        ("std::hash::RandomState::new()", "RandomState"),
        ("std::hash::DefaultHasher::new()", "DefaultHasher"),
        ("std::alloc::Layout::new::<u64>()", "Layout"),
    ];
    let lines: Vec<String> =
        expected.iter().enumerate().map(|(i, (value, _))| format!("let v{i:02} = {value};")).collect();
    stage.value(&format!("use std::{{any::Any, collections::*}};\n{}", lines.join("\n")));
    let shown = stage.run(":vars").0.unwrap().unwrap();
    let plain = shown.plain();
    for (i, (value, ty)) in expected.iter().enumerate() {
        let name = format!("v{i:02} ");
        let line = plain
            .lines()
            .find(|line| line.starts_with(&name))
            .unwrap_or_else(|| panic!("{value} in {plain}"));
        assert!(without_paths(line).contains(ty), "{value}: {line}");
    }
}

/// Types by their last names: `Vec<File>` of `Vec<std::fs::File>`.
fn without_paths(line: &str) -> String {
    let words = line.split_inclusive(|c: char| c != ':' && c != '_' && !c.is_alphanumeric());
    words.map(|word| word.rsplit("::").next().unwrap_or(word)).collect()
}
