//! Names that every cell has: keywords, and what the standard library's prelude brings.

use dds_core::eval::Completion;

/// Keyword and what it is for.
const KEYWORDS: [(&str, &str); 38] = [
    ("as", "Casts to a number type, or renames an import."),
    ("async", "Makes a function, block or closure that returns a future."),
    ("await", "Waits for a future: `f().await`."),
    ("break", "Leaves a loop or labelled block, with a value if it is given one."),
    ("const", "A value known when the code is compiled."),
    ("continue", "Goes on with the next turn of a loop."),
    ("crate", "The root of the crate's own paths."),
    ("dyn", "A value behind a trait, whose type is known only when it runs: `Box<dyn Trait>`."),
    ("else", "What to do when `if` or `let` does not hold."),
    ("enum", "A type that is one of several variants."),
    ("extern", "Names another crate, or functions of another language."),
    ("false", "The `bool` that does not hold."),
    ("fn", "A function."),
    ("for", "Loops over an iterator: `for x in list { … }`."),
    ("if", "Runs a block when a condition holds."),
    ("impl", "Functions of a type, or its implementation of a trait."),
    ("in", "Between the pattern and the iterator of `for`."),
    ("let", "Defines a variable: `let x = 1;`, or `let mut x = 1;` if it is to change."),
    ("loop", "Loops until `break`."),
    ("match", "Chooses by patterns; every possible value must be covered."),
    ("mod", "A module."),
    ("move", "Has a closure or async block take what it uses by value."),
    ("mut", "May be changed."),
    ("pub", "Visible outside of its module."),
    ("ref", "Binds by reference in a pattern."),
    ("return", "Leaves the function with a value."),
    ("self", "The value that a method is called on."),
    ("Self", "The type that an `impl` block is for."),
    ("static", "A variable that lives as long as the program."),
    ("struct", "A type with fields."),
    ("super", "The module above."),
    ("trait", "What types have in common: functions that they implement."),
    ("true", "The `bool` that holds."),
    ("type", "Another name for a type."),
    ("unsafe", "Allows what the compiler cannot check."),
    ("use", "Brings names into scope: `use std::collections::HashMap;`."),
    ("where", "Conditions on type parameters."),
    ("while", "Loops as long as a condition holds."),
];

const TYPES: [&str; 42] = [
    "bool",
    "char",
    "f32",
    "f64",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "str",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "AsMut",
    "AsRef",
    "Box",
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "DoubleEndedIterator",
    "Drop",
    "Eq",
    "ExactSizeIterator",
    "Extend",
    "Fn",
    "FnMut",
    "FnOnce",
    "From",
    "FromIterator",
    "Into",
    "IntoIterator",
    "Iterator",
    "Option",
    "Ord",
    "Result",
    "String",
    "Vec",
];

const VALUES: [(&str, &str); 5] = [
    ("Some", "Some(T)"),
    ("None", "Option<T>"),
    ("Ok", "Ok(T)"),
    ("Err", "Err(E)"),
    ("drop", "fn drop<T>(value: T)"),
];

const MACROS: [(&str, &str); 26] = [
    ("assert!", "Panics unless a condition holds."),
    ("assert_eq!", "Panics unless two values are equal, and shows both."),
    ("assert_ne!", "Panics if two values are equal."),
    ("cfg!", "Whether a condition of the build holds."),
    ("column!", "The column of this place in the code."),
    ("concat!", "Joins literals to one text."),
    ("dbg!", "Prints an expression with its value to standard error, and gives the value."),
    ("debug_assert!", "As `assert!`, unless the code is optimised."),
    ("eprint!", "Prints to standard error."),
    ("eprintln!", "Prints a line to standard error."),
    ("env!", "An environment variable, read when the code is compiled."),
    ("file!", "The file of this place in the code."),
    ("format!", "A `String` from a template: `format!(\"{x:?} {}\", y)`."),
    ("format_args!", "What `format!` takes, without making a text."),
    ("include_bytes!", "The bytes of a file, read when the code is compiled."),
    ("include_str!", "The text of a file, read when the code is compiled."),
    ("line!", "The line of this place in the code."),
    ("matches!", "Whether a value matches a pattern."),
    ("panic!", "Stops the cell with a message; variables of earlier cells are kept."),
    ("print!", "Prints, as `format!` would, without a line end."),
    ("println!", "Prints a line: `println!(\"{x} {:?}\", y)`."),
    ("todo!", "Panics: this is not written yet."),
    ("unimplemented!", "Panics: this is not implemented."),
    ("unreachable!", "Panics: this was thought to be impossible."),
    ("vec!", "A `Vec`: `vec![1, 2, 3]`, or `vec![0; 10]`."),
    ("write!", "Writes formatted text to a writer."),
];

pub(super) fn completion(text: &str, kind: &str, signature: &str) -> Completion {
    Completion { text: text.to_owned(), kind: kind.to_owned(), signature: signature.to_owned() }
}

pub(super) fn all() -> impl Iterator<Item = Completion> {
    let keywords = KEYWORDS.iter().map(|(name, _)| completion(name, "keyword", ""));
    let types = TYPES.iter().map(|name| completion(name, "class", ""));
    let values = VALUES.iter().map(|(name, signature)| completion(name, "function", signature));
    let macros = MACROS.iter().map(|(name, _)| completion(name, "function", ""));
    let crates = ["std", "core", "alloc", "dds"].iter().map(|name| completion(name, "module", ""));
    keywords.chain(types).chain(values).chain(macros).chain(crates)
}

/// A sentence about a keyword or macro.
pub(super) fn about(name: &str) -> Option<&'static str> {
    let of_macro = |full: &str| full.strip_suffix('!') == Some(name);
    let keyword = KEYWORDS.iter().find(|(keyword, _)| *keyword == name);
    keyword.or_else(|| MACROS.iter().find(|(full, _)| of_macro(full))).map(|(_, about)| *about)
}
