"""What must not hurt the kernel: bad frames, cells that crash, many interrupts, a parent that dies."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from cells import Kernel
from processes import alive, descendants, wait_until

DELIMITER = b"<IDS|MSG>"
# Far more than a socket's queue holds.
FLOOD = 10_000
# Past what the kernel takes as one frame.
LARGE_FRAME_BYTES = 96 << 20


@pytest.fixture(scope="module")
def kernel(jupyter_env, tmp_path_factory):
    with Kernel(tmp_path_factory.mktemp("safety"), jupyter_env) as kernel:
        kernel.ok("let kept = vec![1, 2, 3];")
        yield kernel


def check_state(kernel: Kernel):
    assert kernel.ok("kept.iter().sum::<i32>()").bundles("execute_result")[0]["text/plain"] == "6"


@pytest.fixture
def raw(kernel):
    """A DEALER socket to one channel of the kernel, beside the client's own."""
    opened = []

    def connect(channel: str) -> zmq.Socket:
        link = zmq.Context.instance().socket(zmq.DEALER)
        link.setsockopt(zmq.LINGER, 0)
        link.setsockopt(zmq.SNDTIMEO, 30_000)
        link.connect(kernel.url(channel))
        opened.append(link)
        return link

    yield connect
    for link in opened:
        link.close()


def answered(kernel: Kernel, link: zmq.Socket) -> list[bytes]:
    """Asks for kernel_info on `link`, and returns what was sent."""
    session = kernel.client.session
    frames = session.serialize(session.msg("kernel_info_request", content={}))
    link.send_multipart(frames)
    assert link.poll(30_000), "the kernel has gone deaf"
    assert session.deserialize(session.feed_identities(link.recv_multipart())[1])["msg_type"] == (
        "kernel_info_reply"
    )
    return frames


@pytest.mark.parametrize("channel", ["shell", "control"])
def test_bad_frames_leave_the_kernel_answering(kernel, raw, channel):
    link = raw(channel)
    session = kernel.client.session
    good = session.serialize(session.msg("kernel_info_request", content={}))
    assert good[0] == DELIMITER
    noise = random.Random(7)
    bad = {
        "an empty frame": [b""],
        "garbage": [noise.randbytes(300)],
        "a bare delimiter": [DELIMITER],
        "a wrong signature": [DELIMITER, b"0" * 64, *good[2:]],
        "no signature": [DELIMITER, b"", *good[2:]],
        "a part too few": good[:-1],
        "a signed header that is no JSON": signed(session, [b"{", b"{}", b"{}", b"{}"]),
        "a signed header that is a list": signed(session, [b"[1]", b"{}", b"{}", b"{}"]),
        "deep nesting": signed(session, [good[2], b"{}", b"{}", b"[" * 200_000]),
        "many parts": [DELIMITER, b"x", *[b"{}"] * 5000],
    }
    for name, frames in bad.items():
        link.send_multipart(frames)
        try:
            answered(kernel, link)
        except AssertionError as deaf:
            raise AssertionError(f"after {name}") from deaf
    check_state(kernel)


def signed(session, parts: list[bytes]) -> list[bytes]:
    return [DELIMITER, session.sign(parts), *parts]


def test_a_replayed_message_is_refused(kernel, raw):
    link = raw("shell")
    session = kernel.client.session
    before = kernel.ok("!true").reply["execution_count"]
    content = {"code": "!true", "silent": False, "store_history": True, "user_expressions": {}}
    frames = session.serialize(session.msg("execute_request", content=content))
    link.send_multipart(frames)
    assert link.poll(120_000), "the first one is answered"
    link.recv_multipart()
    link.send_multipart(frames)
    # What follows on the same socket is answered, and nothing before it.
    answered(kernel, link)
    assert kernel.ok("!true").reply["execution_count"] == before + 2
    check_state(kernel)


def test_a_flood_of_bad_frames_and_a_large_one(kernel, raw):
    link = raw("shell")
    for number in range(FLOOD):
        link.send_multipart([DELIMITER, b"%064d" % number, b"{}", b"{}", b"{}", b"{}"])
    answered(kernel, link)
    large = raw("shell")
    large.send_multipart([DELIMITER, b"", bytes(LARGE_FRAME_BYTES)])
    answered(kernel, link)
    check_state(kernel)


def test_bytes_that_are_not_zeromq(kernel):
    for channel in ["shell", "iopub", "stdin", "control", "hb"]:
        port = getattr(kernel.client, f"{channel}_port")
        with socket.create_connection((kernel.client.ip, port), timeout=10) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(range(256)) * 64)
    check_state(kernel)


