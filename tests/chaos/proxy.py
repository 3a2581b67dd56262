"""A TCP proxy that fails on demand, to be put before an upstream, a database or the gateway itself.

All proxies run on one event loop in a thread of its own, so that a test may block while its connections go on. A fault is a
set of attributes that may be changed at any time; they count for what happens from then on.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass

PIECE_BYTES = 64 * 1024
# More unread connections than a listener with the smallest backlog takes in: one more stays in the handshake.
FULL_BACKLOG = 3


@dataclass
class Faults:
    """What goes wrong. Nothing, as it stands."""

    # Before each piece of the answer, in seconds.
    latency: float = 0
    # Of the answer, in bytes a second; 0 is unlimited.
    bandwidth: int = 0
    # New connections are reset.
    reset_on_accept: bool = False
    # New connections are closed.
    refuse: bool = False
    # Neither side gets another byte, and nothing is closed.
    blackhole: bool = False
    # The answer never comes back, though requests go through.
    half_open: bool = False
    # The answer ends, or is reset, after so many bytes.
    cut_after: int | None = None
    reset_after: int | None = None


def abort(writer: asyncio.StreamWriter):
    """Resets a connection: what is not sent yet is lost, and the other side is told so."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class _Loop:
    """The one event loop of all proxies."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True).start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)


_loop: _Loop | None = None


def shared() -> _Loop:
    global _loop
    _loop = _loop or _Loop()
    return _loop


class Proxy:
    """Listens on a free port of loopback and passes everything to `host:port`."""

    def __init__(self, host: str, port: int, **faults):
        self.target, self.faults = (host, port), Faults(**faults)
        self.accepted = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.server = shared().run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    @classmethod
    def before(cls, url: str, **faults) -> Proxy:
        """A proxy before the server of a URL."""
        host, port = url.split("//")[-1].split("@")[-1].split("/")[0].split(":")
        return cls(host, int(port), **faults)

    def set(self, **faults):
        """Changes what goes wrong; what is not named is well again."""
        self.faults = Faults(**faults)

    def cut_all(self, reset: bool = True):
        """Ends every connection that is open."""

        async def cut():
            for writer in list(self.open):
                abort(writer) if reset else writer.close()

        shared().run(cut())

    def close(self):
        async def close():
            self.server.close()
            for writer in list(self.open):
                abort(writer)

        shared().run(close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.accepted += 1
        if self.faults.reset_on_accept:
            abort(writer)
            return
        if self.faults.refuse:
            writer.close()
            return
        self.open.add(writer)
        onward = None
        try:
            up_reader, onward = await asyncio.open_connection(*self.target)
            self.open.add(onward)
            await asyncio.gather(self._requests(reader, onward), self._answers(up_reader, writer))
        except OSError:
            abort(writer)
        finally:
            for side in (writer, onward):
                if side is not None:
                    self.open.discard(side)
                    side.close()

    async def _requests(self, reader, writer):
        while piece := await reader.read(PIECE_BYTES):
            while self.faults.blackhole:
                await asyncio.sleep(0.02)
            writer.write(piece)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    async def _answers(self, reader, writer):
        sent = 0
        while piece := await reader.read(PIECE_BYTES):
            while self.faults.blackhole or self.faults.half_open:
                await asyncio.sleep(0.02)
            if self.faults.latency:
                await asyncio.sleep(self.faults.latency)
            limit = self.faults.cut_after if self.faults.cut_after is not None else self.faults.reset_after
            if limit is not None and sent + len(piece) > limit:
                writer.write(piece[:limit - sent])
                with suppress(OSError):
                    await writer.drain()
                if self.faults.reset_after is not None:
                    abort(writer)
                raise ConnectionAbortedError
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
            if self.faults.bandwidth:
                await asyncio.sleep(len(piece) / self.faults.bandwidth)
        with suppress(OSError):
            writer.write_eof()


class Unconnectable:
    """An address that never completes a handshake: its backlog is full, so what comes next is left without an answer."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.waiting = []
        for _ in range(FULL_BACKLOG):
            filler = socket.socket()
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))
            self.waiting.append(filler)

    def close(self):
        for each in (*self.waiting, self.listener):
            each.close()


class HttpProxy:
    """An HTTP proxy for outbound traffic: CONNECT and absolute targets; it may ask for a password that nobody has."""

    def __init__(self, asks_for_password=False):
        self.asks_for_password = asks_for_password
        self.server = shared().run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self):
        async def close():
            self.server.close()

        shared().run(close())

    async def _serve(self, reader, writer):
        onward = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            if self.asks_for_password:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"x\"\r\n"
                             b"content-length: 0\r\nconnection: close\r\n\r\n")
                await writer.drain()
                return
            host, _, port = target.removeprefix("http://").split("/")[0].partition(":")
            up_reader, onward = await asyncio.open_connection(host, int(port or 80))
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                onward.write(head)
            await asyncio.gather(self._pass(reader, onward), self._pass(up_reader, writer))
        except (OSError, EOFError, ValueError):
            abort(writer)
        finally:
            for side in (writer, onward):
                if side is not None:
                    side.close()

    async def _pass(self, reader, writer):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
