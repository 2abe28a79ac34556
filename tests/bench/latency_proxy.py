"""A proxy that holds every HTTP/1.1 request back for a while, as a far-away server would.

    latency_proxy.py TARGET_PORT DELAY_MS

Listens on a free loopback port, prints `listening PORT`, and forwards to 127.0.0.1:TARGET_PORT. Requests on
different connections wait side by side; requests on one connection, one after the other. Answers stream
unchanged. Ends when its standard input closes.
"""

from __future__ import annotations

import asyncio
import sys

CHUNK = 256 * 1024
MAX_HEAD = 64 * 1024


def body_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


async def requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float):
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        await asyncio.sleep(delay)
        writer.write(head)
        rest = body_length(head)
        while rest:
            part = await reader.read(min(CHUNK, rest))
            if not part:
                return
            rest -= len(part)
            writer.write(part)
            await writer.drain()


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
    while part := await reader.read(CHUNK):
        writer.write(part)
        await writer.drain()


async def main(target: int, delay: float):
    async def connection(client_reader, client_writer):
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            client_writer.close()
            return
        ways = [
            asyncio.create_task(requests(client_reader, server_writer, delay)),
            asyncio.create_task(answers(server_reader, client_writer)),
        ]
        # Whichever side ends first ends the connection.
        _, open_ways = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in open_ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for writer in (client_writer, server_writer):
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, limit=MAX_HEAD)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) / 1000))
