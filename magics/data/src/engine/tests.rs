use super::*;
use crate::serve::{ServeOptions, Server};
use crate::testing::{NAMES, Sample, content, git, path, write};
use dds_core::RepoUrl;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

mod revisions;

/// One mount, as the mount engine would resolve it.
struct Mounted {
    config: Arc<Config>,
    at: PathBuf,
    source: Mutex<Option<Arc<dyn Source>>>,
}

impl Resolver for Mounted {
    fn resolve(&self, path: &Path) -> Located {
        match (path.strip_prefix(&self.at), &*self.source.lock().unwrap()) {
            (Ok(below), Some(source)) => Located::Remote {
                source: source.clone(),
                path: RepoPath::parse(below.to_str().unwrap()).unwrap(),
            },
            _ => Located::Local(path.to_owned()),
        }
    }

    fn open(&self, url: &RepoUrl, cx: &Cx) -> Result<Arc<dyn Source>> {
        crate::open(url, &self.config, cx)
    }
}

struct Setup {
    sample: Sample,
    data: Data,
    mounted: Arc<Mounted>,
}

fn setup() -> Setup {
    let sample = Sample::new();
    let config = Arc::new(sample.config("cache"));
    let at = sample.home.path().join("mnt");
    let mounted = Arc::new(Mounted { config: config.clone(), at, source: Mutex::default() });
    Setup { data: Data::new(config, mounted.clone()), sample, mounted }
}

impl Setup {
    fn mount(&self, url: &str) {
        let source = self.mounted.open(&RepoUrl::parse(url).unwrap(), &self.sample.cx()).unwrap();
        *self.mounted.source.lock().unwrap() = Some(source);
    }

    fn ls(&self, target: &str, recursive: bool, long: bool) -> Result<Outcome> {
        self.data.ls(&rq::Ls { target: target.into(), recursive, long }, &self.sample.cx())
    }

    fn upload(&self, files: &[&str], to: &str) -> Result<Outcome> {
        self.upload_with(rq::Upload {
            files: files.iter().map(|f| (*f).to_owned()).collect(),
            to: to.into(),
            ..rq::Upload::default()
        })
    }

    fn upload_with(&self, request: rq::Upload) -> Result<Outcome> {
        self.data.upload(&request, &self.sample.cx())
    }

    fn clone(&self, url: &str, dir: &str, data: bool) -> Result<Outcome> {
        let request = rq::Clone { url: url.into(), dir: dir.into(), data, token: None };
        self.data.clone_repo(&request, &self.sample.cx())
    }
}

#[test]
fn ls_of_everything() {
    let s = setup();
    let server = s.sample.serve(ServeOptions::default());
    let url = server.repo_url();
    s.mount(&url);
    for target in
        [format!("{url}:data/set"), "mnt/data/set".into(), "art:data/set".into(), "art@main:data/set".into()]
    {
        let out = s.ls(&target, true, true).unwrap();
        assert!(out.summary.contains("5 files"), "{target}: {}", out.summary);
        for name in NAMES {
            assert!(out.detail.contains(name), "{target}: {}", out.detail);
        }
        assert!(
            out.detail.contains("dvc") && out.html.as_deref().unwrap().contains("100% #?&amp;+;&#39;.jpg")
        );
        assert_eq!(out.json["entries"].as_array().unwrap().len(), 5);
    }
    let out = s.ls("art/data/set", false, false).unwrap();
    assert!(out.summary.ends_with("2 folders, 2 files, 1.1 kB"), "{}", out.summary);
    assert_eq!(out.detail.lines().nth(2).unwrap().trim(), "a..b/");
    assert_eq!(s.ls("nowhere", false, false).unwrap_err().kind, Kind::NotFound);
    assert_eq!(s.ls(&format!("{url}:nowhere"), false, false).unwrap_err().kind, Kind::NotFound);
    assert!(s.ls("art/README.md", false, false).unwrap_err().hint.unwrap().contains("dds stat"));
}