CRASHES = {
    "SIGSEGV": "unsafe { (16 as *mut i32).write_volatile(1) };",
    "SIGABRT": "std::process::abort();",
    "SIGKILL": 'std::process::Command::new("kill")'
    '.args(["-9", &std::process::id().to_string()]).status().unwrap(); loop {}',
}
DEEP = (
    "fn deep(n: u64) -> u64 { let held = std::hint::black_box([n; 64]); "
    "if n == u64::MAX { 0 } else { deep(n + 1) + held[7] } }\ndeep(1)"
)


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_names_its_signal_and_keeps_state(kernel, name):
    ran = kernel.run(CRASHES[name])
    assert ran.status == "error"
    assert name in ran.text
    check_state(kernel)


def test_a_stack_overflow_is_named_and_keeps_state(kernel):
    ran = kernel.run(DEEP)
    assert ran.status == "error"
    assert "stack" in ran.text.lower() and "overflow" in ran.text.lower(), ran.text
    check_state(kernel)


def test_memory_that_is_not_there_is_an_error_and_keeps_state(kernel):
    ran = kernel.run("let much: Vec<u8> = Vec::with_capacity(1 << 46);\nmuch.capacity()")
    assert ran.status == "error"
    assert "memory" in ran.text or "SIGABRT" in ran.text
    check_state(kernel)


def test_interrupts_keep_state_every_time(kernel):
    endless = {
        "a loop": 'println!("on"); loop { std::hint::black_box(()); }',
        "a sleep": 'println!("on"); std::thread::sleep(std::time::Duration::from_secs(600));',
        "a write and a loop": 'kept.push(99); println!("on"); loop { std::hint::black_box(()); }',
        "a blocked read": 'println!("on"); let (_held, mut pipe) = std::os::unix::net::UnixStream::pair()'
        ".unwrap(); std::io::Read::read(&mut pipe, &mut [0]).unwrap();",
        "a child": 'println!("on"); std::process::Command::new("sleep").arg("600").status().unwrap();',
    }
    kernel.ok("let mut kept = kept;")
    for name, code in endless.items():
        cell = kernel.send(code)
        kernel.wait_for_output(cell, "on")
        kernel.manager.interrupt_kernel()
        ran = kernel.collect(cell, seconds=60)
        assert ran.status == "error" and ran.reply["ename"] == "Interrupted", f"{name}: {ran.text}"
        check_state(kernel)


PARENT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import os
from cells import Kernel
kernel = Kernel(Path.cwd(), dict(os.environ))
kernel.ok("let a = 1;")
cell = kernel.send(sys.argv[2])
kernel.wait_for_output(cell, "on")
print(kernel.manager.provisioner.process.pid, flush=True)
time.sleep(600)
"""


def test_nothing_outlives_a_parent_that_is_killed(jupyter_env, tmp_path):
    """The server that started the kernel is killed while a cell runs a program and will not stop by itself."""
    cell = (
        'let program = std::process::Command::new("sleep").arg("600").spawn().unwrap();\n'
        'println!("on {}", program.id());\nloop { std::hint::black_box(()); }'
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(Path(__file__).parent), cell],
        cwd=tmp_path,
        env=jupyter_env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        try:
            kernel = int(parent.stdout.readline())
            family = [kernel, *descendants(kernel)]
            assert len(family) >= 3, "the kernel, the evaluation's processes, and the program"
        finally:
            parent.send_signal(signal.SIGKILL)
        parent.wait(timeout=30)
    left = lambda: [pid for pid in family if alive(pid)]
    try:
        wait_until(lambda: not left(), "the kernel and all its children are gone")
    finally:
        for pid in left():
            os.kill(pid, signal.SIGKILL)


def test_nothing_outlives_a_kernel_that_is_killed(jupyter_env, tmp_path):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    kernel = Kernel(tmp_path, jupyter_env | {"TMPDIR": str(temporary)})
    try:
        kernel.ok("let a = 1;")
        pid = kernel.manager.provisioner.process.pid
        family = descendants(pid)
        assert family
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(alive, family)), "the kernel's children are gone")
        wait_until(lambda: not list(temporary.iterdir()), "the session's temporary folder is gone")
    finally:
        kernel.close()


def test_ipc_transport(jupyter_env, tmp_path):
    folder = Path(jupyter_env["XDG_RUNTIME_DIR"]) / "ipc"
    folder.mkdir()
    with Kernel(tmp_path, jupyter_env, transport="ipc", ip=str(folder / "k")) as kernel:
        assert kernel.ok("!echo over ipc").stdout == "over ipc\n"
        assert kernel.client.complete("%dds moun", reply=True, timeout=30)["content"]["matches"]
