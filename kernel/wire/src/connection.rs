//! The connection file: where a kernel listens and the key that signs its messages.

use dds_core::{Error, Kind, Result, Secret};
use jupyter_protocol::connection_info::{ConnectionInfo as Raw, Transport as RawTransport};
use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Largest connection file that is read. Real ones have some 300 bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 10;
/// Longest path of an ipc socket: `sun_path` of the smallest platform (macOS, 104), less its NUL.
pub const MAX_IPC_PATH: usize = 103;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Ipc,
}

/// TCP ports, or the numbers that end the names of ipc sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub shell: u16,
    pub iopub: u16,
    pub stdin: u16,
    pub control: u16,
    pub heartbeat: u16,
}

/// A valid connection file. The key cannot be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    pub transport: Transport,
    /// An address or `*` for TCP; the path prefix of the sockets for ipc.
    pub ip: String,
    pub ports: Ports,
    pub key: Secret,
}

impl ConnectionInfo {
    /// Reads a connection file. Errors name the file and the field; [`Kind::Unauthorized`] when any
    /// user of the machine can write it.
    pub fn read(path: &Path) -> Result<Self> {
        let io = |e: std::io::Error| Error::io(path, &e);
        // Mode and text of the same file, whatever happens to its name meanwhile.
        let file = std::fs::File::open(path).map_err(io)?;
        let found = file.metadata().map_err(io)?;
        if let Some(warning) = privacy(path, found.mode())? {
            tracing::warn!("{warning}");
        }
        let size = found.len();
        if size > MAX_FILE_BYTES {
            return Err(Error::new(
                Kind::Limit,
                format!("{}: {size} bytes are too many for a connection file", path.display()),
            ));
        }
        let mut text = String::new();
        file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(io)?;
        Self::parse(&text).map_err(|e| e.context(path.display()))
    }

    pub fn parse(text: &str) -> Result<Self> {
        let bad = |message: String| {
            Error::new(Kind::Format, message)
                .hint("Jupyter writes this file; by hand, start from one of `jupyter --runtime-dir`")
        };
        let raw: Raw = serde_json::from_str(text).map_err(|e| bad(format!("not a connection file: {e}")))?;
        if raw.signature_scheme != "hmac-sha256" {
            return Err(bad(format!(
                "signature scheme `{}` is not supported, only hmac-sha256 is",
                dds_core::mime::printable(&raw.signature_scheme)
            )));
        }
        if raw.key.is_empty() {
            return Err(Error::new(
                Kind::Unauthorized,
                "the key is empty, so anyone on this machine could run code in the kernel",
            )
            .hint("leave Session.key of Jupyter at its default"));
        }
        let info = Self {
            transport: match raw.transport {
                RawTransport::TCP => Transport::Tcp,
                RawTransport::IPC => Transport::Ipc,
            },
            ip: raw.ip,
            ports: Ports {
                shell: raw.shell_port,
                iopub: raw.iopub_port,
                stdin: raw.stdin_port,
                control: raw.control_port,
                heartbeat: raw.hb_port,
            },
            key: Secret::new(raw.key),
        };
        info.check().map_err(bad)?;
        Ok(info)
    }

