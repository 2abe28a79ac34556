use super::*;
use crate::client::Retry;
use crate::client::faulty::{Fault, Faulty};
use crate::client::http::Http;
use crate::client::memory::Memory;
use crate::client::transport::{BoxFuture, Failure, Request, Response, Transport};
use crate::hash;
use crate::repository::{self, Choice, NewFile, Repository, Upload};
use crate::serve::ServeOptions;
use crate::testing::{NAMES, Sample, config, content, git, path, until, url, with_token, write};
use dds_core::{EntryKind, Kind, Versioning};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Counts requests, and how many run at once.
struct Counting {
    inner: Http,
    urls: Mutex<Vec<String>>,
    /// What was asked for by ranges, in bytes.
    asked: Mutex<u64>,
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Counting {
    fn new() -> Arc<Self> {
        let inner = Http::new(&"http://127.0.0.1".parse().unwrap()).unwrap();
        let (urls, asked) = (Mutex::default(), Mutex::default());
        Arc::new(Self { inner, urls, asked, running: Arc::default(), most: Arc::default() })
    }

    fn raws(&self) -> usize {
        self.urls.lock().unwrap().iter().filter(|u| u.contains("/raw/")).count()
    }
}

impl Transport for Counting {
    fn send(&self, request: Request) -> BoxFuture<std::result::Result<Response, Failure>> {
        self.urls.lock().unwrap().push(request.url.to_string());
        if let Some(range) = request.headers.get(reqwest::header::RANGE) {
            let (from, to) = range.to_str().unwrap()["bytes=".len()..].split_once('-').unwrap();
            *self.asked.lock().unwrap() += to.parse::<u64>().unwrap() + 1 - from.parse::<u64>().unwrap();
        }
        let (running, most) = (self.running.clone(), self.most.clone());
        let sent = self.inner.send(request);
        Box::pin(async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let answer = sent.await;
            running.fetch_sub(1, Ordering::SeqCst);
            answer
        })
    }
}

fn hub(sample: &Sample, server: &crate::Server, transport: Arc<dyn Transport>, settings: Settings) -> Hub {
    let retry = Retry { attempts: 3, pause: Duration::from_millis(1) };
    let client = HubClient::over(transport, &server.url(), "local", "art", None, retry).unwrap();
    let cache = BlobStore::new(sample.home.path().join("cache/blobs"));
    Hub::open(client, "test", None, cache, settings, &sample.cx()).unwrap()
}

/// The same assertions for every kind of repository.
fn reads_like_the_sample(source: &dyn Source, cx: &Cx) {
    let all = source.list(&RepoPath::root(), true, cx).unwrap();
    let mut want: Vec<String> = NAMES.iter().map(|n| format!("data/set/{n}")).collect();
    want.extend(
        ["README.md", "notes/ü a..b.txt", "data/set.dvc", "data/.gitignore", ".dvcignore"].map(String::from),
    );
    want.extend([".dvc/config", ".dvc/.gitignore"].map(String::from));
    want.sort();
    assert_eq!(all.iter().map(|e| e.path.to_string()).collect::<Vec<_>>(), want);
    let top = source.list(&path("data/set"), false, cx).unwrap();
    let shape: Vec<_> = top.iter().map(|e| (e.path.name(), e.kind)).collect();
    assert_eq!(
        shape,
        [
            ("100% #?&+;'.jpg", EntryKind::File),
            ("a..b", EntryKind::Dir),
            ("animals", EntryKind::Dir),
            ("plain.jpg", EntryKind::File)
        ]
    );
    for name in NAMES {
        let at = path(&format!("data/set/{name}"));
        let entry = source.stat(&at, cx).unwrap();
        assert_eq!(entry.size, Some(content(name).len() as u64));
        assert_eq!((entry.digest, entry.versioning), (Some(hash::md5(&content(name))), Versioning::Dvc));
        assert_eq!(source.read(&at, cx).unwrap(), content(name));
        assert_eq!(source.read_range(&at, 5..9, cx).unwrap(), &content(name)[5..9]);
        let len = content(name).len();
        assert_eq!(source.read_range(&at, len as u64 - 3..u64::MAX, cx).unwrap(), &content(name)[len - 3..]);
        assert_eq!(source.read_range(&at, 1 << 40..1 << 41, cx).unwrap(), b"");
    }
    assert_eq!(source.read(&path("notes/ü a..b.txt"), cx).unwrap(), b"hi\n");
    assert_eq!(source.stat(&path("data"), cx).unwrap().kind, EntryKind::Dir);
    for missing in ["none", "data/set/none", "README.md/x", "plain.jpg"] {
        assert_eq!(source.stat(&path(missing), cx).unwrap_err().kind, Kind::NotFound, "{missing}");
        assert_eq!(source.read(&path(missing), cx).unwrap_err().kind, Kind::NotFound, "{missing}");
        assert_eq!(source.list(&path(missing), false, cx).unwrap_err().kind, Kind::NotFound, "{missing}");
    }
    assert_eq!(source.list(&path("README.md"), false, cx).unwrap_err().kind, Kind::NotFound);
    assert_eq!(source.read(&path("data/set"), cx).unwrap_err().kind, Kind::NotFound);
}

