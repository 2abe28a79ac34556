//! The files of the project, and how they are written: all of them, or none.

use super::cells::{RUNTIME_FOLDER, Read};
use dds_core::{Error, Kind, Result};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The edition that cells are compiled with.
const EDITION: &str = "2024";

/// Shows a value as its cell does: nothing for `()`, and for what has no `Debug`.
const SHOW: &str = r#"
/// Prints the value of a cell's last expression, as the notebook shows it: nothing for `()`, and
/// nothing for what has no `Debug`.
macro_rules! show {
    ($value:expr) => {{
        #[allow(unused_imports)]
        use show_value::{ByDebug as _, Nothing as _};
        (&show_value::Value(&$value)).show()
    }};
}

mod show_value {
    pub struct Value<'a, T: ?Sized>(pub &'a T);

    pub trait ByDebug {
        fn show(&self);
    }

    impl<T: std::fmt::Debug + ?Sized> ByDebug for Value<'_, T> {
        fn show(&self) {
            if std::any::type_name::<T>() != "()" {
                println!("{:?}", self.0);
            }
        }
    }

    pub trait Nothing {
        fn show(&self) {}
    }

    impl<T: ?Sized> Nothing for &Value<'_, T> {}
}
"#;

/// As [`SHOW`], where the cells use the crate `dds`: values that it can display are displayed.
const SHOW_BY_RUNTIME: &str = r#"
/// Shows the value of a cell's last expression, as the notebook does.
macro_rules! show {
    ($value:expr) => {{
        #[allow(unused_imports)]
        use show_value::Nothing as _;
        dds::show::Value::new(&$value).dds_show()
    }};
}

mod show_value {
    /// For what can be shown in no way.
    pub trait Nothing {
        fn dds_show(&self) {}
    }

    impl<T: ?Sized> Nothing for dds::show::Plain<'_, T> {}
}
"#;

/// As [`SHOW`], where the notebook has types with an `evcxr_display` of their own, which comes first.
const SHOW_OWN: &str = r#"
/// Shows the value of a cell's last expression by its own `evcxr_display`, or prints it.
macro_rules! show {
    ($value:expr) => {{
        #[allow(unused_imports)]
        use show_value::ByDebug as _;
        (&$value).evcxr_display()
    }};
}

mod show_value {
    pub trait ByDebug {
        fn evcxr_display(&self);
    }

    impl<T: std::fmt::Debug + ?Sized> ByDebug for T {
        fn evcxr_display(&self) {
            if std::any::type_name::<T>().trim_start_matches('&') != "()" {
                println!("{:?}", self);
            }
        }
    }
}
"#;

/// Path from the project's folder → text.
pub(super) struct Project(Vec<(String, String)>);

impl Project {
    pub(super) fn of(name: &str, notebook: &str, read: &Read) -> Self {
        let mut files = vec![
            ("Cargo.toml".to_owned(), manifest(name, read)),
            (".gitignore".to_owned(), "/target\n".to_owned()),
        ];
        let head = format!("//! The Rust of {}, as `dds export-rs` wrote it.\n\n", one_line(notebook));
        let attributes: String = read.attributes.iter().map(|a| format!("{a}\n")).collect();
        let allow =
            "#![allow(unused, clippy::all, non_snake_case, non_camel_case_types, non_upper_case_globals)]\n";
        let code = code(read);
        if read.items.has_value("main") {
            // The notebook has a `main` of its own, which its cells call.
            let main = "mod notebook;\n\nfn main() -> Result<(), Box<dyn std::error::Error>> {\n    \
                        notebook::run_cells()\n}\n";
            files.push(("src/main.rs".into(), format!("{head}{attributes}{allow}\n{main}")));
            files.push(("src/notebook.rs".into(), format!("//! The cells.\n\n{code}")));
        } else {
            files.push(("src/main.rs".into(), format!("{head}{attributes}{allow}\n{code}")));
        }
        if read.uses_runtime {
            let version = env!("CARGO_PKG_VERSION");
            let manifest = format!(
                "[package]\nname = \"dds\"\nversion = {version:?}\nedition = \"2024\"\npublish = false\n"
            );
            files.push((format!("{RUNTIME_FOLDER}/Cargo.toml"), manifest));
            let sources = dds_eval::runtime_source().iter();
            files.extend(
                sources.map(|(path, text)| (format!("{RUNTIME_FOLDER}/src/{path}"), (*text).to_owned())),
            );
        }
        Self(files)
    }

