//! Forms of a published notebook: what a `%%dds app` cell declares, what the app server renders
//! and what the visitor's kernel receives.
//!
//! Invariant: a visitor's input is data. It becomes whole words of a command that the author
//! fixed, or it is refused; it is never parsed as a command line and never reaches a Rust cell.

use crate::{Error, MimeBundle, Result};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::collections::BTreeMap;

/// MIME type under which a form travels in `display_data`; its value is a [`Form`] as JSON.
pub const FORM_MIME: &str = "application/vnd.dds.form+json";
/// Comm target on which the app server hands submissions to the kernel.
pub const FORM_COMM: &str = "dds.form";
/// Most fields of one form.
pub const MAX_FIELDS: usize = 32;
/// Most characters of a text field's value.
pub const MAX_TEXT: usize = 10_000;
/// What `[[field]]` tables of a `%%dds app` cell take, for its help; lines of at most 96 columns.
pub const FIELD_HELP: &str = "\
Fields, one [[field]] table each, below the other keys
  name                 Letters, digits and _; $name in run stands for what the visitor gave
  kind                 image (the default), file, text, number, choice or checkbox
  label                Shown to the visitor; the name by default
  choices              What a choice offers: [\"birds\", \"fish\"]
  default              Where the field starts: a text, a number, true or false
  min, max             Bounds of a number
  max_bytes            Largest upload of an image or a file, in bytes [default: 33554432]";
/// Upload limit of a field that sets none, in bytes.
pub const DEFAULT_UPLOAD_BYTES: u64 = 32 * 1024 * 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    #[default]
    Image,
    File,
    Text,
    Number,
    Choice,
    Checkbox,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Field {
    /// Letters, digits and `_`; unique in the form.
    pub name: String,
    pub kind: FieldKind,
    pub label: String,
    pub choices: Vec<String>,
    /// As text; a number or a truth value is taken too: `default = 4` is `default = "4"`.
    #[serde(deserialize_with = "scalar")]
    pub default: Option<String>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// Largest upload in bytes, for `image` and `file`.
    pub max_bytes: Option<u64>,
}

/// A text, number or truth value as text; null is none.
fn scalar<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<String>, D::Error> {
    struct Scalar;

    impl<'de> de::Visitor<'de> for Scalar {
        type Value = Option<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a text, a number, true or false")
        }
        fn visit_str<E: de::Error>(self, v: &str) -> std::result::Result<Self::Value, E> {
            Ok(Some(v.to_owned()))
        }
        fn visit_bool<E: de::Error>(self, v: bool) -> std::result::Result<Self::Value, E> {
            Ok(Some(v.to_string()))
        }
        fn visit_i64<E: de::Error>(self, v: i64) -> std::result::Result<Self::Value, E> {
            Ok(Some(v.to_string()))
        }
        fn visit_u64<E: de::Error>(self, v: u64) -> std::result::Result<Self::Value, E> {
            Ok(Some(v.to_string()))
        }
        fn visit_f64<E: de::Error>(self, v: f64) -> std::result::Result<Self::Value, E> {
            Ok(Some(v.to_string()))
        }
        fn visit_unit<E: de::Error>(self) -> std::result::Result<Self::Value, E> {
            Ok(None)
        }
    }

    from.deserialize_any(Scalar)
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Form {
    /// Names the form within its session.
    pub id: String,
    pub title: String,
    pub intro: String,
    pub submit: String,
    pub fields: Vec<Field>,
    /// The command, one word per element; `$name` or `--flag=$name` stands for a field's value.
    pub run: Vec<String>,
}

/// What the app server sends over the comm: `data` of a `comm_msg`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    pub form: String,
    /// Field name → text as the visitor gave it (text, number, choice, checkbox).
    pub values: BTreeMap<String, String>,
    /// Field name → name of the stored upload inside the session's upload folder (`DDS_UPLOADS`).
    pub uploads: BTreeMap<String, String>,
}

