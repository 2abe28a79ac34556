//! Logins to Google's services: the key of a service account, which signs a request for a token (RFC 7523,
//! <https://developers.google.com/identity/protocols/oauth2/service-account>), or a user's login, which holds
//! a token for tokens. A token is asked for before the first request, and again before it ends.

use crate::client::fetch::Sign;
use crate::client::http::Http;
use crate::client::transport::{Content, PATIENCE, Request, Transport};
use crate::dvc::RemoteConfig;
use crate::flight::lock;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use dds_core::mime::printable;
use dds_core::{Config, Error, Kind, Result, Secret};
use futures_util::StreamExt;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// Where `gcloud auth application-default login` puts a login, below the home folder.
const DEFAULT_FILE: &str = ".config/gcloud/application_default_credentials.json";
const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// How long a token is asked for.
const LIFETIME: Duration = Duration::from_secs(3600);
/// A token that ends sooner is replaced.
const MARGIN: Duration = Duration::from_secs(60);

/// The token of the moment.
#[derive(Default)]
pub struct Bearer {
    current: Mutex<Option<(Secret, Instant)>>,
}

impl Bearer {
    fn is_good(&self) -> bool {
        lock(&self.current).as_ref().is_some_and(|(_, end)| *end > Instant::now() + MARGIN)
    }
}

impl Sign for Bearer {
    fn sign(&self, request: &mut Request) -> Result<()> {
        let Some((token, _)) = lock(&self.current).clone() else { return Ok(()) };
        let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
        let mut value = value.map_err(|_| Error::new(Kind::Unreachable, "Google's token cannot be sent"))?;
        value.set_sensitive(true);
        request.headers.insert(AUTHORIZATION, value);
        Ok(())
    }

    fn redact(&self, text: &str) -> String {
        lock(&self.current).as_ref().map_or_else(|| text.to_owned(), |(token, _)| token.redact(text))
    }
}

/// A file of Google's, of the two kinds that are followed.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum File {
    ServiceAccount {
        client_email: String,
        #[serde(deserialize_with = "secret")]
        private_key: Secret,
        private_key_id: Option<String>,
        token_uri: Option<String>,
    },
    AuthorizedUser {
        client_id: String,
        #[serde(deserialize_with = "secret")]
        client_secret: Secret,
        #[serde(deserialize_with = "secret")]
        refresh_token: Secret,
        token_uri: Option<String>,
    },
    #[serde(other)]
    Other,
}

/// What a login is made of.
pub struct Credentials {
    file: File,
    token_uri: Url,
}

pub struct Login {
    credentials: Credentials,
    bearer: Arc<Bearer>,
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(deserialize_with = "secret")]
    access_token: Secret,
    /// Seconds.
    expires_in: Option<u64>,
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

pub fn missing(remote: &RemoteConfig) -> Error {
    Error::new(Kind::Unauthorized, format!("no credentials for the DVC remote {:?} (gs)", remote.name)).hint(format!(
        "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to the file of a service \
         account; of a public bucket: dvc remote modify {} allow_anonymous_login true",
        remote.name
    ))
}

