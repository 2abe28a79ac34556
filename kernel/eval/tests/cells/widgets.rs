//! Widgets of the crate `dds`, moved by messages as a page sends them: between cells, while a cell
//! runs, and after a checkpoint has been restored.

use super::stage::{Record, Stage, Test, eventually};
use dds_core::MimeBundle;
use dds_core::eval::{CellSink, CommDoor, CommKind, CommMessage, Evaluator};
use serde_json::{Value, json};
use std::sync::Arc;

pub const TESTS: &[Test] = &[
    ("slider_moves_between_cells", slider_moves_between_cells),
    ("slider_moves_while_a_cell_runs", slider_moves_while_a_cell_runs),
    ("buttons_and_outputs", buttons_and_outputs),
    ("uploads", uploads),
    ("a_page_is_loaded_again", a_page_is_loaded_again),
    ("widgets_after_an_interrupt", widgets_after_an_interrupt),
    ("widgets_after_a_crash_of_a_callback", widgets_after_a_crash_of_a_callback),
];

const VIEW: &str = "application/vnd.jupyter.widget-view+json";

/// The page, with all that cells and callbacks have shown to it.
struct Page {
    record: Arc<Record>,
}

impl Page {
    fn new() -> Arc<Page> {
        Arc::new(Page { record: Arc::default() })
    }

    fn sink(&self) -> Arc<dyn CellSink> {
        self.record.clone()
    }

    /// Runs a cell that must succeed, and shows its value as text.
    #[track_caller]
    fn run(self: &Arc<Self>, stage: &mut Stage, code: &str) -> String {
        self.show(stage, code).map(|bundle| bundle.plain().to_owned()).unwrap_or_default()
    }

    #[track_caller]
    fn show(self: &Arc<Self>, stage: &mut Stage, code: &str) -> Option<MimeBundle> {
        let cx = stage.cx();
        match stage.evaluator.execute(code, &self.sink(), &cx) {
            Ok(value) => value,
            Err(error) => panic!("{code:?} failed: {}", error.traceback.join("\n")),
        }
    }

    /// Runs a cell whose value is a widget, and gives its id.
    #[track_caller]
    fn widget(self: &Arc<Self>, stage: &mut Stage, code: &str) -> String {
        let bundle = self.show(stage, code).expect("a widget");
        let view = bundle.data.get(VIEW).unwrap_or_else(|| panic!("{bundle:?} {:?}", self.record.all()));
        assert_eq!((&view["version_major"], &view["version_minor"]), (&json!(2), &json!(0)));
        view["model_id"].as_str().unwrap().to_owned()
    }

    fn send(self: &Arc<Self>, door: &Arc<dyn CommDoor>, id: &str, kind: CommKind, data: Value) {
        let metadata = json!({"version": "1.0.0"});
        let message = CommMessage { comm_id: id.to_owned(), kind, data, metadata, buffers: Vec::new() };
        door.deliver(message, self.sink()).unwrap();
    }

    fn update(self: &Arc<Self>, door: &Arc<dyn CommDoor>, id: &str, state: Value) {
        self.send(
            door,
            id,
            CommKind::Message,
            json!({"method": "update", "state": state, "buffer_paths": []}),
        );
    }

    fn click(self: &Arc<Self>, door: &Arc<dyn CommDoor>, id: &str) {
        self.send(door, id, CommKind::Message, json!({"method": "custom", "content": {"event": "click"}}));
    }

    /// The data of the messages to one comm.
    fn told(&self, id: &str) -> Vec<Value> {
        let comms = self.record.comms().into_iter();
        comms.filter(|message| message.comm_id == id).map(|message| message.data).collect()
    }

    #[track_caller]
    fn wait_for(&self, id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.told(id).iter().any(&fits));
        self.told(id).into_iter().find(|data| fits(data)).unwrap()
    }
}

fn echo_of(state: Value) -> impl Fn(&Value) -> bool {
    move |data| data["method"] == "echo_update" && data["state"] == state
}

