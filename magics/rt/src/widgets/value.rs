//! The value of one attribute, and its form on the wire.

use super::any::AnyWidget;
use super::spec::{Attr, Start};
use super::upload::UploadedFile;
use crate::json::Json;
use std::sync::Arc;

/// Binary data that widgets and messages share without copying.
pub(super) type Bytes = Arc<Vec<u8>>;

#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Json(Json),
    Bytes(Bytes),
    Files(Arc<Vec<UploadedFile>>),
    Model(AnyWidget),
    Models(Vec<AnyWidget>),
}

impl Value {
    pub(super) fn start(attr: &Attr) -> Value {
        Value::Json(match attr.start {
            Start::Null => Json::Null,
            Start::Bool(value) => Json::Bool(value),
            Start::Int(value) => Json::Int(value),
            Start::Float(value) => Json::Float(value),
            Start::Text(value) => Json::from(value),
            Start::List => Json::Array(Vec::new()),
            Start::Bytes => return Value::Bytes(Bytes::default()),
            Start::Files => return Value::Files(Arc::default()),
            Start::Models => return Value::Models(Vec::new()),
        })
    }

    /// Length of a list; 0 of anything else.
    pub(super) fn len(&self) -> usize {
        match self {
            Value::Json(Json::Array(items)) => items.len(),
            Value::Models(models) => models.len(),
            _ => 0,
        }
    }

    pub(super) fn models(&self) -> &[AnyWidget] {
        match self {
            Value::Model(model) => std::slice::from_ref(model),
            Value::Models(models) => models,
            _ => &[],
        }
    }
}

/// State in the form of a message: JSON, and the bytes beside it with their places.
#[derive(Default)]
pub(super) struct Encoded {
    pub state: Vec<(String, Json)>,
    pub paths: Vec<Json>,
    pub buffers: Vec<Bytes>,
}

impl Encoded {
    /// Adds an attribute; `path` leads to the object that it belongs to, from the root of the buffer
    /// paths.
    pub(super) fn add(&mut self, path: &[&str], name: &str, value: &Value) {
        let json = match value {
            Value::Json(json) => json.clone(),
            Value::Bytes(bytes) => {
                self.paths.push(Json::array(path.iter().copied().chain([name])));
                self.buffers.push(Arc::clone(bytes));
                return;
            }
            Value::Files(files) => Json::array(files.iter().map(UploadedFile::without_content)),
            Value::Model(model) => reference(model),
            Value::Models(models) => Json::array(models.iter().map(reference)),
        };
        self.state.push((name.to_owned(), json));
    }

    /// The data of a message: `method`, if any, with the state and the places of the buffers.
    pub(super) fn data(self, method: Option<&str>) -> (Json, Vec<Bytes>) {
        let mut pairs = Vec::with_capacity(3);
        if let Some(method) = method {
            pairs.push(("method".to_owned(), method.into()));
        }
        pairs.push(("state".to_owned(), Json::Object(self.state)));
        pairs.push(("buffer_paths".to_owned(), Json::Array(self.paths)));
        (Json::Object(pairs), self.buffers)
    }
}

fn reference(model: &AnyWidget) -> Json {
    format!("IPY_MODEL_{}", model.model_id()).into()
}

/// What attributes are in Rust.
pub(super) trait Typed: Sized {
    fn to_value(self) -> Value;
    /// The value, or what stands for none when the attribute has another type.
    fn from_value(value: &Value) -> Self;
}

macro_rules! typed_json {
    ($($rust:ty: $json:ident => $read:expr;)*) => { $(
        impl Typed for $rust {
            fn to_value(self) -> Value {
                Value::Json(Json::from(self))
            }

            fn from_value(value: &Value) -> Self {
                match value {
                    Value::Json($json) => $read,
                    _ => Default::default(),
                }
            }
        }
    )* };
}

typed_json! {
    bool: json => json.as_bool().unwrap_or_default();
    i64: json => json.as_i64().unwrap_or_default();
    f64: json => json.as_f64().unwrap_or_default();
    String: json => json.as_str().unwrap_or_default().to_owned();
    Option<String>: json => json.as_str().map(str::to_owned);
    Option<i64>: json => json.as_i64();
    Option<usize>: json => json.as_i64().and_then(|place| usize::try_from(place).ok());
    Vec<String>: json => {
        let items = json.as_array().unwrap_or_default();
        items.iter().map(|item| item.as_str().unwrap_or_default().to_owned()).collect()
    };
}

impl Typed for Json {
    fn to_value(self) -> Value {
        Value::Json(self)
    }

    fn from_value(value: &Value) -> Json {
        match value {
            Value::Json(json) => json.clone(),
            other => {
                let mut encoded = Encoded::default();
                encoded.add(&[], "", other);
                encoded.state.pop().map_or(Json::Null, |(_, json)| json)
            }
        }
    }
}

impl Typed for Bytes {
    fn to_value(self) -> Value {
        Value::Bytes(self)
    }

    fn from_value(value: &Value) -> Bytes {
        match value {
            Value::Bytes(bytes) => Arc::clone(bytes),
            _ => Bytes::default(),
        }
    }
}

impl Typed for Arc<Vec<UploadedFile>> {
    fn to_value(self) -> Value {
        Value::Files(self)
    }

    fn from_value(value: &Value) -> Self {
        match value {
            Value::Files(files) => Arc::clone(files),
            _ => Arc::default(),
        }
    }
}

impl Typed for Vec<AnyWidget> {
    fn to_value(self) -> Value {
        Value::Models(self)
    }

    fn from_value(value: &Value) -> Self {
        value.models().to_vec()
    }
}
