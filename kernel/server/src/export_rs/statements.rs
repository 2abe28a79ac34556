//! The Rust of one cell, cut into items and statements, each as it was written.
//!
//! Assumes the syntax of function bodies, which is what a cell has. Does not check types.

use super::items::{Item, imports};
use proc_macro2::Span;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Attribute, Block, Expr, Item as SynItem, Stmt};

/// What a cell's Rust consists of.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub attributes: Vec<String>,
    pub items: Vec<Item>,
    /// Statements with the comments before them; the last value is shown.
    pub body: Vec<String>,
    pub awaits: bool,
}

/// Errors: what the parser does not understand, and on which line.
pub(super) fn parse(text: &str) -> Result<Parsed, String> {
    let whole = |input: ParseStream<'_>| Ok((Attribute::parse_inner(input)?, Block::parse_within(input)?));
    let (attributes, statements) =
        whole.parse_str(text).map_err(|e| format!("line {}: {e}", e.span().start().line))?;
    let mut parsed = Parsed::default();
    let mut at = 0;
    for attribute in &attributes {
        let (start, end) = range(attribute.span());
        parsed.attributes.push(text.get(start..end).unwrap_or_default().to_owned());
        at = end;
    }
    let last = statements.len().saturating_sub(1);
    for (number, statement) in statements.iter().enumerate() {
        let (start, end) = range(statement.span());
        let before = text.get(at..start).unwrap_or_default().trim();
        let written = text.get(start..end).unwrap_or_default();
        at = end;
        match statement {
            Stmt::Item(SynItem::Use(item)) => parsed.items.extend(imports(item, before)),
            Stmt::Item(item) => parsed.items.push(Item::new(item, text, before)),
            other => {
                if !before.is_empty() {
                    parsed.body.push(before.to_owned());
                }
                let mut awaits = Awaits(false);
                awaits.visit_stmt(other);
                parsed.awaits |= awaits.0;
                parsed.body.push(if number == last { shown(other, written) } else { written.to_owned() });
            }
        }
    }
    let after = text.get(at..).unwrap_or_default().trim();
    if !after.is_empty() && after != ";" {
        parsed.body.push(after.to_owned());
    }
    Ok(parsed)
}

pub(super) fn range(span: Span) -> (usize, usize) {
    let range = span.byte_range();
    (range.start, range.end)
}

/// The last statement of a cell: its value, if it has one, is what the notebook shows.
fn shown(statement: &Stmt, written: &str) -> String {
    match statement {
        Stmt::Expr(Expr::Macro(m), None) => of_macro(&m.mac, written),
        Stmt::Macro(m) if m.semi_token.is_none() => of_macro(&m.mac, written),
        Stmt::Expr(expr, None) if prints_surely(expr) => format!("println!(\"{{:?}}\", {written});"),
        Stmt::Expr(expr, None) if !without_value(expr) => format!("show!({written});"),
        Stmt::Expr(_, None) => format!("{written};"),
        _ => written.to_owned(),
    }
}

fn of_macro(mac: &syn::Macro, written: &str) -> String {
    let name = mac.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
    match name.as_str() {
        "vec" | "format" | "concat" | "stringify" | "line" | "file" | "matches" => {
            format!("println!(\"{{:?}}\", {written});")
        }
        name if UNIT_MACROS.contains(&name) => format!("{written};"),
        _ => format!("show!({written});"),
    }
}

/// Macros of the standard library that give `()`, or never return.
const UNIT_MACROS: &[&str] = &[
    "print",
    "println",
    "eprint",
    "eprintln",
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "panic",
    "todo",
    "unimplemented",
    "unreachable",
    "thread_local",
];

/// Expressions whose value is `()` or never comes.
fn without_value(expr: &Expr) -> bool {
    let compound = |op: &syn::BinOp| {
        use syn::BinOp::{
            AddAssign, BitAndAssign, BitOrAssign, BitXorAssign, DivAssign, MulAssign, RemAssign, ShlAssign,
            ShrAssign, SubAssign,
        };
        matches!(
            op,
            AddAssign(_)
                | SubAssign(_)
                | MulAssign(_)
                | DivAssign(_)
                | RemAssign(_)
                | BitAndAssign(_)
                | BitOrAssign(_)
                | BitXorAssign(_)
                | ShlAssign(_)
                | ShrAssign(_)
        )
    };
    match expr {
        Expr::ForLoop(_)
        | Expr::While(_)
        | Expr::Assign(_)
        | Expr::Return(_)
        | Expr::Break(_)
        | Expr::Continue(_) => true,
        Expr::Binary(b) => compound(&b.op),
        Expr::If(e) => e.else_branch.is_none(),
        _ => false,
    }
}

