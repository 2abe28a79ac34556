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
    assert_eq!(after, Head { unpacked: claimed as i32, ..before }, "nothing else is changed");
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
        &[0x1c, 0x18, 2, b'a', b'b', 0, 0, 0x19, 0x23, 1, 2, 0][..],
    ]
    .concat();
    let head = (Thrift { bytes: &bytes, at: 0 }).head().ok().unwrap();
    let expected =
        Head { unpacked: 40, packed: 32, values: 10, levels: 5, is_packed: false, len: bytes.len() };
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

/// A number as the protocol writes it.
fn number(n: i64) -> Vec<u8> {
    let mut rest = ((n << 1) ^ (n >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    while rest > 127 {
        bytes.push(rest as u8 | 128);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A field with a number of its own, whatever comes before it.
fn field(id: i64, of: u8, value: &[u8]) -> Vec<u8> {
    [&[of], &*number(id), value].concat()
}

fn numbers(fields: &[(i64, i64)]) -> Vec<u8> {
    fields.iter().flat_map(|(id, n)| field(*id, 5, &number(*n))).collect()
}

fn inner(id: i64, fields: &[u8]) -> Vec<u8> {
    field(id, kind::STRUCT, &[fields, &[0]].concat())
}

fn parsed(parts: &[&[u8]]) -> std::result::Result<Head, Stop> {
    let bytes = [&parts.concat()[..], &[0]].concat();
    (Thrift { bytes: &bytes, at: 0 }).head()
}

#[test]
fn a_head_that_the_reader_takes_for_another_is_broken() {
    let first = |page: i64| numbers(&[(1, page), (2, 40), (3, 32)]);
    let data = || inner(5, &numbers(&[(1, 10), (2, 0), (3, 3), (4, 3)]));
    let dictionary = || inner(7, &[numbers(&[(1, 10), (2, 0)]), field(3, kind::TRUE, &[])].concat());
    let second = numbers(&[(1, 10), (2, 0), (3, 10), (4, 0), (5, 4), (6, 1)]);
    let unpacked = || inner(8, &[&second[..], &field(7, kind::FALSE, &[])].concat());
    for good in [[first(0), data()], [first(2), dictionary()], [first(3), unpacked()]] {
        let head = parsed(&[&good[0], &good[1]]).ok().unwrap();
        assert_eq!((head.unpacked, head.packed, head.values), (40, 32, 10));
    }
    assert!(!parsed(&[&first(3), &unpacked()]).ok().unwrap().is_packed);
    assert!(parsed(&[&first(3), &inner(8, &second)]).ok().unwrap().is_packed);
    let far = 1 << 32;
    let twice = |id: i64| [second.clone(), numbers(&[(id, 1)])].concat();
    let bad: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("a type that is cut to that of an index", vec![first(far + 1), data()]),
        ("a type that is cut to that of data", vec![first(far), data()]),
        ("an index", vec![first(1), data()]),
        ("an index, as the format has it", vec![first(1), inner(6, &[])]),
        ("no such type", vec![first(4), data()]),
        ("a negative type", vec![first(-1), data()]),
        ("a size that is cut", vec![numbers(&[(1, 0), (2, far + 40), (3, 32)]), data()]),
        ("a negative size", vec![numbers(&[(1, 0), (2, 40), (3, -32)]), data()]),
        ("a field whose number is cut", vec![first(0), numbers(&[(65_536 + 2, 1 << 30)]), data()]),
        ("another", vec![first(0), inner(65_536 + 5, &numbers(&[(1, 1)])), data()]),
        ("the same within", vec![first(3), inner(8, &[&second[..], &numbers(&[(65_536 + 1, 9)])].concat())]),
        ("a number beyond the largest", vec![first(0), field(32_767, 5, &[0]), vec![0x15, 0], data()]),
        ("a size twice", vec![first(0), numbers(&[(2, 1 << 30)]), data()]),
        ("a type twice", vec![first(0), numbers(&[(1, 2)]), data()]),
        ("the second version twice", vec![first(3), unpacked(), inner(8, &second)]),
        ("what is unknown twice", vec![first(0), data(), numbers(&[(20, 1), (20, 1)])]),
        ("values twice", vec![first(3), inner(8, &twice(1))]),
        ("levels twice", vec![first(3), inner(8, &twice(5))]),
        (
            "packed or not, twice",
            vec![
                first(3),
                inner(8, &[&second[..], &field(7, kind::FALSE, &[]), &field(7, kind::TRUE, &[])].concat()),
            ],
        ),
        ("the head of another type", vec![first(0), inner(8, &second)]),
        ("that besides its own", vec![first(0), data(), unpacked()]),
        ("a dictionary's besides its own", vec![first(0), dictionary(), data()]),
        ("none", vec![first(0)]),
        ("no type", vec![numbers(&[(2, 40), (3, 32)]), data()]),
        ("no sizes", vec![numbers(&[(1, 0)]), data()]),
        ("no values", vec![first(0), inner(5, &numbers(&[(2, 0), (3, 3), (4, 3)]))]),
        ("levels of less than nothing", vec![first(3), inner(8, &numbers(&[(1, 10), (5, 40), (6, -39)]))]),
        ("levels beyond all", vec![first(3), inner(8, &numbers(&[(1, 9), (5, 1 << 30), (6, 1 << 30)]))]),
        // Known by their number alone.
        ("a text in the place of a struct", vec![first(0), data(), field(8, kind::BINARY, &[2, 0x25, 2])]),
        ("a number there", vec![first(0), field(5, 5, &[0])]),
        ("an index that is no struct", vec![first(0), data(), field(6, kind::TRUE, &[])]),
        ("a checksum that is none", vec![first(0), field(4, kind::TRUE, &[]), data()]),
        ("a size of one byte", vec![numbers(&[(1, 0), (3, 32)]), field(2, kind::BYTE, &[40]), data()]),
        ("packed by a number", vec![first(3), inner(8, &[&second[..], &field(7, 5, &[2])].concat())]),
        (
            "a packing that is none",
            vec![first(0), inner(5, &[numbers(&[(1, 10)]), field(2, 1, &[])].concat())],
        ),
        // The reader passes over none of the bytes of its elements.
        ("a list of true and false", vec![first(0), data(), field(9, kind::LIST, &[0x21, 1, 1])]),
        ("an end that is none", vec![first(0), data(), vec![0x10]]),
    ];
    for (what, parts) in bad {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        assert!(matches!(parsed(&parts), Err(Stop::Broken)), "{what}");
    }
}
