//! What a cell prints and shows, while it runs and as its value.

use super::stage::{Record, Shown, Stage, Test, plain};
use dds_core::MimeBundle;
use dds_core::eval::{CellSink, Evaluator};
use std::sync::Arc;

pub const TESTS: &[Test] = &[
    ("values", values),
    ("partial_lines_appear_at_once", partial_lines_appear_at_once),
    ("control_words_are_text", control_words_are_text),
    ("unflushed_text_belongs_to_its_cell", unflushed_text_belongs_to_its_cell),
    ("rich_values", rich_values),
    ("a_trait_of_the_users_shows_values", a_trait_of_the_users_shows_values),
    ("bytes_that_are_no_text", bytes_that_are_no_text),
    ("much_output", much_output),
    ("text_of_expressions", text_of_expressions),
];

fn values(stage: &mut Stage) {
    assert_eq!(stage.value("1 + 1"), "2");
    assert_eq!(stage.value("\"é\""), "\"é\"");
    assert_eq!(stage.value("let a = 1;"), "");
    assert_eq!(stage.value("println!(\"x\")"), "");
    assert_eq!(stage.value("for _ in 0..2 {}"), "");
    assert_eq!(stage.value("#[derive(Debug)] struct P { x: i32 }\nP { x: 3 }"), "P { x: 3 }");
    assert_eq!(stage.value("// only a comment"), "");
    assert_eq!(stage.value(""), "");
}

fn partial_lines_appear_at_once(stage: &mut Stage) {
    // The cell waits for a file that is made only when its first output has been seen.
    let sign = stage.cwd.path().join("seen");
    let code = "use std::io::Write; print!(\"50% E\"); std::io::stdout().flush().unwrap();\n\
                while !std::path::Path::new(\"seen\").exists() { std::thread::yield_now(); }\n\
                print!(\"\\r100%\");";
    let record = Arc::new(Record::default());
    let sink: Arc<dyn CellSink> = record.clone();
    let cx = stage.cx();
    let watcher = std::thread::spawn({
        let record = Arc::clone(&record);
        move || {
            record.wait_for_out("50% E");
            std::fs::write(sign, "").unwrap();
        }
    });
    stage.evaluator.execute(code, &sink, &cx).unwrap();
    watcher.join().unwrap();
    assert_eq!(record.out(), "50% E\r100%");
}

fn control_words_are_text(stage: &mut Stage) {
    let (result, record) =
        stage.run("print!(\"x\"); println!(\"EVCXR_EXECUTION_COMPLETE\"); eprint!(\"e\");");
    assert_eq!(result, Ok(None));
    assert_eq!(record.out(), "xEVCXR_EXECUTION_COMPLETE\n");
    assert_eq!(record.err(), "e");
}

fn unflushed_text_belongs_to_its_cell(stage: &mut Stage) {
    let (_, first) = stage.run("print!(\"no line feed\");");
    let (_, second) = stage.run("print!(\"next\");");
    assert_eq!((first.out().as_str(), second.out().as_str()), ("no line feed", "next"));
}

fn rich_values(stage: &mut Stage) {
    stage.value(
        "pub struct Html(&'static str);\n\
         impl Html {\n\
             pub fn evcxr_display(&self) {\n\
                 println!(\"EVCXR_BEGIN_CONTENT text/html\\n<b>{}</b>\\nEVCXR_END_CONTENT\", self.0);\n\
                 println!(\"EVCXR_BEGIN_CONTENT text/plain\\n{}\\nEVCXR_END_CONTENT\", self.0);\n\
             }\n\
         }",
    );
    let (result, record) = stage.run("Html(\"a\").evcxr_display(); println!(\"then\"); Html(\"b\")");
    let html = |name: &str| MimeBundle::text(name).with("text/html", format!("<b>{name}</b>"));
    assert_eq!(result, Ok(Some(html("b"))));
    assert_eq!(record.all(), [Shown::Display(html("a")), Shown::Out("then\n".into())]);
    let (result, record) = stage.run("for name in [\"a\", \"b\"] { Html(name).evcxr_display(); }");
    assert_eq!(result, Ok(None));
    assert_eq!(record.all(), [Shown::Display(html("a")), Shown::Display(html("b"))]);
    let (result, record) = stage.run("Html(\"c\").evcxr_display();");
    assert_eq!((result, record.all()), (Ok(None), vec![Shown::Display(html("c"))]));
}

fn a_trait_of_the_users_shows_values(_: &mut Stage) {
    let mut stage = Stage::new();
    assert_eq!(stage.value("1 + 1"), "2");
    stage.value(
        "pub trait Pretty { fn evcxr_display(&self); }\n\
         impl Pretty for i32 {\n\
             fn evcxr_display(&self) {\n\
                 println!(\"EVCXR_BEGIN_CONTENT text/html\\n<i>{self}</i>\\nEVCXR_END_CONTENT\");\n\
             }\n\
         }",
    );
    let (result, _) = stage.run("let n: i32 = 3; n");
    assert_eq!(result, Ok(Some(MimeBundle::default().with("text/html", "<i>3</i>"))));
}

fn bytes_that_are_no_text(stage: &mut Stage) {
    let (result, record) =
        stage.run("use std::io::Write; std::io::stdout().write_all(b\"a\\xffb\\n\").unwrap();");
    assert_eq!(result, Ok(None));
    assert_eq!(record.out(), "a\u{fffd}b\n");
}

fn much_output(stage: &mut Stage) {
    let (result, record) = stage.run("for i in 0..100_000 { println!(\"{i:099}\"); }");
    assert_eq!(result, Ok(None));
    let out = record.out();
    assert_eq!(out.len(), 10_000_000);
    assert!(out.ends_with("99999\n"));
}

fn text_of_expressions(stage: &mut Stage) {
    stage.value("let folder = \"data/é\".to_owned(); let rate = 0.25;");
    let cx = stage.cx();
    let mut text = |expression: &str| stage.evaluator.display_text(expression, expression, &cx);
    assert_eq!(text("folder"), Ok("data/é".into()));
    assert_eq!(text("rate * 2.0 // half"), Ok("0.5".into()));
    assert_eq!(text("\"a\\nb\\n\""), Ok("a\nb\n".into()));
    let error = text("folder + nothing").unwrap_err();
    let shown = plain(&error.traceback);
    assert_eq!(error.ename, "Error[E0425]");
    assert!(shown.contains("1 | folder + nothing"), "{shown}");
    assert!(!shown.contains("format!") && !shown.contains("CONTENT"), "{shown}");
    assert!(text(" ").is_err());
    for quoted in ["nothing + 1", "rate +"] {
        let code = format!("{{ let generated = {{\n{quoted}\n}}; generated.to_string() }}");
        let error = stage.evaluator.display_text(&code, quoted, &cx).unwrap_err();
        let shown = plain(&error.traceback);
        assert!(!shown.contains("generated") && !shown.contains(":2"), "{shown}");
        assert!(quoted == "rate +" || shown.contains("1 | nothing + 1"), "{shown}");
    }
    assert_eq!(stage.value("folder"), "\"data/é\"");
}
