//! What every remote must do, run over each kind that a test can reach here.

use super::*;
use crate::dvc::{DvcConfig, Level};
use crate::runtime;
use crate::testing::{self, StoreServer};
use dds_core::Cx;
use std::path::Path;

fn run<T: Send + 'static>(future: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    runtime::wait(future, &Cx::silent("/"))
}

fn configured(url: &str, more: &str) -> RemoteConfig {
    let mut c = DvcConfig::default();
    c.merge(&format!("['remote \"r\"']\nurl = {url}\n{more}"), Level::Local, Path::new("/r/.dvc"));
    c.remotes().next().unwrap()
}

/// An empty remote at first.
fn conformance(remote: &dyn Remote) {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_le_bytes()).collect();
    for (name, content) in
        [("files/md5/ab/cd", &bytes[..]), ("files/md5/ab/empty.dir", b""), ("a b/ü#?%41+.x", b"odd")]
    {
        let key = Key::new(name);
        assert_eq!(run(remote.len(&key)).unwrap(), None);
        assert_eq!(run(remote.get(&key, None, 9)).unwrap(), None);
        assert_eq!(run(remote.get(&key, Some(0..4), 9)).unwrap(), None);
        let file = dir.path().join("file");
        std::fs::write(&file, content).unwrap();
        for _ in 0..2 {
            run(remote.put(&key, file.clone(), content.len() as u64)).unwrap();
        }
        let len = content.len() as u64;
        assert_eq!(run(remote.len(&key)).unwrap(), Some(len));
        assert_eq!(run(remote.get(&key, None, len)).unwrap().unwrap(), content);
        if len > 100_000 {
            assert_eq!(run(remote.get(&key, Some(5..99_999), len)).unwrap().unwrap(), content[5..99_999]);
            assert_eq!(
                run(remote.get(&key, Some(len - 3..len + 9), len)).unwrap().unwrap(),
                content[content.len() - 3..]
            );
            assert_eq!(run(remote.get(&key, None, len - 1)).unwrap_err().kind, Kind::Limit);
        }
    }
    if let Some(mut found) = run(remote.lengths("files/md5/", 100)).unwrap() {
        found.sort();
        assert_eq!(
            found,
            [("files/md5/ab/cd".to_owned(), 1_200_000), ("files/md5/ab/empty.dir".to_owned(), 0)]
        );
    }
}

#[test]
fn the_remote_of_the_tests_conforms() {
    conformance(&MemoryRemote::default());
    let r = MemoryRemote::that_lists();
    conformance(&r);
    r.fail(Some(Error::new(Kind::Unreachable, "no")));
    assert!(run(r.len(&Key::new("x"))).is_err() && run(r.get(&Key::new("x"), None, 1)).is_err());
}

#[test]
fn http_and_webdav_conform() {
    let config = testing::config(Path::new("/nowhere"));
    for (url, more) in [
        ("http://user:pass@HOST/base", ""),
        ("http://HOST", "auth = basic\nuser = user\npassword = pass\nmethod = put\n"),
        ("http://HOST/x", "auth = custom\ncustom_auth_header = X-Own\npassword = own\n"),
        ("webdav://HOST/dav", "user = user\npassword = pass\n"),
    ] {
        let url = url.replace("HOST", &format!("127.0.0.1:{}", StoreServer::start().port));
        let remote = open(&configured(&url, more), &config, false).unwrap();
        assert!(!remote.shown().contains("pass"), "{}", remote.shown());
        conformance(remote.as_ref());
    }
}

#[test]
fn a_refusal_says_what_to_do_and_no_secret() {
    let config = testing::config(Path::new("/nowhere"));
    let url = format!("http://127.0.0.1:{}/x", StoreServer::start().port);
    let remote = open(&configured(&url, "user = u\npassword = hunter2\n"), &config, false).unwrap();
    let e = run(remote.get(&Key::new("k"), None, 9)).unwrap_err();
    assert_eq!(e.kind, Kind::Unauthorized);
    assert!(
        e.message.contains("\"r\"") && e.hint.as_deref().unwrap().contains("dvc remote modify --local r")
    );
    assert!(!format!("{e:?}").contains("hunter2"));
}

#[test]
fn the_token_of_the_configured_host_goes_to_that_host_only() {
    let port = StoreServer::start().port;
    let mut config = testing::config(Path::new("/nowhere"));
    config.dagshub_login = Some(("user".into(), dds_core::Secret::new("pass")));
    config.dagshub_host = format!("http://127.0.0.1:{port}");
    let url = format!("http://127.0.0.1:{port}/o/r.dvc");
    let remote = open(&configured(&url, ""), &config, false).unwrap();
    assert_eq!(run(remote.len(&Key::new("k"))).unwrap(), None);
    config.dagshub_host = "http://127.0.0.1:1".into();
    let remote = open(&configured(&url, ""), &config, false).unwrap();
    assert_eq!(run(remote.len(&Key::new("k"))).unwrap_err().kind, Kind::Unauthorized);
}

#[test]
fn what_is_not_supported_says_what_works_instead() {
    let config = testing::config(Path::new("/nowhere"));
    for url in ["gdrive://x", "hdfs://h/x"] {
        let e = open(&configured(url, ""), &config, false).err().unwrap();
        assert!(e.kind == Kind::Unavailable && e.hint.unwrap().contains("dvc fetch"), "{url}");
    }
    let e = open(&configured("http://127.0.0.1/x", ""), &config, true).err().unwrap();
    assert_eq!(e.kind, Kind::Unavailable);
    let e = open(&configured("https://h/x", "ssl_verify = false\n"), &config, false).err().unwrap();
    assert!(e.message.contains("ssl_verify"));
}

/// The name of this machine leads to an address of it, as `localhost` does.
#[test]
fn a_repository_from_a_public_host_cannot_name_a_host_of_this_network() {
    let config = testing::config(Path::new("/nowhere"));
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let inward = |name: &str| {
        use std::net::ToSocketAddrs;
        let found = (name, 0).to_socket_addrs().into_iter().flatten();
        found.into_iter().any(|a| crate::client::fetch::is_private_address(a.ip()))
    };
    let name = Some(name.trim()).filter(|name| inward(name)).unwrap_or("localhost");
    let port = StoreServer::start().port;
    let keys = "access_key_id = a\nsecret_access_key = b\n";
    for (url, more) in [
        (format!("http://user:pass@{name}:{port}/x"), String::new()),
        (format!("webdav://user:pass@{name}:{port}/x"), String::new()),
        ("s3://bucket".to_owned(), format!("endpointurl = http://{name}:{port}\n{keys}")),
        (format!("ssh://{name}:{port}/x"), String::new()),
    ] {
        let asked = open(&configured(&url, &more), &config, true)
            .and_then(|remote| run(remote.get(&Key::new("k"), None, 9)));
        let e = asked.unwrap_err();
        assert_eq!(e.kind, Kind::Unavailable, "{url}: {e}");
        assert!(e.message.contains("of this machine or its network"), "{url}: {e}");
    }
}
