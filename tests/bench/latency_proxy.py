"""A proxy that holds every HTTP/1.1 request back for a while, as a far-away server would, and counts what passes.

    latency_proxy.py TARGET_PORT DELAY_MS

Listens on a free loopback port, prints `listening PORT`, and forwards to 127.0.0.1:TARGET_PORT. Requests on
different connections wait side by side; requests on one connection, one after the other. Answers stream
unchanged. A line on its standard input is answered with the counts so far, as JSON. Ends when its standard input
closes.

An answer of 30 KB takes it 0.1 ms of one core, and one long answer passes with 1 GB/s: it is never what limits the
clients that it is put before.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass

# Bytes on their way to a slow side before the other side is made to wait.
HIGH_WATER = 4 * 1024 * 1024


@dataclass
class Counts:
    connections: int = 0
    requests: int = 0
    # Of the answers, with their heads.
    bytes: int = 0

    def since(self, earlier: Counts) -> Counts:
        return Counts(*(now - then for now, then in zip(vars(self).values(), vars(earlier).values(), strict=True)))


class Proxy:
    """A running proxy, seen from the program that started it."""

    def __init__(self, process: subprocess.Popen[str]):
        self.process = process
        self.port = int(process.stdout.readline().split()[1])

    def counts(self) -> Counts:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return Counts(**json.loads(self.process.stdout.readline()))


@contextmanager
def delayed(port: int, delay_ms: float):
    """A proxy before `port`, in a process of its own."""
    command = [sys.executable, __file__, str(port), str(delay_ms)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Proxy(process)
    finally:
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()


def body_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


class Side(asyncio.Protocol):
    """One end of a connection; whichever end closes first closes the other."""

    other: Side | None = None
    transport: asyncio.Transport | None = None

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)

    def pause_writing(self):
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self):
        if self.other and self.other.transport:
            self.other.transport.resume_reading()

    def connection_lost(self, _):
        if self.other and self.other.transport:
            self.other.transport.close()


class Server(Side):
    def __init__(self, counts: Counts):
        self.counts = counts

    def data_received(self, data):
        self.counts.bytes += len(data)
        self.other.transport.write(data)


class Client(Side):
    def __init__(self, target: int, delay: float, counts: Counts):
        self.target, self.delay, self.counts = target, delay, counts
        self.waiting = False
        self.kept = b""
        # Of the body that is being forwarded.
        self.rest = 0

    def connection_made(self, transport):
        super().connection_made(transport)
        self.counts.connections += 1
        self.waiting = True
        asyncio.get_running_loop().create_task(self.connect())

    async def connect(self):
        loop = asyncio.get_running_loop()
        try:
            _, self.other = await loop.create_connection(lambda: Server(self.counts), "127.0.0.1", self.target)
        except OSError:
            return self.transport.close()
        self.other.other = self
        if self.transport.is_closing():
            return self.other.transport.close()
        self.waiting = False
        self.forward()

    def data_received(self, data):
        self.kept += data
        self.forward()

    def forward(self):
        """Forwards bodies at once, and a head after its delay."""
        while self.kept and not self.waiting:
            if self.rest:
                part, self.kept = self.kept[: self.rest], self.kept[self.rest :]
                self.rest -= len(part)
                self.other.transport.write(part)
                continue
            end = self.kept.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            head, self.kept = self.kept[:end], self.kept[end:]
            self.waiting = True
            self.counts.requests += 1
            asyncio.get_running_loop().call_later(self.delay, self.send, head)

    def send(self, head: bytes):
        self.waiting = False
        self.rest = body_length(head)
        self.other.transport.write(head)
        self.forward()


async def main(target: int, delay: float):
    counts, loop = Counts(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(target, delay, counts), "127.0.0.1", 0, backlog=1024)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(vars(counts)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) / 1000))
