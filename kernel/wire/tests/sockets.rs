//! Server and client over real sockets, and raw peers that do not keep to the protocol.

use dds_core::Kind;
use dds_wire::client::Client;
use dds_wire::frames::{DELIMITER, encode};
use dds_wire::{Bytes, Channel, ConnectionInfo, Inbox, Message, Outlet, Server, Signer};
use serde_json::json;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// Far more than any step needs; a test that reaches it fails.
const DEADLINE: Duration = Duration::from_secs(20);

struct Private {
    info: ConnectionInfo,
    _dir: tempfile::TempDir,
}

fn ipc() -> Private {
    let dir = tempfile::Builder::new().prefix("w-").tempdir_in("/tmp").unwrap();
    Private { info: ConnectionInfo::ipc(dir.path()).unwrap(), _dir: dir }
}

/// Answers kernel_info; any other request with `echo_reply` and an `echoed` output.
fn echo_kernel(inbox: Inbox, outlet: Outlet) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for request in inbox.shell {
            let mut output = Message::new("echoed", outlet.session(), request.content.clone());
            output.parent_header = Some(request.header.clone());
            output.buffers.clone_from(&request.buffers);
            let _ = outlet.send(Channel::Iopub, &output);
            let (kind, content) = if request.msg_type() == "kernel_info_request" {
                let language = json!({"name": "echo", "version": "1"});
                ("kernel_info_reply", json!({"protocol_version": "5.5", "language_info": language}))
            } else {
                ("echo_reply", request.content.clone())
            };
            let _ = outlet.send(Channel::Shell, &Message::reply(&request, kind, outlet.session(), content));
        }
    })
}

fn next(messages: &mut mpsc::Receiver<(Channel, Message)>) -> (Channel, Message) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let received = runtime.block_on(async { tokio::time::timeout(DEADLINE, messages.recv()).await });
    received.expect("a message within the deadline").expect("the client is open")
}

