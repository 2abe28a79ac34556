//! `dds doctor`: whether everything a notebook needs is there, and how to mend what is not.
//!
//! Looks, and changes nothing. `broken` is what keeps Rust cells or the kernel from working; without
//! what is only `missing` something else takes its place, or one command does not work.

mod checks;

use crate::cache;
use crate::config::Env;
use checks::{Check, State};
use dds_core::table::{Align, Table, bytes, count};
use dds_core::{Config, Cx, Outcome, Result, request as rq};
use serde_json::{Value, json};

/// Every check. `env` reads the environment in which cells and commands run.
pub fn run(_: &rq::Doctor, config: &Config, env: Env<'_>, cx: &Cx) -> Result<Outcome> {
    let mut all = Vec::new();
    let work: [(&str, &dyn Fn() -> Vec<Check>); 5] = [
        ("programs", &|| checks::programs(env)),
        ("kernelspec", &|| vec![checks::kernelspec(config, env)]),
        ("mounts", &|| vec![checks::fuse()]),
        ("folders", &|| checks::folders(config)),
        ("space", &|| checks::space(config, env)),
    ];
    for (number, (name, check)) in work.iter().enumerate() {
        cx.cancel.check()?;
        cx.items(name, number, work.len());
        all.extend(check());
    }
    all.push(checks::runtime(config));
    for place in cache::places(config) {
        let held = cache::held(&place, &cx.cancel)?;
        let limit = place.limit.map(|l| format!(", limit {}", bytes(l))).unwrap_or_default();
        let detail = format!("{} in {}{limit}", bytes(held.bytes), count(held.files, "file"));
        all.push(Check::good(&format!("cache: {}", place.name), detail));
    }
    Ok(outcome(&all))
}

fn outcome(checks: &[Check]) -> Outcome {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left), ("", Align::Left)]);
    for check in checks {
        table.row([check.state.word(), check.name.as_str(), check.detail.as_str()]);
    }
    let number = |state: State| checks.iter().filter(|c| c.state == state).count();
    let (broken, missing) = (number(State::Broken), number(State::Missing));
    let summary = match (broken, missing) {
        (0, 0) => "everything is there".to_owned(),
        (0, n) => format!("all that is needed is there; {n} more could be"),
        (1, _) => "1 thing is broken".to_owned(),
        (n, _) => format!("{n} things are broken"),
    };
    let fixes: Vec<String> =
        checks.iter().filter_map(|c| Some(format!("{}: {}", c.name, c.fix.as_ref()?))).collect();
    let mut text = table.text();
    if !fixes.is_empty() {
        text.push_str(&format!("\n\nTo mend it\n  {}", fixes.join("\n  ")));
    }
    let values: Vec<Value> = checks
        .iter()
        .map(|c| json!({"name": c.name, "state": c.state.word(), "detail": c.detail, "fix": c.fix}))
        .collect();
    Outcome::new(summary, json!({"ok": broken == 0, "checks": values})).detail(text)
}

#[cfg(test)]
mod tests;
