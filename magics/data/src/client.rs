//! The client of DagsHub's HTTP API: one [`Transport`] seam, and above it credentials, redirects,
//! retries, resuming and the API's shapes.

pub mod api;
pub mod faulty;
pub mod fetch;
mod guard;
pub mod http;
pub mod hub;
pub mod memory;
pub mod transport;

pub use fetch::Retry;
pub use hub::{Auth, HubClient};
pub use transport::Transport;

#[cfg(test)]
mod tests;