/// What the kernel sends back for one [`Submission`], on the same comm: `data` of a `comm_msg`.
///
/// `{"bundles": [{"data": {"text/plain": "cat"}, "metadata": {}}], "error": null}`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// Shown to the visitor in this order.
    pub bundles: Vec<MimeBundle>,
    /// Why the command failed; shown after what it had displayed until then.
    pub error: Option<Problem>,
}

/// A failed command in an [`Answer`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// [`Kind::name`](crate::Kind::name).
    pub kind: String,
    pub message: String,
    pub hint: Option<String>,
}

impl From<&Error> for Problem {
    fn from(e: &Error) -> Self {
        Self { kind: e.kind.name().to_owned(), message: e.message.clone(), hint: e.hint.clone() }
    }
}

impl Form {
    /// Checks the declaration. Errors (`Usage`) name the field.
    pub fn validate(&self) -> Result<()> {
        if self.fields.is_empty() {
            return Err(Error::usage("a form needs at least one [[field]]")
                .hint("add [[field]] with name = \"photo\" and kind = \"image\""));
        }
        if self.fields.len() > MAX_FIELDS {
            return Err(Error::usage(format!("a form has at most {MAX_FIELDS} fields")));
        }
        if self.run.is_empty() {
            return Err(Error::usage("a form needs the command that it runs")
                .hint("add run = [\"predict\", \"$photo\"]"));
        }
        let mut seen = std::collections::BTreeSet::new();
        for f in &self.fields {
            let named = !f.name.is_empty() && f.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !named || !seen.insert(&f.name) {
                return Err(Error::usage(format!(
                    "field name {:?} is not a unique word of letters, digits and _",
                    f.name
                )));
            }
            if f.kind == FieldKind::Choice && f.choices.is_empty() {
                return Err(Error::usage(format!("field {:?} needs choices = [\"…\"]", f.name)));
            }
        }
        for word in &self.run {
            if let Some(name) = placeholder(word).map(|(_, n)| n)
                && !self.fields.iter().any(|f| f.name == name)
            {
                return Err(Error::usage(format!("run names ${name}, but there is no such field")));
            }
        }
        Ok(())
    }

    /// The command's words for one submission. `upload` turns a stored upload's name into its path.
    ///
    /// Errors (`Usage`) name the field and what it takes.
    pub fn command(&self, s: &Submission, upload: impl Fn(&str) -> Result<String>) -> Result<Vec<String>> {
        self.run
            .iter()
            .map(|word| match placeholder(word) {
                None => Ok(word.clone()),
                Some((before, name)) => {
                    let field = self
                        .fields
                        .iter()
                        .find(|f| f.name == name)
                        .ok_or_else(|| Error::usage(format!("no field {name:?}")))?;
                    let value = value_of(field, s, &upload)?;
                    if before.is_empty() && value.starts_with('-') && field.kind != FieldKind::Number {
                        return Err(Error::usage(format!(
                            "{}: the value may not begin with '-'",
                            label(field)
                        )));
                    }
                    Ok(format!("{before}{value}"))
                }
            })
            .collect()
    }
}

/// `$name` → `("", name)`; `--flag=$name` → `("--flag=", name)`.
fn placeholder(word: &str) -> Option<(&str, &str)> {
    if let Some(name) = word.strip_prefix('$') {
        return Some(("", name));
    }
    let at = word.find("=$")?;
    word.starts_with("--").then(|| (&word[..=at], &word[at + 2..]))
}

fn label(field: &Field) -> &str {
    if field.label.is_empty() { &field.name } else { &field.label }
}

