//! Logging in through the browser, as the `dagshub` client does: a link to confirm, a request that waits
//! until that is done, and the exchange of the code for a token.

use super::store::Token;
use super::{below, said};
use crate::client::Transport;
use crate::client::fetch::{Anonymous, refusal};
use crate::client::transport::{Content, Failure, PATIENCE, Request};
use crate::runtime;
use dds_core::{Config, Cx, Error, Kind, Result, Secret};
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// The `dagshub` client's own, unless `DAGSHUB_CLIENT_ID` names another.
const CLIENT_ID: &str = "32b60ba385aa7cecf24046d8195a71c07dd345d9657977863b52e7748e0f0f28";
/// So long a person may take to confirm.
const CONFIRM: Duration = Duration::from_secs(15 * 60);

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    expiry: Option<String>,
}

/// Shows the link, waits for the confirmation, and gives the token. Errors: `Interrupted`, `Unreachable`,
/// `Unauthorized` when the host refused.
pub fn ask(host: &Url, transport: Arc<dyn Transport>, config: &Config, cx: &Cx) -> Result<Token> {
    let client = config.peers.var("DAGSHUB_CLIENT_ID").unwrap_or(CLIENT_ID).to_owned();
    let state = state()?;
    let request = hex::encode(Sha256::digest(random()?));
    let mut link = below(host, "login/oauth/authorize")?;
    link.query_pairs_mut()
        .append_pair("state", &state)
        .append_pair("client_id", &client)
        .append_pair("middleman_request_id", &request);
    cx.sink.note(&format!(
        "open this link in your browser and confirm, within {} minutes:\n{link}",
        CONFIRM.as_secs() / 60
    ));
    let host = host.clone();
    let shown = host.origin().ascii_serialization();
    runtime::wait(
        async move {
            let fields = vec![("request_id", request)];
            let code = post(&*transport, below(&host, "login/oauth/middleman")?, fields, CONFIRM).await?;
            let code: String = serde_json::from_slice(&code).map_err(|_| odd(&shown))?;
            let fields = vec![("client_id", client), ("code", code), ("state", state)];
            let token =
                post(&*transport, below(&host, "login/oauth/access_token")?, fields, PATIENCE).await?;
            let token: Answer = serde_json::from_slice(&token).map_err(|_| odd(&shown))?;
            let expiry = token.expiry.unwrap_or_else(|| "never".to_owned());
            Ok(Token::confirmed(Secret::new(token.access_token), expiry))
        },
        cx,
    )
}

async fn post(
    transport: &dyn Transport,
    url: Url,
    fields: Vec<(&'static str, String)>,
    patience: Duration,
) -> Result<Vec<u8>> {
    let host = url.origin().ascii_serialization();
    let request = Request {
        method: Method::POST,
        url,
        headers: HeaderMap::new(),
        body: Content::Fields(fields),
        patience,
    };
    let by_hand =
        format!("try again, or make a token in your account's settings: dds login {host} --token TOKEN");
    let response = transport.send(request).await.map_err(|failure| match failure {
        Failure::Connect(why) | Failure::Forbidden(why) => {
            Error::new(Kind::Unreachable, format!("cannot reach {host}: {why}"))
                .hint("check the address and your network, then try again")
        }
        Failure::Broken(_) | Failure::Timeout => {
            Error::new(Kind::Unreachable, format!("{host}: the login was not confirmed: {failure}"))
                .hint(&by_hand)
        }
    })?;
    let status = response.status;
    let body = refusal(response).await;
    if status == 200 {
        return Ok(body);
    }
    if matches!(status, 404 | 405 | 410 | 501) {
        return Err(odd(&host));
    }
    let said = said(&Anonymous, &body);
    Err(Error::new(Kind::Unauthorized, format!("{host}: the login was refused (HTTP {status}){said}"))
        .hint(by_hand))
}

fn odd(host: &str) -> Error {
    Error::new(Kind::Format, format!("{host} does not answer a login as DagsHub does"))
        .hint(format!("check the address, or log in with a token: dds login {host} --token TOKEN"))
}

/// A UUID of version 4.
fn state() -> Result<String> {
    let mut bytes = random()?;
    if let (Some(version), Some(variant)) = (bytes.get(6).copied(), bytes.get(8).copied()) {
        bytes.splice(6..7, [version & 0x0f | 0x40]);
        bytes.splice(8..9, [variant & 0x3f | 0x80]);
    }
    let text = hex::encode(bytes);
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().to_owned();
    Ok([part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-"))
}

fn random() -> Result<Vec<u8>> {
    let mut bytes = vec![0; 16];
    let source = "/dev/urandom";
    std::fs::File::open(source)
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(|e| Error::io(source, &e))?;
    Ok(bytes)
}
