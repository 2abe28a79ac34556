//! Help, rendered from the registry: all commands by theme, or one in full.

use crate::argument;
use crate::grammar::Door;
use crate::theme::{THEMES, examples, typed};
use crate::usage::{unknown_command, usage_line, usage_parts};
use clap::Command;
use dds_core::mime::escape_html;
use dds_core::{Outcome, Result};
use serde_json::{Value, json};

/// Columns that help text is wrapped at.
const WIDTH: usize = 96;

/// The answer to `help` and `help COMMAND`. Errors (`Usage`) suggest the nearest command.
pub fn help(door: Door, command: Option<&str>) -> Result<Outcome> {
    let tree = door.tree();
    match command {
        None => Ok(overview(door, &tree)),
        Some(name) => {
            let found = tree.find_subcommand(name).filter(|c| !c.is_hide_set());
            found.map(|c| of_command(door, c)).ok_or_else(|| unknown_command(name, door, &tree))
        }
    }
}

/// What `--json` says about a command.
fn entry(door: Door, command: &Command) -> Value {
    json!({"name": command.get_name(), "about": about(command), "usage": usage_line(door, command)})
}

fn overview(door: Door, tree: &Command) -> Outcome {
    let mut text = String::new();
    let mut html = String::new();
    let mut entries = Vec::new();
    for theme in THEMES {
        let commands: Vec<&Command> = theme.commands.iter().filter_map(|n| tree.find_subcommand(n)).collect();
        if commands.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{}\n", theme.title));
        html.push_str(&format!("<tr><th colspan=\"3\" style=\"text-align:left\">{}</th></tr>", theme.title));
        for command in commands {
            let (name, about) = (command.get_name(), about(command));
            let example = examples(door, name).first().map(|e| headline(door, e)).unwrap_or_default();
            text.push_str(&hanging(&format!("  {name:<12}"), about.split(' '), 14));
            text.push_str(&format!("{:14}{example}\n", ""));
            html.push_str(&format!(
                "<tr><td style=\"text-align:left\"><code>{}</code></td><td style=\"text-align:left\">{}</td>\
                 <td style=\"text-align:left\"><code>{}</code></td></tr>",
                escape_html(name),
                escape_html(&about),
                escape_html(&example)
            ));
            entries.push(entry(door, command));
        }
    }
    let closing = match door {
        Door::Cell => {
            "\n%dds COMMAND …    one command; {expr} becomes the value of a Rust expression, {{ is a brace\n\
             %%dds COMMAND     the rest of the cell is TOML with the same names as the flags\n\
             !LINE             a shell line\n\
             dds::open(URL)?   in Rust: a repository to read, list and upload to (?dds::open explains)\n\
             %dds help NAME    one command in full; Tab completes, Shift-Tab explains\n"
        }
        Door::Shell => {
            "\ndds help NAME     one command in full\n\
             -C DIR            work in DIR (before the command)\n\
             --json            print the result as JSON\n"
        }
    };
    text.push_str(closing);
    let html = format!("<table>{html}</table><pre>{}</pre>", escape_html(closing.trim()));
    Outcome::new(format!("dds {}: data and vision commands", env!("CARGO_PKG_VERSION")), json!(entries))
        .detail(text.trim_end())
        .html(html)
}

/// Usage, arguments, flags and examples of one command, as text.
fn of_command(door: Door, command: &Command) -> Outcome {
    let text = body(door, command);
    Outcome::new(about(command), entry(door, command))
        .html(format!("<pre>{}</pre>", escape_html(&text)))
        .detail(text)
}

pub(crate) fn about(command: &Command) -> String {
    command.get_about().map(|a| a.to_string().replace('\n', " ")).unwrap_or_default()
}

/// The help of one command below its first line.
pub(crate) fn body(door: Door, command: &Command) -> String {
    let mut text = hanging("", usage_parts(door, command).iter().map(String::as_str), 11);
    for (title, positional) in [("Arguments", true), ("Flags", false)] {
        let args: Vec<_> = argument::visible(command).filter(|a| a.is_positional() == positional).collect();
        if args.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{title}\n"));
        for arg in args {
            let (head, about) = paragraph(arg);
            text.push_str(&hanging(&format!("  {head:<20} "), about.split(' '), 23));
        }
    }
    if let Some(more) = command.get_after_help() {
        text.push_str(&format!("\n{more}\n"));
    }
    let examples = examples(door, command.get_name());
    if !examples.is_empty() {
        text.push_str(if examples.len() == 1 { "\nExample\n" } else { "\nExamples\n" });
        for (at, example) in examples.iter().enumerate() {
            if at > 0 && example.contains('\n') {
                text.push('\n');
            }
            for line in typed(door, example).lines() {
                text.push_str(format!("  {line}").trim_end());
                text.push('\n');
            }
        }
    }
    text.trim_end().to_owned()
}

/// `-n, --max N` and what it is, with its choices and default.
pub(crate) fn paragraph(arg: &clap::Arg) -> (String, String) {
    let head = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(_)) => format!("-{short}, {}", argument::name(arg)),
        _ => argument::name(arg),
    };
    let mut about = argument::help(arg);
    if let argument::Takes::Choice(words) = argument::takes(arg) {
        about.push_str(&format!(" ({})", words.join(", ")));
    }
    let default: Vec<String> =
        arg.get_default_values().iter().map(|d| d.to_string_lossy().into_owned()).collect();
    if argument::takes(arg) != argument::Takes::Nothing && default.iter().any(|d| !d.is_empty()) {
        about.push_str(&format!(" [default: {}]", default.join(" ")));
    }
    (head, about)
}

/// An example's first line; a cell with a body is shortened.
fn headline(door: Door, example: &str) -> String {
    let typed = typed(door, example);
    match typed.split_once('\n') {
        Some((first, _)) => format!("{first} …"),
        None => typed,
    }
}

/// `head` followed by `words`, wrapped, the further lines indented by `indent`.
fn hanging<'a>(head: &str, words: impl Iterator<Item = &'a str>, indent: usize) -> String {
    let mut out = head.to_owned();
    if head.chars().count() > indent {
        out = format!("{}\n{:indent$}", head.trim_end(), "");
    }
    let mut column = out.rsplit('\n').next().unwrap_or_default().chars().count();
    for (at, word) in words.enumerate() {
        let width = word.chars().count();
        if at > 0 && column + 1 + width > WIDTH {
            out.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        } else if at > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests;