#[test]
fn stat_and_cat() {
    let s = setup();
    let server = s.sample.serve(ServeOptions::default());
    let cx = s.sample.cx();
    let at = format!("{}:data/set/plain.jpg", server.repo_url());
    let out = s.data.stat(&rq::Stat { target: at }, &cx).unwrap();
    assert!(out.detail.contains("(500 bytes)") && out.detail.contains("dvc"), "{}", out.detail);
    assert_eq!(out.json["size"], 500);
    let cat = |target: &str| s.data.cat(&rq::Cat { target: target.into() }, &cx);
    let out = cat(&format!("{}:notes/ü a..b.txt", server.repo_url())).unwrap();
    assert_eq!(out.text(), "hi");
    write(&s.sample.home.path().join("evil.txt"), b"<script>\x1b[31m");
    let out = cat("evil.txt").unwrap();
    assert_eq!(out.text(), "<script>\\u{1b}[31m");
    assert_eq!(out.html.unwrap(), "<pre>&lt;script&gt;\\u{1b}[31m</pre>");
    write(&s.sample.home.path().join("b.bin"), b"a\0b");
    assert_eq!(cat("b.bin").unwrap_err().kind, Kind::Format);
    write(&s.sample.home.path().join("at"), &vec![b'x'; MAX_CAT_BYTES as usize]);
    write(&s.sample.home.path().join("over"), &vec![b'x'; MAX_CAT_BYTES as usize + 1]);
    assert!(cat("at").is_ok());
    assert_eq!(cat("over").unwrap_err().kind, Kind::Limit);
    assert_eq!(cat("art").unwrap_err().kind, Kind::Usage);
}

#[test]
fn uploads_show_up_where_they_were_sent() {
    let s = setup();
    let server = s.sample.serve(ServeOptions::default());
    let home = s.sample.home.path();
    write(&home.join("new a..b ü.jpg"), b"new");
    write(&home.join("photos/sub/x.jpg"), b"x");
    write(&home.join("photos/y.jpg"), b"y");
    s.mount(&server.repo_url());
    let out = s.upload(&["new a..b ü.jpg"], "mnt/data/set").unwrap();
    assert!(out.summary.starts_with("uploaded 1 file (3 B) to "), "{}", out.summary);
    assert_eq!(
        (out.json["branch"].as_str(), out.json["commit"].as_str()),
        (Some("main"), Some(s.sample.head().as_str()))
    );
    assert_eq!(out.json["url"], server.repo_url());
    // The mount's own source follows, without being opened again.
    assert!(s.ls("mnt/data/set", false, false).unwrap().detail.contains("new a..b ü.jpg"));
    let out = s.upload(&["new a..b ü.jpg"], "mnt/data/set").unwrap();
    assert!(out.summary.starts_with("nothing to do") && out.json["changed"] == false, "{}", out.summary);
    s.upload(&["photos"], &format!("{}@main:data/set", server.repo_url())).unwrap();
    let list = s.ls(&format!("{}:data/set", server.repo_url()), true, false).unwrap().detail;
    assert!(list.contains("photos/sub/x.jpg") && list.contains("photos/y.jpg"), "{list}");
    // A file of a mount is read through its source; a folder of this machine's repository takes uploads.
    s.upload(&["mnt/data/set/plain.jpg"], "art/data/set/animals").unwrap();
    assert_eq!(
        std::fs::read(s.sample.repo.join("data/set/animals/plain.jpg")).unwrap(),
        content("plain.jpg")
    );
    assert_eq!(git(&s.sample.repo, &["status", "--porcelain"]), "");
}

#[test]
fn odd_names_arrive_as_they_are() {
    let s = setup();
    let server = s.sample.serve(ServeOptions::default());
    let names = [
        "q\"uote.jpg",
        "100%22.jpg",
        "semi;colon.jpg",
        "a=b&c.jpg",
        "'single'.jpg",
        "tab\tin.jpg",
        "日本 語.jpg",
        "%2e%2e.jpg",
    ];
    for name in names {
        write(&s.sample.home.path().join(name), name.as_bytes());
        s.upload(&[name], &format!("{}:data/set", server.repo_url())).unwrap();
        let at = s.sample.repo.join("data/set").join(name);
        assert_eq!(std::fs::read(&at).ok().as_deref(), Some(name.as_bytes()), "{name}");
        let source = s.mounted.open(&RepoUrl::parse(&server.repo_url()).unwrap(), &s.sample.cx()).unwrap();
        assert_eq!(source.read(&path(&format!("data/set/{name}")), &s.sample.cx()).unwrap(), name.as_bytes());
    }
}

