//! The binary `dds`; see [`dds_server::cli`].

fn main() -> std::process::ExitCode {
    // Before any thread starts: this process may be the child that runs Rust cells.
    dds_eval::take_over_child_roles();
    dds_server::cli::main()
}
