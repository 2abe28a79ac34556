use super::link::of_this_test;
use super::wire::{Frame, frame};
use super::*;
use std::collections::BTreeMap;
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex};

/// A kernel that has these files in one folder; remembers what it was asked.
struct Kernel {
    asked: Arc<Mutex<Vec<What>>>,
    _folder: Folder,
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        of_this_test::set(None);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn kernel(name: &str, files: &[(&str, Vec<u8>)]) -> Kernel {
    let folder = std::env::temp_dir().join(format!("dds-rt-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let listener = UnixListener::bind(folder.join("s")).unwrap();
    of_this_test::set(Some(folder.join("s").into_os_string()));
    let files: BTreeMap<String, Vec<u8>> =
        files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())).collect();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 4];
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut question = vec![0; u32::from_le_bytes(length) as usize];
            stream.read_exact(&mut question).unwrap();
            let ask = Ask::decode(&question).unwrap();
            noted.lock().unwrap().push(ask.what.clone());
            for frame in answer(&files, &ask.what) {
                // The reader may have had enough.
                let _ = stream.write_all(&frame);
            }
        }
    });
    Kernel { asked, _folder: Folder(folder) }
}

fn answer(files: &BTreeMap<String, Vec<u8>>, what: &What) -> Vec<Vec<u8>> {
    let entry = |(path, bytes): (&String, &Vec<u8>)| {
        Entry::new(path.clone(), false, Some(bytes.len() as u64), Keeper::Git, None)
    };
    let missing = || Frame::Failed(Error::new(ErrorKind::NotFound, "missing").with_hint("nearest"));
    let mut frames = Vec::new();
    let end = match what {
        What::Open(_) | What::Refresh => {
            let opened = Opened { id: "u@c0ffee".into(), branch: Some("main".into()), path: String::new() };
            Frame::End(opened.encode())
        }
        What::Stat(path) => match files.get_key_value(path) {
            Some(found) => {
                let mut out = Vec::new();
                wire::put_entry(&mut out, &entry(found));
                Frame::End(out)
            }
            None => missing(),
        },
        What::List(..) => {
            for found in files {
                let mut out = Vec::new();
                wire::put_entry(&mut out, &entry(found));
                frames.push(Frame::Piece(out));
            }
            Frame::End(Vec::new())
        }
        What::Read(path, from, to, _) => match files.get(path) {
            Some(bytes) => {
                let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
                // Odd pieces, so that they have to be put together.
                frames.extend(bytes[at(*from)..at(*to)].chunks(70_001).map(|c| Frame::Piece(c.to_vec())));
                Frame::End(Vec::new())
            }
            None => missing(),
        },
        What::Announce(..) => Frame::End(Vec::new()),
        What::Upload { .. } => {
            let done = Uploaded { commit: "beef".into(), branch: "main".into(), changed: true };
            Frame::End(done.encode())
        }
    };
    frames.push(end);
    frames.iter().map(frame).collect()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[test]
fn files_are_read_whole_in_parts_and_as_text() {
    let _kernel = kernel("read", &[("a.bin", bytes(300_000)), ("b.txt", b"text".to_vec())]);
    let repo = open("http://me:s3cret@h/o/r").unwrap();
    assert_eq!(repo.read("a.bin").unwrap(), bytes(300_000));
    assert_eq!(repo.read_range("a.bin", 250_000..900_000).unwrap(), &bytes(300_000)[250_000..]);
    assert_eq!(repo.read_to_string("b.txt").unwrap(), "text");
    assert_eq!(repo.read_to_string("a.bin").unwrap_err().kind(), ErrorKind::Format);
    let error = repo.read("c").unwrap_err();
    assert_eq!((error.kind(), error.hint()), (ErrorKind::NotFound, Some("nearest")));
    assert!(!repo.exists("c").unwrap() && repo.exists("b.txt").unwrap());
    assert_eq!((repo.commit().unwrap().as_str(), repo.branch()), ("c0ffee", Some("main")));
    assert!(!format!("{repo:?} {repo}").contains("s3cret"));
    assert_eq!(repo.walk("").unwrap().map(|e| e.path).collect::<Vec<_>>(), ["a.bin", "b.txt"]);
    assert_eq!(repo.upload(["x"], "to", "why").unwrap(), "beef");
}

#[test]
fn a_file_is_a_reader_that_fetches_what_is_read() {
    let kernel = kernel("file", &[("a.bin", bytes(3_000_000)), ("lines", b"one\ntwo\n".to_vec())]);
    let repo = open(".").unwrap();
    let mut file = repo.file("a.bin").unwrap();
    let mut part = [0; 5];
    file.seek(SeekFrom::End(-5)).unwrap();
    file.read_exact(&mut part).unwrap();
    assert_eq!(part, bytes(3_000_000)[2_999_995..]);
    assert_eq!(file.read(&mut part).unwrap(), 0);
    assert_eq!(file.seek(SeekFrom::Current(-10)).unwrap(), 2_999_990);
    assert!(file.seek(SeekFrom::Start(1)).is_ok() && file.seek(SeekFrom::Current(-2)).is_err());
    let asked = kernel.asked.lock().unwrap().len();
    file.rewind().unwrap();
    let mut all = Vec::new();
    file.read_to_end(&mut all).unwrap();
    assert_eq!(all, bytes(3_000_000));
    // Longer strides for a reader in order.
    let reads = kernel.asked.lock().unwrap().len() - asked;
    assert!((2..=5).contains(&reads), "{reads}");
    let lines: Vec<String> = repo.file("lines").unwrap().lines().map(|line| line.unwrap()).collect();
    assert_eq!(lines, ["one", "two"]);
}

#[test]
fn many_files_are_announced_by_windows() {
    let names: Vec<String> = (0..100).map(|n| format!("d{}/{n:03}", n % 2)).collect();
    let files: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), name.clone().into())).collect();
    let kernel = kernel("many", &files);
    let repo = open(".").unwrap();
    let mut seen = Vec::new();
    for file in repo.files(&names).ahead(10) {
        let (path, bytes) = file.unwrap();
        assert_eq!(path.as_bytes(), bytes);
        seen.push(path);
    }
    assert_eq!(seen, names);
    let asked = std::mem::take(&mut *kernel.asked.lock().unwrap());
    let announced: Vec<_> = asked
        .iter()
        .filter_map(|what| match what {
            What::Announce(folders, paths) => Some((folders.clone(), paths.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(announced[0], (vec!["d0".to_owned(), "d1".to_owned()], names[..10].to_vec()));
    assert!(announced[1..].iter().all(|(folders, _)| folders.is_empty()), "listed once");
    // Never beyond the window, and every file before it is read.
    let (mut read, mut told) = (0, 0);
    for what in &asked {
        match what {
            What::Announce(_, paths) => told = read + paths.len(),
            What::Read(..) => {
                assert!(read < told && told <= read + 10, "{read} {told}");
                read += 1;
            }
            _ => {}
        }
    }
    assert_eq!(repo.files(["gone", &names[0]]).map(|file| file.is_ok()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(repo.files_below("").unwrap().ahead(0).len(), 100);
}

#[test]
fn downloads_are_complete_or_not_there() {
    let kernel = kernel("download", &[("d/a.bin", bytes(600_000))]);
    let repo = open(".").unwrap();
    let folder = kernel._folder.0.join("out");
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(repo.download("d/a.bin", &folder).unwrap(), folder.join("a.bin"));
    assert_eq!(std::fs::read(repo.download("d/a.bin", folder.join("b")).unwrap()).unwrap(), bytes(600_000));
    assert_eq!(repo.download("gone", folder.join("c")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(repo.download("d/a.bin", folder.join("no/where")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}

#[test]
fn without_a_kernel_the_error_says_so() {
    assert_eq!(open("dagshub://o/r").unwrap_err().kind(), ErrorKind::Unavailable);
    of_this_test::set(Some("/nowhere/at/all".into()));
    assert_eq!(open("x").unwrap_err().kind(), ErrorKind::Unavailable);
    of_this_test::set(None);
}

#[test]
fn a_kernel_that_breaks_off_or_babbles_is_an_error() {
    for garbage in [&b""[..], b"d\xff\xff\xff\xff", b"?\0\0\0\0", b".\x03\0\0\0abc"] {
        let folder = Folder(std::env::temp_dir().join(format!("dds-rt-{}-babble", std::process::id())));
        std::fs::create_dir_all(&folder.0).unwrap();
        let listener = UnixListener::bind(folder.0.join("s")).unwrap();
        of_this_test::set(Some(folder.0.join("s").into_os_string()));
        let theirs = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1000]);
            let _ = stream.write_all(garbage);
        });
        assert!(open("x").is_err(), "{garbage:?}");
        theirs.join().unwrap();
    }
}
