//! Who may talk to the app: exact Host, token or cookie, and Origin for what changes something.
//!
//! Assumes plain HTTP, on loopback or behind a proxy that the caller named in the allowed hosts.
//! Default deny: a header that is missing, doubled or not text never helps.

use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use dds_core::Secret;
use std::collections::HashSet;

/// Longest token, session id or cookie value looked at, in bytes.
const MAX_CREDENTIAL: usize = 512;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The Host header names no host of ours.
    Host,
    /// Neither cookie nor token.
    NoToken,
    /// A token that is not ours.
    WrongToken,
    /// A request that changes something and does not come from our page.
    Origin,
}

/// How a request got through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Cookie,
    /// It showed the token itself, in the URL or as a bearer token.
    Token,
}

pub(crate) struct Gate {
    hosts: HashSet<String>,
    origins: HashSet<String>,
    token: Secret,
    /// The cookie's value: made anew at every start, so that a new token ends old cookies.
    key: Secret,
    port: u16,
}

impl Gate {
    /// `own` are the `host:port` under which the server listens; `named` those of proxies in front.
    pub(crate) fn new(own: Vec<String>, named: &[String], port: u16, token: Secret) -> Self {
        let mut hosts = HashSet::new();
        let mut origins = HashSet::new();
        for host in own {
            let host = host.to_ascii_lowercase();
            origins.insert(format!("http://{host}"));
            hosts.insert(host);
        }
        for host in named {
            let host = host.to_ascii_lowercase();
            origins.insert(format!("http://{host}"));
            origins.insert(format!("https://{host}"));
            hosts.insert(host);
        }
        Self { hosts, origins, token, key: Secret::new(random_name()), port }
    }

    pub(crate) fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let named = single(headers, header::HOST).ok_or(Refused::Host)?.to_ascii_lowercase();
        let target = uri.authority().map(|a| a.as_str().to_ascii_lowercase());
        let agree = target.is_none_or(|t| t == named);
        if agree && self.hosts.contains(&named) { Ok(()) } else { Err(Refused::Host) }
    }

    /// Whether the request has shown the token or carries the cookie.
    pub(crate) fn check_token(&self, uri: &Uri, headers: &HeaderMap) -> Result<Pass, Refused> {
        if let Some(shown) = shown_token(uri, headers) {
            return if same(&shown, self.token.expose()) {
                Ok(Pass::Token)
            } else {
                Err(Refused::WrongToken)
            };
        }
        let name = self.key_cookie_name();
        let ours = cookies(headers).any(|(n, v)| n == name && same(v, self.key.expose()));
        if ours { Ok(Pass::Cookie) } else { Err(Refused::NoToken) }
    }

    /// For requests that change something. Browsers send Origin with every POST, or at least
    /// Sec-Fetch-Site; a program without either must show the token itself, which no other web
    /// page can make a browser do.
    pub(crate) fn check_origin(
        &self,
        method: &Method,
        headers: &HeaderMap,
        pass: Pass,
    ) -> Result<(), Refused> {
        if method == Method::GET || method == Method::HEAD {
            return Ok(());
        }
        let site_ok = match (headers.contains_key("sec-fetch-site"), single(headers, "sec-fetch-site")) {
            (false, _) => None,
            (true, site) => Some(site == Some("same-origin")),
        };
        let origin_ok = match (headers.contains_key(header::ORIGIN), single(headers, header::ORIGIN)) {
            (false, _) => None,
            (true, origin) => Some(origin.is_some_and(|o| self.origins.contains(o))),
        };
        match (origin_ok, site_ok) {
            (Some(false), _) | (_, Some(false)) => Err(Refused::Origin),
            (Some(true), _) | (None, Some(true)) => Ok(()),
            (None, None) if pass == Pass::Token => Ok(()),
            (None, None) => Err(Refused::Origin),
        }
    }

    /// `Set-Cookie` that lets this browser in.
    pub(crate) fn key_cookie(&self) -> Option<HeaderValue> {
        set_cookie(&self.key_cookie_name(), self.key.expose())
    }

    /// `Set-Cookie` that names the visitor's session.
    pub(crate) fn visitor_cookie(&self, id: &str) -> Option<HeaderValue> {
        set_cookie(&self.visitor_cookie_name(), id)
    }

    /// The session ids that the browser names.
    pub(crate) fn visitor_ids<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> {
        let name = self.visitor_cookie_name();
        cookies(headers).filter(move |(n, _)| *n == name).map(|(_, v)| v)
    }

    // Cookies know no ports, so two apps on one machine need names of their own.
    fn key_cookie_name(&self) -> String {
        format!("dds-app-{}", self.port)
    }

    fn visitor_cookie_name(&self) -> String {
        format!("dds-visitor-{}", self.port)
    }
}

