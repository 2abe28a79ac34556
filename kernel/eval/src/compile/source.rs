//! evcxr's code in a form that is the same whenever the cell and what came before it are the same.
//!
//! evcxr keeps items and variables in hash maps, so their order differs from session to session,
//! and it numbers the function that it calls. Lines are moved whole and never changed, except the
//! one with the function's name and those that show a value ([`crate::prelude`]), so that messages
//! can be given their lines back.
//!
//! A macro that one cell defines can be used by items of others only when it stands before them:
//! macros come first here.

mod chunks;

use super::tools;
use crate::prelude;
use chunks::{Chunk, Kind};
use std::ops::Range;

/// The function that runs the cell.
pub(crate) const FUNCTION: &str = "dds_cell";
const NUMBERED: &str = "pub extern \"C\" fn run_user_code_";
const NO_MANGLE: &str = "#[unsafe(no_mangle)]";
const MODULE: &str = "mod evcxr_internal_runtime {";
/// What begins the generated part behind the items.
const GENERATED: [&str; 3] = [MODULE, "            struct EvcxrUserCodeError {}", NO_MANGLE];
/// Statements of which evcxr writes one for each variable, in any order.
const PER_VARIABLE: [&str; 2] =
    ["vars_ok &= evcxr_variable_store.check_variable::<", "evcxr_variable_store.put_variable::<"];
const TAKE: &str = " = evcxr_variable_store.take_variable::<";

/// Code in its fixed order.
#[derive(Debug)]
pub(super) struct Ordered {
    pub text: String,
    /// For each line the one of the original, both from 0.
    origin: Vec<usize>,
    /// Lines of the items, in the original.
    items: Range<usize>,
    /// Line of the function that is called, in the original.
    function: Option<usize>,
    /// The code needs the crate of the variable store.
    pub uses_crate: bool,
}

impl Ordered {
    /// With `use_crate`, evcxr's module of the variable store is replaced by the crate.
    pub(super) fn of(original: &str, use_crate: bool) -> Self {
        let lines: Vec<&str> = original.split_inclusive('\n').collect();
        let function = lines.iter().rposition(|line| line.starts_with(NUMBERED));
        let items = items(&lines, function.unwrap_or(lines.len()));
        let mut order: Vec<usize> = (0..items.start).collect();
        order.extend(item_order(&lines, items.clone()));
        order.extend(statement_order(&lines, items.end));
        let shows_in_full = prelude::shows_in_full(original);
        let module = module(&lines, items.end, function);
        let replaced = module.clone().filter(|_| use_crate).unwrap_or(0..0);
        order.retain(|index| !replaced.contains(index) || *index == replaced.start);
        let mut text = String::with_capacity(original.len());
        for index in &order {
            match lines.get(*index) {
                Some(line) if Some(*index) == function => text.push_str(&renamed(line)),
                Some(_) if *index == replaced.start && !replaced.is_empty() => {
                    text.push_str(&format!("pub use ::{}::*;\n", tools::STORE));
                }
                Some(line) if shows_in_full => text.push_str(prelude::in_full(line)),
                Some(line) => text.push_str(line),
                None => {}
            }
        }
        Self { text, origin: order, items, function, uses_crate: !replaced.is_empty() }
    }

    /// The line of the original, both from 1.
    pub(super) fn line_of_original(&self, line: u64) -> u64 {
        let index = usize::try_from(line).ok().and_then(|line| line.checked_sub(1));
        let origin = index.and_then(|index| self.origin.get(index));
        origin.and_then(|origin| u64::try_from(origin + 1).ok()).unwrap_or(line)
    }

    /// A line of an item in the original, from 1.
    pub(super) fn any_item(&self) -> Option<usize> {
        (!self.items.is_empty()).then_some(self.items.start + 1)
    }

    /// The code from the function on, in the original.
    pub(super) fn body<'a>(&self, original: &'a str) -> &'a str {
        let Some(function) = self.function else { return "" };
        let at = original.split_inclusive('\n').take(function).map(str::len).sum();
        original.get(at..).unwrap_or("")
    }
}

/// The lines inside of evcxr's module, which ends right before the function.
fn module(lines: &[&str], from: usize, function: Option<usize>) -> Option<Range<usize>> {
    let end = function?.checked_sub(2)?;
    let is = |index: usize, text: &str| lines.get(index).is_some_and(|line| line.trim_end() == text);
    if !is(end, "}") || !is(end + 1, NO_MANGLE) {
        return None;
    }
    let start = (from..end).find(|index| is(*index, MODULE))? + 1;
    (start < end).then_some(start..end)
}

