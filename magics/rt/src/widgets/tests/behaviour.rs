//! What the user and the cells do to each other through widgets.

use super::page::{Page, opened};
use crate::json::Json;
use crate::testing::text;
use crate::widgets::store::MAX_LIVE;
use crate::widgets::*;
use crate::wire::{CommFrameKind, What};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

/// A callback that keeps what it is called with.
fn heard<T: Send + 'static>() -> (impl FnMut(T) + Send + 'static, Arc<Mutex<Vec<T>>>) {
    let list = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&list);
    (move |value| kept.lock().unwrap().push(value), list)
}

#[test]
fn showing_opens_once_and_refers() {
    let page = Page::new();
    let slider = IntSlider::new(0..=100).value(5).description("n");
    assert_eq!(page.take(), []);
    crate::display(&slider);
    let ups = page.front.take();
    let opens = ups.iter().filter(|up| matches!(&up.what, What::Comm(_))).count();
    assert_eq!(opens, 3);
    let Some(What::Show(show)) = ups.last().map(|up| &up.what) else { panic!("shown after opening") };
    assert_eq!(text(show, "text/plain"), Some(r#"IntSlider { description: "n", value: 5 }"#));
    let view = format!(r#"{{"version_major":2,"version_minor":0,"model_id":"{}"}}"#, slider.model_id());
    assert_eq!(text(show, "application/vnd.jupyter.widget-view+json"), Some(view.as_str()));
    crate::display(&slider.clone());
    assert_eq!(page.take(), []);
}

#[test]
fn without_a_kernel_widgets_are_plain_values() {
    let slider = IntSlider::new(0..=10).value(3);
    let bundle = crate::Display::bundle(&slider);
    assert_eq!(bundle.get("text/plain"), Some("IntSlider { max: 10, value: 3 }"));
    assert_eq!(bundle.get("application/vnd.jupyter.widget-view+json"), None);
    slider.set_value(4);
    assert_eq!(slider.get_value(), 4);
}

#[test]
fn the_user_moves_a_slider() {
    let page = Page::new();
    let slider = IntSlider::new(0..=100);
    let (call, values) = heard();
    slider.on_change(call);
    crate::display(&slider);
    page.take();
    page.update(&slider, r#"{"value":7}"#);
    assert_eq!((slider.get_value(), values.lock().unwrap().clone()), (7, vec![7]));
    let sent = page.take();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].method(), sent[0].state()), ("echo_update", r#"{"value":7}"#.to_owned()));
    assert_ne!(sent[0].origin, 0);
    // The same again is echoed, and no change.
    page.update(&slider, r#"{"value":7.0}"#);
    assert_eq!(page.told(), [r#"echo_update {"value":7}"#]);
    assert_eq!(values.lock().unwrap().len(), 1);
}

#[test]
fn what_the_page_may_not_send_is_refused_and_set_right() {
    let page = Page::new();
    let slider = IntSlider::new(0..=10).value(3);
    crate::display(&slider);
    page.take();
    for (sent, answer) in [
        (r#"{"value":99}"#, r#"echo_update {"value":10}"#),
        (r#"{"value":"7"}"#, r#"echo_update {"value":10}"#),
        (r#"{"value":null}"#, r#"echo_update {"value":10}"#),
        (r#"{"value":1e300}"#, r#"echo_update {"value":10}"#),
        (r#"{"max":1000}"#, r#"echo_update {"max":10}"#),
        (r#"{"_view_count":-1}"#, r#"echo_update {"_view_count":null}"#),
        (r#"{"_view_count":2,"value":1}"#, r#"echo_update {"_view_count":2,"value":1}"#),
    ] {
        page.update(&slider, sent);
        assert_eq!(page.told(), [answer], "{sent}");
    }
    for sent in [r#"{"nonsense":1,"_model_name":"x"}"#, "[1]", "null", "7"] {
        page.update(&slider, sent);
        assert_eq!(page.told(), [""; 0], "{sent}");
    }
    for data in ["null", "[]", r#"{"method":7}"#, r#"{"method":"update"}"#, r#"{"method":"custom"}"#] {
        page.front.message(slider.model_id(), Json::parse(data).unwrap());
        assert_eq!(page.told(), [""; 0], "{data}");
    }
    assert_eq!((slider.get_value(), slider.get_max()), (1, 10));
}

#[test]
fn every_input_takes_its_own_type_only() {
    let page = Page::new();
    let (float, text, area) = (FloatSlider::new(0.0..=1.0), Text::new(), Textarea::new());
    let (check, dropdown, toggles) =
        (Checkbox::new(false), Dropdown::new(["a", "b"]), ToggleButtons::new(["c", "d"]));
    let tab = Tab::new((Label::new("x"), &text));
    let (bar, html) = (IntProgress::new(0..=10), HTML::new("<b>"));
    let all = VBox::new((&float, &area, &check, &dropdown, &toggles, &tab, &bar, &html));
    crate::display(&all);
    page.take();
    for (widget, sent, told) in [
        (float.any(), r#"{"value":1}"#, r#"{"value":1.0}"#),
        (float.any(), r#"{"value":true}"#, r#"{"value":1.0}"#),
        (text.any(), r#"{"value":"ä"}"#, r#"{"value":"ä"}"#),
        (text.any(), r#"{"value":1}"#, r#"{"value":"ä"}"#),
        (area.any(), r#"{"value":"a\nb"}"#, r#"{"value":"a\nb"}"#),
        (check.any(), r#"{"value":true}"#, r#"{"value":true}"#),
        (check.any(), r#"{"value":0}"#, r#"{"value":true}"#),
        (dropdown.any(), r#"{"index":1}"#, r#"{"index":1}"#),
        (dropdown.any(), r#"{"index":2}"#, r#"{"index":1}"#),
        (dropdown.any(), r#"{"index":-1}"#, r#"{"index":1}"#),
        (dropdown.any(), r#"{"_options_labels":["z"]}"#, r#"{"_options_labels":["a","b"]}"#),
        (toggles.any(), r#"{"index":1}"#, r#"{"index":1}"#),
        (tab.any(), r#"{"selected_index":1}"#, r#"{"selected_index":1}"#),
        (tab.any(), r#"{"selected_index":2}"#, r#"{"selected_index":1}"#),
        (bar.any(), r#"{"value":9}"#, r#"{"value":0}"#),
        (html.any(), r#"{"value":"<script>"}"#, r#"{"value":"<b>"}"#),
    ] {
        page.update(&widget, sent);
        assert_eq!(page.told(), [format!("echo_update {told}")], "{} {sent}", widget.kind());
    }
    assert_eq!((dropdown.get_value(), toggles.get_value()), ("b".to_owned(), "d".to_owned()));
    assert_eq!((float.get_value(), area.get_value()), (1.0, "a\nb".to_owned()));
    assert!(check.get_value());
}

#[test]
fn clicks_and_enter_are_told() {
    let page = Page::new();
    let (button, text) = (Button::new("Go"), Text::new().value("now"));
    let (mut clicked, clicks) = heard();
    button.on_click(move || clicked(()));
    let (submitted, texts) = heard();
    text.on_submit(submitted);
    crate::display(&HBox::new((&button, &text)));
    page.custom(&button, r#"{"event":"click"}"#);
    page.custom(&button, r#"{"event":"click"}"#);
    page.custom(&button, r#"{"event":"other"}"#);
    page.custom(&button, "7");
    page.custom(&text, r#"{"event":"submit"}"#);
    assert_eq!(clicks.lock().unwrap().len(), 2);
    assert_eq!(*texts.lock().unwrap(), ["now"]);
}

#[test]
fn ranges_stay_ranges() {
    let slider = IntSlider::new(std::ops::RangeInclusive::new(5, 3));
    assert_eq!((slider.get_min(), slider.get_max(), slider.get_value()), (5, 5, 5));
    slider.set_max(20);
    slider.set_value(100);
    assert_eq!(slider.get_value(), 20);
    slider.set_max(2);
    assert_eq!((slider.get_min(), slider.get_max(), slider.get_value()), (2, 2, 2));
    let float = FloatSlider::new(0.0..=1.0);
    float.set_value(0.5);
    float.set_value(f64::NAN);
    float.set_max(f64::INFINITY);
    assert_eq!((float.get_value(), float.get_max()), (0.5, 1.0));
    let huge = IntSlider::new(i64::MIN..=i64::MAX).value(i64::MAX);
    assert_eq!(huge.get_value(), i64::MAX);
}

#[test]
fn a_callback_may_set_its_own_widget_and_any_other() {
    let page = Page::new();
    let (slider, label) = (IntSlider::new(0..=100), Label::new(""));
    let (me, shown) = (slider.clone(), label.clone());
    let mut calls = 0;
    slider.on_change(move |value| {
        calls += 1;
        me.set_value(value + 1);
        me.set_description(format!("call {calls}"));
        shown.set_value(format!("{value}"));
    });
    crate::display(&VBox::new((&slider, &label)));
    page.take();
    page.update(&slider, r#"{"value":7}"#);
    assert_eq!((slider.get_value(), label.get_value()), (8, "7".to_owned()));
    assert_eq!(
        page.told(),
        [
            r#"echo_update {"value":7}"#,
            r#"update {"value":8}"#,
            r#"update {"description":"call 1"}"#,
            r#"update {"value":"7"}"#,
        ]
    );
    slider.set_value(20);
    assert_eq!((slider.get_value(), slider.get_description()), (21, "call 2".to_owned()));
}

#[test]
fn a_callback_that_panics_is_called_again() {
    let (page, _) = Page::with(|| Label::new("").any());
    let slider = IntSlider::new(0..=100);
    let (mut call, values) = heard();
    slider.on_change(move |value| {
        call(value);
        assert!(value > 1, "told to");
    });
    crate::display(&slider);
    page.update(&slider, r#"{"value":1}"#);
    page.update(&slider, r#"{"value":2}"#);
    assert_eq!(*values.lock().unwrap(), [1, 2]);
}

#[test]
fn what_happens_on_another_thread_meanwhile_is_told_afterwards() {
    let slider = IntSlider::new(0..=100);
    let (mut call, values) = heard();
    let (inside, is_inside) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    slider.on_change(move |value| {
        call(value);
        if value == 1 {
            inside.send(()).unwrap();
            may_go_on.recv().unwrap();
        }
    });
    let other = slider.clone();
    let running = std::thread::spawn(move || other.set_value(1));
    is_inside.recv().unwrap();
    // Not told at once, and only the last of them.
    slider.set_value(2);
    slider.set_value(3);
    assert_eq!(*values.lock().unwrap(), [1]);
    go_on.send(()).unwrap();
    running.join().unwrap();
    assert_eq!(*values.lock().unwrap(), [1, 3]);
}

#[test]
fn linked_widgets_follow_each_other() {
    let page = Page::new();
    let (slider, bar, small) =
        (IntSlider::new(0..=10).value(4), IntProgress::new(0..=10), IntSlider::new(0..=5));
    link(&slider, &bar);
    link(&bar, &small);
    let words = Label::new("");
    dlink(&slider, &words, |value| format!("{value}"));
    assert_eq!((bar.get_value(), small.get_value(), words.get_value()), (4, 4, "4".to_owned()));
    crate::display(&VBox::new((&slider, &small, &bar, &words)));
    page.update(&small, r#"{"value":2}"#);
    assert_eq!((slider.get_value(), bar.get_value(), words.get_value()), (2, 2, "2".to_owned()));
    page.update(&slider, r#"{"value":9}"#);
    assert_eq!((small.get_value(), words.get_value()), (5, "9".to_owned()));
    // A link does not keep the other end.
    let gone = IntSlider::new(0..=10);
    link(&slider, &gone);
    drop(gone);
    slider.set_value(1);
}

#[test]
fn a_page_that_is_loaded_again_gets_all_states() {
    let page = Page::new();
    let slider = IntSlider::new(0..=100).value(5);
    let image = Image::new(*b"\x89PNG");
    crate::display(&VBox::new((&slider, &image)));
    drop(Label::new("never shown"));
    page.update(&slider, r#"{"value":7}"#);
    let answer = page.reload("control");
    let states = answer.data.get("states").unwrap().as_object().unwrap();
    // Slider with layout and style, image and box with layout.
    assert_eq!(states.len(), 7);
    let mut open: Vec<&str> = Vec::new();
    for (id, model) in states {
        let state = model.get("state").unwrap();
        assert_eq!(state.get("_model_name"), model.get("model_name"));
        assert_eq!(state.get("_model_module_version"), model.get("model_module_version"));
        let references = ["layout", "style"].map(|key| state.get(key).and_then(Json::as_str));
        for reference in references.into_iter().flatten() {
            assert!(open.contains(&reference.strip_prefix("IPY_MODEL_").unwrap()));
        }
        open.push(id);
    }
    let slider_state =
        answer.data.get("states").unwrap().get(slider.model_id()).unwrap().get("state").unwrap();
    assert_eq!(slider_state.get("value"), Some(&Json::Int(7)));
    let path = format!(r#"[["{}","state","value"]]"#, image.model_id());
    assert_eq!(answer.data.get("buffer_paths").unwrap().to_string(), path);
    assert_eq!(answer.buffers, [b"\x89PNG".to_vec()]);

    // A second page; and questions that are none.
    page.reload("second");
    page.front.message("second", Json::object([("method", "other")]));
    page.front.open("old", "jupyter.widget.control", Json::Null);
    let told = page.take();
    assert_eq!((told.len(), &told[0].kind, told[0].id.as_str()), (1, &CommFrameKind::Close, "old"));

    page.front.message(slider.model_id(), Json::object([("method", "request_state")]));
    let told = page.take();
    assert_eq!((told.len(), told[0].method()), (1, "update"));
    assert_eq!(told[0].data.get("state"), Some(slider_state));
}

#[test]
fn closing_takes_what_belongs_to_a_widget_and_showing_brings_it_back() {
    let page = Page::new();
    let shared = Layout::new().width("10px");
    let (a, b) = (Label::new("a").layout(shared.clone()), Label::new("b").layout(shared));
    crate::display(&VBox::new((&a, &b)));
    page.take();
    a.close();
    a.close();
    a.set_value("later");
    // The label and its style; the layout is in use.
    let closed = page.take();
    assert_eq!(closed.len(), 2);
    assert!(closed.iter().all(|sent| sent.kind == CommFrameKind::Close));
    assert_eq!(page.reload("control").data.get("states").unwrap().as_object().unwrap().len(), 5);
    crate::display(&a);
    let opens = page.take();
    assert_eq!(opens.len(), 2);
    assert_eq!(opened(&opens[1]).get("value"), Some(&"later".into()));

    // The page closes one: nothing goes back for it.
    page.front.close(b.model_id());
    assert!(page.take().iter().all(|sent| sent.id != b.model_id()));
    b.set_value("c");
    assert_eq!(page.told(), [""; 0]);
}

#[test]
fn children_are_open_before_the_box_refers_to_them() {
    let page = Page::new();
    let tab = Tab::new(());
    crate::display(&tab);
    page.take();
    let label = Label::new("late");
    tab.set_children([&label]);
    let sent = page.take();
    assert_eq!(sent.iter().filter(|sent| sent.is_open()).count(), 3);
    let children =
        format!(r#"{{"children":["IPY_MODEL_{}"],"selected_index":0,"titles":[""]}}"#, label.model_id());
    assert_eq!(sent[3].state(), children);
    tab.set_title(0, "one");
    tab.set_title(7, "none");
    assert_eq!(page.told(), [r#"update {"titles":["one"]}"#]);
    tab.set_children(());
    assert_eq!(tab.get_selected_index(), None);
    page.take();
    // A box within itself is of no use, and no harm.
    let own = VBox::new(());
    own.set_children([&own]);
    crate::display(&own);
    assert_eq!(page.take().len(), 2);
}

#[test]
fn options_that_change_choose_the_first() {
    let page = Page::new();
    let dropdown = Dropdown::new(["a", "b"]).value("b");
    let (call, values) = heard();
    dropdown.on_change(call);
    crate::display(&dropdown);
    page.take();
    dropdown.set_options(["x", "y"]);
    assert_eq!(page.told(), [r#"update {"_options_labels":["x","y"],"index":0}"#]);
    dropdown.set_value("nothing");
    dropdown.set_index(1);
    dropdown.set_index(9);
    assert_eq!(*values.lock().unwrap(), ["x", "y", "x"]);
    dropdown.set_options([""; 0]);
    assert_eq!((dropdown.get_index(), dropdown.get_value()), (None, String::new()));
}

#[test]
fn a_restored_checkpoint_tells_the_values_of_then() {
    let page = Page::new();
    let slider = IntSlider::new(0..=10).value(3);
    crate::display(&slider);
    page.take();
    page.store.restored();
    let told = page.take();
    assert_eq!(told.len(), 3);
    let last = &told[2];
    assert_eq!((last.id.as_str(), last.method()), (slider.model_id(), "update"));
    assert_eq!(last.data.get("state").unwrap().get("value"), Some(&Json::Int(3)));
}

#[test]
fn a_callback_that_was_running_at_the_checkpoint_is_given_up() {
    let page = Page::new();
    let slider = IntSlider::new(0..=10);
    let (call, values) = heard();
    let store = Arc::clone(&page.store);
    // As in the copy of a process: whoever runs it will not come back.
    slider.on_change(move |_: i64| store.restored());
    slider.on_change(call);
    crate::display(&slider);
    page.update(&slider, r#"{"value":1}"#);
    page.update(&slider, r#"{"value":2}"#);
    assert_eq!(*values.lock().unwrap(), [1, 2]);
    page.take();
    slider.set_value(3);
    assert_eq!((page.told().len(), values.lock().unwrap().len()), (1, 3));
}

#[test]
fn printing_changing_and_forking_do_not_wait_for_each_other() {
    let page = Page::new();
    let (slider, store) = (IntSlider::new(0..=1000), Arc::clone(&page.store));
    crate::display(&slider);
    let (done, all_done) = mpsc::channel();
    let spawn = |work: Box<dyn Fn(i64) + Send>| {
        let done = done.clone();
        std::thread::spawn(move || {
            (0..1000).for_each(work);
            done.send(()).unwrap();
        });
    };
    let (set, shown) = (slider.clone(), slider.clone());
    spawn(Box::new(move |value| set.set_value(value)));
    // As println!("{slider:?}") does, and as the worker does around a fork.
    spawn(Box::new(move |_| {
        let _out = std::io::stdout().lock();
        assert!(format!("{shown:?}").starts_with("IntSlider"));
    }));
    spawn(Box::new(move |_| {
        let _out = std::io::stdout().lock();
        store.hold_still(&mut || {});
    }));
    for _ in 0..3 {
        all_done.recv_timeout(std::time::Duration::from_secs(60)).expect("they wait for each other");
    }
}

#[test]
fn widgets_without_handles_live_while_they_are_shown() {
    let page = Page::new();
    let id = {
        let slider = IntSlider::new(0..=10);
        slider.on_change(|value| {
            crate::display(&crate::Mime::text(format!("moved to {value}")));
        });
        crate::display(&slider);
        slider.model_id().to_owned()
    };
    page.take();
    page.front.message(&id, Json::parse(r#"{"method":"update","state":{"value":2}}"#).unwrap());
    let shown = page.front.shown();
    assert_eq!(text(&shown[0], "text/plain"), Some("moved to 2"));
}

#[test]
fn live_widgets_are_bounded() {
    let page = Page::new();
    let layouts: Vec<Layout> = (0..MAX_LIVE).map(|_| Layout::new()).collect();
    assert!(layouts.iter().all(|layout| page.store.open(&layout.any())));
    let label = Label::new("one more");
    assert!(!page.store.open(&label.any()));
    assert_eq!(crate::Display::bundle(&label).get("application/vnd.jupyter.widget-view+json"), None);
    for layout in &layouts[..3] {
        layout.any().close();
    }
    assert!(page.store.open(&label.any()));
}

#[test]
fn observing_names_any_attribute() {
    let slider = IntSlider::new(0..=10);
    let (mut call, values) = heard();
    slider.observe("max", move |value| call(value.clone()));
    slider.observe("nothing", |_| panic!("never"));
    slider.set_max(20);
    assert_eq!(*values.lock().unwrap(), [Json::Int(20)]);
    slider.unobserve_all();
    slider.set_max(30);
    assert_eq!(values.lock().unwrap().len(), 1);
}

#[test]
fn handles_can_be_kept_by_the_cells() {
    fn kept<T: std::any::Any + Send + Clone + std::fmt::Debug>() {}
    kept::<IntSlider>();
    kept::<Dropdown>();
    kept::<FileUpload>();
    kept::<Output>();
    kept::<VBox>();
    kept::<Layout>();
    kept::<AnyWidget>();
}