/// 244 random bits from the operating system, as 64 hexadecimal digits.
pub(crate) fn random_name() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

fn set_cookie(name: &str, value: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict")).ok()
}

/// The header's value, when it is there exactly once and is text.
fn single(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(v), None) => v.to_str().ok(),
        _ => None,
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(_, v)| v.len() <= MAX_CREDENTIAL)
}

/// `Authorization: Bearer TOKEN`, else `?token=TOKEN`.
fn shown_token(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(value) = single(headers, header::AUTHORIZATION)
        && let Some((scheme, token)) = value.split_once(' ')
        && scheme.eq_ignore_ascii_case("bearer")
    {
        return Some(token.trim().chars().take(MAX_CREDENTIAL).collect());
    }
    let raw = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    let raw: String = raw.chars().take(MAX_CREDENTIAL).collect();
    Some(percent_encoding::percent_decode_str(&raw.replace('+', " ")).decode_utf8_lossy().into_owned())
}

/// Equality whose time depends on the lengths alone.
fn same(a: &str, b: &str) -> bool {
    let differ = a.bytes().zip(b.bytes()).fold(0u8, |d, (x, y)| std::hint::black_box(d | (x ^ y)));
    a.len() == b.len() && !b.is_empty() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        let own = ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"].map(String::from).to_vec();
        Gate::new(own, &["app.example.org".to_owned()], 8080, Secret::new("tok en&1"))
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut h = HeaderMap::new();
        for (k, v) in list {
            h.append(*k, HeaderValue::from_str(v).unwrap());
        }
        h
    }

    #[test]
    fn hosts_match_exactly() {
        let uri: Uri = "/".parse().unwrap();
        for (host, ok) in [
            ("127.0.0.1:8080", true),
            ("LOCALHOST:8080", true),
            ("[::1]:8080", true),
            ("app.example.org", true),
            ("localhost", false),
            ("localhost:80", false),
            ("localhost:80800", false),
            ("localhost.:8080", false),
            ("127.0.0.1:8080.evil.org", false),
            ("evil.org", false),
            ("evil.org:8080", false),
            ("127.0.0.1:8080@evil.org", false),
            ("xlocalhost:8080", false),
            ("0.0.0.0:8080", false),
            ("127.1:8080", false),
            ("2130706433:8080", false),
            ("", false),
            (" localhost:8080", false),
            ("app.example.org:443", false),
            ("sub.app.example.org", false),
        ] {
            assert_eq!(gate().check_host(&uri, &headers(&[("host", host)])).is_ok(), ok, "{host:?}");
        }
        assert!(gate().check_host(&uri, &headers(&[])).is_err());
        let two = headers(&[("host", "localhost:8080"), ("host", "evil.org")]);
        assert!(gate().check_host(&uri, &two).is_err());
        let absolute: Uri = "http://evil.org/".parse().unwrap();
        assert!(gate().check_host(&absolute, &headers(&[("host", "localhost:8080")])).is_err());
    }

    #[test]
    fn tokens_and_cookies() {
        let g = gate();
        let key = g.key_cookie().unwrap();
        let key = key.to_str().unwrap().split(';').next().unwrap().to_owned();
        assert!(g.key_cookie().unwrap().to_str().unwrap().ends_with("; Path=/; HttpOnly; SameSite=Strict"));
        let other = Gate::new(vec![], &[], 8080, Secret::new("tok en&1")).key_cookie().unwrap();
        let old = other.to_str().unwrap().split(';').next().unwrap();
        let value = key.split_once('=').unwrap().1;
        let name = |n: &str| format!("{n}={value}");
        let bearer = |t: &str| format!("Bearer {t}");
        for (uri, list, result) in [
            ("/", vec![], Err(Refused::NoToken)),
            ("/?token=tok+en%261", vec![], Ok(Pass::Token)),
            ("/?x=1&token=tok%20en%261", vec![], Ok(Pass::Token)),
            ("/?token=", vec![], Err(Refused::WrongToken)),
            ("/?token=tok+en%26", vec![], Err(Refused::WrongToken)),
            ("/?token=tok+en%2611", vec![], Err(Refused::WrongToken)),
            ("/?TOKEN=tok+en%261", vec![], Err(Refused::NoToken)),
            ("/", vec![("authorization", bearer("tok en&1"))], Ok(Pass::Token)),
            ("/", vec![("authorization", bearer("nope"))], Err(Refused::WrongToken)),
            ("/", vec![("authorization", "Basic dG9r".into())], Err(Refused::NoToken)),
            ("/", vec![("cookie", key.clone())], Ok(Pass::Cookie)),
            ("/", vec![("cookie", format!("a=b; {key}; c=d"))], Ok(Pass::Cookie)),
            ("/", vec![("cookie", "a=b".into()), ("cookie", key.clone())], Ok(Pass::Cookie)),
            ("/", vec![("cookie", name("dds-app-8081"))], Err(Refused::NoToken)),
            ("/", vec![("cookie", old.to_owned())], Err(Refused::NoToken)),
            ("/", vec![("cookie", "dds-app-8080=".into())], Err(Refused::NoToken)),
            ("/", vec![("cookie", "dds-app-8080=tok en&1".into())], Err(Refused::NoToken)),
            ("/?token=nope", vec![("cookie", key.clone())], Err(Refused::WrongToken)),
        ] {
            let list: Vec<(&'static str, &str)> = list.iter().map(|(k, v)| (*k, v.as_str())).collect();
            assert_eq!(g.check_token(&uri.parse().unwrap(), &headers(&list)), result, "{uri} {list:?}");
        }
    }

    #[test]
    fn posts_come_from_our_page_or_show_the_token() {
        let own = ("origin", "http://localhost:8080");
        let site = |s| ("sec-fetch-site", s);
        for (list, cookie, token) in [
            (vec![own], true, true),
            (vec![own, site("same-origin")], true, true),
            (vec![("origin", "https://app.example.org")], true, true),
            (vec![site("same-origin")], true, true),
            (vec![], false, true),
            (vec![own, site("cross-site")], false, false),
            (vec![own, site("same-site")], false, false),
            (vec![site("cross-site")], false, false),
            (vec![site("none")], false, false),
            (vec![("origin", "null")], false, false),
            (vec![("origin", "")], false, false),
            (vec![("origin", "https://localhost:8080")], false, false),
            (vec![("origin", "http://localhost:8080.evil.org")], false, false),
            (vec![("origin", "http://localhost:80800")], false, false),
            (vec![("origin", "http://localhost:8888")], false, false),
            (vec![("origin", "http://evil.org")], false, false),
            (vec![own, ("origin", "http://evil.org")], false, false),
            (vec![("origin", "http://evil.org"), site("same-origin")], false, false),
            (vec![site("same-origin"), site("cross-site")], false, false),
        ] {
            let h = headers(&list);
            assert_eq!(gate().check_origin(&Method::POST, &h, Pass::Cookie).is_ok(), cookie, "{list:?}");
            assert_eq!(gate().check_origin(&Method::POST, &h, Pass::Token).is_ok(), token, "{list:?}");
            assert!(gate().check_origin(&Method::GET, &h, Pass::Cookie).is_ok());
            assert_eq!(gate().check_origin(&Method::DELETE, &h, Pass::Cookie).is_ok(), cookie);
        }
    }
}
