//! Every request of the app: the gate first, then a handful of exact paths.
//!
//! There is no file serving: what is sent is the rendered page, its images from memory, and three
//! files built into the program. A path is compared as it came, never decoded, joined or opened.

use super::gate::{Gate, Pass, Refused};
use super::upload::{self, Refusal};
use super::visitors::{Denied, Visitors};
use crate::render::form::path_segment;
use crate::render::{self, Page, Places};
use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use dds_core::form::{DEFAULT_UPLOAD_BYTES, FieldKind, Form, MAX_TEXT};
use dds_core::mime::escape_html;
use dds_core::{Error, Kind};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Forms that are received at the same time; the next ones are asked to come back.
pub(crate) const MAX_RECEIVING: usize = 32;
/// What a request may be longer than its form's limits, for part headers and small fields.
const BODY_SLACK: u64 = 1024 * 1024;

/// Inline style attributes are allowed (the sanitiser goes through their properties), style
/// elements and everything from elsewhere are not.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; img-src 'self' data: blob:; \
    style-src 'self'; style-src-attr 'unsafe-inline'; script-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("../../assets/style.css");
const SCRIPT: &str = include_str!("../../assets/app.js");
const ICON: &str = include_str!("../../assets/icon.svg");

/// What all requests share.
pub(crate) struct App {
    pub gate: Gate,
    pub page: Page,
    /// The page as most visitors get it, rendered once.
    pub front: Bytes,
    pub visitors: Arc<Visitors>,
    pub staging: PathBuf,
    /// What answers do not show.
    pub places: Places,
    pub receiving: Semaphore,
}

pub(crate) async fn handle(State(app): State<Arc<App>>, request: Request) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = answer(&app, request).await;
    tracing::debug!(%method, path, status = response.status().as_u16(), "request");
    let fixed = [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        // With `no-referrer` browsers would send `Origin: null` with our own forms.
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn answer(app: &Arc<App>, request: Request) -> Response {
    let uri = request.uri().clone();
    let headers = request.headers().clone();
    let json = wants_json(&headers);
    let root = way_to_root(uri.path());
    if let Err(refused) = app.gate.check_host(&uri, &headers) {
        return refuse(refused, &root, json);
    }
    let reading = request.method() == Method::GET || request.method() == Method::HEAD;
    match uri.path() {
        "/style.css" if reading => return fixed("text/css; charset=utf-8", STYLE),
        "/app.js" if reading => return fixed("text/javascript; charset=utf-8", SCRIPT),
        "/icon.svg" | "/favicon.ico" if reading => return fixed("image/svg+xml", ICON),
        "/healthz" if reading => return text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
        _ => {}
    }
    let pass = match app.gate.check_token(&uri, &headers) {
        Ok(pass) => pass,
        Err(refused) => return refuse(refused, &root, json),
    };
    if let Err(refused) = app.gate.check_origin(request.method(), &headers, pass) {
        return refuse(refused, &root, json);
    }
    app.visitors.touch(app.gate.visitor_ids(&headers));
    let form_id = uri.path().strip_prefix("/form/");
    if reading {
        match (uri.path(), form_id) {
            ("/", _) if pass == Pass::Token && uri.query().is_some_and(|q| q.contains("token=")) => {
                let_in(app, &headers)
            }
            ("/", _) => html_bytes(StatusCode::OK, app.front.clone()),
            // Someone reloaded or came back to a page that answered a form.
            (_, Some(id)) if find_form(app, id).is_some() => redirect("../"),
            (path, _) => match path.strip_prefix("/media/").and_then(|name| app.page.media.get(name)) {
                Some(m) => media(m),
                None => not_found(&root),
            },
        }
    } else if request.method() == Method::POST {
        match form_id.and_then(|id| find_form(app, id)) {
            Some((index, form)) => post_form(app, index, form.clone(), request, json).await,
            None => not_found(&root),
        }
    } else {
        let mut r = plain_page(StatusCode::METHOD_NOT_ALLOWED, &root, "This does not work here", "");
        r.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        r
    }
}

fn find_form<'a>(app: &'a App, segment: &str) -> Option<(usize, &'a Form)> {
    app.page.forms.iter().enumerate().find(|(_, f)| path_segment(&f.id) == segment)
}