fn door(stage: &Stage) -> Arc<dyn CommDoor> {
    stage.evaluator.comms().expect("cells have comms")
}

/// A slider `n` with a callback that keeps what it is told in `seen`.
fn slider(stage: &mut Stage, page: &Arc<Page>) -> String {
    page.run(stage, "use dds::widgets::{IntSlider, Label, VBox, Button, Output, FileUpload, link};");
    page.run(stage, "let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::<i64>::new()));");
    page.run(stage, "let n = IntSlider::new(0..=100).value(5).description(\"n\");");
    page.widget(
        stage,
        "let kept = seen.clone();\n\
         n.on_change(move |value| { println!(\"n is {value}\"); kept.lock().unwrap().push(value); });\n\
         n",
    )
}

fn slider_moves_between_cells(stage: &mut Stage) {
    let page = Page::new();
    let id = slider(stage, &page);
    let opened = page.told(&id);
    assert_eq!(
        (&opened[0]["state"]["value"], &opened[0]["state"]["_model_name"]),
        (&json!(5), &json!("IntSliderModel"))
    );
    let later = Page::new();
    let door = door(stage);
    for value in [7, 8] {
        later.update(&door, &id, json!({"value": value}));
        later.wait_for(&id, "the echo", echo_of(json!({"value": value})));
    }
    later.record.wait_for_out("n is 8\n");
    assert_eq!(later.record.out(), "n is 7\nn is 8\n");
    assert_eq!(page.run(stage, "n.get_value()"), "8");
    assert_eq!(page.run(stage, "format!(\"{:?}\", seen.lock().unwrap())"), "\"[7, 8]\"");
    // And the other way round.
    page.run(stage, "n.set_value(500);");
    page.wait_for(&id, "an update", |data| data["method"] == "update" && data["state"]["value"] == 100);
}

fn slider_moves_while_a_cell_runs(stage: &mut Stage) {
    let page = Page::new();
    let id = slider(stage, &page);
    let door = door(stage);
    let user = std::thread::spawn({
        let (page, id) = (page.clone(), id.clone());
        move || {
            page.record.wait_for_out("waiting\n");
            page.update(&door, &id, json!({"value": 9}));
        }
    });
    let code = "println!(\"waiting\");\n\
                while seen.lock().unwrap().last() != Some(&9) { std::thread::yield_now(); }\n\
                n.set_value(n.get_value() + 1);\n\
                n.get_value()";
    assert_eq!(page.run(stage, code), "10");
    user.join().unwrap();
    page.wait_for(&id, "the echo", echo_of(json!({"value": 9})));
    assert_eq!(page.run(stage, "format!(\"{:?}\", seen.lock().unwrap())"), "\"[9, 10]\"");
}

fn buttons_and_outputs(stage: &mut Stage) {
    let page = Page::new();
    slider(stage, &page);
    let id = page.widget(
        stage,
        "use std::io::Write;\n\
         let (go, out) = (Button::new(\"Go\"), Output::new());\n\
         let (log, mut clicks) = (out.clone(), 0);\n\
         go.on_click(move || { clicks += 1; writeln!(&log, \"click {clicks}\").unwrap(); });\n\
         dds::display(&out);\n\
         go",
    );
    let door = door(stage);
    page.click(&door, &id);
    page.click(&door, &id);
    let out = page.run(stage, "out.model_id().to_owned()").replace('"', "");
    page.wait_for(&out, "the output", |data| data["state"]["outputs"][0]["text"] == "click 1\nclick 2\n");
}

fn uploads(stage: &mut Stage) {
    let page = Page::new();
    slider(stage, &page);
    let id = page.widget(stage, "let upload = FileUpload::new(); upload");
    let file = json!({"name": "../a.bin", "type": "", "size": 1 << 20, "last_modified": 1});
    let data = json!({
        "method": "update",
        "state": {"value": [file], "error": ""},
        "buffer_paths": [["value", 0, "content"]],
    });
    let buffers = vec![(0..1 << 20).map(|at| at as u8).collect()];
    let (kind, metadata) = (CommKind::Message, json!({}));
    let message = CommMessage { comm_id: id.clone(), kind, data, metadata, buffers };
    door(stage).deliver(message, page.sink()).unwrap();
    page.wait_for(&id, "the echo", echo_of(json!({"error": ""})));
    let code = "let f = upload.take(); (f[0].name.clone(), f[0].content.len(), f[0].content[0x1ff])";
    assert_eq!(page.run(stage, code), "(\"a.bin\", 1048576, 255)");
    assert!(page.record.comms().iter().all(|message| message.buffers.is_empty()));
}