/// The next two messages, which must be the echo of `id` on shell and iopub.
fn expect_echo(messages: &mut mpsc::Receiver<(Channel, Message)>, id: &str) -> Message {
    let (mut reply, mut output) = (None, None);
    for _ in 0..2 {
        let (channel, message) = next(messages);
        assert_eq!(message.parent_id(), id, "{message:?}");
        match channel {
            Channel::Shell => reply = Some(message),
            Channel::Iopub => output = Some(message),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reply.expect("a reply").msg_type(), "echo_reply");
    output.expect("an output")
}

fn round_trip(info: &ConnectionInfo) {
    let (server, inbox, outlet) = Server::bind(info).unwrap();
    let kernel = echo_kernel(inbox, outlet);
    let (client, mut messages) = Client::connect(info).unwrap();
    let ready = client.wait_ready_blocking(DEADLINE).unwrap();
    assert_eq!(ready.language_info.name, "echo");

    let buffer = Bytes::from(vec![7; 3 << 20]);
    let id = client
        .send(
            Channel::Shell,
            "comm_msg",
            json!({"x": 1}),
            json!({"m": 1}),
            vec![buffer.clone(), Bytes::new()],
        )
        .unwrap();
    let output = expect_echo(&mut messages, &id);
    assert_eq!(output.content, json!({"x": 1}));
    assert_eq!(output.buffers, [buffer, Bytes::new()]);

    server.shutdown();
    kernel.join().unwrap();
    assert!(messages.try_recv().is_err(), "nothing was received that was not asserted");
}

#[test]
fn messages_and_buffers_travel_over_ipc() {
    round_trip(&ipc().info);
}

#[test]
fn messages_and_buffers_travel_over_tcp() {
    round_trip(&ConnectionInfo::tcp().unwrap());
}

#[test]
fn the_client_may_come_before_the_kernel() {
    let private = ipc();
    let (client, mut messages) = Client::connect(&private.info).unwrap();
    let id = client.request(Channel::Shell, "early", json!({})).unwrap();
    let (server, inbox, outlet) = Server::bind(&private.info).unwrap();
    let kernel = echo_kernel(inbox, outlet);
    client.wait_ready_blocking(DEADLINE).unwrap();
    // The early request was answered; its output may have come before the subscription.
    let (channel, reply) = loop {
        let (channel, message) = next(&mut messages);
        if channel == Channel::Shell {
            break (channel, message);
        }
    };
    assert_eq!((channel, reply.parent_id()), (Channel::Shell, id.as_str()));
    server.shutdown();
    kernel.join().unwrap();
}

#[test]
fn a_kernel_that_never_answers_is_reported() {
    let private = ipc();
    let (client, _messages) = Client::connect(&private.info).unwrap();
    let error = client.wait_ready_blocking(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(error.message.contains("0.1 s"), "{error}");
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut info = ConnectionInfo::tcp().unwrap();
    info.ports.iopub = taken.local_addr().unwrap().port();
    let error = Server::bind(&info).err().expect("the port is taken");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.contains(&format!("127.0.0.1:{} for iopub", info.ports.iopub)), "{error}");
    // What was bound before the failure is free again.
    info.ports.iopub = ConnectionInfo::tcp().unwrap().ports.iopub;
    Server::bind(&info).unwrap().0.shutdown();
}

fn raw(kind: zmq::SocketType, endpoint: &str) -> zmq::Socket {
    let socket = zmq::Context::new().socket(kind).unwrap();
    socket.set_rcvtimeo(DEADLINE.as_millis() as i32).unwrap();
    socket.set_linger(0).unwrap();
    socket.connect(endpoint).unwrap();
    socket
}

fn endpoint(info: &ConnectionInfo, port: u16) -> String {
    format!("ipc://{}-{port}", info.ip)
}

#[test]
fn the_heartbeat_echoes_bytes() {
    let private = ipc();
    let (server, _inbox, _outlet) = Server::bind(&private.info).unwrap();
    let socket = raw(zmq::REQ, &endpoint(&private.info, private.info.ports.heartbeat));
    for beat in [&b"ping"[..], b"", &[0xff; 1000]] {
        socket.send(beat, 0).unwrap();
        assert_eq!(socket.recv_bytes(0).unwrap(), beat);
    }
    server.shutdown();
}

#[test]
fn every_subscriber_is_welcomed_by_its_topic() {
    let private = ipc();
    let (server, _inbox, _outlet) = Server::bind(&private.info).unwrap();
    let signer = Signer::new(private.info.key.expose().as_bytes());
    // Two with the same topic: without xpub_verbose the second would not be seen.
    for topic in ["", "", "stream"] {
        let socket = raw(zmq::SUB, &endpoint(&private.info, private.info.ports.iopub));
        socket.set_subscribe(topic.as_bytes()).unwrap();
        let frames: Vec<Bytes> = socket.recv_multipart(0).unwrap().into_iter().map(Bytes::from).collect();
        let (welcome, _) = dds_wire::frames::decode(&frames, &signer).unwrap();
        assert_eq!(welcome.msg_type(), "iopub_welcome");
        assert_eq!(welcome.content, json!({"subscription": topic}));
        assert_eq!(welcome.ids, [Bytes::from(topic)]);
        assert!(welcome.parent_header.is_none());
    }
    server.shutdown();
}

#[test]
fn a_question_waits_until_the_front_ends_stdin_is_connected() {
    let private = ipc();
    let (server, inbox, outlet) = Server::bind(&private.info).unwrap();
    let identify = |port: u16| {
        let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
        socket.set_identity(b"slow").unwrap();
        socket.set_rcvtimeo(DEADLINE.as_millis() as i32).unwrap();
        socket.connect(&endpoint(&private.info, port)).unwrap();
        socket
    };
    let signer = Signer::new(private.info.key.expose().as_bytes());
    let shell = identify(private.info.ports.shell);
    let cell = encode(&Message::new("execute_request", "s", json!({})), &signer);
    shell.send_multipart(cell.iter().map(|f| f.as_ref()), 0).unwrap();
    let cell = inbox.shell.recv_timeout(DEADLINE).unwrap();
    for n in 0..3 {
        let question = Message::reply(&cell, "input_request", outlet.session(), json!({"n": n}));
        outlet.send(Channel::Stdin, &question).unwrap();
    }
    // The kernel's thread meets the first at once, with nobody to send it to.
    let stdin = identify(private.info.ports.stdin);
    for n in 0..3 {
        let frames: Vec<Bytes> = stdin.recv_multipart(0).unwrap().into_iter().map(Bytes::from).collect();
        let (question, _) = dds_wire::frames::decode(&frames, &signer).unwrap();
        assert_eq!(question.content, json!({"n": n}));
    }
    server.shutdown();
}

#[test]
fn hostile_frames_leave_the_server_answering() {
    let private = ipc();
    let info = &private.info;
    let (server, inbox, outlet) = Server::bind(info).unwrap();
    let kernel = echo_kernel(inbox, outlet);
    let (client, mut messages) = Client::connect(info).unwrap();
    client.wait_ready_blocking(DEADLINE).unwrap();
    let signer = Signer::new(info.key.expose().as_bytes());

    let good = Message::new("x", "session", json!({}));
    let wrong_key = encode(&good, &Signer::new(b"guess"));
    let mut no_signature = encode(&good, &signer);
    no_signature[1] = Bytes::new();
    let bare = vec![Bytes::from_static(DELIMITER)];
    let many = vec![Bytes::from_static(b"x"); 5_000];
    let hostile: [&[Bytes]; 7] = [
        &[Bytes::from_static(b"garbage")],
        &[Bytes::new()],
        &[Bytes::from_static(&[0xff; 64]), Bytes::from_static(DELIMITER)],
        &bare,
        &wrong_key,
        &no_signature,
        &many,
    ];
    for port in [info.ports.shell, info.ports.control, info.ports.stdin] {
        let peer = raw(zmq::DEALER, &endpoint(info, port));
        for _ in 0..200 {
            for frames in hostile {
                peer.send_multipart(frames.iter().map(|f| f.as_ref()), 0).unwrap();
            }
        }
        // An unfinished message, and a frame past the bound, for which libzmq drops the connection.
        peer.send("more", zmq::SNDMORE).unwrap();
    }
    for size in [dds_wire::frames::MAX_FRAME_BYTES + 1, 1 << 30] {
        let peer = raw(zmq::DEALER, &endpoint(info, info.ports.shell));
        peer.send(vec![0u8; size], 0).unwrap();
    }
    // On iopub a peer may say anything where subscriptions are expected.
    let peer = raw(zmq::XSUB, &endpoint(info, info.ports.iopub));
    for bytes in [&b"\x01"[..], b"\x02what", b"", &[1; 100_000], b"\x01\xff\xfe"] {
        peer.send(bytes, 0).unwrap();
    }

    let id = client.request(Channel::Shell, "still there?", json!({"a": 1})).unwrap();
    assert_eq!(expect_echo(&mut messages, &id).content, json!({"a": 1}));
    server.shutdown();
    kernel.join().unwrap();
}

#[test]
fn a_replay_is_refused_on_every_channel() {
    let private = ipc();
    let (server, inbox, _outlet) = Server::bind(&private.info).unwrap();
    let (client, _messages) = Client::connect(&private.info).unwrap();
    let request = Message::new("shutdown_request", client.session(), json!({}));
    let frames = encode(&request, client.signer());
    client.send_frames(Channel::Control, frames.clone()).unwrap();
    assert_eq!(inbox.control.recv_timeout(DEADLINE).unwrap().msg_id(), request.msg_id());
    for channel in [Channel::Control, Channel::Shell] {
        client.send_frames(channel, frames.clone()).unwrap();
        let marker = client.request(channel, "marker", json!({})).unwrap();
        let inbox = if channel == Channel::Shell { &inbox.shell } else { &inbox.control };
        assert_eq!(inbox.recv_timeout(DEADLINE).unwrap().msg_id(), marker, "the replay came through");
    }
    server.shutdown();
}

#[test]
fn a_receiver_that_lags_loses_nothing() {
    const MESSAGES: usize = 3 * dds_wire::client::INBOX;
    let private = ipc();
    let (server, inbox, outlet) = Server::bind(&private.info).unwrap();
    let kernel = echo_kernel(inbox, outlet.clone());
    let (client, mut messages) = Client::connect(&private.info).unwrap();
    client.wait_ready_blocking(DEADLINE).unwrap();
    // Nobody takes them while they are published: the client's inbox fills, then ZeroMQ's queue.
    for n in 0..MESSAGES {
        outlet.send(Channel::Iopub, &Message::new("n", outlet.session(), json!({"n": n}))).unwrap();
    }
    for n in 0..MESSAGES {
        assert_eq!(next(&mut messages).1.content, json!({"n": n}));
    }
    server.shutdown();
    drop(outlet);
    kernel.join().unwrap();
}

#[test]
fn a_subscriber_that_never_reads_harms_no_other_and_is_counted() {
    const QUEUED: usize = dds_wire::server::HIGH_WATER_MARK as usize;
    // What the operating system and the subscriber's own queue hold comes on top.
    const MESSAGES: usize = QUEUED + 50_000;
    let private = ipc();
    let (server, _inbox, outlet) = Server::bind(&private.info).unwrap();
    let stuck = zmq::Context::new().socket(zmq::SUB).unwrap();
    stuck.set_rcvhwm(1).unwrap();
    stuck.set_rcvtimeo(DEADLINE.as_millis() as i32).unwrap();
    stuck.set_subscribe(b"").unwrap();
    stuck.connect(&endpoint(&private.info, private.info.ports.iopub)).unwrap();
    stuck.recv_multipart(0).expect("the welcome");
    let (_client, mut messages) = Client::connect(&private.info).unwrap();
    // The other's subscription is seen when something arrives.
    while messages.try_recv().is_err() {
        outlet.send(Channel::Iopub, &Message::new("early", outlet.session(), json!({}))).unwrap();
    }
    let publisher = outlet.clone();
    let sent = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            publisher.send(Channel::Iopub, &Message::new("n", publisher.session(), json!({"n": n}))).unwrap();
        }
    });
    let mut expected = 0;
    while expected < MESSAGES {
        let message = next(&mut messages).1;
        if message.msg_type() == "n" {
            assert_eq!(message.content["n"].as_u64(), Some(expected as u64));
            expected += 1;
        }
    }
    sent.join().unwrap();
    assert_eq!(outlet.overruns(), 1, "it is waited for once, not for every message");
    let mut read = 0;
    stuck.set_rcvtimeo(200).unwrap();
    while stuck.recv_multipart(0).is_ok() {
        read += 1;
    }
    assert!(
        (QUEUED - 1..MESSAGES).contains(&read),
        "{read}: a whole queue (with the welcome), and not everything"
    );
    server.shutdown();
}

