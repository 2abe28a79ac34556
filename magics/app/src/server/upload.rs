//! What a visitor's browser sends with a form: text values and files, streamed to disk within the
//! form's limits, under names of ours.
//!
//! The client's file names and content types are never used. An image field takes only bytes that
//! begin like an image of a known type; decoding them (and its limits) is the kernel's business.

use crate::render::form::bytes_text;
use axum::extract::Multipart;
use axum::extract::multipart::{Field as Piece, MultipartError};
use axum::http::StatusCode;
use dds_core::form::{DEFAULT_UPLOAD_BYTES, Field, FieldKind, Form, MAX_FIELDS, MAX_TEXT};
use dds_core::{Error, Kind};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;

/// Longest wait for the next piece of an upload.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of a text value: four per character.
const MAX_TEXT_BYTES: u64 = MAX_TEXT as u64 * 4;
/// Most parts of one request; a form has at most [`MAX_FIELDS`].
const MAX_PARTS: usize = MAX_FIELDS + 8;
/// What is still read, and dropped, of a request that is refused already: browsers show an answer
/// only once they have sent everything.
const MAX_DRAIN: u64 = 64 * 1024 * 1024;

/// A request that is refused, with the HTTP status that says so.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub status: StatusCode,
    pub error: Error,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: Error) -> Self {
        Self { status, error }
    }
}

/// A complete upload, not yet in a visitor's folder. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Staged {
    pub path: TempPath,
    pub extension: &'static str,
}

/// What came with a form.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub values: BTreeMap<String, String>,
    pub files: BTreeMap<String, Staged>,
}

/// Reads a whole submission. Files go into `staging`, mode 0600.
pub(crate) async fn receive(mut body: Multipart, form: &Form, staging: &Path) -> Result<Received, Refusal> {
    let mut received = Received::default();
    let mut refusal: Option<Refusal> = None;
    let mut drained = 0;
    let mut parts = 0;
    while let Some(mut piece) = within(body.next_field()).await? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(refusal.unwrap_or_else(|| {
                Refusal::new(StatusCode::BAD_REQUEST, Error::usage("too many parts in one form"))
            }));
        }
        let field = piece.name().and_then(|n| form.fields.iter().find(|f| f.name == n));
        if refusal.is_none()
            && let Some(field) = field
        {
            match take(&mut piece, field, staging, &mut received).await {
                Ok(()) => {}
                Err(r) if r.status == StatusCode::REQUEST_TIMEOUT => return Err(r),
                Err(r) => refusal = Some(r),
            }
        }
        while let Some(chunk) = within(piece.chunk()).await? {
            drained += chunk.len() as u64;
            if drained > MAX_DRAIN {
                return Err(refusal.unwrap_or_else(|| too_large("The form", MAX_DRAIN)));
            }
        }
    }
    match refusal {
        Some(r) => Err(r),
        None => Ok(received),
    }
}

async fn take(
    piece: &mut Piece<'_>,
    field: &Field,
    staging: &Path,
    received: &mut Received,
) -> Result<(), Refusal> {
    let twice = received.values.contains_key(&field.name) || received.files.contains_key(&field.name);
    if twice {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            Error::usage(format!("{}: sent twice", shown(field))),
        ));
    }
    match field.kind {
        FieldKind::Image | FieldKind::File => {
            if let Some(file) = take_file(piece, field, staging).await? {
                received.files.insert(field.name.clone(), file);
            }
        }
        _ => {
            let mut bytes = Vec::new();
            while let Some(chunk) = within(piece.chunk()).await? {
                if (bytes.len() + chunk.len()) as u64 > MAX_TEXT_BYTES {
                    return Err(Refusal::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        Error::new(Kind::Limit, format!("{}: at most {MAX_TEXT} characters", shown(field))),
                    ));
                }
                bytes.extend_from_slice(&chunk);
            }
            let text = String::from_utf8(bytes).map_err(|_| {
                Refusal::new(
                    StatusCode::BAD_REQUEST,
                    Error::usage(format!("{}: not UTF-8 text", shown(field))),
                )
            })?;
            received.values.insert(field.name.clone(), text);
        }
    }
    Ok(())
}

