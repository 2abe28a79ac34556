use super::*;
use dds::repo::wire::{Opened, Uploaded, What, entries};
use dds_core::source::Uploaded as Done;
use dds_core::{Digest, Entry, EntryKind, Kind, RepoPath, Source, Versioning};
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};

/// One folder of files. `slow` is read until the reader gives up; both is told.
struct Memory {
    files: Vec<(&'static str, Vec<u8>)>,
    slow: Mutex<Sender<&'static str>>,
    announced: Mutex<Vec<String>>,
    listed: Mutex<Vec<String>>,
    /// What every byte of `moving` is, which changes when `moves` and something was read.
    version: AtomicU8,
    moves: AtomicBool,
}

/// The bytes of `moving`: more than are read at a time.
const MOVING: usize = 20 << 20;

impl Memory {
    fn entry(&self, path: &RepoPath) -> Result<Entry> {
        let entry = |kind, size| Entry {
            path: path.clone(),
            kind,
            size,
            digest: None,
            versioning: Versioning::Dvc,
            executable: false,
        };
        if let Some((_, bytes)) = self.files.iter().find(|(name, _)| *name == path.as_str()) {
            let size = if path.name() == "huge" { dds::repo::MAX_READ + 1 } else { bytes.len() as u64 };
            return Ok(entry(EntryKind::File, Some(size)));
        }
        if path.as_str() == "moving" {
            let digest = Some(Digest::Md5([self.version.load(SeqCst); 16]));
            return Ok(Entry { digest, ..entry(EntryKind::File, Some(MOVING as u64)) });
        }
        let is_folder =
            |name: &&str| name.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/'));
        match path.is_root() || self.files.iter().any(|(name, _)| is_folder(name)) {
            true => Ok(entry(EntryKind::Dir, None)),
            false => Err(Error::not_found(format!("{path} does not exist"))),
        }
    }
}

impl Source for Memory {
    fn id(&self) -> String {
        "memory@c0ffee".to_owned()
    }

    fn list(&self, dir: &RepoPath, _: bool, _: &Cx) -> Result<Vec<Entry>> {
        self.listed.lock().unwrap().push(dir.as_str().to_owned());
        if self.entry(dir)?.kind == EntryKind::File {
            return Err(Error::not_found(format!("{dir} is a file")));
        }
        let paths = self.files.iter().filter_map(|(name, _)| RepoPath::parse(name).ok());
        paths.filter(|path| path.strip_prefix(dir).is_some()).map(|path| self.entry(&path)).collect()
    }

    fn stat(&self, path: &RepoPath, _: &Cx) -> Result<Entry> {
        self.entry(path)
    }

    fn read(&self, path: &RepoPath, cx: &Cx) -> Result<Vec<u8>> {
        if path.name() == "slow" {
            self.slow.lock().unwrap().send("reads").unwrap();
            while !cx.cancel.is_cancelled() {
                std::thread::yield_now();
            }
            self.slow.lock().unwrap().send("gave up").unwrap();
            return Err(Error::interrupted());
        }
        let found = self.files.iter().find(|(name, _)| *name == path.as_str());
        found.map(|(_, bytes)| bytes.clone()).ok_or_else(|| Error::not_found("gone"))
    }

    fn read_range(&self, path: &RepoPath, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        if path.as_str() == "moving" {
            let bytes = vec![self.version.load(SeqCst); usize::try_from(range.end - range.start).unwrap()];
            self.version.fetch_add(u8::from(self.moves.load(SeqCst)), SeqCst);
            return Ok(bytes);
        }
        let bytes = self.read(path, cx)?;
        let at = |n: u64| usize::try_from(n).unwrap().min(bytes.len());
        Ok(bytes[at(range.start)..at(range.end)].to_vec())
    }

    fn announce(&self, paths: &[RepoPath]) {
        self.announced.lock().unwrap().extend(paths.iter().map(|path| path.as_str().to_owned()));
    }
}

struct Data(Arc<Memory>);

impl CellData for Data {
    fn open(&self, target: &str, _: bool, cx: &Cx) -> Result<(Arc<dyn Source>, RepoPath)> {
        assert_eq!(cx.cwd, Path::new("/here"));
        match target {
            "none" => Err(Error::new(Kind::Unauthorized, "no").hint("log in")),
            "panics" => panic!("a bug"),
            "file" => Ok((self.0.clone(), RepoPath::parse("d/a.txt")?)),
            "folder" => Ok((self.0.clone(), RepoPath::parse("d")?)),
            _ => Ok((self.0.clone(), RepoPath::root())),
        }
    }

    fn refresh(&self, _: &str, _: &Cx) -> Result<()> {
        Ok(())
    }

