//! What the libraries need to know about machine and user; read once by the binary.

use crate::Secret;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Settings handed to every engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// The running `dds` executable, for child processes of its own.
    pub exe: PathBuf,
    /// `$XDG_CACHE_HOME/dds` or `DDS_CACHE`.
    pub cache_dir: PathBuf,
    /// `$XDG_CONFIG_HOME/dds`.
    pub config_dir: PathBuf,
    /// `$XDG_DATA_HOME/dds`: what must not be lost, such as files written into mounts.
    pub data_dir: PathBuf,
    /// `$XDG_RUNTIME_DIR/dds` or a private temporary folder, mode 0700.
    pub runtime_dir: PathBuf,
    /// `DAGSHUB_CLIENT_HOST`, by default `https://dagshub.com`; without a trailing slash.
    pub dagshub_host: String,
    /// `DAGSHUB_USER_TOKEN`: sent only to `dagshub_host` and to hosts named with it.
    pub dagshub_token: Option<Secret>,
    /// `DAGSHUB_USERNAME` and `DAGSHUB_PASSWORD`.
    pub dagshub_login: Option<(String, Secret)>,
    /// Threads for computing; the cgroup's quota or the number of cores.
    pub threads: usize,
    pub peers: PeerSettings,
}

/// Where the programs beside us (dvc, aws, ssh, git) keep a person's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerSettings {
    pub home: Option<PathBuf>,
    /// DVC's own configuration files outside repositories: the machine's, then the user's.
    pub dvc_system: Option<PathBuf>,
    pub dvc_global: Option<PathBuf>,
    /// Where the `dagshub` client keeps its tokens.
    pub dagshub_tokens: Option<PathBuf>,
    /// The `AWS_*` variables of the environment, and what else names credentials.
    pub env: BTreeMap<String, Secret>,
}

impl PeerSettings {
    /// A variable that is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(Secret::expose).filter(|v| !v.is_empty())
    }
}
