//! SSH remotes: SFTP over the system's own `ssh`, which knows the user's keys, agents and hosts.
//!
//! One process serves all requests of a remote and is started again when it ended. Nothing that comes
//! from a configuration can become an option of `ssh`, and no password is ever asked for: a password in
//! the remote's settings is not used.

use super::sftp::{CHUNK, FOR_READING, FOR_WRITING, Refusal, Sftp};
use super::{Key, Remote, inward};
use crate::client::fetch::is_private_address;
use crate::client::transport::BoxFuture;
use crate::dvc::RemoteConfig;
use crate::flight::lock;
use bytes::{Bytes, BytesMut};
use dds_core::mime::printable;
use dds_core::{Config, Error, Kind, Result};
use futures_util::StreamExt;
use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// Parts of one file that are asked for at the same time.
const WIDTH: usize = 32;
const MAX_STDERR_BYTES: u64 = 16 << 10;
const ATTEMPTS: u32 = 3;
const SSH_PORT: u16 = 22;

static COUNTER: AtomicU64 = AtomicU64::new(0);

#[derive(Clone)]
pub struct SshRemote {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    shown: String,
    host: String,
    user: Option<String>,
    port: Option<u16>,
    /// The repository that names this remote came from a public host.
    elsewhere: bool,
    keyfile: Option<PathBuf>,
    /// On the other side.
    root: String,
    session: tokio::sync::Mutex<Option<Session>>,
    made: Mutex<HashSet<String>>,
}

#[derive(Clone)]
struct Session {
    sftp: Arc<Sftp>,
    /// Ends with the last user of the session.
    _process: Arc<Child>,
}

impl SshRemote {
    pub fn open(remote: &RemoteConfig, config: &Config, elsewhere: bool) -> Result<Self> {
        let rest = remote.url().split_once("://").map_or("", |(_, rest)| rest);
        let (authority, path) =
            rest.split_once('/').map_or((rest, String::new()), |(a, p)| (a, format!("/{p}")));
        let (userinfo, address) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| remote.broken("url", "has a port that is no number"))?))
            }
            _ => (address, None),
        };
        let user = userinfo.map(|u| u.split(':').next().unwrap_or(u)).or(remote.get("user"));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if !is_plain(host) || user.is_some_and(|u| !is_plain(u)) {
            return Err(remote.broken("url", "has a host or a user that is not a plain name"));
        }
        let root: Vec<&str> =
            [path.trim_end_matches('/'), remote.below()].into_iter().filter(|p| !p.is_empty()).collect();
        let root = root.join("/");
        let port = match port {
            Some(port) => Some(port),
            None => remote.number("port")?,
        };
        let shown = format!("ssh://{host}{}{root}", port.map_or_else(String::new, |p| format!(":{p}")));
        let inner = Inner {
            name: remote.name.clone(),
            shown,
            host: host.to_owned(),
            user: user.map(str::to_owned),
            port,
            elsewhere,
            keyfile: remote.path("keyfile", config.peers.home.as_deref()),
            root,
            session: tokio::sync::Mutex::new(None),
            made: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// Neither an option of `ssh` nor anything for a shell.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_alphanumeric() || ".-_:%+".contains(c))
}

impl Inner {
    fn at(&self, key: &str) -> String {
        if self.root.is_empty() { key.to_owned() } else { format!("{}/{key}", self.root) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-oBatchMode=yes", "-oClearAllForwardings=yes", "-oPermitLocalCommand=no", "-T", "-s"]);
        if let Some(port) = self.port {
            command.arg("-p").arg(port.to_string());
        }
        if let Some(user) = &self.user {
            command.arg("-l").arg(user);
        }
        if let Some(key) = &self.keyfile {
            command.arg("-i").arg(key);
        }
        command.arg("--").arg(&self.host).arg("sftp");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn session(&self) -> Result<Session> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|s| s.sftp.is_open()) {
            return Ok(session.clone());
        }
        self.check_address().await?;
        let mut child = self.command().spawn().map_err(|e| {
            Error::new(Kind::Unavailable, format!("cannot run the program ssh: {e}"))
                .hint("install an SSH client (openssh-client)")
        })?;
        let (Some(stdin), Some(stdout), Some(mut stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Error::internal("ssh has no streams"));
        };
        let said = tokio::spawn(async move {
            let mut text = Vec::new();
            let _ = (&mut stderr).take(MAX_STDERR_BYTES).read_to_end(&mut text).await;
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
            String::from_utf8_lossy(&text).into_owned()
        });
        let sftp = match Sftp::connect(stdout, stdin).await {
            Ok(sftp) => sftp,
            Err(e) => {
                let _ = child.kill().await;
                let said = said.await.unwrap_or_default();
                return Err(self.unreachable(if said.trim().is_empty() { &e.message } else { said.trim() }));
            }
        };
        let session = Session { sftp: Arc::new(sftp), _process: Arc::new(child) };
        *held = Some(session.clone());
        Ok(session)
    }

