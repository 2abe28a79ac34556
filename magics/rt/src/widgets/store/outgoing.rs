//! What the front end is told: opening, closing, changes, and how often.

use super::{Live, MAX_LIVE, Spent, Store, Tables};
use crate::widgets::any::AnyWidget;
use crate::widgets::value::Value;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Least time between two messages about attributes that change in loops (a bar's value, outputs).
const PACE: Duration = Duration::from_millis(50);

/// When a model has last been told about, and what waits to be.
#[derive(Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    waiting: Vec<&'static str>,
}

impl Store {
    /// Makes a widget and all that it refers to known to the front end. Tells whether it now is.
    pub(crate) fn open(&self, widget: &AnyWidget) -> bool {
        let mut spent = Spent::default();
        let mut tables = self.lock_to_send();
        let opened = self.open_in(&mut tables, widget);
        drop(tables);
        let is_open = opened.is_ok();
        // Without a kernel widgets are plain values.
        spent.note(opened.map_err(|error| {
            io::Error::new(error.kind(), format!("{} is not shown: {error}", widget.kind()))
        }));
        spent.run();
        is_open
    }

    fn open_in(&self, tables: &mut Tables, widget: &AnyWidget) -> io::Result<()> {
        let id = widget.model_id();
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the widget is gone");
        let entry = tables.models.get_mut(id).ok_or_else(gone)?;
        if entry.live.is_some() {
            return Ok(());
        }
        if tables.live >= MAX_LIVE {
            let text = format!("there are {MAX_LIVE} live models; close() widgets that are not needed");
            return Err(io::Error::other(text));
        }
        // Before its references: a box may contain itself.
        entry.live = Some(Live { keep: widget.clone(), order: u64::MAX, pace: Pace::default() });
        tables.live += 1;
        let sent = self.open_references(tables, id).and_then(|()| {
            let entry = tables.models.get(id).ok_or_else(gone)?;
            let (data, buffers) = entry.encode_all(&[]).data(None);
            self.transport.open(id, data, &buffers)
        });
        let order = tables.opened;
        tables.opened += 1;
        let entry = tables.models.get_mut(id).ok_or_else(gone)?;
        match &mut entry.live {
            Some(live) if sent.is_ok() => live.order = order,
            // Not the last handle: the caller has one.
            live => {
                *live = None;
                tables.live -= 1;
            }
        }
        sent
    }

    fn open_references(&self, tables: &mut Tables, id: &str) -> io::Result<()> {
        let Some(entry) = tables.models.get(id) else { return Ok(()) };
        let references: Vec<AnyWidget> = entry.values.values().flat_map(Value::models).cloned().collect();
        references.iter().try_for_each(|reference| self.open_in(tables, reference))
    }

    /// Sends what changed, when the front end knows the model, or lets it wait for its turn.
    pub(super) fn tell(&self, tables: &mut Tables, id: &str, changed: &[&'static str], spent: &mut Spent) {
        let Some(entry) = tables.models.get_mut(id) else { return };
        let (spec, Some(live)) = (entry.spec, &mut entry.live) else { return };
        if changed.is_empty() {
            return;
        }
        let slow = |name: &&'static str| spec.attr(name).is_some_and(|attr| attr.paced);
        let due = live.pace.last.is_none_or(|last| last.elapsed() >= PACE);
        for name in changed {
            if !live.pace.waiting.contains(name) {
                live.pace.waiting.push(*name);
            }
        }
        if changed.iter().all(slow) && !due && self.set_timer(tables) {
            return;
        }
        spent.note(self.open_references(tables, id));
        self.send_waiting(tables, id, spent);
    }

    fn send_waiting(&self, tables: &mut Tables, id: &str, spent: &mut Spent) {
        let Some(live) = tables.models.get_mut(id).and_then(|entry| entry.live.as_mut()) else { return };
        let names = std::mem::take(&mut live.pace.waiting);
        live.pace.last = Some(Instant::now());
        if !names.is_empty() {
            spent.note(self.send_state(tables, id, "update", &names));
        }
    }

    pub(super) fn send_state(
        &self,
        tables: &Tables,
        id: &str,
        method: &str,
        names: &[&'static str],
    ) -> io::Result<()> {
        let Some(entry) = tables.live(id) else { return Ok(()) };
        let (data, buffers) = entry.encode(names).data(Some(method));
        self.transport.send(id, data, &buffers)
    }

    pub(super) fn send_all(&self, tables: &Tables, id: &str) -> io::Result<()> {
        let Some(entry) = tables.live(id) else { return Ok(()) };
        let (data, buffers) = entry.encode_all(&[]).data(Some("update"));
        self.transport.send(id, data, &buffers)
    }

    /// Sees to it that what waits is sent when nothing else happens. Tells whether it could.
    fn set_timer(&self, tables: &mut Tables) -> bool {
        if !tables.timer {
            let me = self.me.clone();
            let work = move || {
                thread::sleep(PACE);
                if let Some(store) = me.upgrade() {
                    store.flush();
                }
            };
            tables.timer = thread::Builder::new().name("dds widgets".into()).spawn(work).is_ok();
        }
        tables.timer
    }

    /// Sends everything that waits.
    pub(crate) fn flush(&self) {
        let mut spent = Spent::default();
        let mut tables = self.lock();
        tables.timer = false;
        let waits = |entry: &super::Entry| entry.live.as_ref().is_some_and(|l| !l.pace.waiting.is_empty());
        let ids: Vec<String> =
            tables.models.iter().filter(|(_, entry)| waits(entry)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            spent.note(self.open_references(&mut tables, &id));
            self.send_waiting(&mut tables, &id, &mut spent);
        }
        drop(tables);
        spent.run();
    }

    /// With `tell` the front end hears of it. A layout or style that only this widget had goes too.
    pub(super) fn close_in(&self, tables: &mut Tables, id: &str, tell: bool, spent: &mut Spent) {
        let Some(entry) = tables.models.get_mut(id) else { return };
        let Some(live) = entry.live.take() else { return };
        let parts = ["layout", "style"].map(|part| entry.get(part).models().first().cloned());
        tables.live -= 1;
        spent.widgets.push(live.keep);
        self.transport.close(id, tell);
        for part in parts.into_iter().flatten() {
            // The store's, this widget's and the one in hand.
            if part.handles() <= 3 {
                self.close_in(tables, part.model_id(), true, spent);
            }
            spent.widgets.push(part);
        }
    }

    /// This process is a checkpoint that has taken over: the front end is told the values as they
    /// were then. Comms that are younger are closed by the comm layer; nobody knows them here.
    pub(crate) fn restored(&self) {
        let mut spent = Spent::default();
        let mut tables = self.lock();
        // Threads do not survive.
        tables.timer = false;
        for id in tables.live_ids() {
            let Some(entry) = tables.models.get_mut(&id) else { continue };
            if let Some(live) = &mut entry.live {
                live.pace = Pace::default();
            }
            // One that was running then went with its thread.
            let callbacks = std::mem::take(&mut entry.callbacks);
            let (gone, kept): (Vec<_>, Vec<_>) = callbacks.into_iter().partition(|it| it.is_running());
            entry.callbacks = kept;
            if !gone.is_empty() {
                let kind = entry.spec.name;
                spent.notes.push(format!(
                    "a callback of {kind} was running when the checkpoint was taken, and is gone; run the cell \
                     that sets it again"
                ));
            }
            spent.gone.extend(gone);
            self.transport.listen(&id);
            spent.note(self.send_all(&tables, &id));
        }
        drop(tables);
        spent.run();
    }
}
