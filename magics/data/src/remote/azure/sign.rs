//! Proofs of who we are to Azure Blob Storage: "Shared Key",
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>, and shared access
//! signatures, which are part of the URL. Nothing here touches the network.

use crate::client::fetch::Sign;
use crate::client::transport::{Content, Request};
use crate::percent;
use base64::Engine;
use dds_core::{Error, Result, Secret};
use hmac::{Hmac, Mac};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;
use std::time::SystemTime;

const VERSION: &str = "2021-12-02";
/// Headers whose values are signed, in this order, after the method; each may be empty.
const SIGNED: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    // The date stands in x-ms-date.
    "",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Every request names the version of the API that it is written for.
pub fn version(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("x-ms-version"), HeaderValue::from_static(VERSION));
}

/// Signs for one account.
pub struct SharedKey {
    pub account: String,
    /// In base64, as the portal shows it.
    pub key: Secret,
}

impl Sign for SharedKey {
    fn sign(&self, request: &mut Request) -> Result<()> {
        self.sign_at(request, &httpdate::fmt_http_date(SystemTime::now()))
    }

    fn redact(&self, text: &str) -> String {
        self.key.redact(text)
    }
}

impl SharedKey {
    /// `date` is as in RFC 7231: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn sign_at(&self, request: &mut Request, date: &str) -> Result<()> {
        version(&mut request.headers);
        let date = HeaderValue::from_str(date).map_err(|e| Error::internal(e.to_string()))?;
        request.headers.insert(HeaderName::from_static("x-ms-date"), date);
        let text = self.text_to_sign(request);
        let key = base64::engine::general_purpose::STANDARD.decode(self.key.expose()).map_err(|_| {
            Error::usage("the account key of Azure is not base64")
                .hint("copy it again from the portal, whole")
        })?;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&key).map_err(|e| Error::internal(format!("HMAC: {e}")))?;
        mac.update(text.as_bytes());
        let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        let value = HeaderValue::from_str(&format!("SharedKey {}:{signature}", self.account));
        let mut value = value.map_err(|_| Error::usage("the account name of Azure cannot be sent"))?;
        value.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, value);
        Ok(())
    }

    fn text_to_sign(&self, request: &Request) -> String {
        let value = |name: &str| -> String {
            let found = request.headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()));
            found.map(|v| v.trim().to_owned()).unwrap_or_default()
        };
        let length = match &request.body {
            Content::File { len, .. } if *len > 0 => len.to_string(),
            Content::Bytes(bytes) if !bytes.is_empty() => bytes.len().to_string(),
            _ => String::new(),
        };
        let mut text = format!("{}\n", request.method);
        for name in SIGNED {
            match name {
                "" => {}
                "content-length" => text.push_str(&length),
                name => text.push_str(&value(name)),
            }
            text.push('\n');
        }
        let mut own: Vec<&str> =
            request.headers.keys().map(HeaderName::as_str).filter(|n| n.starts_with("x-ms-")).collect();
        own.sort_unstable();
        for name in own {
            text.push_str(&format!("{name}:{}\n", value(name)));
        }
        text.push_str(&format!("/{}{}", self.account, request.url.path()));
        let query = request.url.query().unwrap_or_default();
        let mut pairs: Vec<(String, String)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (name.to_ascii_lowercase(), percent::decode(value).unwrap_or_else(|| value.to_owned()))
            })
            .collect();
        pairs.sort();
        for (name, value) in pairs {
            text.push_str(&format!("\n{name}:{value}"));
        }
        text
    }
}

/// A shared access signature: the query of a URL, without `?`.
pub struct Sas {
    pub token: Secret,
}

impl Sign for Sas {
    fn sign(&self, request: &mut Request) -> Result<()> {
        version(&mut request.headers);
        let token = self.token.expose();
        let query = match request.url.query() {
            // A request that is sent once more carries it already.
            Some(query) if query.ends_with(token) => return Ok(()),
            Some(query) => format!("{query}&{token}"),
            None => token.to_owned(),
        };
        request.url.set_query(Some(&query));
        Ok(())
    }

    fn redact(&self, text: &str) -> String {
        let signature = self.token.expose().split('&').find_map(|pair| pair.strip_prefix("sig="));
        let decoded = signature.and_then(percent::decode);
        let all = [Some(self.token.expose()), signature, decoded.as_deref()];
        all.into_iter().flatten().fold(text.to_owned(), |text, secret| Secret::new(secret).redact(&text))
    }
}
