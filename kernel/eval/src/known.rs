//! What is known of the session without asking the analysis: it answers completion and inspection
//! while a cell runs. Told after every cell, and between cells about the members of variables.
//!
//! Everything is bounded. Answers may be poorer than those of the analysis, never slower.

mod members;
mod words;

use crate::cell::{byte_offset, char_offset, rust_only};
use crate::language::{documented, is_word, path_start, word_at};
use crate::parse::{self, Item};
use dds_core::MimeBundle;
use dds_core::eval::{Completion, Completions, Known};
use dds_core::lex::in_text;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Most items, imports included, that are remembered.
const MAX_ITEMS: usize = 4000;
/// Most lists of members, and of names below a path.
const MAX_LISTS: usize = 128;
/// Longest of these lists.
const MAX_LIST: usize = 500;
/// Most documented names.
const MAX_DOCS: usize = 256;
/// Paths that are looked up before anybody has asked.
const PATHS: [&str; 5] = ["std::", "std::collections::", "std::fs::", "std::io::", "std::time::"];

/// Shared by the evaluator, which tells, and the kernel, which asks.
#[derive(Default)]
pub(crate) struct Knowledge {
    facts: RwLock<Facts>,
}

#[derive(Default)]
struct Facts {
    /// Name and type.
    variables: Vec<(String, String)>,
    /// By name, and by `Type::name`.
    items: BTreeMap<String, Item>,
    crates: Vec<String>,
    /// By type (`Vec<i32>.`) or path (`std::`).
    lists: Bounded<Vec<Completion>, MAX_LISTS>,
    /// By path or chain as it was typed.
    docs: Bounded<MimeBundle, MAX_DOCS>,
}

/// The newest of what was put in.
struct Bounded<T, const MOST: usize> {
    order: VecDeque<String>,
    map: HashMap<String, T>,
}

/// Something that idle time can be spent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Code to complete at its end.
    pub code: String,
    key: String,
}

impl Knowledge {
    fn read(&self) -> RwLockReadGuard<'_, Facts> {
        self.facts.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Facts> {
        self.facts.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A cell has run to its end.
    pub(crate) fn learn(&self, code: &str) {
        let rust = rust_only(code);
        let items = parse::items(&rust);
        let mut facts = self.write();
        for line in rust.lines().map(str::trim) {
            if line == ":clear" {
                *facts = Facts::default();
            }
            if let Some(name) = crate_of(line) {
                facts.crates.retain(|other| *other != name);
                facts.crates.push(name);
                facts.crates.truncate(MAX_LISTS);
            }
        }
        // Types may have changed, and with them what their names stand for; and traits bring methods.
        let changes = |word: &str| matches!(word, "use" | "impl" | "trait" | "mod" | "macro_rules");
        let is_type = |item: &Item| item.kind == "class" || item.of.is_some();
        if items.iter().any(is_type) || rust.split(|c| !is_word(c)).any(changes) {
            facts.lists.retain(|key| !key.ends_with('.'));
        }
        for item in items {
            let key = match &item.of {
                Some(of) => format!("{of}::{}", item.name),
                None => item.name.clone(),
            };
            if facts.items.len() < MAX_ITEMS || facts.items.contains_key(&key) {
                facts.docs.remove(&key);
                facts.items.insert(key, item);
            }
        }
    }

    pub(crate) fn set_variables<'a>(&self, variables: impl Iterator<Item = (&'a str, &'a str)>) {
        let variables = variables.take(MAX_ITEMS).map(|(name, kind)| (name.to_owned(), kind.to_owned()));
        self.write().variables = variables.collect();
    }

    /// What the analysis has found at `cursor`.
    pub(crate) fn remember_completions(&self, code: &str, cursor: usize, found: &Completions) {
        let at = byte_offset(code, cursor);
        let Some(start) = code.get(..at).map(|before| before.trim_end_matches(is_word).len()) else { return };
        // Only whole lists: what was typed has left names out already.
        if start < at || found.items.is_empty() {
            return;
        }
        let rust = rust_only(code);
        let Some(key) = self.read().list_key(&rust, start) else { return };
        let receiver = rust.get(path_start(&rust, start)..start).and_then(|path| path.strip_suffix('.'));
        if !receiver.is_some_and(|receiver| may_have_others(&rust, receiver)) {
            self.remember(key, &found.items);
        }
    }

    fn remember(&self, key: String, items: &[Completion]) {
        let list = items.iter().take(MAX_LIST).cloned().collect();
        self.write().lists.put(key, list);
    }

