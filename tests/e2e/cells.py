"""Runs cells in a kernel through the real `jupyter_client`, and collects everything they put out."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty

import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

CELL_SECONDS = 120.0
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Ran:
    """What one cell gave."""

    status: str
    reply: dict
    messages: list[dict] = field(default_factory=list)

    def stream(self, name: str) -> str:
        return "".join(
            m["content"]["text"]
            for m in self.messages
            if m["msg_type"] == "stream" and m["content"]["name"] == name
        )

    @property
    def stdout(self) -> str:
        return self.stream("stdout")

    @property
    def stderr(self) -> str:
        return self.stream("stderr")

    def bundles(self, *types: str) -> list[dict]:
        types = types or ("display_data", "update_display_data", "execute_result")
        return [m["content"]["data"] for m in self.messages if m["msg_type"] in types]

    @property
    def text(self) -> str:
        """All that a reader of the notebook sees as text, errors included, without colours."""
        parts = []
        for m in self.messages:
            content = m["content"]
            if m["msg_type"] == "stream":
                parts.append(content["text"])
            elif m["msg_type"] == "error":
                parts += [content["ename"], content["evalue"], *content["traceback"]]
            elif "data" in content:
                parts += [str(v) for mime, v in content["data"].items() if mime.startswith("text/")]
        return ANSI.sub("", "\n".join(parts))

    @property
    def error(self) -> dict | None:
        return next((m["content"] for m in self.messages if m["msg_type"] == "error"), None)


class Kernel:
    """One started kernel."""

    def __init__(
        self,
        cwd: Path,
        env: dict[str, str],
        name: str = "dds",
        transport: str = "tcp",
        ip: str = "127.0.0.1",
        ready_seconds: float = 60,
        **options,
    ):
        self.manager = KernelManager(kernel_name=name, transport=transport, ip=ip)
        begun = time.monotonic()
        self.manager.start_kernel(cwd=str(cwd), env=env, **options)
        self.client: BlockingKernelClient = self.manager.client()
        try:
            self._wait_for_kernel_info()
            self.seconds_to_info = time.monotonic() - begun
            self.client.start_channels()
            self.client.wait_for_ready(timeout=ready_seconds)
        except BaseException:
            self.close()
            raise

    def url(self, channel: str) -> str:
        """Where a socket of one's own connects to `shell`, `iopub`, `stdin`, `control` or `hb`."""
        port = getattr(self.client, f"{channel}_port")
        between = "-" if self.client.transport == "ipc" else ":"
        return f"{self.client.transport}://{self.client.ip}{between}{port}"

    def _wait_for_kernel_info(self):
        """Asks by a socket of its own: `wait_for_ready` counts in tenths of a second."""
        socket = zmq.Context.instance().socket(zmq.DEALER)
        # Kept open: evcxr_jupyter does not always survive a socket that leaves.
        self._first_socket = socket
        socket.setsockopt(zmq.RECONNECT_IVL, 5)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self.url("shell"))
        self.client.session.send(socket, "kernel_info_request", content={})
        assert socket.poll(60_000), "no kernel_info_reply within 60 s"
        socket.recv_multipart()

    def send(self, code: str) -> str:
        return self.client.execute(code)

    def collect(self, msg_id: str, seconds: float = CELL_SECONDS) -> Ran:
        deadline = time.monotonic() + seconds
        messages = []
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            except Empty:
                raise AssertionError(f"the cell did not end within {seconds} s; so far {messages}") from None
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            messages.append(message)
        while True:
            reply = self.client.get_shell_msg(timeout=max(0.1, deadline - time.monotonic()))
            if reply["parent_header"].get("msg_id") == msg_id:
                return Ran(reply["content"]["status"], reply["content"], messages)

    def run(self, code: str, seconds: float = CELL_SECONDS) -> Ran:
        return self.collect(self.send(code), seconds)

    def ok(self, code: str, seconds: float = CELL_SECONDS) -> Ran:
        ran = self.run(code, seconds)
        assert ran.status == "ok", f"{code}\n{ran.text}"
        return ran

    def wait_for_output(self, msg_id: str, text: str, seconds: float = CELL_SECONDS):
        """Waits until the running cell has printed `text`."""
        deadline = time.monotonic() + seconds
        seen = ""
        while text not in seen:
            message = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            if message["parent_header"].get("msg_id") == msg_id and message["msg_type"] == "stream":
                seen += message["content"]["text"]

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)
        self._first_socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
