//! What the owner of a mount and its process `dds __mount` say to each other: JSON, one line each.
//!
//! Secrets travel on stdin only, never in arguments or the environment, and nothing here can be
//! printed with `Debug`.

use crate::stats::Stats;
use dds_core::repo_url::Credentials;
use dds_core::{Config, Error, Kind, PeerSettings, RepoPath, RepoUrl, Result, Secret};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::path::PathBuf;

/// Longest line, in bytes.
pub const MAX_LINE: u64 = 4 * 1024 * 1024;
/// Most paths in one message; more go in several.
pub const MAX_PATHS: usize = 4096;

/// The first line on stdin: what this process is for.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Mount(Box<Spec>),
    /// Wait for stdin to close without a word, then take the dead mount off `dir`.
    Watch {
        dir: PathBuf,
    },
    /// Wait for stdin to close without a word, then remove the files of a session without FUSE
    /// ([`crate::streams`]), of which `record` tells.
    Sweep {
        record: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
pub struct Spec {
    pub url: Url,
    pub dir: PathBuf,
    /// The branch that is followed, when the folder may be written.
    pub branch: Option<String>,
    pub config: Settings,
}

/// A [`RepoUrl`] with its credentials.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Url {
    Hub {
        base: String,
        owner: String,
        repo: String,
        rev: Option<String>,
        credentials: Option<(String, String)>,
    },
    DagsHub {
        owner: String,
        repo: String,
        rev: Option<String>,
    },
    Git {
        url: String,
        rev: Option<String>,
        credentials: Option<(String, String)>,
    },
    Local {
        path: PathBuf,
        rev: Option<String>,
    },
}

impl From<RepoUrl> for Url {
    fn from(url: RepoUrl) -> Self {
        match url {
            RepoUrl::Hub { base, owner, repo, rev, credentials } => {
                Url::Hub { base, owner, repo, rev, credentials: credentials.map(pair) }
            }
            RepoUrl::Git { url, rev, credentials } => {
                Url::Git { url, rev, credentials: credentials.map(pair) }
            }
            RepoUrl::DagsHub { owner, repo, rev } => Url::DagsHub { owner, repo, rev },
            RepoUrl::Local { path, rev } => Url::Local { path, rev },
        }
    }
}

impl From<Url> for RepoUrl {
    fn from(url: Url) -> Self {
        match url {
            Url::Hub { base, owner, repo, rev, credentials } => {
                RepoUrl::Hub { base, owner, repo, rev, credentials: credentials.map(unpair) }
            }
            Url::Git { url, rev, credentials } => {
                RepoUrl::Git { url, rev, credentials: credentials.map(unpair) }
            }
            Url::DagsHub { owner, repo, rev } => RepoUrl::DagsHub { owner, repo, rev },
            Url::Local { path, rev } => RepoUrl::Local { path, rev },
        }
    }
}

fn pair(c: Credentials) -> (String, String) {
    (c.user, c.password.expose().to_owned())
}

fn unpair((user, password): (String, String)) -> Credentials {
    Credentials { user, password: Secret::new(password) }
}

/// A [`Config`].
#[derive(Serialize, Deserialize)]
pub struct Settings {
    exe: PathBuf,
    cache_dir: PathBuf,
    config_dir: PathBuf,
    data_dir: PathBuf,
    runtime_dir: PathBuf,
    dagshub_host: String,
    dagshub_token: Option<String>,
    dagshub_login: Option<(String, String)>,
    threads: usize,
    peers: Peers,
}

/// A [`PeerSettings`].
#[derive(Serialize, Deserialize)]
struct Peers {
    home: Option<PathBuf>,
    dvc_system: Option<PathBuf>,
    dvc_global: Option<PathBuf>,
    dagshub_tokens: Option<PathBuf>,
    env: BTreeMap<String, String>,
}

