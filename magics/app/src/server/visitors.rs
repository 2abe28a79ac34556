//! Who is here: one session per visitor, made with the first form that is sent, ended when it has
//! been idle too long.
//!
//! A session owns a kernel and its upload folder; nothing is shared between two sessions. Looking
//! at the page makes no session, so link previews and robots cost nothing.

use super::dialogue::{Failed, Line};
use super::gate::random_name;
use super::pool::{self, Pool};
use super::upload::Received;
use dds_core::form::{Answer, Form, Submission};
use dds_core::mime::escape_html;
use dds_core::{Error, Kind, Result};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Forms that one visitor may have under way; the others wait for the first.
pub(crate) const MAX_PENDING: usize = 4;

/// Random hexadecimal digits in an upload's name: unique within its session's folder.
const UPLOAD_NAME_DIGITS: usize = 12;

/// Monotonic time since some beginning.
pub trait Clock: Send + Sync {
    fn now(&self) -> Duration;
}

/// The machine's clock.
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Why a visitor got no answer.
pub(crate) enum Denied {
    /// As many visitors as the app takes are here.
    Full,
    /// This visitor has enough forms under way.
    Busy,
    Failed(Error),
}

struct Visitor {
    line: tokio::sync::Mutex<Option<Line>>,
    /// Milliseconds of the clock.
    seen: AtomicU64,
    pending: AtomicUsize,
    ended: AtomicBool,
    _place: OwnedSemaphorePermit,
}

pub(crate) struct Visitors {
    all: Mutex<HashMap<String, Arc<Visitor>>>,
    places: Arc<Semaphore>,
    pool: Arc<Pool>,
    clock: Arc<dyn Clock>,
    idle: Duration,
    answer_timeout: Duration,
    closing: tokio::sync::watch::Sender<bool>,
}

