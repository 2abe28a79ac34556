//! A guard before the reader of pages: what a page claims of itself is checked before it is unpacked.
//!
//! The reader believes the head of a page, and some packings unpack to whatever they unpack to. So each head
//! is read here first (Thrift's compact protocol, `PageHeader` of the format's `parquet.thrift`), and a page
//! of gzip is unpacked once into nothing where it could be larger than it may. A head that could be read in
//! two ways is refused: the reader cuts long numbers, takes the last of several fields of one number, and
//! knows most of them by their number alone.

use super::{MAX_PART_BYTES, MAX_UNPACKED_BYTES, Ranges};
use dds_core::table::bytes as size_text;
use dds_core::{Error, Kind};
use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::RowGroupReader;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The head of a page; statistics of long texts are in it.
const MAX_HEAD_BYTES: usize = 1 << 20;
/// Values of one column with lists: one row may hold any number of them.
const MAX_LISTED_VALUES: u64 = 16 << 20;
/// How often deflate can make a byte of one, at most (RFC 1951: 258 bytes by two bits).
const MAX_GZIP_RATIO: usize = 1032;
/// The same of a block of LZ4, which makes 255 bytes of one.
const MAX_LZ4_RATIO: usize = 255;
/// Lists and structs within each other; those of the format are three deep.
const MAX_DEPTH: usize = 16;
/// `PageType` of pages with data, with a dictionary and with data of the second version. Those with an index
/// nobody writes, and the reader takes what is in them for heads.
const DATA: i32 = 0;
const DICTIONARY: i32 = 2;
const DATA_V2: i32 = 3;

/// What all pages of a file may still unpack to, in bytes.
#[derive(Clone)]
pub(super) struct Budget(Arc<AtomicU64>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(MAX_UNPACKED_BYTES.unsigned_abs())))
    }
}

