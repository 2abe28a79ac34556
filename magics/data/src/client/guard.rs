//! Which addresses a client may connect to: the decision is made on what a name resolves to, for every
//! hop, so that neither a redirect from a public server nor the settings of a repository from there lead
//! to a name of this machine's network.

use super::fetch::{is_private, is_private_address};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Resolves names for one client.
pub struct Guard {
    /// The host that the user named: it may be anywhere.
    home: Option<String>,
    /// That host is on this machine's network itself: its neighbours may be named by it.
    inside: Arc<AtomicBool>,
}

/// A name that leads to where the client may not go.
#[derive(Debug)]
pub struct Inward {
    host: String,
}

impl std::fmt::Display for Inward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is an address of this machine or its network", self.host)
    }
}

impl std::error::Error for Inward {}

impl Guard {
    /// For a server that the user named.
    pub fn new(base: &Url) -> Self {
        let home = base.host_str().map(str::to_ascii_lowercase);
        Self { home, inside: Arc::new(AtomicBool::new(is_private(base))) }
    }

    /// For a server that somebody on a public address named: no host of this machine's network will do.
    pub fn outward() -> Self {
        Self { home: None, inside: Arc::default() }
    }

    /// For servers that the user named one by one.
    pub fn anywhere() -> Self {
        Self { home: None, inside: Arc::new(AtomicBool::new(true)) }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_ascii_lowercase();
        let at_home = Some(&host) == self.home.as_ref();
        let inside = self.inside.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let private = |a: &SocketAddr| is_private_address(a.ip());
            if at_home {
                // A public host does not become a neighbour by one more address.
                inside.fetch_or(!found.is_empty() && found.iter().all(private), Ordering::Relaxed);
            } else if !inside.load(Ordering::Relaxed) && found.iter().any(private) {
                return Err(Inward { host }.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolves(guard: &Guard, name: &str) -> bool {
        let resolving = guard.resolve(name.parse().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(resolving).is_ok()
    }

    #[test]
    fn a_public_server_cannot_name_our_own_machine() {
        let guard = |url: &str| Guard::new(&url.parse().unwrap());
        assert!(!resolves(&guard("https://192.0.2.1"), "localhost"));
        assert!(!resolves(&guard("https://hub.example"), "LOCALHOST"));
        assert!(!resolves(&Guard::outward(), "localhost"));
        // Whoever typed the name meant it, and a server of this network may name its neighbours.
        assert!(resolves(&guard("http://localhost:1"), "localhost"));
        assert!(resolves(&guard("http://10.0.0.1"), "localhost"));
    }
}
