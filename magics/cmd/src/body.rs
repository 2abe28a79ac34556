//! `%%dds NAME --flags` with a TOML body: the same names as the flags; a flag on the line wins
//! over the body.
//!
//! The body becomes words of the same grammar, so that every check of the command line holds for
//! it too. Each key's own mistakes are reported before, with their line in the cell.

use crate::argument::{self, Takes};
use crate::grammar::{self, CellCommand, CellLine, Door};
use crate::nearest::nearest;
use crate::usage;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, Parser};
use dds_core::form::Field;
use dds_core::{Error, Result};
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// Parses the words behind `%%dds` together with the body, whose first line is line `first_line`
/// (from 1) of the cell. Errors (`Usage`) name the line and the key.
pub fn parse(words: &[String], body: &str, first_line: usize) -> Result<CellLine> {
    let lines = Lines { body, first: first_line };
    let Some((argv, from_body)) = merged(words, &lines)? else { return grammar::cell(words) };
    let mut line = CellLine::try_parse_from(&argv).map_err(|e| {
        let missing = e.kind() == clap::error::ErrorKind::MissingRequiredArgument;
        let told = usage::explain(&e, Door::Cell, &argv);
        match told.arg.as_ref().and_then(|id| from_body.get(id).map(|(line, _)| (id, line))) {
            Some((_, line)) => told.error.context(format!("line {line}")),
            None if missing => {
                let key = told.arg.unwrap_or_else(|| "key".into());
                let usage = told.error.hint.clone().unwrap_or_default();
                told.error.hint(format!("add `{key} = …` to the cell\n{usage}"))
            }
            None => told.error,
        }
    })?;
    if let Some(CellCommand::App(form)) = &mut line.command {
        form.field = fields(body, &lines)?;
    }
    Ok(line)
}

/// The one command line that says what `words` and the body say together; for a shell, which has no
/// bodies. Errors as [`parse`]'s for the body's keys.
pub fn as_words(words: &[String], body: &str, first_line: usize) -> Result<Vec<String>> {
    let merged = merged(words, &Lines { body, first: first_line })?;
    Ok(merged.map_or_else(|| words.to_vec(), |(argv, _)| argv))
}

/// The texts of each key of a body, and the line of the cell that it stands on.
type FromBody = BTreeMap<String, (usize, Vec<String>)>;

/// The words with the body's values among them; none when the words alone are wrong.
fn merged(words: &[String], lines: &Lines<'_>) -> Result<Option<(Vec<String>, FromBody)>> {
    let tree = CellLine::command();
    let Some(command) = usage::command_of(&tree, words) else { return Ok(None) };
    let table = DeTable::parse(lines.body).map_err(|e| lines.toml_error(&e))?;
    let name = command.get_name().to_owned();

    let lenient = tree.clone().mut_subcommand(&name, |c| c.mut_args(|a| a.required(false)));
    let Ok(given) = lenient.try_get_matches_from(words) else { return Ok(None) };
    let Some((_, flags)) = given.subcommand() else { return Ok(None) };

    let mut from_body = FromBody::new();
    for (key, value) in table.get_ref().iter() {
        let line = lines.number(key.span().start);
        if name == "app" && key.get_ref().as_ref() == FIELD {
            continue;
        }
        let arg = key_of(command, key.get_ref(), line)?;
        from_body.insert(arg.get_id().to_string(), (line, values(arg, value.get_ref(), line)?));
    }
    Ok(Some((rebuilt(command, &given, flags, &from_body)?, from_body)))
}

/// The key of a form's fields: the one part of a body that is no flag.
const FIELD: &str = "field";

/// The keys that a body of this command may hold.
pub fn keys(command: &Command) -> Vec<String> {
    let mut keys: Vec<String> =
        argument::visible(command).filter(|a| !a.is_global_set()).map(|a| a.get_id().to_string()).collect();
    if command.get_name() == "app" {
        keys.push(FIELD.into());
    }
    keys
}

/// The argument that a key names; `read-only` and `read_only` are the same.
pub(crate) fn argument_of<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let plain = key.replace('-', "_");
    argument::visible(command).find(|a| !a.is_global_set() && a.get_id().as_str() == plain)
}

fn key_of<'a>(command: &'a Command, key: &str, line: usize) -> Result<&'a Arg> {
    argument_of(command, key).ok_or_else(|| {
        let keys = keys(command);
        let error = Error::usage(format!("line {line}: `{}` has no key {key:?}", command.get_name()));
        match nearest(key, keys.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None if keys.is_empty() => error.hint("it takes no keys"),
            None => error.hint(format!("keys: {}", keys.join(", "))),
        }
    })
}

/// A value as the texts that the command line would have.
fn values(arg: &Arg, value: &DeValue<'_>, line: usize) -> Result<Vec<String>> {
    let key = arg.get_id();
    if let (DeValue::Array(items), true) = (value, argument::many(arg)) {
        return items.iter().map(|v| text(arg, v.get_ref(), line)).collect();
    }
    if argument::takes(arg) == Takes::Nothing {
        return match value {
            DeValue::Boolean(true) => Ok(vec![String::new()]),
            DeValue::Boolean(false) => Ok(Vec::new()),
            other => {
                Err(Error::usage(format!("line {line}: `{key}` takes true or false, not {}", kind(other)))
                    .hint(format!("write {key} = true")))
            }
        };
    }
    Ok(vec![text(arg, value, line)?])
}

