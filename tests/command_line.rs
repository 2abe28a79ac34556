//! The built binary from a shell, without any peer: exit codes and what goes to which stream.

use std::process::{Command, Output};

fn dds(args: &[&str]) -> Output {
    let empty = tempfile::tempdir().expect("a temporary folder");
    Command::new(env!("CARGO_BIN_EXE_dds"))
        .args(args)
        .current_dir(empty.path())
        .env("HOME", empty.path())
        .env("XDG_CACHE_HOME", empty.path().join("cache"))
        .env("XDG_CONFIG_HOME", empty.path().join("config"))
        .env("XDG_RUNTIME_DIR", empty.path().join("run"))
        .env_remove("DDS_CACHE")
        .output()
        .expect("dds runs")
}

#[test]
fn version_and_help_go_to_standard_output() {
    let out = dds(&["--version"]);
    assert!(out.status.success());
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), concat!("dds ", env!("CARGO_PKG_VERSION")));
    let out = dds(&["help"]);
    assert!(out.status.success());
    let help = String::from_utf8_lossy(&out.stdout).into_owned();
    for command in ["mount", "show", "probe", "app", "serve", "demo"] {
        assert!(help.contains(command), "{command} is missing in\n{help}");
    }
}

#[test]
fn a_misspelt_command_exits_with_2_and_names_the_nearest() {
    let out = dds(&["shwo", "a.jpg"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(out.stdout.is_empty());
    assert!(String::from_utf8_lossy(&out.stderr).contains("show"));
}

#[test]
fn a_failed_command_exits_with_1_and_names_the_file() {
    let out = dds(&["cat", "no such file.txt"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("no such file.txt"));
}

#[test]
fn an_error_as_json_has_kind_and_message() {
    let out = dds(&["--json", "cat", "no such file.txt"]);
    assert_eq!(out.status.code(), Some(1));
    let error: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(error["error"]["kind"], "NotFound");
}