impl Visitors {
    pub(crate) fn new(
        pool: Arc<Pool>,
        clock: Arc<dyn Clock>,
        max: usize,
        idle: Duration,
        answer_timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            all: Mutex::default(),
            places: Arc::new(Semaphore::new(max)),
            pool,
            clock,
            idle,
            answer_timeout,
            closing: tokio::sync::watch::channel(false).0,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Notes that these visitors are still there.
    pub(crate) fn touch<'i>(&self, ids: impl Iterator<Item = &'i str>) {
        let all = self.lock();
        for v in ids.filter_map(|id| all.get(id)) {
            v.seen.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Hands a submission to the kernel of the visitor who has one of `ids`, or of a new one.
    /// Gives the session's id with the answer. `form` is the `index`th of the page.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        ids: Vec<String>,
        form: Form,
        index: usize,
        received: Received,
    ) -> (Option<String>, Result<Answer, Denied>) {
        let (id, visitor) = match self.enter(&ids).await {
            Ok(found) => found,
            Err(denied) => return (None, Err(denied)),
        };
        if visitor.pending.fetch_add(1, Ordering::SeqCst) >= MAX_PENDING {
            visitor.pending.fetch_sub(1, Ordering::SeqCst);
            return (Some(id), Err(Denied::Busy));
        }
        // A task of its own: a browser that goes away must not leave a half-asked kernel behind.
        let me = self.clone();
        let work = tokio::spawn(async move {
            let mut closing = me.closing.subscribe();
            let outcome = tokio::select! {
                o = me.ask(&visitor, &form, index, received) => o,
                _ = closing.wait_for(|c| *c) => Err(ending()),
            };
            visitor.seen.store(me.now(), Ordering::Relaxed);
            visitor.pending.fetch_sub(1, Ordering::SeqCst);
            outcome
        });
        let outcome = work.await.unwrap_or_else(|e| Err(Error::internal(format!("a submission ended: {e}"))));
        (Some(id), outcome.map_err(Denied::Failed))
    }

    /// Ends the sessions that were idle too long. Gives their number.
    pub(crate) async fn expire(&self) -> usize {
        let now = self.now();
        let idle = self.idle.as_millis() as u64;
        let gone: Vec<Arc<Visitor>> = {
            let mut all = self.lock();
            let ids: Vec<String> = all
                .iter()
                .filter(|(_, v)| {
                    v.pending.load(Ordering::SeqCst) == 0
                        && now.saturating_sub(v.seen.load(Ordering::Relaxed)) > idle
                })
                .map(|(id, _)| id.clone())
                .collect();
            ids.iter().filter_map(|id| all.remove(id)).collect()
        };
        let count = gone.len();
        futures_util::future::join_all(gone.into_iter().map(leave)).await;
        count
    }

    /// Ends all sessions; forms under way are answered with an error.
    pub(crate) async fn close(&self) {
        self.places.close();
        self.closing.send_replace(true);
        let all: Vec<Arc<Visitor>> = self.lock().drain().map(|(_, v)| v).collect();
        futures_util::future::join_all(all.into_iter().map(leave)).await;
    }

    async fn enter(&self, ids: &[String]) -> Result<(String, Arc<Visitor>), Denied> {
        let known = || {
            let all = self.lock();
            let id = ids.iter().find(|id| all.contains_key(*id))?;
            all.get(id).map(|v| (id.clone(), v.clone()))
        };
        if let Some(found) = known() {
            found.1.seen.store(self.now(), Ordering::Relaxed);
            return Ok(found);
        }
        let mut place = self.places.clone().try_acquire_owned();
        if place.is_err() && self.expire().await > 0 {
            place = self.places.clone().try_acquire_owned();
        }
        let place = place.map_err(|_| Denied::Full)?;
        let visitor = Arc::new(Visitor {
            line: tokio::sync::Mutex::new(None),
            seen: AtomicU64::new(self.now()),
            pending: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            _place: place,
        });
        let id = random_name();
        self.lock().insert(id.clone(), visitor.clone());
        Ok((id, visitor))
    }

    async fn ask(&self, visitor: &Visitor, form: &Form, index: usize, received: Received) -> Result<Answer> {
        let mut slot = visitor.line.lock().await;
        if visitor.ended.load(Ordering::SeqCst) {
            return Err(ending());
        }
        if slot.as_mut().is_some_and(|l| !l.prepared.kernel.is_alive()) {
            // It died between two forms; nothing of the visitor's is lost but its memory.
            *slot = None;
        }
        let line = match &mut *slot {
            Some(line) => line,
            empty => empty.insert(Line::new(self.pool.take().await?)),
        };
        let (submission, stored) = store(form, index, received, line)?;
        let outcome = line.ask(&submission, self.answer_timeout).await;
        for path in stored {
            // The kernel has read it by now; what it wants to keep it has kept itself.
            let _ = std::fs::remove_file(path);
        }
        outcome.map(|answer| by_label(answer, form, &submission.uploads)).map_err(|failed| match failed {
            Failed::Refused(e) => e,
            Failed::Lost(e) => {
                *slot = None;
                e
            }
        })
    }

    fn now(&self) -> u64 {
        self.clock.now().as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Visitor>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves the uploads into the visitor's folder and words the submission for this kernel.
fn store(form: &Form, index: usize, received: Received, line: &Line) -> Result<(Submission, Vec<PathBuf>)> {
    // Kernels may number their forms differently; the position on the page is the same.
    let forms = &line.prepared.forms;
    let own = forms.iter().find(|f| f.id == form.id).or_else(|| forms.get(index));
    let id = own.map_or_else(|| form.id.clone(), |f| f.id.clone());
    let folder = line.prepared.uploads.path();
    let mut uploads = BTreeMap::new();
    let mut stored = Vec::new();
    for (field, file) in received.files {
        // Answers name the file, so its name is short; the folder's own name is not to be guessed.
        let kind = if file.extension == "bin" { "file" } else { "picture" };
        let random: String = random_name().chars().take(UPLOAD_NAME_DIGITS).collect();
        let name = format!("{kind}-{random}.{}", file.extension);
        let to = folder.join(&name);
        file.path.persist(&to).map_err(|e| {
            tracing::error!("cannot store an upload: {e}");
            Error::new(Kind::Io, "the app cannot store uploads at the moment").hint("try again later")
        })?;
        uploads.insert(field, name);
        stored.push(to);
    }
    Ok((Submission { form: id, values: received.values, uploads }, stored))
}

/// Calls the uploads in an answer by their field's label: the stored name says nothing to a visitor.
fn by_label(mut answer: Answer, form: &Form, uploads: &BTreeMap<String, String>) -> Answer {
    for (field, name) in uploads {
        let Some(field) = form.fields.iter().find(|f| f.name == *field) else { continue };
        let label = if field.label.is_empty() { &field.name } else { &field.label };
        for (mime, value) in answer.bundles.iter_mut().flat_map(|b| b.data.iter_mut()) {
            if let Value::String(text) = value {
                match mime.as_str() {
                    "text/plain" => *text = text.replace(name, label),
                    "text/html" => *text = text.replace(name, &escape_html(label)),
                    _ => {}
                }
            }
        }
        if let Some(problem) = &mut answer.error {
            problem.message = problem.message.replace(name, label);
        }
    }
    answer
}

async fn leave(visitor: Arc<Visitor>) {
    visitor.ended.store(true, Ordering::SeqCst);
    let line = visitor.line.lock().await.take();
    if let Some(line) = line {
        pool::end(line.prepared).await;
    }
}

fn ending() -> Error {
    Error::new(Kind::Unavailable, "this session has ended").hint("send the form again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dds_core::MimeBundle;
    use dds_core::form::Field;

    #[test]
    fn an_answer_names_the_field_and_not_the_stored_file() {
        let field = Field { name: "photo".into(), label: "Your <picture>".into(), ..Field::default() };
        let form = Form { fields: vec![field], ..Form::default() };
        let bundle = MimeBundle::text("picture-12ab.jpg: food")
            .with("text/html", "<b>picture-12ab.jpg</b>")
            .with("image/png", "picture-12ab.jpg");
        let answer = Answer { bundles: vec![bundle], error: None };
        let uploads = BTreeMap::from([("photo".to_owned(), "picture-12ab.jpg".to_owned())]);
        let named = by_label(answer, &form, &uploads);
        let data = &named.bundles[0].data;
        assert_eq!(data["text/plain"], "Your <picture>: food");
        assert_eq!(data["text/html"], "<b>Your &lt;picture&gt;</b>");
        assert_eq!(data["image/png"], "picture-12ab.jpg");
    }
}
