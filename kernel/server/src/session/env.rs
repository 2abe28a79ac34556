//! `%dds env`: variables that cells, commands and `!` lines see alike.
//!
//! The kernel's own environment is never changed, because threads of it may be reading it: what was set
//! lies over it, the settings of the commands are read anew, `!` lines and the cells' process are told.
//! Values whose names look like credentials are never shown.

use crate::config;
use dds_core::secret::looks_secret;
use dds_core::table::{Align, Table, count};
use dds_core::{Config, Error, Kind, Outcome, Result, request as rq};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most variables set in one session.
pub const MAX_VARIABLES: usize = 256;
/// Most bytes of a name and its value together, as the process of the cells takes them.
pub const MAX_VARIABLE_BYTES: usize = 12 * 1024;

/// Name → value; none is removed.
pub(super) type Changes = BTreeMap<String, Option<String>>;

/// What lies over the kernel's own environment.
#[derive(Default)]
pub(super) struct Environment(Mutex<Layers>);

#[derive(Default)]
struct Layers {
    set: Changes,
    /// What the process of the cells has not been told.
    untold: Changes,
}

impl Environment {
    fn lock(&self) -> MutexGuard<'_, Layers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that was set and removed.
    pub(super) fn changes(&self) -> Changes {
        self.lock().set.clone()
    }

    pub(super) fn var(&self, name: &str) -> Option<OsString> {
        look_up(&self.lock().set, name)
    }

    /// What the process of the cells must be told before its next cell.
    pub(super) fn untold(&self) -> Changes {
        self.lock().untold.clone()
    }

    /// It was told this much.
    pub(super) fn told(&self, changes: &Changes) {
        self.lock().untold.retain(|name, value| changes.get(name) != Some(value));
    }

    fn apply(&self, new: &Changes) {
        let mut layers = self.lock();
        layers.set.extend(new.clone());
        layers.untold.extend(new.clone());
    }
}

fn look_up(set: &Changes, name: &str) -> Option<OsString> {
    match set.get(name) {
        Some(value) => value.clone().map(OsString::from),
        None => config::user_env(name),
    }
}

/// Shows or changes variables; all of them or, when one is refused, none. `reconfigure` is handed
/// the settings that the new environment gives.
pub(super) fn run(
    environment: &Environment,
    r: &rq::Env,
    reconfigure: impl FnOnce(Config),
) -> Result<Outcome> {
    let mut new = Changes::new();
    let mut asked = Vec::new();
    for word in &r.vars {
        match word.split_once('=') {
            Some((name, value)) => drop(new.insert(checked(name, value)?, Some(value.to_owned()))),
            None => asked.push(checked(word, "")?),
        }
    }
    for name in &r.unset {
        new.insert(checked(name, "")?, None);
    }
    if new.is_empty() && asked.is_empty() {
        return Ok(list(&environment.changes()));
    }
    let mut all = environment.changes();
    for name in &asked {
        if !new.contains_key(name) && look_up(&all, name).is_none() {
            return Err(Error::not_found(format!("{name} is not set"))
                .hint(format!("set it with: %dds env {name}=VALUE")));
        }
    }
    if !new.is_empty() {
        all.extend(new.clone());
        if all.len() > MAX_VARIABLES {
            return Err(Error::new(
                Kind::Limit,
                format!("at most {MAX_VARIABLES} variables are set in one session"),
            ));
        }
        let settings = config::load(&|name| look_up(&all, name))?;
        environment.apply(&new);
        reconfigure(settings);
    }
    let names: Vec<String> =
        new.keys().chain(asked.iter().filter(|n| !new.contains_key(*n))).cloned().collect();
    let lines: Vec<String> = names.iter().map(|name| line(name, look_up(&all, name))).collect();
    let values: Vec<Value> = names.iter().map(|name| entry(name, look_up(&all, name))).collect();
    Ok(Outcome::new(lines.join("\n"), json!({"variables": values})))
}

fn checked(name: &str, value: &str) -> Result<String> {
    let plain = name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
    if name.is_empty() || !plain || name.starts_with(|c: char| c.is_ascii_digit()) {
        // The word is not repeated: it may be the value of a secret that was split off by a blank.
        return Err(Error::usage("the name of a variable has letters, digits and _, and begins with no digit")
            .hint("write NAME=VALUE without blanks around =, and quotes around a value with blanks: %dds env NAME='a b'"));
    }
    if value.contains('\0') {
        return Err(Error::usage(format!("the value of {name} holds a NUL")));
    }
    let size = name.len() + value.len();
    if size > MAX_VARIABLE_BYTES {
        return Err(Error::new(
            Kind::Limit,
            format!("{name}: {size} bytes; a variable has at most {MAX_VARIABLE_BYTES}"),
        ));
    }
    Ok(name.to_owned())
}

fn shown(name: &str, value: &OsString) -> String {
    if looks_secret(name) { "***".into() } else { value.to_string_lossy().into_owned() }
}

