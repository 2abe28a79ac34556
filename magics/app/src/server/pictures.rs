//! Pictures that Markdown cells name by relative paths: read from the notebook's folder once, when
//! the page is made, and put into it. The server itself serves no files.

use super::upload::{MAGIC_BYTES, sniff};
use crate::render::markdown::Pictures;
use base64::Engine as _;
use dds_core::RepoPath;
use std::path::PathBuf;

/// Largest picture put into a page, in bytes.
const MAX_PICTURE_BYTES: u64 = 8 * 1024 * 1024;

/// Pictures below one folder; links that lead out of it lead nowhere.
pub(crate) struct FolderPictures {
    pub folder: PathBuf,
}

impl Pictures for FolderPictures {
    fn picture(&self, path: &str) -> Option<String> {
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
        let inside = RepoPath::parse(&decoded).ok()?;
        let root = self.folder.canonicalize().ok()?;
        let file = root.join(inside.as_str()).canonicalize().ok()?;
        let meta = std::fs::metadata(&file).ok()?;
        if !file.starts_with(&root) || !meta.is_file() || meta.len() > MAX_PICTURE_BYTES {
            return None;
        }
        let bytes = std::fs::read(&file).ok()?;
        let mime = match sniff(bytes.get(..MAGIC_BYTES)?) {
            Some(kind) => kind.mime,
            None if inside.as_str().ends_with(".svg") && bytes.trim_ascii_start().starts_with(b"<") => {
                "image/svg+xml"
            }
            None => return None,
        };
        let data = base64::engine::general_purpose::STANDARD.encode(bytes);
        Some(format!("data:{mime};base64,{data}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_inside_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("nb");
        std::fs::create_dir_all(inside.join("a b")).unwrap();
        let png = b"\x89PNG\r\n\x1a\n0123456789";
        std::fs::write(dir.path().join("out.png"), png).unwrap();
        std::fs::write(inside.join("a b/in.png"), png).unwrap();
        std::fs::write(inside.join("secret.txt"), "canary canary canary").unwrap();
        std::os::unix::fs::symlink(dir.path().join("out.png"), inside.join("link.png")).unwrap();
        let p = FolderPictures { folder: inside };
        assert!(p.picture("a%20b/in.png").unwrap().starts_with("data:image/png;base64,iVBOR"));
        assert!(p.picture("./a b/in.png").is_some());
        for bad in [
            "../out.png",
            "%2e%2e/out.png",
            "a b/../../out.png",
            "link.png",
            "/etc/passwd",
            "secret.txt",
            "http://x/y.png",
            "none.png",
            "",
            "a b",
            "..%2fout.png",
            "a%00.png",
        ] {
            assert_eq!(p.picture(bad), None, "{bad}");
        }
    }
}
