//! Plain HTTP remotes: GET with ranges, HEAD, and POST or PUT for uploads, as DVC does them.

use super::{Key, Remote, check_address, check_tls, refused, upload_patience};
use crate::account;
use crate::client::fetch::{Anonymous, Answer, Fetcher, Got, Sign, content_length};
use crate::client::http::Http;
use crate::client::transport::{BoxFuture, Content, PATIENCE, Request};
use crate::client::{Auth, Retry};
use crate::dvc::RemoteConfig;
use crate::percent;
use bytes::Bytes;
use dds_core::{Config, Error, Result, Secret};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

pub struct HttpRemote {
    site: Site,
    upload: Method,
}

/// A base URL and how to ask it; what HTTP and WebDAV remotes share.
#[derive(Clone)]
pub struct Site {
    pub name: String,
    pub shown: String,
    pub base: Url,
    pub fetcher: Fetcher,
}

impl HttpRemote {
    pub fn open(remote: &RemoteConfig, config: &Config, elsewhere: bool) -> Result<Self> {
        let site = Site::open(remote, remote.url(), config, elsewhere)?;
        let upload = remote.get("method").unwrap_or("POST").to_uppercase();
        let upload = Method::from_bytes(upload.as_bytes())
            .map_err(|_| remote.broken("method", "is not an HTTP method"))?;
        Ok(Self { site, upload })
    }
}

impl Remote for HttpRemote {
    fn shown(&self) -> &str {
        &self.site.shown
    }

    fn len(&self, key: &Key) -> BoxFuture<Result<Option<u64>>> {
        let (site, key) = (self.site.clone(), key.clone());
        Box::pin(async move { site.len(&key).await })
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>, max: u64) -> BoxFuture<Result<Option<Bytes>>> {
        let (site, key) = (self.site.clone(), key.clone());
        Box::pin(async move { site.get(&key, range, max).await })
    }

    fn put(&self, key: &Key, file: PathBuf, len: u64) -> BoxFuture<Result<()>> {
        let (site, method, key) = (self.site.clone(), self.upload.clone(), key.clone());
        Box::pin(async move {
            let body = Content::File { path: file, len };
            let response = site.send(method, site.url(&key.path)?, HeaderMap::new(), body, len).await?;
            match response.status {
                200..=299 => Ok(()),
                _ => Err(site.refused(response).await),
            }
        })
    }
}

impl Site {
    /// `url` is http(s); user information in it counts as credentials.
    pub fn open(remote: &RemoteConfig, url: &str, config: &Config, elsewhere: bool) -> Result<Self> {
        check_tls(remote)?;
        let mut base: Url = url.parse().map_err(|_| remote.broken("url", "is not a URL"))?;
        check_address(remote, &base, elsewhere)?;
        let inline = (!base.username().is_empty()).then(|| {
            let text = |t: &str| percent::decode(t).unwrap_or_else(|| t.to_owned());
            (text(base.username()), base.password().map(|p| Secret::new(text(p))))
        });
        let _ = base.set_username("");
        let _ = base.set_password(None);
        base.set_query(None);
        base.set_fragment(None);
        let path = format!("{}/{}", base.path().trim_end_matches('/'), percent::path(remote.below()));
        base.set_path(path.trim_end_matches('/'));
        let user = remote.get("user").map(str::to_owned);
        let password = remote.secret("password");
        let signer: Arc<dyn Sign> = match (remote.get("custom_auth_header"), remote.secret("token")) {
            (Some(header), token) if token.is_some() || remote.get("auth") != Some("basic") => {
                let value = token
                    .or(password)
                    .ok_or_else(|| remote.broken("password", "is needed for custom_auth_header"))?;
                Arc::new(CustomHeader { name: header_name(remote, header)?, value })
            }
            (_, Some(token)) => Arc::new(Auth::Token(token)),
            (_, None) => match (user, password, inline) {
                (Some(user), password, _) => Arc::new(Auth::Login(user, password.unwrap_or_default())),
                (None, password, Some((user, inline))) => {
                    Arc::new(Auth::Login(user, password.or(inline).unwrap_or_default()))
                }
                // A DagsHub host's repositories are DVC remotes too.
                (None, _, None) => match account::for_host(config, &base) {
                    Some(auth) => Arc::new(auth),
                    None => Arc::new(Anonymous),
                },
            },
        };
        let http = if elsewhere { Http::outward(&base)? } else { Http::new(&base)? };
        let fetcher = Fetcher::new(Arc::new(http), base.clone(), signer, Retry::default());
        Ok(Self { name: remote.name.clone(), shown: base.to_string(), base, fetcher })
    }

