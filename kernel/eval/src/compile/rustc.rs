//! The compiler, called for one cell.

use super::layout::Session;
use super::plan::Plan;
use super::toolchain::Toolchain;
use super::tools::Linker;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The name that evcxr gives to the crate of a cell.
pub(super) const CRATE: &str = "ctx";
/// Types of the cells' crate are the same type in every cell of every session: cells that were
/// compiled in another session must agree with those compiled in this one.
const METADATA: &str = "metadata=dds-cell-1";

/// What is made of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emit {
    /// A shared object.
    Link,
    /// Nothing but the errors.
    Check,
}

pub(super) struct Compiled {
    pub success: bool,
    pub code: i32,
    /// rustc's messages, one JSON object a line.
    pub messages: Vec<u8>,
    /// The result depends on more than the code and the plan: files included, variables read.
    pub depends_on_more: bool,
}

/// Compiles `src/lib.rs` of the session.
pub(super) fn compile(
    session: &Session,
    toolchain: &Toolchain,
    plan: &Plan,
    options: &[String],
    emit: Emit,
) -> io::Result<Compiled> {
    let out = session.out();
    std::fs::create_dir_all(&out)?;
    let mut command = Command::new(&toolchain.rustc);
    super::stand::restore_environment(&mut command);
    command.args(options).args(&plan.record.args);
    command.arg("--out-dir").arg(&out).envs(&plan.record.env);
    // The job server of the cargo that was recorded is gone, which rustc would warn of.
    command.env_remove("CARGO_MAKEFLAGS").env_remove("MAKEFLAGS").env_remove("MFLAGS");
    command.arg(match emit {
        Emit::Link => "--emit=link,dep-info",
        Emit::Check => "--emit=metadata",
    });
    // For `env!`, and for macros that look for files.
    command.env("CARGO_MANIFEST_DIR", session.folder().parent().unwrap_or(session.folder()));
    command.current_dir(session.folder()).stdin(Stdio::null());
    let output = command.output()?;
    let notes = std::fs::read_to_string(out.join(format!("{CRATE}.d")));
    Ok(Compiled {
        success: output.status.success(),
        code: output.status.code().unwrap_or(1),
        messages: output.stderr,
        depends_on_more: emit == Emit::Link && notes.map_or(true, |notes| names_more(&notes)),
    })
}