fn a_page_is_loaded_again(stage: &mut Stage) {
    let page = Page::new();
    let id = slider(stage, &page);
    let door = door(stage);
    page.update(&door, &id, json!({"value": 42}));
    let again = Page::new();
    assert!(door.targets().iter().any(|target| target == "jupyter.widget.control"));
    again.send(&door, "control", CommKind::Open("jupyter.widget.control".into()), json!({}));
    again.send(&door, "control", CommKind::Message, json!({"method": "request_states"}));
    let answer = again.wait_for("control", "all states", |data| data["method"] == "update_states");
    let model = &answer["states"][&id];
    assert_eq!((&model["model_name"], &model["state"]["value"]), (&json!("IntSliderModel"), &json!(42)));
    let layout = model["state"]["layout"].as_str().unwrap().strip_prefix("IPY_MODEL_").unwrap();
    assert_eq!(answer["states"][layout]["model_name"], "LayoutModel");
}

fn widgets_after_an_interrupt(stage: &mut Stage) {
    let page = Page::new();
    let id = slider(stage, &page);
    let door = door(stage);
    page.update(&door, &id, json!({"value": 7}));
    page.wait_for(&id, "the echo", echo_of(json!({"value": 7})));
    page.run(stage, "");
    let interrupter = stage.evaluator.interrupter();
    let user = std::thread::spawn({
        let page = page.clone();
        move || {
            page.record.wait_for_out("started\n");
            interrupter.interrupt();
        }
    });
    let code = "let young = Label::new(\"young\");\n\
                dds::display(&young);\n\
                n.set_value(99);\n\
                println!(\"started\");\n\
                loop { std::hint::spin_loop(); }";
    let cx = stage.cx();
    assert_eq!(stage.evaluator.execute(code, &page.sink(), &cx).unwrap_err().ename, "Interrupted");
    user.join().unwrap();
    // What the page shows is what the cells have.
    assert_eq!(page.run(stage, "n.get_value()"), "7");
    let last = || page.told(&id).last().map(|data| (data["method"].clone(), data["state"]["value"].clone()));
    eventually("the slider goes back", || last() == Some((json!("update"), json!(7))));
    let comms = page.record.comms();
    let is_label = |message: &&CommMessage| message.data["state"]["_model_name"] == "LabelModel";
    let young = comms.iter().find(is_label).unwrap().comm_id.clone();
    assert!(comms.iter().any(|message| message.comm_id == young && message.kind == CommKind::Close));
    // And it still moves.
    page.update(&door, &id, json!({"value": 8}));
    page.wait_for(&id, "the echo", echo_of(json!({"value": 8})));
    assert_eq!(page.run(stage, "n.get_value()"), "8");
}

fn widgets_after_a_crash_of_a_callback(stage: &mut Stage) {
    let page = Page::new();
    let id = slider(stage, &page);
    page.run(stage, "n.on_change(|value| if value == 66 { std::process::abort() });");
    let door = door(stage);
    page.update(&door, &id, json!({"value": 6}));
    page.wait_for(&id, "the echo", echo_of(json!({"value": 6})));
    page.update(&door, &id, json!({"value": 66}));
    eventually("the slider goes back", || {
        page.told(&id).last().is_some_and(|data| data["method"] == "update" && data["state"]["value"] != 66)
    });
    page.update(&door, &id, json!({"value": 12}));
    page.wait_for(&id, "the echo", echo_of(json!({"value": 12})));
    assert_eq!(page.run(stage, "n.get_value()"), "12");
}
