//! Jupyter's side of the kernel.

pub mod host;
