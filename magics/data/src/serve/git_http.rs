//! Reading by `git clone` and `git fetch`, answered by Git's own `http-backend` (a CGI program).
//!
//! Only the two requests of the smart protocol for fetching are passed on; pushing is not offered.

use super::Shared;
use crate::runtime;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use dds_core::{Error, Kind, Result};
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

/// What a client says it has and wants.
const MAX_REQUEST_BYTES: usize = 64 << 20;
const MAX_CGI_HEADER_BYTES: u64 = 64 << 10;
const CHUNK: usize = 64 << 10;

pub async fn refs(shared: Arc<Shared>, request: Request<Body>) -> Result<Response<Body>> {
    if request.uri().query() != Some("service=git-upload-pack") {
        return Err(Error::new(Kind::Usage, "only fetching by the smart protocol is offered")
            .hint("upload with `dds upload` or over the API"));
    }
    run(shared, request, "info/refs", "service=git-upload-pack").await
}

pub async fn pack(shared: Arc<Shared>, request: Request<Body>) -> Result<Response<Body>> {
    run(shared, request, "git-upload-pack", "").await
}

async fn run(shared: Arc<Shared>, request: Request<Body>, what: &str, query: &str) -> Result<Response<Body>> {
    let dir = {
        let shared = shared.clone();
        runtime::blocking(move || Ok(shared.repository.git_dir())).await?
    };
    let (parts, body) = request.into_parts();
    let text =
        |name: HeaderName| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_TRANSLATED", dir.join(what))
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", text(header::CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", text(header::CONTENT_ENCODING))
        .env("GIT_PROTOCOL", text(HeaderName::from_static("git-protocol")))
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "http.receivepack")
        .env("GIT_CONFIG_VALUE_0", "false")
        .env_remove("REMOTE_USER")
        .env_remove("GIT_DIR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let body = axum::body::to_bytes(body, MAX_REQUEST_BYTES)
        .await
        .map_err(|_| Error::new(Kind::Limit, "the request is too long"))?;
    command.env("CONTENT_LENGTH", body.len().to_string());
    let mut child = command.spawn().map_err(|e| {
        Error::new(Kind::Unavailable, format!("cannot run the program git: {e}"))
            .hint("install git on the server")
    })?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Error::internal("git has no pipes"));
    };
    tokio::spawn(async move {
        let _ = stdin.write_all(&body).await;
    });
    let mut out = BufReader::new(stdout);
    let mut response = Response::new(Body::empty());
    read_headers(&mut out, &mut response).await?;
    *response.body_mut() = stream(child, out);
    Ok(response)
}

/// CGI headers (RFC 3875, section 6.2), up to the empty line.
async fn read_headers(out: &mut BufReader<ChildStdout>, response: &mut Response<Body>) -> Result<()> {
    let broken = || Error::internal("git http-backend gave no answer");
    let mut limited = out.take(MAX_CGI_HEADER_BYTES);
    loop {
        let mut line = String::new();
        let n = limited.read_line(&mut line).await.map_err(|_| broken())?;
        if n == 0 {
            return Err(broken());
        }
        let line = line.trim_end();
        let Some((name, value)) = line.split_once(':') else {
            return if line.is_empty() { Ok(()) } else { Err(broken()) };
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|c| c.parse().ok());
            *response.status_mut() = code.and_then(|c| StatusCode::from_u16(c).ok()).ok_or_else(broken)?;
        } else if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
}

fn stream(child: Child, out: BufReader<ChildStdout>) -> Body {
    Body::from_stream(futures_util::stream::unfold((child, out), |(mut child, mut out)| async move {
        let mut chunk = vec![0; CHUNK];
        match out.read(&mut chunk).await {
            Ok(0) => {
                let _ = child.wait().await;
                None
            }
            Ok(n) => {
                chunk.truncate(n);
                Some((Ok::<_, std::io::Error>(Bytes::from(chunk)), (child, out)))
            }
            Err(e) => Some((Err(e), (child, out))),
        }
    }))
}
