//! Output widgets and bars: what is kept, and how often the page is told.

use super::page::Page;
use crate::json::Json;
use crate::widgets::*;
use crate::{Display, Mime};
use std::io::Write;
use std::time::{Duration, Instant};

fn text(output: &Output) -> String {
    let outputs = output.get_outputs();
    outputs
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|output| output.get("text").and_then(Json::as_str))
        .collect()
}

#[test]
fn texts_that_follow_each_other_are_one_output() {
    let output = Output::new();
    writeln!(&output, "a{}", 1).unwrap();
    output.append_stdout("");
    output.append_stdout("b");
    output.append_stderr("!");
    output.display(&Mime::html("<b>x</b>").and(Mime::png([1, 2, 3, 4])));
    assert_eq!(
        output.get_outputs().to_string(),
        concat!(
            r#"[{"output_type":"stream","name":"stdout","text":"a1\nb"},"#,
            r#"{"output_type":"stream","name":"stderr","text":"!"},"#,
            r#"{"output_type":"display_data","data":{"text/html":"<b>x</b>","image/png":"AQIDBA=="},"#,
            r#""metadata":{}}]"#
        )
    );
    output.clear();
    assert_eq!(output.get_outputs().to_string(), "[]");
}

#[test]
fn what_is_displayed_inside_goes_there() {
    let page = Page::new();
    let (outer, inner) = (Output::new(), Output::new());
    let shown = outer.with(|| {
        crate::display(&Mime::text("outer"));
        inner.with(|| crate::display(&Mime::text("inner")));
        std::thread::spawn(|| ()).join().unwrap();
        page.front.shown().len()
    });
    assert_eq!(shown, 0);
    let plain = |output: &Output| {
        let first = output.get_outputs().as_array().unwrap()[0].clone();
        first.get("data").unwrap().get("text/plain").unwrap().as_str().unwrap().to_owned()
    };
    assert_eq!((plain(&outer), plain(&inner)), ("outer".to_owned(), "inner".to_owned()));
    // Also after a panic inside.
    let panics = std::panic::catch_unwind(|| outer.with(|| panic!("told to")));
    assert!(panics.is_err());
    crate::display(&Mime::text("page"));
    assert_eq!(page.front.shown().len(), 1);
}

#[test]
fn a_widget_inside_an_output_is_opened() {
    let page = Page::new();
    let output = Output::new();
    output.display(&Button::new("inside"));
    assert_eq!(page.take().iter().filter(|sent| sent.is_open()).count(), 3);
    assert!(output.get_outputs().to_string().contains("application/vnd.jupyter.widget-view+json"));
}

#[test]
fn old_outputs_go_when_there_are_too_many() {
    let output = Output::new();
    for number in 0..=MAX_OUTPUTS {
        output.display(&Mime::text(format!("{number}")));
    }
    let outputs = output.get_outputs();
    let outputs = outputs.as_array().unwrap();
    assert_eq!(outputs.len(), MAX_OUTPUTS);
    assert!(outputs[0].to_string().contains(r#""text/plain":"1""#));
}

#[test]
fn old_text_goes_when_there_is_too_much() {
    let output = Output::new();
    let room = MAX_OUTPUT_BYTES - "streamstdoutoutput_typenametext".len();
    output.append_stdout(&"ä".repeat(room / 2));
    assert_eq!(text(&output).len(), room / 2 * 2);
    output.append_stdout("end");
    let kept = text(&output);
    assert!(kept.starts_with("… (earlier text is gone)\nä") && kept.ends_with("äend"));
    assert!(kept.len() <= MAX_OUTPUT_BYTES / 2 + 64);
    output.clear();
    output.display(&Mime::text("x".repeat(MAX_OUTPUT_BYTES)));
    assert_eq!(text(&output), "an output larger than 4 MiB is not shown\n");
}

#[test]
fn a_bar_set_in_a_loop_does_not_flood_the_page_and_ends_right() {
    let page = Page::new();
    let (bar, output) = (IntProgress::new(0..=10_000), Output::new());
    crate::display(&VBox::new((&bar, &output)));
    page.take();
    for value in 1..=10_000 {
        bar.set_value(value);
        writeln!(&output, "{value}").unwrap();
    }
    assert_eq!(bar.get_value(), 10_000);
    let mut sent = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    let told = |sent: &[String], what: &str| sent.iter().any(|told| told.contains(what));
    while !(told(&sent, r#"{"value":10000}"#) && told(&sent, r"\n10000\n")) {
        assert!(Instant::now() < deadline, "the last values have not come: {} messages", sent.len());
        sent.extend(page.told());
        std::thread::yield_now();
    }
    assert!(sent.len() < 5_000, "{} messages", sent.len());
    // Anything else takes what waits along.
    bar.set_value(1);
    bar.set_value(2);
    bar.set_description("done");
    let last = page.told().pop().unwrap();
    assert!(last.contains(r#""value":2"#) && last.contains(r#""description":"done""#), "{last}");
}

#[test]
fn base64_is_the_usual_one() {
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
        assert_eq!(super::super::output::base64(bytes.as_bytes()), text);
    }
    let bundle = Mime::png([0xfb, 0xff]).bundle();
    let output = Output::new();
    output.display(&bundle);
    assert!(output.get_outputs().to_string().contains("+/8="));
}
