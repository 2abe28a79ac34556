//! The first rows of a Parquet file: its index at the end, and of each column the pages that hold them.
//!
//! Of a file that lies elsewhere only these parts are fetched. The file may be hostile: what its reader
//! makes of it is bounded by what it says of itself, each page is held to that ([`pages`]), and a panic of
//! the reader is an error.

mod pages;

use super::{MAX_SHOWN_COLUMNS, Place, grid};
use bytes::Bytes;
use dds_core::mime::printable;
use dds_core::table::{bytes, count};
use dds_core::{Cx, Error, Kind, Outcome, Result};
use pages::{Budget, Guarded};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, FileReader, Length, RowGroupReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::json;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// The index of a file, and one page.
const MAX_PART_BYTES: usize = 64 << 20;
/// What the columns of the first row group may be when they are unpacked.
const MAX_UNPACKED_BYTES: i64 = 1 << 30;
/// Steps in which the head of a page is read.
const STEP: usize = 16 << 10;

pub(super) fn head(place: &Place, name: &str, len: Option<u64>, wanted: usize, cx: &Cx) -> Result<Outcome> {
    let broken = |why: &str| {
        Error::new(Kind::Format, format!("{name} is a broken Parquet file: {}", printable(why)))
            .hint("check it where it was made, or fetch it again: dds cache verify")
    };
    let (part, len): (Part, u64) = match place {
        Place::Local(at) => {
            let file = std::fs::File::open(at).map_err(|e| Error::io(at, &e))?;
            let len = file.metadata().map_err(|e| Error::io(at, &e))?.len();
            let at = at.clone();
            let part = move |range: Range<u64>| {
                let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
                file.read_exact_at(&mut bytes, range.start).map_err(|e| Error::io(&at, &e))?;
                Ok(bytes)
            };
            (Arc::new(part), len)
        }
        Place::Remote { source, path } => {
            let len =
                len.ok_or_else(|| Error::new(Kind::Unavailable, format!("{name}: its size is not known")))?;
            let (source, path, cx) = (source.clone(), path.clone(), cx.clone());
            (Arc::new(move |range| source.read_range(&path, range, &cx)), len)
        }
    };
    let failed = Arc::new(Mutex::new(None));
    let ranges = Ranges { part, len, failed: failed.clone(), last: Arc::default() };
    let result = first_rows(ranges, wanted);
    // What failed below the reader says more than the reader.
    if let Some(e) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(if e.kind == Kind::Limit { e.context(name) } else { e });
    }
    cx.cancel.check()?;
    let Rows { heads, rows, total } = match result {
        Ok(rows) => rows,
        Err(Failure::Large(size)) => {
            return Err(Error::new(
                Kind::Limit,
                format!(
                    "{name}: its first rows unpack to {}",
                    bytes(u64::try_from(size).unwrap_or(u64::MAX))
                ),
            )
            .hint("read it with polars in a cell: LazyFrame::scan_parquet"));
        }
        Err(Failure::Broken(why)) => return Err(broken(&why)),
    };
    let shown: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|c| text(c.as_ref())).collect()).collect();
    let shown: Vec<&Vec<String>> = shown.iter().collect();
    let table = grid(&heads, &shown, Vec::new());
    let about = count(heads.len(), "column");
    let more = if total > rows.len() { format!("; the first {}", rows.len()) } else { String::new() };
    let summary = format!("{}: {}, {about}{more}", printable(name), count(total, "row"));
    let json = json!({"target": name, "columns": heads, "rows": rows, "whole": total <= rows.len()});
    let outcome = Outcome::new(summary, json);
    Ok(if heads.is_empty() { outcome } else { outcome.detail(table.text()).html(table.html()) })
}

fn text(cell: Option<&String>) -> String {
    cell.cloned().unwrap_or_default()
}

struct Rows {
    heads: Vec<String>,
    /// A cell without a value is none.
    rows: Vec<Vec<Option<String>>>,
    total: usize,
}

enum Failure {
    /// Bytes.
    Large(i64),
    Broken(String),
}

impl From<ParquetError> for Failure {
    fn from(e: ParquetError) -> Self {
        Self::Broken(e.to_string())
    }
}

fn first_rows(reader: Ranges, wanted: usize) -> std::result::Result<Rows, Failure> {
    let reading = catch_unwind(AssertUnwindSafe(|| read(reader, wanted)));
    reading.unwrap_or_else(|_| Err(Failure::Broken("its reader gave up".to_owned())))
}

