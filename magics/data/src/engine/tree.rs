//! `tree`: a folder and what is below it, with how many files each folder has and how long they are.

use super::{Data, MAX_ROWS, Place, local_list, shown};
use dds_core::mime::{escape_html, printable};
use dds_core::request as rq;
use dds_core::table::{bytes, count};
use dds_core::{Cx, Entry, Error, Outcome, RepoPath, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A folder, or a file when it holds nothing.
#[derive(Default)]
struct Node {
    children: BTreeMap<String, Node>,
    is_file: bool,
    files: usize,
    folders: usize,
    /// Of the files whose size is known.
    size: u64,
    unknown: bool,
}

pub fn run(data: &Data, r: &rq::Tree, cx: &Cx) -> Result<Outcome> {
    if r.depth == Some(0) {
        return Err(Error::usage("--depth 0 shows nothing").hint("give 1 or more"));
    }
    let place = if r.target.is_empty() { data.around(cx)? } else { data.place(&r.target, cx)? };
    let (entries, name, base) = match place {
        Place::Local(at) => {
            let mut entries = local_list(&at, true, cx)?;
            // Git's own files are not what a folder is looked at for.
            entries.retain(|e| !e.path.components().any(|part| part == ".git"));
            (entries, at.display().to_string(), RepoPath::root())
        }
        Place::Remote { source, path } => {
            let name = shown(source.as_ref(), &path);
            (source.list(&path, true, cx)?, name, path)
        }
    };
    let mut root = Node::default();
    for entry in &entries {
        root.add(entry, &base);
    }
    root.sum();
    let mut lines = Vec::new();
    let mut left_out = 0;
    root.draw("", r.depth.unwrap_or(usize::MAX), r.dirs, &mut lines, &mut left_out);
    if left_out > 0 {
        lines.push(format!("… and {left_out} more lines (--depth N shows fewer levels, --json all)"));
    }
    let summary = format!("{}: {}", printable(&name), root.told());
    let text = lines.join("\n");
    let html = format!("<pre>{}</pre>", escape_html(&text));
    let outcome = Outcome::new(summary, json!({"target": name, "tree": root.json("")}));
    if lines.is_empty() { Ok(outcome) } else { Ok(outcome.detail(text).html(html)) }
}

impl Node {
    fn add(&mut self, entry: &Entry, base: &RepoPath) {
        let below = entry.path.strip_prefix(base).unwrap_or_else(|| entry.path.clone());
        let mut at = self;
        for part in below.components() {
            at = at.children.entry(part.to_owned()).or_default();
        }
        at.is_file = true;
        at.size = entry.size.unwrap_or(0);
        at.unknown = entry.size.is_none();
    }

    fn sum(&mut self) {
        if self.is_file {
            self.files = 1;
            return;
        }
        for child in self.children.values_mut() {
            child.sum();
            self.files += child.files;
            self.folders += child.folders + usize::from(!child.is_file);
            self.size += child.size;
            self.unknown |= child.unknown;
        }
    }

    fn length(&self) -> String {
        match (self.unknown, self.size) {
            (true, 0) => "?".to_owned(),
            (true, size) => format!("at least {}", bytes(size)),
            (false, size) => bytes(size),
        }
    }

    fn told(&self) -> String {
        let files = format!("{}, {}", count(self.files, "file"), self.length());
        if self.folders == 0 { files } else { format!("{}, {files}", count(self.folders, "folder")) }
    }

    /// Depth first; `depth` levels below this one.
    fn draw(&self, before: &str, depth: usize, dirs: bool, lines: &mut Vec<String>, left_out: &mut usize) {
        let shown: Vec<_> = self.children.iter().filter(|(_, child)| !dirs || !child.is_file).collect();
        for (n, (name, child)) in shown.iter().enumerate() {
            let last = n + 1 == shown.len();
            let name = printable(name).replace('\n', " ");
            let about = if child.is_file {
                format!("{name}  {}", child.length())
            } else {
                format!("{name}/  {}, {}", count(child.files, "file"), child.length())
            };
            if lines.len() < MAX_ROWS {
                lines.push(format!("{before}{} {about}", if last { "└──" } else { "├──" }));
            } else {
                *left_out += 1;
            }
            if depth > 1 {
                let before = format!("{before}{}", if last { "    " } else { "│   " });
                child.draw(&before, depth - 1, dirs, lines, left_out);
            }
        }
    }

    fn json(&self, name: &str) -> Value {
        if self.is_file {
            return json!({"name": name, "kind": "file", "size": (!self.unknown).then_some(self.size)});
        }
        let children: Vec<Value> = self.children.iter().map(|(name, child)| child.json(name)).collect();
        json!({"name": name, "kind": "folder", "files": self.files, "size": self.size, "children": children})
    }
}
