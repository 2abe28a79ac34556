//! The first cell of every session: Rust code of ours that runs among the user's cells.
//!
//! It loads the crate `dds` ([`crate::runtime`]) and with it three entry points into the standard
//! library that the cells share (the worker has a copy of its own, with other buffers and another
//! panic hook), and brings a fallback into scope with which a final expression compiles once
//! instead of twice. Where the crate cannot be built, the entry points come without it.

use libc::c_void;
use std::path::Path;

/// Routes panics to the descriptor given. Called once, on the thread that runs the cells.
pub(crate) type Install = unsafe extern "C" fn(i32);
/// Calls back while no other thread is in the middle of printing, with nothing left in buffers.
pub(crate) type Quiet = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void);
/// Writes out what `print!` has buffered.
pub(crate) type Flush = unsafe extern "C" fn();

pub(crate) const INSTALL: &str = "dds_prelude_install";
pub(crate) const QUIET: &str = "dds_prelude_quiet";
pub(crate) const FLUSH: &str = "dds_prelude_flush";

/// MIME type under which the fallback reports a cell's value.
pub(crate) const VALUE_MIME: &str = "application/x.dds.value";
/// MIME type under which [`crate::RustEvaluator`] asks for the text of an expression.
pub(crate) const TEXT_MIME: &str = "application/x.dds.text";

/// The method by which a value shows itself.
pub(crate) const METHOD: &str = "evcxr_display";

/// `evcxr_display` for whatever is `Debug`. A method of the type itself wins over it.
pub(crate) const FALLBACK: &str = r#"
pub trait DdsShow { fn evcxr_display(&self); }
impl<T: ?Sized + std::fmt::Debug> DdsShow for T {
    fn evcxr_display(&self) {
        let text = format!("{:?}", self);
        println!("EVCXR_BEGIN_CONTENT application/x.dds.value\n{text}\nEVCXR_END_CONTENT");
    }
}
"#;

/// The same by way of the crate `dds`, each item on one line.
const BY_RUNTIME: [&str; 2] = [
    "pub trait DdsShow { fn evcxr_display(&self); }\n",
    "impl<T: ?Sized + std::fmt::Debug> DdsShow for T { fn evcxr_display(&self) { ::dds::show::debug(self); } }\n",
];

/// What the compiler gets for these lines, and for the end of a final expression, where cells are
/// compiled without cargo: every type finds its best form in one compilation
/// (`magics/rt/src/show.rs` says how).
const IN_FULL: [&str; 2] = [
    "pub trait DdsShow { fn evcxr_display(&self) -> ::dds::show::Value<'_, Self>; }\n",
    "impl<T: ?Sized> DdsShow for T { \
     fn evcxr_display(&self) -> ::dds::show::Value<'_, Self> { ::dds::show::Value::new(self) } } \
     pub trait DdsDone { fn dds_show(&self); } impl DdsDone for () { fn dds_show(&self) {} }\n",
];
/// As evcxr writes it. Where the line is the user's own, its longer form does the same.
const SHOWN: &str = ").evcxr_display();\n";
const SHOWN_IN_FULL: &str = ").evcxr_display().dds_show();\n";

/// Whether a cell's generated code is one that [`in_full`] is for.
pub(crate) fn shows_in_full(code: &str) -> bool {
    BY_RUNTIME.iter().all(|line| code.contains(line))
}

/// A line of generated code, as the compiler is to get it.
pub(crate) fn in_full(line: &str) -> &str {
    match BY_RUNTIME.iter().zip(IN_FULL).find(|(plain, _)| **plain == line) {
        Some((_, full)) => full,
        None if line == SHOWN => SHOWN_IN_FULL,
        None => line,
    }
}

/// Crates whose values are shown in a richer form, and the code for it: traits of the cell's own,
/// since neither these crates nor `dds` know each other.
const DISPLAYS: [(&str, &str); 3] = [
    ("image", include_str!("prelude/image.rs")),
    ("ndarray", include_str!("prelude/ndarray.rs")),
    ("polars", include_str!("prelude/polars.rs")),
];

/// The code that shows values of the crates for which `is_new` holds.
pub(crate) fn displays(is_new: impl Fn(&str) -> bool) -> String {
    DISPLAYS.iter().filter(|(name, _)| is_new(name)).map(|(_, code)| without_heading(code)).collect()
}

/// A file of ours as part of a cell, where the comment on a module would be none.
fn without_heading(file: &str) -> String {
    file.split_inclusive('\n').filter(|line| !line.starts_with("//!")).collect()
}

/// Takes the fallback out of scope again: a crate has brought a trait of its own.
pub(crate) const NO_FALLBACK: &str = "pub trait DdsShow {}";

/// The hooks without the crate `dds`: its file of hooks, which needs nothing of it.
const HOOKS: &str = include_str!("../../../magics/rt/src/hooks.rs");

/// The library of the crate `dds` has the hooks; the first cell has to be linked with it.
const LINKED: &str = "::dds::show::linked();";

/// The code of the first cell, with the fallback in scope or without, and with the crate `dds` in
/// the folder `runtime`, or without.
pub(crate) fn code(fallback: bool, runtime: Option<&Path>) -> String {
    match runtime {
        Some(folder) => {
            let fallback = if fallback { BY_RUNTIME.concat() } else { String::new() };
            format!(":dep dds = {{ path = {:?} }}\n{fallback}{LINKED}", folder.display().to_string())
        }
        None => {
            format!("{}let _ = {{\n{}\n}};", if fallback { FALLBACK } else { "" }, without_heading(HOOKS))
        }
    }
}

/// Whether `code` seems to bring a trait with an `evcxr_display` of its own into scope, which
/// would be ambiguous beside the fallback. Calling or defining the method on a type is fine.
pub(crate) fn brings_own_display(code: &str) -> bool {
    let own = code.contains("trait") && code.contains("fn evcxr_display");
    let named = code.match_indices("evcxr").any(|(at, _)| {
        let rest = code.get(at..).unwrap_or("");
        !rest.starts_with("evcxr_display")
    });
    own || named
}

/// Rust code that reports the `Display` text of `expression` under [`TEXT_MIME`]. The expression
/// stands on lines of its own, by which errors in it are found.
pub(crate) fn text_of(expression: &str) -> String {
    format!(
        "{{ let text = format!(\"{{}}\", &(\n{expression}\n));\n\
         println!(\"EVCXR_BEGIN_CONTENT {TEXT_MIME}\\n{{text}}\\nEVCXR_END_CONTENT\"); }};"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_displays_are_noticed() {
        assert!(brings_own_display("use evcxr_image::ImageDisplay;"));
        assert!(brings_own_display("trait Show { fn evcxr_display(&self); }"));
        assert!(!brings_own_display("impl A { fn evcxr_display(&self) {} }"));
        assert!(!brings_own_display("figure.evcxr_display();"));
        assert!(!brings_own_display("1 + 1"));
    }

    #[test]
    fn names_in_the_code_are_the_names_looked_up() {
        for name in [INSTALL, QUIET, FLUSH, VALUE_MIME] {
            assert!(code(true, None).contains(name), "{name}");
        }
        let code = code(true, Some(Path::new("/a b/\"c")));
        assert!(code.starts_with(":dep dds = { path = \"/a b/\\\"c\" }\n"), "{code}");
    }
}
