//! Reading by `git clone` and `git fetch`, answered by Git's own `http-backend` (a CGI program).
//!
//! Only the two requests of the smart protocol for fetching are passed on; pushing is not offered.

use super::Shared;
use crate::runtime;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use dds_core::{Error, Kind, Result};
use futures_util::StreamExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// What a client says it has and wants.
const MAX_REQUEST_BYTES: usize = 64 << 20;
const MAX_CGI_HEADER_BYTES: u64 = 64 << 10;
const CHUNK: usize = 64 << 10;
/// Git processes at a time; further requests wait.
pub const MAX_PROCESSES: usize = 16;
/// A client that neither sends nor takes a byte for so long is given up.
const CLIENT_IDLE: Duration = Duration::from_secs(60);
/// Chunks between Git and the connection.
const QUEUED: usize = 4;
/// Inherited, these would lead Git to another repository or other settings than the one that is served.
const REDIRECTING: [&str; 12] = [
    "REMOTE_USER",
    "PATH_INFO",
    "GIT_PROJECT_ROOT",
    "GIT_DIR",
    "GIT_COMMON_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_CONFIG_PARAMETERS",
    "GIT_REPLACE_REF_BASE",
];

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
    for name in REDIRECTING {
        command.env_remove(name);
    }
    command
        .arg("http-backend")
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_TRANSLATED", dir.join(what))
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", text(header::CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", text(header::CONTENT_ENCODING))
        .env("GIT_PROTOCOL", text(HeaderName::from_static("git-protocol")))
        .env("GIT_CONFIG_COUNT", "2")
        .env("GIT_CONFIG_KEY_0", "http.receivepack")
        .env("GIT_CONFIG_VALUE_0", "false")
        // Clones without the contents of files.
        .env("GIT_CONFIG_KEY_1", "uploadpack.allowFilter")
        .env("GIT_CONFIG_VALUE_1", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let body = read_body(body).await?;
    let place = shared.common.git_places.clone().acquire_owned().await;
    let place = place.map_err(|e| Error::internal(e.to_string()))?;
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
    *response.body_mut() = stream(child, out, place);
    Ok(response)
}

async fn read_body(body: Body) -> Result<Vec<u8>> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    loop {
        let next = tokio::time::timeout(CLIENT_IDLE, chunks.next()).await;
        let Some(chunk) = next.map_err(|_| Error::usage("the request stopped sending"))? else {
            return Ok(bytes);
        };
        bytes.extend_from_slice(&chunk.map_err(|_| Error::usage("the request broke off"))?);
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(Error::new(Kind::Limit, "the request is too long"));
        }
    }
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

/// What Git says. Its process and its place end with the answer, or with a client that takes nothing.
fn stream(mut child: Child, mut out: BufReader<ChildStdout>, place: OwnedSemaphorePermit) -> Body {
    let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(QUEUED);
    tokio::spawn(async move {
        let _place = place;
        loop {
            let mut chunk = vec![0; CHUNK];
            let next = tokio::select! {
                read = out.read(&mut chunk) => match read {
                    Ok(0) => break,
                    Ok(n) => {
                        chunk.truncate(n);
                        Ok(Bytes::from(chunk))
                    }
                    Err(e) => Err(e),
                },
                () = sender.closed() => return,
            };
            let failed = next.is_err();
            if sender.send_timeout(next, CLIENT_IDLE).await.is_err() || failed {
                // Dropped here, Git is killed.
                return;
            }
        }
        let _ = child.wait().await;
    });
    Body::from_stream(futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    }))
}