    /// The members of a variable, when the analysis has listed them before and nothing in `code` can
    /// make them others: the variable's name stands nowhere but before dots.
    pub(crate) fn members(&self, code: &str, cursor: usize) -> Option<Completions> {
        let rust = rust_only(code);
        let at = byte_offset(code, cursor);
        let start = rust.get(..at)?.trim_end_matches(is_word).len();
        let receiver = rust.get(path_start(&rust, start)..start)?.strip_suffix('.')?;
        let facts = self.read();
        let key = facts.list_key(&rust, start).filter(|key| key.ends_with('.'))?;
        // A list that was cut may lack what is looked for.
        facts.lists.map.get(&key).filter(|list| !list.is_empty() && list.len() < MAX_LIST)?;
        if may_have_others(&rust, receiver) {
            return None;
        }
        drop(facts);
        Some(self.complete(code, cursor)).filter(|found| !found.items.is_empty())
    }

    /// What the analysis knows of the name at `cursor`.
    pub(crate) fn remember_inspection(&self, code: &str, cursor: usize, found: &MimeBundle) {
        if let Some((start, end)) = word_at(code, byte_offset(code, cursor))
            && let Some(path) = code.get(path_start(code, start)..end)
        {
            let mut facts = self.write();
            if !facts.variables.iter().any(|(name, _)| name == path) {
                facts.docs.put(path.to_owned(), found.clone());
            }
        }
    }

    /// What idle time is best spent on; an answer is due by [`Knowledge::provide`].
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        let facts = self.read();
        let member = facts
            .variables
            .iter()
            .rev()
            .map(|(name, kind)| Wanted { code: format!("{name}."), key: format!("{kind}.") });
        let paths = PATHS.iter().map(|path| Wanted { code: (*path).to_owned(), key: (*path).to_owned() });
        member.take(MAX_LISTS / 2).chain(paths).find(|wanted| !facts.lists.map.contains_key(&wanted.key))
    }

    /// An empty answer is an answer: it is not asked for again.
    pub(crate) fn provide(&self, wanted: Wanted, found: &Completions) {
        self.remember(wanted.key, &found.items);
    }
}

impl Known for Knowledge {
    fn complete(&self, code: &str, cursor: usize) -> Completions {
        let rust = rust_only(code);
        let at = byte_offset(code, cursor);
        let end = char_offset(code, at);
        let nothing = Completions { start: end, end, items: Vec::new() };
        let Some(before) = rust.get(..at).filter(|_| !in_text(&rust, at)) else { return nothing };
        let line = before.rsplit('\n').next().unwrap_or("");
        let facts = self.read();
        if let Some(directive) = line.trim_start().strip_prefix(':').filter(|rest| !rest.contains(' ')) {
            let start = char_offset(code, at - directive.len() - 1);
            let names = crate::directives::names().filter(|name| name.starts_with(&format!(":{directive}")));
            let items = names.map(|name| words::completion(name, "magic", "")).collect();
            return Completions { start, end, items };
        }
        if line.trim_start().starts_with(':') && !line.trim_start().starts_with("::") {
            return nothing;
        }
        let start = before.trim_end_matches(is_word).len();
        let typed = before.get(start..).unwrap_or("");
        let items: Vec<Completion> = match facts.list_key(&rust, start) {
            Some(key) => facts.below(&key),
            None if is_member(&rust, start) => Vec::new(),
            None => facts.names(&rust),
        };
        let mut items: Vec<Completion> =
            items.into_iter().filter(|item| item.text.starts_with(typed) && item.text != typed).collect();
        items.sort_by(|a, b| a.text.cmp(&b.text));
        items.dedup_by(|a, b| a.text == b.text);
        items.truncate(MAX_LIST);
        Completions { start: char_offset(code, start), end, items }
    }

    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle> {
        let rust = rust_only(code);
        let at = byte_offset(code, cursor);
        if in_text(&rust, at) {
            return None;
        }
        let (start, end) = word_at(&rust, at)?;
        let word = rust.get(start..end)?;
        let path = rust.get(path_start(&rust, start)..end)?;
        let facts = self.read();
        if let Some(found) = facts.docs.map.get(path) {
            return Some(found.clone());
        }
        if path == word
            && let Some((name, kind)) = facts.variables.iter().find(|(name, _)| name == word)
        {
            return Some(documented(&format!("{name}: {kind}"), ""));
        }
        let of_type = || {
            let receiver = path.strip_suffix(word)?.strip_suffix('.')?;
            let (_, kind) = facts.variables.iter().find(|(name, _)| name == receiver)?;
            let kind = kind.split('<').next()?.rsplit("::").next()?;
            facts.items.get(&format!("{kind}::{word}"))
        };
        let item = facts.items.get(path).or_else(|| facts.items.get(&format!("{path}!"))).or_else(of_type);
        if let Some(item) = item {
            return Some(documented(&item.signature, &item.docs));
        }
        let about = words::about(word).filter(|_| path == word)?;
        Some(documented(word, about))
    }
}

