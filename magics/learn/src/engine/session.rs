//! Names of data sets and models: this session's first, then what `.dds` holds.

use super::Learn;
use crate::data::DataSet;
use crate::model::{Model, folder};
use crate::place::Place;
use crate::store::{Workspace, check_name};
use dds_core::{Cx, Error, RepoTarget, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most data sets, and most models, that a session keeps in memory; `.dds` keeps all of them.
pub const MAX_KEPT: usize = 64;

/// Values by name, and which one came last.
pub struct Named<T> {
    values: BTreeMap<String, Arc<T>>,
    /// From the oldest to the newest.
    order: Vec<String>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { values: BTreeMap::new(), order: Vec::new() }
    }
}

impl<T> Named<T> {
    pub fn put(&mut self, name: &str, value: Arc<T>) {
        self.order.retain(|n| n != name);
        self.order.push(name.to_owned());
        self.values.insert(name.to_owned(), value);
        while self.order.len() > MAX_KEPT {
            let oldest = self.order.remove(0);
            self.values.remove(&oldest);
        }
    }

    pub fn get(&self, name: Option<&str>) -> Option<Arc<T>> {
        self.values.get(name.or(self.order.last().map(String::as_str))?).cloned()
    }
}

#[derive(Default)]
pub struct Session {
    pub data: Named<DataSet>,
    pub models: Named<Model>,
}

impl Session {
    pub fn names(&self) -> Vec<String> {
        let mut out: Vec<String> =
            self.data.values.keys().chain(self.models.values.keys()).cloned().collect();
        out.sort();
        out.dedup();
        out
    }
}

impl Learn {
    /// The data set `name`, or the last one defined.
    pub(super) fn data_set(&self, name: Option<&str>, cx: &Cx) -> Result<Arc<DataSet>> {
        if let Some(found) = self.session().data.get(name) {
            return Ok(found);
        }
        let workspace = Workspace::beside(cx);
        let saved = workspace.data_names();
        let wanted = match name {
            Some(n) if saved.iter().any(|s| s == n) => n,
            Some(n) => {
                return Err(Error::not_found(format!("no data set {n:?}")).hint(existing(
                    "data sets",
                    &self.known(&saved, |s| s.data.values.keys().cloned().collect()),
                    "%dds data --path FOLDER",
                )));
            }
            None => match saved.first() {
                Some(newest) => newest,
                None => {
                    return Err(Error::not_found("no data set has been defined")
                        .hint("define one: %dds data --path FOLDER"));
                }
            },
        };
        let set = Arc::new(DataSet::open(wanted, &workspace, self.resolver.as_ref(), cx)?);
        self.session().data.put(wanted, set.clone());
        Ok(set)
    }

    /// The model `name`, the model in the folder `name`, or the last one trained or loaded.
    pub(super) fn model(&self, name: Option<&str>, cx: &Cx) -> Result<Arc<Model>> {
        if let Some(found) = self.session().models.get(name) {
            return Ok(found);
        }
        let workspace = Workspace::beside(cx);
        let saved = workspace.model_names();
        let wanted = match name {
            Some(n) => n,
            None => saved.first().ok_or_else(|| {
                Error::not_found("no model has been trained or loaded")
                    .hint("train one: %dds probe, or load one: %dds load DIR")
            })?,
        };
        if saved.iter().any(|s| s == wanted) && check_name(wanted).is_ok() {
            let dir = workspace.model_dir(wanted);
            let place = Place::find(&dir.display().to_string(), self.resolver.as_ref(), cx)?;
            let model = Arc::new(folder::read(&place, wanted, cx)?);
            self.session().models.put(wanted, model.clone());
            return Ok(model);
        }
        // A folder is read each time: it may have been exported anew.
        if wanted.contains('/') || RepoTarget::looks_like_url(wanted) || cx.absolute(wanted).exists() {
            let place = Place::find(wanted, self.resolver.as_ref(), cx)?;
            return folder::read(&place, wanted, cx).map(Arc::new);
        }
        let known = self.known(&saved, |s| s.models.values.keys().cloned().collect());
        Err(Error::not_found(format!("no model {wanted:?}")).hint(existing(
            "models",
            &known,
            "%dds probe trains one, %dds load DIR loads one",
        )))
    }

    fn known(&self, saved: &[String], of: impl Fn(&Session) -> Vec<String>) -> Vec<String> {
        let mut names = of(&self.session());
        names.extend(saved.iter().cloned());
        names.sort();
        names.dedup();
        names
    }
}

fn existing(what: &str, names: &[String], next: &str) -> String {
    match names {
        [] => format!("there are no {what} yet: {next}"),
        _ => format!("{what} here: {}", names.iter().take(12).cloned().collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_is_the_default_and_the_oldest_goes() {
        let mut n = Named::default();
        for i in 0..MAX_KEPT {
            n.put(&i.to_string(), Arc::new(i));
        }
        n.put("0", Arc::new(1000));
        assert_eq!(n.get(None).as_deref(), Some(&1000));
        assert_eq!(n.get(Some("1")).as_deref(), Some(&1));
        n.put("new", Arc::new(7));
        assert_eq!((n.get(Some("1")), n.get(Some("0")).as_deref()), (None, Some(&1000)));
    }
}
