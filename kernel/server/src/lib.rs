//! The one binary `dds`: kernel loops, session, command line and the wiring of every engine.

pub mod kernel;