impl Facts {
    /// Under which list the names stand that may follow `code[..start]`; none where any name may.
    fn list_key(&self, code: &str, start: usize) -> Option<String> {
        let before = code.get(..start)?;
        let path = code.get(path_start(code, start)..start)?;
        if before.ends_with("::") {
            return Some(path.to_owned());
        }
        let receiver = path.strip_suffix('.').filter(|name| !name.is_empty() && name.chars().all(is_word))?;
        let kind = self.variables.iter().find(|(name, _)| name == receiver).map(|(_, kind)| kind)?;
        Some(format!("{kind}."))
    }

    fn below(&self, key: &str) -> Vec<Completion> {
        let usual = || {
            let methods = members::of(key.strip_suffix('.').unwrap_or(""));
            methods.map(|name| words::completion(name, "function", "")).collect()
        };
        let mut found =
            self.lists.map.get(key).filter(|list| !list.is_empty()).cloned().unwrap_or_else(usual);
        // A method of a type of the session's, or a function or variant below its name.
        let kind = key.strip_suffix('.').map(|kind| kind.split('<').next().unwrap_or(kind));
        let owner = kind.or(key.strip_suffix("::")).unwrap_or("");
        let own = self.items.values().filter(|item| item.of.as_deref() == Some(owner));
        let own = own.filter(|item| kind.is_none() || item.signature.contains("self"));
        found.extend(own.map(completion_of));
        found
    }

    /// Every name that can stand alone, with those that the code itself defines.
    fn names(&self, code: &str) -> Vec<Completion> {
        let variables = self.variables.iter().map(|(name, kind)| words::completion(name, "instance", kind));
        let items = self.items.values().filter(|item| item.of.is_none()).map(completion_of);
        let crates = self.crates.iter().map(|name| words::completion(name, "module", ""));
        let local = local_names(code).into_iter().map(|name| words::completion(&name, "instance", ""));
        variables.chain(items).chain(crates).chain(local).chain(words::all()).collect()
    }
}

fn completion_of(item: &Item) -> Completion {
    let signature = item.signature.lines().last().unwrap_or("");
    words::completion(&item.name, item.kind, signature)
}

/// Names that `let`, `for` and `fn` give in code that may not be complete.
fn local_names(code: &str) -> Vec<String> {
    const MAX_LOCAL: usize = 200;
    let words: Vec<&str> = code.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).collect();
    let named = words.windows(3).filter_map(|three| match three {
        ["let" | "for" | "fn", "mut", name] => Some(*name),
        ["let" | "for" | "fn", name, _] => Some(*name),
        _ => None,
    });
    named
        .filter(|name| !name.starts_with(|c: char| c.is_ascii_digit()))
        .take(MAX_LOCAL)
        .map(str::to_owned)
        .collect()
}

/// Whether the variable may be another one in this code, or have members that it has nowhere else: its
/// name stands elsewhere than before dots, or the code brings traits.
fn may_have_others(rust: &str, variable: &str) -> bool {
    let is_other = |(place, _): (usize, &str)| {
        let before = rust.get(..place).unwrap_or("").chars().next_back();
        let after = rust.get(place + variable.len()..).unwrap_or("").chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(|c| is_word(c) || c == '.')
    };
    let brings = |word: &str| matches!(word, "use" | "impl" | "trait");
    rust.match_indices(variable).any(is_other) || rust.split(|c| !is_word(c)).any(brings)
}

/// Whether the name that begins at `start` is a member of something.
fn is_member(code: &str, start: usize) -> bool {
    code.get(..start).is_some_and(|before| {
        let before = before.trim_end();
        before.ends_with('.') && !before.ends_with("..")
    })
}

/// The name by which the crate of a `:dep` line is used.
fn crate_of(line: &str) -> Option<String> {
    let rest = line.strip_prefix(":dep ")?.trim();
    let name = rest.split(['=', ' ']).next()?.trim();
    let plain = !name.is_empty() && name.chars().all(|c| is_word(c) || c == '-');
    plain.then(|| name.replace('-', "_"))
}

impl<T, const MOST: usize> Default for Bounded<T, MOST> {
    fn default() -> Self {
        Self { order: VecDeque::new(), map: HashMap::new() }
    }
}

impl<T, const MOST: usize> Bounded<T, MOST> {
    fn put(&mut self, key: String, value: T) {
        if self.map.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.map.remove(&oldest);
            }
        }
    }

    fn remove(&mut self, key: &str) {
        self.map.remove(key);
        self.order.retain(|other| other != key);
    }

    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.map.retain(|key, _| keep(key));
        self.order.retain(|key| keep(key));
    }
}

#[cfg(test)]
mod tests;
