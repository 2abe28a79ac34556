//! Where AWS's tools keep credentials, in their order: the remote's own settings, the environment, the
//! files `credentials` and `config` with their profiles.
//!
//! Not followed: single sign-on, `credential_process`, roles, and the metadata service of a machine in
//! the cloud.

use crate::account;
use crate::client::Auth;
use crate::dvc::RemoteConfig;
use dds_core::{Config, Error, Kind, Result, Secret};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

const DEFAULT_REGION: &str = "us-east-1";
const MAX_FILE_BYTES: u64 = 1 << 20;

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub id: Secret,
    pub secret: Secret,
    pub session: Option<Secret>,
}

impl Account {
    pub fn redact(&self, text: &str) -> String {
        let text = self.secret.redact(&self.id.redact(text));
        self.session.as_ref().map_or(text.clone(), |s| s.redact(&text))
    }
}

#[derive(Debug)]
pub struct Found {
    pub account: Option<Account>,
    pub region: String,
    pub endpoint: Option<String>,
}

pub fn missing(remote: &RemoteConfig) -> Error {
    Error::new(
        Kind::Unauthorized,
        format!("no credentials for the DVC remote {:?} ({})", remote.name, remote.scheme()),
    )
    .hint(format!(
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`; of a public bucket: dvc \
         remote modify {} allow_anonymous_login true; single sign-on: eval \"$(aws configure \
         export-credentials --format env)\"",
        remote.name
    ))
}

pub fn find(remote: &RemoteConfig, config: &Config) -> Result<Found> {
    let peers = &config.peers;
    let home = peers.home.as_deref();
    let named = remote.get("profile").map(str::to_owned);
    let profile = named
        .clone()
        .or_else(|| peers.var("AWS_PROFILE").map(str::to_owned))
        .or_else(|| peers.var("AWS_DEFAULT_PROFILE").map(str::to_owned));
    let file = |key: &str, var: &str, default: &str| -> Option<PathBuf> {
        remote
            .path(key, home)
            .or_else(|| peers.var(var).map(PathBuf::from))
            .or_else(|| Some(home?.join(default)))
    };
    let wanted = profile.as_deref().unwrap_or("default");
    let keys = read(file("credentialpath", "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials").as_deref())?;
    let more = read(file("configpath", "AWS_CONFIG_FILE", ".aws/config").as_deref())?;
    let keys = keys.get(wanted);
    let more = more.get(&format!("profile {wanted}")).or_else(|| more.get(wanted));
    if named.is_some() && keys.is_none() && more.is_none() {
        return Err(remote.broken("profile", "names a profile that is in no file of AWS"));
    }
    let of_profile = |key: &str| -> Option<String> {
        keys.and_then(|k| k.get(key)).or_else(|| more.and_then(|k| k.get(key))).cloned()
    };
    let var = |name: &str| peers.var(name).map(str::to_owned);
    let region = remote
        .get("region")
        .map(str::to_owned)
        .or_else(|| var("AWS_REGION"))
        .or_else(|| var("AWS_DEFAULT_REGION"))
        .or_else(|| of_profile("region"))
        .unwrap_or_else(|| DEFAULT_REGION.to_owned());
    let endpoint = remote
        .get("endpointurl")
        .map(str::to_owned)
        .or_else(|| var("AWS_ENDPOINT_URL_S3"))
        .or_else(|| var("AWS_ENDPOINT_URL"))
        .or_else(|| of_profile("endpoint_url"));
    let own = remote.secret("access_key_id").zip(remote.secret("secret_access_key"));
    let account = match own {
        Some((id, secret)) => Some(Account { id, secret, session: remote.secret("session_token") }),
        // A profile that the remote names wins over the environment; one of the environment does not.
        None if named.is_none() => {
            var("AWS_ACCESS_KEY_ID").zip(var("AWS_SECRET_ACCESS_KEY")).map(|(id, secret)| Account {
                id: Secret::new(id),
                secret: Secret::new(secret),
                session: var("AWS_SESSION_TOKEN").map(Secret::new),
            })
        }
        None => None,
    };
    let account = account.or_else(|| {
        Some(Account {
            id: Secret::new(of_profile("aws_access_key_id")?),
            secret: Secret::new(of_profile("aws_secret_access_key")?),
            session: of_profile("aws_session_token").map(Secret::new),
        })
    });
    let account = account.or_else(|| hub_account(endpoint.as_deref(), config));
    Ok(Found { account, region, endpoint })
}

/// DagsHub's buckets take the account's token as both keys.
fn hub_account(endpoint: Option<&str>, config: &Config) -> Option<Account> {
    match account::for_host(config, &endpoint?.parse().ok()?)? {
        Auth::Token(token) => Some(Account { id: token.clone(), secret: token, session: None }),
        Auth::Login(..) => None,
    }
}

pub type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// A file of sections; a missing one has none.
pub fn read(path: Option<&Path>) -> Result<Sections> {
    let Some(path) = path else { return Ok(Sections::new()) };
    let mut text = String::new();
    match std::fs::File::open(path).and_then(|f| f.take(MAX_FILE_BYTES).read_to_string(&mut text)) {
        Ok(_) => Ok(sections(&text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Sections::new()),
        Err(e) => Err(Error::io(path, &e)),
    }
}

fn sections(text: &str) -> Sections {
    let mut found = Sections::new();
    let mut at = String::new();
    for line in text.lines() {
        // Nested settings (`s3 =` with lines below it) are none of ours.
        if line.starts_with([' ', '\t']) || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.trim().strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            at = name.split_whitespace().collect::<Vec<_>>().join(" ");
            found.entry(at.clone()).or_default();
        } else if let Some((key, value)) = line.split_once('=') {
            let section = found.entry(at.clone()).or_default();
            section.insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    found
}