impl From<&Config> for Settings {
    fn from(c: &Config) -> Self {
        Self {
            exe: c.exe.clone(),
            cache_dir: c.cache_dir.clone(),
            config_dir: c.config_dir.clone(),
            data_dir: c.data_dir.clone(),
            runtime_dir: c.runtime_dir.clone(),
            dagshub_host: c.dagshub_host.clone(),
            dagshub_token: c.dagshub_token.as_ref().map(|t| t.expose().to_owned()),
            dagshub_login: c.dagshub_login.as_ref().map(|(user, p)| (user.clone(), p.expose().to_owned())),
            threads: c.threads,
            peers: Peers {
                home: c.peers.home.clone(),
                dvc_system: c.peers.dvc_system.clone(),
                dvc_global: c.peers.dvc_global.clone(),
                dagshub_tokens: c.peers.dagshub_tokens.clone(),
                env: c.peers.env.iter().map(|(k, v)| (k.clone(), v.expose().to_owned())).collect(),
            },
        }
    }
}

impl From<Settings> for Config {
    fn from(s: Settings) -> Self {
        Self {
            exe: s.exe,
            cache_dir: s.cache_dir,
            config_dir: s.config_dir,
            data_dir: s.data_dir,
            runtime_dir: s.runtime_dir,
            dagshub_host: s.dagshub_host,
            dagshub_token: s.dagshub_token.map(Secret::new),
            dagshub_login: s.dagshub_login.map(|(user, p)| (user, Secret::new(p))),
            threads: s.threads,
            peers: PeerSettings {
                home: s.peers.home,
                dvc_system: s.peers.dvc_system,
                dvc_global: s.peers.dvc_global,
                dagshub_tokens: s.peers.dagshub_tokens,
                env: s.peers.env.into_iter().map(|(k, v)| (k, Secret::new(v))).collect(),
            },
        }
    }
}

/// A line of the owner after the first.
#[derive(Serialize, Deserialize)]
pub struct Request {
    pub id: u64,
    #[serde(flatten)]
    pub command: Command,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Show another revision of the same repository.
    Refresh {
        url: Url,
    },
    /// Files will be read in the order of the file `list`, which holds a JSON string on each line.
    Follow {
        list: PathBuf,
    },
    Stats {},
    /// What is staged?
    Staged {},
    /// All that was staged at the time `until` is in `commit` of `branch`: show that.
    Settle {
        commit: String,
        branch: String,
        until: u64,
    },
    /// Take back what is staged at these paths, or everything.
    Discard {
        paths: Vec<RepoPath>,
        all: bool,
    },
    Unmount {},
}

/// A line of the mount process. `id` is that of the request; 0 for the first answer and for notes.
#[derive(Serialize, Deserialize)]
pub struct Answer {
    pub id: u64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Mounted(Tree),
    Refreshed(Tree),
    Following {
        /// Of the order that are files here, and that are not.
        files: usize,
        unknown: usize,
    },
    /// `streamed` holds what changed since the last time; `more` follows when it is full.
    Stats {
        stats: Stats,
        streamed: Vec<(RepoPath, u64)>,
    },
    /// What was staged at the time `until`, one [`crate::overlay::Staged`] a line in the file `list`.
    Staged {
        /// Without credentials, at the branch.
        url: Url,
        branch: String,
        /// What the folder shows.
        commit: String,
        count: usize,
        until: u64,
        list: PathBuf,
    },
    /// What was taken back, listed as for [`What::Staged`].
    Discarded {
        count: usize,
        list: PathBuf,
    },
    /// Somebody else had changes committed; the folder shows the result.
    Moved(Tree),
    Unmounted {},
    Error(Failure),
    /// Something that the user should know.
    Note(String),
}

/// What is mounted now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tree {
    /// `URL@commit`.
    pub id: String,
    pub files: u64,
    /// Sum of the known sizes.
    pub bytes: u64,
    /// The staging area; none when the folder cannot be written.
    #[serde(default)]
    pub stage: Option<PathBuf>,
    /// Files in it.
    #[serde(default)]
    pub staged: usize,
}

