//! Compiles the library of hooks, which the program carries: it has to be a file of its own for the
//! loader, and programs of any kind load it, so it is built without a crate beside the standard
//! library.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "preload/hooks.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = Path::new(&std::env::var_os("OUT_DIR").unwrap()).join("libdds_stream.so");
    if std::env::var("CARGO_CFG_TARGET_OS").unwrap() != "linux" {
        std::fs::write(out, []).unwrap();
        return;
    }
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap());
    rustc.args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "dds_stream"]);
    rustc.args(["-C", "opt-level=2", "-C", "strip=symbols", "--target"]);
    rustc.arg(std::env::var_os("TARGET").unwrap()).arg("-o").arg(out).arg(SOURCE);
    if let Some(linker) = std::env::var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={}", linker.display()));
    }
    assert!(rustc.status().unwrap().success(), "{SOURCE} does not compile");
}