#[test]
fn a_served_and_a_local_repository_read_the_same() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let (cx, config) = (sample.cx(), sample.config("cache"));
    let served = open(&url(&server), &config, &cx).unwrap();
    reads_like_the_sample(served.as_ref(), &cx);
    assert_eq!(served.id(), format!("{}@{}", server.repo_url(), sample.head()));
    assert_eq!(served.origin().unwrap().to_string(), format!("{}@main", server.repo_url()));
    let local = open(&RepoUrl::parse("art").unwrap(), &config, &cx).unwrap();
    reads_like_the_sample(local.as_ref(), &cx);
    let bare = sample.home.path().join("bare.git");
    git(sample.home.path(), &["clone", "-q", "--bare", "art", "bare.git"]);
    reads_like_the_sample(open(&RepoUrl::parse("bare.git").unwrap(), &config, &cx).unwrap().as_ref(), &cx);
    let server = crate::Server::start(&bare, ServeOptions::default(), &cx).unwrap();
    assert!(server.repo_url().ends_with("/local/bare"));
    reads_like_the_sample(open(&url(&server), &config, &cx).unwrap().as_ref(), &cx);
}

#[test]
fn programs_are_told() {
    use std::os::unix::fs::PermissionsExt;
    let sample = Sample::new();
    for (name, mode) in [("run.sh", 0o755), ("plain.sh", 0o644)] {
        write(&sample.repo.join(name), b"#!/bin/sh\n");
        std::fs::set_permissions(sample.repo.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let md5 = hash::md5(&content("plain.jpg"));
    let text = format!("outs:\n- md5: {md5}\n  size: 9\n  isexec: true\n  hash: md5\n  path: tool\n");
    write(&sample.repo.join("tool.dvc"), text.as_bytes());
    git(&sample.repo, &["add", "run.sh", "plain.sh", "tool.dvc"]);
    git(&sample.repo, &["commit", "-qm", "programs"]);
    let server = sample.serve(ServeOptions::default());
    let (cx, config) = (sample.cx(), sample.config("cache"));
    let bare = sample.home.path().join("far.git");
    git(sample.home.path(), &["clone", "-q", "--bare", "art", "far.git"]);
    for url in [url(&server), RepoUrl::parse("art").unwrap(), RepoUrl::parse(bare.to_str().unwrap()).unwrap()]
    {
        let source = open(&url, &config, &cx).unwrap();
        let all = source.list(&RepoPath::root(), true, &cx).unwrap();
        let marked: Vec<&str> = all.iter().filter(|e| e.executable).map(|e| e.path.as_str()).collect();
        assert_eq!(marked, ["run.sh", "tool"], "{url}");
        assert!(source.stat(&path("run.sh"), &cx).unwrap().executable);
        assert!(!source.stat(&path("plain.sh"), &cx).unwrap().executable);
    }
}

#[test]
fn sources_work_from_threads_of_another_runtime() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let (cx, config, url) = (sample.cx(), sample.config("cache"), url(&server));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let source = open(&url, &config, &cx).unwrap();
        assert_eq!(source.read(&path("README.md"), &cx).unwrap(), b"# Art\n");
    });
}