fn read(reader: Ranges, wanted: usize) -> std::result::Result<Rows, Failure> {
    let file = SerializedFileReader::new(reader.clone())?;
    let about = file.metadata();
    let schema = about.file_metadata().schema();
    let heads: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    let total = usize::try_from(about.file_metadata().num_rows()).unwrap_or_default();
    if wanted > 0 && total > 0 {
        bounded(about, wanted)?;
    }
    let some: Vec<_> = schema.get_fields().iter().take(MAX_SHOWN_COLUMNS).cloned().collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(some).build()?;
    let mut rows = Vec::new();
    let budget = Budget::default();
    for group in 0..if heads.is_empty() { 0 } else { about.num_row_groups() } {
        if rows.len() >= wanted {
            break;
        }
        let inner = file.get_row_group(group)?;
        let guarded = Guarded { inner, ranges: reader.clone(), budget: budget.clone() };
        for row in guarded.get_row_iter(Some(projection.clone()))?.take(wanted - rows.len()) {
            rows.push(cells(&row?));
        }
    }
    Ok(Rows { heads, rows, total })
}

/// Of all groups of rows that are looked at.
fn bounded(about: &ParquetMetaData, wanted: usize) -> std::result::Result<(), Failure> {
    let mut left = i64::try_from(wanted).unwrap_or(i64::MAX);
    let mut size = 0i64;
    for group in about.row_groups() {
        if left <= 0 {
            break;
        }
        left = left.saturating_sub(group.num_rows().max(0));
        let columns = group.columns().iter().map(|column| column.uncompressed_size().max(0));
        size = columns.fold(size, i64::saturating_add);
    }
    if size > MAX_UNPACKED_BYTES { Err(Failure::Large(size)) } else { Ok(()) }
}

fn cells(row: &Row) -> Vec<Option<String>> {
    row.get_column_iter()
        .map(|(_, field)| match field {
            Field::Null => None,
            Field::Str(text) => Some(text.clone()),
            Field::Bytes(raw) => Some(format!("{} of bytes", bytes(raw.len() as u64))),
            // The reader writes nought as 0E0.
            Field::Double(number) => Some(format!("{number:?}")),
            Field::Float(number) => Some(format!("{number:?}")),
            other => Some(other.to_string()),
        })
        .collect()
}

/// The bytes of a range that lies within the file.
type Part = Arc<dyn Fn(Range<u64>) -> Result<Vec<u8>> + Send + Sync>;

/// A file that is read in parts.
#[derive(Clone)]
struct Ranges {
    part: Part,
    len: u64,
    /// The first thing that went wrong.
    failed: Arc<Mutex<Option<Error>>>,
    /// What was read last, and from where: the guard and the reader look at the same pages.
    last: Arc<Mutex<(u64, Bytes)>>,
}

