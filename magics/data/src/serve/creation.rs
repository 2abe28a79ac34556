//! `POST user/repos` and `POST org/{owner}/repos`: a new, empty repository, on a server of several that has
//! a token.

use super::site::Site;
use super::{auth, listing};
use crate::{percent, runtime};
use axum::body::Body;
use axum::http::{Request, Response, header};
use dds_core::{Error, Kind, Result};
use std::sync::Arc;
use std::time::Duration;

const MAX_FORM_BYTES: usize = 64 << 10;
const FORM_TIME: Duration = Duration::from_secs(60);

/// What the form says, as far as it means something here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Form {
    name: String,
    /// Wants a first commit.
    filled: bool,
}

/// Makes it, and answers with its record. `owner` is the user, or an owner that has repositories here.
pub async fn post(site: Arc<Site>, owner: Option<String>, request: Request<Body>) -> Result<Response<Body>> {
    let common = &site.common;
    if common.read_only {
        return Err(Error::new(Kind::Unauthorized, "this server is read-only")
            .hint("start it without --read-only to create repositories"));
    }
    if common.token.is_none() {
        return Err(Error::new(Kind::Unauthorized, "repositories are created on a server with a token only")
            .hint("start it with --token"));
    }
    let base = auth::base_url(common, request.headers());
    let json = auth::text(request.headers(), header::CONTENT_TYPE)
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/json"));
    let body = tokio::time::timeout(FORM_TIME, axum::body::to_bytes(request.into_body(), MAX_FORM_BYTES));
    let body = body.await.map_err(|_| Error::usage("the request stopped sending"))?;
    let body = body.map_err(|_| Error::new(Kind::Limit, "the form is too long, or broke off"))?;
    let form = if json { Form::of_json(&body)? } else { Form::of_fields(&body)? };
    if form.filled {
        return Err(Error::new(Kind::Format, "this server makes empty repositories only")
            .hint("leave auto_init out, then upload the first files"));
    }
    runtime::blocking(move || {
        let shared = site.create(owner.as_deref(), &form.name)?;
        Ok(listing::created(&shared, &base))
    })
    .await
}

impl Form {
    /// As HTML forms send it (WHATWG URL, `application/x-www-form-urlencoded`).
    fn of_fields(body: &[u8]) -> Result<Self> {
        let broken = || Error::usage("the form is not percent-encoded UTF-8");
        let text = std::str::from_utf8(body).map_err(|_| broken())?;
        let mut form = Self::default();
        for field in text.split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let decoded = |text: &str| percent::decode(&text.replace('+', " ")).ok_or_else(broken);
            match decoded(name)?.as_str() {
                "name" => form.name = decoded(value)?,
                "auto_init" => form.filled = matches!(decoded(value)?.as_str(), "true" | "True" | "1" | "on"),
                _ => {}
            }
        }
        Ok(form)
    }

    fn of_json(body: &[u8]) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_slice(body)
            .map_err(|e| Error::usage(format!("the request is not JSON: {e}")))?;
        let field = |name: &str| value.get(name);
        Ok(Self {
            name: field("name").and_then(|n| n.as_str()).unwrap_or_default().to_owned(),
            filled: field("auto_init").and_then(serde_json::Value::as_bool).unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests;
