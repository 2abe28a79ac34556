//! The crate from outside, with kernels that are made here: no process, no ZeroMQ.

mod exec;
mod fake;
mod http;
mod notebook;
mod render;
mod server;
mod sessions;
mod uploads;
mod xss;