impl Ranges {
    /// Bytes from `start` on, fewer at the end of the file.
    fn get(&self, start: u64, len: usize) -> io::Result<Bytes> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, held) = &*last;
        let skip = start.checked_sub(*from).and_then(|skip| usize::try_from(skip).ok());
        let until = skip.and_then(|skip| Some((skip, skip.checked_add(len)?)));
        if let Some((skip, until)) = until.filter(|(_, until)| *until <= held.len()) {
            return Ok(held.slice(skip..until));
        }
        let part = Bytes::from(self.part(start, len)?);
        *last = (start, part.clone());
        Ok(part)
    }

    fn fail(&self, error: Error) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn part(&self, start: u64, len: usize) -> io::Result<Vec<u8>> {
        let end = start.saturating_add(len as u64).min(self.len);
        (self.part)(start.min(end)..end).map_err(|e| {
            let other = io::Error::other(e.to_string());
            self.fail(e);
            other
        })
    }
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Ranges {
    type T = BufReader<Rest>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let ranges = self.clone();
        Ok(BufReader::with_capacity(STEP, Rest { ranges, at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        if length > MAX_PART_BYTES {
            return Err(ParquetError::General(format!("a part of {length} bytes")));
        }
        let part = self.get(start, length)?;
        if part.len() < length {
            return Err(ParquetError::EOF("the file ends within a part that it tells of".to_owned()));
        }
        Ok(part)
    }
}

/// The rest of a file, from a place on.
struct Rest {
    ranges: Ranges,
    at: u64,
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.ranges.get(self.at, buffer.len())?;
        let room = buffer.get_mut(..part.len()).ok_or_else(|| io::Error::other("more than was asked for"))?;
        room.copy_from_slice(&part);
        self.at += part.len() as u64;
        Ok(part.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::open_repo;
    use crate::testing::{Sample, git, path, write};
    use dds_core::RepoUrl;
    use dds_core::{RepoPath, Source};
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    /// Three columns, the last of which lacks every third value, in groups of 1,000 rows.
    fn sample(rows: usize, compression: Compression) -> Vec<u8> {
        let schema = "message t { required int64 id; required double share; optional binary name (UTF8); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut file = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut file, schema, properties).unwrap();
        for start in (0..rows).step_by(1000) {
            let range = start..rows.min(start + 1000);
            let mut group = writer.next_row_group().unwrap();
            let ids: Vec<i64> = range.clone().map(|n| n as i64).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(&ids, None, None).unwrap();
            column.close().unwrap();
            let shares: Vec<f64> = range.clone().map(|n| n as f64 / 4.0).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<DoubleType>().write_batch(&shares, None, None).unwrap();
            column.close().unwrap();
            let there = |n: &usize| !n.is_multiple_of(3);
            let names: Vec<ByteArray> =
                range.clone().filter(there).map(|n| format!("naïve {n}").as_str().into()).collect();
            let levels: Vec<i16> = range.clone().map(|n| i16::from(there(&n))).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&names, Some(&levels), None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
        file
    }

    fn local(bytes: &[u8], rows: usize) -> Result<Outcome> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("t.parquet");
        std::fs::write(&at, bytes).unwrap();
        head(&Place::Local(at), "t.parquet", None, rows, &Cx::silent("/"))
    }

    #[test]
    fn rows_of_every_packing() {
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let gzip = Compression::GZIP(parquet::basic::GzipLevel::default());
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd, gzip, Compression::LZ4_RAW]
        {
            let out = local(&sample(2500, compression), 3).unwrap();
            assert_eq!(out.summary, "t.parquet: 2500 rows, 3 columns; the first 3", "{compression}");
            assert_eq!(out.json["columns"], json!(["id", "share", "name"]));
            let rows = json!([["0", "0.0", null], ["1", "0.25", "naïve 1"], ["2", "0.5", "naïve 2"]]);
            assert_eq!(out.json["rows"], rows, "{compression}");
            assert!(out.detail.contains("naïve 2") && out.detail.contains("0.25"), "{}", out.detail);
        }
        let out = local(&sample(2, Compression::SNAPPY), 10).unwrap();
        assert_eq!(
            (out.summary.as_str(), &out.json["whole"]),
            ("t.parquet: 2 rows, 3 columns", &json!(true))
        );
        assert_eq!(
            local(&sample(0, Compression::SNAPPY), 10).unwrap().summary,
            "t.parquet: 0 rows, 3 columns"
        );
    }

    /// A cut at every place of the end, and a flipped byte at many places of the whole.
    #[test]
    fn a_broken_file_is_an_error() {
        let good = sample(50, Compression::SNAPPY);
        for at in [4, 5, 100, good.len() / 2, good.len() - 9, good.len() - 1] {
            let e = local(good.get(..at).unwrap(), 5).unwrap_err();
            assert!(e.kind == Kind::Format && e.message.contains("broken"), "{at}: {e}");
        }
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            *bad.get_mut(at).unwrap() ^= 0x55;
            // Whatever comes of it, it comes.
            let _ = local(&bad, 5);
        }
    }

    #[test]
    fn of_a_file_elsewhere_only_the_parts_that_are_needed_are_read() {
        let sample_repo = Sample::new();
        let file = sample(200_000, Compression::UNCOMPRESSED);
        write(&sample_repo.repo.join("t.parquet"), &file);
        git(&sample_repo.repo, &["add", "t.parquet"]);
        git(&sample_repo.repo, &["commit", "-qm", "table"]);
        let cx = sample_repo.cx();
        let url = RepoUrl::Local { path: sample_repo.repo.clone(), rev: None };
        let source = open_repo(&url, &sample_repo.config("cache"), &cx).unwrap();
        let source: Arc<dyn Source> = source;
        let counted = Arc::new(Counted { inner: source, read: Mutex::new(0) });
        let place = Place::Remote { source: counted.clone(), path: path("t.parquet") };
        let out = head(&place, "t", Some(file.len() as u64), 5, &cx).unwrap();
        assert_eq!(out.json["rows"][4], json!(["4", "1.0", "naïve 4"]));
        let read = *counted.read.lock().unwrap();
        assert!(read * 4 < file.len() as u64, "{read} of {}", file.len());
        // What went wrong below is what is told.
        cx.cancel.cancel();
        let e = head(&place, "t", Some(file.len() as u64), 5, &cx).unwrap_err();
        assert_eq!(e.kind, Kind::Interrupted, "{e}");
    }

    /// How much is asked of a source.
    struct Counted {
        inner: Arc<dyn Source>,
        read: Mutex<u64>,
    }

    impl Source for Counted {
        fn id(&self) -> String {
            self.inner.id()
        }

        fn list(&self, dir: &RepoPath, recursive: bool, cx: &Cx) -> Result<Vec<dds_core::Entry>> {
            self.inner.list(dir, recursive, cx)
        }

        fn stat(&self, path: &RepoPath, cx: &Cx) -> Result<dds_core::Entry> {
            self.inner.stat(path, cx)
        }

        fn read(&self, path: &RepoPath, cx: &Cx) -> Result<Vec<u8>> {
            self.inner.read(path, cx)
        }

        fn read_range(&self, path: &RepoPath, range: std::ops::Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
            *self.read.lock().unwrap() += range.end - range.start;
            self.inner.read_range(path, range, cx)
        }
    }
}
