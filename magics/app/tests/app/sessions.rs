//! Visitors: a kernel of one's own, places, idleness, and kernels that fail.

use crate::exec::notebook;
use crate::http::{Answer, Piece, get, multipart, post};
use crate::server::{Running, TEXT_FORM, one_line, start, until};
use crate::uploads::told;
use futures_util::StreamExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn form(run: &str) -> String {
    one_line(TEXT_FORM).replace("\"echo\"", &format!("\"{run}\""))
}

async fn say(r: &Running, cookies: &[String], words: &str) -> Answer {
    post(r.port, "/form/t-of-0", cookies, true, &multipart(&[Piece::Text("words", words)])).await
}

/// The visitor's cookies after `a`.
fn with(r: &Running, a: &Answer) -> Vec<String> {
    [r.cookie.clone(), a.cookies()].concat()
}

#[tokio::test]
async fn looking_costs_no_kernel_and_each_visitor_has_their_own() {
    let r = start(&notebook(&[&form("echo")]), |_| {}).await;
    for _ in 0..20 {
        assert_eq!(get(r.port, "/", &r.cookie).await.status, 200);
    }
    assert_eq!((r.launcher.launched(), r.server.visitors(), r.server.ready_kernels()), (1, 0, 1));

    let first = say(&r, &r.cookie, "one").await;
    let first_visitor = with(&r, &first);
    assert_eq!(first_visitor.len(), 2);
    let session = first_visitor[1].split_once('=').unwrap().1;
    assert!(session.len() == 64 && session.bytes().all(|b| b.is_ascii_hexdigit()));
    let second = say(&r, &r.cookie, "two").await;
    let second_visitor = with(&r, &second);
    assert_ne!(first_visitor[1], second_visitor[1]);
    let again = say(&r, &first_visitor, "three").await;
    assert!(again.cookies().iter().all(|c| *c == first_visitor[1]));
    let kernel = |a: &Answer| told(a.json()["html"].as_str().unwrap());
    let (a, b, c) = (kernel(&first), kernel(&second), kernel(&again));
    assert_ne!(a["kernel"], b["kernel"]);
    assert_eq!((&a["kernel"], &c["asked"]), (&c["kernel"], &serde_json::json!(2)));
    assert_eq!(b["asked"], 1, "nobody else's state");
    // The page's form id is the template's; each kernel was asked by its own.
    assert_eq!(b["form"], format!("t-of-{}", b["kernel"]));
    assert_eq!(r.server.visitors(), 2);
    // The next visitor's kernel is made in the background.
    until(|| r.server.ready_kernels() == 1).await;
    assert_eq!(r.launcher.alive(), 3);
    // Someone else's session id is not guessed from a wrong one.
    let forged = [r.cookie.clone(), vec![format!("dds-visitor-{}={}", r.port, "0".repeat(64))]].concat();
    assert_ne!(kernel(&say(&r, &forged, "x").await)["kernel"], a["kernel"]);
}

#[tokio::test]
async fn shutdown_and_drop_leave_no_kernel_and_no_folder() {
    for polite in [true, false] {
        let r = start(&notebook(&[&form("echo")]), |o| o.pool = 2).await;
        say(&r, &r.cookie, "x").await;
        until(|| r.server.ready_kernels() == 2).await;
        assert_eq!(r.launcher.alive(), 3);
        let launcher = r.launcher.clone();
        let run = r.dir.path().join("run");
        assert!(std::fs::read_dir(&run).unwrap().count() > 0);
        if polite {
            r.server.shutdown().await;
        } else {
            drop(r.server);
        }
        until(|| launcher.alive() == 0).await;
        until(|| std::fs::read_dir(&run).unwrap().count() == 0).await;
    }
}

