//! Accounts on DagsHub hosts: which login goes to which host, logging in and out, and the tokens that are
//! kept on this machine.
//!
//! Tokens are kept in a file of mode 0600 in the format of the `dagshub` client, whose own file is read
//! too: whoever is logged in there is logged in here. A token goes to its own host and is never printed.

mod oauth;
mod store;

use crate::client::fetch::{Fetcher, Got, Retry, Sign, is_loopback, refusal};
use crate::client::http::Http;
use crate::client::{Auth, Transport};
use crate::runtime;
use dds_core::mime::printable;
use dds_core::{Config, Cx, Error, Kind, Outcome, Result, Secret, request as rq};
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use store::TokenStore;

const MAX_ANSWER_BYTES: u64 = 1 << 20;
const MAX_NAME_CHARS: usize = 100;

/// What proves to the host of `url` who we are: the environment for the configured host, else what was
/// kept by a login. None for hosts that nobody logged in to.
pub fn for_host(config: &Config, url: &Url) -> Option<Auth> {
    match (&config.dagshub_token, &config.dagshub_login) {
        (Some(token), _) if is_configured(config, url) => Some(Auth::Token(token.clone())),
        (None, Some((user, password))) if is_configured(config, url) => {
            Some(Auth::Login(user.clone(), password.clone()))
        }
        _ => TokenStore::of(config).token(url).map(Auth::Token),
    }
}

fn is_configured(config: &Config, url: &Url) -> bool {
    config.dagshub_host.parse::<Url>().is_ok_and(|host| host.origin() == url.origin())
}

/// The variable of the environment that goes before every login to this host.
fn named_by_environment(config: &Config, host: &Url) -> Option<&'static str> {
    match (&config.dagshub_token, &config.dagshub_login) {
        _ if !is_configured(config, host) => None,
        (Some(_), _) => Some("DAGSHUB_USER_TOKEN"),
        (None, Some(_)) => Some("DAGSHUB_USERNAME"),
        (None, None) => None,
    }
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    login: Option<String>,
}

/// Gets a token, by hand or through the browser, checks it and keeps it.
pub fn login(config: &Config, r: &rq::Login, cx: &Cx) -> Result<Outcome> {
    let host = host(config, r.host.as_deref())?;
    let transport: Arc<dyn Transport> = Arc::new(Http::new(&host)?);
    if host.scheme() == "http" && !is_loopback(&host) {
        cx.sink
            .note(&format!("{} is not encrypted: others on the way can read the token", store::name(&host)));
    }
    let token = match r.token.as_deref().map(str::trim) {
        Some("") => {
            return Err(Error::usage("the token is empty").hint("copy it from your account's settings"));
        }
        Some("-") => {
            return Err(Error::usage("only a shell hands a token over on standard input").hint(
                "in a notebook: let token = dds::password(\"token: \")?; then: %dds login --token={token}",
            ));
        }
        Some(token) => store::Token::by_hand(Secret::new(token)),
        None => oauth::ask(&host, transport.clone(), config, cx)?,
    };
    let (asking, auth) = (host.clone(), Auth::Token(token.secret.clone()));
    let name = runtime::wait(async move { user(transport, asking, auth).await }, cx)?;
    TokenStore::of(config).keep(&host, token)?;
    let shown = store::name(&host);
    let first = named_by_environment(config, &host)
        .map_or_else(String::new, |name| format!("; {name} is set and goes before this login"));
    Ok(Outcome::new(
        format!("logged in to {shown} as {name}{first}"),
        json!({"host": shown, "user": name, "kept_in": TokenStore::of(config).path()}),
    ))
}

/// Forgets what a login kept.
pub fn logout(config: &Config, r: &rq::Logout) -> Result<Outcome> {
    let host = host(config, r.host.as_deref())?;
    let store = TokenStore::of(config);
    let forgotten = store.forget(&host)?;
    let shown = store::name(&host);
    let mut summary =
        if forgotten { format!("logged out of {shown}") } else { format!("nobody was logged in to {shown}") };
    if let Some(name) = named_by_environment(config, &host) {
        summary.push_str(&format!("; {name} is set and still used"));
    }
    if store.token(&host).is_some() {
        summary.push_str("; the dagshub client is still logged in there, and dds uses its token");
    }
    Ok(Outcome::new(summary, json!({"host": shown, "forgotten": forgotten})))
}

/// Errors (`Usage`) do not quote the address: a password may stand in it.
fn host(config: &Config, given: Option<&str>) -> Result<Url> {
    let text = given.unwrap_or(&config.dagshub_host).trim();
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let plain = |u: &Url| u.username().is_empty() && u.password().is_none();
    let bare = |u: &Url| u.query().is_none() && u.fragment().is_none();
    let parsed: Option<Url> = text.parse().ok();
    parsed
        .filter(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some() && plain(u) && bare(u))
        .ok_or_else(|| {
            Error::usage("the host is not an address such as https://dagshub.com")
                .hint("dds login https://HOST [--token TOKEN]")
        })
}

/// The name behind a token. Errors: `Unauthorized` for one that the host does not know.
async fn user(transport: Arc<dyn Transport>, host: Url, auth: Auth) -> Result<String> {
    let url = below(&host, "api/v1/user")?;
    let signer: Arc<dyn Sign> = Arc::new(auth);
    let fetcher = Fetcher::new(transport, host, signer.clone(), Retry::default());
    match fetcher.get(url, None, MAX_ANSWER_BYTES, true).await? {
        Got::Answer(answer) => {
            let user: User = serde_json::from_slice(&answer.bytes).map_err(|_| no_hub(&fetcher))?;
            let name = user.username.or(user.login).ok_or_else(|| no_hub(&fetcher))?;
            Ok(printable(&name).chars().take(MAX_NAME_CHARS).collect())
        }
        Got::Refused(response) if matches!(response.status, 401 | 403) => Err(Error::new(
            Kind::Unauthorized,
            format!("{} does not accept the token (HTTP {})", fetcher.shown(), response.status),
        )
        .hint("copy it again from your account's settings, or run `dds login` without --token")),
        Got::Refused(response) if matches!(response.status, 404 | 405 | 410 | 501) => Err(no_hub(&fetcher)),
        Got::Refused(response) => {
            let status = response.status;
            let said = said(signer.as_ref(), &refusal(response).await);
            Err(Error::new(Kind::Unreachable, format!("{}: HTTP {status}{said}", fetcher.shown())))
        }
    }
}

/// What a server said to its status, unless it is a page for a browser.
fn said(signer: &dyn Sign, body: &[u8]) -> String {
    let text = signer.safe(&String::from_utf8_lossy(body));
    let text = text.trim();
    if text.is_empty() || text.starts_with('<') { String::new() } else { format!(": {text}") }
}

fn no_hub(fetcher: &Fetcher) -> Error {
    Error::new(Kind::Format, format!("{} does not answer as DagsHub does", fetcher.shown()))
        .hint("check the address; without one, dds login asks DAGSHUB_CLIENT_HOST, else https://dagshub.com")
}

fn below(host: &Url, path: &str) -> Result<Url> {
    let mut url = host.clone();
    url.set_path(&format!("{}/{path}", host.path().trim_end_matches('/')));
    url.set_query(None);
    Ok(url)
}

#[cfg(test)]
mod tests;
