//! The one binary `dds`: kernel loops, session, command line and the wiring of every engine.

pub mod cache;
pub mod cli;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod export_rs;
pub mod job;
pub mod kernel;
pub mod render;
pub mod session;
