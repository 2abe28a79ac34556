mod lines;
mod real;
mod several;

use super::*;
use dds_core::eval::{CommMessage, Completion, Evaluator, Interrupter, Known, RunTime, Stream};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Condvar;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for something that another thread does.
fn wait_for(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::yield_now();
    }
}

/// Everything a cell showed, in order.
#[derive(Default)]
struct Shown(Mutex<Vec<Out>>);

#[derive(Clone, Debug, PartialEq)]
enum Out {
    Text(Stream, String),
    Display(MimeBundle),
    Update(String, MimeBundle, bool),
}

impl Shown {
    fn all(&self) -> Vec<Out> {
        self.0.lock().unwrap().clone()
    }

    fn displays(&self) -> Vec<MimeBundle> {
        self.all().into_iter().filter_map(|o| if let Out::Display(b) = o { Some(b) } else { None }).collect()
    }

    fn text(&self, stream: Stream) -> String {
        self.all()
            .iter()
            .filter_map(|o| if let Out::Text(s, t) = o { (*s == stream).then_some(t.as_str()) } else { None })
            .collect()
    }
}

impl CellSink for Shown {
    fn stream(&self, stream: Stream, text: &str) {
        self.0.lock().unwrap().push(Out::Text(stream, text.to_owned()));
    }

    fn display(&self, bundle: &MimeBundle) {
        self.0.lock().unwrap().push(Out::Display(bundle.clone()));
    }

    fn display_with_id(&self, bundle: &MimeBundle, id: &str, update: bool) {
        self.0.lock().unwrap().push(Out::Update(id.to_owned(), bundle.clone(), update));
    }
}

