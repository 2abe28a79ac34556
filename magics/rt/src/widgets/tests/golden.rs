//! What we open is what ipywidgets opens, for every kind of widget.

use super::page::{Page, Sent, opened};
use crate::json::Json;
use crate::widgets::*;
use std::collections::HashMap;

const GOLDEN: &str = include_str!("../../../tests/golden/widgets.json");

/// The same widgets as in `tests/golden/record.py`, in its words.
fn ours(case: &str) -> AnyWidget {
    let labels = || (Label::new("a"), Label::new("b"));
    match case {
        "IntSlider" => IntSlider::new(0..=100).any(),
        "IntSlider set" => IntSlider::new(-10..=10)
            .value(5)
            .step(2)
            .description("n")
            .orientation(Orientation::Vertical)
            .readout(false)
            .disabled(true)
            .continuous_update(false)
            .tooltip("tip")
            .any(),
        "FloatSlider" => FloatSlider::new(0.0..=100.0).any(),
        "FloatSlider set" => FloatSlider::new(0.0..=1.0).value(0.5).step(0.01).readout_format(".3f").any(),
        "Text" => Text::new().any(),
        "Text set" => Text::default().value("a").placeholder("name").continuous_update(false).any(),
        "Textarea" => Textarea::new().any(),
        "Textarea set" => Textarea::default().value("a\nb").rows(7).any(),
        "Checkbox" => Checkbox::new(false).any(),
        "Checkbox set" => Checkbox::new(true).description("yes").indent(false).any(),
        "Dropdown" => Dropdown::new(["a", "b"]).any(),
        "Dropdown set" => Dropdown::new(["a", "b"]).value("b").description("pick").any(),
        "Dropdown empty" => Dropdown::new([""; 0]).any(),
        "ToggleButtons" => ToggleButtons::new(["a", "b"]).any(),
        "ToggleButtons set" => ToggleButtons::new(["a", "b"])
            .index(1)
            .tooltips(["A", "B"])
            .icons(["check", "x"])
            .button_style(Look::Info)
            .any(),
        "Button" => Button::new("").any(),
        "Button set" => {
            Button::new("Go").icon("check").button_style(Look::Success).disabled(true).tooltip("start").any()
        }
        "FileUpload" => FileUpload::new().any(),
        "FileUpload set" => {
            FileUpload::default().accept("image/*").multiple(true).description("Pictures").any()
        }
        "Image" => Image::new([]).any(),
        "Image set" => Image::new(*b"\x89PNG").width("100").height("50").any(),
        "HTML" => HTML::new("").any(),
        "HTML set" => HTML::new("<b>x</b>").placeholder("p").description("d").any(),
        "Label" => Label::new("").any(),
        "Label set" => Label::new("x").any(),
        "IntProgress" => IntProgress::new(0..=100).any(),
        "IntProgress set" => {
            IntProgress::new(1..=10).value(3).bar_style(Look::Danger).orientation(Orientation::Vertical).any()
        }
        "FloatProgress" => FloatProgress::new(0.0..=100.0).any(),
        "Output" => Output::new().any(),
        "VBox" => VBox::new(()).any(),
        "VBox set" => VBox::new(labels()).box_style(Look::Info).any(),
        "HBox" => HBox::new(()).any(),
        "GridBox" => GridBox::new(()).any(),
        "Tab" => Tab::new(()).any(),
        "Tab set" => Tab::new(labels()).titles(["x", "y"]).selected_index(1).any(),
        "Accordion" => Accordion::new(()).any(),
        "Accordion set" => Accordion::new([Label::new("a")]).titles(["x"]).selected_index(0).any(),
        "Layout set" => Layout::new().width("50%").grid_template_columns("1fr 1fr").border("1px solid").any(),
        "styled" => {
            let layout = Layout::new().width("300px");
            IntSlider::new(0..=100)
                .description_width("initial")
                .handle_color("lightblue")
                .layout(layout)
                .any()
        }
        "styled button" => Button::new("").button_color("red").font_weight("bold").text_color("white").any(),
        "styled progress" => IntProgress::new(0..=100).bar_color("black").description_width("4em").any(),
        other => panic!("no widget here for the case {other:?}"),
    }
}

/// A model with what it refers to in the place of each reference, keys sorted, buffers in place.
fn whole(models: &HashMap<String, Json>, model: &Json) -> Json {
    match model {
        Json::Str(text) => match text.strip_prefix("IPY_MODEL_") {
            // What is referred to must be open already.
            Some(id) => whole(models, models.get(id).unwrap_or_else(|| panic!("{id} is not open"))),
            None => model.clone(),
        },
        Json::Array(items) => Json::Array(items.iter().map(|item| whole(models, item)).collect()),
        Json::Object(pairs) => {
            let mut pairs: Vec<_> =
                pairs.iter().map(|(key, value)| (key.clone(), whole(models, value))).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Json::Object(pairs)
        }
        _ => model.clone(),
    }
}

fn theirs(golden: &Json, case: &Json) -> Json {
    let mut models = HashMap::new();
    let mut last = Json::Null;
    for (place, model) in case.as_array().unwrap().iter().enumerate() {
        let model = match model {
            Json::Str(name) => golden.get("shared").unwrap().get(name).unwrap(),
            model => model,
        };
        assert_eq!(model.get("metadata").unwrap().to_string(), r#"{"version":"2.1.0"}"#);
        let mut state = model.get("state").unwrap().clone();
        put_buffers(&mut state, model.get("buffer_paths").unwrap(), model.get("buffers").unwrap());
        last = whole(&models, &state);
        models.insert(place.to_string(), state);
    }
    last
}

fn put_buffers(state: &mut Json, paths: &Json, buffers: &Json) {
    for (path, buffer) in paths.as_array().unwrap().iter().zip(buffers.as_array().unwrap()) {
        let [Json::Str(name)] = path.as_array().unwrap() else { panic!("{path}") };
        state.set(name, Json::object([("bytes", buffer.clone())]));
    }
}

fn from_messages(sent: &[Sent]) -> Json {
    let mut models = HashMap::new();
    let mut last = Json::Null;
    for message in sent {
        let mut state = opened(message).clone();
        let buffers = Json::array(message.buffers.iter().map(|bytes| output::base64(bytes)));
        put_buffers(&mut state, message.data.get("buffer_paths").unwrap(), &buffers);
        last = whole(&models, &state);
        models.insert(message.id.clone(), state);
    }
    last
}

#[test]
fn every_widget_opens_as_in_ipywidgets() {
    let golden = Json::parse(GOLDEN).unwrap();
    let cases = golden.get("cases").unwrap().as_object().unwrap();
    assert!(cases.len() > 40);
    for (name, case) in cases {
        let page = Page::new();
        let widget = ours(name);
        crate::display(&widget);
        assert_eq!(
            from_messages(&page.take()).to_string(),
            theirs(&golden, case).to_string(),
            "the case {name:?}"
        );
    }
}
