use super::super::tests::{ask as request, exchange_bytes};
use super::super::{ServeOptions, Server};
use super::*;
use crate::hash;
use crate::testing::{Sample, write};
use dds_core::{Kind, RepoPath};

#[test]
fn ranges() {
    for (range, len, want) in [
        ("bytes=0-9", 100, Asked::Part(0..10)),
        ("bytes=90-", 100, Asked::Part(90..100)),
        ("bytes=90-1000", 100, Asked::Part(90..100)),
        ("bytes=-5", 100, Asked::Part(95..100)),
        ("bytes=-500", 100, Asked::Part(0..100)),
        ("bytes=100-", 100, Asked::Nothing),
        ("bytes=0-0", 0, Asked::Nothing),
        ("bytes=-0", 100, Asked::Nothing),
        ("bytes=5-4", 100, Asked::All),
        ("bytes=0-1,3-4", 100, Asked::All),
        ("bytes=x-", 100, Asked::All),
        ("items=0-1", 100, Asked::All),
        ("bytes=0-18446744073709551615", 100, Asked::Part(0..100)),
        ("bytes=99999999999999999999-", 100, Asked::All),
    ] {
        assert_eq!(ask(range, len), want, "{range}");
    }
}

#[test]
fn large_objects_are_verified_while_they_are_sent() {
    let sample = Sample::new();
    let big: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    write(&sample.home.path().join("big/b.bin"), &big);
    let repo = sample.home.path().join("bigrepo");
    let options = crate::create::Options::default();
    let created =
        crate::create::git_dvc_repo(&sample.home.path().join("big"), &repo, &options, &sample.cx()).unwrap();
    assert_eq!(created.bytes, big.len() as u64);
    let server = Server::start(&repo, ServeOptions::default(), &sample.cx()).unwrap();
    let read = |path: &str| {
        let source = crate::open(&crate::testing::url(&server), &sample.config(path), &sample.cx()).unwrap();
        source.read(&RepoPath::parse("big/b.bin").unwrap(), &sample.cx())
    };
    assert!(read("one").unwrap() == big);
    // Damage every copy: none is given out whole, although the file was good a moment ago.
    let digest = hash::md5(&big);
    for store in [repo.join(".dvc/cache"), sample.home.path().join("bigrepo-storage")] {
        let at = crate::store::BlobStore::new(store).path(&digest, crate::store::Layout::V3);
        let mut bad = big.clone();
        bad[11_000_000] ^= 1;
        let _ = std::fs::remove_file(&at);
        write(&at, &bad);
    }
    let e = read("two").unwrap_err();
    assert!(matches!(e.kind, Kind::Unreachable | Kind::Corrupt), "{e}");
    let target = "/api/v1/repos/local/bigrepo/raw/main/big/b.bin";
    // Each copy breaks off before its end, once.
    crate::testing::until("both copies to be found damaged", || {
        let text = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        let answer = exchange_bytes(&server, &text);
        assert!(answer.len() < big.len());
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains("bigrepo-storage"));
        answer.starts_with("HTTP/1.1 500") && answer.contains("damaged")
    });
    assert_eq!(request(&server, "GET", target, "Range: bytes=0-9\r\n").0, 500);
}
