//! All widgets of this process: their values, which of them the front end knows, and the order in
//! which it hears of changes.
//!
//! Invariants: one lock guards everything, so that messages leave in the order of the changes and a
//! copy of the process never finds half of one. Under it nothing of the user's runs: no callback,
//! and no handle's last drop (what is replaced leaves with [`Spent`]). A widget that the front end
//! knows is kept until it is closed; any other ends with its last handle.
//!
//! Lock order: standard output and error, this, and last those of the runtime. So nothing is printed
//! or flushed under it: `println!("{slider:?}")` comes here with standard output locked.

mod incoming;
mod outgoing;
mod rules;

pub(super) use incoming::Attached;

use super::any::AnyWidget;
use super::callback::{Callback, Event, On};
use super::spec::Spec;
use super::transport::{Comms, Transport};
use super::value::{Encoded, Value};
use crate::json::Json;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Most models that the front end knows at one time; a control has three (itself, layout, style).
/// Below the number of comms that the kernel takes, so that there is room for others.
pub(super) const MAX_LIVE: usize = 9_000;

pub(super) struct Store {
    me: Weak<Store>,
    tables: Mutex<Tables>,
    transport: Box<dyn Transport>,
}

#[derive(Default)]
struct Tables {
    models: HashMap<String, Entry>,
    /// How many of them are live.
    live: usize,
    /// How many have ever been opened.
    opened: u64,
    /// A thread will send what waits.
    timer: bool,
}

struct Entry {
    spec: &'static Spec,
    /// What differs from the first values of the specification.
    values: BTreeMap<&'static str, Value>,
    callbacks: Vec<Arc<Callback>>,
    live: Option<Live>,
}

/// Of a model that the front end knows.
struct Live {
    /// Keeps the model when the user has no handle any more.
    keep: AnyWidget,
    /// Place in the order of opening: references come before what refers to them.
    order: u64,
    pace: outgoing::Pace,
}

/// What has to be dropped, or called, when the lock is gone.
#[derive(Default)]
#[must_use]
struct Spent {
    values: Vec<Value>,
    widgets: Vec<AnyWidget>,
    calls: Vec<(Arc<Callback>, Event)>,
    gone: Vec<Arc<Callback>>,
    /// For stderr: somebody who prints a widget holds that lock and waits for ours.
    notes: Vec<String>,
}

impl Spent {
    /// Notes a failure. That there is no front end, or that it has closed the comm, is none.
    fn note(&mut self, result: io::Result<()>) {
        match result {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => self.notes.push(error.to_string()),
            _ => {}
        }
    }

    fn run(self) {
        for note in self.notes {
            eprintln!("dds::widgets: {note}");
        }
        for (callback, event) in self.calls {
            callback.call(event);
        }
    }
}

impl Entry {
    fn get(&self, name: &str) -> Value {
        match self.values.get(name) {
            Some(value) => value.clone(),
            None => self.spec.attr(name).map_or(Value::Json(Json::Null), Value::start),
        }
    }

    /// Sets without regard to the rules; tells whether that changed something.
    fn put(&mut self, name: &'static str, value: Value, spent: &mut Spent) -> bool {
        let before = self.get(name);
        let differs = before != value;
        let replaced = if differs { self.values.insert(name, value) } else { Some(value) };
        spent.values.extend(replaced);
        spent.values.push(before);
        differs
    }