    fn upload(
        &self,
        _: &str,
        files: &[String],
        to: &RepoPath,
        message: Option<&str>,
        _: &Cx,
    ) -> Result<Done> {
        let commit = format!("{files:?} {to} {message:?}");
        Ok(Done { commit, branch: "main".to_owned(), changed: true })
    }
}

struct Stage {
    _folder: tempfile::TempDir,
    run: PathBuf,
    service: Service,
    memory: Arc<Memory>,
    slow: Receiver<&'static str>,
}

fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    std::fs::DirBuilder::new().mode(0o700).create(&run).unwrap();
    let (sender, slow) = channel();
    let large = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
    let files = vec![
        ("d/a.txt", b"text".to_vec()),
        ("d/labels.csv", b"x".to_vec()),
        ("huge", Vec::new()),
        ("large", large),
        ("slow", vec![0]),
    ];
    let (announced, listed) = (Mutex::default(), Mutex::default());
    let (version, moves) = (AtomicU8::default(), AtomicBool::default());
    let memory = Arc::new(Memory { files, slow: Mutex::new(sender), announced, listed, version, moves });
    let data = Arc::new(Data(memory.clone()));
    let service = Service::start(&Repositories { data, run: run.clone() }).unwrap();
    Stage { _folder: folder, run, service, memory, slow }
}

impl Stage {
    fn ask(&self, target: &str, what: What) -> UnixStream {
        let question = Ask { cwd: "/here".to_owned(), target: target.to_owned(), what }.encode();
        let mut stream = UnixStream::connect(self.service.socket()).unwrap();
        stream.write_all(&u32::try_from(question.len()).unwrap().to_le_bytes()).unwrap();
        stream.write_all(&question).unwrap();
        stream
    }

    /// The pieces, and the end or the error.
    fn answer(&self, target: &str, what: What) -> (Vec<Vec<u8>>, Result<Vec<u8>, CellError>) {
        answer_of(&mut self.ask(target, what))
    }

    fn error(&self, target: &str, what: What) -> CellError {
        self.answer(target, what).1.unwrap_err()
    }
}

fn answer_of(stream: &mut UnixStream) -> (Vec<Vec<u8>>, Result<Vec<u8>, CellError>) {
    let mut pieces = Vec::new();
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let (tag, len) = Frame::head(head).unwrap();
        let mut payload = vec![0; len];
        stream.read_exact(&mut payload).unwrap();
        match Frame::decode(tag, payload).unwrap() {
            Frame::Piece(piece) => pieces.push(piece),
            Frame::End(end) => return (pieces, Ok(end)),
            Frame::Failed(error) => return (pieces, Err(error)),
        }
    }
}

fn read(path: &str, range: Range<u64>) -> What {
    What::Read(path.to_owned(), range.start, range.end, None)
}

#[test]
fn questions_are_answered() {
    let stage = stage();
    let opened = stage.answer("folder", What::Open(true)).1.unwrap();
    let expected = Opened { id: "memory@c0ffee".into(), branch: None, path: "d".into() };
    assert_eq!(Opened::decode(&opened), Some(expected));
    let (pieces, end) = stage.answer("folder", What::List(String::new(), false));
    assert!(end.is_ok());
    let listed: Vec<String> = pieces.iter().flat_map(|p| entries(p).unwrap()).map(|e| e.path).collect();
    assert_eq!(listed, ["a.txt", "labels.csv"], "below what was opened");
    let entry = entries(&stage.answer("", What::Stat("d/a.txt".into())).1.unwrap()).unwrap().remove(0);
    assert_eq!((entry.path.as_str(), entry.len, entry.is_folder), ("d/a.txt", Some(4), false));
    assert_eq!(stage.answer("folder", read("a.txt", 0..u64::MAX)).0.concat(), b"text");
    assert_eq!(stage.answer("folder", read("a.txt", 1..3)).0.concat(), b"ex");
    assert_eq!(stage.answer("folder", What::Read("a.txt".into(), 9, 3, None)).0.concat(), b"");
    let large = &stage.memory.files[3].1;
    let (pieces, _) = stage.answer("", read("large", 0..u64::MAX));
    assert!(pieces.len() > 8 && pieces.concat() == *large);
    assert_eq!(stage.answer("", read("large", 8_999_990..u64::MAX)).0.concat(), large[8_999_990..]);
    let upload = What::Upload { files: vec!["/x".into()], to: "d".into(), message: Some("m".into()) };
    let done = Uploaded::decode(&stage.answer("", upload).1.unwrap()).unwrap();
    assert_eq!(done.commit, "[\"/x\"] d Some(\"m\")");
    stage.memory.listed.lock().unwrap().clear();
    let announce = What::Announce(vec![String::new(), "../x".into()], vec!["a.txt".into(), "/etc".into()]);
    assert!(stage.answer("folder", announce).1.is_ok());
    assert_eq!(*stage.memory.listed.lock().unwrap(), ["d"]);
    assert_eq!(*stage.memory.announced.lock().unwrap(), ["d/a.txt"]);
}

