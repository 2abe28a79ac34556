//! Files that the user hands over. Their bytes come once, in the buffers of one message, and never
//! go back: not in an echo, not in a state.

use super::any::AnyWidget;
use super::spec::FILE_UPLOAD;
use super::store::Attached;
use super::typed::{Look, style, widget};
use crate::json::Json;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Most bytes of one upload, all its files together. (Jupyter servers commonly let 10 MiB through in
/// one message; that is theirs to raise.)
pub const MAX_UPLOAD_BYTES: usize = 64 << 20;
/// Most files of one upload.
pub const MAX_FILES: usize = 1000;
/// Longest name of a file, in bytes.
const MAX_NAME: usize = 255;

/// A file as the user's browser has handed it over.
#[derive(Clone, PartialEq)]
pub struct UploadedFile {
    /// The last part of its name: no folder, not `.` or `..`.
    pub name: String,
    /// The MIME type that the browser takes it for; may be empty, may be wrong.
    pub mime_type: String,
    /// In bytes: the length of `content`.
    pub size: usize,
    pub last_modified: Option<SystemTime>,
    pub content: Arc<Vec<u8>>,
    /// As it came, for the front end.
    modified_ms: i64,
}

impl UploadedFile {
    /// What the front end may know of it.
    pub(super) fn without_content(&self) -> Json {
        Json::object([
            ("name", Json::from(&self.name)),
            ("type", Json::from(&self.mime_type)),
            ("size", Json::from(self.size)),
            ("last_modified", Json::from(self.modified_ms)),
        ])
    }
}

impl Debug for UploadedFile {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "UploadedFile({:?}, {:?}, {} bytes)", self.name, self.mime_type, self.size)
    }
}

widget! {
    /// A button by which the user hands files over.
    ///
    /// ```no_run
    /// use dds::widgets::FileUpload;
    /// let upload = FileUpload::new().accept("image/*").multiple(true);
    /// upload.on_change(|files| {
    ///     for file in files {
    ///         println!("{}: {} bytes", file.name, file.content.len());
    ///     }
    /// });
    /// dds::display(&upload);
    /// ```
    FileUpload [disabled sized] {
        /// Kinds of files that the browser offers: `.csv,.tsv`, `image/*`. It is a help for the user,
        /// not a check.
        accept set_accept get_accept: String;
        /// Whether several files may be handed over at once.
        multiple set_multiple get_multiple: bool;
        /// The words on the button.
        description set_description get_description: String;
        /// The name of a Font Awesome icon.
        icon set_icon: String;
        button_style set_button_style: String = Look;
        /// What went wrong, in words for the user.
        error set_error get_error: String;
    }
}

impl FileUpload {
    pub fn new() -> FileUpload {
        FileUpload(AnyWidget::new(&FILE_UPLOAD))
    }

    /// The files of the last upload. They stay in memory until the next one, or [`FileUpload::take`].
    pub fn get_value(&self) -> Vec<UploadedFile> {
        self.0.get::<Arc<Vec<UploadedFile>>>("value").to_vec()
    }

    /// The files of the last upload; the widget forgets them and their bytes.
    #[must_use]
    pub fn take(&self) -> Vec<UploadedFile> {
        let files = self.get_value();
        self.0.set("value", Arc::new(Vec::<UploadedFile>::new()));
        files
    }

    /// Runs `function` with the files of each upload; see [`IntSlider::on_change`] for where.
    ///
    /// [`IntSlider::on_change`]: super::IntSlider::on_change
    pub fn on_change(&self, mut function: impl FnMut(Vec<UploadedFile>) + Send + 'static) {
        self.0.on_value("value", move |files: Arc<Vec<UploadedFile>>| {
            if !files.is_empty() {
                function(files.to_vec());
            }
        });
    }

    style! {
        /// Colour of the button, in CSS.
        button_color set_button_color
        text_color set_text_color
        font_weight set_font_weight
    }
}

impl Default for FileUpload {
    fn default() -> FileUpload {
        FileUpload::new()
    }
}

/// The files of an update of the attribute `name`, all or none.
pub(super) fn received(
    name: &str,
    files: &Json,
    attached: &mut Attached,
) -> Result<Vec<UploadedFile>, String> {
    let files = files.as_array().ok_or("it is no list of files")?;
    if files.len() > MAX_FILES {
        return Err(format!("{} files are more than the {MAX_FILES} allowed", files.len()));
    }
    let mut total = 0;
    let mut taken = Vec::with_capacity(files.len());
    for (index, file) in files.iter().enumerate() {
        let path = Json::array([Json::from(name), Json::from(index), Json::from("content")]);
        let content = attached.take(&path).ok_or_else(|| format!("file {index} has come without bytes"))?;
        total += content.len();
        if total > MAX_UPLOAD_BYTES {
            return Err(format!("it is larger than the {} MiB allowed", MAX_UPLOAD_BYTES >> 20));
        }
        taken.push(one(file, content).ok_or_else(|| format!("file {index} is not well described"))?);
    }
    Ok(taken)
}

fn one(file: &Json, content: &[u8]) -> Option<UploadedFile> {
    let text = |key| file.get(key).and_then(Json::as_str);
    let size = usize::try_from(file.get("size")?.as_i64()?).ok()?;
    let modified_ms = file.get("last_modified").and_then(Json::as_i64).unwrap_or_default();
    let modified = u64::try_from(modified_ms).ok().map(Duration::from_millis);
    (size == content.len()).then_some(UploadedFile {
        name: last_part(text("name")?)?.to_owned(),
        mime_type: text("type").unwrap_or_default().to_owned(),
        size,
        last_modified: modified.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since)),
        content: Arc::new(content.to_vec()),
        modified_ms,
    })
}

/// A name that is safe to join to a folder.
fn last_part(name: &str) -> Option<&str> {
    let last = name.rsplit(['/', '\\']).next()?;
    let fine = !matches!(last, "" | "." | "..") && last.len() <= MAX_NAME && !last.contains(char::is_control);
    fine.then_some(last)
}