#[test]
fn the_token_is_needed_and_goes_only_where_it_belongs() {
    let sample = Sample::new();
    let token = Secret::new("t0ken");
    let server = sample.serve(ServeOptions { token: Some(token.clone()), ..ServeOptions::default() });
    let cx = sample.cx();
    let mut config = sample.config("cache");
    let open_with = |url: RepoUrl, config: &Config| open(&url, config, &cx).map(|s| s.id());
    let refused = open_with(url(&server), &config).unwrap_err();
    assert_eq!(refused.kind, Kind::Unauthorized);
    let hint = refused.hint.unwrap();
    assert!(
        hint.contains("--token") && hint.contains(&format!("DAGSHUB_CLIENT_HOST={}", server.url())),
        "{hint}"
    );
    let own = Config { dagshub_host: server.url(), ..sample.config("cache") };
    let hint = open_with(url(&server), &own).unwrap_err().hint.unwrap();
    assert_eq!(hint, "run `dds login`, set DAGSHUB_USER_TOKEN, or pass --token");
    let wrong = open_with(with_token(url(&server), "wr0ng"), &config).unwrap_err();
    assert!(wrong.kind == Kind::Unauthorized && !format!("{wrong:?}").contains("wr0ng"), "{wrong:?}");
    let id = open_with(with_token(url(&server), "t0ken"), &config).unwrap();
    assert!(!id.contains("t0ken"), "{id}");
    // A configured token goes to the configured host only.
    config.dagshub_token = Some(token);
    assert_eq!(open_with(url(&server), &config).unwrap_err().kind, Kind::Unauthorized);
    config.dagshub_host = server.url();
    open_with(url(&server), &config).unwrap();
    open_with(RepoUrl::parse("dagshub://local/art").unwrap(), &config).unwrap();
}

#[test]
fn a_missing_repository_or_revision_is_told() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let (cx, config) = (sample.cx(), sample.config("cache"));
    let fails =
        |text: String| open(&RepoUrl::parse(&text).unwrap(), &config, &cx).map(|s| s.id()).unwrap_err();
    let base = server.url();
    let e = fails(format!("{base}/local/other"));
    assert_eq!((e.kind, e.hint.as_deref()), (Kind::NotFound, Some("this server has local/art")));
    for rev in ["nope", &"0".repeat(40)] {
        let e = fails(format!("{base}/local/art@{rev}"));
        assert!(e.kind == Kind::NotFound && e.message.contains(rev), "{e}");
        assert_eq!(fails(format!("art@{rev}")).kind, Kind::NotFound);
    }
    assert_eq!(fails("no/such/folder".into()).kind, Kind::NotFound);
    assert!(fails(sample.home.path().join("files").display().to_string()).hint.unwrap().contains("git init"));
}

fn commit_file(sample: &Sample, name: &str, bytes: &[u8]) {
    let repository = Repository::open(&sample.repo).unwrap();
    let mut writer = repository.stores().cache().writer().unwrap();
    writer.write(bytes).unwrap();
    let up = Upload {
        dvc_dirs: vec![path("data/set")],
        files: vec![NewFile { path: path(&format!("data/set/{name}")), bytes: writer.stage() }],
        choice: Choice::Auto,
        summary: "add".into(),
        branch: "main".into(),
        ..Upload::default()
    };
    repository::upload(&repository, up).unwrap();
}

#[test]
fn a_branch_is_followed_and_a_commit_stays() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let (cx, config) = (sample.cx(), sample.config("cache"));
    let first = sample.head();
    let open = |text: String| open_repo(&RepoUrl::parse(&text).unwrap(), &config, &cx).unwrap();
    let follow = [open(server.repo_url()), open(format!("{}@main", server.repo_url())), open("art".into())];
    let stay = [open(format!("{}@{first}", server.repo_url())), open(format!("art@{first}"))];
    for repo in follow.iter().chain(&stay) {
        assert_eq!(repo.commit(), first);
        assert!(!repo.refresh(&cx).unwrap());
    }
    commit_file(&sample, "new one.jpg", b"new");
    let at = path("data/set/new one.jpg");
    for repo in &follow {
        assert!(repo.stat(&at, &cx).is_err(), "pinned until it is renewed");
        assert!(repo.refresh(&cx).unwrap());
        assert_ne!(repo.commit(), first);
        assert_eq!(repo.read(&at, &cx).unwrap(), b"new");
        assert!(repo.list(&path("data/set"), true, &cx).unwrap().iter().any(|e| e.path == at));
    }
    for repo in &stay {
        assert!(!repo.refresh(&cx).unwrap());
        assert_eq!((repo.commit(), repo.stat(&at, &cx).unwrap_err().kind), (first.clone(), Kind::NotFound));
    }
}

