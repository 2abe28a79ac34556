//! Where dvc and the Azure command line keep accounts, in their order: the remote's own settings, the
//! environment (`AZURE_STORAGE_…`), the section `storage` of `~/.azure/config`.
//!
//! A key or a signature of the environment or of that file goes to the account that is named beside it,
//! and to no other that a repository names.

use crate::dvc::RemoteConfig;
use crate::remote::s3;
use dds_core::{Config, Error, Kind, Result, Secret};
use reqwest::Url;
use std::collections::BTreeMap;

const SUFFIX: &str = "core.windows.net";
/// The account of Azurite and of the older storage emulator, which everybody knows:
/// <https://learn.microsoft.com/azure/storage/common/storage-use-azurite>.
const EMULATOR: (&str, &str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "http://127.0.0.1:10000/devstoreaccount1",
);

pub enum Proof {
    Key(Secret),
    Sas(Secret),
    None,
}

pub struct Found {
    pub account: String,
    pub endpoint: Url,
    pub proof: Proof,
    /// Whether the repository's own settings chose the endpoint.
    pub from_repository: bool,
}

/// The account of a remote. Errors: `Unauthorized` when there is none, `Format` for broken settings.
pub fn find(remote: &RemoteConfig, config: &Config) -> Result<Found> {
    for key in ["tenant_id", "client_id", "client_secret"] {
        if remote.get(key).is_some() {
            return Err(remote
                .broken(key, "is not supported by dds")
                .hint("use account_name with account_key or sas_token, or a connection_string"));
        }
    }
    let anonymous = remote.flag("allow_anonymous_login", false)?;
    if let Some(text) = remote.secret("connection_string") {
        let from_repository = !remote.is_own("connection_string");
        return from_connection_string(&text, from_repository)
            .ok_or_else(|| remote.broken("connection_string", "is not a connection string of Azure"));
    }
    let outer = outer(config)?;
    let named = remote.get("account_name");
    let is_outer = named.is_none_or(|name| outer.account.as_deref() == Some(name));
    let own = remote.secret("account_key").is_some() || remote.secret("sas_token").is_some();
    if let Some(text) = outer.connection.as_ref().filter(|_| !own && !anonymous) {
        let found = from_connection_string(text, false).ok_or_else(|| {
            Error::new(Kind::Format, "AZURE_STORAGE_CONNECTION_STRING is not a connection string of Azure")
                .hint("copy it again from the portal, whole")
        })?;
        if named.is_none_or(|name| name == found.account) {
            return Ok(found);
        }
    }
    let Some(account) = named.map(str::to_owned).or_else(|| outer.account.clone()) else {
        return Err(missing(remote));
    };
    let proof = match (remote.secret("account_key"), remote.secret("sas_token")) {
        _ if anonymous => Some(Proof::None),
        (Some(key), _) => Some(Proof::Key(key)),
        (None, Some(token)) => Some(Proof::Sas(without_mark(&token))),
        (None, None) if is_outer => {
            outer.key.map(Proof::Key).or_else(|| outer.sas.map(|t| Proof::Sas(without_mark(&t))))
        }
        (None, None) => None,
    };
    let plain = account.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) && account.len() >= 3;
    if !plain {
        return Err(remote.broken("account_name", "is not the name of an account"));
    }
    let text = format!("https://{account}.blob.{SUFFIX}");
    let endpoint = text.parse().map_err(|e| Error::internal(format!("{text}: {e}")))?;
    let from_repository = named.is_some() && !remote.is_own("account_name");
    Ok(Found { account, endpoint, proof: proof.ok_or_else(|| missing(remote))?, from_repository })
}

fn missing(remote: &RemoteConfig) -> Error {
    Error::new(Kind::Unauthorized, format!("no credentials for the DVC remote {:?} (azure)", remote.name)).hint(
        format!(
            "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or \
             AZURE_STORAGE_SAS_TOKEN; or: dvc remote modify --local {} connection_string …; of a public container: \
             account_name and allow_anonymous_login true",
            remote.name
        ),
    )
}

fn without_mark(token: &Secret) -> Secret {
    Secret::new(token.expose().trim_start_matches('?'))
}

/// `Name=value;Name=value`, names in any case.
fn from_connection_string(text: &Secret, from_repository: bool) -> Option<Found> {
    let parts: BTreeMap<String, &str> = text
        .expose()
        .split(';')
        .filter_map(|part| part.trim().split_once('='))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    let part = |name: &str| parts.get(name).copied().filter(|v| !v.is_empty());
    let emulated = part("usedevelopmentstorage").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let (account, key, endpoint) = match emulated {
        true => (EMULATOR.0.to_owned(), Some(EMULATOR.1), Some(EMULATOR.2.to_owned())),
        false => (
            part("accountname").unwrap_or_default().to_owned(),
            part("accountkey"),
            part("blobendpoint").map(str::to_owned),
        ),
    };
    let scheme = part("defaultendpointsprotocol").unwrap_or("https");
    let suffix = part("endpointsuffix").unwrap_or(SUFFIX);
    let text = endpoint.unwrap_or_else(|| format!("{scheme}://{account}.blob.{suffix}"));
    let endpoint: Url = text.parse().ok()?;
    if !matches!(endpoint.scheme(), "http" | "https") || !endpoint.username().is_empty() {
        return None;
    }
    let proof = match (key, part("sharedaccesssignature")) {
        (Some(key), _) if !account.is_empty() => Proof::Key(Secret::new(key)),
        (_, Some(token)) => Proof::Sas(without_mark(&Secret::new(token))),
        _ => return None,
    };
    Some(Found { account, endpoint, proof, from_repository })
}

/// What stands outside the repository.
#[derive(Default)]
struct Outer {
    connection: Option<Secret>,
    account: Option<String>,
    key: Option<Secret>,
    sas: Option<Secret>,
}

fn outer(config: &Config) -> Result<Outer> {
    let peers = &config.peers;
    let file = peers.home.as_ref().map(|home| home.join(".azure/config"));
    let sections = s3::read_sections(file.as_deref())?;
    let find = |var: &str, key: &str| -> Option<String> {
        let stored = || sections.get("storage").and_then(|s| s.get(key)).filter(|v| !v.is_empty()).cloned();
        peers.var(var).map(str::to_owned).or_else(stored)
    };
    let secret = |var: &str, key: &str| find(var, key).map(Secret::new);
    Ok(Outer {
        connection: secret("AZURE_STORAGE_CONNECTION_STRING", "connection_string"),
        account: find("AZURE_STORAGE_ACCOUNT", "account"),
        key: secret("AZURE_STORAGE_KEY", "key"),
        sas: secret("AZURE_STORAGE_SAS_TOKEN", "sas_token"),
    })
}