    /// A name that nobody resolves is one of the user's own `ssh` settings, or no host at all.
    async fn check_address(&self) -> Result<()> {
        if self.elsewhere
            && let Ok(found) =
                tokio::net::lookup_host((self.host.as_str(), self.port.unwrap_or(SSH_PORT))).await
            && found.into_iter().any(|a| is_private_address(a.ip()))
        {
            return Err(inward(&self.name));
        }
        Ok(())
    }

    fn unreachable(&self, why: &str) -> Error {
        let message =
            format!("cannot reach the DVC remote {:?} ({}): {}", self.name, self.shown, printable(why));
        if why.contains("Permission denied") {
            return Error::new(Kind::Unauthorized, message)
                .hint(format!("check `ssh {}`: it must log in without asking for a password", self.host));
        }
        Error::new(Kind::Unreachable, message).hint(format!("check that `ssh {}` works", self.host))
    }

    fn refused(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Missing => Error::not_found(format!("{}: there is no such file", self.shown)),
            Refusal::Denied(why) => Error::new(
                Kind::Unauthorized,
                format!("the DVC remote {:?} ({}) does not allow it: {why}", self.name, self.shown),
            ),
            Refusal::Failed(why) => Error::new(
                Kind::Unreachable,
                format!("the DVC remote {:?} ({}): {why}", self.name, self.shown),
            ),
            Refusal::Ended => self.unreachable("the connection ended"),
        }
    }

    /// Runs `work` on the session; on a new one when the connection ended under it.
    async fn with<T, F, W>(&self, work: F) -> Result<T>
    where
        F: Fn(Arc<Sftp>) -> W,
        W: Future<Output = std::result::Result<T, Refusal>>,
    {
        let mut left = ATTEMPTS;
        loop {
            let session = self.session().await?;
            match work(session.sftp.clone()).await {
                Ok(value) => return Ok(value),
                Err(Refusal::Ended) if left > 1 => left -= 1,
                Err(e) => return Err(self.refused(e)),
            }
        }
    }
}

impl Remote for SshRemote {
    fn shown(&self) -> &str {
        &self.inner.shown
    }

    fn len(&self, key: &Key) -> BoxFuture<Result<Option<u64>>> {
        let (inner, path) = (self.inner.clone(), self.inner.at(&key.path));
        Box::pin(async move { inner.with(|sftp| len(sftp, &path)).await })
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>, max: u64) -> BoxFuture<Result<Option<Bytes>>> {
        let (inner, path) = (self.inner.clone(), self.inner.at(&key.path));
        Box::pin(async move {
            let Some(len) = inner.with(|sftp| len(sftp, &path)).await? else { return Ok(None) };
            let range = range.unwrap_or(0..len);
            let range = range.start.min(len)..range.end.min(len);
            if range.end - range.start > max {
                return Err(Error::new(Kind::Limit, format!("{}: more than {max} bytes", inner.shown)));
            }
            match inner.with(|sftp| read(sftp, &path, range.clone())).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(e) if e.kind == Kind::NotFound => Ok(None),
                Err(e) => Err(e),
            }
        })
    }

    fn put(&self, key: &Key, file: PathBuf, _len: u64) -> BoxFuture<Result<()>> {
        let (inner, path) = (self.inner.clone(), self.inner.at(&key.path));
        Box::pin(async move {
            inner.with(|sftp| make_folders(sftp, &inner.made, &path)).await?;
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let part = format!("{path}.{}-{number}.tmp", std::process::id());
            inner.with(|sftp| write(sftp, &part, &path, &file)).await
        })
    }
}

async fn len(sftp: Arc<Sftp>, path: &str) -> std::result::Result<Option<u64>, Refusal> {
    sftp.len(path).await
}

async fn read(sftp: Arc<Sftp>, path: &str, range: Range<u64>) -> std::result::Result<Bytes, Refusal> {
    let handle = sftp.open(path, FOR_READING).await?;
    let step = u64::from(CHUNK);
    let parts = (0..(range.end - range.start).div_ceil(step)).map(|n| {
        let (sftp, handle) = (sftp.clone(), handle.clone());
        let from = range.start + n * step;
        let to = (from + step).min(range.end);
        async move { read_part(&sftp, &handle, from..to).await }
    });
    let mut parts = futures_util::stream::iter(parts).buffered(WIDTH);
    let mut bytes = BytesMut::with_capacity(usize::try_from(range.end - range.start).unwrap_or(0));
    let mut failed = None;
    while let Some(part) = parts.next().await {
        match part {
            Ok(part) => bytes.extend_from_slice(&part),
            Err(e) => {
                failed = Some(e);
                break;
            }
        }
    }
    drop(parts);
    let closed = sftp.close(&handle).await;
    match failed {
        Some(e) => Err(e),
        None => closed.map(|()| bytes.freeze()),
    }
}

