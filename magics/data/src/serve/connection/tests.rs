use super::super::tests::{read_answer, settled};
use super::super::{ServeOptions, Server};
use crate::flight::lock;
use crate::testing::{Sample, content, until};
use dds_core::Secret;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

const RAW: &str = "/api/v1/repos/local/art/raw/main/data/set/plain.jpg";
const LISTING: &str = "/api/v1/repos/local/art/content/main/data/set";

/// How many requests were answered without hyper, by the client's address.
static ANSWERED: Mutex<BTreeMap<SocketAddr, usize>> = Mutex::new(BTreeMap::new());

pub fn count(peer: SocketAddr) {
    *lock(&ANSWERED).entry(peer).or_default() += 1;
}

fn answered(stream: &TcpStream) -> usize {
    lock(&ANSWERED).get(&stream.local_addr().unwrap()).copied().unwrap_or_default()
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // Another had this address before.
    lock(&ANSWERED).remove(&stream.local_addr().unwrap());
    stream
}

fn request(method: &str, target: &str, headers: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n")
}

/// A server that knows the file, so that it is at hand.
fn warm(sample: &Sample, options: ServeOptions, headers: &str) -> Server {
    settled(sample);
    let server = sample.serve(options);
    let mut stream = connect(&server);
    for _ in 0..3 {
        stream.write_all(request("GET", RAW, headers).as_bytes()).unwrap();
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200"));
    }
    server
}

/// The lines of a head in any order, without the date, and the body.
fn parts(answer: &str) -> (Vec<String>, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<String> =
        head.lines().filter(|l| !l.starts_with("date: ")).map(str::to_owned).collect();
    lines.sort();
    (lines, body.to_owned())
}

#[test]
fn what_is_answered_here_is_what_hyper_answers() {
    let sample = Sample::new();
    let server = warm(&sample, ServeOptions::default(), "");
    let mut stream = connect(&server);
    // Until it is answered here: what is known is forgotten after a while, which a loaded machine may take.
    let mut ask = |text: &str, here: bool| {
        let (mut answer, before) = (String::new(), answered(&stream));
        until("an answer from where it is expected", || {
            stream.write_all(text.as_bytes()).unwrap();
            answer = read_answer(&mut stream);
            (answered(&stream) > before) == here
        });
        assert_eq!(answered(&stream), before + usize::from(here));
        answer
    };
    let here = ask(&request("GET", RAW, "User-Agent: x\r\nConnection: keep-alive\r\n"), true);
    let hyper = ask(&request("GET", RAW, "If-None-Match: \"other\"\r\n"), false);
    assert_eq!(parts(&here), parts(&hyper));
    assert!(
        here.contains("\r\ndate: ") && here.ends_with(std::str::from_utf8(&content("plain.jpg")).unwrap())
    );
    let with_query = ask(&request("GET", &format!("{RAW}?token=x"), ""), true);
    assert_eq!(parts(&with_query), parts(&here));
}

#[test]
fn requests_of_all_kinds_share_a_connection_in_order() {
    let sample = Sample::new();
    let server = warm(&sample, ServeOptions::default(), "");
    let mut stream = connect(&server);
    let get = |target: &str| request("GET", target, "");
    let range = request("GET", RAW, "Range: bytes=4-10\r\n");
    let all = [get(RAW), get(LISTING), get(RAW), range, get("/none"), get(RAW), get("/healthz"), get(RAW)];
    let put =
        "--B\r\nContent-Disposition: form-data; name=\"files\"; filename=\"n.txt\"\r\n\r\nn\r\n--B--\r\n";
    let headers =
        format!("Content-Type: multipart/form-data; boundary=B\r\nContent-Length: {}\r\n", put.len());
    let put = request("PUT", "/api/v1/repos/local/art/content/main/notes", &headers) + put;
    // At once, and in pieces that cut heads in two.
    for size in [usize::MAX, 37] {
        let text = all.concat();
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size.min(text.len())).collect();
        let answers = std::thread::scope(|s| {
            let mut writing = stream.try_clone().unwrap();
            s.spawn(move || pieces.iter().for_each(|piece| writing.write_all(piece).unwrap()));
            all.iter().map(|_| read_answer(&mut stream)).collect::<Vec<_>>()
        });
        let status: Vec<&str> = answers.iter().filter_map(|a| a.split(' ').nth(1)).collect();
        assert_eq!(status, ["200", "200", "200", "206", "404", "200", "200", "200"]);
        assert!(answers[1].contains("plain.jpg") && answers[3].ends_with("content"), "{answers:?}");
        assert!([0, 2, 5, 7].iter().all(|n| answers[*n].contains("the content of plain.jpg")));
    }
    assert!((1..=8).contains(&answered(&stream)));
    stream.write_all([put.as_str(), &get(RAW)].concat().as_bytes()).unwrap();
    assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200"));
    assert!(read_answer(&mut stream).contains("the content of plain.jpg"));
}