/// An [`Error`].
#[derive(Serialize, Deserialize)]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
    pub hint: Option<String>,
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self { kind: e.kind, message: e.message, hint: e.hint }
    }
}

impl From<Failure> for Error {
    fn from(f: Failure) -> Self {
        let mut error = Error::new(f.kind, f.message);
        error.hint = f.hint;
        error
    }
}

/// Writes one line.
pub fn send(to: &mut impl Write, message: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Reads one line; none at the end. Errors: `Format` for a line that is no message, `Limit`, `Io`.
pub fn receive<T: for<'de> Deserialize<'de>>(from: &mut impl BufRead) -> Result<Option<T>> {
    let mut line = Vec::new();
    let read = from.take(MAX_LINE + 1).read_until(b'\n', &mut line);
    read.map_err(|e| Error::new(Kind::Io, format!("the line to the mount process broke: {e}")))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() as u64 > MAX_LINE {
        return Err(Error::new(
            Kind::Limit,
            format!("a message of the mount process exceeds {MAX_LINE} bytes"),
        ));
    }
    // The text is not shown: it may hold a token.
    let message = serde_json::from_slice(&line)
        .map_err(|e| Error::new(Kind::Format, format!("not a message of a mount: {}", e.classify_text())))?;
    Ok(Some(message))
}

trait ClassifyText {
    fn classify_text(&self) -> String;
}

impl ClassifyText for serde_json::Error {
    fn classify_text(&self) -> String {
        format!("{:?} at column {}", self.classify(), self.column())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(message: &impl Serialize) -> String {
        let mut line = Vec::new();
        send(&mut line, message).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn messages_are_plain_json_lines() {
        let tree = Tree { id: "u@c".into(), files: 2, bytes: 3, stage: None, staged: 0 };
        assert_eq!(
            round(&Answer { id: 0, what: What::Mounted(tree) }),
            "{\"id\":0,\"mounted\":{\"id\":\"u@c\",\"files\":2,\"bytes\":3,\"stage\":null,\"staged\":0}}\n"
        );
        let error = Error::new(Kind::Unavailable, "no").hint("do");
        let line = round(&Answer { id: 4, what: What::Error(error.clone().into()) });
        assert_eq!(
            line,
            "{\"id\":4,\"error\":{\"kind\":\"Unavailable\",\"message\":\"no\",\"hint\":\"do\"}}\n"
        );
        let Ok(Some(Answer { id: 4, what: What::Error(back) })) = receive(&mut line.as_bytes()) else {
            panic!()
        };
        assert_eq!(Error::from(back), error);
        let line = round(&Request { id: 1, command: Command::Stats {} });
        assert_eq!(line, "{\"id\":1,\"stats\":{}}\n");
        assert!(matches!(
            receive(&mut line.as_bytes()),
            Ok(Some(Request { id: 1, command: Command::Stats {} }))
        ));
    }

    #[test]
    fn a_url_arrives_with_its_credentials() {
        for text in ["https://user:s3cret@h/o/r@main", "dagshub://o/r", "/a b@c/ü@v1"] {
            let url = RepoUrl::parse(text).unwrap();
            let line = round(&Url::from(url.clone()));
            let back: Url = receive(&mut line.as_bytes()).unwrap().unwrap();
            assert_eq!(RepoUrl::from(back), url);
        }
    }

    #[test]
    fn bad_lines_are_refused_and_not_repeated() {
        let error = receive::<Request>(&mut &b"{\"token\":\"s3cret\"\n"[..]).err().unwrap();
        assert_eq!(error.kind, Kind::Format);
        assert!(!error.message.contains("s3cret"));
        assert!(receive::<Request>(&mut &b""[..]).unwrap().is_none());
        let long = vec![b' '; MAX_LINE as usize + 1];
        assert_eq!(receive::<Request>(&mut &long[..]).err().unwrap().kind, Kind::Limit);
        assert_eq!(receive::<Request>(&mut &long[1..]).err().unwrap().kind, Kind::Format);
    }
}
