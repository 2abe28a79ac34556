use super::*;
use crate::dvc::{DvcConfig, Level};
use crate::testing;
use dds_core::Secret;
use std::path::Path;

fn example() -> SigV4 {
    SigV4 {
        account: Account {
            id: Secret::new("AKIAIOSFODNN7EXAMPLE"),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session: None,
        },
        region: "us-east-1".into(),
    }
}

/// The examples of AWS's own documentation of signature version 4 for S3 ("Authenticating Requests: Using
/// the Authorization Header"), whose bucket is `examplebucket` and whose time is 2013-05-24.
#[test]
fn the_signatures_of_the_documentation() {
    let base = "https://examplebucket.s3.amazonaws.com";
    let sign = |url: &str, range: Option<&'static str>| {
        let mut request = Request::get(format!("{base}{url}").parse().unwrap());
        if let Some(range) = range {
            request.headers.insert(reqwest::header::RANGE, HeaderValue::from_static(range));
        }
        example().sign_at(&mut request, "20130524T000000Z").unwrap();
        let value = request.headers["authorization"].to_str().unwrap().to_owned();
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    };
    assert_eq!(
        sign("/test.txt", Some("bytes=0-9")),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
    assert_eq!(sign("/?lifecycle", None), "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    assert_eq!(
        sign("/?max-keys=2&prefix=J", None),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    );
}

#[test]
fn a_session_token_is_signed_and_nothing_is_printed() {
    let mut signer = example();
    signer.account.session = Some(Secret::new("s3ssion"));
    let mut request = Request::get("http://127.0.0.1:9000/b/k".parse().unwrap());
    signer.sign_at(&mut request, "20130524T000000Z").unwrap();
    assert_eq!(request.headers["x-amz-security-token"], "s3ssion");
    let value = request.headers["authorization"].to_str().unwrap();
    assert!(value.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
    let shown = format!("{:?} {:?}", signer.account, request.headers["authorization"]);
    assert!(!shown.contains("wJalr") && !shown.contains("AKIA") && !shown.contains("s3ssion"), "{shown}");
    assert_eq!(signer.redact("key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY s3ssion"), "key *** ***");
}

fn remote(settings: &str, level: Level) -> RemoteConfig {
    let mut c = DvcConfig::default();
    c.merge(&format!("['remote \"s\"']\nurl = s3://bucket/deep/er\n{settings}"), level, Path::new("/r/.dvc"));
    c.remotes().next().unwrap()
}

#[test]
fn credentials_are_found_where_awss_tools_find_them() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| testing::write(&home.path().join(name), text.as_bytes());
    at(
        ".aws/credentials",
        "[default]\naws_access_key_id = d\naws_secret_access_key=ds\n[work]\naws_access_key_id=w\naws_secret_access_key=ws\naws_session_token=wt\n",
    );
    at(
        ".aws/config",
        "[default]\nregion = eu-west-1\n[profile work]\nregion = eu-central-1\ns3 =\n  region = no\nendpoint_url = http://127.0.0.1:1\n",
    );
    let mut config = testing::config(home.path());
    let found = |settings: &str, config: &Config| {
        let f = credentials::find(&remote(settings, Level::Local), config).unwrap();
        let account = f.account.map(|a| (a.id.expose().to_owned(), a.session.is_some()));
        (account, f.region, f.endpoint)
    };
    assert_eq!(found("", &config), (None, "us-east-1".into(), None));
    config.peers.home = Some(home.path().to_owned());
    assert_eq!(found("", &config), (Some(("d".into(), false)), "eu-west-1".into(), None));
    let work = (Some(("w".into(), true)), "eu-central-1".into(), Some("http://127.0.0.1:1".into()));
    assert_eq!(found("profile = work\n", &config), work);
    let set = |config: &mut Config, pairs: &[(&str, &str)]| {
        config.peers.env = pairs.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(*v))).collect();
    };
    set(&mut config, &[("AWS_PROFILE", "work")]);
    assert_eq!(found("", &config), work);
    set(&mut config, &[("AWS_ACCESS_KEY_ID", "e"), ("AWS_SECRET_ACCESS_KEY", "es"), ("AWS_REGION", "x-1")]);
    assert_eq!(found("", &config).0, Some(("e".into(), false)));
    assert_eq!(found("", &config).1, "x-1");
    // What the remote itself says wins.
    assert_eq!(found("profile = work\n", &config).0, Some(("w".into(), true)));
    let own = "access_key_id = o\nsecret_access_key = os\nregion = y-1\nendpointurl = http://h:9\n";
    assert_eq!(found(own, &config), (Some(("o".into(), false)), "y-1".into(), Some("http://h:9".into())));
    let e = credentials::find(&remote("profile = none\n", Level::Local), &config).unwrap_err();
    assert!(e.message.contains("profile"), "{e}");
}

