//! What must hold between the attributes of one model, kept with every change.

use super::{Entry, Spent};
use crate::json::Json;
use crate::widgets::spec::{Rule, TAB};
use crate::widgets::value::Value;

/// Sets `name` and what has to follow; adds the names of all that changed to `changed`.
///
/// A range stays a range: `min` above `max` moves `max`, and the other way round; the value is
/// brought inside. New options choose the first. A number that is none is refused.
pub(super) fn assign(
    entry: &mut Entry,
    name: &'static str,
    value: Value,
    changed: &mut Vec<&'static str>,
    spent: &mut Spent,
) {
    if matches!(&value, Value::Json(Json::Float(number)) if !number.is_finite()) {
        spent
            .notes
            .push(format!("{}.{name} takes no infinity and no NaN; it stays as it is", entry.spec.name));
        return;
    }
    put(entry, name, value, changed, spent);
    match entry.spec.rule {
        Rule::Free => {}
        Rule::Range => range(entry, name, changed, spent),
        Rule::Choice => choice(entry, name, changed, spent),
        Rule::Pages => pages(entry, name, changed, spent),
    }
}

fn put(
    entry: &mut Entry,
    name: &'static str,
    value: Value,
    changed: &mut Vec<&'static str>,
    spent: &mut Spent,
) {
    if entry.put(name, value, spent) && !changed.contains(&name) {
        changed.push(name);
    }
}

fn range(entry: &mut Entry, touched: &str, changed: &mut Vec<&'static str>, spent: &mut Spent) {
    let (mut min, mut max) = (entry.get("min"), entry.get("max"));
    if less(&max, &min) {
        if touched == "min" {
            max = min.clone();
            put(entry, "max", max.clone(), changed, spent);
        } else {
            min = max.clone();
            put(entry, "min", min.clone(), changed, spent);
        }
    }
    let value = entry.get("value");
    if less(&value, &min) {
        put(entry, "value", min, changed, spent);
    } else if less(&max, &value) {
        put(entry, "value", max, changed, spent);
    }
}

fn less(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Json(Json::Int(a)), Value::Json(Json::Int(b))) => a < b,
        (Value::Json(a), Value::Json(b)) => a.as_f64() < b.as_f64(),
        _ => false,
    }
}

fn place(value: &Value) -> Option<usize> {
    match value {
        Value::Json(json) => json.as_i64().and_then(|place| usize::try_from(place).ok()),
        _ => None,
    }
}

fn choice(entry: &mut Entry, touched: &str, changed: &mut Vec<&'static str>, spent: &mut Spent) {
    let count = entry.get("_options_labels").len();
    let chosen = place(&entry.get("index"));
    let fits = chosen.is_some_and(|place| place < count) && touched != "_options_labels";
    if !fits {
        let first = if count == 0 { Json::Null } else { Json::Int(0) };
        put(entry, "index", Value::Json(first), changed, spent);
    }
}

fn pages(entry: &mut Entry, touched: &str, changed: &mut Vec<&'static str>, spent: &mut Spent) {
    let count = entry.get("children").len();
    let selected = place(&entry.get("selected_index"));
    if touched == "children" && selected.is_none() && count > 0 && entry.spec.name == TAB.name {
        put(entry, "selected_index", Value::Json(Json::Int(0)), changed, spent);
    } else if selected.is_some_and(|place| place >= count) {
        put(entry, "selected_index", Value::Json(Json::Null), changed, spent);
    }
    // One title for each child, as the front end expects.
    let Value::Json(Json::Array(mut titles)) = entry.get("titles") else { return };
    if touched == "children" && titles.len() != count {
        titles.resize(count, "".into());
        put(entry, "titles", Value::Json(Json::Array(titles)), changed, spent);
    }
}
