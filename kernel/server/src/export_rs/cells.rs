//! Cells, one after another: their Rust as items and statements, their directives as dependencies, the
//! rest as comments.

use super::commands;
use super::dependencies::Dependencies;
use super::items::Items;
use super::statements;
use dds_cmd::{Segment, raw};
use dds_core::lex::{Role, boundaries};
use std::path::{Path, PathBuf};

/// Everything that a notebook has given.
#[derive(Default)]
pub(super) struct Read {
    /// `#![…]` lines, each once.
    pub attributes: Vec<String>,
    pub items: Items,
    /// The body of `main`, in lines.
    pub body: Vec<String>,
    pub dependencies: Dependencies,
    /// `:opt`'s level, when it was given.
    pub opt_level: Option<String>,
    /// A cell awaits outside of any function.
    pub awaits: bool,
    /// The cells use the crate `dds`.
    pub uses_runtime: bool,
    /// What could not be taken along, and why.
    pub left_out: Vec<String>,
}

/// Where the crate `dds` lies in the project.
pub(super) const RUNTIME_FOLDER: &str = "dds";

/// Whether code seems to name the crate `dds`: `dds::…`, `extern crate dds`.
fn names_runtime(code: &str) -> bool {
    let word = |c: char| c == '_' || c.is_alphanumeric();
    code.contains("extern crate dds")
        || code
            .match_indices("dds::")
            .any(|(at, _)| !code.get(..at).is_some_and(|before| before.ends_with(word)))
}

pub(super) struct Reader {
    read: Read,
    /// Where the notebook lies: relative paths of dependencies begin there.
    folder: PathBuf,
}

impl Reader {
    pub(super) fn new(folder: &Path) -> Self {
        Self { read: Read::default(), folder: folder.to_owned() }
    }

    pub(super) fn finish(mut self) -> Read {
        if self.read.awaits {
            self.read.dependencies.add_tokio();
        }
        self.read.uses_runtime = names_runtime(&self.read.items.text())
            || self.read.body.iter().any(|line| !line.starts_with("//") && names_runtime(line));
        if self.read.uses_runtime {
            self.read.dependencies.add_runtime(RUNTIME_FOLDER);
        }
        for name in self.read.items.crates() {
            self.read.dependencies.add_unless_there(&name);
        }
        self.read
    }

    /// A Markdown cell, as a comment.
    pub(super) fn prose(&mut self, text: &str) {
        if !text.trim().is_empty() {
            self.gap();
            self.comment(text.trim_end());
        }
    }

    /// The `number`-th code cell.
    pub(super) fn code(&mut self, number: usize, code: &str) {
        if code.trim().is_empty() {
            return;
        }
        self.gap();
        self.comment(&format!("Cell {number}"));
        match dds_cmd::split(code) {
            Ok(segments) => segments.into_iter().for_each(|s| self.segment(number, s)),
            Err(e) => self.leave_out(number, &e.message, code),
        }
    }

    fn segment(&mut self, number: usize, segment: Segment) {
        match segment {
            Segment::Rust { text, .. } => self.rust(number, &text),
            Segment::Shell { command, .. } => self.comment(&format!("!{command}\nin a shell: {command}")),
            Segment::Line { text, .. } => match commands::folder(&text) {
                // Files that later cells name lie there.
                Some(dir) => {
                    self.comment(&format!("%dds {text}"));
                    self.read.body.push(format!("std::env::set_current_dir({dir:?})?;"));
                }
                None => self.comment(&commands::line(&text)),
            },
            Segment::Cell { head, body, .. } if raw::is_time(&head) => {
                self.comment(&format!("%%dds {head}"));
                match dds_cmd::split(&body) {
                    Ok(segments) => {
                        let nested =
                            |s: &Segment| matches!(s, Segment::Cell { head, .. } if raw::is_time(head));
                        segments.into_iter().filter(|s| !nested(s)).for_each(|s| self.segment(number, s));
                    }
                    Err(e) => self.leave_out(number, &e.message, &body),
                }
            }
            Segment::Cell { head, body, .. } => self.comment(&commands::cell(&head, &body)),
        }
    }

    fn rust(&mut self, number: usize, text: &str) {
        let text = self.without_directives(text);
        if text.trim().is_empty() {
            return;
        }
        match statements::parse(&text) {
            Ok(parsed) => {
                for attribute in parsed.attributes {
                    if !self.read.attributes.contains(&attribute) {
                        self.read.attributes.push(attribute);
                    }
                }
                self.read.awaits |= parsed.awaits;
                parsed.items.into_iter().for_each(|item| self.read.items.add(item));
                self.read.body.extend(parsed.body);
            }
            Err(why) => self.leave_out(number, &why, &text),
        }
    }

    /// The Rust of a piece; its directives are taken along in their own way.
    fn without_directives(&mut self, text: &str) -> String {
        let mut rust = String::new();
        for line in boundaries(text) {
            let content = text.get(line.start..line.end).unwrap_or_default();
            if line.role != Role::Directive {
                rust.push_str(content);
                rust.push('\n');
                continue;
            }
            let directive = content.trim();
            let (name, arguments) = directive.split_once(char::is_whitespace).unwrap_or((directive, ""));
            match name {
                ":dep" => match self.read.dependencies.add(arguments.trim(), &self.folder) {
                    Ok(()) => self.comment(directive),
                    Err(why) => {
                        self.comment(&format!("{directive}\nleft out: {why}"));
                        self.read.left_out.push(format!("`{directive}`: {why}"));
                    }
                },
                ":opt" => {
                    let level = arguments.trim();
                    // Without a level, evcxr turns optimisation on.
                    let level = if level.is_empty() { "2" } else { level };
                    if ["0", "1", "2", "3", "s", "z"].contains(&level) {
                        self.read.opt_level = Some(level.to_owned());
                    }
                    self.comment(directive);
                }
                _ => self.comment(directive),
            }
        }
        rust
    }

    fn leave_out(&mut self, number: usize, why: &str, code: &str) {
        let why = why.trim().replace('\n', " ");
        self.comment(&format!("left out, because it cannot be read: {why}\n{}", code.trim_end()));
        self.read.left_out.push(format!("cell {number}: {why}"));
    }

    fn comment(&mut self, text: &str) {
        self.read
            .body
            .extend(text.lines().map(|line| format!("// {}", line.replace('\r', "")).trim_end().to_owned()));
    }

    fn gap(&mut self) {
        if !self.read.body.is_empty() {
            self.read.body.push(String::new());
        }
    }
}
