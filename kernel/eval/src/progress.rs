//! Progress of building dependencies: what the process in cargo's place tells, as one line of the
//! cell's output that changes.

use crate::link::Link;
use dds_core::MimeBundle;
use dds_core::eval::CellSink;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Longest line that is taken.
const MAX_LINE: usize = 4096;

/// Listens for as long as it lives.
pub(crate) struct Progress {
    socket: UnixDatagram,
    board: Arc<Board>,
    listener: Option<JoinHandle<()>>,
}

impl Progress {
    /// Listens at `path`, whose folder is made.
    pub(crate) fn listen(path: &Path, link: &Arc<Link>) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let socket = UnixDatagram::bind(path)?;
        let board = Arc::new(Board::default());
        let (ears, shown, link) = (socket.try_clone()?, Arc::clone(&board), Arc::downgrade(link));
        let listener = std::thread::Builder::new().name("build progress".into()).spawn(move || {
            let mut line = vec![0; MAX_LINE];
            while let Ok(length @ 1..) = ears.recv(&mut line) {
                let text = String::from_utf8_lossy(line.get(..length).unwrap_or_default()).into_owned();
                let Some(link) = link.upgrade() else { return };
                if let (Some(step), Some(sink)) = (step(&text), link.sink()) {
                    shown.show(step, &sink);
                }
            }
        })?;
        Ok(Self { socket, board, listener: Some(listener) })
    }

    /// The cell has ended: its line gets its last text.
    pub(crate) fn end_of_cell(&self) {
        self.board.end();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    Compiling(&'a str),
    Other(&'a str),
}

/// What a line of cargo's says, if that is worth showing.
fn step(line: &str) -> Option<Step<'_>> {
    let line = line.trim();
    let (word, rest) = line.split_once(' ')?;
    match word {
        "Compiling" if rest.starts_with("ctx v") => None,
        "Compiling" => Some(Step::Compiling(rest.split(" (").next().unwrap_or(rest))),
        "Downloading" | "Downloaded" | "Updating" | "Blocking" | "Locking" => Some(Step::Other(line)),
        _ => None,
    }
}

/// The line of the running cell.
#[derive(Default)]
struct Board(Mutex<State>);

#[derive(Default)]
struct State {
    line: Option<Line>,
    lines: u64,
}

struct Line {
    sink: Arc<dyn CellSink>,
    id: String,
    compiled: usize,
}

impl Board {
    fn show(&self, step: Step<'_>, sink: &Arc<dyn CellSink>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = state.line.is_none();
        if is_new {
            state.lines += 1;
            let id = format!("dds-build-{}-{}", std::process::id(), state.lines);
            state.line = Some(Line { sink: Arc::clone(sink), id, compiled: 0 });
        }
        let Some(line) = &mut state.line else { return };
        let text = match step {
            Step::Compiling(name) => {
                line.compiled += 1;
                format!("Compiling {name} ({})", line.compiled)
            }
            Step::Other(text) => text.to_owned(),
        };
        line.sink.display_with_id(&MimeBundle::text(text), &line.id, !is_new);
    }

    fn end(&self) {
        let line = self.0.lock().unwrap_or_else(PoisonError::into_inner).line.take();
        if let Some(Line { sink, id, compiled }) = line {
            let text = match compiled {
                0 => "Dependencies are ready.".to_owned(),
                1 => "Compiled 1 crate.".to_owned(),
                many => format!("Compiled {many} crates."),
            };
            sink.display_with_id(&MimeBundle::text(text), &id, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cargo() {
        assert_eq!(step("   Compiling image v0.25.6\n"), Some(Step::Compiling("image v0.25.6")));
        assert_eq!(step("   Compiling mine v0.1.0 (/w/mine)\n"), Some(Step::Compiling("mine v0.1.0")));
        assert_eq!(step("   Compiling ctx v1.0.0 (/p)\n"), None);
        assert_eq!(step("  Downloaded a v1"), Some(Step::Other("Downloaded a v1")));
        assert_eq!(step("    Finished `dev` profile"), None);
        assert_eq!(step(""), None);
    }
}