    /// Writes the files and gives their names. Errors: `Conflict` when one is there and `force` is not
    /// given; then none has been written.
    pub(super) fn write(&self, dir: &Path, force: bool) -> Result<Vec<String>> {
        let there: Vec<&str> = self
            .0
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|n| dir.join(n).symlink_metadata().is_ok())
            .collect();
        if !there.is_empty() && !force {
            return Err(Error::new(
                Kind::Conflict,
                format!("{} has {} already", dir.display(), there.join(", ")),
            )
            .hint("choose another folder, or replace them with --force"));
        }
        for (name, text) in &self.0 {
            let path = dir.join(name);
            let folder = path.parent().unwrap_or(dir);
            let io = |e: std::io::Error| Error::io(&path, &e);
            std::fs::create_dir_all(folder).map_err(io)?;
            let mut file = tempfile::Builder::new().prefix(".dds-").tempfile_in(folder).map_err(io)?;
            let text = if name.starts_with("src/") { formatted(text) } else { text.clone() };
            file.write_all(text.as_bytes()).map_err(io)?;
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
            file.persist(&path).map_err(|e| io(e.error))?;
        }
        Ok(self.0.iter().map(|(name, _)| name.clone()).collect())
    }
}

fn manifest(name: &str, read: &Read) -> String {
    let opt = read.opt_level.as_ref().map(|level| match level.parse::<u8>() {
        Ok(level) => format!("\n[profile.dev]\nopt-level = {level}\n"),
        Err(_) => format!("\n[profile.dev]\nopt-level = {level:?}\n"),
    });
    format!(
        "[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"{EDITION}\"\npublish = false\n\n\
         [dependencies]\n{}{}\n# A project of its own, wherever it lies.\n[workspace]\n",
        read.dependencies.toml(),
        opt.unwrap_or_default()
    )
}

fn code(read: &Read) -> String {
    let body = read.body.join("\n");
    let items = read.items.text();
    let mut out = items.clone();
    let own_main = read.items.has_value("main");
    let (visible, name) = if own_main { ("pub ", "run_cells") } else { ("", "main") };
    let result = "Result<(), Box<dyn std::error::Error>>";
    // A macro must stand before its uses, and `show!` is used by the cells alone.
    if body.contains("show!(") {
        let show = match (items.contains("fn evcxr_display"), read.uses_runtime) {
            (true, _) => SHOW_OWN,
            (false, true) => SHOW_BY_RUNTIME,
            (false, false) => SHOW,
        };
        out = format!("{}\n{out}", show.trim_start());
    }
    if read.awaits {
        out.push_str(&format!(
            "\n{visible}fn {name}() -> {result} {{\n    tokio::runtime::Runtime::new()?.block_on(cells())\n}}\n\n\
             async fn cells() -> {result} {{\n{body}\nOk(())\n}}\n"
        ));
    } else {
        out.push_str(&format!("\n{visible}fn {name}() -> {result} {{\n{body}\nOk(())\n}}\n"));
    }
    out
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// By rustfmt where there is one; as it stands otherwise.
fn formatted(text: &str) -> String {
    let run = || -> std::io::Result<Option<String>> {
        let mut child = Command::new("rustfmt")
            .args(["--edition", EDITION, "--emit", "stdout", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdin = child.stdin.take();
        let input = text.to_owned();
        // rustfmt may write before it has read everything.
        let feed =
            std::thread::spawn(move || stdin.as_mut().map_or(Ok(()), |i| i.write_all(input.as_bytes())));
        let out = child.wait_with_output()?;
        let fed = feed.join().is_ok_and(|r| r.is_ok());
        let text = String::from_utf8(out.stdout).ok();
        Ok(text.filter(|t| fed && out.status.success() && !t.trim().is_empty()))
    };
    run().ok().flatten().unwrap_or_else(|| text.to_owned())
}
