//! In cargo's place for the analysis, which starts cargo a dozen times before it reads a line, and
//! again whenever a dependency is added. Most of its questions have the answer that they had in the
//! last session; the answers are kept, and the rest goes to the toolchain's own cargo.

use super::digest::Key;
use super::layout::{self, write_whole};
use super::library_source;
use super::stand;
use super::toolchain::stamp;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Name under which this program is started for it, in the folder [`HOME`].
pub(super) const LINK: &str = "cargo";
/// Below the folder of links, what the analysis takes for cargo's home.
pub(super) const HOME: &str = "home";
/// The folder of evcxr's crate, and of the library's source, in answers that are kept.
const PLACES: [&str; 2] = ["\u{1}crate\u{1}", "\u{1}library\u{1}"];
/// Variables with these beginnings may change what cargo answers …
const ASKED_VARS: [&str; 2] = ["CARGO", "RUST"];
/// … but for these.
const OTHER_VARS: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_RESOLVER_LOCKFILE_PATH",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "RUST_SRC_PATH",
    "RUST_RECURSION_COUNT",
    "RUSTUP_AUTO_INSTALL",
];
/// Parts of a manifest that say nothing of other crates.
const PLAIN_SECTIONS: [&str; 3] = ["[package]", "[lib]", "[profile.dev]"];

/// Answers the analysis, or becomes cargo.
pub(crate) fn role() -> ! {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match answer(&words) {
        Ok(code) => std::process::exit(code),
        Err(why) => {
            tracing::debug!("cargo answers: {why}");
            let error = cargo().args(&words).exec();
            eprintln!("cargo cannot be started: {error}");
            std::process::exit(1)
        }
    }
}

fn answer(words: &[OsString]) -> io::Result<i32> {
    let words: Option<Vec<&str>> = words.iter().map(|word| word.to_str()).collect();
    let words = words.ok_or_else(|| io::Error::other("a word that is no text"))?;
    let question = Question::of(&words)?;
    let kept = layout::described(&stand::cache().ok_or_else(|| io::Error::other("there is no cache"))?)
        .join(question.key()?);
    if let Ok(answer) = std::fs::read_to_string(&kept) {
        io::stdout().write_all(question.with_paths(&answer).as_bytes())?;
        return Ok(0);
    }
    let output = cargo().args(&words).stderr(Stdio::inherit()).output()?;
    io::stdout().write_all(&output.stdout)?;
    if output.status.success()
        && let Some(answer) =
            String::from_utf8(output.stdout).ok().and_then(|text| question.without_paths(&text))
    {
        // Without it the question is asked again next time.
        let _ = write_whole(&kept, answer.as_bytes());
    }
    Ok(output.status.code().unwrap_or(1))
}

/// The cargo that the analysis would have started, without the detour through rustup where it has
/// named the toolchain.
fn cargo() -> Command {
    let toolchain = toolchain();
    let program = toolchain.as_ref().map(|root| root.join("bin/cargo")).filter(|path| path.is_file());
    let by_home = || stand::cargo_home().map(|home| home.join("bin/cargo")).filter(|path| path.is_file());
    let mut command = Command::new(program.clone().or_else(by_home).unwrap_or_else(|| LINK.into()));
    stand::restore_environment(&mut command);
    if let Some(rustc) = program.and(toolchain).map(|root| root.join("bin/rustc"))
        && rustc.is_file()
        && std::env::var_os("RUSTC").is_none()
    {
        command.env("RUSTC", rustc);
    }
    command.stdin(Stdio::null());
    command
}

/// The toolchain's folder, as the analysis names it.
fn toolchain() -> Option<PathBuf> {
    std::env::var_os("RUSTUP_TOOLCHAIN").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// One question, and where it is asked.
struct Question<'a> {
    words: &'a [&'a str],
    /// The folder of the manifest in question.
    folder: PathBuf,
    /// The folder of the crate and that of the library, as texts.
    paths: [String; 2],
}

