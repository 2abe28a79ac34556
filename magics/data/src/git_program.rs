//! Running the program `git`: with settings that keep a hostile repository or server from running
//! anything here, without ever asking a question, and with credentials that stand in no argument and in
//! no configuration file.

use crate::account;
use crate::client::Auth;
use base64::Engine;
use dds_core::mime::printable;
use dds_core::repo_url::Credentials;
use dds_core::{Config, Cx, Error, Kind, Result, Secret};
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(10);
const MAX_STDERR_BYTES: u64 = 64 << 10;
const MAX_STDOUT_BYTES: u64 = 16 << 20;

/// Settings of every run.
const SAFE: [(&str, &str); 11] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("protocol.ext.allow", "never"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("credential.interactive", "false"),
    ("advice.detachedHead", "false"),
];
/// Inherited, these would lead Git elsewhere or make it talk.
const REDIRECTING: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_CONFIG_PARAMETERS",
    "GIT_TRACE_CURL",
];

/// How to run `git` for one remote.
#[derive(Clone, Debug, Default)]
pub struct GitProgram {
    /// Configuration beyond [`SAFE`], handed over in the environment, where other users cannot read it.
    settings: Vec<(String, String)>,
    secrets: Vec<Secret>,
    /// What to do about a refusal.
    hint: Option<String>,
    ssh: bool,
}

impl GitProgram {
    /// For a repository behind a URL. Credentials that stand in the URL win; the configured token goes to
    /// the configured host only.
    pub fn for_url(url: &str, credentials: Option<&Credentials>, config: &Config) -> Result<Self> {
        let Some(parsed) =
            url.parse::<reqwest::Url>().ok().filter(|u| matches!(u.scheme(), "http" | "https"))
        else {
            let hint = "check that `ssh` logs in to that host without asking for a password";
            return Ok(Self { ssh: true, ..Self::default() }.hint(hint.to_owned()));
        };
        let program = match (credentials, account::for_host(config, &parsed)) {
            (Some(c), _) if c.user.is_empty() => Self::with_login(&parsed, "token", &c.password),
            (Some(c), _) if c.password.is_empty() => {
                Self::with_login(&parsed, "token", &Secret::new(c.user.clone()))
            }
            (Some(c), _) => Self::with_login(&parsed, &c.user, &c.password),
            (None, Some(Auth::Token(token))) => Self::with_login(&parsed, "token", &token),
            (None, Some(Auth::Login(user, password))) => Self::with_login(&parsed, &user, &password),
            (None, None) => Self::default(),
        };
        Ok(program.hint("give --token, or https://USER:TOKEN@HOST/…".to_owned()))
    }

    /// Sends a login to the origin of `url` and to no other.
    pub fn with_login(url: &reqwest::Url, user: &str, password: &Secret) -> Self {
        let pair = format!("{user}:{}", password.expose());
        let coded = base64::engine::general_purpose::STANDARD.encode(pair);
        let origin = url.origin().ascii_serialization();
        Self {
            settings: vec![
                (format!("http.{origin}/.extraHeader"), format!("Authorization: Basic {coded}")),
                // Git would send the header to wherever it is redirected.
                ("http.followRedirects".into(), "false".into()),
            ],
            secrets: vec![password.clone(), Secret::new(coded)],
            hint: None,
            ssh: false,
        }
    }

    pub fn hint(self, hint: String) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// One more setting.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new("git");
        let safe = SAFE.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let all: Vec<(String, String)> = safe.chain(self.settings.iter().cloned()).collect();
        for name in REDIRECTING {
            command.env_remove(name);
        }
        command.env("GIT_CONFIG_COUNT", all.len().to_string());
        for (n, (key, value)) in all.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
        }
        command
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", if self.ssh { "ssh" } else { "http:https:file" })
            .env("GIT_ASKPASS", "true")
            .env("SSH_ASKPASS", "true")
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command of [`GitProgram::command`] to its end and gives what it printed.
    pub fn run(&self, mut command: Command, what: &str, input: Option<Vec<u8>>, cx: &Cx) -> Result<String> {
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(|e| {
            Error::new(Kind::Unavailable, format!("cannot run the program git: {e}"))
                .hint("install git, then try again")
        })?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            // A thread of its own: Git may talk before it has read all. It ends early where Git does.
            std::thread::spawn(move || stdin.write_all(&input));
        }
        let said = child.stderr.take().map(|e| reader(e, MAX_STDERR_BYTES));
        let printed = child.stdout.take().map(|o| reader(o, MAX_STDOUT_BYTES));
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|e| Error::internal(format!("{what}: {e}")))? {
                break status;
            }
            if let Err(e) = cx.cancel.check() {
                let _ = child.kill();
                let _ = child.wait();
                return Err(e);
            }
            std::thread::sleep(POLL);
        };
        let text = |thread: Option<std::thread::JoinHandle<String>>| {
            thread.and_then(|t| t.join().ok()).unwrap_or_default()
        };
        if status.success() {
            return Ok(text(printed));
        }
        let said = self.secrets.iter().fold(text(said), |text, secret| secret.redact(&text));
        Err(self.failed(what, printable(said.trim())))
    }

    fn failed(&self, what: &str, said: String) -> Error {
        let has = |words: &[&str]| words.iter().any(|w| said.contains(w));
        let refused = [
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "unable to get password",
            "Permission denied",
            "error: 403",
            "Host key verification failed",
        ];
        let missing = [
            "not found",
            "does not exist",
            "does not appear to be a git repository",
            "Could not find remote branch",
        ];
        let kind = match () {
            () if has(&refused) => Kind::Unauthorized,
            () if has(&missing) => Kind::NotFound,
            () => Kind::Unreachable,
        };
        let error = Error::new(kind, format!("{what} failed: {said}"));
        match &self.hint {
            Some(hint) if kind == Kind::Unauthorized => error.hint(hint),
            _ => error,
        }
    }
}

fn reader(mut from: impl Read + Send + 'static, max: u64) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = from.by_ref().take(max).read_to_end(&mut text);
        let _ = io::copy(&mut from, &mut io::sink());
        String::from_utf8_lossy(&text).into_owned()
    })
}
