//! How an argument of the grammar is named and what it takes, in words for help and errors.

use clap::{Arg, ArgAction};
use std::any::TypeId;

/// What an argument's value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it is there or not.
    Nothing,
    Text,
    Whole,
    Number,
    /// One of these words.
    Choice(Vec<String>),
}

pub fn takes(arg: &Arg) -> Takes {
    if !arg.get_action().takes_values() {
        return Takes::Nothing;
    }
    let choices: Vec<String> = arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
    if !choices.is_empty() {
        return Takes::Choice(choices);
    }
    let id = arg.get_value_parser().type_id();
    let whole = [TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>(), TypeId::of::<usize>()];
    if whole.iter().any(|t| id == *t) {
        Takes::Whole
    } else if id == TypeId::of::<f64>() {
        Takes::Number
    } else {
        Takes::Text
    }
}

/// Whether several values may be given.
pub fn many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) || arg.get_num_args().is_some_and(|n| n.max_values() > 1)
}

/// `TARGET`, `N`, `FILE`: the name of an argument's value.
pub fn value_name(arg: &Arg) -> String {
    if let Some([name, ..]) = arg.get_value_names()
        && name.as_str() != arg.get_id().as_str().to_uppercase()
    {
        return name.to_string();
    }
    if arg.is_positional() {
        return arg.get_id().as_str().to_uppercase();
    }
    match takes(arg) {
        Takes::Whole | Takes::Number => "N".into(),
        Takes::Choice(words) if words.iter().map(String::len).sum::<usize>() <= 20 => words.join("|"),
        _ => arg.get_id().as_str().to_uppercase(),
    }
}

/// `--size N`, `--json`, `TARGETS`: how a message names the argument.
pub fn name(arg: &Arg) -> String {
    let flag = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{short}"),
        (None, None) => return value_name(arg),
    };
    if takes(arg) == Takes::Nothing { flag } else { format!("{flag} {}", value_name(arg)) }
}

/// `--size` or `TARGETS`, without its value.
pub fn flag(arg: &Arg) -> String {
    name(arg).split(' ').next().unwrap_or_default().to_owned()
}

/// One line on what it is.
pub fn help(arg: &Arg) -> String {
    arg.get_help().map(|h| h.to_string().replace('\n', " ")).unwrap_or_default()
}

/// The arguments of a command that help and completion show, in the order of their definition.
pub fn visible(command: &clap::Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|a| !a.is_hide_set() && !["help", "version"].contains(&a.get_id().as_str()))
}
