//! Who may ask: the token, and the host name that a request must have been sent to.

use super::Common;
use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine;
use dds_core::{Error, Kind, Result, Secret};
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// A header's text; nothing of what is no text.
pub fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|v| v.to_str().unwrap_or(""))
}

/// `Bearer TOKEN`, `token TOKEN`, or basic authentication with the token as user or password.
pub fn check_token(token: Option<&Secret>, given: &str) -> Result<()> {
    let Some(token) = token else { return Ok(()) };
    let (scheme, rest) = given.split_once(' ').unwrap_or((given, ""));
    let good = match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => same(rest.trim(), token.expose()),
        "basic" => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).unwrap_or_default();
            let decoded = String::from_utf8(decoded).unwrap_or_default();
            let (user, password) = decoded.split_once(':').unwrap_or((&decoded, ""));
            same(password, token.expose()) | same(user, token.expose())
        }
        _ => false,
    };
    if good {
        return Ok(());
    }
    let message = if given.is_empty() { "a token is required" } else { "the token is wrong" };
    Err(Error::new(Kind::Unauthorized, message))
}

/// Compares in a time that does not depend on where the texts differ.
fn same(a: &str, b: &str) -> bool {
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    a.iter().zip(b.iter()).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

/// Without a token, a request must name an address or `localhost`: a page that made a name of its own
/// point here (DNS rebinding) is refused.
pub fn check_host(common: &Common, host: Option<&str>) -> Result<()> {
    let Some(host) = host else { return Ok(()) };
    if common.token.is_some() || is_address(host) {
        return Ok(());
    }
    Err(Error::new(Kind::Unauthorized, "this server answers to its address only")
        .hint("start it with --token to serve it under a name"))
}

fn is_address(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// The URL under which the client reached us, for the links in listings.
pub fn base_url(common: &Common, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let plain =
        |h: &&str| !h.is_empty() && h.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b));
    match host.filter(plain) {
        Some(host) => format!("http://{host}"),
        None => format!("http://{}", common.addr),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:80", "192.168.1.4"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", ""]
        {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn tokens() {
        let token = Secret::new("t0ken");
        let check = |value: &str| check_token(Some(&token), value).is_ok();
        let basic = |t: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(t));
        for good in ["Bearer t0ken", "bearer t0ken", "token t0ken", &basic("t0ken:"), &basic("me:t0ken")] {
            assert!(check(good), "{good}");
        }
        for bad in
            ["Bearer t0ke", "Bearer t0kenX", "Bearer", "t0ken", "Basic zz", &basic("me:no"), &basic("")]
        {
            assert!(!check(bad), "{bad}");
        }
        assert!(check_token(None, "").is_ok());
        assert_eq!(check_token(Some(&token), "").unwrap_err().kind, Kind::Unauthorized);
    }
}
