//! A cell's Rust, read by the parser that evcxr splits it with. Code that does not parse has no
//! parts: what is wrong with it is for the compiler to say.

use ra_ap_syntax::ast::{self, HasModuleItem, HasName};
use ra_ap_syntax::{AstNode, Edition, SourceFile, SyntaxNode};
use std::ops::Range;

/// Longest signature kept of an item, in bytes.
const MAX_SIGNATURE: usize = 600;
/// Longest documentation kept of an item, in bytes.
const MAX_DOCS: usize = 4000;

/// What cells are put into to be parsed as statements.
const HEAD: &str = "fn f(){";
/// Longest code that is parsed, in bytes.
const MAX_CODE: usize = 1 << 20;

/// The statements of a part of a cell, as nodes, and what to take from their offsets to get those
/// in `code`. Directives and comments at the beginning are no statements.
fn statements(code: &str) -> (Vec<SyntaxNode>, Range<usize>) {
    let start = rust_start(code);
    let none = (Vec::new(), start..code.len());
    let Some(rust) = code.get(start..).filter(|rust| rust.len() <= MAX_CODE) else { return none };
    let parsed = SourceFile::parse(&format!("{HEAD}{rust}\n}}"), Edition::Edition2024);
    if !parsed.errors().is_empty() {
        return none;
    }
    let file = parsed.tree();
    let Some(ast::Item::Fn(function)) = file.items().next() else { return none };
    let Some(list) = function.body().and_then(|body| body.stmt_list()) else { return none };
    (list.syntax().children().collect(), start..code.len())
}

/// Where the first line stands that is neither a directive nor blank nor a comment.
fn rust_start(code: &str) -> usize {
    let mut at = 0;
    for line in code.split_inclusive('\n') {
        let text = line.trim();
        let comment = text.starts_with("//") && !text.starts_with("///");
        if !(text.is_empty() || comment || text.starts_with(':')) {
            return at;
        }
        at += line.len();
    }
    code.len()
}

/// The final expression whose value is the cell's.
pub(crate) fn final_expression(code: &str) -> Option<Range<usize>> {
    let (nodes, place) = statements(code);
    let last = nodes.last()?;
    let expression = ast::Expr::cast(last.clone())?;
    let text = last.text_range();
    let at = |offset: usize| (offset + place.start).checked_sub(HEAD.len());
    let range = at(text.start().into())?..at(text.end().into())?;
    match expression {
        ast::Expr::ReturnExpr(_) | ast::Expr::BreakExpr(_) | ast::Expr::ContinueExpr(_) => None,
        // May be items.
        ast::Expr::MacroExpr(_) if code.get(range.clone())?.ends_with('}') => None,
        _ => Some(range),
    }
}

/// Something that a cell defines or brings into scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Item {
    pub name: String,
    /// In the front end's words.
    pub kind: &'static str,
    /// The item without its body.
    pub signature: String,
    /// Markdown.
    pub docs: String,
    /// The type that it belongs to, for functions of `impl` blocks and variants.
    pub of: Option<String>,
}

/// The items of a part of a cell, and names that it imports.
pub(crate) fn items(code: &str) -> Vec<Item> {
    let mut found = Vec::new();
    for node in statements(code).0 {
        if let Some(item) = ast::Item::cast(node) {
            collect(&item, &mut found);
        }
    }
    found
}

fn collect(item: &ast::Item, found: &mut Vec<Item>) {
    let (name, kind) = match item {
        ast::Item::Fn(item) => (item.name(), "function"),
        ast::Item::Struct(item) => (item.name(), "class"),
        ast::Item::Enum(item) => (item.name(), "class"),
        ast::Item::Union(item) => (item.name(), "class"),
        ast::Item::Trait(item) => (item.name(), "class"),
        ast::Item::TypeAlias(item) => (item.name(), "class"),
        ast::Item::Module(item) => (item.name(), "module"),
        ast::Item::Const(item) => (item.name(), "instance"),
        ast::Item::Static(item) => (item.name(), "instance"),
        ast::Item::MacroRules(item) => (item.name(), "function"),
        ast::Item::Impl(item) => return collect_impl(item, found),
        ast::Item::Use(item) => {
            return found.extend(item.use_tree().iter().flat_map(|tree| imports(tree, "")));
        }
        _ => return,
    };
    let Some(name) = name.map(|name| name.text().to_string()) else { return };
    if let ast::Item::Enum(item) = item {
        for variant in item.variant_list().iter().flat_map(|list| list.variants()) {
            found.push(Item {
                name: variant.name().map(|name| name.text().to_string()).unwrap_or_default(),
                kind: "instance",
                signature: cut(variant.syntax().text().to_string(), MAX_SIGNATURE),
                docs: String::new(),
                of: Some(name.clone()),
            });
        }
    }
    let signature = match item {
        ast::Item::MacroRules(_) => format!("macro {name}!"),
        ast::Item::Module(_) => format!("mod {name}"),
        ast::Item::Fn(item) => signature_of(item),
        ast::Item::Trait(item) => {
            let whole = item.syntax().text().to_string();
            whole.split('{').next().unwrap_or("").trim().to_owned()
        }
        other => other.syntax().text().to_string(),
    };
    let docs = docs_of(item.syntax());
    let signature = without_docs(&signature);
    let name = if matches!(item, ast::Item::MacroRules(_)) { format!("{name}!") } else { name };
    found.push(Item { name, kind, signature: cut(signature, MAX_SIGNATURE), docs, of: None });
}

