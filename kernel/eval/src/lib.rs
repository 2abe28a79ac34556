//! Rust evaluation in a child process of our own; the only crate that names evcxr.
