//! Writes the kernelspec, by which Jupyter finds the kernel.

use dds_core::{Error, Kind, Result};
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The kernelspec's folder name.
pub const KERNEL_NAME: &str = "dds";

/// The logo is `install/logo-svg.svg`; the PNGs are drawn from it by a browser at 32 and 64 pixels.
const LOGOS: [(&str, &[u8]); 3] = [
    ("logo-svg.svg", include_bytes!("install/logo-svg.svg")),
    ("logo-32x32.png", include_bytes!("install/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("install/logo-64x64.png")),
];

/// Where to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallTarget {
    /// The user's own Jupyter folder.
    User,
    /// `PREFIX/share/jupyter`.
    Prefix(PathBuf),
    /// The active Python environment: `VIRTUAL_ENV` or `CONDA_PREFIX`.
    SysPrefix,
}

/// Writes the kernelspec that starts `exe` (absolute) and gives its folder. An older one is replaced
/// file by file, `kernel.json` last, so that Jupyter sees a whole one at any time. `env` reads the
/// environment.
pub fn install(target: InstallTarget, exe: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let exe = exe.to_str().filter(|_| exe.is_absolute()).ok_or_else(|| {
        Error::usage(format!("{}: the kernelspec needs an absolute path in UTF-8", exe.display()))
    })?;
    let dir = data_dir(target, env)?.join("kernels").join(KERNEL_NAME);
    std::fs::create_dir_all(&dir).map_err(|e| denied(&dir, &e))?;
    for (name, bytes) in LOGOS {
        write_atomically(&dir, name, bytes)?;
    }
    let spec = json!({
        "argv": [exe, "kernel", "{connection_file}"],
        "display_name": "Rust (dds)",
        "language": "rust",
        "interrupt_mode": "message",
        "kernel_protocol_version": dds_wire::PROTOCOL_VERSION,
        "env": {},
        "metadata": {"debugger": false},
    });
    let text = format!("{spec:#}\n");
    write_atomically(&dir, "kernel.json", text.as_bytes())?;
    Ok(dir)
}

/// Jupyter's data folder, as `jupyter --paths` would list it.
fn data_dir(target: InstallTarget, env: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match target {
        InstallTarget::Prefix(prefix) => Ok(prefix.join("share").join("jupyter")),
        InstallTarget::SysPrefix => {
            let prefix = set("VIRTUAL_ENV").or_else(|| set("CONDA_PREFIX")).ok_or_else(|| {
                Error::new(Kind::NotFound, "no Python environment is active")
                    .hint("activate one, or name its folder: dds install --prefix DIR")
            })?;
            Ok(prefix.join("share").join("jupyter"))
        }
        InstallTarget::User => {
            if let Some(dir) = set("JUPYTER_DATA_DIR") {
                return Ok(dir);
            }
            let home = || {
                set("HOME").ok_or_else(|| {
                    Error::new(Kind::NotFound, "HOME is not set, so there is no user folder")
                        .hint("name a folder: dds install --prefix DIR")
                })
            };
            if cfg!(target_os = "macos") {
                return Ok(home()?.join("Library").join("Jupyter"));
            }
            match set("XDG_DATA_HOME") {
                Some(data) => Ok(data.join("jupyter")),
                None => Ok(home()?.join(".local").join("share").join("jupyter")),
            }
        }
    }
}

/// Temporary file in the same folder, synced, renamed over `name`.
fn write_atomically(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = dir.join(name);
    let io = |e: std::io::Error| denied(&path, &e);
    let mut file = tempfile::Builder::new().prefix(".").suffix(name).tempfile_in(dir).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    // Temporary files are private; a kernelspec in a shared prefix is for all users.
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(&path).map_err(|e| denied(&path, &e.error))?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(io)
}

fn denied(path: &Path, error: &std::io::Error) -> Error {
    let failed = Error::io(path, error).context("the kernelspec cannot be written");
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        return failed.hint("install for yourself: dds install --user");
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn env_of(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
    }

    #[test]
    fn writes_a_whole_kernelspec_and_replaces_an_older_one() {
        let root = tempfile::tempdir().unwrap();
        let target = InstallTarget::Prefix(root.path().to_owned());
        let exe = Path::new("/opt/with space/dds");
        let dir = install(target.clone(), exe, &|_| None).unwrap();
        assert_eq!(dir, root.path().join("share/jupyter/kernels/dds"));
        std::fs::write(dir.join("kernel.json"), "broken").unwrap();
        assert_eq!(install(target, exe, &|_| None).unwrap(), dir);

        let mut names: Vec<String> =
            std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["kernel.json", "logo-32x32.png", "logo-64x64.png", "logo-svg.svg"]);
        let text = std::fs::read_to_string(dir.join("kernel.json")).unwrap();
        let spec: dds_wire::jupyter_protocol::JupyterKernelspec = serde_json::from_str(&text).unwrap();
        assert_eq!(spec.argv, ["/opt/with space/dds", "kernel", "{connection_file}"]);
        assert_eq!(spec.display_name, "Rust (dds)");
        assert_eq!(spec.language, "rust");
        assert_eq!(spec.interrupt_mode.as_deref(), Some("message"));
        let mode = std::fs::metadata(dir.join("kernel.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }

    #[test]
    fn the_logos_have_the_sizes_that_their_names_promise() {
        for (name, side) in [("logo-32x32.png", 32u32), ("logo-64x64.png", 64)] {
            let bytes = LOGOS.iter().find(|(n, _)| *n == name).unwrap().1;
            assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
            assert_eq!(bytes[16..20], side.to_be_bytes());
            assert_eq!(bytes[20..24], side.to_be_bytes());
        }
    }

    #[test]
    fn folders_follow_jupyters_rules() {
        for (target, env, expected) in [
            (InstallTarget::User, &[("JUPYTER_DATA_DIR", "/j"), ("HOME", "/h")][..], "/j"),
            (InstallTarget::SysPrefix, &[("CONDA_PREFIX", "/c"), ("VIRTUAL_ENV", "/v")], "/v/share/jupyter"),
            (InstallTarget::SysPrefix, &[("CONDA_PREFIX", "/c"), ("VIRTUAL_ENV", "")], "/c/share/jupyter"),
            (InstallTarget::Prefix("/p".into()), &[("JUPYTER_DATA_DIR", "/j")], "/p/share/jupyter"),
        ] {
            assert_eq!(data_dir(target, &env_of(env)).unwrap(), Path::new(expected));
        }
        if cfg!(target_os = "linux") {
            let env = env_of(&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")]);
            assert_eq!(data_dir(InstallTarget::User, &env).unwrap(), Path::new("/x/jupyter"));
            let env = env_of(&[("HOME", "/h")]);
            assert_eq!(data_dir(InstallTarget::User, &env).unwrap(), Path::new("/h/.local/share/jupyter"));
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let none = |_: &str| None;
        for target in [InstallTarget::SysPrefix, InstallTarget::User] {
            assert!(install(target, Path::new("/d"), &none).unwrap_err().hint.is_some());
        }
        let relative = install(InstallTarget::Prefix("/p".into()), Path::new("dds"), &none).unwrap_err();
        assert_eq!(relative.kind, Kind::Usage);
        let file = tempfile::NamedTempFile::new().unwrap();
        let blocked = InstallTarget::Prefix(file.path().to_owned());
        let error = install(blocked, Path::new("/d"), &none).unwrap_err();
        assert!(error.message.contains(&*file.path().to_string_lossy()), "{error}");
    }
}