async fn post_form(app: &Arc<App>, index: usize, form: Form, request: Request, json: bool) -> Response {
    let ids: Vec<String> = app.gate.visitor_ids(request.headers()).map(str::to_owned).collect();
    let (session, status, html) = match receive(app, &form, request).await {
        Err(r) => (None, r.status, render::error_html(&app.places.hide_in_error(r.error))),
        Ok(received) => {
            let (session, outcome) = app.visitors.submit(ids, form.clone(), index, received).await;
            let (status, html) = match outcome {
                Ok(answer) => {
                    let status = if answer.error.is_some() {
                        StatusCode::UNPROCESSABLE_ENTITY
                    } else {
                        StatusCode::OK
                    };
                    (status, render::answer_html(&app.places.hide_in_answer(answer)))
                }
                Err(Denied::Failed(e)) => (status_of(&e), render::error_html(&app.places.hide_in_error(e))),
                Err(Denied::Full) => (StatusCode::SERVICE_UNAVAILABLE, render::error_html(&full())),
                Err(Denied::Busy) => {
                    let e = Error::new(Kind::Limit, "your last forms are still being worked on")
                        .hint("wait for their answers");
                    (StatusCode::TOO_MANY_REQUESTS, render::error_html(&e))
                }
            };
            (session, status, html)
        }
    };
    let mut response = if json {
        let body = serde_json::json!({"html": html, "ok": status.is_success()}).to_string();
        text(status, "application/json", body)
    } else {
        html_bytes(status, Bytes::from(app.page.html("../", Some((&form.id, &html)))))
    };
    let out = response.headers_mut();
    if let Some(cookie) = session.and_then(|id| app.gate.visitor_cookie(&id)) {
        out.append(header::SET_COOKIE, cookie);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        out.insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
    }
    response
}

/// Reads the form's fields and checks them as the kernel will.
async fn receive(app: &App, form: &Form, request: Request) -> Result<upload::Received, Refusal> {
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok());
    let limit = body_limit(form);
    // An honest length far past the limit is not worth reading; a little past it is read, so that
    // the browser shows the message instead of a broken connection.
    if length.is_some_and(|n| n > limit.saturating_mul(2)) {
        let error = Error::new(Kind::Limit, "what you chose is far too large for this form")
            .hint("choose a smaller file");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
    }
    let Ok(_place) = app.receiving.try_acquire() else {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, full()));
    };
    let multipart = Multipart::from_request(request, &()).await.map_err(|_| {
        let error =
            Error::usage("this is not a form that was filled in on this page").hint("reload the page");
        Refusal::new(StatusCode::BAD_REQUEST, error)
    })?;
    let received = upload::receive(multipart, form, &app.staging).await?;
    let submission = dds_core::form::Submission {
        form: form.id.clone(),
        values: received.values.clone(),
        uploads: received.files.keys().map(|k| (k.clone(), k.clone())).collect(),
    };
    form.command(&submission, |name| Ok(name.to_owned()))
        .map_err(|e| Refusal::new(StatusCode::BAD_REQUEST, e))?;
    Ok(received)
}

fn body_limit(form: &Form) -> u64 {
    let fields = form.fields.iter().map(|f| match f.kind {
        FieldKind::Image | FieldKind::File => f.max_bytes.unwrap_or(DEFAULT_UPLOAD_BYTES),
        _ => MAX_TEXT as u64 * 4,
    });
    fields.fold(BODY_SLACK, u64::saturating_add)
}

