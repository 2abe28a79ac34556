use super::*;
use crate::dvc::{DvcConfig, Level};
use crate::testing;
use dds_core::Secret;
use std::path::Path;

fn remote(settings: &str, level: Level) -> RemoteConfig {
    let mut c = DvcConfig::default();
    c.merge(&format!("['remote \"s\"']\nurl = azure://box/deep/er\n{settings}"), level, Path::new("/r/.dvc"));
    c.remotes().next().unwrap()
}

fn example() -> SharedKey {
    SharedKey { account: "myaccount".into(), key: Secret::new("a2V5IG9mIHRoZSBhY2NvdW50") }
}

/// The text of the documentation of "Shared Key", with our version of the API; the signature of it by
/// OpenSSL: `printf … | openssl dgst -sha256 -hmac 'key of the account' -binary | base64`.
#[test]
fn the_signature_is_made_of_the_documented_text() {
    let url = "https://myaccount.blob.core.windows.net/mycontainer?restype=container&timeout=20&comp=a%20b";
    let mut request = Request::get(url.parse().unwrap());
    example().sign_at(&mut request, "Fri, 26 Jun 2015 23:39:12 GMT").unwrap();
    assert_eq!(
        request.headers["authorization"],
        "SharedKey myaccount:ToqbB21gO0pYEo2Fkfnqcb8fiif741kwkVVivlpNrlo="
    );
    let mut put = Request::get("https://myaccount.blob.core.windows.net/c/a%20b".parse().unwrap());
    put.method = Method::PUT;
    put.body = Content::File { path: "/x".into(), len: 11 };
    put.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    put.headers.insert(reqwest::header::RANGE, HeaderValue::from_static("bytes=0-4"));
    put.headers.insert(HeaderName::from_static("x-ms-blob-type"), HeaderValue::from_static("BlockBlob"));
    example().sign_at(&mut put, "Fri, 26 Jun 2015 23:39:12 GMT").unwrap();
    assert_eq!(
        put.headers["authorization"],
        "SharedKey myaccount:m6WsRsg4sDNjUvTCHLbMVykLa3D1HDeXKgKabpXGM4M="
    );
    assert!(!format!("{put:?}").contains("m6WsRsg4sDNjUvTCHLbMVykLa3D1HDeXKgKabpXGM4M="));
}

#[test]
fn a_shared_access_signature_is_part_of_the_address_and_of_no_message() {
    let sas = Sas { token: Secret::new("sv=2021&sig=can%2Bary") };
    let mut request = Request::get("https://a.blob.core.windows.net/c/k?comp=list".parse().unwrap());
    for _ in 0..2 {
        sas.sign(&mut request).unwrap();
        assert_eq!(request.url.query(), Some("comp=list&sv=2021&sig=can%2Bary"));
    }
    assert_eq!(sas.redact("sig can+ary, can%2Bary, sv=2021&sig=can%2Bary"), "sig ***, ***, ***");
}

#[test]
fn accounts_are_found_where_azures_tools_keep_them() {
    let home = tempfile::tempdir().unwrap();
    testing::write(
        &home.path().join(".azure/config"),
        b"[storage]\naccount = homeacc\nkey = aG9tZQ==\n[other]\nkey = no\n",
    );
    let mut config = testing::config(Path::new("/x"));
    let find = |settings: &str, level, config: &Config| account::find(&remote(settings, level), config);
    let e = find("", Level::Repo, &config).err().unwrap();
    assert!(e.kind == Kind::Unauthorized && e.hint.unwrap().contains("AZURE_STORAGE_"), "{}", e.message);
    config.peers.home = Some(home.path().to_owned());
    let found = find("", Level::Repo, &config).unwrap();
    assert_eq!(found.endpoint.as_str(), "https://homeacc.blob.core.windows.net/");
    assert!(matches!(found.proof, Proof::Key(key) if key.expose() == "aG9tZQ=="));
    // What is kept for one account is not sent to another one that a repository names.
    let e = find("account_name = evilacc\n", Level::Repo, &config).err().unwrap();
    assert_eq!(e.kind, Kind::Unauthorized);
    let found = find("account_name = evilacc\nallow_anonymous_login = true\n", Level::Repo, &config).unwrap();
    assert!(matches!(found.proof, Proof::None) && found.from_repository);
    let found = find("account_name = mine1\nsas_token = ?sig=x\n", Level::Local, &config).unwrap();
    assert!(matches!(found.proof, Proof::Sas(token) if token.expose() == "sig=x") && !found.from_repository);
    let own = "connection_string = BlobEndpoint=http://127.0.0.1:7/acc;AccountName=acc;AccountKey=a2V5;\n";
    let found = find(own, Level::Local, &config).unwrap();
    assert_eq!((found.endpoint.as_str(), found.account.as_str()), ("http://127.0.0.1:7/acc", "acc"));
    let emulator = find("connection_string = UseDevelopmentStorage=true\n", Level::Local, &config).unwrap();
    assert_eq!(emulator.account, "devstoreaccount1");
    for broken in ["nonsense", "AccountName=a", "BlobEndpoint=ftp://x;AccountName=a;AccountKey=k"] {
        let e = find(&format!("connection_string = {broken}\n"), Level::Local, &config).err().unwrap();
        assert!(e.kind == Kind::Format && !e.message.contains(broken), "{e}");
    }
    let var = |text: &str| [("AZURE_STORAGE_CONNECTION_STRING".to_owned(), Secret::new(text))];
    config.peers.env.extend(var("AccountName=envacc;AccountKey=a2V5;EndpointSuffix=example.org"));
    let found = find("", Level::Repo, &config).unwrap();
    assert_eq!(found.endpoint.as_str(), "https://envacc.blob.example.org/");
    let found = find("account_name = envacc\n", Level::Repo, &config).unwrap();
    assert_eq!(found.endpoint.as_str(), "https://envacc.blob.example.org/");
    assert_eq!(
        find("account_name = evilacc\n", Level::Repo, &config).err().unwrap().kind,
        Kind::Unauthorized
    );
    let own = "account_name = mine1\naccount_key = bWluZQ==\n";
    assert_eq!(find(own, Level::Local, &config).unwrap().account, "mine1");
    let e = find("client_id = x\n", Level::Repo, &config).err().unwrap();
    assert!(e.hint.unwrap().contains("account_key"));
}

/// A repository may call its remote as the user calls one of theirs.
#[test]
fn a_signature_of_the_user_goes_to_no_account_of_a_repository() {
    let mut c = DvcConfig::default();
    let own = "['remote \"s\"']\nurl = azure://box\naccount_name = mine1\nsas_token = sig=x\n";
    c.merge(own, Level::Global, Path::new("/home/x"));
    let config = testing::config(Path::new("/x"));
    assert!(account::find(&c.remotes().next().unwrap(), &config).is_ok());
    c.merge("['remote \"s\"']\naccount_name = evilacc\n", Level::Repo, Path::new("/r/.dvc"));
    let e = account::find(&c.remotes().next().unwrap(), &config).err().unwrap();
    assert_eq!(e.kind, Kind::Unauthorized, "{e}");
}

#[test]
fn a_repository_from_afar_cannot_name_a_host_of_this_network() {
    let own = "connection_string = BlobEndpoint=http://127.0.0.1:7/a;AccountName=a;AccountKey=a2V5;\n";
    let config = testing::config(Path::new("/x"));
    let e = AzureRemote::open(&remote(own, Level::Repo), &config, true).err().unwrap();
    assert!(e.message.contains("its network"), "{e}");
    assert!(AzureRemote::open(&remote(own, Level::Local), &config, true).is_ok());
}