impl Budget {
    fn take(&self, bytes: u64) -> bool {
        let less = |left: u64| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// A group of rows whose pages are looked at before they are read.
pub(super) struct Guarded<'a> {
    pub inner: Box<dyn RowGroupReader + 'a>,
    pub ranges: Ranges,
    pub budget: Budget,
}

impl RowGroupReader for Guarded<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.inner.metadata()
    }

    fn num_columns(&self) -> usize {
        self.inner.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>> {
        let column = self.metadata().column(i);
        let (start, len) = column.byte_range();
        Ok(Box::new(Pages {
            inner: self.inner.get_column_page_reader(i)?,
            ranges: self.ranges.clone(),
            budget: self.budget.clone(),
            packing: column.compression(),
            values: (column.column_descr().max_rep_level() > 0).then_some(MAX_LISTED_VALUES),
            at: start,
            end: start.saturating_add(len),
        }))
    }

    fn get_column_bloom_filter(&self, i: usize) -> Option<&Sbbf> {
        self.inner.get_column_bloom_filter(i)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

struct Pages {
    inner: Box<dyn PageReader>,
    ranges: Ranges,
    budget: Budget,
    packing: Compression,
    /// How many more may come; none where every row has one.
    values: Option<u64>,
    /// Of the next page, as the reader will find it.
    at: u64,
    end: u64,
}

impl Pages {
    /// Looks at the head of the next page, and passes it.
    fn pass(&mut self, unpacks: bool) -> Result<()> {
        if self.at < self.end {
            let head = self.head()?;
            let (packed, unpacked) = (usize::try_from(head.packed)?, usize::try_from(head.unpacked)?);
            let start = self.at.saturating_add(head.len as u64);
            self.at = start.saturating_add(packed as u64);
            if unpacks {
                self.check(&head, start, packed, unpacked)?;
            }
        }
        Ok(())
    }

    fn check(&mut self, head: &Head, start: u64, packed: usize, unpacked: usize) -> Result<()> {
        if unpacked > MAX_PART_BYTES || packed > MAX_PART_BYTES {
            return Err(self
                .ranges
                .too_large(&format!("a page of {}", size_text(unpacked.max(packed) as u64))));
        }
        if !self.budget.take(unpacked as u64) {
            return Err(self.ranges.too_large("its first rows are larger than it says"));
        }
        if let Some(values) = &mut self.values {
            let left = values.checked_sub(u64::try_from(head.values)?);
            *values = left.ok_or_else(|| self.ranges.too_large("lists of too many values"))?;
        }
        match self.packing {
            Compression::GZIP(_)
                if head.is_packed && packed.saturating_mul(MAX_GZIP_RATIO) > MAX_PART_BYTES =>
            {
                let levels = usize::try_from(head.levels)?;
                let page = self.ranges.get(start, packed)?;
                let mut rest = MultiGzDecoder::new(page.get(levels..).unwrap_or_default());
                let most = unpacked as u64;
                let came = io::copy(&mut rest.by_ref().take(most + 1), &mut io::sink())?;
                if came > most {
                    return Err(lies(unpacked));
                }
            }
            // Of these the reader takes what comes, too.
            Compression::LZ4
                if packed.saturating_mul(MAX_LZ4_RATIO) as u64 > MAX_UNPACKED_BYTES.unsigned_abs() =>
            {
                return Err(self.ranges.too_large(&format!("a page of LZ4 of {}", size_text(packed as u64))));
            }
            _ => {}
        }
        Ok(())
    }

    fn head(&self) -> Result<Head> {
        let mut len = super::STEP;
        loop {
            let bytes = self.ranges.get(self.at, len)?;
            match (Thrift { bytes: &bytes, at: 0 }).head() {
                Ok(head) => return Ok(head),
                Err(Stop::Broken) => return Err(ParquetError::General("the head of a page".to_owned())),
                Err(Stop::More) if bytes.len() < len || len >= MAX_HEAD_BYTES => {
                    return Err(ParquetError::EOF("the head of a page has no end".to_owned()));
                }
                Err(Stop::More) => len = len.saturating_mul(4).min(MAX_HEAD_BYTES),
            }
        }
    }
}

fn lies(unpacked: usize) -> ParquetError {
    ParquetError::General(format!("a page that says it has {unpacked} bytes has more"))
}

impl Ranges {
    fn too_large(&self, what: &str) -> ParquetError {
        let error = Error::new(Kind::Limit, format!("{what}: too large to be shown"))
            .hint("read it with polars in a cell: LazyFrame::scan_parquet");
        self.fail(error);
        ParquetError::General(what.to_owned())
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.pass(true)?;
        self.inner.get_next_page()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pass(false)?;
        self.inner.skip_next_page()
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// What counts of the head of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    unpacked: i32,
    packed: i32,
    values: i32,
    /// Bytes before what is packed, in a page of the second version.
    levels: i32,
    is_packed: bool,
    /// Its own bytes.
    len: usize,
}

/// What is said of the pages of one type.
struct Inner {
    values: i32,
    levels: i32,
    is_packed: bool,
}

enum Stop {
    /// The bytes end before the head does.
    More,
    /// No head, or one that the reader might take for another.
    Broken,
}

/// Types of the compact protocol.
mod kind {
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const STRUCT: u8 = 12;
}

struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The fields of a struct whose fields count: none comes twice.
#[derive(Default)]
struct Fields {
    last: i16,
    seen: BTreeSet<i16>,
}

impl Fields {
    fn next(&mut self, of: &mut Thrift<'_>) -> std::result::Result<Option<(i16, u8)>, Stop> {
        let field = of.field(&mut self.last)?;
        if field.is_some_and(|(id, _)| !self.seen.insert(id)) {
            return Err(Stop::Broken);
        }
        Ok(field)
    }
}

impl Thrift<'_> {
    fn head(mut self) -> std::result::Result<Head, Stop> {
        let (mut page, mut unpacked, mut packed, mut inner) = (None, None, None, None);
        let mut fields = Fields::default();
        while let Some((id, of)) = fields.next(&mut self)? {
            match id {
                1 => page = Some(self.number(of)?),
                2 => unpacked = Some(self.size(of)?),
                3 => packed = Some(self.size(of)?),
                // A checksum.
                4 => {
                    self.number(of)?;
                }
                // One, of data, a dictionary or data of the second version.
                5 | 7 | 8 if of == kind::STRUCT && inner.is_none() => inner = Some((id, self.inner(id)?)),
                5..=8 => return Err(Stop::Broken),
                _ => self.skip(of, 0)?,
            }
        }
        let (Some(page), Some(unpacked), Some(packed), Some((id, inner))) = (page, unpacked, packed, inner)
        else {
            return Err(Stop::Broken);
        };
        let Inner { values, levels, is_packed } = inner;
        match (page, id) {
            (DATA, 5) | (DICTIONARY, 7) | (DATA_V2, 8) => {
                Ok(Head { unpacked, packed, values, levels, is_packed, len: self.at })
            }
            _ => Err(Stop::Broken),
        }
    }

    /// That of the field `of_page` of a head.
    fn inner(&mut self, of_page: i16) -> std::result::Result<Inner, Stop> {
        let (mut values, mut levels, mut is_packed) = (None, 0i32, true);
        let mut fields = Fields::default();
        while let Some((id, of)) = fields.next(self)? {
            match (of_page, id) {
                (_, 1) => values = Some(self.size(of)?),
                (8, 5 | 6) => levels = levels.checked_add(self.size(of)?).ok_or(Stop::Broken)?,
                (_, 2) | (5 | 8, 3 | 4) => {
                    self.number(of)?;
                }
                (7, 3) | (8, 7) => {
                    let is = match of {
                        kind::TRUE => true,
                        kind::FALSE => false,
                        _ => return Err(Stop::Broken),
                    };
                    is_packed = of_page != 8 || is;
                }
                _ => self.skip(of, 0)?,
            }
        }
        Ok(Inner { values: values.ok_or(Stop::Broken)?, levels, is_packed })
    }

    /// The number and type of the next field; none at the end of a struct.
    fn field(&mut self, last: &mut i16) -> std::result::Result<Option<(i16, u8)>, Stop> {
        let first = self.byte()?;
        if first == 0 {
            return Ok(None);
        }
        *last = match first >> 4 {
            0 => i16::try_from(self.signed()?).map_err(|_| Stop::Broken)?,
            more => last.checked_add(i16::from(more)).ok_or(Stop::Broken)?,
        };
        match first & 15 {
            // An end to the reader.
            0 => Err(Stop::Broken),
            of => Ok(Some((*last, of))),
        }
    }

    fn number(&mut self, of: u8) -> std::result::Result<i32, Stop> {
        match of {
            4..=6 => i32::try_from(self.signed()?).map_err(|_| Stop::Broken),
            _ => Err(Stop::Broken),
        }
    }

    /// One that is not negative.
    fn size(&mut self, of: u8) -> std::result::Result<i32, Stop> {
        self.number(of).and_then(|size| if size < 0 { Err(Stop::Broken) } else { Ok(size) })
    }

    fn skip(&mut self, of: u8, depth: usize) -> std::result::Result<(), Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Broken);
        }
        match of {
            kind::TRUE | kind::FALSE => Ok(()),
            kind::BYTE => self.pass(1),
            4..=6 => self.signed().map(drop),
            kind::DOUBLE => self.pass(8),
            kind::BINARY => {
                let len = self.unsigned()?;
                self.pass(usize::try_from(len).map_err(|_| Stop::Broken)?)
            }
            kind::LIST | kind::SET => {
                let first = self.byte()?;
                let count = if first >> 4 == 15 { self.unsigned()? } else { u64::from(first >> 4) };
                let of = first & 15;
                // In a list, each has a byte of its own, which the reader does not pass over.
                if count > 0 && matches!(of, kind::TRUE | kind::FALSE) {
                    return Err(Stop::Broken);
                }
                for _ in 0..count {
                    self.skip(of, depth + 1)?;
                }
                Ok(())
            }
            kind::STRUCT => {
                let mut last = 0;
                while let Some((_, of)) = self.field(&mut last)? {
                    self.skip(of, depth + 1)?;
                }
                Ok(())
            }
            _ => Err(Stop::Broken),
        }
    }

    fn signed(&mut self) -> std::result::Result<i64, Stop> {
        let raw = self.unsigned()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    fn unsigned(&mut self) -> std::result::Result<u64, Stop> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err(Stop::Broken)
    }

    fn byte(&mut self) -> std::result::Result<u8, Stop> {
        let byte = *self.bytes.get(self.at).ok_or(Stop::More)?;
        self.at += 1;
        Ok(byte)
    }

    fn pass(&mut self, len: usize) -> std::result::Result<(), Stop> {
        let at = self.at.checked_add(len).ok_or(Stop::Broken)?;
        if at > self.bytes.len() {
            return Err(Stop::More);
        }
        self.at = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
