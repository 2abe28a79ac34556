//! AWS Signature Version 4, for S3: <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
//!
//! The path is encoded once and not normalised, as S3 wants it. Nothing here touches the network.

use super::credentials::Account;
use crate::client::fetch::Sign;
use crate::client::transport::{Content, Request};
use crate::utc;
use dds_core::{Error, Result};
use hmac::{Hmac, Mac};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

/// SHA-256 of the body; whoever sends a file sets it beforehand.
pub const CONTENT_HEADER: &str = "x-amz-content-sha256";
const DATE_HEADER: &str = "x-amz-date";
const TOKEN_HEADER: &str = "x-amz-security-token";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const CHUNK: usize = 1 << 20;

/// Signs for one account and region.
pub struct SigV4 {
    pub account: Account,
    pub region: String,
}

impl Sign for SigV4 {
    fn sign(&self, request: &mut Request) -> Result<()> {
        self.sign_at(request, &utc::compact(SystemTime::now()))
    }

    fn redact(&self, text: &str) -> String {
        self.account.redact(text)
    }
}

impl SigV4 {
    /// `at` is `YYYYMMDDTHHMMSSZ`.
    pub fn sign_at(&self, request: &mut Request, at: &str) -> Result<()> {
        let day = at.get(..8).unwrap_or_default();
        if !request.headers.contains_key(CONTENT_HEADER) {
            let digest = match &request.body {
                Content::Empty => hex::encode(Sha256::digest(b"")),
                Content::Bytes(bytes) => hex::encode(Sha256::digest(bytes)),
                _ => "UNSIGNED-PAYLOAD".to_owned(),
            };
            put(&mut request.headers, CONTENT_HEADER, &digest)?;
        }
        put(&mut request.headers, DATE_HEADER, at)?;
        if let Some(session) = &self.account.session {
            put(&mut request.headers, TOKEN_HEADER, session.expose())?;
        }
        let host = host(&request.url);
        let mut signed: Vec<(String, String)> = request
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-amz-") || *name == "range")
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
            })
            .collect();
        signed.push(("host".into(), host));
        signed.sort();
        let names = signed.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(";");
        let mut canonical =
            format!("{}\n{}\n{}\n", request.method, request.url.path(), canonical_query(&request.url));
        for (name, value) in &signed {
            canonical.push_str(&format!("{name}:{value}\n"));
        }
        let content = request.headers.get(CONTENT_HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
        canonical.push_str(&format!("\n{names}\n{content}"));
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let text = format!("{ALGORITHM}\n{at}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
        let mut key = format!("AWS4{}", self.account.secret.expose()).into_bytes();
        for part in [day, &self.region, "s3", "aws4_request"] {
            key = mac(&key, part)?;
        }
        let signature = hex::encode(mac(&key, &text)?);
        let id = self.account.id.expose();
        let value =
            format!("{ALGORITHM} Credential={id}/{scope},SignedHeaders={names},Signature={signature}");
        let mut value = HeaderValue::from_str(&value).map_err(|_| unsendable())?;
        value.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

fn unsendable() -> Error {
    Error::usage("the access key holds characters that cannot be sent").hint("copy it again, without spaces")
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<()> {
    headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).map_err(|_| unsendable())?);
    Ok(())
}

fn mac(key: &[u8], text: &str) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|e| Error::internal(format!("HMAC: {e}")))?;
    mac.update(text.as_bytes());
    Ok(mac.finalize().into_bytes().to_vec())
}

fn host(url: &Url) -> String {
    match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    }
}

/// Our own URLs are encoded as S3 wants them already; what is left is the order.
fn canonical_query(url: &Url) -> String {
    let mut pairs: Vec<String> = url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|p| if p.contains('=') { p.to_owned() } else { format!("{p}=") })
        .collect();
    pairs.sort();
    pairs.join("&")
}

pub fn sha256_of_file(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).map_err(|e| Error::io(path, &e))?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = file.read(&mut chunk).map_err(|e| Error::io(path, &e))?;
        let Some(part) = chunk.get(..n).filter(|p| !p.is_empty()) else { break };
        hasher.update(part);
    }
    Ok(hex::encode(hasher.finalize()))
}