/// `pub extern "C" fn run_user_code_7(` with another name.
fn renamed(line: &str) -> String {
    let rest = line.strip_prefix(NUMBERED).unwrap_or("");
    format!("pub extern \"C\" fn {FUNCTION}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// The lines between the attributes at the top and the generated part.
fn items(lines: &[&str], function: usize) -> Range<usize> {
    let start = lines.iter().position(|line| !line.starts_with("#![")).unwrap_or(lines.len()).min(function);
    let trimmed = |line: &str| line.trim_end().to_owned();
    let generated = |line: &&str| GENERATED.contains(&trimmed(line).as_str());
    let before = lines.get(start..function).unwrap_or_default();
    let end = before.iter().position(generated).map_or(function, |offset| start + offset);
    start..end
}

fn item_order(lines: &[&str], range: Range<usize>) -> Vec<usize> {
    let plain = || range.clone().collect();
    let Some(mut found) = lines.get(range.clone()).and_then(chunks::of) else { return plain() };
    // Stable, and what macros expand to stays in the order of the cells.
    found.sort_by(|a, b| match (&a.kind, &b.kind) {
        (Kind::MacroCall, Kind::MacroCall) => std::cmp::Ordering::Equal,
        _ => (&a.kind, &a.text).cmp(&(&b.kind, &b.text)),
    });
    found.iter().flat_map(|Chunk { lines, .. }| lines.clone().map(|line| range.start + line)).collect()
}

/// Runs of statements of one sort, sorted.
fn statement_order(lines: &[&str], start: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (start..lines.len()).collect();
    let sort_of = |index: &usize| lines.get(*index).and_then(|line| per_variable(line));
    for run in order.chunk_by_mut(|a, b| sort_of(a).is_some() && sort_of(a) == sort_of(b)) {
        if run.len() > 1 {
            run.sort_by_key(|index| lines.get(*index));
        }
    }
    order
}

fn per_variable(line: &str) -> Option<usize> {
    let whole = line.ends_with(";\n");
    let take = (line.starts_with("let ") && line.contains(TAKE)).then_some(PER_VARIABLE.len());
    PER_VARIABLE.iter().position(|start| line.starts_with(start)).or(take).filter(|_| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_full_where_the_crate_is_there() {
        let with = prelude::code(true, Some(std::path::Path::new("/rt")));
        let items: Vec<&str> = with.lines().filter(|line| line.contains("DdsShow")).collect();
        let shown = |items: &[&str]| {
            let code = code(items, &[], 1).replace("user();\n", "(\nx\n).evcxr_display();\n");
            let ordered = Ordered::of(&code, false);
            assert_eq!(ordered.text.lines().count(), code.lines().count());
            ordered.text
        };
        let full = shown(&items);
        assert!(full.contains("::dds::show::Value") && full.contains("\n).evcxr_display().dds_show();\n"));
        let plain = shown(&[prelude::NO_FALLBACK]);
        assert!(!plain.contains("dds_show") && plain.contains("\n).evcxr_display();\n"));
    }

    fn code(items: &[&str], variables: &[&str], number: u32) -> String {
        let mut code = String::from("#![allow(unused_imports, unused_mut, dead_code)]\n");
        code.extend(items.iter().map(|item| format!("{item}\n")));
        code.push_str(&format!(
            "mod evcxr_internal_runtime {{\npub struct Store;\n\n}}\n{NO_MANGLE}\n{NUMBERED}{number}(\n"
        ));
        code.extend(variables.iter().map(|name| {
            format!("let mut {name} = evcxr_variable_store.take_variable::<i32>(stringify!({name}));\n")
        }));
        code.push_str("user();\n}\n");
        code
    }

    #[test]
    fn order_and_number_do_not_matter() {
        let macro_rules = "macro_rules! m {\n    () => { 1 };\n}";
        let (a, f) = ("/// A.\npub struct A {\n    x: i32,\n}", "fn f() -> i32 { m!() }");
        let one = Ordered::of(&code(&[a, f, macro_rules], &["x", "y"], 3), false);
        let other = Ordered::of(&code(&[macro_rules, f, a], &["y", "x"], 12), false);
        assert_eq!(one.text, other.text);
        assert!(one.text.contains("fn dds_cell(\n"), "{}", one.text);
        assert!(one.text.find("macro_rules") < one.text.find("fn f()"), "macros come first");
        assert_ne!(one.text, Ordered::of(&code(&[a, f, macro_rules], &["x", "z"], 3), false).text);
    }

    #[test]
    fn lines_are_given_back() {
        let original = code(&["struct B;", "struct A;\nimpl A {}"], &["y", "x"], 3);
        let ordered = Ordered::of(&original, false);
        let originals: Vec<&str> = original.lines().collect();
        for (index, line) in ordered.text.lines().enumerate() {
            let at = ordered.line_of_original(index as u64 + 1) as usize - 1;
            assert!(originals[at] == line || line.contains(FUNCTION), "{line}: {}", originals[at]);
        }
        assert_eq!(ordered.text.lines().count(), originals.len());
        assert_eq!(ordered.line_of_original(999), 999);
        assert_eq!(ordered.any_item(), Some(2));
        assert!(ordered.body(&original).starts_with(NUMBERED));
    }

    #[test]
    fn the_module_becomes_a_crate() {
        let original = code(&["struct A;"], &["x"], 3);
        let ordered = Ordered::of(&original, true);
        assert!(ordered.uses_crate && !Ordered::of(&original, false).uses_crate);
        assert!(ordered.text.contains("runtime {\npub use ::dds_cell_store::*;\n}\n"), "{}", ordered.text);
        let place = |text: &str, part| 1 + text.lines().position(|line| line.contains(part)).unwrap() as u64;
        let at = ordered.line_of_original(place(&ordered.text, "user()"));
        assert_eq!(at, place(&original, "user()"));
    }

    #[test]
    fn what_is_not_understood_stays_as_it_is() {
        let broken = "#![allow(x)]\nstruct A {\nfn run(\n";
        assert_eq!(Ordered::of(broken, false).text, broken);
        assert_eq!(Ordered::of("", true).text, "");
    }
}