/// A server may give less than was asked for.
async fn read_part(sftp: &Sftp, handle: &Bytes, range: Range<u64>) -> std::result::Result<Bytes, Refusal> {
    let mut bytes = BytesMut::new();
    let mut at = range.start;
    while at < range.end {
        let want = u32::try_from(range.end - at).unwrap_or(CHUNK);
        match sftp.read(handle, at, want).await? {
            Some(part) if !part.is_empty() => {
                at += part.len() as u64;
                bytes.extend_from_slice(&part);
            }
            _ => return Err(Refusal::Failed("the file became shorter while it was read".into())),
        }
    }
    Ok(bytes.freeze())
}

async fn make_folders(
    sftp: Arc<Sftp>,
    made: &Mutex<HashSet<String>>,
    path: &str,
) -> std::result::Result<(), Refusal> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    for folder in ends.filter_map(|at| path.get(..at)) {
        if lock(made).contains(folder) {
            continue;
        }
        // What is there cannot be made; whether it is a folder shows when it is used.
        if let Err(e @ (Refusal::Ended | Refusal::Denied(_))) = sftp.make_folder(folder).await
            && sftp.len(folder).await.is_err()
        {
            return Err(e);
        }
        lock(made).insert(folder.to_owned());
    }
    Ok(())
}

async fn write(sftp: Arc<Sftp>, part: &str, path: &str, file: &PathBuf) -> std::result::Result<(), Refusal> {
    let local = |e: std::io::Error| Refusal::Failed(format!("{}: {e}", file.display()));
    let mut from = tokio::fs::File::open(file).await.map_err(local)?;
    let handle = sftp.open(part, FOR_WRITING).await?;
    let mut at = 0;
    let sent = loop {
        let mut chunk = vec![0; CHUNK as usize * WIDTH];
        let mut have = 0;
        while let Some(rest) = chunk.get_mut(have..).filter(|r| !r.is_empty()) {
            match from.read(rest).await.map_err(local)? {
                0 => break,
                n => have += n,
            }
        }
        chunk.truncate(have);
        if chunk.is_empty() {
            break Ok(());
        }
        let writes = chunk.chunks(CHUNK as usize).enumerate().map(|(n, data)| {
            let offset = at + n as u64 * u64::from(CHUNK);
            let (sftp, handle) = (sftp.clone(), handle.clone());
            async move { sftp.write(&handle, offset, data).await }
        });
        let done: std::result::Result<Vec<()>, Refusal> =
            futures_util::future::join_all(writes).await.into_iter().collect();
        if let Err(e) = done {
            break Err(e);
        }
        at += have as u64;
    };
    let closed = sftp.close(&handle).await;
    match sent.and(closed) {
        Ok(()) => match sftp.rename(part, path).await {
            Ok(()) => Ok(()),
            // An object of this name is there already and its server cannot replace it: it is the same one.
            Err(Refusal::Failed(_)) if sftp.len(path).await == Ok(Some(at)) => sftp.remove(part).await,
            Err(e) => Err(e),
        },
        Err(e) => {
            let _ = sftp.remove(part).await;
            Err(e)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dvc::{DvcConfig, Level};
    use std::path::Path;

    fn open(url: &str, more: &str) -> Result<SshRemote> {
        let mut c = DvcConfig::default();
        c.merge(&format!("['remote \"s\"']\nurl = {url}\n{more}"), Level::Repo, Path::new("/r/.dvc"));
        SshRemote::open(&c.remotes().next().unwrap(), &crate::testing::config(Path::new("/nowhere")), false)
    }

    fn words(remote: &SshRemote) -> Vec<String> {
        let command = remote.inner.command();
        command.as_std().get_args().map(|a| a.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn addresses() {
        let r = open("ssh://me:secret@host.example:2222/srv/data/", "keyfile = key\n").unwrap();
        let w = words(&r);
        assert_eq!(w[5..], ["-p", "2222", "-l", "me", "-i", "/r/.dvc/key", "--", "host.example", "sftp"]);
        assert_eq!(r.inner.at("files/x"), "/srv/data/files/x");
        assert!(!r.shown().contains("secret") && !format!("{w:?}").contains("secret"));
        let r = open("ssh://host", "user = you\nport = 7\n").unwrap();
        assert_eq!(words(&r)[5..], ["-p", "7", "-l", "you", "--", "host", "sftp"]);
        assert_eq!(r.inner.at("files/x"), "files/x");
    }

    #[test]
    fn nothing_becomes_an_option_or_a_command() {
        for url in [
            "ssh://-oProxyCommand=id/x",
            "ssh://-l@host/x",
            "ssh://a b/x",
            "ssh:///x",
            "ssh://h;id/x",
            "ssh://$(id)/x",
            "ssh://`id`@h/x",
            "ssh://h:-1/x",
        ] {
            assert!(open(url, "").is_err(), "{url}");
        }
        assert!(open("ssh://h/x", "user = -oProxyCommand=id\n").is_err());
        assert!(open("ssh://h/x", "port = -1\n").is_err());
        // A key file is a path: it cannot begin with a dash.
        assert!(words(&open("ssh://h/x", "keyfile = -oX\n").unwrap()).contains(&"/r/.dvc/-oX".to_owned()));
    }
}
