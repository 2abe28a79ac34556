//! The `.dds` folder beside the notebook: names, places and safe writing.

use dds_core::{Cx, Error, Kind, Result};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Longest name of a data set or model, in bytes.
pub const MAX_NAME: usize = 100;

/// `.dds` in the current folder.
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    pub fn beside(cx: &Cx) -> Self {
        Self { root: cx.absolute(".dds") }
    }

    pub fn data_file(&self, name: &str) -> PathBuf {
        self.root.join("data").join(format!("{name}.toml"))
    }

    pub fn model_dir(&self, name: &str) -> PathBuf {
        self.root.join("models").join(name)
    }

    /// Makes `.dds/<folder>`, and a `.gitignore` that keeps all of `.dds` out of Git.
    pub fn prepare(&self, folder: &str) -> Result<PathBuf> {
        let dir = self.root.join(folder);
        fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, &e))?;
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            write_file(&ignore, b"*\n")?;
        }
        Ok(dir)
    }

    /// Names of the saved data sets, the newest first.
    pub fn data_names(&self) -> Vec<String> {
        self.newest("data", |p| (p.extension()? == "toml").then(|| p.to_path_buf()))
    }

    /// Names of the saved models, the newest first.
    pub fn model_names(&self) -> Vec<String> {
        self.newest("models", |p| {
            let json = p.join("model.json");
            json.is_file().then_some(json)
        })
    }

    /// `dated` gives the file whose age counts, or none for what does not belong here.
    fn newest(&self, folder: &str, dated: impl Fn(&Path) -> Option<PathBuf>) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(folder)) else { return Vec::new() };
        let mut found: Vec<(SystemTime, String)> = entries
            .flatten()
            .filter_map(|e| {
                let path = e.path();
                let age = fs::metadata(dated(&path)?).ok()?.modified().ok()?;
                let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
                let name = name?.to_str()?.to_owned();
                check_name(&name).is_ok().then_some((age, name))
            })
            .collect();
        found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        found.into_iter().map(|(_, n)| n).collect()
    }
}

/// Accepts names that are one safe file name. Errors (`Usage`).
pub fn check_name(name: &str) -> Result<()> {
    let safe = !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.starts_with(['.', '-', ' '])
        && !name.ends_with([' ', '.'])
        && name.chars().all(|c| c.is_alphanumeric() || " ._-+()".contains(c));
    if safe {
        return Ok(());
    }
    Err(Error::usage(format!("not a name: {name:?}")).hint("use letters, digits, '-', '_' and '.'"))
}

/// Makes a name out of a folder's name; `fallback` when nothing is left.
pub fn name_from(text: &str, fallback: &str) -> String {
    let kept: String =
        text.chars().map(|c| if c.is_alphanumeric() || " ._-+()".contains(c) { c } else { '-' }).collect();
    let mut name = kept.trim_matches(['.', '-', ' ']).to_owned();
    while name.len() > MAX_NAME {
        name.pop();
    }
    let name = name.trim_end_matches(['.', ' ']).to_owned();
    if check_name(&name).is_ok() { name } else { fallback.to_owned() }
}

/// Writes a file so that it is either the old or the new one, whatever happens.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |e: std::io::Error| Error::io(path, &e);
    let dir = path.parent().ok_or_else(|| Error::usage(format!("{}: not a file", path.display())))?;
    let mut file =
        tempfile::Builder::new().prefix(".dds-").tempfile_in(dir).map_err(|e| not_begun(path, dir, &e))?;
    file.write_all(bytes).map_err(io)?;
    publish(file.as_file())?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|e| io(e.error))?;
    sync_dir(dir)
}

/// Why nothing can be written to `path` in `dir`. The text of `e` names the temporary file, which means
/// nothing to the user, so only its kind is told.
fn not_begun(path: &Path, dir: &Path, e: &std::io::Error) -> Error {
    if e.kind() == std::io::ErrorKind::NotFound {
        return Error::not_found(format!("{}: its folder does not exist", path.display()))
            .hint(format!("make the folder first: mkdir -p '{}'", dir.display()));
    }
    Error::io(path, &e.kind().into())
        .hint(format!("choose a folder that you may write to instead of {}", dir.display()))
}

/// Temporary files are made private; results are as readable as other files of the user.
fn publish(file: &fs::File) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o644))
            .map_err(|e| Error::new(Kind::Io, format!("setting permissions: {e}")))?;
    }
    Ok(())
}

fn sync_dir(dir: &Path) -> Result<()> {
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|e| Error::io(dir, &e))
}

/// Puts a folder with exactly `files` at `dir`: complete under a temporary name, then renamed. An
/// older folder there is put back when the rename fails.
pub fn write_folder(dir: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    let io = |e: std::io::Error| Error::io(dir, &e);
    let parent = dir.parent().ok_or_else(|| Error::usage(format!("{}: not a folder", dir.display())))?;
    fs::create_dir_all(parent).map_err(io)?;
    let staged = tempfile::Builder::new()
        .prefix(".dds-")
        .tempdir_in(parent)
        .map_err(|e| not_begun(dir, parent, &e))?;
    let fresh = staged.path().join("new");
    fs::create_dir(&fresh).map_err(io)?;
    for (name, bytes) in files {
        write_file(&fresh.join(name), bytes)?;
    }
    let old = staged.path().join("old");
    let replaced = match fs::rename(dir, &old) {
        Ok(()) => true,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
        Err(e) => return Err(io(e)),
    };
    if let Err(e) = fs::rename(&fresh, dir) {
        if replaced {
            fs::rename(&old, dir).map_err(io)?;
        }
        return Err(io(e));
    }
    sync_dir(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for ok in ["clipart", "Größe 1", "a-b_c.d (2)"] {
            assert!(check_name(ok).is_ok(), "{ok}");
        }
        for bad in ["", ".", "..", ".x", "a/b", "a\\b", "a\0", "-rf", "x.", &"n".repeat(101)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name(&"n".repeat(100)).is_ok());
        assert_eq!(name_from("my:data/..", "data"), "my-data");
        assert_eq!(name_from("...", "data"), "data");
        assert!(check_name(&name_from(&"é".repeat(99), "data")).is_ok());
    }

    #[test]
    fn the_workspace_hides_itself_from_git() {
        let dir = tempfile::tempdir().unwrap();
        let w = Workspace::beside(&Cx::silent(dir.path()));
        assert!(w.data_names().is_empty());
        w.prepare("data").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(".dds/.gitignore")).unwrap(), "*\n");
        write_file(&w.data_file("a"), b"x").unwrap();
        assert_eq!(w.data_names(), ["a"]);
    }

    #[test]
    fn a_folder_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("deep/m");
        write_folder(&target, &[("a", b"1"), ("b", b"2")]).unwrap();
        write_folder(&target, &[("a", b"3")]).unwrap();
        assert_eq!(fs::read(target.join("a")).unwrap(), b"3");
        assert!(!target.join("b").exists());
        assert_eq!(fs::read_dir(dir.path().join("deep")).unwrap().count(), 1);
    }
}