#[test]
fn errors_say_what_to_do() {
    let stage = stage();
    let error = stage.error("none", What::Open(true));
    assert_eq!((error.kind(), error.hint()), (ErrorKind::Unauthorized, Some("log in")));
    for (path, near) in [("d/label.csv", "d/labels.csv"), ("lage", "large")] {
        for what in [What::Stat(path.into()), read(path, 0..1), What::List(path.into(), true)] {
            let error = stage.error("", what);
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.hint().unwrap().contains(near), "{path}: {error}");
        }
    }
    assert!(!stage.error("", read("nothing/like/it", 0..1)).hint().unwrap().contains("nearest"));
    assert_eq!(stage.error("", read("d", 0..1)).kind(), ErrorKind::Usage);
    assert_eq!(stage.error("file", What::Open(true)).kind(), ErrorKind::Usage);
    assert_eq!(stage.error("", read("../x", 0..1)).kind(), ErrorKind::Format);
    let error = stage.error("", read("huge", 0..u64::MAX));
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.hint().unwrap().contains("read_range"));
    assert!(stage.answer("", read("huge", 1..u64::MAX)).1.is_ok(), "at the bound");
}

#[test]
fn bytes_of_two_versions_are_never_mixed() {
    let stage = stage();
    let opened = Digest::Md5([0; 16]).to_string();
    let part = |from: usize, to: usize, of: Option<&str>| {
        let range = (from as u64, to as u64);
        stage.answer("", What::Read("moving".into(), range.0, range.1, of.map(str::to_owned)))
    };
    let (pieces, end) = part(0, MOVING / 2, Some(&opened));
    assert!(end.is_ok() && pieces.concat() == vec![0; MOVING / 2]);
    // Between two ranges of an opened file.
    stage.memory.version.store(1, SeqCst);
    let error = part(MOVING / 2, MOVING, Some(&opened)).1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.hint().unwrap().contains("open it again"), "{error}");
    assert!(part(0, MOVING, None).1.is_ok(), "who opens it now gets what it is now");
    // Within one answer, which is made of several reads.
    stage.memory.moves.store(true, SeqCst);
    let (pieces, end) = part(0, MOVING, None);
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(pieces.is_empty(), "what was read while it changed is not handed out");
}

#[test]
fn who_hangs_up_is_no_longer_worked_for() {
    let stage = stage();
    let next = |slow: &Receiver<&'static str>| slow.recv_timeout(Duration::from_secs(60)).unwrap();
    let asking = stage.ask("", read("slow", 0..u64::MAX));
    assert_eq!(next(&stage.slow), "reads");
    drop(asking);
    assert_eq!(next(&stage.slow), "gave up");
    // So is everybody when the session ends.
    let _asking = stage.ask("", read("slow", 0..u64::MAX));
    assert_eq!(next(&stage.slow), "reads");
    let Stage { service, slow, run, .. } = stage;
    drop(service);
    assert_eq!(next(&slow), "gave up");
    assert_eq!(std::fs::read_dir(run).unwrap().count(), 0, "the socket is gone");
}

#[test]
fn a_bug_or_a_bad_question_costs_one_answer() {
    let stage = stage();
    assert_eq!(stage.ask("panics", What::Refresh).read(&mut [0]).unwrap(), 0, "broken off");
    for (length, question) in [(u32::try_from(MAX_ASK + 1).unwrap(), &b""[..]), (3, b"abc")] {
        let mut stream = UnixStream::connect(stage.service.socket()).unwrap();
        stream.write_all(&length.to_le_bytes()).unwrap();
        stream.write_all(question).unwrap();
        assert!(answer_of(&mut stream).1.is_err());
    }
    // More than are answered at once: those who do not ask hold nobody up for good.
    let silent: Vec<_> =
        (0..MAX_ASKERS).map(|_| UnixStream::connect(stage.service.socket()).unwrap()).collect();
    drop(silent);
    assert!(stage.answer("", What::Refresh).1.is_ok());
}

#[test]
fn sockets_of_the_dead_are_removed() {
    let stage = stage();
    let dead = stage.run.join(format!("{NAME}{}-0", u32::MAX));
    let other = stage.run.join(format!("{NAME}x"));
    for file in [&dead, &other] {
        std::fs::write(file, "").unwrap();
    }
    let again =
        Service::start(&Repositories { data: Arc::new(Data(stage.memory.clone())), run: stage.run.clone() });
    let again = again.unwrap();
    assert!(!dead.exists() && other.exists() && stage.service.socket().exists());
    assert_ne!(again.socket(), stage.service.socket());
}