#[tokio::test]
async fn places_are_limited_and_come_free_after_idleness() {
    let r = start(&notebook(&[&form("echo")]), |o| {
        o.max_visitors = 2;
        o.idle_timeout = Duration::from_secs(600);
    })
    .await;
    let first_visitor = with(&r, &say(&r, &r.cookie, "a").await);
    let second_visitor = with(&r, &say(&r, &r.cookie, "b").await);
    let full = say(&r, &r.cookie, "c").await;
    assert_eq!(full.status, 503);
    assert!(full.json()["html"].as_str().unwrap().contains("busy") && full.header("retry-after").is_some());
    assert!(full.cookies().is_empty());
    assert_eq!(get(r.port, "/", &r.cookie).await.status, 200, "the page itself is always there");
    assert_eq!(say(&r, &first_visitor, "still here").await.status, 200);

    let folders = |r: &Running| {
        let log = r.launcher.log.specs.lock().unwrap();
        log.iter().filter(|s| Path::new(&s.env.last().unwrap().1).exists()).count()
    };
    let at = |s: u64| r.clock.0.store(s * 1000, Ordering::SeqCst);
    at(500);
    get(r.port, "/", &second_visitor).await; // Looking again keeps a session.
    at(600);
    assert_eq!(r.server.expire_idle().await, 0, "exactly at the limit");
    at(601);
    assert_eq!(r.server.expire_idle().await, 1, "user");
    assert_eq!(r.server.visitors(), 1);
    until(|| r.server.ready_kernels() == 1).await;
    assert_eq!((r.launcher.alive(), folders(&r)), (2, 2), "her kernel and her folder are gone");
    assert_eq!(
        told(say(&r, &first_visitor, "back").await.json()["html"].as_str().unwrap())["asked"],
        1,
        "a new session"
    );
    // A full house makes room by itself for someone new.
    at(2000);
    assert_eq!(say(&r, &r.cookie, "new").await.status, 200);
}