#[test]
fn an_inbox_that_nobody_reads_neither_blocks_sending_nor_loses_requests() {
    const REQUESTS: usize = 3 * dds_wire::server::QUEUE;
    let private = ipc();
    let (server, inbox, outlet) = Server::bind(&private.info).unwrap();
    let (client, mut messages) = Client::connect(&private.info).unwrap();
    for n in 0..REQUESTS {
        client.request(Channel::Shell, "n", json!({"n": n})).unwrap();
    }
    let first = inbox.shell.recv_timeout(DEADLINE).unwrap();
    outlet.send(Channel::Shell, &Message::reply(&first, "r", outlet.session(), json!({}))).unwrap();
    let (channel, reply) = next(&mut messages);
    assert_eq!((channel, reply.parent_id()), (Channel::Shell, first.msg_id()));
    for n in 1..REQUESTS {
        assert_eq!(inbox.shell.recv_timeout(DEADLINE).unwrap().content, json!({"n": n}));
    }
    server.shutdown();
}

#[test]
fn after_shutdown_sending_is_an_error_and_sockets_are_gone() {
    let private = ipc();
    let (server, inbox, outlet) = Server::bind(&private.info).unwrap();
    server.shutdown();
    let error = outlet.send(Channel::Iopub, &Message::new("n", "s", json!({}))).unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(inbox.shell.recv().is_err(), "its thread is gone");
    Server::bind(&private.info).unwrap().0.shutdown();
}

#[test]
fn a_client_without_a_receiver_can_still_send() {
    let private = ipc();
    let (server, inbox, outlet) = Server::bind(&private.info).unwrap();
    let (client, messages) = Client::connect(&private.info).unwrap();
    drop(messages);
    client.request(Channel::Shell, "a", json!({})).unwrap();
    let request = inbox.shell.recv_timeout(DEADLINE).unwrap();
    outlet.send(Channel::Shell, &Message::reply(&request, "r", outlet.session(), json!({}))).unwrap();
    client.request(Channel::Control, "b", json!({})).unwrap();
    assert_eq!(inbox.control.recv_timeout(DEADLINE).unwrap().msg_type(), "b");
    assert!(client.request(Channel::Iopub, "c", json!({})).is_err());
    server.shutdown();
}
