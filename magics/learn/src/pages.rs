//! The pages of a TIFF file: where the directory of each one lies, and a reader that shows one page as
//! the first, so that any decoder reads it (TIFF 6.0, section 2; BigTIFF, as libtiff defines it).

use dds_core::{Error, Kind, Result};
use std::io::{self, Cursor, Read, Seek, SeekFrom};

/// Most pages of one file.
pub const MAX_PAGES: usize = 10_000;
/// Most values of one field that are looked at.
const MAX_VALUES: u64 = 1 << 20;
/// Fields of one directory; the format itself ends at 65,535, and hardly any file has a hundred.
const MAX_FIELDS: u64 = 4096;

const STRIP_OFFSETS: u16 = 273;
const STRIP_BYTES: u16 = 279;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTES: u16 = 325;

/// A TIFF file as a chain of directories.
struct Chain<R> {
    reader: R,
    little: bool,
    big: bool,
}

/// One directory: its fields as they stand, and where the next directory is (0: nowhere).
struct Directory {
    fields: Vec<Vec<u8>>,
    next: u64,
}

impl<R: Read + Seek> Chain<R> {
    fn open(mut reader: R) -> io::Result<Self> {
        let mut magic = [0; 4];
        reader.seek(SeekFrom::Start(0))?;
        reader.read_exact(&mut magic)?;
        let (little, big) = match &magic {
            b"II*\0" => (true, false),
            b"MM\0*" => (false, false),
            b"II+\0" => (true, true),
            b"MM\0+" => (false, true),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "not a TIFF file")),
        };
        Ok(Self { reader, little, big })
    }

    /// Up to eight bytes as a number.
    fn number(&self, bytes: &[u8]) -> u64 {
        let add = |sum: u64, b: &u8| sum << 8 | u64::from(*b);
        if self.little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
    }

    fn bytes(&mut self, at: u64, n: usize) -> io::Result<Vec<u8>> {
        self.reader.seek(SeekFrom::Start(at))?;
        let mut out = vec![0; n];
        self.reader.read_exact(&mut out)?;
        Ok(out)
    }

    /// Where the first directory's place is written, and how many bytes it takes.
    fn link(&self) -> (u64, usize) {
        if self.big { (8, 8) } else { (4, 4) }
    }

    fn first(&mut self) -> io::Result<u64> {
        let (at, n) = self.link();
        let bytes = self.bytes(at, n)?;
        Ok(self.number(&bytes))
    }

    fn directory(&mut self, at: u64) -> io::Result<Directory> {
        let (counter, field, pointer) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let count = self.bytes(at, counter)?;
        let count = self.number(&count);
        if count > MAX_FIELDS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a directory of too many fields"));
        }
        let n = count as usize * field;
        let bytes = self.bytes(at.saturating_add(counter as u64), n + pointer)?;
        let (fields, next) = bytes.split_at(n);
        Ok(Directory { fields: fields.chunks(field).map(<[u8]>::to_vec).collect(), next: self.number(next) })
    }

    /// The whole numbers of a field; none when the directory has no such field.
    fn values(&mut self, directory: &Directory, tag: u16) -> io::Result<Option<Vec<u64>>> {
        let Some(field) = directory.fields.iter().find(|f| self.number(&f[..2]) == u64::from(tag)) else {
            return Ok(None);
        };
        let size = match self.number(&field[2..4]) {
            1 => 1,
            3 => 2,
            4 | 13 => 4,
            16 | 18 => 8,
            _ => return Ok(None),
        };
        let value = if self.big { 12 } else { 8 };
        let count = self.number(&field[4..value]);
        if count > MAX_VALUES {
            return Ok(None);
        }
        let n = count as usize * size;
        let bytes = match field[value..].get(..n) {
            Some(inline) => inline.to_vec(),
            None => self.bytes(self.number(&field[value..]), n)?,
        };
        Ok(Some(bytes.chunks(size).map(|b| self.number(b)).collect()))
    }
}

/// Where the directories of a TIFF file are, in their order. A chain that returns to itself ends there.
///
/// Errors: `Format` for a file that is no TIFF or breaks off, `Limit` beyond [`MAX_PAGES`].
pub fn pages<R: Read + Seek>(reader: R) -> Result<Vec<u64>> {
    let broken = |e: io::Error| Error::new(Kind::Format, format!("its pages cannot be found: {e}"));
    let mut chain = Chain::open(reader).map_err(broken)?;
    let mut found = Vec::new();
    let mut next = chain.first().map_err(broken)?;
    while next != 0 && !found.contains(&next) {
        if found.len() >= MAX_PAGES {
            return Err(Error::new(Kind::Limit, format!("more than {MAX_PAGES} pages")));
        }
        let directory = chain.directory(next).map_err(broken)?;
        found.push(next);
        next = directory.next;
    }
    Ok(found)
}