#[test]
fn announced_files_are_fetched_once_and_in_parallel() {
    let names: Vec<String> = (0..100).map(|n| format!("{n:03}.jpg")).collect();
    let sample = Sample::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let server = sample.serve(ServeOptions::default());
    let transport = Counting::new();
    let hub = hub(&sample, &server, transport.clone(), Settings::default());
    let cx = sample.cx();
    hub.list(&path("data/set"), true, &cx).unwrap();
    let requests = transport.urls.lock().unwrap().len();
    let paths: Vec<RepoPath> = names.iter().map(|n| path(&format!("data/set/{n}"))).collect();
    hub.announce(&paths);
    hub.announce(&paths[50..]);
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for (at, name) in paths.iter().zip(&names) {
                    assert_eq!(hub.read(at, &cx).unwrap(), content(name));
                }
            });
        }
    });
    assert_eq!(transport.raws(), 100, "each file once");
    assert_eq!(transport.urls.lock().unwrap().len(), requests + 100);
    let most = transport.most.load(Ordering::SeqCst);
    assert!((2..=32).contains(&most), "{most} at once");
    // A new mount of the same machine finds them on disk.
    let digests: Vec<_> = names.iter().map(|n| hash::md5(&content(n))).collect();
    let cache = BlobStore::new(sample.home.path().join("cache/blobs"));
    until("the cache", || digests.iter().all(|d| cache.contains(d)));
    let again = Counting::new();
    let second = self::hub(&sample, &server, again.clone(), Settings::default());
    second.list(&path("data/set"), true, &cx).unwrap();
    second.announce(&paths);
    for (at, name) in paths.iter().zip(&names) {
        assert_eq!(second.read(at, &cx).unwrap(), content(name));
    }
    assert_eq!(again.raws(), 0);
}

#[test]
fn only_listed_files_are_fetched_ahead() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let transport = Counting::new();
    let hub = hub(&sample, &server, transport.clone(), Settings::default());
    let (cx, at) = (sample.cx(), path("data/set/plain.jpg"));
    hub.announce(&[at.clone(), path("data/set/none.jpg")]);
    assert!(hub.is_idle(), "without an entry there is no digest to verify by");
    assert_eq!(hub.read(&at, &cx).unwrap(), content("plain.jpg"));
    assert_eq!(transport.raws(), 1);
}

#[test]
fn what_was_listed_is_fetched_ahead_after_a_refresh_too() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let transport = Counting::new();
    let hub = hub(&sample, &server, transport.clone(), Settings::default());
    let (cx, at) = (sample.cx(), path("data/set/plain.jpg"));
    hub.list(&path("data/set"), true, &cx).unwrap();
    commit_file(&sample, "new one.jpg", b"new");
    assert!(hub.refresh(&cx).unwrap());
    hub.announce(std::slice::from_ref(&at));
    until("the announced file", || transport.raws() == 1);
    assert_eq!(hub.read(&at, &cx).unwrap(), content("plain.jpg"));
    assert_eq!(transport.raws(), 1, "read from what was fetched ahead");
}

