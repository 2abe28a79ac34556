//! The tokens on this machine: one YAML file, `version: '1'` and a list of tokens for each host, as the
//! `dagshub` client writes it.

use crate::utc;
use dds_core::{Config, Error, Kind, Result, Secret};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const VERSION: &str = "1";
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Tokens of one host.
const MAX_TOKENS: usize = 16;
const NEVER: &str = "never";

pub struct TokenStore {
    own: PathBuf,
    /// The `dagshub` client's, which is read only.
    theirs: Option<PathBuf>,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub secret: Secret,
    kind: String,
    /// `YYYY-MM-DDTHH:MM:SS…`, or `never`.
    expiry: String,
}

#[derive(Serialize, Deserialize)]
struct Raw {
    access_token: String,
    #[serde(default = "never")]
    expiry: String,
    #[serde(default)]
    token_type: String,
}

fn never() -> String {
    NEVER.to_owned()
}

impl Token {
    /// One that a user made in the account's settings.
    pub fn by_hand(secret: Secret) -> Self {
        Self { secret, kind: "app-token".into(), expiry: never() }
    }

    /// One that the browser's confirmation gave.
    pub fn confirmed(secret: Secret, expiry: String) -> Self {
        Self { secret, kind: "bearer".into(), expiry }
    }

    fn is_expired(&self, now: &str) -> bool {
        // To the second, both in UTC.
        self.expiry != NEVER && self.expiry.get(..19).is_none_or(|until| until < now)
    }
}

impl TokenStore {
    pub fn of(config: &Config) -> Self {
        Self { own: config.config_dir.join("tokens"), theirs: config.peers.dagshub_tokens.clone() }
    }

    pub fn path(&self) -> &Path {
        &self.own
    }

    /// A token for the host of `url`, of ours before one of the `dagshub` client. A file that cannot be
    /// read has none.
    pub fn token(&self, url: &Url) -> Option<Secret> {
        let now = utc::dashed(std::time::SystemTime::now());
        let files = std::iter::once(&self.own).chain(&self.theirs);
        files.filter_map(|file| read(file).ok()).find_map(|mut hosts| {
            let (_, tokens) = hosts.iter_mut().find(|(host, _)| same_host(host, url))?;
            tokens.iter().find(|t| !t.is_expired(&now)).map(|t| t.secret.clone())
        })
    }

    /// Keeps a token in front of the host's older ones.
    pub fn keep(&self, url: &Url, token: Token) -> Result<()> {
        self.change(|hosts| {
            let known = hosts.keys().find(|h| same_host(h, url)).cloned().unwrap_or_else(|| name(url));
            let tokens = hosts.entry(known).or_default();
            tokens.retain(|t| t.secret != token.secret);
            tokens.insert(0, token);
            tokens.truncate(MAX_TOKENS);
        })
    }

    /// Says whether there was one.
    pub fn forget(&self, url: &Url) -> Result<bool> {
        let mut had = false;
        if self.own.exists() {
            self.change(|hosts| {
                let before = hosts.len();
                hosts.retain(|host, _| !same_host(host, url));
                had = hosts.len() < before;
            })?;
        }
        Ok(had)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<Token>>)) -> Result<()> {
        let io = |e: std::io::Error| Error::io(&self.own, &e);
        let dir = self.own.parent().ok_or_else(|| Error::internal("the token store has no folder"))?;
        std::fs::create_dir_all(dir).map_err(io)?;
        let held = self.own.with_extension("lock");
        let lock = File::options().create(true).append(true).mode(0o600).open(&held).map_err(io)?;
        lock.lock().map_err(io)?;
        let mut hosts = read(&self.own)?;
        change(&mut hosts);
        // Nobody else can read a temporary file of this kind: its mode is 0600 from the start.
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(io)?;
        file.write_all(encode(&hosts)?.as_bytes()).map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        file.persist(&self.own).map_err(|e| io(e.error))?;
        File::open(dir).and_then(|d| d.sync_all()).map_err(io)
    }
}

/// How a host is written down, as the `dagshub` client does.
pub fn name(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path().trim_end_matches('/'))
}

fn same_host(host: &str, url: &Url) -> bool {
    host.parse::<Url>().is_ok_and(|h| h.origin() == url.origin())
}