/// Whether the first page lies, in part, behind the end of `bytes`.
pub fn reaches_past_end(bytes: &[u8]) -> bool {
    let end = || -> io::Result<u64> {
        let mut chain = Chain::open(Cursor::new(bytes))?;
        let first = chain.first()?;
        let directory = chain.directory(first)?;
        let mut end = 0;
        for (offsets, sizes) in [(STRIP_OFFSETS, STRIP_BYTES), (TILE_OFFSETS, TILE_BYTES)] {
            let offsets = chain.values(&directory, offsets)?.unwrap_or_default();
            let sizes = chain.values(&directory, sizes)?.unwrap_or_default();
            end = offsets.iter().zip(&sizes).map(|(at, n)| at.saturating_add(*n)).fold(end, u64::max);
        }
        Ok(end)
    };
    match end() {
        Ok(end) => end > bytes.len() as u64,
        Err(e) => e.kind() == io::ErrorKind::UnexpectedEof,
    }
}

/// A TIFF file in which another page stands first.
pub struct PageReader<R> {
    reader: R,
    position: u64,
    /// Where the first directory's place is written, and what is to be read there.
    at: u64,
    link: Vec<u8>,
}

impl<R: Read + Seek> PageReader<R> {
    /// `page` is one of [`pages`]. Errors: `Format` for a file that is no TIFF.
    pub fn new(reader: R, page: u64) -> Result<Self> {
        let broken = |e: io::Error| Error::new(Kind::Format, e.to_string());
        let chain = Chain::open(reader).map_err(broken)?;
        let (at, n) = chain.link();
        let link = match chain.little {
            true => page.to_le_bytes()[..n].to_vec(),
            false => page.to_be_bytes()[8 - n..].to_vec(),
        };
        let mut reader = chain.reader;
        reader.seek(SeekFrom::Start(0)).map_err(broken)?;
        Ok(Self { reader, position: 0, at, link })
    }
}

impl<R: Read> Read for PageReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        for (byte, at) in buffer[..n].iter_mut().zip(self.position..) {
            if let Some(ours) = at.checked_sub(self.at).and_then(|i| self.link.get(i as usize)) {
                *byte = *ours;
            }
        }
        self.position += n as u64;
        Ok(n)
    }
}

impl<R: Seek> Seek for PageReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.reader.seek(to)?;
        Ok(self.position)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use image::{GenericImageView, ImageFormat, Rgb, RgbImage};

    /// A TIFF file of one page for each colour.
    pub(crate) fn tiff_of(colours: &[[u8; 3]]) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        let mut encoder = tiff::encoder::TiffEncoder::new(&mut out).unwrap();
        for (n, colour) in colours.iter().enumerate() {
            let image = RgbImage::from_pixel(20 + n as u32, 10, Rgb(*colour));
            let (w, h) = image.dimensions();
            encoder.write_image::<tiff::encoder::colortype::RGB8>(w, h, &image).unwrap();
        }
        out.into_inner()
    }

    #[test]
    fn each_page_is_read_as_the_first() {
        let colours = [[200, 0, 0], [0, 200, 0], [0, 0, 200]];
        let bytes = tiff_of(&colours);
        let found = pages(Cursor::new(&bytes)).unwrap();
        assert_eq!(found.len(), 3);
        for (n, (page, colour)) in found.iter().zip(colours).enumerate() {
            let reader = PageReader::new(Cursor::new(&bytes), *page).unwrap();
            let image = image::load(io::BufReader::new(reader), ImageFormat::Tiff).unwrap();
            assert_eq!(image.dimensions(), (20 + n as u32, 10));
            assert_eq!(image.to_rgb8().get_pixel(3, 3).0, colour);
        }
    }

    #[test]
    fn hostile_chains_end() {
        let mut bytes = tiff_of(&[[1, 2, 3], [4, 5, 6]]);
        let found = pages(Cursor::new(&bytes)).unwrap();
        // The second page's successor becomes the first page.
        let second = found[1] as usize;
        let fields = usize::from(u16::from_le_bytes([bytes[second], bytes[second + 1]]));
        let next = second + 2 + 12 * fields;
        bytes[next..next + 4].copy_from_slice(&(found[0] as u32).to_le_bytes());
        assert_eq!(pages(Cursor::new(&bytes)).unwrap(), found);
        bytes[next..next + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(pages(Cursor::new(&bytes)).unwrap_err().kind, Kind::Format);
        assert_eq!(pages(Cursor::new(b"II")).unwrap_err().kind, Kind::Format);
        assert_eq!(pages(Cursor::new(b"not a TIFF")).unwrap_err().kind, Kind::Format);
    }

    #[test]
    fn a_page_behind_the_end() {
        let bytes = tiff_of(&[[1, 2, 3]]);
        assert!(!reaches_past_end(&bytes));
        for keep in [2, 8, 100, bytes.len() / 2] {
            assert!(reaches_past_end(&bytes[..keep]), "{keep}");
        }
    }
}
