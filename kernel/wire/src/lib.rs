//! Jupyter messaging: frames, signatures, replay window, connection files, sockets on threads.
//!
//! Both ends live here: [`server`] binds a kernel's five sockets, [`client`] talks to a kernel (any
//! kernel) and starts processes of our own. Messages keep their content as JSON; the typed contents
//! of [`jupyter_protocol`] are read by [`Message::parse`].
//!
//! Assumes libzmq's ZMTP framing and its NULL mechanism. Does not encrypt (CURVE), and knows nothing
//! about cells: what a message means is the kernel loop's business. Invariant: bytes from a socket
//! never panic and never hold more memory than the constants in [`frames`] allow per message.

pub mod client;
pub mod connection;
pub mod frames;
pub mod message;
pub mod server;
pub mod signature;
mod socket;

pub use bytes::Bytes;
pub use connection::{ConnectionInfo, Ports, Transport};
pub use frames::Malformed;
pub use jupyter_protocol;
pub use message::{Header, Message};
pub use server::{Inbox, Outlet, Server};
pub use signature::{ReplayWindow, Signer};

/// The version of the messaging protocol that our headers state.
pub const PROTOCOL_VERSION: &str = "5.5";

/// The sockets that carry messages. (Heartbeat carries raw bytes and is answered by [`server`].)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    Shell,
    Control,
    Stdin,
    Iopub,
}

impl Channel {
    pub fn name(self) -> &'static str {
        match self {
            Channel::Shell => "shell",
            Channel::Control => "control",
            Channel::Stdin => "stdin",
            Channel::Iopub => "iopub",
        }
    }
}
