//! Image models: decoding, transforms, data sets, frozen-feature probe, interpretation, plots, export and predict.
//!
//! [`Learn`] implements the learning commands. Files are read through `dds_core::Source`, never over
//! the network directly; nothing here knows Jupyter. Results are the same in every run and for every
//! number of threads.

pub mod blocks;
pub mod convert;
pub mod data;
pub mod decode;
pub mod engine;
pub mod features;
pub mod local;
pub mod logistic;
pub mod metrics;
pub mod model;
pub mod models;
pub mod pages;
pub mod picture;
pub mod place;
pub mod store;
pub mod transform;
pub mod verify;
pub mod view;

pub use engine::Learn;