    /// Adds the calls of who wants to know that `changed` did.
    fn collect_calls(&self, changed: &[&'static str], spent: &mut Spent) {
        for callback in &self.callbacks {
            match callback.on {
                On::Change(name) if changed.contains(&name) => {
                    spent.calls.push((Arc::clone(callback), Event::Change(self.get(name))));
                }
                _ => {}
            }
        }
    }

    fn encode_all(&self, path: &[&str]) -> Encoded {
        let mut encoded = Encoded::default();
        let (spec, text) = (self.spec, |value: &str| Value::Json(value.into()));
        encoded.add(path, "_model_module", &text(spec.module.name()));
        encoded.add(path, "_model_module_version", &text(spec.module.version()));
        encoded.add(path, "_model_name", &text(&spec.model_name()));
        encoded.add(path, "_view_module", &text(spec.view_module.name()));
        encoded.add(path, "_view_module_version", &text(spec.view_module.version()));
        encoded.add(path, "_view_name", &text(spec.view));
        for attr in spec.attrs() {
            encoded.add(path, attr.name, &self.get(attr.name));
        }
        encoded
    }

    fn encode(&self, names: &[&'static str]) -> Encoded {
        let mut encoded = Encoded::default();
        for name in names {
            encoded.add(&[], name, &self.get(name));
        }
        encoded
    }
}

impl Store {
    /// The widgets of this process; in a test those of its thread.
    pub(super) fn current() -> Arc<Store> {
        static OF_THIS_PROCESS: OnceLock<Arc<Store>> = OnceLock::new();
        #[cfg(test)]
        if let Some(store) = super::tests::store_of_this_test() {
            return store;
        }
        Arc::clone(OF_THIS_PROCESS.get_or_init(|| Store::new(|me| Box::new(Comms::new(me)))))
    }

    pub(super) fn new(transport: impl FnOnce(Weak<Store>) -> Box<dyn Transport>) -> Arc<Store> {
        Arc::new_cyclic(|me| Store {
            me: me.clone(),
            tables: Mutex::default(),
            transport: transport(me.clone()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Store::lock`], to send something that belongs behind what was printed so far.
    fn lock_to_send(&self) -> MutexGuard<'_, Tables> {
        let _ = io::stdout().flush();
        self.lock()
    }

    /// Calls back while no change of a widget is half done.
    pub(super) fn hold_still(&self, call: &mut dyn FnMut()) {
        let _tables = self.lock();
        call();
    }

    pub(super) fn add(&self, widget: &AnyWidget, first: Vec<(&'static str, Value)>) {
        let entry = Entry {
            spec: widget.spec(),
            values: first.into_iter().collect(),
            callbacks: Vec::new(),
            live: None,
        };
        self.lock().models.insert(widget.model_id().to_owned(), entry);
    }

    /// The last handle of a widget is gone.
    pub(super) fn forget(&self, id: &str) {
        let entry = self.lock().models.remove(id);
        drop(entry);
    }

    pub(super) fn get(&self, widget: &AnyWidget, name: &str) -> Value {
        let tables = self.lock();
        tables.models.get(widget.model_id()).map_or(Value::Json(Json::Null), |entry| entry.get(name))
    }

    /// The attributes that somebody has set and a reader cares for.
    pub(super) fn plain_values(&self, widget: &AnyWidget) -> Vec<(&'static str, Json)> {
        let tables = self.lock();
        let Some(entry) = tables.models.get(widget.model_id()) else { return Vec::new() };
        let plain = |(name, value): (&&'static str, &Value)| match value {
            Value::Json(json) if !name.starts_with('_') && *name != "outputs" => Some((*name, json.clone())),
            _ => None,
        };
        entry.values.iter().filter_map(plain).collect()
    }

    /// Sets attributes from Rust: the front end hears of what changed, then the callbacks do.
    pub(super) fn set(&self, widget: &AnyWidget, values: Vec<(&'static str, Value)>) {
        let mut spent = Spent::default();
        let mut tables = self.lock_to_send();
        let Some(entry) = tables.models.get_mut(widget.model_id()) else { return };
        let mut changed = Vec::new();
        for (name, value) in values {
            rules::assign(entry, name, value, &mut changed, &mut spent);
        }
        entry.collect_calls(&changed, &mut spent);
        self.tell(&mut tables, widget.model_id(), &changed, &mut spent);
        drop(tables);
        spent.run();
    }

    /// Changes a JSON attribute in its place: for large ones that grow.
    pub(super) fn edit(&self, widget: &AnyWidget, name: &'static str, change: impl FnOnce(&mut Json)) {
        let mut spent = Spent::default();
        let mut tables = self.lock_to_send();
        let Some(entry) = tables.models.get_mut(widget.model_id()) else { return };
        if !entry.values.contains_key(name) {
            let first = entry.get(name);
            entry.values.insert(name, first);
        }
        if let Some(Value::Json(json)) = entry.values.get_mut(name) {
            change(json);
        }
        entry.collect_calls(&[name], &mut spent);
        self.tell(&mut tables, widget.model_id(), &[name], &mut spent);
        drop(tables);
        spent.run();
    }

    pub(super) fn close(&self, widget: &AnyWidget) {
        let mut spent = Spent::default();
        let mut tables = self.lock_to_send();
        self.close_in(&mut tables, widget.model_id(), true, &mut spent);
        drop(tables);
        spent.run();
    }

    pub(super) fn add_callback(&self, widget: &AnyWidget, callback: Callback) {
        if let Some(entry) = self.lock().models.get_mut(widget.model_id()) {
            entry.callbacks.push(Arc::new(callback));
        }
    }

    pub(super) fn clear_callbacks(&self, widget: &AnyWidget) {
        let mut tables = self.lock();
        let entry = tables.models.get_mut(widget.model_id());
        let callbacks = entry.map(|entry| std::mem::take(&mut entry.callbacks));
        drop(tables);
        drop(callbacks);
    }
}

impl Tables {
    /// The live models in the order of opening.
    fn live_ids(&self) -> Vec<String> {
        let mut ids: Vec<(u64, &String)> = self
            .models
            .iter()
            .filter_map(|(id, entry)| entry.live.as_ref().map(|live| (live.order, id)))
            .collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id.clone()).collect()
    }

    fn live(&self, id: &str) -> Option<&Entry> {
        self.models.get(id).filter(|entry| entry.live.is_some())
    }
}
