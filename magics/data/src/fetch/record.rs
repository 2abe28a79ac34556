//! `sources.csv`: where each image of the folder comes from, who made it and under which licence.
//!
//! Lines are only ever added, each when its file is whole. A line that a crash cut is skipped.

use super::{Wanted, shown};
use dds_contain::Root;
use dds_core::{RepoPath, Result};
use std::collections::HashMap;

pub const FILE: &str = "sources.csv";
const HEAD: [&str; 9] =
    ["file", "url", "title", "creator", "license", "license_url", "page", "source", "sha256"];
/// Largest record that is read.
const MAX_BYTES: u64 = 256 << 20;

/// What is recorded in a folder.
#[derive(Default)]
pub struct Record {
    /// Address → file.
    files: HashMap<String, String>,
    /// File → digest.
    digests: HashMap<String, [u8; 32]>,
    /// The file is there, and whether its last line has an end.
    there: Option<bool>,
}

fn path() -> Result<RepoPath> {
    RepoPath::parse(FILE)
}

impl Record {
    pub fn read(root: &Root) -> Result<Self> {
        let Some(bytes) = root.read(&path()?, MAX_BYTES)? else { return Ok(Self::default()) };
        let text = String::from_utf8_lossy(&bytes);
        let mut record = Self { there: Some(text.ends_with('\n') || text.is_empty()), ..Self::default() };
        for row in rows(&text) {
            let (Some(file), Some(url), Some(digest)) = (row.first(), row.get(1), row.get(HEAD.len() - 1))
            else {
                continue;
            };
            if let Some(digest) = hex::decode(digest).ok().and_then(|d| d.try_into().ok()) {
                record.files.insert(url.clone(), file.clone());
                record.digests.insert(file.clone(), digest);
            }
        }
        Ok(record)
    }

    /// The file that was fetched from there.
    pub fn file_of(&self, wanted: &Wanted) -> Option<&str> {
        self.files.get(&shown(&wanted.url)).map(String::as_str)
    }

    pub fn digest_of(&self, file: &str) -> Option<[u8; 32]> {
        self.digests.get(file).copied()
    }

    /// Adds one line.
    pub fn add(&mut self, root: &Root, file: &str, wanted: &Wanted, digest: &[u8; 32]) -> Result<()> {
        let url = shown(&wanted.url);
        let c = &wanted.credit;
        let digest_text = hex::encode(digest);
        let fields =
            [file, &url, &c.title, &c.creator, &c.license, &c.license_url, &c.page, &c.source, &digest_text];
        let mut line = match self.there {
            None => format!("{}\n", HEAD.join(",")),
            Some(true) => String::new(),
            Some(false) => "\n".to_owned(),
        };
        line.push_str(&fields.map(field).join(","));
        line.push('\n');
        root.append(&path()?, line.as_bytes())?;
        self.there = Some(true);
        self.files.insert(url, file.to_owned());
        self.digests.insert(file.to_owned(), *digest);
        Ok(())
    }
}

/// A field of RFC 4180. What a spreadsheet would take for a formula begins with an apostrophe.
fn field(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let formula = text.starts_with(['=', '+', '-', '@']);
    let text = if formula { format!("'{text}") } else { text };
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn rows(text: &str) -> impl Iterator<Item = Vec<String>> + '_ {
    // No field holds a line feed, and what was cut has no end.
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    whole.lines().skip(1).map(|line| {
        let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    field.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(std::mem::take(&mut field)),
                c => field.push(c),
            }
        }
        fields.push(field);
        fields
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Credit;

    fn wanted(url: &str, title: &str) -> Wanted {
        Wanted { url: url.parse().unwrap(), credit: Credit { title: title.into(), ..Credit::default() } }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let (a, b) = (wanted("http://h/a?x=1", "=cmd(), \"quoted\"\nand more"), wanted("http://h/b", ""));
        let mut record = Record::read(&root).unwrap();
        record.add(&root, "a.jpg", &a, &[7; 32]).unwrap();
        // A crash in the middle of a line.
        root.append(&path().unwrap(), b"half.jpg,http://h/half,,").unwrap();
        let mut record = Record::read(&root).unwrap();
        assert_eq!(record.file_of(&wanted("http://h/half", "")), None);
        record.add(&root, "b, c.jpg", &b, &[9; 32]).unwrap();
        let record = Record::read(&root).unwrap();
        assert_eq!((record.file_of(&a), record.file_of(&b)), (Some("a.jpg"), Some("b, c.jpg")));
        assert_eq!(record.digest_of("b, c.jpg"), Some([9; 32]));
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert_eq!(
            text.lines().next(),
            Some("file,url,title,creator,license,license_url,page,source,sha256")
        );
        assert!(text.contains("\"'=cmd(), \"\"quoted\"\" and more\""), "{text}");
    }
}
