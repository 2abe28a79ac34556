//! What cells show through the crate `dds`, while they run.

use super::stage::{Shown, Stage, Test};
use dds_core::MimeBundle;

pub const TESTS: &[Test] = &[
    ("displays_come_in_their_order", displays_come_in_their_order),
    ("displays_are_updated_and_cleared", displays_are_updated_and_cleared),
    ("one_cell_shows_one_type_twice", one_cell_shows_one_type_twice),
    ("own_types_are_displayed", own_types_are_displayed),
    ("large_displays_arrive_whole", large_displays_arrive_whole),
    ("threads_show_side_by_side", threads_show_side_by_side),
    ("statics_of_dds_live_on", statics_of_dds_live_on),
    ("containers_are_tables", containers_are_tables),
    ("values_of_crates_are_displayed", values_of_crates_are_displayed),
    ("dds_may_be_a_name_of_the_users", dds_may_be_a_name_of_the_users),
];

fn displays_come_in_their_order(stage: &mut Stage) {
    let (result, record) = stage.run(
        "print!(\"a\");\n\
         dds::display_id(\"x\", &dds::Mime::text(\"1\"));\n\
         println!(\"b\"); eprintln!(\"e\");\n\
         dds::display_id(\"y\", &dds::Mime::html(\"<b>2</b>\").text(\"2\"));\n\
         print!(\"c\");\n\
         3",
    );
    assert_eq!(result, Ok(Some(MimeBundle::text("3"))));
    let shown: Vec<Shown> =
        record.all().into_iter().filter(|shown| !matches!(shown, Shown::Err(_))).collect();
    assert_eq!(
        shown,
        [
            Shown::Out("a".into()),
            Shown::WithId("x".into(), false, MimeBundle::text("1")),
            Shown::Out("b\n".into()),
            Shown::WithId("y".into(), false, MimeBundle::text("2").with("text/html", "<b>2</b>")),
            Shown::Out("c".into()),
        ]
    );
    // The order is no accident of timing.
    let (_, record) = stage.run(
        "for i in 0..300 { print!(\"{i}\"); dds::display_id(format!(\"{i}\"), &dds::Mime::text(\"\")); }",
    );
    let all = record.all();
    assert_eq!(all.len(), 600);
    for (i, pair) in all.chunks(2).enumerate() {
        assert_eq!(pair[0], Shown::Out(i.to_string()));
        assert_eq!(pair[1], Shown::WithId(i.to_string(), false, MimeBundle::text("")));
    }
}

fn displays_are_updated_and_cleared(stage: &mut Stage) {
    stage.value("let bar = dds::display(&dds::Mime::text(\"0 %\"));");
    let (result, record) = stage.run("bar.update(&dds::Mime::text(\"100 %\")); dds::clear_output(true);");
    assert_eq!(result, Ok(None));
    let [Shown::WithId(id, true, bundle), Shown::Clear(true)] = &record.all()[..] else {
        panic!("{:?}", record.all());
    };
    assert_eq!(bundle, &MimeBundle::text("100 %"));
    let (_, record) = stage.run("print!(\"{}\", bar.id());");
    assert_eq!(&record.out(), id);
}

fn one_cell_shows_one_type_twice(stage: &mut Stage) {
    let (result, record) = stage.run(
        "dds::display(&dds::Mime::png([1, 2, 3])); dds::display(&dds::Mime::png([4]).metadata(\
         dds::Json::object([(\"image/png\", dds::Json::object([(\"width\", 7)]))])));",
    );
    assert_eq!(result, Ok(None));
    let bundles: Vec<MimeBundle> = record
        .all()
        .into_iter()
        .map(|shown| if let Shown::WithId(_, false, bundle) = shown { bundle } else { panic!("{shown:?}") })
        .collect();
    assert_eq!(bundles[0], MimeBundle::default().with("image/png", "AQID"));
    assert_eq!(bundles[1].data["image/png"], "BA==");
    assert_eq!(bundles[1].metadata["image/png"]["width"], 7);
}

fn own_types_are_displayed(stage: &mut Stage) {
    stage.value(
        "pub struct Red(pub &'static str);\n\
         impl dds::Display for Red {\n\
             fn bundle(&self) -> dds::Bundle { dds::Mime::html(format!(\"<i>{}</i>\", self.0)).text(self.0) }\n\
         }",
    );
    let (_, record) = stage.run("dds::display_id(\"r\", &Red(\"stop\"));");
    let bundle = MimeBundle::text("stop").with("text/html", "<i>stop</i>");
    assert_eq!(record.all(), [Shown::WithId("r".into(), false, bundle)]);
    let error = stage.error("struct Mute;\ndds::display(&Mute);");
    assert!(error.evalue.contains("`Mute` cannot be displayed"), "{error:?}");
    let text = super::stage::plain(&error.traceback);
    assert!(text.contains("implement `dds::Display`") && text.contains("2 | dds::display(&Mute);"), "{text}");
}

fn large_displays_arrive_whole(stage: &mut Stage) {
    let (_, record) = stage.run(
        "dds::display_id(\"big\", &dds::Mime::text(\"é\".repeat(3_000_000)));\n\
         println!(\"then\");\n\
         dds::display_id(\"too big\", &dds::Mime::text(\"x\".repeat(65 << 20)));",
    );
    let all = record.all();
    let [Shown::WithId(_, _, bundle), rest @ ..] = &all[..] else { panic!("{} shown", all.len()) };
    assert!(bundle.plain() == "é".repeat(3_000_000));
    assert_eq!(rest[0], Shown::Out("then\n".into()));
    assert!(record.err().contains("not shown: 65 MiB are too much"), "{}", record.err());
}

