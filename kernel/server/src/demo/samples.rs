//! The sample notebook and pictures, carried inside the binary.

use dds_core::{Error, Result};
use include_dir::{Dir, include_dir};
use std::path::Path;

static PICTURES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../notebooks/data/clipart");

/// The walkthrough that the demo runs.
pub const NOTEBOOK: &str = include_str!("../../../../notebooks/01-stream-train-publish.ipynb");
/// Its file name.
pub const NOTEBOOK_NAME: &str = "01-stream-train-publish.ipynb";

/// Writes the sample pictures into `dir` (made when missing), one folder per class. Returns their number.
pub fn write_pictures(dir: &Path) -> Result<usize> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
    PICTURES.extract(dir).map_err(|e| Error::io(dir, &e))?;
    Ok(PICTURES.dirs().map(|class| class.files().count()).sum())
}

/// One sample picture as bytes, for trying the app.
pub fn picture(path: &str) -> Result<&'static [u8]> {
    PICTURES
        .get_file(path)
        .map(|f| f.contents())
        .ok_or_else(|| Error::internal(format!("the binary holds no sample picture {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_classes_of_sixty() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(write_pictures(dir.path()).unwrap(), 360);
        let mut classes: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| !n.ends_with(".md"))
            .collect();
        classes.sort();
        assert_eq!(classes, ["animals", "buildings", "food", "plants", "tools", "transportation"]);
        assert!(picture("food/012.jpg").unwrap().starts_with(&[0xff, 0xd8, 0xff]));
        assert!(picture("food/none.jpg").is_err());
    }
}
