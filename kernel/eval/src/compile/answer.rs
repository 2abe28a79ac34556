//! The role in cargo's place: from the question to the answer.

use super::deps::{Built, Progress};
use super::digest::Key;
use super::layout::write_whole;
use super::plan::{self, Manifest, Plan};
use super::replay::{self, Failures};
use super::request::{Ask, Request};
use super::rustc::{Compiled, Emit, Linking};
use super::source::Ordered;
use super::stand::restore_environment;
use super::toolchain::Toolchain;
use super::tools::{self, Tools};
use super::{cells, deps, predict, rustc};
use serde_json::Value;
use std::cell::LazyCell;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Errors of crates that are not what the plan says they are.
const STALE: [&str; 5] = ["E0460", "E0461", "E0462", "E0463", "E0514"];

/// Answers evcxr, or becomes cargo.
pub(crate) fn role() -> ! {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let Some(request) = Request::read(words.clone()) else { be_the_real_one(&words) };
    match answer(&request) {
        Ok(code) => std::process::exit(code),
        Err(why) => be_cargo(&request, &why),
    }
}

/// cargo, exactly as asked.
fn be_cargo(request: &Request, why: &io::Error) -> ! {
    eprintln!("cargo compiles this: {why}");
    // What was compiled last is not what lies there.
    let _ = std::fs::remove_file(request.session.source());
    let error = request.cargo().args(&request.words).exec();
    eprintln!("{} cannot be started: {error}", request.cargo.display());
    std::process::exit(1)
}

/// Somebody has started the program whose name we bear.
fn be_the_real_one(words: &[std::ffi::OsString]) -> ! {
    let mut command = Command::new("mold");
    restore_environment(&mut command);
    let error = command.args(words).exec();
    eprintln!("mold cannot be started: {error}");
    std::process::exit(127)
}

fn answer(request: &Request) -> io::Result<i32> {
    if request.needs_cargo {
        return Err(io::Error::other("crates are to be wrapped"));
    }
    match request.ask {
        Ask::Build => build(request, Emit::Link),
        Ask::Check => build(request, Emit::Check),
        Ask::Metadata => metadata(request),
        Ask::Other => Err(io::Error::other("no question about a cell")),
    }
}

/// Versions that are on this machine are good enough; the network is asked when they do not do.
fn metadata(request: &Request) -> io::Result<i32> {
    if request.offline {
        return Err(io::Error::other("it is offline already"));
    }
    let output = request.cargo().arg("--offline").args(&request.words).output()?;
    if !output.status.success() {
        return Err(io::Error::other("something has to be downloaded"));
    }
    write_out(&output.stdout, &output.stderr)?;
    Ok(0)
}

fn build(request: &Request, emit: Emit) -> io::Result<i32> {
    let original = std::fs::read_to_string(request.folder.join("src/lib.rs"))?;
    let ordered = Ordered::of(&original, emit == Emit::Link);
    if emit == Emit::Link
        && let Some(message) = predict::failure(&ordered, &original)
    {
        write_out(b"", message.as_bytes())?;
        return Ok(101);
    }
    let manifest = std::fs::read_to_string(request.folder.join("Cargo.toml"))?;
    let manifest =
        Manifest::read(&manifest).ok_or_else(|| io::Error::other("an unknown form of manifest"))?;
    let toolchain = request.toolchain()?;
    let folder = plan::folder(request, &toolchain, &manifest);
    let progress = LazyCell::new(|| Progress::to(&request.session.progress()));
    let plan = match deps::plan(request, &toolchain, &manifest, &folder, &|line| progress.tell(line))? {
        Built::Plan(plan) => plan,
        Built::Failed { code, stdout, stderr } => {
            write_out(&stdout, &stderr)?;
            return Ok(code);
        }
    };
    let level = std::env::var("CARGO_PROFILE_DEV_OPT_LEVEL").unwrap_or(manifest.opt_level);
    let cell = Cell {
        request,
        toolchain: &toolchain,
        plan: &plan,
        folder: &folder,
        level: &level,
        ordered: &ordered,
    };
    write_whole(&request.session.source(), ordered.text.as_bytes())?;
    match emit {
        Emit::Check => report(&cell.compile(&cell.options(&Linking::Cc(None)), emit)?, &ordered),
        Emit::Link => cell.link(),
    }
}

/// One cell and what it is compiled with.
struct Cell<'a> {
    request: &'a Request,
    toolchain: &'a Toolchain,
    plan: &'a Plan,
    /// The plan's.
    folder: &'a Path,
    level: &'a str,
    ordered: &'a Ordered,
}

