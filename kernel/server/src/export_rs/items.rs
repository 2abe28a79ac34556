//! Items of all cells: each once, the last definition of a name; methods and imports one by one, so that
//! a cell that was written again replaces what it said before.

use super::statements::range;
use std::collections::BTreeSet;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{ImplItem, Item as SynItem, ItemUse, UseTree};

/// A name in one of Rust's namespaces, or what stands for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Type(String),
    Value(String),
    Macro(String),
    /// A trait's implementation for a type, by its head.
    Impl(String),
    /// One method, constant or type of an `impl` without a trait: the head, and the name.
    Method(String, String),
    /// An import under a name, which may be a type, a value and a macro at once.
    Import(String),
    /// An import of everything in a module, or of a trait without a name.
    Glob(String),
    /// Anything else, by its text.
    Text(String),
}

/// One item as it was written, with the comments before it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    keys: Vec<Key>,
    text: String,
    /// Must stand before what uses it: `macro_rules!`, `#[macro_use] extern crate`.
    first: bool,
    /// The crate that an `extern crate` names.
    extern_crate: Option<String>,
    /// Of an `impl` without a trait: where each of its members stands in `text`.
    members: Vec<(Key, usize, usize)>,
}

impl Item {
    /// `text` is the cell, in which `item` stands; `before` are the comments above it.
    pub(super) fn new(item: &SynItem, text: &str, before: &str) -> Self {
        let (start, end) = range(item.span());
        let written = text.get(start..end).unwrap_or_default();
        let head = if before.is_empty() { String::new() } else { format!("{before}\n") };
        let mut new = Self {
            keys: keys(item, written),
            text: format!("{head}{written}"),
            first: matches!(item, SynItem::Macro(_) | SynItem::ExternCrate(_)),
            extern_crate: None,
            members: Vec::new(),
        };
        match item {
            SynItem::ExternCrate(e) => new.extern_crate = Some(e.ident.unraw().to_string()),
            SynItem::Impl(i) if i.trait_.is_none() => {
                let of = tokens(&i.self_ty);
                for member in &i.items {
                    let (from, to) = range(member.span());
                    let shift = |at: usize| head.len() + at.saturating_sub(start);
                    new.members.push((Key::Method(of.clone(), member_name(member)), shift(from), shift(to)));
                }
                new.keys = new.members.iter().map(|(key, ..)| key.clone()).collect();
            }
            _ => {}
        }
        new
    }

    /// Takes the members out that `later` defines anew; whether anything is left of the item.
    fn without(&mut self, later: &BTreeSet<Key>) -> bool {
        if self.members.is_empty() {
            return !self.keys.iter().any(|k| later.iter().any(|l| clashes(k, l)));
        }
        let gone: Vec<(Key, usize, usize)> =
            self.members.iter().filter(|(key, ..)| later.contains(key)).cloned().collect();
        for (_, from, to) in gone.iter().rev() {
            self.text.replace_range(from..to, "");
            let length = to - from;
            for (_, start, end) in self.members.iter_mut().filter(|(_, start, _)| start >= to) {
                *start -= length;
                *end -= length;
            }
        }
        self.members.retain(|(key, ..)| !later.contains(key));
        self.keys.retain(|key| !later.contains(key));
        !self.keys.is_empty()
    }
}

/// Whether the later one of two items takes the place of the earlier.
fn clashes(earlier: &Key, later: &Key) -> bool {
    match (earlier, later) {
        (Key::Import(a), Key::Type(b) | Key::Value(b) | Key::Macro(b) | Key::Import(b)) => a == b,
        (Key::Type(a) | Key::Value(a) | Key::Macro(a), Key::Import(b)) => a == b,
        (a, b) => a == b,
    }
}

/// The items so far, in the order of their last definitions.
#[derive(Default)]
pub(super) struct Items(Vec<Item>);

