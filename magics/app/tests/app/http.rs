//! A bare HTTP/1.1 client on one connection per request: sends exactly what a test says.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// `name=value` of every cookie set.
    pub fn cookies(&self) -> Vec<String> {
        self.headers
            .iter()
            .filter(|(k, _)| k == "set-cookie")
            .map(|(_, v)| v.split(';').next().unwrap().to_owned())
            .collect()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// Sends `head` (request line and headers, lines by `\n`) with `body`, and reads to the end.
pub async fn raw(port: u16, head: &str, body: &[u8]) -> Answer {
    let mut s = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!("{}\r\nConnection: close\r\n\r\n", head.trim_end().replace('\n', "\r\n"));
    s.write_all(head.as_bytes()).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = s.write_all(body).await;
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), s.read_to_end(&mut bytes)).await;
    read.expect("an answer in time").ok();
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|l| l.split(' ').nth(1))
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| panic!("no status in {text:?}"));
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(": "))
        .map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned()))
        .collect();
    Answer { status, headers, body: body.to_owned() }
}

/// A browser's GET with its cookies.
pub async fn get(port: u16, path: &str, cookies: &[String]) -> Answer {
    let cookie = if cookies.is_empty() { String::new() } else { format!("\nCookie: {}", cookies.join("; ")) };
    raw(port, &format!("GET {path} HTTP/1.1\nHost: 127.0.0.1:{port}{cookie}"), b"").await
}

pub const BOUNDARY: &str = "----dds-test-boundary";

pub enum Piece<'a> {
    Text(&'a str, &'a str),
    /// Field, the client's file name, bytes.
    File(&'a str, &'a str, &'a [u8]),
}

pub fn multipart(pieces: &[Piece<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for p in pieces {
        out.extend_from_slice(format!("--{BOUNDARY}\r\n").as_bytes());
        match p {
            Piece::Text(name, value) => out.extend_from_slice(
                format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}").as_bytes(),
            ),
            Piece::File(name, file, bytes) => {
                let head = format!(
                    "Content-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\
                     Content-Type: text/x-evil\r\n\r\n"
                );
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(bytes);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    out
}

/// A browser's POST of a form, from our page; `json` as the page's script sends it.
pub async fn post(port: u16, path: &str, cookies: &[String], json: bool, body: &[u8]) -> Answer {
    let accept = if json { "application/json" } else { "text/html" };
    let head = format!(
        "POST {path} HTTP/1.1\nHost: 127.0.0.1:{port}\nOrigin: http://127.0.0.1:{port}\n\
         Sec-Fetch-Site: same-origin\nAccept: {accept}\nCookie: {}\nContent-Length: {}\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}",
        cookies.join("; "),
        body.len()
    );
    raw(port, &head, body).await
}
