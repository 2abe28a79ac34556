//! A cell's Rust, read by the parser that evcxr splits it with. Code that does not parse has no
//! parts: what is wrong with it is for the compiler to say.

use ra_ap_syntax::ast::{self, HasModuleItem};
use ra_ap_syntax::{AstNode, Edition, SourceFile, SyntaxNode};
use std::ops::Range;

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
        if !(text.is_empty() || text.starts_with("//") || text.starts_with(':')) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
