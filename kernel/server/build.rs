//! Links the program at a fixed address. Its hundred thousand relocations would cost 4 ms at each
//! start, and it starts once or twice for every cell, in the compiler's stead.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
