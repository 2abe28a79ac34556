use super::{Json, MAX_BYTES, MAX_DEPTH};

fn parse(text: &str) -> Json {
    Json::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn what_is_written_reads_back_the_same() {
    let value = Json::object([
        ("null", Json::Null),
        ("yes", true.into()),
        ("least", i64::MIN.into()),
        ("tenth", 0.1.into()),
        ("large", 1e300.into()),
        ("small", Json::Float(-5e-324)),
        ("text", "a\"\\\n\u{1}ü😀\u{2028}".into()),
        ("list", vec![1, 2].into()),
        ("none", Json::from(None::<i32>)),
        ("", Json::Object(Vec::new())),
    ]);
    let text = value.to_string();
    assert_eq!(parse(&text), value, "{text}");
    assert!(
        text.starts_with(r#"{"null":null,"yes":true,"least":-9223372036854775808,"tenth":0.1,"#),
        "{text}"
    );
    assert!(text.contains(r#""text":"a\"\\\n\u0001ü😀"#), "{text}");
}

#[test]
fn what_json_cannot_say_is_null_or_a_float() {
    assert_eq!(Json::from(f64::NAN).to_string(), "null");
    assert_eq!(Json::from(f64::NEG_INFINITY).to_string(), "null");
    assert_eq!(Json::from(u64::MAX), Json::Float(18_446_744_073_709_551_615.0));
    assert_eq!(parse("18446744073709551615"), Json::Float(18_446_744_073_709_551_615.0));
    assert_eq!(parse("-0"), Json::Float(-0.0));
}

#[test]
fn numbers_keep_their_kind() {
    for (text, value) in [
        ("0", Json::Int(0)),
        ("-12", Json::Int(-12)),
        ("3.0", Json::Float(3.0)),
        ("2e3", Json::Float(2000.0)),
        (" 1E-2\n", Json::Float(0.01)),
    ] {
        assert_eq!(parse(text), value);
    }
    assert_eq!(parse("3.0").as_i64(), Some(3));
    assert_eq!(parse("3.5").as_i64(), None);
    assert_eq!(parse("1e300").as_i64(), None);
    assert_eq!(parse("7").as_f64(), Some(7.0));
}

#[test]
fn escapes_and_surrogates() {
    assert_eq!(parse(r#""\u00e4\/\b\f\r\t\"""#).as_str(), Some("ä/\u{8}\u{c}\r\t\""));
    assert_eq!(parse(r#""\ud83d\ude00""#).as_str(), Some("😀"));
    assert_eq!(parse(r#""\ud83d!""#).as_str(), Some("\u{fffd}!"));
    assert_eq!(parse(r#""\ud83d\u0041""#).as_str(), Some("\u{fffd}A"));
    assert_eq!(parse(r#""\ude00""#).as_str(), Some("\u{fffd}"));
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    for (text, at) in [
        ("", 0),
        ("  ", 2),
        ("nul", 0),
        ("nän", 0),
        ("01", 1),
        ("1.", 2),
        (".5", 0),
        ("-", 1),
        ("1e", 2),
        ("1e999", 5),
        ("NaN", 0),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("{\"a\" 1}", 5),
        ("{\"a\":1,}", 7),
        ("{a:1}", 1),
        ("\"open", 5),
        ("\"a\nb\"", 2),
        (r#""\x""#, 3),
        (r#""\u12g4""#, 5),
        (r#""\"#, 2),
        ("1 1", 2),
        ("[", 1),
    ] {
        let error = Json::parse(text).expect_err(text);
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.to_string().starts_with(&format!("not valid JSON at byte {at}: ")));
    }
    assert_eq!(Json::parse_bytes(b"\"a\xff\"").expect_err("not UTF-8").at, 2);
}

#[test]
fn depth_is_taken_up_to_its_bound() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Json::parse(&nested(MAX_DEPTH)).is_ok());
    assert!(Json::parse(&nested(MAX_DEPTH + 1)).expect_err("too deep").reason.contains("128"));
    // Neighbours do not add up.
    assert!(Json::parse(&format!("[{}]", vec!["[]"; MAX_DEPTH * 2].join(","))).is_ok());
}

#[test]
fn size_is_taken_up_to_its_bound() {
    let text = |length: usize| format!("\"{}\"", "a".repeat(length - 2));
    assert!(Json::parse(&text(MAX_BYTES)).is_ok());
    assert!(Json::parse(&text(MAX_BYTES + 1)).expect_err("too long").reason.contains("allowed"));
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let mut value = parse(r#"{"a":1,"b":2,"a":3}"#);
    assert_eq!(value.get("a"), Some(&Json::Int(3)));
    value.set("a", 4);
    value.set("c", "new");
    assert_eq!(value.get("a"), Some(&Json::Int(4)));
    assert_eq!(value.to_string(), r#"{"a":1,"b":2,"a":4,"c":"new"}"#);
    assert_eq!(Json::Int(1).get("a"), None);
    let mut number = Json::Int(1);
    number.set("a", true);
    assert_eq!(number, Json::object([("a", true)]));
}

#[test]
fn any_cut_of_a_text_is_refused_and_none_panics() {
    let text = r#"{"a":[1.5e3,true,null,"x\u00e4\ud83d\ude00\n"],"b":{"c":-7}}"#;
    assert!(Json::parse(text).is_ok());
    for end in 0..text.len() {
        assert!(Json::parse(&text[..end]).is_err(), "{}", &text[..end]);
    }
}