impl Items {
    pub(super) fn add(&mut self, item: Item) {
        let keys: BTreeSet<Key> = item.keys.iter().cloned().collect();
        self.0.retain_mut(|earlier| earlier.without(&keys));
        self.0.push(item);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a function or the like of this name is there.
    pub(super) fn has_value(&self, name: &str) -> bool {
        self.0.iter().any(|item| item.keys.contains(&Key::Value(name.into())))
    }

    /// Crates that `extern crate` names.
    pub(super) fn crates(&self) -> Vec<String> {
        self.0.iter().filter_map(|item| item.extern_crate.clone()).collect()
    }

    /// All of them as source.
    pub(super) fn text(&self) -> String {
        let (first, rest): (Vec<&Item>, Vec<&Item>) = self.0.iter().partition(|item| item.first);
        let (imports, rest): (Vec<&Item>, Vec<&Item>) = rest
            .into_iter()
            .partition(|item| item.keys.iter().any(|k| matches!(k, Key::Import(_) | Key::Glob(_))));
        let mut text = String::new();
        for item in first.iter().chain(&imports) {
            text.push_str(&item.text);
            text.push('\n');
        }
        for item in rest {
            text.push('\n');
            text.push_str(&item.text);
            text.push('\n');
        }
        text
    }
}

fn keys(item: &SynItem, written: &str) -> Vec<Key> {
    let name = |ident: &syn::Ident| ident.unraw().to_string();
    match item {
        SynItem::Fn(i) => vec![Key::Value(name(&i.sig.ident))],
        SynItem::Const(i) if i.ident != "_" => vec![Key::Value(name(&i.ident))],
        SynItem::Static(i) => vec![Key::Value(name(&i.ident))],
        SynItem::Struct(i) => match i.fields {
            // A tuple or unit structure is a value, too.
            syn::Fields::Named(_) => vec![Key::Type(name(&i.ident))],
            _ => vec![Key::Type(name(&i.ident)), Key::Value(name(&i.ident))],
        },
        SynItem::Enum(i) => vec![Key::Type(name(&i.ident))],
        SynItem::Union(i) => vec![Key::Type(name(&i.ident))],
        SynItem::Trait(i) => vec![Key::Type(name(&i.ident))],
        SynItem::TraitAlias(i) => vec![Key::Type(name(&i.ident))],
        SynItem::Type(i) => vec![Key::Type(name(&i.ident))],
        SynItem::Mod(i) => vec![Key::Type(name(&i.ident))],
        SynItem::ExternCrate(i) => {
            vec![Key::Type(name(i.rename.as_ref().map_or(&i.ident, |(_, renamed)| renamed)))]
        }
        SynItem::Macro(i) => match &i.ident {
            Some(ident) => vec![Key::Macro(name(ident))],
            None => vec![Key::Text(written.to_owned())],
        },
        SynItem::Impl(i) => {
            let of = i.trait_.as_ref().map(|(not, path, _)| format!("{}{}", tokens(not), tokens(path)));
            vec![Key::Impl(format!("{} for {}", of.unwrap_or_default(), tokens(&i.self_ty)))]
        }
        _ => vec![Key::Text(written.to_owned())],
    }
}

/// Text that does not depend on blanks and comments.
fn tokens(of: &impl syn::spanned::Spanned) -> String {
    of.span().source_text().unwrap_or_default().split_whitespace().collect()
}

fn member_name(member: &ImplItem) -> String {
    match member {
        ImplItem::Fn(f) => f.sig.ident.unraw().to_string(),
        ImplItem::Const(c) => c.ident.unraw().to_string(),
        ImplItem::Type(t) => t.ident.unraw().to_string(),
        other => tokens(other),
    }
}

/// Each name that a `use` brings in as an item of its own. `before` stays with the first.
pub(super) fn imports(item: &ItemUse, before: &str) -> Vec<Item> {
    let source = |span: proc_macro2::Span| span.source_text().unwrap_or_default();
    let mut head = String::new();
    for attribute in &item.attrs {
        head.push_str(&source(attribute.span()));
        head.push('\n');
    }
    if !matches!(item.vis, syn::Visibility::Inherited) {
        head.push_str(&source(item.vis.span()));
        head.push(' ');
    }
    let root = if item.leading_colon.is_some() { "::" } else { "" };
    let mut leaves = Vec::new();
    leaves_of(&item.tree, root, &mut leaves);
    let mut comments = if before.is_empty() { String::new() } else { format!("{before}\n") };
    let import = |(key, path): (Key, String)| Item {
        keys: vec![key],
        text: format!("{}{head}use {path};", std::mem::take(&mut comments)),
        first: false,
        extern_crate: None,
        members: Vec::new(),
    };
    leaves.into_iter().map(import).collect()
}

fn leaves_of(tree: &UseTree, path: &str, out: &mut Vec<(Key, String)>) {
    match tree {
        UseTree::Path(p) => leaves_of(&p.tree, &format!("{path}{}::", p.ident), out),
        UseTree::Name(n) if n.ident == "self" => {
            let whole = path.trim_end_matches("::");
            let name = whole.rsplit("::").next().unwrap_or_default();
            out.push((Key::Import(name.to_owned()), whole.to_owned()));
        }
        UseTree::Name(n) => {
            out.push((Key::Import(n.ident.unraw().to_string()), format!("{path}{}", n.ident)))
        }
        UseTree::Rename(r) => {
            let from = if r.ident == "self" {
                path.trim_end_matches("::").to_owned()
            } else {
                format!("{path}{}", r.ident)
            };
            let text = format!("{from} as {}", r.rename);
            let named = r.rename != "_";
            out.push((
                if named { Key::Import(r.rename.unraw().to_string()) } else { Key::Glob(text.clone()) },
                text,
            ));
        }
        UseTree::Glob(_) => {
            let text = format!("{path}*");
            out.push((Key::Glob(text.clone()), text));
        }
        UseTree::Group(g) => g.items.iter().for_each(|t| leaves_of(t, path, out)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::statements::parse;
    use super::*;

    /// The items of these cells, blanks between them made one.
    fn of(cells: &[&str]) -> String {
        let mut items = Items::default();
        for cell in cells {
            parse(cell).unwrap().items.into_iter().for_each(|item| items.add(item));
        }
        items.text().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_last_definition_of_a_name_stays() {
        for (cells, expected) in [
            (
                &["fn f() -> i32 { 1 }", "fn g() {}", "fn f() -> i32 { 2 }"][..],
                "fn g() {} fn f() -> i32 { 2 }",
            ),
            (&["struct A { x: i32 }\nfn A() {}", "struct A;"], "struct A;"),
            (&["struct A { x: i32 }", "const A: i32 = 1;"], "struct A { x: i32 } const A: i32 = 1;"),
            (
                &["impl Clone for A { }", "impl Clone for B {}", "impl  Clone for A { /* new */ }"],
                "impl Clone for B {} impl Clone for A { /* new */ }",
            ),
            (&["macro_rules! m { () => {} }", "fn m() {}"], "macro_rules! m { () => {} } fn m() {}"),
            (&["/// Old.\nmod a { pub fn f() {} }", "/// New.\nmod a {}"], "/// New. mod a {}"),
            (&["const _: () = ();", "const _: () = ();"], "const _: () = ();"),
        ] {
            assert_eq!(of(cells), expected, "{cells:?}");
        }
    }

    #[test]
    fn methods_are_replaced_one_by_one() {
        assert_eq!(
            of(&[
                "impl A { fn x(&self) {} /* é */ fn y(&self) {} const Z: i32 = 1; }",
                "impl A { fn x(&self) { 1; } fn w() {} }"
            ]),
            "impl A { /* é */ fn y(&self) {} const Z: i32 = 1; } impl A { fn x(&self) { 1; } fn w() {} }"
        );
        assert_eq!(of(&["impl A { fn x() {} }", "impl A { fn x() { 2; } }"]), "impl A { fn x() { 2; } }");
        assert_eq!(
            of(&["impl A { fn a() {} fn b() {} fn c() {} }", "impl A { fn b() {} fn a() {} }"]),
            "impl A { fn c() {} } impl A { fn b() {} fn a() {} }"
        );
    }

    #[test]
    fn imports_are_taken_name_by_name() {
        assert_eq!(
            of(&[
                "use std::{fmt::{self, Debug as D}, io::*};\nuse std::io::Result;",
                "use std::fmt::Result;\nuse a::Trait as _;"
            ]),
            "use std::fmt; use std::fmt::Debug as D; use std::io::*; use std::fmt::Result; use a::Trait as _;"
        );
        assert_eq!(of(&["use a::Point;", "struct Point { x: i32 }"]), "struct Point { x: i32 }");
        assert_eq!(
            of(&["pub(crate) use ::serde::Serialize;", "extern crate rand as r;"]),
            "extern crate rand as r; pub(crate) use ::serde::Serialize;"
        );
    }
}