/// The stored file; none when the visitor chose no file (browsers then send an empty one).
async fn take_file(piece: &mut Piece<'_>, field: &Field, staging: &Path) -> Result<Option<Staged>, Refusal> {
    let limit = field.max_bytes.unwrap_or(DEFAULT_UPLOAD_BYTES);
    let disk = |e: std::io::Error| {
        tracing::error!("cannot store an upload in {}: {e}", staging.display());
        Refusal::new(
            StatusCode::INSUFFICIENT_STORAGE,
            Error::new(Kind::Io, "the app cannot store uploads at the moment").hint("try again later"),
        )
    };
    let mut size = 0u64;
    let mut head: Vec<u8> = Vec::with_capacity(MAGIC_BYTES);
    let (file, path) =
        tempfile::Builder::new().prefix("up-").tempfile_in(staging).map_err(disk)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    while let Some(chunk) = within(piece.chunk()).await? {
        size += chunk.len() as u64;
        if size > limit {
            return Err(too_large(shown(field), limit));
        }
        let room = MAGIC_BYTES.saturating_sub(head.len());
        head.extend(chunk.iter().take(room));
        file.write_all(&chunk).await.map_err(disk)?;
    }
    file.flush().await.map_err(disk)?;
    if size == 0 {
        return Ok(None);
    }
    let kind = sniff(&head);
    match (field.kind, kind) {
        (FieldKind::Image, None) => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Error::new(Kind::Format, format!("{}: {}", shown(field), what_else(&head)))
                .hint("choose a JPEG, PNG, WebP, GIF, BMP or TIFF picture"),
        )),
        (_, kind) => Ok(Some(Staged { path, extension: kind.map_or("bin", |k| k.extension) })),
    }
}

fn too_large(what: &str, limit: u64) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        Error::new(Kind::Limit, format!("{what}: larger than {}", bytes_text(limit)))
            .hint("choose a smaller file, or make the picture smaller first"),
    )
}

fn shown(field: &Field) -> &str {
    if field.label.is_empty() { &field.name } else { &field.label }
}

async fn within<T>(
    next: impl Future<Output = Result<Option<T>, MultipartError>>,
) -> Result<Option<T>, Refusal> {
    match tokio::time::timeout(PIECE_TIMEOUT, next).await {
        Ok(Ok(v)) => Ok(v),
        Ok(Err(e)) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            Error::usage(format!("the form did not arrive whole: {}", e.body_text())).hint("send it again"),
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            Error::new(Kind::Unreachable, "the upload stopped on its way").hint("send it again"),
        )),
    }
}

/// An image type, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageKind {
    pub mime: &'static str,
    pub extension: &'static str,
}

/// How many first bytes [`sniff`] wants.
pub(crate) const MAGIC_BYTES: usize = 16;

/// The image type that `head` begins like. Signatures: the types' own specifications, as the WHATWG
/// MIME Sniffing standard lists them (TIFF 6.0 for TIFF).
pub(crate) fn sniff(head: &[u8]) -> Option<ImageKind> {
    let kind = |mime, extension| Some(ImageKind { mime, extension });
    match head {
        [0xff, 0xd8, 0xff, ..] => kind("image/jpeg", "jpg"),
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => kind("image/png", "png"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => kind("image/gif", "gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', b'V', b'P', ..] => {
            kind("image/webp", "webp")
        }
        // Two letters are little; the two reserved words of the header must be zero too.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => kind("image/bmp", "bmp"),
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => kind("image/tiff", "tif"),
        _ => None,
    }
}

/// What bytes are that are no picture, in words for the person who chose them.
fn what_else(head: &[u8]) -> &'static str {
    match head {
        [b'%', b'P', b'D', b'F', ..] => "this is a PDF, not a picture",
        [b'P', b'K', 3 | 5, 4 | 6, ..] => "this is a ZIP archive, not a picture",
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', b'e' | b'i', ..] => {
            "this is a HEIC photo, which cannot be read here; export it as JPEG"
        }
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "this is a video, not a picture",
        _ => "this is not a picture",
    }
}