#[test]
fn uploads_that_cannot_work_say_why() {
    let s = setup();
    let server = s
        .sample
        .serve(ServeOptions { token: Some(dds_core::Secret::new("t0ken")), ..ServeOptions::default() });
    let url = server.repo_url();
    write(&s.sample.home.path().join("a.txt"), b"a");
    write(&s.sample.home.path().join("d/a.txt"), b"b");
    let kind = |files: &[&str], to: &str| s.upload(files, to).unwrap_err().kind;
    assert_eq!(kind(&["a.txt"], &format!("{url}:x")), Kind::Unauthorized);
    let token = |token: &str, to: &str| {
        let files = vec!["a.txt".to_owned()];
        s.upload_with(rq::Upload { files, to: to.into(), token: Some(token.into()), ..rq::Upload::default() })
    };
    let e = token("wr0ng", &url).unwrap_err();
    assert!(e.kind == Kind::Unauthorized && !format!("{e:?}").contains("wr0ng"), "{e:?}");
    assert!(token("t0ken", &url).is_ok());
    assert_eq!(token("t0ken", &format!("{url}@nope")).unwrap_err().kind, Kind::NotFound);
    assert_eq!(token("t0ken", &format!("{url}@{}", s.sample.head())).unwrap_err().kind, Kind::Usage);
    assert_eq!(kind(&["missing.txt"], &url), Kind::NotFound);
    assert_eq!(kind(&["a.txt", "d/a.txt"], &url), Kind::Usage);
    assert_eq!(kind(&["a.txt"], "d"), Kind::Usage);
    assert_eq!(kind(&["a.txt"], &format!("{url}:x/.git/y")), Kind::Usage);
}

/// What the proxy does with a connection's first request that begins with this text.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    /// The server answers; the client never hears it.
    LoseAnswer,
    /// The connection ends before anything reaches the server.
    Drop,
}

/// A proxy of one request per connection that makes trouble for the first `times` uploads.
struct Proxy {
    addr: std::net::SocketAddr,
    puts: Arc<AtomicUsize>,
}

impl Proxy {
    fn before(server: &Server, trouble: Trouble, times: usize, between: impl Fn() + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, target) = (listener.local_addr().unwrap(), server.addr());
        let puts = Arc::new(AtomicUsize::new(0));
        let counter = puts.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut client) = stream else { return };
                let request = read_request(&mut client);
                if request.is_empty() {
                    continue;
                }
                let put = request.starts_with(b"PUT ");
                let nth = if put { counter.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
                if put && nth < times && trouble == Trouble::Drop {
                    between();
                    continue;
                }
                let mut upstream = TcpStream::connect(target).unwrap();
                upstream.write_all(&request).unwrap();
                let mut answer = Vec::new();
                let _ = upstream.read_to_end(&mut answer);
                if put && nth < times {
                    between();
                    continue;
                }
                let _ = client.write_all(&answer);
            }
        });
        Self { addr, puts }
    }

    fn url(&self) -> String {
        format!("http://{}/local/art", self.addr)
    }
}

/// A whole request, with `Connection: close` put in.
fn read_request(client: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return Vec::new(),
        }
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let mut body = Vec::new();
    if let Some(length) = text.split("content-length: ").nth(1) {
        body = vec![0; length.split('\r').next().unwrap().parse().unwrap()];
        client.read_exact(&mut body).unwrap();
    } else if text.contains("chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            client.read_exact(&mut byte).unwrap();
            body.push(byte[0]);
        }
    }
    head.truncate(head.len() - 2);
    head.extend(b"Connection: close\r\n\r\n");
    head.extend(body);
    head
}

fn commits(sample: &Sample) -> usize {
    git(&sample.repo, &["log", "--format=%h", "main"]).lines().count()
}

#[test]
fn a_lost_answer_has_exactly_one_effect() {
    for (trouble, times, sent) in [
        (Trouble::LoseAnswer, 1, 1),
        (Trouble::LoseAnswer, 2, 1),
        (Trouble::Drop, 1, 2),
        (Trouble::Drop, 3, 4),
    ] {
        let s = setup();
        let server = s.sample.serve(ServeOptions::default());
        let proxy = Proxy::before(&server, trouble, times, || {});
        write(&s.sample.home.path().join("new.jpg"), b"new");
        write(&s.sample.home.path().join("new.txt"), b"text");
        let out = s.upload(&["new.jpg", "new.txt"], &format!("{}:data", proxy.url())).unwrap();
        assert_eq!(out.json["commit"].as_str().unwrap(), s.sample.head());
        assert_eq!(commits(&s.sample), 2, "one commit for one upload");
        assert_eq!(proxy.puts.load(Ordering::SeqCst), sent);
    }
}