#[test]
fn addresses() {
    let mut config = testing::config(Path::new("/nowhere"));
    config.peers.env.insert("AWS_ACCESS_KEY_ID".into(), Secret::new("a"));
    config.peers.env.insert("AWS_SECRET_ACCESS_KEY".into(), Secret::new("b"));
    let url = |settings: &str, key: &Key| {
        let r = S3Remote::open(&remote(settings, Level::Repo), &config, false).unwrap();
        r.inner.object(&r.inner.site(), key).to_string()
    };
    let key = Key::new("files/md5/ab/c d");
    assert_eq!(url("", &key), "https://bucket.s3.us-east-1.amazonaws.com/deep/er/files/md5/ab/c%20d");
    assert_eq!(
        url("region = cn-north-1\n", &key),
        "https://bucket.s3.cn-north-1.amazonaws.com.cn/deep/er/files/md5/ab/c%20d"
    );
    assert_eq!(
        url("endpointurl = http://127.0.0.1:9/x/\n", &key),
        "http://127.0.0.1:9/x/bucket/deep/er/files/md5/ab/c%20d"
    );
    let versioned = Key { path: "a".into(), version: Some("v+/=".into()) };
    assert!(url("endpointurl = http://h\n", &versioned).ends_with("/bucket/deep/er/a?versionId=v%2B%2F%3D"));
    for (settings, why) in [
        ("region = a/b\n", "region"),
        ("endpointurl = ftp://h\n", "endpointurl"),
        ("endpointurl = http://u:p@h\n", "endpointurl"),
        ("ssl_verify = false\n", "ssl_verify"),
        ("sse_customer_key = k\n", "sse_customer_key"),
    ] {
        let e = S3Remote::open(&remote(settings, Level::Repo), &config, false).err().unwrap();
        assert!(e.message.contains(why), "{e}");
    }
    // A repository from another machine may not turn us on our own network.
    let inward = remote("endpointurl = http://169.254.169.254\n", Level::Repo);
    assert_eq!(S3Remote::open(&inward, &config, true).err().unwrap().kind, Kind::Unavailable);
    // The user's own environment may.
    let mut own = config.clone();
    own.peers.env.insert("AWS_ENDPOINT_URL".into(), Secret::new("http://10.0.0.1:9000"));
    assert!(!S3Remote::open(&remote("", Level::Repo), &own, true).unwrap().inner.elsewhere);
    let e = S3Remote::open(&remote("", Level::Repo), &testing::config(Path::new("/n")), false).err().unwrap();
    assert!(e.kind == Kind::Unauthorized && e.hint.unwrap().contains("AWS_ACCESS_KEY_ID"));
    assert!(
        S3Remote::open(
            &remote("allow_anonymous_login = true\n", Level::Repo),
            &testing::config(Path::new("/n")),
            false
        )
        .is_ok()
    );
}

#[test]
fn elements_of_answers() {
    assert_eq!(tag("<A><Key>a&amp;b&lt;</Key></A>", "Key").as_deref(), Some("a&b<"));
    assert_eq!(tag("<Key>a", "Key"), None);
}