    /// Loopback TCP on five ports that were free a moment ago, with a fresh key. Another process may
    /// still take one of them first; binding then fails.
    pub fn tcp() -> Result<Self> {
        let fail = |e: std::io::Error| Error::new(Kind::Unavailable, format!("no free loopback port: {e}"));
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(fail)?);
        }
        let ports: Result<Vec<u16>> =
            held.iter().map(|l| l.local_addr().map(|a| a.port()).map_err(fail)).collect();
        let [shell, iopub, stdin, control, heartbeat] = ports?[..] else {
            return Err(Error::internal("five ports were asked for"));
        };
        let ports = Ports { shell, iopub, stdin, control, heartbeat };
        Ok(Self { transport: Transport::Tcp, ip: "127.0.0.1".to_owned(), ports, key: new_key() })
    }

    /// Sockets in `dir`, which the caller keeps private (mode 0700), with a fresh key.
    pub fn ipc(dir: &Path) -> Result<Self> {
        let ip = dir
            .join("k")
            .to_str()
            .ok_or_else(|| Error::usage(format!("{}: the path is not UTF-8", dir.display())))?
            .to_owned();
        let ports = Ports { shell: 1, iopub: 2, stdin: 3, control: 4, heartbeat: 5 };
        let info = Self { transport: Transport::Ipc, ip, ports, key: new_key() };
        info.check().map_err(|m| {
            Error::new(Kind::Limit, m).hint("use a shorter runtime folder (XDG_RUNTIME_DIR), or TCP")
        })?;
        Ok(info)
    }

    /// Writes the file, mode 0600, replacing nothing: an existing file is an error.
    pub fn write(&self, path: &Path) -> Result<()> {
        let raw = Raw {
            ip: self.ip.clone(),
            transport: match self.transport {
                Transport::Tcp => RawTransport::TCP,
                Transport::Ipc => RawTransport::IPC,
            },
            shell_port: self.ports.shell,
            iopub_port: self.ports.iopub,
            stdin_port: self.ports.stdin,
            control_port: self.ports.control,
            hb_port: self.ports.heartbeat,
            key: self.key.expose().to_owned(),
            signature_scheme: "hmac-sha256".to_owned(),
            kernel_name: Some("dds".to_owned()),
        };
        let text = serde_json::to_vec_pretty(&raw).map_err(|e| Error::internal(e.to_string()))?;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|e| Error::io(path, &e))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(|e| Error::io(path, &e))
    }

    /// The endpoint of one socket, for `bind` or (`connect`) for `connect`, which needs a real host.
    pub(crate) fn endpoint(&self, port: u16, connect: bool) -> String {
        match self.transport {
            Transport::Ipc => format!("ipc://{}-{port}", self.ip),
            Transport::Tcp => {
                let host = match self.ip.as_str() {
                    "*" | "0.0.0.0" | "::" if connect => "127.0.0.1",
                    // libzmq binds to addresses and interfaces, not to names.
                    "localhost" if !connect => "127.0.0.1",
                    ip => ip,
                };
                if host.contains(':') {
                    format!("tcp://[{host}]:{port}")
                } else {
                    format!("tcp://{host}:{port}")
                }
            }
        }
    }

    pub(crate) fn is_ipv6(&self) -> bool {
        self.transport == Transport::Tcp && self.ip.contains(':')
    }

    fn check(&self) -> std::result::Result<(), String> {
        let p = self.ports;
        let all = [p.shell, p.iopub, p.stdin, p.control, p.heartbeat];
        for (i, port) in all.iter().enumerate() {
            if *port == 0 && self.transport == Transport::Tcp {
                return Err("a port is 0".to_owned());
            }
            if all.iter().skip(i + 1).any(|other| other == port) {
                return Err(format!("port {port} is given twice"));
            }
        }
        let shown = dds_core::mime::printable(&self.ip);
        match self.transport {
            Transport::Tcp => {
                let known = self.ip == "*" || self.ip == "localhost" || self.ip.parse::<IpAddr>().is_ok();
                if known { Ok(()) } else { Err(format!("`{shown}` is not an IP address")) }
            }
            Transport::Ipc if self.ip.is_empty() || self.ip.contains('\0') => {
                Err("`ip` must be the path prefix of the ipc sockets".to_owned())
            }
            Transport::Ipc => {
                let longest = self.ip.len() + "-65535".len();
                if longest > MAX_IPC_PATH {
                    return Err(format!("the ipc path `{shown}` is too long by {}", longest - MAX_IPC_PATH));
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint(self.ports.shell, false))
    }
}

/// What the mode of a connection file means for the key in it: an error when anybody can replace the
/// key, a warning, with the command that helps, when other users can read it.
fn privacy(path: &Path, mode: u32) -> Result<Option<String>> {
    let fix = || format!("chmod 600 '{}'", path.display());
    if mode & 0o002 != 0 {
        return Err(Error::new(
            Kind::Unauthorized,
            format!("{}: every user of this machine can write the connection file", path.display()),
        )
        .hint(format!("{}, and start the kernel again", fix())));
    }
    Ok((mode & 0o066 != 0).then(|| {
        format!(
            "{}: other users of this machine can read the kernel's key and run code as you; {}",
            path.display(),
            fix()
        )
    }))
}

/// 122 random bits from the operating system.
fn new_key() -> Secret {
    Secret::new(uuid::Uuid::new_v4().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const FILE: &str = r#"{"shell_port": 1001, "iopub_port": 1002, "stdin_port": 1003,
        "control_port": 1004, "hb_port": 1005, "ip": "127.0.0.1", "key": "k3y-hidden",
        "transport": "tcp", "signature_scheme": "hmac-sha256", "kernel_name": "dds",
        "jupyter_session": "/home/user/a.ipynb"}"#;

    #[test]
    fn reads_what_jupyter_writes() {
        let info = ConnectionInfo::parse(FILE).unwrap();
        assert_eq!(info.endpoint(info.ports.iopub, false), "tcp://127.0.0.1:1002");
        assert!(!format!("{info:?} {info}").contains("k3y-hidden"));
    }

    #[test]
    fn refuses_with_a_reason() {
        for (from, to, needle) in [
            ("1002", "1001", "given twice"),
            ("1002", "0", "port is 0"),
            ("1002", "99999", "not a connection file"),
            ("hmac-sha256", "hmac-md5", "hmac-md5"),
            ("k3y-hidden", "", "key is empty"),
            ("127.0.0.1", "evil host", "not an IP address"),
            ("\"tcp\"", "\"udp\"", "not a connection file"),
            ("\"hb_port\"", "\"hb\"", "hb_port"),
            ("{", "", "not a connection file"),
        ] {
            let error = ConnectionInfo::parse(&FILE.replacen(from, to, 1)).unwrap_err();
            assert!(error.message.contains(needle), "{from} → {to}: {error}");
            assert!(error.hint.is_some());
            assert!(!format!("{error:?}").contains("k3y-hidden"));
        }
    }

    #[test]
    fn endpoints() {
        let mut info = ConnectionInfo::parse(FILE).unwrap();
        for (ip, bind, connect) in [
            ("*", "tcp://*:7", "tcp://127.0.0.1:7"),
            ("0.0.0.0", "tcp://0.0.0.0:7", "tcp://127.0.0.1:7"),
            ("::1", "tcp://[::1]:7", "tcp://[::1]:7"),
            ("localhost", "tcp://127.0.0.1:7", "tcp://localhost:7"),
        ] {
            info.ip = ip.to_owned();
            assert_eq!(info.endpoint(7, false), bind);
            assert_eq!(info.endpoint(7, true), connect);
        }
        info.transport = Transport::Ipc;
        info.ip = "/run/x/kernel".to_owned();
        assert_eq!(info.endpoint(7, true), "ipc:///run/x/kernel-7");
    }

    #[test]
    fn ipc_paths_are_bounded() {
        let longest = MAX_IPC_PATH - "/k-65535".len();
        assert!(ConnectionInfo::ipc(Path::new(&format!("/{}", "d".repeat(longest - 1)))).is_ok());
        let error = ConnectionInfo::ipc(Path::new(&format!("/{}", "d".repeat(longest)))).unwrap_err();
        assert!(error.message.ends_with("too long by 1"), "{error}");
    }

    #[test]
    fn written_files_are_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kernel.json");
        let info = ConnectionInfo::tcp().unwrap();
        info.write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ConnectionInfo::read(&path).unwrap(), info);
        assert!(info.write(&path).is_err(), "an existing file is never replaced");
        assert_ne!(ConnectionInfo::tcp().unwrap().key, info.key);
    }

    #[test]
    fn a_file_that_others_can_read_warns_and_one_that_all_can_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kernel.json");
        ConnectionInfo::tcp().unwrap().write(&path).unwrap();
        for (mode, warned, read) in [
            (0o600, false, true),
            (0o400, false, true),
            (0o640, true, true),
            (0o604, true, true),
            (0o660, true, true),
            (0o602, false, false),
            (0o666, false, false),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let warning = privacy(&path, mode).unwrap_or_default();
            assert_eq!(warning.is_some(), warned, "{mode:o}");
            assert!(warning.is_none_or(|w| w.contains("kernel.json") && w.contains("chmod 600")));
            match ConnectionInfo::read(&path) {
                Ok(_) => assert!(read, "{mode:o}"),
                Err(e) => {
                    assert!(!read, "{mode:o}: {e}");
                    assert_eq!(e.kind, Kind::Unauthorized);
                    assert!(e.hint.unwrap().contains("chmod 600"));
                }
            }
        }
    }

    #[test]
    fn a_huge_or_missing_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big.json");
        std::fs::write(&path, vec![b' '; MAX_FILE_BYTES as usize + 1]).unwrap();
        assert_eq!(ConnectionInfo::read(&path).unwrap_err().kind, Kind::Limit);
        let error = ConnectionInfo::read(&dir.path().join("none.json")).unwrap_err();
        assert_eq!(error.kind, Kind::NotFound);
        assert!(error.message.contains("none.json"));
    }
}
