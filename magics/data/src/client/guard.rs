//! Which addresses a client may connect to: the decision is made on what a name resolves to, for every
//! hop, so that a redirect from a public server to a name of this machine's network is refused too.

use super::fetch::{is_private, is_private_address};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Resolves names for one client, whose own server is `home`.
pub struct Guard {
    home: Option<String>,
    /// The server is on this machine's network itself: its neighbours may be named by it.
    inside: Arc<AtomicBool>,
}

impl Guard {
    pub fn new(base: &Url) -> Self {
        let home = base.host_str().map(str::to_ascii_lowercase);
        Self { home, inside: Arc::new(AtomicBool::new(is_private(base))) }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_ascii_lowercase();
        let at_home = Some(&host) == self.home.as_ref();
        let inside = self.inside.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            if at_home {
                inside.fetch_or(found.iter().any(|a| is_private_address(a.ip())), Ordering::Relaxed);
            } else if !inside.load(Ordering::Relaxed) && found.iter().any(|a| is_private_address(a.ip())) {
                return Err(format!("{host} is an address of this machine or its network").into());
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
        // Whoever typed the name meant it, and a server of this network may name its neighbours.
        assert!(resolves(&guard("http://localhost:1"), "localhost"));
        assert!(resolves(&guard("http://10.0.0.1"), "localhost"));
    }
}