/// Evaluates `NAME = VALUE`, `NAME`, `print TEXT`, `fail`, `spin` (until interrupted), `where`.
struct Toy {
    vars: HashMap<String, String>,
    cwd: PathBuf,
    /// A second for each cell.
    ran: RunTime,
    stop: Arc<Stop>,
    /// Pieces of work that are left for idle time.
    chores: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Stop(AtomicBool);

impl Interrupter for Stop {
    fn interrupt(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn toy_error(text: &str) -> CellError {
    CellError { ename: "Toy".into(), evalue: text.into(), traceback: vec![text.into()] }
}

impl Evaluator for Toy {
    fn execute(
        &mut self,
        code: &str,
        sink: &Arc<dyn CellSink>,
        _: &Cx,
    ) -> Result<Option<MimeBundle>, CellError> {
        self.stop.0.store(false, Ordering::SeqCst);
        self.ran.wall += Duration::from_secs(1);
        let lines = code.lines().count();
        match code.trim() {
            "fail" => Err(toy_error(&format!("line {lines}"))),
            "spin" => {
                sink.stream(Stream::Stdout, "spinning");
                while !self.stop.0.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                Err(toy_error("stopped"))
            }
            "where" => Ok(Some(MimeBundle::text(self.cwd.display().to_string()))),
            other => match (other.split_once(" = "), other.strip_prefix("print ")) {
                (Some((name, value)), _) => {
                    self.vars.insert(name.into(), value.into());
                    Ok(None)
                }
                (_, Some(text)) => {
                    sink.stream(Stream::Stdout, text);
                    Ok(None)
                }
                _ => Ok(self.vars.get(other).map(MimeBundle::text)),
            },
        }
    }

    fn complete(&mut self, code: &str, cursor: usize) -> Completions {
        let items = vec![Completion { text: code.to_owned(), kind: "toy".into(), signature: String::new() }];
        Completions { start: cursor, end: cursor, items }
    }

    fn inspect(&mut self, _: &str, _: usize) -> Option<MimeBundle> {
        Some(MimeBundle::text("toy"))
    }

    fn display_text(&mut self, expr: &str, _: &str, _: &Cx) -> Result<String, CellError> {
        if expr.contains("black_box") {
            // A measurement: the expression stands on the second line.
            let expr = expr.lines().nth(1).unwrap_or_default();
            return self.vars.get(expr).map(|v| format!("10 [{v}]")).ok_or_else(|| toy_error(expr));
        }
        self.vars.get(expr).cloned().ok_or_else(|| toy_error("no such variable"))
    }

    fn idle(&mut self) -> bool {
        let before = self.chores.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        before.is_ok_and(|before| before > 1)
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.stop.clone()
    }

    fn set_cwd(&mut self, dir: &Path) -> Result<(), CellError> {
        self.cwd = dir.to_owned();
        Ok(())
    }

    fn set_env(&mut self, name: &str, value: Option<&str>) -> Result<(), CellError> {
        let name = format!("${name}");
        match value {
            Some(value) => drop(self.vars.insert(name, value.to_owned())),
            None => drop(self.vars.remove(&name)),
        }
        Ok(())
    }

    fn take_run_time(&mut self) -> Option<RunTime> {
        Some(std::mem::take(&mut self.ran))
    }

    fn known(&self) -> Option<Arc<dyn Known>> {
        Some(Arc::new(Remembered))
    }

    fn comms(&self) -> Option<Arc<dyn CommDoor>> {
        Some(Arc::new(Remembered))
    }
}

/// What the toy says while it is lent.
struct Remembered;

impl Known for Remembered {
    fn complete(&self, code: &str, cursor: usize) -> Completions {
        let text = format!("known in {code}");
        let items = vec![Completion { text, kind: "toy".into(), signature: String::new() }];
        Completions { start: 0, end: cursor, items }
    }

    fn inspect(&self, code: &str, _: usize) -> Option<MimeBundle> {
        Some(MimeBundle::text(format!("known of {code}")))
    }
}

impl CommDoor for Remembered {
    fn targets(&self) -> Vec<String> {
        vec!["toy".into()]
    }

    fn deliver(&self, _: CommMessage, _: Arc<dyn CellSink>) -> Result<()> {
        Ok(())
    }
}

fn toy() -> MakeEvaluator {
    toy_with(Arc::default())
}

fn toy_with(chores: Arc<AtomicUsize>) -> MakeEvaluator {
    Box::new(|| {
        let (vars, stop) = (HashMap::new(), Arc::default());
        Ok(Box::new(Toy { vars, cwd: PathBuf::from("/"), ran: RunTime::default(), stop, chores }))
    })
}

/// Engines that echo what they are asked for. `cat slow` works until it is interrupted.
#[derive(Default)]
pub(super) struct Echo {
    pub uploads: Mutex<Vec<String>>,
    /// The hosts of each new configuration.
    pub hosts: Mutex<Vec<String>>,
    pub closed: AtomicBool,
}

fn echo(name: &str, request: &impl std::fmt::Debug, cx: &Cx) -> Result<Outcome> {
    let result = json!({"request": format!("{request:?}"), "cwd": cx.cwd});
    Ok(Outcome::new(format!("{name} <ok>"), result).detail("a & b"))
}

macro_rules! echoes {
    ($($method:ident: $request:ty),*) => {
        $(fn $method(&self, r: &$request, cx: &Cx) -> Result<Outcome> {
            echo(stringify!($method), r, cx)
        })*
    };
}

impl DataEngine for Echo {
    echoes!(ls: rq::Ls, tree: rq::Tree, head: rq::Head, diff: rq::Diff, log: rq::Log, upload: rq::Upload, clone_repo: rq::Clone, fetch: rq::Fetch, login: rq::Login, logout: rq::Logout);

    fn stat(&self, r: &rq::Stat, _: &Cx) -> Result<Outcome> {
        Err(Error::not_found(format!("{} does not exist\u{1b}[31m", r.target)).hint("see `dds ls`"))
    }

    fn cat(&self, r: &rq::Cat, cx: &Cx) -> Result<Outcome> {
        if r.target == "slow" {
            let end = Instant::now() + DEADLINE;
            while Instant::now() < end {
                cx.items("reading", 1, 4);
                cx.cancel.check()?;
                std::thread::yield_now();
            }
        }
        echo("cat", r, cx)
    }
}

impl MountEngine for Echo {
    echoes!(mount: rq::Mount, unmount: rq::Unmount, mounts: rq::Mounts, order: rq::Order, status: rq::Status, commit: rq::Commit, discard: rq::Discard);
}

impl LearnEngine for Echo {
    echoes!(
        data: rq::Data, batch: rq::Batch, probe: rq::Probe, confusion: rq::Confusion,
        top_losses: rq::TopLosses, export: rq::Export, load: rq::Load,
        verify: rq::Verify, convert: rq::Convert
    );

    fn show(&self, r: &rq::Show, cx: &Cx) -> Result<Outcome> {
        cx.sink.note("one file was skipped");
        Ok(echo("show", r, cx)?.display(MimeBundle::text("grid")))
    }

    fn predict(&self, r: &rq::Predict, cx: &Cx) -> Result<Outcome> {
        cx.sink.display(&MimeBundle::text("on the way"));
        Ok(echo("predict", r, cx)?.display(MimeBundle::text("cat 0.9")))
    }

    fn names(&self) -> Vec<String> {
        vec!["birds".into()]
    }
}

pub(super) struct Bench {
    pub session: Arc<Session>,
    pub echo: Arc<Echo>,
    pub dir: tempfile::TempDir,
}

pub(super) fn bench_with(make: MakeEvaluator) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let cwd = dir.path().join("desk");
    let uploads = dir.path().join("uploads");
    std::fs::create_dir(&cwd).unwrap();
    std::fs::create_dir(&uploads).unwrap();
    let echo = Arc::new(Echo::default());
    let (after, end, told) = (echo.clone(), echo.clone(), echo.clone());
    let services = Services {
        data: echo.clone(),
        mount: echo.clone(),
        learn: echo.clone(),
        uploaded: Box::new(move |r, _| {
            after.uploads.lock().unwrap().push(r.to.clone());
            Ok(())
        }),
        notes: Arc::default(),
        reconfigure: Box::new(move |config| told.hosts.lock().unwrap().push(config.dagshub_host.clone())),
        close: Box::new(move || end.closed.store(true, Ordering::SeqCst)),
    };
    let config = Arc::new(Config {
        exe: "/nowhere/dds".into(),
        cache_dir: dir.path().join("cache"),
        config_dir: dir.path().join("config"),
        data_dir: dir.path().join("data"),
        runtime_dir: dir.path().join("run"),
        dagshub_host: "https://dagshub.com".into(),
        dagshub_token: None,
        dagshub_login: None,
        threads: 1,
        peers: Default::default(),
    });
    let session = Session::new(services, Place { config, cwd, uploads: Some(uploads) }, make).unwrap();
    Bench { session, echo, dir }
}

pub(super) fn bench() -> Bench {
    bench_with(toy())
}

impl Bench {
    fn run(&self, code: &str) -> (Result<Option<MimeBundle>, CellError>, Arc<Shown>) {
        let shown = Arc::new(Shown::default());
        let sink: Arc<dyn CellSink> = shown.clone();
        (self.session.run_cell(code, &sink), shown)
    }

