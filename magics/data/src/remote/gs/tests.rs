use super::*;
use crate::dvc::{DvcConfig, Level};
use crate::testing;
use std::path::Path;

fn remote(settings: &str, level: Level) -> RemoteConfig {
    let mut c = DvcConfig::default();
    c.merge(&format!("['remote \"s\"']\nurl = gs://bucket/deep/er\n{settings}"), level, Path::new("/r/.dvc"));
    c.remotes().next().unwrap()
}

#[test]
fn names_of_objects_are_one_segment() {
    let settings = "endpointurl = http://127.0.0.1:9/base\n";
    let gs =
        GsRemote::open(&remote(settings, Level::Local), &testing::config(Path::new("/x")), false).unwrap();
    let key = Key { path: "a b/ü.jpg".into(), version: Some("17".into()) };
    assert_eq!(
        gs.inner.object(&key, &[("alt", "media")]).as_str(),
        "http://127.0.0.1:9/base/storage/v1/b/bucket/o/deep%2Fer%2Fa%20b%2F%C3%BC.jpg?alt=media&generation=17"
    );
    assert_eq!(
        gs.inner.url("/upload", None, &[("name", "a/b")]).as_str(),
        "http://127.0.0.1:9/base/upload/storage/v1/b/bucket/o?name=a%2Fb"
    );
    assert_eq!(gs.shown(), "gs://bucket/deep/er");
}

#[test]
fn without_a_login_it_says_how_to_get_one() {
    let config = testing::config(Path::new("/x"));
    let e = GsRemote::open(&remote("", Level::Repo), &config, false).err().unwrap();
    assert!(e.kind == Kind::Unauthorized && e.hint.unwrap().contains("gcloud auth"), "{}", e.message);
    assert!(GsRemote::open(&remote("allow_anonymous_login = true\n", Level::Repo), &config, false).is_ok());
}

/// A token works for whoever has it.
#[test]
fn no_token_goes_where_a_repository_leads() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".config/gcloud/application_default_credentials.json");
    testing::write(
        &file,
        br#"{"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "canary"}"#,
    );
    let mut config = testing::config(Path::new("/x"));
    config.peers.home = Some(home.path().to_owned());
    let open = |settings: &str, level| GsRemote::open(&remote(settings, level), &config, false).unwrap();
    assert!(open("", Level::Repo).inner.login.is_some());
    assert!(open("endpointurl = https://evil.example\n", Level::Repo).inner.login.is_none());
    assert!(open("endpointurl = https://evil.example\n", Level::Local).inner.login.is_some());
    assert!(open("endpointurl = http://evil.example\n", Level::Local).inner.login.is_none());
    assert!(open("endpointurl = http://127.0.0.1:9\n", Level::Local).inner.login.is_some());
    assert!(open("endpointurl = https://storage.googleapis.com/\n", Level::Repo).inner.login.is_some());
    testing::write(&file, br#"{"type": "external_account", "refresh_token": "canary"}"#);
    let e = GsRemote::open(&remote("", Level::Repo), &config, false).err().unwrap();
    assert!(
        e.kind == Kind::Format
            && e.message.contains("does not follow")
            && !format!("{e:?}").contains("canary")
    );
    testing::write(
        &file,
        br#"{"type": "service_account", "client_email": "a@b", "private_key": "-----BEGIN\ncanary!\n-----END"}"#,
    );
    let e = GsRemote::open(&remote("", Level::Repo), &config, false).err().unwrap();
    assert!(e.message.contains("private key") && !format!("{e:?}").contains("canary"), "{e:?}");
}