fn collect_impl(block: &ast::Impl, found: &mut Vec<Item>) {
    let Some(kind) = block.self_ty().map(|kind| kind.syntax().text().to_string()) else { return };
    let of = kind.split('<').next().unwrap_or("").trim().to_owned();
    for item in block.assoc_item_list().iter().flat_map(|list| list.assoc_items()) {
        let ast::AssocItem::Fn(function) = item else { continue };
        found.push(Item {
            name: function.name().map(|name| name.text().to_string()).unwrap_or_default(),
            kind: "function",
            signature: cut(without_docs(&signature_of(&function)), MAX_SIGNATURE),
            docs: docs_of(function.syntax()),
            of: Some(of.clone()),
        });
    }
}

/// The `///` lines at the beginning of a node or, where the parser has left them there, before it.
fn docs_of(node: &SyntaxNode) -> String {
    let root = node.ancestors().last().map(|root| root.text().to_string()).unwrap_or_default();
    let before = root.get(..node.text_range().start().into()).unwrap_or("");
    let doc = |line: &str| {
        line.trim().strip_prefix("///").map(|text| text.strip_prefix(' ').unwrap_or(text).to_owned())
    };
    let mut lines: Vec<String> = before.trim_end().lines().rev().map_while(doc).collect();
    lines.reverse();
    let own = node.text().to_string();
    lines.extend(
        own.lines()
            .take_while(|line| doc(line).is_some() || line.trim_start().starts_with('#'))
            .filter_map(doc),
    );
    cut(lines.join("\n"), MAX_DOCS)
}

fn signature_of(function: &ast::Fn) -> String {
    let whole = function.syntax().text().to_string();
    let body = function.body().map_or(0, |body| usize::from(body.syntax().text_range().len()));
    whole.get(..whole.len().saturating_sub(body)).unwrap_or(&whole).trim().trim_end_matches(';').to_owned()
}

fn without_docs(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("///"));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The names that a `use` brings, each with its path.
fn imports(tree: &ast::UseTree, before: &str) -> Vec<Item> {
    let own = tree.path().map(|path| path.syntax().text().to_string()).unwrap_or_default();
    let path = match (before, own.as_str()) {
        ("", own) => own.to_owned(),
        (before, "") => before.to_owned(),
        (before, "self") => before.to_owned(),
        (before, own) => format!("{before}::{own}"),
    };
    if let Some(list) = tree.use_tree_list() {
        return list.use_trees().flat_map(|tree| imports(&tree, &path)).collect();
    }
    let renamed = tree.rename().and_then(|rename| rename.name()).map(|name| name.text().to_string());
    let name = renamed.unwrap_or_else(|| path.rsplit("::").next().unwrap_or("").to_owned());
    if tree.star_token().is_some() || name.is_empty() || name == "_" {
        return Vec::new();
    }
    let kind = match name.chars().next() {
        Some(c) if c.is_uppercase() => "class",
        _ => "function",
    };
    vec![Item { signature: format!("use {path}"), name, kind, ..Item::default() }]
}

fn cut(text: String, most: usize) -> String {
    if text.len() <= most {
        text
    } else {
        format!("{}…", text.get(..text.floor_char_boundary(most)).unwrap_or(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_with_their_signatures() {
        let code = "/// Adds.\n/// Twice.\npub fn add<T>(a: T, b: i32) -> i32 { b }\n\
            #[derive(Debug)]\nstruct P { x: i32 }\nimpl P { fn new() -> P { P { x: 1 } } }\n\
            enum E { A, B(u8) }\nuse std::{fmt::{self, Debug as D}, io::*};\nmacro_rules! m { () => { 1 } }\n\
            let x = 1;";
        let found = items(code);
        let named = |name: &str| found.iter().find(|item| item.name == name).cloned().expect(name);
        let add = named("add");
        assert_eq!(
            (add.signature.as_str(), add.docs.as_str()),
            ("pub fn add<T>(a: T, b: i32) -> i32", "Adds.\nTwice.")
        );
        assert_eq!(named("P").signature, "#[derive(Debug)]\nstruct P { x: i32 }");
        assert_eq!(
            (named("new").of.as_deref(), named("new").signature.as_str()),
            (Some("P"), "fn new() -> P")
        );
        assert_eq!(named("B").of.as_deref(), Some("E"));
        assert_eq!((named("D").signature.as_str(), named("fmt").kind), ("use std::fmt::Debug", "function"));
        assert_eq!(named("m!").kind, "function");
        assert_eq!(items("fn broken("), []);
    }

    #[test]
    fn final_expressions() {
        for (code, expected) in [
            ("1 + 1", "1 + 1"),
            ("let a = 1;\n  a.b()\n.c() // note", "a.b()\n.c()"),
            (":dep x\n\n// é\n\n f(é)", "f(é)"),
            ("match a { _ => 1 }", "match a { _ => 1 }"),
            ("vec![1]", "vec![1]"),
            ("{ 1 }", "{ 1 }"),
        ] {
            let range = final_expression(code);
            assert_eq!(range.and_then(|range| code.get(range)), Some(expected), "{code:?}");
        }
        for code in
            ["", "a;", "let a = 1", "fn f() {}", "return 1", "break", "f(", "foo! { a }", ":vars", "\"a"]
        {
            assert_eq!(final_expression(code), None, "{code:?}");
        }
    }
}