    fn error(&self, code: &str) -> CellError {
        self.run(code).0.unwrap_err()
    }
}

/// A bench whose evaluator does not come until the switch is thrown.
fn held_back() -> (Bench, Arc<(Mutex<bool>, Condvar)>) {
    let gate: Arc<(Mutex<bool>, Condvar)> = Arc::default();
    let theirs = gate.clone();
    let make: MakeEvaluator = Box::new(move || {
        let open = theirs.0.lock().unwrap();
        drop(theirs.1.wait_while(open, |open| !*open).unwrap());
        toy()()
    });
    (bench_with(make), gate)
}

fn open(gate: &(Mutex<bool>, Condvar)) {
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
}

#[test]
fn segments_run_in_order_and_values_go_into_commands() {
    let b = bench();
    let (value, shown) = b.run("x = a b\n%dds cat {x}/c\nprint done\n%dds mounts\nx");
    assert_eq!(value.unwrap().unwrap().plain(), "a b");
    let kinds: Vec<String> = shown
        .all()
        .iter()
        .map(|o| match o {
            Out::Text(_, t) => t.clone(),
            Out::Display(d) => d.metadata["dds"]["command"].as_str().unwrap().to_owned(),
            Out::Update(..) => "update".into(),
        })
        .collect();
    assert_eq!(kinds, ["cat", "done", "mounts"]);
    let cat = &shown.displays()[0];
    assert_eq!(cat.metadata["dds"]["result"]["request"], "Cat { target: \"a b/c\" }");
    assert_eq!(cat.plain(), "cat <ok>\na & b");
    let html = cat.data["text/html"].as_str().unwrap();
    assert!(
        html.contains("cat &lt;ok&gt;") && html.contains("a &amp; b") && !html.contains("<ok>"),
        "{html}"
    );
}

#[test]
fn earlier_values_are_displayed_and_the_last_one_returned() {
    let b = bench();
    let (value, shown) = b.run("x = 1\n");
    assert_eq!(value.unwrap(), None);
    assert!(shown.all().is_empty());
    let (value, shown) = b.run("x\n%dds mounts");
    assert_eq!(value.unwrap(), None);
    assert_eq!(shown.displays()[0].plain(), "1");
}

#[test]
fn the_first_error_ends_the_cell_and_names_its_line() {
    let b = bench();
    let (result, shown) = b.run("print a\n%dds stat x.jpg\nprint b");
    let e = result.unwrap_err();
    assert_eq!((e.ename.as_str(), e.evalue.as_str()), ("NotFound", "x.jpg does not exist\\u{1b}[31m"));
    assert_eq!(
        e.traceback,
        [
            "\u{1b}[31;1mNotFound\u{1b}[0m: x.jpg does not exist\\u{1b}[31m",
            "\u{1b}[2min line 2 of the cell\u{1b}[0m",
            "\u{1b}[36mhint:\u{1b}[0m see `%dds ls`",
        ]
    );
    assert_eq!(shown.text(Stream::Stdout), "a");
    assert_eq!(b.error("%dds shwo x").traceback.len(), 2);
    assert_eq!(b.error("%matplotlib inline").ename, "Usage");
    assert_eq!(b.error("%dds show {nothing}").ename, "Toy");
    // The compiler's line numbers are those of the cell.
    assert_eq!(b.error("%dds mounts\n\nfail").evalue, "line 3");
}

#[test]
fn a_token_is_not_repeated_in_an_error() {
    let b = bench();
    for code in
        ["%dds upload --token hunter2", "x = 1\n%dds clone u --token=hunter2", "%dds ls --tokn=hunter2"]
    {
        let e = b.error(code);
        assert!(!format!("{e:?}").contains("hunter2"), "{e:?}");
    }
}

#[test]
fn commands_do_not_wait_for_the_compiler() {
    let (b, gate) = held_back();
    let (result, shown) = b.run("// only commands\n%dds mounts\n%%dds data\npath = \"art\"");
    assert_eq!(result.unwrap(), None);
    assert_eq!(shown.displays().len(), 2);
    assert_eq!(b.session.complete("%dds mou", 8).items.len(), 2);
    // Rust waits until it is there.
    let session = b.session.clone();
    let cell = std::thread::spawn(move || {
        let sink: Arc<dyn CellSink> = Arc::new(Shown::default());
        session.run_cell("where", &sink)
    });
    open(&gate);
    let value = cell.join().unwrap().unwrap().unwrap();
    assert_eq!(value.plain(), b.dir.path().join("desk").display().to_string());
}

#[test]
fn an_interrupt_ends_the_wait_for_the_compiler() {
    let (b, gate) = held_back();
    let session = b.session.clone();
    let cell = std::thread::spawn(move || {
        let sink: Arc<dyn CellSink> = Arc::new(Shown::default());
        session.run_cell("1 + 1", &sink)
    });
    wait_for("the cell", || !b.session.running().is_empty());
    b.session.interrupt();
    assert_eq!(cell.join().unwrap().unwrap_err().ename, "Interrupted");
    open(&gate);
}

#[test]
fn an_evaluator_that_cannot_start_says_so_and_leaves_commands_alone() {
    let b = bench_with(Box::new(|| Err(Error::new(Kind::Unavailable, "no rustc").hint("install Rust"))));
    let e = b.error("1 + 1");
    assert_eq!((e.ename.as_str(), e.evalue.as_str()), ("Unavailable", "no rustc"));
    assert!(b.run("%dds mounts").0.is_ok());
    assert!(b.session.complete("let a", 5).items.is_empty());
}

#[test]
fn interrupt_stops_commands_rust_and_shell() {
    let b = bench();
    for code in ["%dds cat slow", "spin", "!echo begun; sleep 60"] {
        let session = b.session.clone();
        let shown = Arc::new(Shown::default());
        let sink: Arc<dyn CellSink> = shown.clone();
        let cell = std::thread::spawn(move || session.run_cell(code, &sink));
        wait_for("the cell", || match code {
            "%dds cat slow" => !b.session.running().is_empty(),
            _ => !shown.all().is_empty(),
        });
        b.session.interrupt();
        let e = cell.join().unwrap().unwrap_err();
        assert!(["Interrupted", "Toy"].contains(&e.ename.as_str()), "{code}: {e:?}");
        assert!(b.session.running().is_empty());
    }
    // The next cell is not affected.
    assert!(b.run("%dds mounts\nx = 1").0.is_ok());
}

#[test]
fn progress_is_one_display_that_ends_as_a_line() {
    let b = bench();
    let session = b.session.clone();
    let shown = Arc::new(Shown::default());
    let sink: Arc<dyn CellSink> = shown.clone();
    let cell = std::thread::spawn(move || session.run_cell("%dds cat slow", &sink));
    let updates = |n: usize| shown.all().iter().filter(|o| matches!(o, Out::Update(..))).count() >= n;
    wait_for("progress", || updates(2));
    b.session.interrupt();
    assert!(cell.join().unwrap().is_err());
    let all = shown.all();
    let Some(Out::Update(id, first, false)) = all.first() else { panic!("{all:?}") };
    assert_eq!(first.plain(), "[██████··················] reading 1/4");
    assert!(all.iter().skip(1).all(|o| matches!(o, Out::Update(i, _, true) if i == id)));
    let Some(Out::Update(_, last, true)) = all.last() else { panic!() };
    assert!(last.plain().starts_with("reading 1/4 · "), "{}", last.plain());
    // A quick command shows none.
    assert!(!b.run("%dds mounts").1.all().iter().any(|o| matches!(o, Out::Update(..))));
}

#[test]
fn notes_and_displays_of_a_command() {
    let b = bench();
    let (result, shown) = b.run("%dds show a.jpg");
    assert!(result.is_ok());
    assert_eq!(shown.text(Stream::Stderr), "one file was skipped\n");
    let displays = shown.displays();
    assert_eq!(displays.iter().map(MimeBundle::plain).collect::<Vec<_>>(), ["show <ok>\na & b", "grid"]);
    assert!(displays[0].metadata.contains_key("dds") && !displays[1].metadata.contains_key("dds"));
    let (_, shown) = b.run("%dds show a.jpg --json");
    let displays = shown.displays();
    assert_eq!(displays.len(), 1);
    assert!(displays[0].data["application/json"]["request"].as_str().unwrap().starts_with("Show {"));
    assert!(displays[0].plain().starts_with("{\n"));
}

#[test]
fn shell_lines_stream_and_report_their_end() {
    let b = bench();
    let (result, shown) = b.run("!printf 'a\\n'; printf 'ü' >&2; pwd");
    assert!(result.is_ok(), "{result:?}");
    let cwd = b.dir.path().join("desk").canonicalize().unwrap();
    assert_eq!(shown.text(Stream::Stdout), format!("a\n{}\n", cwd.display()));
    assert_eq!(shown.text(Stream::Stderr), "ü");
    let e = b.error("!exit 3");
    assert_eq!(e.evalue, "the shell line ended with exit status 3");
    assert!(b.error("!kill -9 $$").evalue.contains("signal 9"));
    assert_eq!(b.error("!no-such-program-here").ename, "NotFound");
    assert_eq!(b.error("!").ename, "Usage");
    // All output arrives, also when there is more than a pipe holds.
    let (_, shown) = b.run("!head -c 300000 /dev/zero | tr '\\0' x");
    assert_eq!(shown.text(Stream::Stdout).len(), 300_000);
    // What stays behind does not hold the cell.
    let (result, shown) = b.run("!sleep 30 & echo $!");
    assert!(result.is_ok());
    let pid: i32 = shown.text(Stream::Stdout).trim().parse().unwrap();
    assert!(pid > 1);
    // SAFETY: ends the process that the line above started.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

#[test]
fn cd_moves_commands_shell_and_rust() {
    let b = bench();
    let sub = b.dir.path().join("desk/sub dir");
    std::fs::create_dir(&sub).unwrap();
    let (value, shown) = b.run("%dds cd 'sub dir'\n!pwd\nwhere");
    assert_eq!(value.unwrap().unwrap().plain(), sub.display().to_string());
    assert!(shown.text(Stream::Stdout).trim().ends_with("/desk/sub dir"));
    let (_, shown) = b.run("%dds -C .. ls");
    assert_eq!(
        shown.displays()[0].metadata["dds"]["result"]["cwd"],
        b.dir.path().join("desk").to_str().unwrap()
    );
    assert_eq!(b.error("%dds cd nowhere").ename, "NotFound");
    std::fs::write(sub.join("file"), "").unwrap();
    assert_eq!(b.error("%dds cd file").ename, "Usage");
    assert_eq!(b.run("where").0.unwrap().unwrap().plain(), sub.display().to_string());
}

#[test]
fn an_upload_refreshes_the_mounts() {
    let b = bench();
    assert!(b.run("%dds upload a.png --to art/new").0.is_ok());
    assert_eq!(*b.echo.uploads.lock().unwrap(), ["art/new"]);
}

#[test]
fn completion_and_inspection_are_shared_between_commands_and_rust() {
    let b = bench();
    wait_for("the evaluator", || !b.session.complete("a", 1).items.is_empty());
    let found = b.session.complete("x\n%dds ls\ny", 11);
    assert_eq!(found.items[0].text, "x\n       \ny");
    std::fs::create_dir(b.dir.path().join("desk/art")).unwrap();
    std::fs::write(b.dir.path().join("desk/art.txt"), "").unwrap();
    std::fs::write(b.dir.path().join("desk/.hidden"), "").unwrap();
    let texts = |code: &str| {
        let items = b.session.complete(code, code.chars().count()).items;
        items.into_iter().map(|i| i.text).collect::<Vec<_>>()
    };
    assert_eq!(
        texts("%dds ls ar"),
        ["art/"].map(String::from).into_iter().chain(["art.txt".into()]).collect::<Vec<String>>()
    );
    assert_eq!(texts("%dds ls "), ["art/", "art.txt"]);
    assert_eq!(texts("%dds ls ../desk/ar"), ["../desk/art/", "../desk/art.txt"]);
    assert_eq!(texts("%dds predict x --model bi"), ["birds"]);
    assert!(b.session.inspect("%dds show", 7).unwrap().plain().starts_with("show: "));
    assert_eq!(b.session.inspect("vec", 1).unwrap().plain(), "toy");
}

#[test]
fn completeness_in_the_kernels_words() {
    let b = bench();
    for (code, expected) in [
        ("let a = 1;", IsComplete::Complete),
        ("fn f() {", IsComplete::Incomplete("    ".into())),
        ("}", IsComplete::Invalid),
        ("%dds ls", IsComplete::Complete),
    ] {
        assert_eq!(b.session.is_complete(code), expected, "{code}");
    }
}

#[test]
fn a_large_result_does_not_fill_the_notebook() {
    let big = Outcome::new("many", json!({"all": "x".repeat(MAX_RESULT_BYTES)}));
    let shown = output::bundles("ls", &big, false);
    assert_eq!(shown[0].metadata["dds"], json!({"command": "ls", "omitted": true}));
    let fits = Outcome::new("few", json!("x".repeat(MAX_RESULT_BYTES - 2)));
    assert!(output::bundles("ls", &fits, false)[0].metadata["dds"]["result"].is_string());
    assert!(output::bundles("x", &Outcome::default(), false).is_empty());
}

#[test]
fn shutdown_stops_the_cell_and_unmounts() {
    let b = bench();
    let session = b.session.clone();
    let shown = Arc::new(Shown::default());
    let sink: Arc<dyn CellSink> = shown.clone();
    let cell = std::thread::spawn(move || session.run_cell("spin\n%dds mounts", &sink));
    wait_for("the cell", || !shown.all().is_empty());
    b.session.shutdown();
    assert!(cell.join().unwrap().is_err());
    assert!(b.echo.closed.load(Ordering::SeqCst));
    assert_eq!(b.error("%dds mounts").ename, "Interrupted");
}
