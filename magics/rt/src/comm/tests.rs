use super::*;
use crate::testing::Front;
use crate::wire::What;
use std::sync::Mutex;

fn comms(front: &Front) -> Vec<(String, CommFrameKind, String)> {
    let frames = front.take().into_iter().filter_map(|up| match up.what {
        What::Comm(frame) => Some((frame.id, frame.kind, frame.data)),
        _ => None,
    });
    frames.collect()
}

#[test]
fn messages_go_both_ways() {
    let front = Front::new();
    let comm = Comm::open_as("c", "target", Json::object([("a", 1)])).unwrap();
    comm.send(Json::object([("b", 2)])).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    comm.on_message({
        let (heard, comm) = (Arc::clone(&heard), comm.clone());
        move |message| {
            heard.lock().unwrap().push(message.clone());
            comm.send(Json::object([("answer", true)])).unwrap();
        }
    });
    let message = Message::new(Json::object([("x", 3)])).buffers(vec![vec![0, 255]]);
    front.message("c", message.clone());
    let heard = heard.lock().unwrap();
    assert_eq!((heard[0].data.clone(), heard[0].buffers.clone()), (message.data, message.buffers));
    comm.close();
    comm.close();
    assert!(!comm.is_open() && comm.send(Json::Null).is_err());
    let kind = |kind: CommFrameKind, data: &str| ("c".to_owned(), kind, data.to_owned());
    assert_eq!(
        comms(&front),
        [
            kind(CommFrameKind::Open("target".into()), "{\"a\":1}"),
            kind(CommFrameKind::Message, "{\"b\":2}"),
            kind(CommFrameKind::Message, "{\"answer\":true}"),
            kind(CommFrameKind::Close, "{}"),
        ]
    );
}

#[test]
fn answers_name_what_they_answer() {
    let front = Front::new();
    let comm = Comm::open("t", Json::Null).unwrap();
    comm.on_message(|_| crate::clear_output(false));
    front.take();
    front.message(comm.id(), Json::Null);
    let origins: Vec<_> = front.take().into_iter().map(|up| (up.origin, up.what)).collect();
    assert_eq!(origins, [(0, What::Begin(1)), (1, What::Clear(false)), (0, What::End(1))]);
}

#[test]
fn the_page_opens_targets_that_are_registered() {
    let front = Front::new();
    let opened = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&opened);
    register_target("mine", move |comm, _| kept.lock().unwrap().push(comm)).unwrap();
    assert_eq!(front.take()[0].what, What::Target("mine".into(), true));
    front.open("one", "mine", Json::Null);
    front.open("two", "other", Json::Null);
    assert!(opened.lock().unwrap()[0].is_open());
    assert_eq!(comms(&front), [("two".to_owned(), CommFrameKind::Close, "{}".to_owned())]);
    front.close("one");
    assert!(!opened.lock().unwrap()[0].is_open());
    unregister_target("mine");
    front.take();
    front.open("three", "mine", Json::Null);
    assert_eq!(comms(&front).len(), 1);
}

#[test]
fn a_panic_ends_one_call() {
    let front = Front::new();
    let comm = Comm::open("t", Json::Null).unwrap();
    let calls = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&calls);
    comm.on_message(move |message| {
        *counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
        assert!(message.data.is_null(), "told to");
    });
    front.message(comm.id(), Json::Bool(true));
    front.message(comm.id(), Json::Null);
    assert_eq!(*calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner), 2);
}

#[test]
fn listeners_may_replace_and_close_from_inside() {
    let front = Front::new();
    let comm = Comm::open("t", Json::Null).unwrap();
    let calls = Arc::new(Mutex::new(Vec::new()));
    comm.on_message({
        let (comm, calls) = (comm.clone(), Arc::clone(&calls));
        move |_| {
            calls.lock().unwrap().push(1);
            let (inner, calls) = (comm.clone(), Arc::clone(&calls));
            comm.on_message(move |_| {
                calls.lock().unwrap().push(2);
                inner.close();
            });
        }
    });
    for _ in 0..3 {
        front.message(comm.id(), Json::Null);
    }
    assert_eq!(*calls.lock().unwrap(), [1, 2]);
}

#[test]
fn ids_are_unique_and_one_comm_each() {
    let _front = Front::new();
    let (a, b) = (Comm::open("t", Json::Null).unwrap(), Comm::open("t", Json::Null).unwrap());
    assert_ne!(a.id(), b.id());
    assert_eq!(Comm::open_as(a.id(), "t", Json::Null).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert!(a.is_open());
}