fn value_of(field: &Field, s: &Submission, upload: &impl Fn(&str) -> Result<String>) -> Result<String> {
    let missing = || {
        Error::usage(format!("{}: nothing was given", label(field)))
            .hint("fill in the field and send the form again")
    };
    match field.kind {
        FieldKind::Image | FieldKind::File => upload(s.uploads.get(&field.name).ok_or_else(missing)?),
        FieldKind::Checkbox => {
            Ok(s.values.get(&field.name).is_some_and(|v| v == "on" || v == "true").to_string())
        }
        kind => {
            let value = s.values.get(&field.name).or(field.default.as_ref()).ok_or_else(missing)?;
            if value.chars().count() > MAX_TEXT || value.contains('\0') {
                return Err(Error::usage(format!("{}: at most {MAX_TEXT} characters", label(field))));
            }
            match kind {
                FieldKind::Choice if !field.choices.contains(value) => {
                    Err(Error::usage(format!("{}: choose one of {}", label(field), field.choices.join(", "))))
                }
                FieldKind::Number => {
                    let n: f64 = value
                        .trim()
                        .parse()
                        .map_err(|_| Error::usage(format!("{}: {value:?} is not a number", label(field))))?;
                    let below = field.min.is_some_and(|m| n < m);
                    let above = field.max.is_some_and(|m| n > m);
                    if !n.is_finite() || below || above {
                        return Err(Error::usage(format!("{}: {n} is out of range", label(field))));
                    }
                    Ok(n.to_string())
                }
                _ => Ok(value.clone()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Form {
        Form {
            id: "f".into(),
            fields: vec![
                Field { name: "photo".into(), kind: FieldKind::Image, ..Field::default() },
                Field {
                    name: "k".into(),
                    kind: FieldKind::Number,
                    min: Some(1.0),
                    max: Some(9.0),
                    default: Some("3".into()),
                    ..Field::default()
                },
                Field {
                    name: "t".into(),
                    kind: FieldKind::Text,
                    default: Some("x".into()),
                    ..Field::default()
                },
            ],
            run: ["predict", "$photo", "--top=$k", "$t"].map(String::from).to_vec(),
            ..Form::default()
        }
    }

    fn submit(values: &[(&str, &str)]) -> Result<Vec<String>> {
        let s = Submission {
            form: "f".into(),
            values: values.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            uploads: [("photo".to_owned(), "u1".to_owned())].into(),
        };
        form().command(&s, |n| Ok(format!("/up/{n}")))
    }

    #[test]
    fn values_become_whole_words() {
        assert_eq!(
            submit(&[("k", "5"), ("t", "a b; $photo")]).unwrap(),
            ["predict", "/up/u1", "--top=5", "a b; $photo"]
        );
        assert_eq!(submit(&[]).unwrap()[2], "--top=3");
    }

    #[test]
    fn a_default_is_a_text_a_number_or_a_truth_value() {
        for (json, expected) in [
            ("\"4\"", Some("4")),
            ("4", Some("4")),
            ("-4", Some("-4")),
            ("0.5", Some("0.5")),
            ("true", Some("true")),
            ("null", None),
        ] {
            let field: Field = serde_json::from_str(&format!("{{\"default\": {json}}}")).unwrap();
            assert_eq!(field.default.as_deref(), expected, "{json}");
        }
        let e = serde_json::from_str::<Field>("{\"default\": [4]}").unwrap_err();
        assert!(e.to_string().contains("expected a text, a number, true or false"), "{e}");
        assert_eq!(serde_json::from_str::<Field>("{}").unwrap(), Field::default());
    }

    #[test]
    fn the_help_of_fields_names_each_key_and_fits() {
        let keys = serde_json::to_value(Field::default()).unwrap();
        for key in keys.as_object().unwrap().keys() {
            assert!(FIELD_HELP.contains(key.as_str()), "{key}");
        }
        assert!(FIELD_HELP.contains(&DEFAULT_UPLOAD_BYTES.to_string()));
        assert!(FIELD_HELP.lines().all(|l| l.chars().count() <= 96));
    }

    #[test]
    fn refuses_what_the_author_did_not_offer() {
        for bad in [
            [("k", "10")],
            [("k", "0")],
            [("k", "abc")],
            [("k", "NaN")],
            [("t", "--model=/etc")],
            [("t", "\0")],
        ] {
            assert!(submit(&bad).is_err(), "{bad:?}");
        }
        let mut f = form();
        f.run.push("$nobody".into());
        assert!(f.validate().is_err());
    }
}