/// The login of a remote: its own file, the one that the environment names, or the user's. None where there
/// is no such file. Errors (`Format`) for files of another kind.
pub fn find(remote: &RemoteConfig, config: &Config) -> Result<Option<Credentials>> {
    let home = config.peers.home.as_deref();
    let named = remote
        .path("credentialpath", home)
        .or_else(|| config.peers.var("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from));
    let (path, must_exist) = match (named, home) {
        (Some(path), _) => (path, true),
        (None, Some(home)) => (home.join(DEFAULT_FILE), false),
        (None, None) => return Ok(None),
    };
    let mut text = Vec::new();
    match std::fs::File::open(&path).and_then(|f| f.take(MAX_FILE_BYTES).read_to_end(&mut text)) {
        Ok(_) => parse(&path, &text).map(Some),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(e) => Err(Error::io(&path, &e)),
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<Credentials> {
    let broken = |why: &str| {
        Error::new(Kind::Format, format!("{} {why}", path.display())).hint(
            "make a new one: `gcloud auth application-default login`, or a key of a service account in JSON",
        )
    };
    let file: File =
        serde_json::from_slice(text).map_err(|_| broken("is no file of Google's credentials"))?;
    let uri = match &file {
        File::ServiceAccount { token_uri, .. } | File::AuthorizedUser { token_uri, .. } => token_uri.clone(),
        File::Other => return Err(broken("is a kind of Google's credentials that dds does not follow")),
    };
    let token_uri =
        uri.as_deref().unwrap_or(TOKEN_URI).parse().map_err(|_| broken("has a broken token_uri"))?;
    if let File::ServiceAccount { private_key, .. } = &file {
        key_pair(private_key).map_err(|why| broken(&why))?;
    }
    Ok(Credentials { file, token_uri })
}

/// From PEM (PKCS #8).
fn key_pair(pem: &Secret) -> std::result::Result<RsaKeyPair, String> {
    let body: String = pem.expose().lines().map(str::trim).filter(|l| !l.starts_with("-----")).collect();
    let der = STANDARD.decode(body).map_err(|_| "holds a broken private key".to_owned())?;
    RsaKeyPair::from_pkcs8(&der).map_err(|e| format!("holds a private key that is not understood ({e})"))
}

impl Credentials {
    pub fn into_login(self, bearer: Arc<Bearer>) -> Login {
        Login { credentials: self, bearer, asking: tokio::sync::Mutex::default() }
    }

    /// The form with which a token is asked for. `now` is in seconds since 1970.
    fn form(&self, now: u64) -> Result<Vec<(&'static str, String)>> {
        Ok(match &self.file {
            File::ServiceAccount { client_email, private_key, private_key_id, .. } => vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".into()),
                ("assertion", self.assertion(client_email, private_key, private_key_id.as_deref(), now)?),
            ],
            File::AuthorizedUser { client_id, client_secret, refresh_token, .. } => vec![
                ("grant_type", "refresh_token".into()),
                ("client_id", client_id.clone()),
                ("client_secret", client_secret.expose().to_owned()),
                ("refresh_token", refresh_token.expose().to_owned()),
            ],
            File::Other => return Err(Error::internal("a login of another kind")),
        })
    }

    /// A JSON web token, signed with RS256.
    fn assertion(&self, email: &str, key: &Secret, id: Option<&str>, now: u64) -> Result<String> {
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let (Some(id), Some(header)) = (id, header.as_object_mut()) {
            header.insert("kid".into(), id.into());
        }
        let claims = json!({
            "iss": email, "scope": SCOPE, "aud": self.token_uri.as_str(),
            "iat": now, "exp": now + LIFETIME.as_secs(),
        });
        let text = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let pair = key_pair(key).map_err(Error::internal)?;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| Error::internal("the request for a token could not be signed"))?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Login {
    /// Waits until there is a token that is good for a while.
    ///
    /// Errors: `Unauthorized` when the login is refused, `Unreachable`.
    pub async fn ready(&self) -> Result<()> {
        if self.bearer.is_good() {
            return Ok(());
        }
        let _one = self.asking.lock().await;
        if self.bearer.is_good() {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let uri = &self.credentials.token_uri;
        let request = Request {
            method: Method::POST,
            url: uri.clone(),
            headers: HeaderMap::new(),
            body: Content::Fields(self.credentials.form(now)?),
            patience: PATIENCE,
        };
        let place = uri.origin().ascii_serialization();
        let failed = |kind: Kind, why: &str| {
            Error::new(kind, format!("{place} gave no token: {}", printable(why)))
                .hint("log in again: `gcloud auth application-default login`, or make a new key of the service account")
        };
        let sent =
            Http::new(uri)?.send(request).await.map_err(|e| failed(Kind::Unreachable, &e.to_string()))?;
        let (status, mut body) = (sent.status, sent.body);
        let mut text = Vec::new();
        while let Some(chunk) = body.next().await {
            text.extend_from_slice(&chunk.map_err(|e| failed(Kind::Unreachable, &e.to_string()))?);
            if text.len() > MAX_ANSWER_BYTES {
                return Err(failed(Kind::Unreachable, "the answer is too long"));
            }
        }
        if !matches!(status, 200..=299) {
            // `{"error": "invalid_grant", "error_description": …}`, which repeats no secret.
            let said: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
            let word = |key: &str| said.as_ref()?.get(key)?.as_str().map(str::to_owned);
            let why = word("error_description").or_else(|| word("error")).unwrap_or_default();
            let kind = if status < 500 { Kind::Unauthorized } else { Kind::Unreachable };
            return Err(failed(kind, &format!("HTTP {status} {why}")));
        }
        let granted: Granted = serde_json::from_slice(&text)
            .map_err(|_| failed(Kind::Unreachable, "an answer without a token"))?;
        let lifetime = granted.expires_in.map_or(LIFETIME, Duration::from_secs);
        *lock(&self.bearer.current) = Some((granted.access_token, Instant::now() + lifetime.min(LIFETIME)));
        Ok(())
    }
}