#[test]
fn a_size_beyond_all_bounds_is_refused() {
    let base = "http://hub.test/api/v1/repos/o/r";
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let memory = Memory::default();
    memory.put(base, &br#"{"default_branch":"main","clone_url":"x"}"#[..]);
    memory.put(&format!("{base}/branches/main"), format!(r#"{{"commit":{{"id":"{commit}"}}}}"#));
    memory.put(
        &format!("{base}/content/{commit}/"),
        &br#"[{"path":"huge","type":"file","size":9000000000000000000}]"#[..],
    );
    let memory = Arc::new(memory);
    let client = HubClient::over(memory, "http://hub.test", "o", "r", None, Retry::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cx = Cx::silent(dir.path());
    let hub = Hub::open(client, "u", None, BlobStore::new(dir.path()), Settings::default(), &cx).unwrap();
    hub.list(&RepoPath::root(), false, &cx).unwrap();
    assert_eq!(hub.read(&path("huge"), &cx).unwrap_err().kind, Kind::Limit);
    assert_eq!(hub.read_range(&path("huge"), 0..5, &cx).unwrap_err().kind, Kind::Limit);
}

#[test]
fn prefetching_waits_for_a_slow_reader() {
    let names: Vec<String> = (0..64).map(|n| format!("{n:03}.jpg")).collect();
    let sample = Sample::with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let server = sample.serve(ServeOptions::default());
    let transport = Counting::new();
    let size = content(&names[0]).len() as u64;
    let memory_bytes = 8 * size;
    let hub = hub(&sample, &server, transport.clone(), Settings { memory_bytes, ..Settings::default() });
    let cx = sample.cx();
    hub.list(&path("data/set"), true, &cx).unwrap();
    let paths: Vec<RepoPath> = names.iter().map(|n| path(&format!("data/set/{n}"))).collect();
    hub.announce(&paths);
    until("the bound to be reached", || transport.raws() >= 8);
    // Whoever asks for a file far ahead is not held up by what waits.
    assert_eq!(hub.read(&paths[63], &cx).unwrap(), content(&names[63]));
    assert!(transport.raws() <= 9, "{} fetched without a reader", transport.raws());
    for (at, name) in paths.iter().zip(&names) {
        assert_eq!(hub.read(at, &cx).unwrap(), content(name));
    }
    assert!(transport.raws() <= 65, "{}", transport.raws());
    until("every gauge to be back at zero", || hub.is_idle());
}

#[test]
fn damaged_bytes_are_never_given_out() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let (cx, at) = (sample.cx(), path("data/set/plain.jpg"));
    let opened = |plan: Vec<Fault>, settings| {
        let http = Arc::new(Http::new(&"http://127.0.0.1".parse().unwrap()).unwrap());
        let plan = [Fault::None, Fault::None, Fault::None].into_iter().chain(plan);
        let hub = hub(&sample, &server, Arc::new(Faulty::new(http, plan)), settings);
        hub.stat(&at, &cx).unwrap();
        hub
    };
    // Once is forgiven, twice is told.
    assert_eq!(
        opened(vec![Fault::FlipBit(77)], Settings::default()).read(&at, &cx).unwrap(),
        content("plain.jpg")
    );
    let cache = BlobStore::new(sample.home.path().join("cache/blobs"));
    let digest = hash::md5(&content("plain.jpg"));
    until("the cache", || cache.contains(&digest));
    cache.remove(&digest).unwrap();
    let e =
        opened(vec![Fault::FlipBit(77), Fault::FlipBit(3)], Settings::default()).read(&at, &cx).unwrap_err();
    assert!(e.kind == Kind::Corrupt && e.message.contains("data/set/plain.jpg"), "{e}");
    assert!(!cache.contains(&digest));
    // A large file is verified when its last block has come.
    let large = Settings { small_bytes: 10, block_bytes: 100, ..Settings::default() };
    let e = opened(vec![Fault::FlipBit(7)], large).read(&at, &cx).unwrap_err();
    assert_eq!(e.kind, Kind::Corrupt);
    assert!(!cache.contains(&digest));
    let hub = opened(vec![Fault::FlipBit(7)], large);
    let _ = hub.read(&at, &cx).unwrap_err();
    assert_eq!(hub.read(&at, &cx).unwrap(), content("plain.jpg"), "read again, it is fetched again");
    // Who reads a part is told once, too, and then gets good bytes although the rest is not there yet.
    until("the cache", || cache.contains(&digest));
    cache.remove(&digest).unwrap();
    let hub = opened(vec![Fault::FlipBit(7)], large);
    assert_eq!(hub.read_range(&at, 0..u64::MAX, &cx).unwrap_err().kind, Kind::Corrupt);
    assert_eq!(hub.read_range(&at, 200..210, &cx).unwrap(), &content("plain.jpg")[200..210]);
}

#[test]
fn damage_in_the_cache_is_mended() {
    let sample = Sample::new();
    let server = sample.serve(ServeOptions::default());
    let (cx, at) = (sample.cx(), path("data/set/plain.jpg"));
    let cache = BlobStore::new(sample.home.path().join("cache/blobs"));
    let digest = hash::md5(&content("plain.jpg"));
    cache.put(&digest, &content("plain.jpg")).unwrap();
    let file = cache.path(&digest, crate::store::Layout::V3);
    std::fs::remove_file(&file).unwrap();
    write(&file, b"damaged");
    let hub = hub(&sample, &server, Counting::new(), Settings::default());
    assert_eq!(hub.read(&at, &cx).unwrap(), content("plain.jpg"));
}

#[test]
fn large_files_come_by_blocks() {
    let name = "plain.jpg";
    let (sample, at) = (Sample::new(), path("data/set/plain.jpg"));
    let (server, cx) = (sample.serve(ServeOptions::default()), sample.cx());
    let bytes = content(name);
    let len = bytes.len() as u64;
    for block in [1, 7, 100, len - 1, len, len + 1] {
        let _ = std::fs::remove_dir_all(sample.home.path().join("cache"));
        let transport = Counting::new();
        let settings = Settings { small_bytes: 10, block_bytes: block, ..Settings::default() };
        let hub = hub(&sample, &server, transport.clone(), settings);
        // Far ahead, backwards, across a border, behind the end.
        assert_eq!(hub.read_range(&at, len - 5..len, &cx).unwrap(), &bytes[bytes.len() - 5..]);
        assert!(
            transport.raws() as u64 <= len.div_ceil(block).min(5 / block + 2),
            "block {block}: {}",
            transport.raws()
        );
        assert_eq!(hub.read_range(&at, 90..110, &cx).unwrap(), &bytes[90..110]);
        assert_eq!(hub.read_range(&at, len - 1..len + 99, &cx).unwrap(), &bytes[bytes.len() - 1..]);
        assert_eq!(hub.read_range(&at, len..len + 99, &cx).unwrap(), b"");
        assert_eq!(hub.read(&at, &cx).unwrap(), bytes);
        assert!(transport.raws() as u64 <= len.div_ceil(block), "each block once");
        assert_eq!(*transport.asked.lock().unwrap(), len, "each byte once");
        let cache = BlobStore::new(sample.home.path().join("cache/blobs"));
        until("the cache", || cache.contains(&hash::md5(&bytes)));
    }
}

#[test]
fn small_reads_here_and_there_fetch_little_more() {
    let (sample, at) = (Sample::new(), path("data/set/big.bin"));
    let bytes: Vec<u8> = (0..1_500_000u32).flat_map(u32::to_le_bytes).collect();
    commit_file(&sample, "big.bin", &bytes);
    let (server, cx) = (sample.serve(ServeOptions::default()), sample.cx());
    let transport = Counting::new();
    let hub = hub(&sample, &server, transport.clone(), Settings { small_bytes: 10, ..Settings::default() });
    let (len, mut read) = (64 << 10, 0);
    for n in [0, 17, 3, 41, 29, 8, 53, 22] {
        let from = n * 100_001;
        let part = hub.read_range(&at, from..from + len, &cx).unwrap();
        assert_eq!(part, &bytes[from as usize..(from + len) as usize]);
        read += len;
    }
    let asked = *transport.asked.lock().unwrap();
    assert!(asked <= read * 3 / 2, "{asked} for {read}");
    assert_eq!(hub.read_range(&at, 0..10, &cx).unwrap(), &bytes[..10]);
    // Again: nothing more; a little beside: only the rest.
    hub.read_range(&at, 1_700_017..1_760_000, &cx).unwrap();
    assert_eq!(*transport.asked.lock().unwrap(), asked);
    hub.read_range(&at, 1_700_017..1_800_000, &cx).unwrap();
    assert!(*transport.asked.lock().unwrap() <= asked + 50_000);
    // And the whole, of which nothing comes twice that was complete.
    assert_eq!(hub.read(&at, &cx).unwrap(), bytes);
    let cache = BlobStore::new(sample.home.path().join("cache/blobs"));
    until("the cache", || cache.contains(&hash::md5(&bytes)));
}

#[test]
fn servers_without_our_extension_are_walked() {
    let base = "http://hub.test/api/v1/repos/o/r";
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let memory = Memory::default();
    memory.put(base, &br#"{"default_branch":"main","clone_url":"x"}"#[..]);
    memory.put(&format!("{base}/branches/main"), format!(r#"{{"commit":{{"id":"{commit}"}}}}"#));
    memory.put(
        &format!("{base}/content/{commit}/"),
        &br#"[{"path":"a","type":"dir"},{"path":"z.txt","type":"file","size":1}]"#[..],
    );
    memory.put(
        &format!("{base}/content/{commit}/a"),
        &br#"[{"path":"a/b c","type":"dir"},{"path":"a/x","type":"file","size":1}]"#[..],
    );
    memory.put(
        &format!("{base}/content/{commit}/a/b%20c"),
        &br#"[{"path":"a/b c/y","type":"file","size":1}]"#[..],
    );
    memory.put(&format!("{base}/raw/{commit}/a/x"), &b"X"[..]);
    let client =
        HubClient::over(Arc::new(memory.clone()), "http://hub.test", "o", "r", None, Retry::default())
            .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cx = Cx::silent(dir.path());
    let hub = Hub::open(client, "u", None, BlobStore::new(dir.path()), Settings::default(), &cx).unwrap();
    let all = hub.list(&RepoPath::root(), true, &cx).unwrap();
    assert_eq!(all.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["a/b c/y", "a/x", "z.txt"]);
    assert!(memory.seen().iter().all(|r| !r.url.as_str().contains("recursive")));
    assert_eq!(hub.read(&path("a/x"), &cx).unwrap(), b"X");
    // Listed with one byte, but two came.
    memory.put(&format!("{base}/raw/{commit}/z.txt"), &b"ZZ"[..]);
    assert_eq!(hub.read(&path("z.txt"), &cx).unwrap_err().kind, Kind::Corrupt);
}

#[test]
fn an_interrupt_ends_waiting() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = RepoUrl::parse(&format!("http://{}/o/r", listener.local_addr().unwrap())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cx = Cx::silent(dir.path());
    let (cancel, config) = (cx.cancel.clone(), config(dir.path()));
    let waiting = std::thread::spawn(move || open(&url, &config, &cx).map(|s| s.id()));
    // Accepted and never answered.
    let _connection = listener.accept().unwrap();
    cancel.cancel();
    assert_eq!(waiting.join().unwrap().unwrap_err().kind, Kind::Interrupted);
}

#[test]
fn a_broken_dvc_file_is_named_with_its_line() {
    let sample = Sample::new();
    write(&sample.repo.join("more/bad.dvc"), b"outs:\n- md5: nonsense\n  path: bad\n");
    git(&sample.repo, &["add", "more/bad.dvc"]);
    git(&sample.repo, &["commit", "-qm", "bad"]);
    let server = sample.serve(ServeOptions::default());
    let (cx, config) = (sample.cx(), sample.config("cache"));
    for text in [server.repo_url(), "art".into()] {
        let source = open(&RepoUrl::parse(&text).unwrap(), &config, &cx).unwrap();
        for (dir, recursive) in [("", true), ("more", false), ("more", true)] {
            let e = source.list(&path(dir), recursive, &cx).unwrap_err();
            assert_eq!(e.kind, Kind::Format);
            assert!(e.message.contains("more/bad.dvc, line 2"), "{text} {dir}: {e}");
        }
        // What does not depend on it still works.
        assert_eq!(source.list(&path("data/set"), true, &cx).unwrap().len(), NAMES.len());
        assert_eq!(source.read(&path("more/bad.dvc"), &cx).unwrap().len(), 34);
    }
}

#[test]
fn who_may_name_addresses_of_this_network() {
    for (url, public) in [
        ("https://8.8.8.8/o/r.git", true),
        ("https://10.0.0.1/o/r.git", false),
        ("http://localhost:3000/o/r.git", false),
        ("git@localhost:o/r.git", false),
        ("git@10.1.2.3:o/r.git", false),
        ("ssh://git@localhost/o/r.git", false),
        ("https://no.such.host.invalid/o/r.git", true),
        ("no URL at all", true),
    ] {
        assert_eq!(is_public(url), public, "{url}");
    }
    for (base, named, inward) in [
        ("https://8.8.8.8", "https://localhost/o/r.git", true),
        ("https://8.8.8.8", "https://10.0.0.1/o/r.git", true),
        ("https://8.8.8.8", "https://8.8.4.4/o/r.git", false),
        ("http://10.0.0.2", "http://localhost/o/r.git", false),
        ("http://localhost:1", "http://localhost:2/o/r.git", false),
    ] {
        assert_eq!(turns_inward(&base.parse().unwrap(), &named.parse().unwrap()), inward, "{base} {named}");
    }
}