fn encode(hosts: &BTreeMap<String, Vec<Token>>) -> Result<String> {
    let mut whole = serde_yaml_ng::Mapping::new();
    let broken = |e: serde_yaml_ng::Error| Error::internal(format!("the token store: {e}"));
    whole.insert("version".into(), VERSION.into());
    for (host, tokens) in hosts {
        let raw: Vec<Raw> = tokens
            .iter()
            .map(|t| Raw {
                access_token: t.secret.expose().to_owned(),
                expiry: t.expiry.clone(),
                token_type: t.kind.clone(),
            })
            .collect();
        whole.insert(host.as_str().into(), serde_yaml_ng::to_value(raw).map_err(broken)?);
    }
    serde_yaml_ng::to_string(&whole).map_err(broken)
}

/// A missing file has no tokens. Errors (`Format`) do not quote the file.
fn read(path: &Path) -> Result<BTreeMap<String, Vec<Token>>> {
    let mut text = String::new();
    match File::open(path).and_then(|f| f.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)) {
        Ok(n) if n as u64 > MAX_FILE_BYTES => {
            return Err(Error::new(
                Kind::Limit,
                format!("{} is longer than a list of tokens", path.display()),
            )
            .hint("remove it and log in again"));
        }
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(Error::io(path, &e)),
    }
    let broken = || {
        Error::new(Kind::Format, format!("{} is not a list of tokens", path.display()))
            .hint("remove it and log in again")
    };
    let whole: serde_yaml_ng::Mapping = serde_yaml_ng::from_str(&text).map_err(|_| broken())?;
    let mut hosts = BTreeMap::new();
    for (host, tokens) in whole {
        let Some(host) = host.as_str().filter(|h| *h != "version") else { continue };
        let raw: Vec<Raw> = serde_yaml_ng::from_value(tokens).map_err(|_| broken())?;
        let token =
            |r: Raw| Token { secret: Secret::new(r.access_token), kind: r.token_type, expiry: r.expiry };
        hosts.insert(host.to_owned(), raw.into_iter().map(token).collect());
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn store(dir: &Path) -> TokenStore {
        TokenStore { own: dir.join("dds/tokens"), theirs: None }
    }

    fn host() -> Url {
        "https://hub.example".parse().unwrap()
    }

    #[test]
    fn a_kept_file_becomes_private_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        for n in 0..MAX_TOKENS + 1 {
            store.keep(&host(), Token::by_hand(Secret::new(format!("t{n}")))).unwrap();
        }
        assert_eq!(store.token(&host()), Some(Secret::new(format!("t{MAX_TOKENS}"))));
        assert_eq!(read(&store.own).unwrap()["https://hub.example"].len(), MAX_TOKENS);
        // Whoever opened it to others gets it back closed.
        std::fs::set_permissions(&store.own, std::fs::Permissions::from_mode(0o644)).unwrap();
        store.keep(&"https://other.example".parse().unwrap(), Token::by_hand(Secret::new("o"))).unwrap();
        assert_eq!(std::fs::metadata(&store.own).unwrap().permissions().mode() & 0o777, 0o600);
        let left: Vec<_> = std::fs::read_dir(dir.path().join("dds")).unwrap().flatten().collect();
        assert_eq!(left.len(), 2, "the tokens and their lock: {left:?}");
        assert!(store.forget(&host()).unwrap() && !store.forget(&host()).unwrap());
        assert!(store.token(&"https://other.example:444".parse().unwrap()).is_none());
        assert!(store.token(&"http://other.example".parse().unwrap()).is_none());
        assert!(store.token(&"https://other.example".parse().unwrap()).is_some());
    }

    #[test]
    fn a_file_of_the_longest_length_is_read_and_a_longer_one_is_not_cut() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens");
        let mut text = "version: '1'\nhttps://hub.example:\n- access_token: t\n#".to_owned();
        text.extend(std::iter::repeat_n('x', MAX_FILE_BYTES as usize - text.len()));
        std::fs::write(&file, &text).unwrap();
        assert_eq!(read(&file).unwrap().len(), 1);
        std::fs::write(&file, text + "x").unwrap();
        assert_eq!(read(&file).unwrap_err().kind, Kind::Limit);
    }
}