fn line(name: &str, value: Option<OsString>) -> String {
    match value {
        Some(value) => format!("{name}={}", shown(name, &value)),
        None => format!("{name} is removed"),
    }
}

fn entry(name: &str, value: Option<OsString>) -> Value {
    let secret = looks_secret(name);
    let text = value.as_ref().filter(|_| !secret).map(|v| v.to_string_lossy().into_owned());
    json!({"name": name, "set": value.is_some(), "value": text, "secret": secret})
}

fn list(changes: &Changes) -> Outcome {
    let mut table = Table::new(&[("name", Align::Left), ("value", Align::Left)]);
    for (name, value) in changes {
        let value = value.as_ref().map(OsString::from);
        table.row([name.clone(), value.as_ref().map_or_else(|| "(removed)".into(), |v| shown(name, v))]);
    }
    let values: Vec<Value> = changes.iter().map(|(n, v)| entry(n, v.as_ref().map(OsString::from))).collect();
    let json = json!({"variables": values});
    if changes.is_empty() {
        return Outcome::new("no variable was set in this session", json)
            .detail("set one with: %dds env NAME=VALUE");
    }
    Outcome::new(format!("{} changed in this session", count(changes.len(), "variable")), json)
        .detail(table.text())
        .html(table.html())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vars: &[&str], unset: &[&str]) -> rq::Env {
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        rq::Env { vars: owned(vars), unset: owned(unset) }
    }

    #[test]
    fn values_are_set_shown_and_removed() {
        let env = Environment::default();
        let mut host = None;
        let done =
            run(&env, &of(&["DAGSHUB_CLIENT_HOST=http://127.0.0.1:1/", "A=b = c"], &[]), |c| host = Some(c));
        assert_eq!(done.unwrap().summary, "A=b = c\nDAGSHUB_CLIENT_HOST=http://127.0.0.1:1/");
        assert_eq!(host.unwrap().dagshub_host, "http://127.0.0.1:1");
        assert_eq!(run(&env, &of(&["A"], &[]), |_| panic!("nothing changed")).unwrap().summary, "A=b = c");
        assert_eq!(run(&env, &of(&[], &["A"]), |_| {}).unwrap().summary, "A is removed");
        assert_eq!(run(&env, &of(&["A"], &[]), |_| {}).unwrap_err().kind, Kind::NotFound);
        assert_eq!(env.var("A"), None);
        assert!(run(&env, &of(&["PATH"], &[]), |_| {}).unwrap().summary.starts_with("PATH="));
        let listed = run(&env, &of(&[], &[]), |_| {}).unwrap();
        assert!(
            listed.detail.contains("(removed)") && listed.summary.starts_with("2 variables"),
            "{listed:?}"
        );
    }

    #[test]
    fn credentials_are_never_shown() {
        let env = Environment::default();
        for r in [of(&["MY_TOKEN=hunter22"], &[]), of(&["MY_TOKEN"], &[]), of(&[], &[])] {
            let told = run(&env, &r, |_| {}).unwrap();
            assert!(
                told.text().contains("MY_TOKEN") && !format!("{told:?}").contains("hunter22"),
                "{told:?}"
            );
        }
        assert_eq!(env.var("MY_TOKEN"), Some("hunter22".into()));
        let wrong = run(&env, &of(&["MY_TOKEN =", "hunter22!"], &[]), |_| {}).unwrap_err();
        assert!(!format!("{wrong:?}").contains("hunter22"), "{wrong:?}");
    }

    #[test]
    fn one_refusal_changes_nothing() {
        let env = Environment::default();
        let long = format!("B={}", "x".repeat(MAX_VARIABLE_BYTES));
        for wrong in ["1A=x", "=x", "A-B=x", "B=\0", long.as_str(), "DAGSHUB_CLIENT_HOST=nonsense"] {
            assert!(run(&env, &of(&["A=1", wrong], &[]), |_| panic!("{wrong}")).is_err(), "{wrong}");
        }
        assert!(env.changes().is_empty());
        let fits = format!("B={}", "x".repeat(MAX_VARIABLE_BYTES - 1));
        assert!(run(&env, &of(&[&fits], &[]), |_| {}).is_ok());
        let many: Vec<String> = (0..MAX_VARIABLES).map(|n| format!("V{n}=x")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(run(&env, &of(&many, &[]), |_| {}).unwrap_err().kind, Kind::Limit);
        assert!(run(&env, &of(&many[1..], &[]), |_| {}).is_ok());
    }

    #[test]
    fn the_cells_are_told_once() {
        let env = Environment::default();
        run(&env, &of(&["A=1", "B=2"], &[]), |_| {}).unwrap();
        let told = env.untold();
        run(&env, &of(&["B=3"], &[]), |_| {}).unwrap();
        env.told(&told);
        assert_eq!(env.untold(), Changes::from([("B".into(), Some("3".into()))]));
    }
}