#[test]
fn a_head_has_no_body_and_the_connection_goes_on() {
    let sample = Sample::new();
    let server = warm(&sample, ServeOptions::default(), "");
    let mut stream = connect(&server);
    let text = [request("HEAD", RAW, ""), request("GET", "/healthz", "")].concat();
    let mut answer = Vec::new();
    until("an answer without hyper", || {
        stream.write_all(text.as_bytes()).unwrap();
        answer.clear();
        while !answer.ends_with(b"{\"status\":\"ok\"}") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            answer.push(byte[0]);
        }
        answered(&stream) == 1
    });
    let answer = String::from_utf8(answer).unwrap();
    assert!(!answer.contains("the content of"));
    assert!(answer.contains(&format!("content-length: {}\r\n", content("plain.jpg").len())));
}

#[test]
fn every_request_of_a_connection_needs_the_token() {
    let sample = Sample::new();
    let auth = "Authorization: Bearer t0ken\r\n";
    let options = ServeOptions { token: Some(Secret::new("t0ken")), ..ServeOptions::default() };
    let server = warm(&sample, options, auth);
    let mut stream = connect(&server);
    for (headers, status) in [
        (auth, "200"),
        ("", "401"),
        ("Authorization: Bearer t0ke\r\n", "401"),
        (auth, "200"),
        ("Authorization: Bearer t0kenX\r\n", "401"),
    ] {
        stream.write_all(request("GET", RAW, headers).as_bytes()).unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!(answer.split(' ').nth(1), Some(status), "{headers}");
        assert_eq!(answer.contains("the content of"), status == "200");
    }
    assert!((1..=2).contains(&answered(&stream)));
}

#[test]
fn heads_that_mean_more_than_they_say_are_not_taken_here() {
    let sample = Sample::new();
    let server = warm(&sample, ServeOptions::default(), "");
    let rest = "Connection: close\r\n";
    for (text, status) in [
        (request("GET", RAW, rest), "200"),
        (format!("GET {RAW} HTTP/1.0\r\n\r\n"), "200"),
        (format!("GET {RAW} HTTP/1.1\r\nHost: rebound.example\r\n{rest}\r\n"), "401"),
        (request("GET", RAW, &format!("Content-Length: 3\r\n{rest}")) + "abc", "200"),
        (request("GET", RAW, &format!("Transfer-Encoding: chunked\r\n{rest}")) + "0\r\n\r\n", "200"),
        ("\r\n".to_owned() + &request("GET", RAW, rest), "200"),
        (format!("get {RAW} HTTP/1.1\r\n{rest}\r\n"), "400"),
        ("GET \r\n\r\n".to_owned(), "400"),
    ] {
        let mut stream = connect(&server);
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{text}");
        assert_eq!(answer.matches("HTTP/1.1 ").count() + answer.matches("HTTP/1.0 ").count(), 1, "{answer}");
        assert_eq!(answered(&stream), 0, "{text}");
    }
}
