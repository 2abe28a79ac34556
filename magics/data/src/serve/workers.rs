//! The threads that speak HTTP: one runtime of its own each, so that a connection stays on its thread and
//! nobody is woken for an answer that is at hand.
//!
//! A worker may read a small file itself and waits for nothing else; what takes longer goes to the runtime
//! that [`super::serve`] was called on.

use super::{MAX_CONNECTIONS, Service, connection};
use dds_core::{Error, Kind, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Two at least, so that one slow disk read does not hold up everybody.
const MIN_WORKERS: usize = 2;
const MAX_WORKERS: usize = 8;

/// A connection on its way to a worker.
struct Accepted {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    /// Among [`MAX_CONNECTIONS`].
    place: OwnedSemaphorePermit,
    /// Counts it among its worker's.
    counted: Arc<()>,
}

struct Worker {
    inbox: mpsc::Sender<Accepted>,
    /// Held once more by each of its connections.
    connections: Arc<()>,
    ended: oneshot::Receiver<()>,
}

pub struct Workers(Vec<Worker>);

impl Workers {
    /// Errors: `Unavailable` when no threads can be had.
    pub fn start(service: &Arc<Service>, stopped: &watch::Receiver<bool>) -> Result<Self> {
        let wanted = std::thread::available_parallelism().map_or(MIN_WORKERS, usize::from);
        let count = wanted.clamp(MIN_WORKERS, MAX_WORKERS);
        (0..count).map(|_| Worker::start(service.clone(), stopped.clone())).collect::<Result<_>>().map(Self)
    }

    /// Accepts connections until told to stop, then closes all and waits until they are gone.
    pub async fn accept(self, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let next = async {
                let place = places.clone().acquire_owned().await;
                (listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                next = next => next,
                _ = stopped.changed() => break,
            };
            let (Ok((stream, peer)), Ok(place)) = (accepted, place) else {
                // Out of file handles: leave the kernel's queue alone for a moment.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            let Ok(stream) = stream.into_std() else { continue };
            let Some(worker) = self.0.iter().min_by_key(|w| Arc::strong_count(&w.connections)) else { break };
            let counted = worker.connections.clone();
            // Never full: there are as many places as the queue is long.
            let _ = worker.inbox.send(Accepted { stream, peer, place, counted }).await;
        }
        drop(listener);
        for worker in self.0 {
            drop(worker.inbox);
            let _ = worker.ended.await;
        }
    }
}

impl Worker {
    fn start(service: Arc<Service>, stopped: watch::Receiver<bool>) -> Result<Self> {
        let failed = |e: std::io::Error| {
            Error::new(Kind::Unavailable, format!("cannot start the threads that serve: {e}"))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (inbox, incoming) = mpsc::channel(MAX_CONNECTIONS);
        let (end, ended) = oneshot::channel();
        let work = move || {
            runtime.block_on(work(service, incoming, stopped));
            drop(runtime);
            let _ = end.send(());
        };
        std::thread::Builder::new().name("dds-serve".into()).spawn(work).map_err(failed)?;
        Ok(Self { inbox, connections: Arc::default(), ended })
    }
}

async fn work(
    service: Arc<Service>,
    mut incoming: mpsc::Receiver<Accepted>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = incoming.recv() => {
                let Some(accepted) = accepted else { break };
                connections.spawn(speak(service.clone(), accepted));
            }
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    connections.shutdown().await;
}

async fn speak(service: Arc<Service>, accepted: Accepted) {
    let Accepted { stream, peer, place, counted } = accepted;
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    connection::speak(&service, stream, peer).await;
    drop((place, counted));
}