fn status_of(error: &Error) -> StatusCode {
    match error.kind {
        Kind::Usage => StatusCode::BAD_REQUEST,
        Kind::Limit => StatusCode::GATEWAY_TIMEOUT,
        Kind::Unavailable | Kind::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn full() -> Error {
    Error::new(Kind::Limit, "the app is busy: as many visitors as it can take are here")
        .hint("try again in a few minutes")
}

/// Gives the browser its cookie and takes the token out of the address.
fn let_in(app: &App, headers: &HeaderMap) -> Response {
    // After a link on another site, a browser does not send a strict cookie along a redirect; a
    // page of our own that moves on is a new, same-site step.
    let foreign = headers
        .get("sec-fetch-site")
        .is_some_and(|v| v.as_bytes() == b"cross-site" || v.as_bytes() == b"same-site");
    let mut response = if foreign {
        let page = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>One moment</title>\
            <meta http-equiv=\"refresh\" content=\"0;url=./\"><p><a href=\"./\">Continue</a></p></html>";
        html_bytes(StatusCode::OK, Bytes::from_static(page.as_bytes()))
    } else {
        redirect("./")
    };
    if let Some(cookie) = app.gate.key_cookie() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn refuse(refused: Refused, root: &str, json: bool) -> Response {
    let (status, title, message) = match refused {
        Refused::Host => {
            // Nothing of ours, not even links, for a name that is not ours.
            return text(
                StatusCode::MISDIRECTED_REQUEST,
                "text/plain; charset=utf-8",
                "This app is not served under this name. Open the address that `dds app` printed.\n",
            );
        }
        Refused::NoToken => (
            StatusCode::UNAUTHORIZED,
            "This app asks for a key",
            "Open the full address that was shared with you, the one that ends in “token=…”. \
             If the app was restarted, it has a new address.",
        ),
        Refused::WrongToken => (
            StatusCode::UNAUTHORIZED,
            "This key does not fit",
            "Copy the whole address again. If the app was restarted, it has a new one.",
        ),
        Refused::Origin => (
            StatusCode::FORBIDDEN,
            "This did not come from the app’s own page",
            "Open the app’s page and send the form from there. Programs add “Authorization: Bearer TOKEN”.",
        ),
    };
    if json {
        let html = render::problem_html(title, message, None, "");
        return text(status, "application/json", serde_json::json!({"html": html, "ok": false}).to_string());
    }
    plain_page(status, root, title, message)
}

fn not_found(root: &str) -> Response {
    plain_page(StatusCode::NOT_FOUND, root, "There is nothing here", "The app has only one page.")
}

fn plain_page(status: StatusCode, root: &str, title: &str, message: &str) -> Response {
    let back = if status == StatusCode::NOT_FOUND {
        format!("<p><a href=\"{}\">Go to the app</a></p>", if root.is_empty() { "./" } else { root })
    } else {
        String::new()
    };
    let body = format!(
        "<div class=\"plain\"><h1>{}</h1><p>{}</p>{back}</div>",
        escape_html(title),
        escape_html(message)
    );
    html_bytes(status, Bytes::from(render::shell(title, root, &body)))
}

/// The relative way from a requested path to the app's root, so that pages work below any prefix.
fn way_to_root(path: &str) -> String {
    const DEEPEST: usize = 16;
    let depth = path.strip_prefix('/').unwrap_or(path).matches('/').count();
    "../".repeat(depth.min(DEEPEST))
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|v| v.to_str().is_ok_and(|v| v.contains("application/json")))
}

fn html_bytes(status: StatusCode, body: Bytes) -> Response {
    text(status, "text/html; charset=utf-8", body)
}

fn fixed(mime: &'static str, body: &'static str) -> Response {
    let mut r = text(StatusCode::OK, mime, Bytes::from_static(body.as_bytes()));
    // The page names the version with each of them.
    r.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    r
}

fn media(m: &render::Media) -> Response {
    let mut r = text(StatusCode::OK, "application/octet-stream", m.bytes.clone());
    let headers = r.headers_mut();
    if let Ok(mime) = HeaderValue::from_str(&m.mime) {
        headers.insert(header::CONTENT_TYPE, mime);
    }
    // Its name is made from its content.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400, immutable"));
    r
}

fn redirect(to: &'static str) -> Response {
    let mut r = text(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
    r.headers_mut().insert(header::LOCATION, HeaderValue::from_static(to));
    r
}

fn text(status: StatusCode, mime: &'static str, body: impl Into<Body>) -> Response {
    let mut r = Response::new(body.into());
    *r.status_mut() = status;
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    r
}
