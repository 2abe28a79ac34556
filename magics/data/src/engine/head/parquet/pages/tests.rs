use super::super::head as first_rows;
use super::*;
use crate::engine::Place;
use dds_core::{Cx, Outcome};
use parquet::basic::GzipLevel;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// One column in one page.
fn file<T: DataType>(column: &str, values: &[T::T], levels: Option<(&[i16], &[i16])>) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message t {{ {column}; }}")).unwrap());
    let packing = Compression::GZIP(GzipLevel::default());
    let plain = WriterProperties::builder().set_compression(packing).set_dictionary_enabled(false);
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::new(plain.build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(values, levels.map(|l| l.0), levels.map(|l| l.1)).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    file
}

/// One text of as many noughts, which gzip makes a thousand times smaller.
fn noughts(len: usize) -> Vec<u8> {
    file::<ByteArrayType>("required binary v (UTF8)", &[ByteArray::from(vec![b'0'; len])], None)
}

fn shown(file: &[u8]) -> dds_core::Result<Outcome> {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("t.parquet");
    std::fs::write(&at, file).unwrap();
    first_rows(&Place::Local(at), "t.parquet", None, 5, &Cx::silent("/"))
}

/// The head of the first page says that it unpacks to `claimed` bytes.
fn claim(file: &mut [u8], claimed: u32) {
    let before = (Thrift { bytes: file.get(4..).unwrap(), at: 0 }).head().ok().unwrap();
    // Behind the magic: the type, then the size, each with a byte for its number and type.
    let mut rest = claimed << 1;
    for (n, byte) in file[7..11].iter_mut().enumerate() {
        *byte = (rest & 127) as u8 | if n < 3 { 128 } else { 0 };
        rest >>= 7;
    }
    let after = (Thrift { bytes: file.get(4..).unwrap(), at: 0 }).head().ok().unwrap();
    assert_eq!(after, Head { unpacked: claimed.into(), ..before }, "nothing else is changed");
}

#[test]
fn a_page_that_unpacks_to_more_than_it_says_is_not_unpacked() {
    let good = shown(&noughts(60_000_000)).unwrap();
    assert!(good.json["rows"][0][0].as_str().unwrap().starts_with("000"));
    let mut bomb = noughts(100_000_000);
    assert!(bomb.len() < 300_000, "{}", bomb.len());
    claim(&mut bomb, 3_000_000);
    let e = shown(&bomb).unwrap_err();
    assert!(e.kind == Kind::Format && e.message.contains("has more"), "{e}");
}

#[test]
fn a_page_that_says_it_is_huge_is_refused_before_it_is_unpacked() {
    let mut small = noughts(3_000_000);
    claim(&mut small, 120_000_000);
    let e = shown(&small).unwrap_err();
    assert!(e.kind == Kind::Limit && e.message.starts_with("t.parquet: a page of"), "{e}");
    assert!(e.hint.unwrap().contains("polars"));
    // One that is, too.
    assert_eq!(shown(&noughts(MAX_PART_BYTES + 1)).unwrap_err().kind, Kind::Limit);
}

#[test]
fn one_row_may_hold_many_values_but_not_any_number() {
    let row = |count: usize| {
        let (values, there) = (vec![true; count], vec![1; count]);
        let mut follows = vec![1; count];
        follows[0] = 0;
        file::<BoolType>("repeated boolean v", &values, Some((&there, &follows)))
    };
    let few = shown(&row(3)).unwrap();
    assert_eq!(few.json["rows"][0][0], "[true, true, true]");
    let e = shown(&row(MAX_LISTED_VALUES as usize + 1)).unwrap_err();
    assert!(e.kind == Kind::Limit && e.message.contains("lists"), "{e}");
}

#[test]
fn what_all_pages_unpack_to_is_bounded_too() {
    let budget = Budget::default();
    let (half, all) = (MAX_UNPACKED_BYTES.unsigned_abs() / 2, MAX_UNPACKED_BYTES.unsigned_abs());
    assert!(!budget.take(all + 1) && budget.take(half) && budget.clone().take(half) && !budget.take(1));
}

#[test]
fn a_head_is_read_to_its_end_or_not_at_all() {
    // Data of the second version, 5 bytes of levels, not packed, and a list and a struct to pass over.
    let bytes = [
        &[0x15, 0x06, 0x15, 0x50, 0x15, 0x40][..],
        &[0x5c, 0x15, 0x14, 0x15, 0, 0x15, 0x14, 0x15, 0, 0x15, 4, 0x15, 6, 0x12][..],
        &[0x1c, 0x18, 2, b'a', b'b', 0, 0, 0x19, 0x22, 1, 2, 0][..],
    ]
    .concat();
    let head = (Thrift { bytes: &bytes, at: 0 }).head().ok().unwrap();
    let expected =
        Head { kind: 3, unpacked: 40, packed: 32, values: 10, levels: 5, is_packed: false, len: bytes.len() };
    assert_eq!(head, expected);
    for cut in 0..bytes.len() {
        assert!(matches!((Thrift { bytes: &bytes[..cut], at: 0 }).head(), Err(Stop::More)), "{cut}");
    }
    let deep = [[0x9c].as_slice(), &[0x1c; 40]].concat();
    let endless = [0x15, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255];
    for broken in [&deep[..], &endless, &[0x1f], &[0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]] {
        assert!(matches!((Thrift { bytes: broken, at: 0 }).head(), Err(Stop::Broken)), "{broken:?}");
    }
}