/// Expressions of literals and operators, which are never `()` and print with `{:?}` in any case.
fn prints_surely(expr: &Expr) -> bool {
    match expr {
        Expr::Lit(_) | Expr::Cast(_) => true,
        Expr::Binary(b) => !without_value(expr) && prints_surely(&b.left) && prints_surely(&b.right),
        Expr::Unary(u) => !matches!(u.op, syn::UnOp::Deref(_)) && prints_surely(&u.expr),
        Expr::Paren(p) => prints_surely(&p.expr),
        Expr::Reference(r) => prints_surely(&r.expr),
        Expr::Array(a) => a.elems.iter().all(prints_surely) && !a.elems.is_empty(),
        Expr::Tuple(t) => t.elems.iter().all(prints_surely) && !t.elems.is_empty(),
        _ => false,
    }
}

/// Looks for an `.await` that belongs to the cell itself.
struct Awaits(bool);

impl<'ast> Visit<'ast> for Awaits {
    fn visit_expr(&mut self, expr: &'ast Expr) {
        match expr {
            Expr::Async(_) => {}
            Expr::Closure(c) if c.asyncness.is_some() => {}
            Expr::Await(_) => self.0 = true,
            other => syn::visit::visit_expr(self, other),
        }
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        // Its tokens are not parsed: `println!("{}", f().await)`.
        let tokens = mac.tokens.to_string();
        self.0 |= tokens.contains(". await") || tokens.contains(".await");
    }

    fn visit_item(&mut self, _: &'ast SynItem) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> String {
        parse(text).unwrap().body.join("\n")
    }

    #[test]
    fn the_last_value_is_shown() {
        for (text, expected) in [
            ("let a = 1;\na", "let a = 1;\nshow!(a);"),
            ("1 + 1", "println!(\"{:?}\", 1 + 1);"),
            ("(1, \"a\")", "println!(\"{:?}\", (1, \"a\"));"),
            ("vec![1]", "println!(\"{:?}\", vec![1]);"),
            ("println!(\"x\")", "println!(\"x\");"),
            ("for i in 0..3 { f(i) }", "for i in 0..3 { f(i) };"),
            ("a += 1", "a += 1;"),
            ("v.push(1)", "show!(v.push(1));"),
            ("if a { 1 } else { 2 }", "show!(if a { 1 } else { 2 });"),
            ("f()?", "show!(f()?);"),
            ("a;", "a;"),
            ("// why\nlet s = \"a\n  b\"; // then", "// why\nlet s = \"a\n  b\";\n// then"),
            ("let ü = 'é';\nü", "let ü = 'é';\nshow!(ü);"),
        ] {
            assert_eq!(body(text), expected, "{text}");
        }
    }

    #[test]
    fn what_awaits_and_what_only_seems_to() {
        for (text, awaits) in [
            ("f().await", true),
            ("println!(\"{}\", f().await);", true),
            ("let x = async { f().await };", false),
            ("async fn g() { f().await }", false),
            ("let c = async || f().await;", false),
            ("let c = g(f().await);", true),
        ] {
            assert_eq!(parse(text).unwrap().awaits, awaits, "{text}");
        }
    }

    #[test]
    fn inner_attributes_and_errors() {
        let parsed = parse("#![allow(unused)]\n#![feature(x)]\nlet a = 1;").unwrap();
        assert_eq!(parsed.attributes, ["#![allow(unused)]", "#![feature(x)]"]);
        assert_eq!(parsed.body, ["let a = 1;"]);
        assert!(parse("let a = ;").unwrap_err().starts_with("line 1: "));
        assert!(parse("\n\nlet = 3").unwrap_err().starts_with("line 3: "));
    }
}