/// How a cell is linked.
pub(super) enum Linking<'a> {
    /// By the linker itself.
    Direct(&'a Linker),
    /// By the C compiler, with the linker of this name if there is one.
    Cc(Option<&'a str>),
}

/// The arguments that belong to cells and not to their dependencies; part of a cell's key.
pub(super) fn options(
    toolchain: &Toolchain,
    plan: &Plan,
    target: &str,
    opt_level: &str,
    linking: &Linking<'_>,
) -> Vec<String> {
    let mut options: Vec<String> = [
        "--crate-name",
        CRATE,
        "--edition=2024",
        "src/lib.rs",
        "--crate-type",
        "cdylib",
        "--error-format=json",
        "--target",
        target,
        "-C",
        METADATA,
        "-C",
        &format!("opt-level={opt_level}"),
        // One unit compiles faster than several, and the code is small.
        "-C",
        "codegen-units=1",
        "-C",
        "debug-assertions=on",
        "-C",
        "overflow-checks=on",
        // A panic names the lines of the calls that led to it. Costs 5 to 10 ms of CPU time a cell.
        "-C",
        "debuginfo=line-tables-only",
        // evcxr shows no warnings.
        "-Awarnings",
    ]
    .map(str::to_owned)
    .to_vec();
    // Run paths are absolute, because the object is moved between folders.
    let run_paths = library_folders(toolchain, plan);
    match linking {
        Linking::Direct(linker) => {
            options.push(format!("-Clinker={}", linker.program.display()));
            options.push("-Clinker-flavor=ld.lld".to_owned());
            options.extend(linker.folders.iter().map(|folder| format!("-Clink-arg=-L{}", folder.display())));
            // Cells are small: threads and optimisation take longer than they save.
            options.extend(["-Clink-arg=--threads=1", "-Clink-arg=-O0"].map(str::to_owned));
            options.extend(run_paths.iter().map(|folder| format!("-Clink-arg=-rpath={}", folder.display())));
        }
        Linking::Cc(name) => {
            options.extend(name.map(|name| format!("-Clink-arg=-fuse-ld={name}")));
            options
                .extend(run_paths.iter().map(|folder| format!("-Clink-arg=-Wl,-rpath,{}", folder.display())));
        }
    }
    options
}

/// Where shared objects of the standard library and of dependencies lie.
fn library_folders(toolchain: &Toolchain, plan: &Plan) -> Vec<PathBuf> {
    let mut folders = vec![toolchain.libdir.clone()];
    for (_, path) in externs(&plan.record.args) {
        let path = Path::new(path);
        if path.extension().is_some_and(|extension| extension == "so") {
            folders.extend(path.parent().map(Path::to_owned));
        }
    }
    folders.sort();
    folders.dedup();
    folders
}

/// `(name, path)` of every `--extern` with a path.
pub(super) fn externs(args: &[String]) -> impl Iterator<Item = (&str, &str)> {
    args.windows(2).filter_map(|pair| match pair {
        [flag, value] if flag == "--extern" => value.split_once('='),
        _ => None,
    })
}

/// What cargo told rustc, less what [`options`] says anew.
pub(super) fn shared_args(args: &[String]) -> Vec<String> {
    /// Flags with their value in the next argument.
    const WITH_VALUE: [&str; 6] =
        ["--crate-name", "--crate-type", "--out-dir", "--target", "--check-cfg", "--emit"];
    const ALONE: [&str; 8] = [
        "--edition=",
        "--error-format=",
        "--json=",
        "--emit=",
        "--diagnostic-width=",
        "--color=",
        "--crate-type=",
        "--target=",
    ];
    const CODEGEN: [&str; 12] = [
        "opt-level=",
        "embed-bitcode=",
        "codegen-units=",
        "metadata=",
        "extra-filename=",
        "incremental=",
        "strip=",
        "debuginfo=",
        "overflow-checks=",
        "debug-assertions=",
        "rpath",
        "split-debuginfo=",
    ];
    let codegen = |value: &str| CODEGEN.iter().any(|prefix| value.starts_with(prefix));
    let mut kept = Vec::new();
    let mut words = args.iter().peekable();
    while let Some(word) = words.next() {
        let codegen_next = word == "-C" && words.peek().is_some_and(|value| codegen(value));
        if WITH_VALUE.contains(&word.as_str()) || codegen_next {
            words.next();
        } else if word == "src/lib.rs"
            || ALONE.iter().any(|prefix| word.starts_with(prefix))
            || word.strip_prefix("-C").is_some_and(codegen)
        {
            // Said anew.
        } else {
            kept.push(word.clone());
            if word == "-C" || word == "--extern" || word == "-L" || word == "-l" || word == "--cfg" {
                kept.extend(words.next().cloned());
            }
        }
    }
    kept
}

/// Whether a file of dependencies (`a: b c`, `# env-dep:NAME`) names more than the code itself.
fn names_more(notes: &str) -> bool {
    notes.lines().any(|line| {
        line.starts_with("# env-dep:")
            || line
                .split_once(": ")
                .is_some_and(|(_, files)| !line.starts_with('#') && files.trim() != "src/lib.rs")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dependencies_need_is_shared() {
        let told = "--crate-name ctx --edition=2024 src/lib.rs --error-format=json --json=artifacts \
            --crate-type cdylib --emit=dep-info,link -C embed-bitcode=no -C strip=debuginfo \
            --check-cfg cfg(docsrs,test) -C metadata=1 --out-dir /o --target x -C linker=clang \
            -L dependency=/d --extern image=/d/libimage.rlib -L native=/n -Cprefer-dynamic -C debuginfo=0";
        let told: Vec<String> = told.split_whitespace().map(str::to_owned).collect();
        let shared = shared_args(&told).join(" ");
        assert_eq!(
            shared,
            "-C linker=clang -L dependency=/d --extern image=/d/libimage.rlib -L native=/n -Cprefer-dynamic"
        );
        assert_eq!(externs(&told).collect::<Vec<_>>(), [("image", "/d/libimage.rlib")]);
    }

    #[test]
    fn included_files_are_noticed() {
        assert!(!names_more("/o/libctx.so: src/lib.rs\n\n/o/ctx.d: src/lib.rs\n\nsrc/lib.rs:\n"));
        assert!(names_more("/o/libctx.so: src/lib.rs data.txt\n"));
        assert!(names_more("/o/libctx.so: src/lib.rs\n\n# env-dep:HOME=/root\n"));
    }
}
