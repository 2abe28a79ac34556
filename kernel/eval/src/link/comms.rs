//! Comms between the page and the cells: which are open, which targets there are, and which
//! messages are on their way to a callback.

use super::{Out, ROOM, Shared, Show};
use crate::frames::ToChild;
use crate::socket;
use dds::wire::{self, CommFrame, CommFrameKind, Down};
use dds_core::eval::{CellSink, CommDoor, CommKind, CommMessage};
use dds_core::{Error, Kind, Result};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

/// Most messages that wait for their callbacks, and most bytes of them.
const MAX_WAITING: usize = 1000;
const MAX_WAITING_BYTES: usize = 2 * wire::MAX_MESSAGE;
/// Most comms of one session, and most targets.
const MAX_COMMS: usize = 10_000;
const MAX_TARGETS: usize = 1000;

#[derive(Default)]
pub(super) struct Comms {
    targets: BTreeSet<String>,
    open: BTreeSet<String>,
    /// Messages handed to the child whose callbacks have not ended: sink and length.
    waiting: BTreeMap<u64, (Arc<dyn CellSink>, usize)>,
    waiting_bytes: usize,
    handling: Option<u64>,
    /// Number of the last delivery.
    last: u64,
}

impl Comms {
    /// A message of the cells: whether it is to be passed on.
    pub(super) fn note(&mut self, message: &CommMessage) -> bool {
        match &message.kind {
            CommKind::Open(_) => self.open.len() < MAX_COMMS && self.open.insert(message.comm_id.clone()),
            CommKind::Message => self.open.contains(&message.comm_id),
            CommKind::Close => self.open.remove(&message.comm_id),
        }
    }

    pub(super) fn target(&mut self, name: String, registered: bool) {
        if !registered {
            self.targets.remove(&name);
        } else if self.targets.len() < MAX_TARGETS {
            self.targets.insert(name);
        }
    }

    pub(super) fn begin(&mut self, number: u64) {
        self.handling = Some(number);
    }

    pub(super) fn end(&mut self, number: u64) {
        self.handling = None;
        self.forget(number);
    }

    fn forget(&mut self, number: u64) {
        if let Some((_, bytes)) = self.waiting.remove(&number) {
            self.waiting_bytes -= bytes;
        }
    }

    pub(super) fn is_handling(&self) -> bool {
        self.handling.is_some()
    }

    pub(super) fn handling_sink(&self) -> Option<Arc<dyn CellSink>> {
        self.sink_of(self.handling?)
    }

    pub(super) fn sink_of(&self, number: u64) -> Option<Arc<dyn CellSink>> {
        self.waiting.get(&number).map(|(sink, _)| Arc::clone(sink))
    }

    /// The process that had them is gone.
    pub(super) fn forget_deliveries(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.handling = None;
    }

    /// A new process without any comm.
    pub(super) fn close_all(&mut self, sink: Option<&Arc<dyn CellSink>>, out: &mut Out) {
        self.forget_deliveries();
        self.reconcile(Vec::new(), Vec::new(), sink, out);
    }

    /// A checkpoint has taken over, with these comms and targets. The page is told of those that
    /// it does not have; returns those that the page has closed since.
    pub(super) fn reconcile(
        &mut self,
        comms: Vec<String>,
        targets: Vec<String>,
        sink: Option<&Arc<dyn CellSink>>,
        out: &mut Out,
    ) -> Vec<String> {
        let comms: BTreeSet<String> = comms.into_iter().collect();
        for id in self.open.difference(&comms) {
            let close = message(id.clone(), CommKind::Close);
            out.push(sink.cloned(), Show::Comm(close));
        }
        let forgotten = comms.difference(&self.open).cloned().collect();
        self.open.retain(|id| comms.contains(id));
        self.targets = targets.into_iter().take(MAX_TARGETS).collect();
        forgotten
    }

    /// A place among the deliveries, with its number.
    fn admit(&mut self, sink: Arc<dyn CellSink>, bytes: usize) -> Result<u64> {
        if self.waiting.len() >= MAX_WAITING || self.waiting_bytes + bytes > MAX_WAITING_BYTES {
            let text = format!("{} messages wait for their callbacks", self.waiting.len());
            return Err(Error::new(Kind::Limit, text).hint("Interrupt the callback that does not end."));
        }
        self.last += 1;
        self.waiting.insert(self.last, (sink, bytes));
        self.waiting_bytes += bytes;
        Ok(self.last)
    }
}

impl CommDoor for Shared {
    fn targets(&self) -> Vec<String> {
        self.lock().comms.targets.iter().cloned().collect()
    }

