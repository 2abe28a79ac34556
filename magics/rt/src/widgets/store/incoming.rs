//! Messages of the front end to the widgets. Nothing in them is trusted.

use super::{Entry, Spent, Store, rules};
use crate::json::Json;
use crate::widgets::callback::{Event, On};
use crate::widgets::spec::{Attr, Take};
use crate::widgets::upload;
use crate::widgets::value::{Bytes, Value};
use std::sync::Arc;

/// Most refused attributes of one message that are named on stderr.
const MAX_NAMED: usize = 3;
/// Most buffers of one message that are looked at.
const MAX_BUFFERS: usize = upload::MAX_FILES;

impl Store {
    /// A message on the comm of a widget. One that is not live any more hears nothing.
    pub(crate) fn on_message(&self, id: &str, data: &Json, buffers: &[Vec<u8>]) {
        match data.get("method").and_then(Json::as_str) {
            Some("update") => self.on_update(id, data, buffers),
            Some("request_state") => {
                let mut spent = Spent::default();
                spent.note(self.send_all(&self.lock_to_send(), id));
                spent.run();
            }
            Some("custom") => self.on_custom(id, data.get("content").unwrap_or(&Json::Null)),
            method => eprintln!("dds::widgets: the front end's message {method:?} is not known"),
        }
    }

    /// The front end has closed the comm of a widget.
    pub(crate) fn on_close(&self, id: &str) {
        let mut spent = Spent::default();
        let mut tables = self.lock_to_send();
        self.close_in(&mut tables, id, false, &mut spent);
        drop(tables);
        spent.run();
    }

    /// A message on a control comm: a page that was loaded again asks for the states of all live
    /// widgets. The answer, with its buffers.
    pub(crate) fn on_control(&self, data: &Json) -> Option<(Json, Vec<Bytes>)> {
        let method = data.get("method").and_then(Json::as_str);
        if method != Some("request_states") {
            eprintln!("dds::widgets: the front end's control message {method:?} is not known");
            return None;
        }
        let tables = self.lock();
        let (mut states, mut paths, mut buffers) = (Vec::new(), Vec::new(), Vec::new());
        for id in tables.live_ids() {
            let Some(entry) = tables.live(&id) else { continue };
            let encoded = entry.encode_all(&[&id, "state"]);
            // The protocol's text has the bare state here; ipywidgets and its front ends have this.
            let model = Json::object([
                ("model_name", Json::from(entry.spec.model_name())),
                ("model_module", entry.spec.module.name().into()),
                ("model_module_version", entry.spec.module.version().into()),
                ("state", Json::Object(encoded.state)),
            ]);
            states.push((id, model));
            paths.extend(encoded.paths);
            buffers.extend(encoded.buffers);
        }
        let answer = Json::object([
            ("method", Json::from("update_states")),
            ("states", Json::Object(states)),
            ("buffer_paths", Json::Array(paths)),
        ]);
        Some((answer, buffers))
    }

    fn on_custom(&self, id: &str, content: &Json) {
        let mut spent = Spent::default();
        let tables = self.lock();
        let Some(entry) = tables.live(id) else { return };
        for callback in entry.callbacks.iter().filter(|callback| callback.on == On::Custom) {
            spent.calls.push((Arc::clone(callback), Event::Custom(content.clone())));
        }
        drop(tables);
        spent.run();
    }

    /// Takes what may be taken. The echo that the protocol asks for carries the values as they are
    /// then: what was refused or brought into range is set right by it. What changed besides follows
    /// in an update. Uploaded bytes are in neither.
    fn on_update(&self, id: &str, data: &Json, buffers: &[Vec<u8>]) {
        let mut attached = Attached::new(data, buffers);
        let mut spent = Spent::default();
        let (mut received, mut refused) = (Vec::new(), Vec::new());
        let mut changed = Vec::new();

        let mut tables = self.lock_to_send();
        let Some(entry) = tables.models.get_mut(id).filter(|entry| entry.live.is_some()) else { return };
        for (name, json) in data.get("state").and_then(Json::as_object).unwrap_or_default() {
            let Some(attr) = entry.spec.attr(name) else {
                refused.push((name.clone(), "there is no such attribute".to_owned()));
                continue;
            };
            if !received.contains(&attr.name) {
                received.push(attr.name);
            }
            match taken(entry, attr, json, &mut attached) {
                Ok(value) => rules::assign(entry, attr.name, value, &mut changed, &mut spent),
                Err(reason) => refused.push((name.clone(), reason)),
            }
        }
        let kind = entry.spec.name;
        let besides: Vec<_> = changed.iter().copied().filter(|name| !received.contains(name)).collect();
        let silent = |name: &&'static str| entry.spec.attr(name).is_some_and(|attr| attr.take == Take::Files);
        let echoed: Vec<_> = received.iter().copied().filter(|name| !silent(name)).collect();
        entry.collect_calls(&changed, &mut spent);
        if !echoed.is_empty() {
            spent.note(self.send_state(&tables, id, "echo_update", &echoed));
        }
        if !besides.is_empty() {
            spent.note(self.send_state(&tables, id, "update", &besides));
        }
        drop(tables);
        for (name, reason) in refused.iter().take(MAX_NAMED) {
            spent.notes.push(format!("{kind}.{name} of the front end is not taken: {reason}"));
        }
        spent.run();
    }
}

/// The value that the front end has sent for `attr`, or why it is not taken.
fn taken(entry: &Entry, attr: &Attr, json: &Json, attached: &mut Attached) -> Result<Value, String> {
    let value = match (attr.take, json) {
        (Take::Nothing, _) => {
            let current = entry.get(attr.name);
            let same = current == Value::Json(json.clone());
            return if same { Ok(current) } else { Err("only the cells change it".to_owned()) };
        }
        (Take::Bool, Json::Bool(_)) | (Take::Text, Json::Str(_)) => Some(json.clone()),
        (Take::Int, number) => number.as_i64().map(Json::Int),
        (Take::Float, number) => number.as_f64().map(Json::Float),
        (Take::Count | Take::PlaceIn(_), Json::Null) => Some(Json::Null),
        (Take::Count, number) => number.as_i64().filter(|count| *count >= 0).map(Json::Int),
        (Take::PlaceIn(list), number) => {
            let count = entry.get(list).len();
            let place = number.as_i64().and_then(|place| usize::try_from(place).ok());
            place.filter(|place| *place < count).map(Json::from)
        }
        (Take::Files, files) => {
            return upload::received(attr.name, files, attached).map(|files| Value::Files(Arc::new(files)));
        }
        _ => None,
    };
    value.map(Value::Json).ok_or_else(|| "it has the wrong type or is out of bounds".to_owned())
}

/// The buffers of a message by their places in the state; each is taken at most once.
pub(crate) struct Attached<'a> {
    buffers: Vec<(&'a Json, Option<&'a Vec<u8>>)>,
}

impl<'a> Attached<'a> {
    fn new(data: &'a Json, buffers: &'a [Vec<u8>]) -> Attached<'a> {
        let paths = data.get("buffer_paths").and_then(Json::as_array).unwrap_or_default();
        let buffers = paths.iter().zip(buffers.iter().map(Some)).take(MAX_BUFFERS).collect();
        Attached { buffers }
    }

    pub(crate) fn take(&mut self, path: &Json) -> Option<&'a Vec<u8>> {
        let found = self.buffers.iter_mut().find(|(place, bytes)| *place == path && bytes.is_some());
        found.and_then(|(_, bytes)| bytes.take())
    }
}