#[tokio::test]
async fn a_kernel_that_dies_is_said_and_replaced() {
    let r = start(&notebook(&[&form("crash")]), |_| {}).await;
    let a = say(&r, &r.cookie, "x").await;
    assert_eq!(a.status, 503);
    assert!(a.json()["html"].as_str().unwrap().contains("ended unexpectedly"), "{}", a.body);
    let me = with(&r, &a);
    until(|| r.server.ready_kernels() == 1).await;
    assert_eq!(r.launcher.alive(), 1, "the dead one is gone");
    let b = say(&r, &me, "x").await;
    assert_eq!((b.status, b.cookies().first()), (503, me.last()), "same visitor, another kernel");
    assert_eq!(r.server.visitors(), 1);
    until(|| r.launcher.launched() == 3).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_interrupted() {
    let limit = Duration::from_millis(30);
    let r = start(&notebook(&[&form("hang")]), |o| o.answer_timeout = limit).await;
    let a = say(&r, &r.cookie, "x").await;
    assert_eq!(a.status, 504);
    assert!(a.json()["html"].as_str().unwrap().contains("no answer"), "{}", a.body);
    let me = with(&r, &a);
    say(&r, &me, "y").await;
    {
        let sent = r.launcher.log.sent.lock().unwrap();
        let mine: Vec<&str> =
            sent.iter().filter(|(n, ..)| *n == 0).map(|(_, k, _)| k.as_str()).skip(1).collect();
        let once = ["comm_open", "comm_msg", "interrupt_request", "comm_close"];
        assert_eq!(mine, [once, once].concat(), "the kernel is kept, the comm is not");
        let comms: std::collections::HashSet<&str> = sent
            .iter()
            .filter(|(_, k, _)| k == "comm_open")
            .map(|(_, _, c)| c["comm_id"].as_str().unwrap())
            .collect();
        assert_eq!(comms.len(), 2);
    }
    let r = start(&notebook(&[&form("stubborn")]), |o| o.answer_timeout = limit).await;
    assert_eq!(say(&r, &r.cookie, "x").await.status, 504);
    until(|| r.server.ready_kernels() == 1).await;
    assert_eq!(r.launcher.alive(), 1, "one that does not even hear an interrupt is ended");
}

#[tokio::test]
async fn refusals_of_the_kernel_are_shown_escaped() {
    let r = start(&notebook(&[&form("refuse")]), |_| {}).await;
    let a = say(&r, &r.cookie, "x").await;
    assert_eq!(a.status, 422);
    let html = a.json()["html"].as_str().unwrap().to_owned();
    assert!(html.contains("so far") && html.contains("&lt;b&gt;no&lt;/b&gt;") && html.contains("&lt;i&gt;"));

    let r = start(&notebook(&[&form("html")]), |_| {}).await;
    let me = with(&r, &say(&r, &r.cookie, "first").await);
    for p in crate::xss::PAYLOADS {
        let a = say(&r, &me, p).await;
        assert!(a.status == 200 || a.status == 400, "{p}: {}", a.status);
        let low = a.json()["html"].as_str().unwrap().to_ascii_lowercase();
        assert!(!low.contains("<script") && !low.contains(" onerror=") && !low.contains("<iframe"), "{low}");
    }
}

#[tokio::test]
async fn one_visitor_has_few_forms_under_way_and_stopping_answers_them() {
    const MAX_PENDING: usize = 4;
    let r = start(&notebook(&[&form("echo")]), |_| {}).await;
    let me = with(&r, &say(&r, &r.cookie, "hello").await);
    let (port, body) = (r.port, multipart(&[Piece::Text("words", "please hang")]));
    let mut pending: futures_util::stream::FuturesUnordered<_> = (0..MAX_PENDING + 1)
        .map(|_| {
            let (me, body) = (me.clone(), body.clone());
            tokio::spawn(async move { post(port, "/form/t-of-0", &me, true, &body).await })
        })
        .collect();
    let first = pending.next().await.unwrap().unwrap();
    assert_eq!(first.status, 429, "{}", first.body);
    assert_eq!(pending.len(), MAX_PENDING);
    // Nobody else is held up by them.
    assert_eq!(say(&r, &r.cookie, "someone else").await.status, 200);
    let launcher = r.launcher.clone();
    let stop = tokio::spawn(r.server.shutdown());
    while let Some(a) = pending.next().await {
        assert_eq!(a.unwrap().status, 503);
    }
    stop.await.unwrap();
    assert_eq!(launcher.alive(), 0);
}

#[tokio::test]
async fn cells_tagged_once_run_for_the_page_only() {
    let mut nb = notebook(&["print trained", &form("echo"), "print more"]);
    nb.cells[0].metadata.insert("tags".into(), serde_json::json!(["once"]));
    let r = start(&nb, |_| {}).await;
    assert!(get(r.port, "/", &r.cookie).await.body.contains("trained"));
    say(&r, &r.cookie, "a").await;
    assert_eq!(say(&r, &r.cookie, "b").await.status, 200);
    let sent = r.launcher.log.sent.lock().unwrap();
    let ran = |kernel: usize| {
        let codes = sent.iter().filter(|(n, k, _)| *n == kernel && k == "execute_request");
        codes.map(|(_, _, c)| c["code"].as_str().unwrap().contains("trained")).collect::<Vec<_>>()
    };
    assert_eq!(ran(0), [true, false, false]);
    assert_eq!(ran(1), [false, false]);
}

#[tokio::test]
async fn a_pool_of_none_starts_kernels_on_demand() {
    let r = start(&notebook(&[&form("echo")]), |o| o.pool = 0).await;
    assert_eq!((r.launcher.launched(), r.launcher.alive()), (1, 0));
    assert_eq!(say(&r, &r.cookie, "x").await.status, 200);
    assert_eq!((r.launcher.launched(), r.launcher.alive()), (2, 1));
}

#[tokio::test]
async fn many_visitors_at_once_get_their_own_answers() {
    let r = start(&notebook(&[&form("echo")]), |o| o.max_visitors = 30).await;
    let all = futures_util::future::join_all((0..30).map(|i| {
        let r = &r;
        async move {
            let a = say(r, &r.cookie, &format!("visitor {i}")).await;
            assert_eq!(a.status, 200, "{}", a.body);
            let told = told(a.json()["html"].as_str().unwrap());
            assert_eq!(told["values"]["words"], format!("visitor {i}"));
            told["kernel"].as_u64().unwrap()
        }
    }))
    .await;
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), 30);
    let launcher = r.launcher.clone();
    r.server.shutdown().await;
    assert_eq!(launcher.alive(), 0);
}