fn threads_show_side_by_side(stage: &mut Stage) {
    let (_, record) = stage.run(
        "std::thread::scope(|scope| for t in 0..4 { scope.spawn(move || for i in 0..25 {\n\
             dds::display_id(format!(\"{t}-{i}\"), &dds::Mime::text(format!(\"{t}\").repeat(50_000)));\n\
         }); });",
    );
    let all = record.all();
    assert_eq!(all.len(), 100);
    for shown in all {
        let Shown::WithId(id, false, bundle) = shown else { panic!("{shown:?}") };
        assert!(bundle.plain() == id.split('-').next().unwrap().repeat(50_000));
    }
}

fn statics_of_dds_live_on(stage: &mut Stage) {
    // A comm that one cell opens is known to the next: both use one copy of the crate.
    stage.value("let comm = dds::comm::Comm::open_as(\"static\", \"t\", dds::Json::Null)?;");
    stage.value(":opt 1\nlet before = 1;");
    assert_eq!(stage.value("comm.is_open()"), "true");
    assert_eq!(
        stage.value("dds::comm::Comm::open_as(\"static\", \"t\", dds::Json::Null).is_err()"),
        "true",
        "another level of optimisation brings another copy of the crate"
    );
    stage.value(":opt 0\ncomm.close();");
}

fn html(stage: &mut Stage, code: &str) -> (String, String) {
    let value = stage.run(code).0.unwrap().unwrap_or_else(|| panic!("{code} has no value"));
    let html = value.data.get("text/html").and_then(|html| html.as_str()).unwrap_or("");
    (value.plain().to_owned(), html.to_owned())
}

fn containers_are_tables(stage: &mut Stage) {
    let (text, table) = html(stage, "let list = vec![(1, \"a\"), (2, \"b\")]; list");
    assert_eq!(text, "[(1, \"a\"), (2, \"b\")]");
    assert!(table.contains("<tr><th>1</th><td>2</td><td>b</td></tr>"), "{table}");
    assert!(html(stage, "&list[..1]").1.contains("<td>a</td>"));
    let (text, table) = html(stage, "std::collections::BTreeMap::from([(\"k\", 1.5)])");
    assert_eq!((text.as_str(), table.contains("<th>k</th><td>1.5</td>")), ("{\"k\": 1.5}", true));
    let (text, table) = html(stage, "(0..1000).collect::<Vec<i32>>()");
    assert!(text.ends_with("998, 999]") && table.ends_with("<div>… 970 more rows</div>"), "{table}");
    assert_eq!(html(stage, "Some(vec![1])").0, "Some([1])");
    assert_eq!(html(stage, "Some(1)"), ("Some(1)".to_owned(), String::new()));
    // A type that has both is shown by its own way.
    stage.value(
        "#[derive(Debug)] pub struct Both;\n\
         impl dds::Display for Both { fn bundle(&self) -> dds::Bundle { dds::Mime::html(\"<u>\").text(\"own\") } }",
    );
    assert_eq!(html(stage, "Both"), ("own".to_owned(), "<u>".to_owned()));
    assert_eq!(html(stage, "Some(&Both)"), ("Some(own)".to_owned(), "<u>".to_owned()));
}

/// With crates that have the names and signatures which the displays rely on.
fn values_of_crates_are_displayed(stage: &mut Stage) {
    let home = stage.cwd.path().to_owned();
    let write = |name: &str, code: &str| {
        let folder = home.join(name);
        std::fs::create_dir_all(folder.join("src")).unwrap();
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n");
        std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        std::fs::write(folder.join("src/lib.rs"), code).unwrap();
    };
    write(
        "polars",
        "pub mod prelude {\n\
             #[derive(Debug)] pub struct DataFrame(pub Vec<Column>);\n\
             #[derive(Debug)] pub struct Column(pub &'static str, pub Vec<i32>);\n\
             impl DataFrame {\n\
                 pub fn get_columns(&self) -> &[Column] { &self.0 }\n\
                 pub fn height(&self) -> usize { self.0[0].1.len() }\n\
             }\n\
             impl Column {\n\
                 pub fn name(&self) -> &str { self.0 }\n\
                 pub fn get(&self, row: usize) -> Result<i32, ()> { self.1.get(row).copied().ok_or(()) }\n\
             }\n\
         }",
    );
    let code = ":dep polars = { path = \"polars\" }\nuse polars::prelude::*;\n\
                let frame = DataFrame(vec![Column(\"a\", vec![1, 2]), Column(\"b\", vec![3, 4])]); frame";
    let (text, table) = html(stage, code);
    assert!(text.starts_with("DataFrame("), "{text}");
    assert!(table.contains("<th>a</th><th>b</th>") && table.contains("<td>2</td><td>4</td>"), "{table}");
    assert!(html(stage, "&frame").1.contains("<td>3</td>"));
    // A version with other names is used without.
    write("image", "#[derive(Debug)] pub struct DynamicImage;");
    let (text, table) = html(stage, ":dep image = { path = \"image\" }\nimage::DynamicImage");
    assert_eq!((text.as_str(), table.as_str()), ("DynamicImage", ""));
}

fn dds_may_be_a_name_of_the_users(_: &mut Stage) {
    let mut stage = Stage::new();
    stage.value("pub mod dds { pub fn two() -> i32 { 2 } }");
    assert_eq!(stage.value("dds::two()"), "2");
    let folder = stage.cwd.path().join("mine");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = "[package]\nname = \"dds\"\nversion = \"9.0.0\"\nedition = \"2024\"\n[workspace]\n";
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(folder.join("src/lib.rs"), "pub fn three() -> i32 { 3 }").unwrap();
    assert_eq!(stage.value(":dep dds = { path = \"mine\" }\nlet n = ::dds::three(); n"), "3");
    assert_eq!(stage.value("vec![::dds::three()]"), "[3]");
}
