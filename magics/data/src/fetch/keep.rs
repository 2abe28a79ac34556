//! The folder that images are kept in: each content once, under a name that nothing else has.

use super::Wanted;
use super::download::Image;
use super::names::name;
use super::record::Record;
use dds_contain::{Found, Root};
use dds_core::{Error, ImageKind, Kind, RepoPath, Result};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::Path;

/// Names that are tried for one image.
const MAX_NAMES: usize = 20;
/// Of an image that is there already and stands in no record.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// What became of an image.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    As(String),
    /// The same bytes are there under this name.
    Twice(String),
}

/// The folder.
pub struct Keeper {
    root: Root,
    record: Record,
    by_digest: HashMap<[u8; 32], String>,
}

impl Keeper {
    /// Opens the folder, which is made when it is missing, and learns what is there.
    pub fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
        let root = Root::open(dir)?;
        let record = Record::read(&root)?;
        let mut by_digest = HashMap::new();
        for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, &e))? {
            let entry = entry.map_err(|e| Error::io(dir, &e))?;
            let file = entry.file_name().to_str().map(str::to_owned);
            let Some(file) = file.filter(|f| ImageKind::of_name(f).is_some()) else { continue };
            let digest = match record.digest_of(&file) {
                Some(digest) => digest,
                None => match root.read(&RepoPath::parse(&file)?, MAX_FILE_BYTES) {
                    Ok(Some(bytes)) => Sha256::digest(&bytes).into(),
                    // A link, or a file that cannot be an image of ours.
                    Ok(None) | Err(_) => continue,
                },
            };
            by_digest.insert(digest, file);
        }
        Ok(Self { root, record, by_digest })
    }

    /// Whether the image of this address is there.
    pub fn has(&self, wanted: &Wanted) -> bool {
        let file = self.record.file_of(wanted).and_then(|f| RepoPath::parse(f).ok());
        file.is_some_and(|file| matches!(self.root.find(&file), Ok(Some(Found::File))))
    }

    /// Writes an image and its line of the record. Errors: `Conflict` when every name is taken, `Io`.
    pub fn keep(&mut self, wanted: &Wanted, image: &Image) -> Result<Kept> {
        let digest: [u8; 32] = Sha256::digest(&image.bytes).into();
        if let Some(file) = self.by_digest.get(&digest).cloned() {
            self.record.add(&self.root, &file, wanted, &digest)?;
            return Ok(Kept::Twice(file));
        }
        for attempt in 0..MAX_NAMES {
            let file = name(wanted, image.kind, attempt);
            if self.root.create(&RepoPath::parse_writable(&file)?, &mut &image.bytes[..])? {
                self.by_digest.insert(digest, file.clone());
                self.record.add(&self.root, &file, wanted, &digest)?;
                return Ok(Kept::As(file));
            }
        }
        Err(Error::new(Kind::Conflict, "every name for it is taken"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Credit;

    fn wanted(url: &str) -> Wanted {
        Wanted { url: url.parse().unwrap(), credit: Credit::default() }
    }

    fn image(text: &[u8]) -> Image {
        Image { kind: ImageKind::Png, bytes: text.into() }
    }

    #[test]
    fn each_content_once_and_nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("new/photos");
        let mut keeper = Keeper::open(&at).unwrap();
        let (a, b, c) = (wanted("http://h/1/x.png"), wanted("http://h/2/x.png"), wanted("http://h/3/y.png"));
        assert!(!keeper.has(&a));
        assert_eq!(keeper.keep(&a, &image(b"one")).unwrap(), Kept::As("x.png".into()));
        let Kept::As(second) = keeper.keep(&b, &image(b"two")).unwrap() else { panic!() };
        assert!(second.starts_with("x-") && second.ends_with(".png"), "{second}");
        assert_eq!(keeper.keep(&c, &image(b"one")).unwrap(), Kept::Twice("x.png".into()));
        std::fs::write(at.join("mine.png"), b"three").unwrap();

        // The next run knows what is there, recorded or not, and what was taken away.
        std::fs::remove_file(at.join(&second)).unwrap();
        let mut keeper = Keeper::open(&at).unwrap();
        assert!(keeper.has(&a) && !keeper.has(&b) && keeper.has(&c));
        assert_eq!(
            keeper.keep(&wanted("http://h/z"), &image(b"three")).unwrap(),
            Kept::Twice("mine.png".into())
        );
        assert_eq!(std::fs::read(at.join("x.png")).unwrap(), b"one");
    }

    #[test]
    fn a_link_under_the_name_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("photos");
        std::fs::create_dir(&at).unwrap();
        std::os::unix::fs::symlink(dir.path().join("outside"), at.join("x.png")).unwrap();
        let kept = Keeper::open(&at).unwrap().keep(&wanted("http://h/x.png"), &image(b"one")).unwrap();
        assert!(matches!(kept, Kept::As(name) if name != "x.png") && !dir.path().join("outside").exists());
    }
}