    pub fn url(&self, key: &str) -> Result<Url> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{}", self.base.path().trim_end_matches('/'), percent::path(key)));
        Ok(url)
    }

    pub async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Content,
        len: u64,
    ) -> Result<crate::client::transport::Response> {
        let patience = if len > 0 { upload_patience(len) } else { PATIENCE };
        self.fetcher.send(&Request { method, url, headers, body, patience }).await.map_err(|e| self.named(e))
    }

    pub async fn len(&self, key: &Key) -> Result<Option<u64>> {
        let url = self.url(&key.path)?;
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let response = self.send(Method::HEAD, url.clone(), headers, Content::Empty, 0).await?;
        match response.status {
            200..=299 => match content_length(&response.headers) {
                Some(len) => Ok(Some(len)),
                None => self.len_by_range(url).await,
            },
            404 | 410 => Ok(None),
            405 | 501 => self.len_by_range(url).await,
            _ => Err(self.refused(response).await),
        }
    }

    /// For servers that know no HEAD.
    async fn len_by_range(&self, url: Url) -> Result<Option<u64>> {
        match self.fetcher.get(url, Some(0..1), 1, false).await.map_err(|e| self.named(e))? {
            Got::Answer(Answer { headers, bytes }) => {
                let total = headers
                    .get(CONTENT_RANGE)
                    .and_then(|r| r.to_str().ok())
                    .and_then(|r| r.rsplit('/').next()?.parse().ok());
                let whole = content_length(&headers).filter(|_| !headers.contains_key(CONTENT_RANGE));
                total.or(whole).or(bytes.is_empty().then_some(0)).map(Some).ok_or_else(|| {
                    Error::new(
                        dds_core::Kind::Unreachable,
                        format!("{}: the server tells no sizes", self.shown),
                    )
                })
            }
            Got::Refused(response) if matches!(response.status, 404 | 410) => Ok(None),
            Got::Refused(response) => Err(self.refused(response).await),
        }
    }

    pub async fn get(&self, key: &Key, range: Option<Range<u64>>, max: u64) -> Result<Option<Bytes>> {
        match self.fetcher.get(self.url(&key.path)?, range, max, false).await.map_err(|e| self.named(e))? {
            Got::Answer(answer) => Ok(Some(answer.bytes)),
            Got::Refused(response) if matches!(response.status, 404 | 410) => Ok(None),
            Got::Refused(response) => Err(self.refused(response).await),
        }
    }

    pub async fn refused(&self, response: crate::client::transport::Response) -> Error {
        refused(&self.name, &self.shown, |t| self.fetcher.signer.safe(t), response).await
    }

    fn named(&self, e: Error) -> Error {
        if e.kind == dds_core::Kind::Unreachable {
            return e.context(format!("the DVC remote {:?}", self.name));
        }
        e
    }
}

/// `auth = custom`: a header of the remote's own choice.
struct CustomHeader {
    name: HeaderName,
    value: Secret,
}

fn header_name(remote: &RemoteConfig, name: &str) -> Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| remote.broken("custom_auth_header", "is not a header name"))
}

impl Sign for CustomHeader {
    fn sign(&self, request: &mut Request) -> Result<()> {
        let mut value = HeaderValue::from_str(self.value.expose())
            .map_err(|_| Error::usage("the password holds characters that cannot be sent"))?;
        value.set_sensitive(true);
        request.headers.insert(self.name.clone(), value);
        Ok(())
    }

    fn redact(&self, text: &str) -> String {
        self.value.redact(text)
    }
}