    fn deliver(&self, message: CommMessage, sink: Arc<dyn CellSink>) -> Result<()> {
        let CommMessage { comm_id, kind, data, metadata, buffers } = message;
        let (data, metadata) = (data.to_string(), metadata.to_string());
        let bytes = buffers.iter().map(Vec::len).sum::<usize>() + data.len() + metadata.len();
        let mut state = self.lock();
        if state.children == 0 {
            return Err(gone());
        }
        let number = state.comms.admit(sink, bytes)?;
        let kind = match kind {
            CommKind::Open(target) => {
                state.comms.open.insert(comm_id.clone());
                CommFrameKind::Open(target)
            }
            CommKind::Message => CommFrameKind::Message,
            CommKind::Close => {
                state.comms.open.remove(&comm_id);
                CommFrameKind::Close
            }
        };
        drop(state);
        let comm = CommFrame { id: comm_id, kind, data, metadata, buffers };
        let sent = self.send_down(&Down { number, comm });
        if sent.is_err() {
            self.lock().comms.forget(number);
        }
        sent
    }
}

impl Shared {
    fn send_down(&self, down: &Down) -> Result<()> {
        let message = down.encode();
        if message.len() > wire::MAX_MESSAGE {
            let most = wire::MAX_MESSAGE >> 20;
            let text = format!("a comm message of {} bytes; at most {most} MiB", message.len());
            return Err(Error::new(Kind::Limit, text));
        }
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        for (flags, piece) in wire::pieces(&message) {
            let frame = ToChild::Comm(flags, piece.to_vec()).encode();
            socket::send_within(self.ours.as_fd(), &frame, ROOM).map_err(|_| gone())?;
        }
        Ok(())
    }

    /// Tells the child of comms that the page has closed while a process ran that is gone.
    pub(super) fn close_in_child(self: &Arc<Self>, ids: Vec<String>) {
        let shared = Arc::clone(self);
        // Not on the thread that takes the child's frames: it must not wait for the child.
        let closing = std::thread::Builder::new().name("comms".into()).spawn(move || {
            for id in ids {
                let (data, metadata) = ("{}".to_owned(), "{}".to_owned());
                let comm = CommFrame { id, kind: CommFrameKind::Close, data, metadata, buffers: Vec::new() };
                let _ = shared.send_down(&Down { number: 0, comm });
            }
        });
        if let Err(error) = closing {
            tracing::warn!("no thread can be started: {error}");
        }
    }
}

fn message(comm_id: String, kind: CommKind) -> CommMessage {
    CommMessage { comm_id, kind, data: json!({}), metadata: json!({}), buffers: Vec::new() }
}

fn gone() -> Error {
    Error::new(Kind::Unavailable, "the process of the cells does not take messages")
        .hint("run a cell, or restart the kernel")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dds_core::MimeBundle;
    use dds_core::eval::Stream;

    struct Nowhere;

    impl CellSink for Nowhere {
        fn stream(&self, _: Stream, _: &str) {}
        fn display(&self, _: &MimeBundle) {}
        fn display_with_id(&self, _: &MimeBundle, _: &str, _: bool) {}
    }

    fn sink() -> Arc<dyn CellSink> {
        Arc::new(Nowhere)
    }

    #[test]
    fn deliveries_are_bounded_in_number_and_bytes() {
        let mut comms = Comms::default();
        for number in 1..=MAX_WAITING as u64 {
            assert_eq!(comms.admit(sink(), 1).unwrap(), number);
        }
        assert_eq!(comms.admit(sink(), 1).unwrap_err().kind, Kind::Limit);
        comms.begin(3);
        assert!(comms.is_handling() && comms.handling_sink().is_some());
        comms.end(3);
        assert!(!comms.is_handling() && comms.sink_of(3).is_none());
        assert!(comms.admit(sink(), 1).is_ok());
        comms.forget_deliveries();
        assert!(comms.admit(sink(), MAX_WAITING_BYTES).is_ok());
        assert_eq!(comms.admit(sink(), 1).unwrap_err().kind, Kind::Limit);
    }

    #[test]
    fn a_checkpoint_brings_its_comms_back() {
        let mut comms = Comms::default();
        for id in ["old", "young"] {
            assert!(comms.note(&message(id.into(), CommKind::Open("t".into()))));
        }
        assert!(!comms.note(&message("old".into(), CommKind::Open("t".into()))));
        comms.target("t".into(), true);
        let mut out = Out::default();
        let (kept, sink) = (vec!["old".to_owned(), "closed".to_owned()], sink());
        assert_eq!(comms.reconcile(kept, vec!["u".into()], Some(&sink), &mut out), ["closed"]);
        let closed = out.0.iter().map(|(_, show)| match show {
            Show::Comm(message) => (message.comm_id.as_str(), message.kind.clone()),
            _ => panic!("not a comm"),
        });
        assert_eq!(closed.collect::<Vec<_>>(), [("young", CommKind::Close)]);
        assert!(!comms.note(&message("young".into(), CommKind::Message)));
        assert!(comms.note(&message("old".into(), CommKind::Message)));
        assert_eq!(comms.targets.iter().collect::<Vec<_>>(), ["u"]);
    }
}
