//! A widget of any kind: what all kinds have in common.

use super::callback::{Callback, Event, On};
use super::layout::Layout;
use super::spec::{LAYOUT, Spec};
use super::store::Store;
use super::value::{Typed, Value};
use crate::json::Json;
use crate::{Bundle, Display, Mime};
use std::fmt::{self, Debug, Formatter};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Weak};

/// A handle on a widget whose kind is not part of its type, for lists of different widgets.
/// Cloning it does not copy the widget.
#[derive(Clone)]
pub struct AnyWidget {
    shared: Arc<Shared>,
}

// The values are behind a lock that no panic of the user's happens under.
impl UnwindSafe for AnyWidget {}
impl RefUnwindSafe for AnyWidget {}

struct Shared {
    id: String,
    spec: &'static Spec,
    store: Arc<Store>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.store.forget(&self.id);
    }
}

/// A handle that does not keep its widget alive.
pub(super) struct WeakWidget(Weak<Shared>);

impl WeakWidget {
    pub(super) fn upgrade(&self) -> Option<AnyWidget> {
        self.0.upgrade().map(|shared| AnyWidget { shared })
    }
}

impl AnyWidget {
    pub(super) fn new(spec: &'static Spec) -> AnyWidget {
        AnyWidget::in_store(spec, &Store::current())
    }

    fn in_store(spec: &'static Spec, store: &Arc<Store>) -> AnyWidget {
        let shared = Shared { id: super::id::fresh(), spec, store: Arc::clone(store) };
        let widget = AnyWidget { shared: Arc::new(shared) };
        let mut first = Vec::new();
        if spec.layout {
            first.push(("layout", Value::Model(AnyWidget::in_store(&LAYOUT, store))));
        }
        if let Some(style) = spec.style {
            first.push(("style", Value::Model(AnyWidget::in_store(style, store))));
        }
        store.add(&widget, first);
        widget
    }

    /// The id of the model and of its comm.
    pub fn model_id(&self) -> &str {
        &self.shared.id
    }

    /// The kind, such as `IntSlider`.
    pub fn kind(&self) -> &'static str {
        self.shared.spec.name
    }

    /// Runs `function` with the new value of an attribute, named as on the wire (`value`, `index`,
    /// `selected_index`, …), each time that it changes. Binary values are told as null.
    ///
    /// Where callbacks run: on the main thread while no cell runs, on a thread of their own while
    /// one does. None is called for what it has brought about itself.
    pub fn observe(&self, attribute: &str, mut function: impl FnMut(&Json) + Send + 'static) {
        let Some(attr) = self.shared.spec.attr(attribute) else {
            eprintln!("dds::widgets: {} has no attribute `{attribute}` to observe", self.kind());
            return;
        };
        self.on_value(attr.name, move |value: Json| function(&value));
    }

    /// Takes all callbacks away.
    pub fn unobserve_all(&self) {
        self.shared.store.clear_callbacks(self);
    }

    /// Takes the widget off the page. It keeps its value, and comes back when it is shown again.
    pub fn close(&self) {
        self.shared.store.close(self);
    }

    pub(super) fn spec(&self) -> &'static Spec {
        self.shared.spec
    }

    /// How many handles there are, that of the store and those of other widgets included.
    pub(super) fn handles(&self) -> usize {
        Arc::strong_count(&self.shared)
    }

    pub(super) fn downgrade(&self) -> WeakWidget {
        WeakWidget(Arc::downgrade(&self.shared))
    }

    pub(super) fn edit(&self, name: &'static str, change: impl FnOnce(&mut Json)) {
        self.shared.store.edit(self, name, change);
    }

    pub(super) fn get<T: Typed>(&self, name: &'static str) -> T {
        T::from_value(&self.shared.store.get(self, name))
    }

    pub(super) fn set(&self, name: &'static str, value: impl Typed) {
        self.shared.store.set(self, vec![(name, value.to_value())]);
    }

    /// Sets several at once: one message, and no state between.
    pub(super) fn set_all(&self, values: Vec<(&'static str, Value)>) {
        self.shared.store.set(self, values);
    }

    /// The model that an attribute (`layout`, `style`) refers to.
    pub(super) fn part(&self, name: &'static str) -> Option<AnyWidget> {
        self.shared.store.get(self, name).models().first().cloned()
    }

    pub(super) fn set_style(&self, name: &'static str, value: String) {
        if let Some(style) = self.part("style") {
            style.set(name, value);
        }
    }

    pub(super) fn set_layout(&self, layout: &Layout) {
        self.set_all(vec![("layout", Value::Model(layout.any()))]);
    }

    pub(super) fn layout(&self) -> Layout {
        self.part("layout").map_or_else(Layout::new, Layout::of)
    }

    pub(super) fn add_class(&self, class: &str) {
        let mut classes: Vec<String> = self.get("_dom_classes");
        if !classes.iter().any(|there| there == class) {
            classes.push(class.to_owned());
            self.set("_dom_classes", classes);
        }
    }

    pub(super) fn on_value<T: Typed>(
        &self,
        name: &'static str,
        mut function: impl FnMut(T) + Send + 'static,
    ) {
        let callback = Callback::new(On::Change(name), move |event| {
            if let Event::Change(value) = event {
                function(T::from_value(value));
            }
        });
        self.shared.store.add_callback(self, callback);
    }

    /// Runs `function` for the front end's messages `{"event": name}`.
    pub(super) fn on_event(&self, name: &'static str, mut function: impl FnMut() + Send + 'static) {
        let callback = Callback::new(On::Custom, move |event| match event {
            Event::Custom(content) if content.get("event").and_then(Json::as_str) == Some(name) => function(),
            _ => {}
        });
        self.shared.store.add_callback(self, callback);
    }
}

impl Display for AnyWidget {
    /// Makes the widget known to the front end, and refers to it. Text alone where there is none.
    fn bundle(&self) -> Bundle {
        let bundle = Mime::text(format!("{self:?}"));
        if !self.shared.store.open(self) {
            return bundle;
        }
        let view = Json::object([
            ("version_major", Json::Int(2)),
            ("version_minor", Json::Int(0)),
            ("model_id", self.model_id().into()),
        ]);
        bundle.with_json("application/vnd.jupyter.widget-view+json", view)
    }
}

impl PartialEq for AnyWidget {
    /// Whether both are handles of one widget.
    fn eq(&self, other: &AnyWidget) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Debug for AnyWidget {
    /// As ipywidgets: the kind, and the attributes that have been set.
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        /// Longest text of one attribute, in characters.
        const MAX_CHARS: usize = 60;
        let mut shown = out.debug_struct(self.kind());
        for (name, value) in self.shared.store.plain_values(self) {
            let text = value.to_string();
            match text.char_indices().nth(MAX_CHARS) {
                Some((end, _)) => shown.field(name, &format_args!("{}…", &text[..end])),
                None => shown.field(name, &format_args!("{text}")),
            };
        }
        shown.finish()
    }
}