#[test]
fn somebody_elses_commit_is_kept_and_a_real_conflict_is_told() {
    for (theirs, conflict) in [("other.txt", false), ("new.txt", true)] {
        let s = setup();
        let server = s.sample.serve(ServeOptions::default());
        let repo = s.sample.repo.clone();
        // They commit between our look at the branch and our upload.
        let proxy = Proxy::before(&server, Trouble::Drop, 1, move || {
            write(&repo.join(theirs), b"theirs");
            git(&repo, &["add", theirs]);
            git(&repo, &["commit", "-qm", "theirs"]);
        });
        write(&s.sample.home.path().join("new.txt"), b"ours");
        let done = s.upload(&["new.txt"], &proxy.url());
        if conflict {
            let e = done.unwrap_err();
            assert!(e.kind == Kind::Conflict && e.message.contains("new.txt") && e.hint.is_some(), "{e:?}");
            assert_eq!(
                (commits(&s.sample), git(&s.sample.repo, &["show", "main:new.txt"])),
                (2, "theirs".into())
            );
        } else {
            done.unwrap();
            assert_eq!(
                (commits(&s.sample), git(&s.sample.repo, &["show", "main:other.txt"])),
                (3, "theirs".into())
            );
            assert_eq!(git(&s.sample.repo, &["show", "main:new.txt"]), "ours");
        }
    }
}

#[test]
fn many_files_go_in_batches() {
    let s = setup();
    let server = s.sample.serve(ServeOptions::default());
    for n in 0..205 {
        write(&s.sample.home.path().join(format!("many/{n}.jpg")), format!("{n}").as_bytes());
    }
    let out = s.upload(&["many"], &format!("{}:data/set", server.repo_url())).unwrap();
    assert!(out.summary.contains("205 files"), "{}", out.summary);
    assert_eq!(commits(&s.sample), 4);
    assert!(s.ls("art/data/set/many", true, false).unwrap().summary.contains("205 files"));
}

/// Names and contents of a tree, to compare it with itself later.
fn photograph(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(at) = pending.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let entry = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&entry).unwrap();
            if meta.is_dir() {
                pending.push(entry);
            } else if meta.is_file() {
                found.insert(entry.clone(), std::fs::read(&entry).unwrap());
            }
        }
    }
    found
}

#[test]
fn clones_of_servers_and_of_folders() {
    let s = setup();
    let server = s
        .sample
        .serve(ServeOptions { token: Some(dds_core::Secret::new("t0ken")), ..ServeOptions::default() });
    let home = s.sample.home.path();
    let with_token = server.repo_url().replace("http://", "http://t0ken@");
    for (n, url) in [with_token.as_str(), "art"].into_iter().enumerate() {
        let dir = format!("clone{n}");
        let out = s.clone(url, &dir, true).unwrap();
        assert!(out.summary.contains("5 files of DVC") && !out.summary.contains("t0ken"), "{}", out.summary);
        for name in NAMES {
            assert_eq!(std::fs::read(home.join(&dir).join("data/set").join(name)).unwrap(), content(name));
        }
        assert_eq!(git(&home.join(&dir), &["status", "--porcelain"]), "");
        assert_eq!(git(&home.join(&dir), &["rev-parse", "--abbrev-ref", "HEAD"]), "main");
        let config = std::fs::read_to_string(home.join(&dir).join(".git/config")).unwrap();
        assert!(!config.contains("t0ken") && !config.contains("Authorization"), "{config}");
        // Its cache is complete: the manifest and the files.
        let cloned = crate::repository::Repository::open(&home.join(&dir)).unwrap();
        let manifest = git(&home.join(&dir), &["show", "HEAD:data/set.dvc"]);
        let digest = manifest.lines().find_map(|l| l.strip_prefix("- md5: ")).unwrap().parse().unwrap();
        assert!(cloned.stores().cache().contains(&digest));
        assert!(cloned.stores().cache().contains(&crate::hash::md5(&content("plain.jpg"))));
    }
    let plain = s.clone(&with_token, "plain", false).unwrap();
    assert!(plain.json["data_files"] == 0 && !home.join("plain/data/set").exists());
    let pinned = s.clone(&format!("{with_token}@{}", s.sample.head()), "pinned", false).unwrap();
    assert_eq!(pinned.json["commit"].as_str().unwrap(), git(&home.join("pinned"), &["rev-parse", "HEAD"]));
}