impl<'a> Question<'a> {
    /// # Errors
    /// When the answer may be another one next time.
    fn of(words: &'a [&'a str]) -> io::Result<Self> {
        let named = words.windows(2).find(|pair| pair.first() == Some(&"--manifest-path"));
        let folder = match named.and_then(|pair| Path::new(pair.get(1)?).parent()) {
            Some(folder) => folder.to_owned(),
            None => std::env::current_dir()?,
        };
        let library = stand::library_source().ok_or_else(|| io::Error::other("the library is the user's"))?;
        let is_of_library = folder == library;
        let text = |path: &Path| {
            let text = path.to_str().filter(|text| is_plain(text));
            text.map(str::to_owned).ok_or_else(|| io::Error::other("a path that cargo might write otherwise"))
        };
        // Where the library is in question, that of the crate is not.
        let other = if is_of_library { Path::new(PLACES[0]) } else { folder.as_path() };
        let paths = [if is_of_library { other.display().to_string() } else { text(other)? }, text(&library)?];
        let question = Self { words, folder, paths };
        if !is_of_library && !is_fixed(&question.manifest()?) {
            return Err(io::Error::other("the crate depends on others"));
        }
        Ok(question)
    }

    fn manifest(&self) -> io::Result<String> {
        std::fs::read_to_string(self.folder.join("Cargo.toml"))
    }

    /// The name under which the answer is kept: of all that it depends on.
    fn key(&self) -> io::Result<String> {
        let mut key = Key::new("described 1");
        let toolchain = toolchain().ok_or_else(|| io::Error::other("no toolchain is named"))?;
        for program in ["bin/cargo", "bin/rustc"] {
            key.parts(stamp(&toolchain.join(program))?);
        }
        let words: Option<Vec<String>> = self.words.iter().map(|word| self.without_paths(word)).collect();
        key.parts(words.unwrap_or_default());
        key.part(self.without_paths(&self.manifest()?).unwrap_or_default());
        if self.folder.as_os_str() == self.paths[1].as_str() {
            let target = std::fs::read_link(&self.folder)?;
            key.part(target.as_os_str().as_encoded_bytes());
            key.part(library_source::manifests(&target)?);
        }
        let mut vars: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .filter(|(name, _)| ASKED_VARS.iter().any(|start| name.starts_with(start)))
            .filter(|(name, _)| !OTHER_VARS.contains(&name.as_str()))
            .collect();
        vars.sort();
        key.parts(vars.iter().map(|(name, value)| format!("{name}={value}")));
        let home = stand::cargo_home().unwrap_or_default();
        for file in around(&self.folder, &home) {
            key.part(std::fs::read(file).unwrap_or_default());
        }
        Ok(key.hex())
    }

    /// None where the answer cannot be kept: it has the sign for a path in it already.
    fn without_paths(&self, text: &str) -> Option<String> {
        let has_signs =
            PLACES.iter().zip(&self.paths).any(|(sign, path)| path != sign && text.contains(sign));
        (!has_signs).then(|| {
            self.paths.iter().zip(PLACES).fold(text.to_owned(), |text, (path, sign)| text.replace(path, sign))
        })
    }

    fn with_paths(&self, text: &str) -> String {
        self.paths.iter().zip(PLACES).fold(text.to_owned(), |text, (path, sign)| text.replace(sign, path))
    }
}

/// Whether a path reads the same in JSON, in TOML and in an address.
fn is_plain(path: &str) -> bool {
    path.len() > 1 && path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
}

/// Whether nothing but the text of the manifest decides what cargo says of it: no dependency but
/// the crate `dds`, whose folder bears the name of its content.
fn is_fixed(manifest: &str) -> bool {
    let mut sections = manifest.split("\n[");
    let head = sections.next().unwrap_or_default();
    let is_section = |text: &str| {
        let text = format!("[{text}");
        match text.strip_prefix("[dependencies]") {
            Some(lines) => lines.lines().map(str::trim).filter(|line| !line.is_empty()).all(is_runtime),
            None => PLAIN_SECTIONS.iter().any(|name| text.starts_with(name)),
        }
    };
    head.trim().is_empty() && sections.all(is_section)
}

fn is_runtime(line: &str) -> bool {
    let path = line.strip_prefix("dds = { path = \"").and_then(|rest| rest.strip_suffix("\" }"));
    let folder = path.map(Path::new).and_then(|path| path.file_name()?.to_str());
    folder.is_some_and(|name| name.len() == 32 && name.chars().all(|c| c.is_ascii_hexdigit()))
        && path.is_some_and(|path| Path::new(path).parent().is_some_and(|parent| parent.ends_with("rt")))
}

/// Files that cargo looks at besides the manifest: its configuration, and workspaces around it.
fn around(folder: &Path, home: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = folder
        .ancestors()
        .flat_map(|above| [".cargo/config.toml", ".cargo/config"].map(|name| above.join(name)))
        .collect();
    files.extend(["config.toml", "config"].map(|name| home.join(name)));
    files.extend(folder.ancestors().skip(1).map(|above| above.join("Cargo.toml")));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXED: &str = "\n[package]\nname = \"ctx\"\n\n[lib]\npath = \"src/lib.rs\"\n\n[profile.dev]\ndebug = false\n\n[dependencies]\n";

    #[test]
    fn only_crates_without_others_are_kept() {
        assert!(is_fixed(FIXED));
        let with = |line: &str| is_fixed(&format!("{FIXED}{line}\n"));
        assert!(with("dds = { path = \"/home/u/.cache/dds/rt/0123456789abcdef0123456789abcdef\" }"));
        assert!(!with("dds = { path = \"/home/u/dds\" }"));
        assert!(!with("image = \"0.25\"") && !with("\n[patch.crates-io]\na = { path = \"b\" }"));
        assert!(!is_fixed("name = 1\n"));
    }

    #[test]
    fn answers_move_with_their_paths() {
        let question = |paths: [&str; 2]| Question {
            words: &[],
            folder: paths[0].into(),
            paths: paths.map(str::to_owned),
        };
        let (first, second) = (question(["/tmp/a", "/run/source-1"]), question(["/tmp/b", "/run/source-2"]));
        let kept =
            first.without_paths("{\"root\":\"/tmp/a/Cargo.toml\",\"l\":\"/run/source-1/std\"}").unwrap();
        assert_eq!(second.with_paths(&kept), "{\"root\":\"/tmp/b/Cargo.toml\",\"l\":\"/run/source-2/std\"}");
        assert_eq!(first.without_paths("\u{1}crate\u{1}"), None);
        assert!(is_plain("/tmp/.tmpA-1_b") && !is_plain("/tmp/a b") && !is_plain("/tmp/é") && !is_plain("/"));
    }

    #[test]
    fn configurations_above_are_looked_at() {
        let files = around(Path::new("/a/b"), Path::new("/h"));
        for file in ["/a/b/.cargo/config.toml", "/.cargo/config.toml", "/a/Cargo.toml", "/h/config.toml"] {
            assert!(files.contains(&PathBuf::from(file)), "{file}");
        }
        assert!(!files.contains(&PathBuf::from("/a/b/Cargo.toml")));
    }
}
