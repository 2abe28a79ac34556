//! The one binary `dds`: kernel loops, session, command line and the wiring of every engine.

pub mod cli;
pub mod config;
pub mod demo;
pub mod job;
pub mod kernel;
pub mod render;
pub mod session;
