"""The floor under every client: raw GETs over keep-alive connections, written to disk, nothing verified."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

CONNECTIONS = 32
PART = 1024 * 1024


class Connection:
    """One keep-alive connection, one request at a time."""

    def __init__(self, port: int):
        self.host = f"127.0.0.1:{port}"
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = memoryview(bytearray(PART))

    def ask(self, method: str, path: str) -> tuple[int, int, int]:
        """Sends a request. Gives the length of the answer's body, where that begins in the buffer, and how far the
        buffer is filled."""
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        filled, end = 0, -1
        while end < 0:
            count = self.socket.recv_into(self.buffer[filled:])
            if not count:
                raise SystemExit(f"{path}: the server closed the connection")
            filled += count
            end = bytes(self.buffer[:filled]).find(b"\r\n\r\n")
        head = bytes(self.buffer[:end]).lower() + b"\r\n"
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise SystemExit(f"{path}: {head.decode()}")
        return int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]), end + 4, filled

    def head(self, path: str) -> int:
        """The length of what `path` holds."""
        return self.ask("HEAD", path)[0]

    def get(self, path: str, target: Path) -> int:
        """Writes what `path` holds to `target`; gives its length."""
        length, end, filled = self.ask("GET", path)
        with open(target, "wb", buffering=0) as file:
            file.write(self.buffer[end:filled])
            have = filled - end
            while have < length:
                count = self.socket.recv_into(self.buffer[: min(PART, length - have)])
                if not count:
                    raise SystemExit(f"{path}: {have} of {length} bytes came")
                file.write(self.buffer[:count])
                have += count
        return length

    def close(self):
        self.socket.close()


def fetch(port: int, paths: list[str], folder: Path, connections: int = CONNECTIONS) -> float:
    """Seconds until all `paths` lie in `folder`, under their numbers."""
    folder.mkdir()
    todo = iter(list(enumerate(paths)))
    taking = threading.Lock()
    failed: list[BaseException] = []

    def work():
        try:
            connection = Connection(port)
            while True:
                with taking:
                    number, path = next(todo, (None, None))
                if path is None:
                    return connection.close()
                connection.get(path, folder / str(number))
        except BaseException as error:  # noqa: BLE001 – told by the thread that waits
            failed.append(error)

    begun = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return time.perf_counter() - begun
