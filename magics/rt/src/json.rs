//! JSON values as text, for the messages between the cells and the front end.
//!
//! Objects keep the order of their keys. The writer always writes valid JSON (a float that is not a
//! number is `null`); the parser takes bytes from outside, bounded in size and depth. No derive, no
//! mapping to structures: use serde_json for that.

mod parse;
mod write;

pub use parse::{MAX_BYTES, MAX_DEPTH, ParseError};

/// One JSON value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json {
    #[default]
    Null,
    Bool(bool),
    /// A number without fraction or exponent that fits.
    Int(i64),
    Float(f64),
    Str(String),
    Array(Vec<Json>),
    /// Keys in order. Where a key occurs twice the last one counts.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object of the given pairs.
    pub fn object<K: Into<String>, V: Into<Json>>(pairs: impl IntoIterator<Item = (K, V)>) -> Json {
        Json::Object(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// An array of the given items.
    pub fn array<V: Into<Json>>(items: impl IntoIterator<Item = V>) -> Json {
        Json::Array(items.into_iter().map(Into::into).collect())
    }

    /// The value under `key` of an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.as_object()?.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value under `key` of an object, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Json> {
        let Json::Object(pairs) = self else { return None };
        pairs.iter_mut().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets `key` of an object, in its place when it is there; anything else becomes an object first.
    pub fn set(&mut self, key: &str, value: impl Into<Json>) {
        let value = value.into();
        if let Some(place) = self.get_mut(key) {
            *place = value;
            return;
        }
        match self {
            Json::Object(pairs) => pairs.push((key.to_owned(), value)),
            other => *other = Json::Object(vec![(key.to_owned(), value)]),
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Json::Null)
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Json::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A whole number; a float without fraction counts (`3.0` is what some front ends send for 3).
    pub fn as_i64(&self) -> Option<i64> {
        /// 2^53: beyond it a float does not tell neighbours apart.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self {
            Json::Int(value) => Some(*value),
            Json::Float(value) if value.fract() == 0.0 && value.abs() <= EXACT => Some(*value as i64),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Json::Int(value) => Some(*value as f64),
            Json::Float(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::Str(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Json::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of an object, in order.
    pub fn as_object(&self) -> Option<&[(String, Json)]> {
        match self {
            Json::Object(pairs) => Some(pairs),
            _ => None,
        }
    }
}

macro_rules! from_whole {
    ($($number:ty),*) => { $(
        impl From<$number> for Json {
            fn from(value: $number) -> Json {
                Json::Int(i64::from(value))
            }
        }
    )* };
}
from_whole!(i8, i16, i32, i64, u8, u16, u32);

macro_rules! from_wide {
    ($($number:ty),*) => { $(
        /// A number that does not fit 64 bits with a sign becomes the nearest float.
        impl From<$number> for Json {
            fn from(value: $number) -> Json {
                i64::try_from(value).map_or(Json::Float(value as f64), Json::Int)
            }
        }
    )* };
}
from_wide!(u64, usize, isize);

impl From<f64> for Json {
    fn from(value: f64) -> Json {
        Json::Float(value)
    }
}

impl From<f32> for Json {
    fn from(value: f32) -> Json {
        Json::Float(f64::from(value))
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Json {
        Json::Str(value.to_owned())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Json {
        Json::Str(value)
    }
}

impl From<&String> for Json {
    fn from(value: &String) -> Json {
        Json::Str(value.clone())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Into::into)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(items: Vec<T>) -> Json {
        Json::array(items)
    }
}

impl<T: Clone + Into<Json>> From<&[T]> for Json {
    fn from(items: &[T]) -> Json {
        Json::array(items.iter().cloned())
    }
}

impl<T: Into<Json>, const N: usize> From<[T; N]> for Json {
    fn from(items: [T; N]) -> Json {
        Json::array(items)
    }
}

#[cfg(test)]
mod tests;
