use super::*;
use crate::kernel::install::{InstallTarget, install};
use std::ffi::OsString;
use std::path::Path;

fn config(dir: &Path, exe: &Path) -> Config {
    Config {
        peers: Default::default(),
        exe: exe.into(),
        cache_dir: dir.join("cache"),
        config_dir: dir.join("config"),
        data_dir: dir.join("data"),
        runtime_dir: dir.join("run"),
        dagshub_host: "https://dagshub.com".into(),
        dagshub_token: None,
        dagshub_login: None,
        threads: 1,
    }
}

/// What is said about `name`, with these variables and no others.
fn said(config: &Config, vars: &[(&str, &str)], name: &str) -> (bool, Value) {
    let env = |wanted: &str| vars.iter().find(|(n, _)| *n == wanted).map(|(_, v)| OsString::from(v));
    let told = run(&rq::Doctor::default(), config, &env, &Cx::silent("/")).unwrap();
    let checks = told.json["checks"].as_array().unwrap().clone();
    let found =
        checks.into_iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("nothing about {name}"));
    (told.json["ok"] == true, found)
}

#[test]
fn a_missing_compiler_is_broken_and_has_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), Path::new("/nowhere/dds"));
    let (ok, rustc) = said(&config, &[("PATH", "/no/such/folder")], "rustc");
    assert!(
        !ok && rustc["state"] == "broken" && rustc["fix"].as_str().unwrap().contains("rustup"),
        "{rustc}"
    );
    let (_, git) = said(&config, &[("PATH", "/no/such/folder")], "git");
    assert_eq!(git["state"], "missing");
    let path = std::env::var("PATH").unwrap();
    let (ok, rustc) = said(&config, &[("PATH", &path)], "rustc");
    assert!(ok && rustc["detail"].as_str().unwrap().starts_with("rustc 1."), "{rustc}");
}

#[test]
fn the_kernelspec_is_followed_to_its_program() {
    let dir = tempfile::tempdir().unwrap();
    let path = std::env::var("PATH").unwrap();
    let exe = dir.path().join("dds");
    std::fs::write(&exe, "").unwrap();
    let config = config(dir.path(), &exe);
    let data = dir.path().join("data");
    let vars = [("PATH", path.as_str()), ("JUPYTER_DATA_DIR", data.to_str().unwrap())];
    let spec = || said(&config, &vars, "kernelspec");
    assert_eq!(spec().1["fix"], "dds install");

    let env = |name: &str| (name == "JUPYTER_DATA_DIR").then(|| data.to_str().unwrap().to_owned());
    install(InstallTarget::User, &exe, &env).unwrap();
    let (ok, check) = spec();
    assert!(!ok && check["detail"].as_str().unwrap().contains("no program"), "{check}");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&exe, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(spec().1["state"], "ok");
    std::fs::write(data.join("kernels/dds/kernel.json"), "{").unwrap();
    assert!(spec().1["detail"].as_str().unwrap().contains("damaged"));
}

#[test]
fn folders_that_cannot_be_written_are_broken() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut config = config(dir.path(), Path::new("/nowhere/dds"));
    config.cache_dir = "/proc/dds".into();
    let path = std::env::var("PATH").unwrap();
    let (ok, check) = said(&config, &[("PATH", &path)], "cache folder");
    assert!(!ok && check["fix"].as_str().unwrap().contains("DDS_CACHE"), "{check}");
}