impl Cell<'_> {
    fn options(&self, linking: &Linking<'_>) -> Vec<String> {
        rustc::options(self.toolchain, self.plan, &self.request.target, self.level, linking)
    }

    fn compile(&self, options: &[String], emit: Emit) -> io::Result<Compiled> {
        rustc::compile(&self.request.session, self.toolchain, self.plan, options, emit)
    }

    fn link(&self) -> io::Result<i32> {
        let request = self.request;
        let tools = Tools::of(request, self.toolchain)?;
        let store = |mut options: Vec<String>| {
            if self.ordered.uses_crate {
                options
                    .extend(["--extern".to_owned(), format!("{}={}", tools::STORE, tools.store.display())]);
            }
            options
        };
        let by_cc = Linking::Cc(request.linker.as_deref().filter(|name| *name != "system"));
        let direct = tools.linker.as_ref().filter(|_| {
            request.linker.is_none()
                && !request.rustflags.contains("link")
                && self.plan.links_directly(self.folder)
        });
        let options = store(self.options(&direct.map_or(by_cc, Linking::Direct)));
        let mut context = Key::new("context 1");
        context.part(&self.toolchain.id).parts(&options);
        self.plan.feed(&mut context);
        let context = context.hex();
        let mut key = Key::new("cell 1");
        key.part(&context).part(&self.ordered.text);
        let key = key.hex();
        let so = request.session.out().join(format!("lib{}.so", rustc::CRATE));
        std::fs::create_dir_all(request.session.out())?;
        if cells::get(&request.cache, &key, &so).is_some() {
            hand_over(request, &so)?;
            return Ok(0);
        }
        let failures = Failures::of(&request.session, context);
        if let Some(messages) = failures.known(&self.ordered.text) {
            return report(
                &Compiled { success: false, code: 101, messages, depends_on_more: true },
                self.ordered,
            );
        }
        let mut compiled = self.compile(&options, Emit::Link)?;
        if !compiled.success && direct.is_some() && replay::is_of_linker(&compiled.messages) {
            compiled = self.compile(&store(self.options(&Linking::Cc(None))), Emit::Link)?;
            if compiled.success {
                Plan::link_by_cc(self.folder);
            }
        }
        if !compiled.success {
            failures.remember(&self.ordered.text, &compiled.messages);
            return report(&compiled, self.ordered);
        }
        if !compiled.depends_on_more
            && let Err(error) = cells::put(&request.cache, &key, &so)
        {
            eprintln!("the cell is not kept: {error}");
        }
        hand_over(request, &so)?;
        Ok(0)
    }
}

/// Tells evcxr where the result is.
fn hand_over(request: &Request, so: &Path) -> io::Result<()> {
    let result = request.result.as_ref().ok_or_else(|| io::Error::other("no place for the result"))?;
    std::fs::write(result, so.as_os_str().as_encoded_bytes())
}

fn report(compiled: &Compiled, ordered: &Ordered) -> io::Result<i32> {
    let messages = String::from_utf8_lossy(&compiled.messages);
    let mut out = String::new();
    for line in messages.lines() {
        match serde_json::from_str::<Value>(line) {
            Ok(mut message) => {
                if message["code"]["code"].as_str().is_some_and(|code| STALE.contains(&code)) {
                    return Err(io::Error::other("the plan does not hold"));
                }
                give_lines_back(&mut message, ordered);
                out.push_str(&message.to_string());
            }
            Err(_) => out.push_str(line),
        }
        out.push('\n');
    }
    write_out(b"", out.as_bytes())?;
    Ok(if compiled.success { 0 } else { compiled.code })
}

/// Lines as evcxr numbers them, in a message and all that it has inside.
fn give_lines_back(message: &mut Value, ordered: &Ordered) {
    match message {
        Value::Object(fields) => {
            if fields.get("file_name").is_some_and(|name| name == "src/lib.rs") {
                for field in ["line_start", "line_end"] {
                    if let Some(line) = fields.get(field).and_then(Value::as_u64) {
                        fields.insert(field.to_owned(), ordered.line_of_original(line).into());
                    }
                }
            }
            fields.values_mut().for_each(|value| give_lines_back(value, ordered));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| give_lines_back(value, ordered)),
        _ => {}
    }
}

fn write_out(stdout: &[u8], stderr: &[u8]) -> io::Result<()> {
    io::stdout().write_all(stdout)?;
    io::stderr().write_all(stderr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_are_given_back_at_any_depth() {
        let ordered = Ordered::of("#![allow(x)]\nstruct B;\nstruct A;\n", true);
        let span = |file: &str, line: u64| json!({"file_name": file, "line_start": line, "line_end": line});
        let mut message = json!({"spans": [span("src/lib.rs", 2)], "children": [
            {"spans": [{"file_name": "/std.rs", "line_start": 2, "expansion": {"span": span("src/lib.rs", 3)}}]}]});
        give_lines_back(&mut message, &ordered);
        assert_eq!(message["spans"][0], span("src/lib.rs", 3));
        let child = &message["children"][0]["spans"][0];
        assert_eq!((&child["line_start"], &child["expansion"]["span"]), (&json!(2), &span("src/lib.rs", 2)));
    }
}