#[test]
fn a_failed_clone_leaves_nothing() {
    let s = setup();
    let server = s.sample.serve(ServeOptions::default());
    let home = s.sample.home.path();
    write(&home.join("used/x"), b"x");
    assert_eq!(s.clone(&server.repo_url(), "used", false).unwrap_err().kind, Kind::Conflict);
    assert_eq!(
        s.clone(&format!("{}@nope", server.repo_url()), "new", false).unwrap_err().kind,
        Kind::NotFound
    );
    // An object that is nowhere: the data cannot be fetched.
    let digest = crate::hash::md5(&content("plain.jpg"));
    for store in [s.sample.repo.join(".dvc/cache"), home.join("remote")] {
        let store = crate::store::BlobStore::new(store);
        store.remove(&digest).unwrap();
    }
    let e = s.clone(&server.repo_url(), "new", true).unwrap_err();
    assert!(e.kind == Kind::NotFound && e.message.contains("plain.jpg"), "{e}");
    assert!(!home.join("new").exists());
    let left = std::fs::read_dir(home)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(".dds"));
    assert_eq!(left.count(), 0);
}

/// Git keeps a link where DVC's data wants a folder, and the other way round; names lead into `.git`.
#[test]
fn a_hostile_repository_writes_nothing_outside() {
    let traps: [(&str, &str, &str); 5] = [
        ("data", "../../outside", "data/set"),
        ("data", ".git/hooks", "data"),
        (".dvc/cache", "../../../outside", "data/set"),
        ("a", "..", "a/outside"),
        ("set", "/tmp", "set"),
    ];
    for (n, (link, to, out)) in traps.into_iter().enumerate() {
        let s = setup();
        let home = s.sample.home.path();
        write(&home.join("outside/keep"), b"keep");
        let evil = home.join("evil");
        std::fs::create_dir(&evil).unwrap();
        git(&evil, &["init", "-q", "-b", "main"]);
        let store = crate::store::BlobStore::new(home.join("evilstore"));
        let payload = crate::hash::md5(b"#!/bin/sh\n");
        store.put(&payload, b"#!/bin/sh\n").unwrap();
        let mut manifest = crate::dvc::Manifest::default();
        manifest.files.insert(path("pre-commit"), payload);
        let (text, digest) = manifest.encode();
        store.put(&digest, &text).unwrap();
        write(&evil.join(".dvc/config"), crate::dvc::config::encode("s", store.root()).as_bytes());
        let at = evil.join(link);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(to, &at).unwrap();
        write(&evil.join("trap.dvc"), crate::dvc::dvc_file::encode(out, &digest, 10, Some(1)).as_bytes());
        git(&evil, &["add", "-A", "-f"]);
        git(&evil, &["commit", "-qm", "trap"]);
        let before = photograph(home);
        let server = Server::start(&evil, ServeOptions::default(), &s.sample.cx()).unwrap();
        for url in [server.repo_url(), "evil".into()] {
            let done = s.clone(&url, "target", true);
            let mut after = photograph(home);
            after.retain(|p, _| !p.starts_with(home.join("target")) && !p.starts_with(home.join("cache")));
            assert_eq!(
                after.keys().collect::<Vec<_>>(),
                before.keys().collect::<Vec<_>>(),
                "trap {n} {url}: {done:?}"
            );
            assert!(after == before, "trap {n} {url}");
            assert!(!home.join("target/.git/hooks/pre-commit").exists(), "trap {n} {url}");
            let _ = std::fs::remove_dir_all(home.join("target"));
        }
    }
}

#[test]
fn cat_does_not_run_away() {
    let s = setup();
    let cat = |target: &str| s.data.cat(&rq::Cat { target: target.into() }, &s.sample.cx());
    assert_eq!(cat("/dev/zero").unwrap_err().kind, Kind::Usage);
    write(&s.sample.home.path().join("long.txt"), &vec![b'x'; MAX_CAT_BYTES as usize + 1]);
    assert_eq!(cat("long.txt").unwrap_err().kind, Kind::Limit);
    write(&s.sample.home.path().join("fits.txt"), &vec![b'x'; MAX_CAT_BYTES as usize]);
    cat("fits.txt").unwrap();
    // Listed with no size at all, it has some.
    assert!(cat("/proc/self/status").unwrap().json["size"].as_u64().unwrap() > 0);
}