fn text(arg: &Arg, value: &DeValue<'_>, line: usize) -> Result<String> {
    let key = arg.get_id();
    let wrong = |example: String| {
        let expected = match argument::takes(arg) {
            Takes::Text | Takes::Choice(_) => "text".into(),
            _ => usage::expected(arg),
        };
        Err(Error::usage(format!("line {line}: `{key}` takes {expected}, not {}", kind(value)))
            .hint(format!("write {key} = {example}")))
    };
    match (argument::takes(arg), value) {
        (Takes::Text, DeValue::String(s)) => Ok(s.to_string()),
        (Takes::Choice(words), DeValue::String(s)) => {
            if words.iter().any(|w| w == s) {
                return Ok(s.to_string());
            }
            let near = nearest(s, words.iter().map(String::as_str));
            let all = crate::nearest::either(&words);
            let error = Error::usage(format!("line {line}: `{key}` takes {all}, not {s:?}"));
            Err(match near {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("write {key} = {:?}", words.first().cloned().unwrap_or_default())),
            })
        }
        (Takes::Text | Takes::Choice(_), DeValue::Integer(n)) => wrong(format!("\"{n}\"")),
        (Takes::Text | Takes::Choice(_), _) => wrong("\"…\"".into()),
        (Takes::Whole, DeValue::Integer(n)) => match u64::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Ok(n.to_string()),
            Err(_) => {
                Err(Error::usage(format!("line {line}: `{key}` takes {}, not {n}", usage::expected(arg)))
                    .hint(format!("write {key} = 1")))
            }
        },
        (Takes::Number, DeValue::Integer(n)) => Ok(n.to_string()),
        (Takes::Number, DeValue::Float(n)) => Ok(n.as_str().to_owned()),
        (_, DeValue::String(s)) if s.parse::<f64>().is_ok() => wrong(s.to_string()),
        _ => wrong("1".into()),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The whole command line: flags of the line first, the body's values where the line has none.
fn rebuilt(
    command: &Command,
    given: &ArgMatches,
    flags: &ArgMatches,
    body: &FromBody,
) -> Result<Vec<String>> {
    let mut argv = Vec::new();
    if let Some(dir) = given.get_one::<String>("in_dir") {
        argv.extend(["-C".to_owned(), dir.clone()]);
    }
    if given.get_flag("json") {
        argv.push("--json".into());
    }
    argv.push(command.get_name().to_owned());
    let mut places = Vec::new();
    let mut missing: Option<&Arg> = None;
    for arg in argument::visible(command).filter(|a| !a.is_global_set()) {
        let id = arg.get_id().as_str();
        let on_line = flags.value_source(id) == Some(ValueSource::CommandLine);
        let texts: Vec<String> = if on_line {
            match argument::takes(arg) {
                Takes::Nothing => vec![String::new()],
                _ => flags
                    .get_raw(id)
                    .into_iter()
                    .flatten()
                    .map(|v| v.to_string_lossy().into_owned())
                    .collect(),
            }
        } else {
            body.get(id).map(|(_, v)| v.clone()).unwrap_or_default()
        };
        if !arg.is_positional() {
            let flag = argument::flag(arg);
            argv.extend(texts.iter().map(|t| match argument::takes(arg) {
                Takes::Nothing => flag.clone(),
                _ => format!("{flag}={t}"),
            }));
            continue;
        }
        match (texts.is_empty(), missing) {
            (true, _) => missing = missing.or(Some(arg)),
            (false, Some(gap)) => {
                return Err(Error::usage(format!(
                    "`{}` needs {} ({})",
                    command.get_name(),
                    argument::name(gap),
                    usage::lower_first(&argument::help(gap))
                ))
                .hint(format!("add `{} = \"…\"` to the cell", gap.get_id())));
            }
            (false, None) => places.extend(texts),
        }
    }
    if !places.is_empty() {
        argv.push("--".into());
        argv.extend(places);
    }
    Ok(argv)
}

/// The `[[field]]` tables of a form.
fn fields(body: &str, lines: &Lines<'_>) -> Result<Vec<Field>> {
    #[derive(serde::Deserialize)]
    struct Fields {
        #[serde(default)]
        field: Vec<Field>,
    }
    let parsed: Fields = toml::from_str(body).map_err(|e| {
        let error = lines.toml_error(&e);
        let misplaced = keys(&form_command())
            .iter()
            .any(|k| k != FIELD && e.message().contains(&format!("unknown field `{k}`")));
        if misplaced { error.hint("keys of the form itself stand above the first [[field]]") } else { error }
    })?;
    Ok(parsed.field)
}

fn form_command() -> Command {
    Door::Cell.tree().find_subcommand("app").cloned().unwrap_or_default()
}

struct Lines<'a> {
    body: &'a str,
    first: usize,
}

impl Lines<'_> {
    fn number(&self, byte: usize) -> usize {
        self.first + self.body.bytes().take(byte).filter(|b| *b == b'\n').count()
    }

    fn toml_error(&self, e: &toml::de::Error) -> Error {
        let message = e.message().trim().replace('\n', ", ");
        let near = suggestion(&message);
        let at = e.span().map_or(self.first, |s| self.number(s.start));
        let error = Error::usage(format!("line {at}: {message}"));
        match near {
            Some(word) => error.hint(format!("did you mean `{word}`?")),
            None => error.hint("the body is TOML: key = \"text\", key = 1, key = true, key = [\"a\", \"b\"]"),
        }
    }
}

/// serde says ``unknown field `x`, expected one of `a`, `b` ``.
fn suggestion(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let given = message.starts_with("unknown ").then(|| quoted.next())??;
    nearest(given, quoted).map(str::to_owned)
}

#[cfg(test)]
mod tests;
