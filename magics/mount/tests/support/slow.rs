//! A proxy on the loopback that holds every request back for a while, and raw GETs over it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Starts the proxy; it ends with the process.
pub fn proxy(server: SocketAddr, latency: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(upstream)) = (client, TcpStream::connect(server)) else { continue };
            let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
            let (from, to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            // Requests without a body arrive in one piece, so a piece is a request.
            std::thread::spawn(move || pump(from, to, latency));
            std::thread::spawn(move || pump(upstream, client, Duration::ZERO));
        }
    });
    addr
}

fn pump(mut from: TcpStream, mut to: TcpStream, latency: Duration) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 {
            break;
        }
        if !latency.is_zero() {
            std::thread::sleep(latency);
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// GETs all paths over 32 connections that are kept alive; gives the sum of the bodies' lengths.
pub fn raw_gets(server: SocketAddr, paths: &[String]) -> usize {
    let (next, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let stream = TcpStream::connect(server).unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut to, mut from) = (stream.try_clone().unwrap(), BufReader::new(stream));
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    to.write_all(format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n\r\n").as_bytes())
                        .unwrap();
                    let (mut length, mut line, mut status) = (0, String::new(), String::new());
                    while line != "\r\n" {
                        line.clear();
                        from.read_line(&mut line).unwrap();
                        if status.is_empty() {
                            status.clone_from(&line);
                        }
                        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                    }
                    assert!(status.contains(" 200 "), "{path}: {status}");
                    let mut body = vec![0; length];
                    from.read_exact(&mut body).unwrap();
                    bytes.fetch_add(length, Ordering::Relaxed);
                }
            });
        }
    });
    bytes.into_inner()
}
