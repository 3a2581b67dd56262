"""An upstream whose answers never end: it sends the same piece of a stream for as long as anybody takes it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from proxy import abort, shared

DELTA_BYTES = 4096


class Fountain:
    def __init__(self):
        self.open = 0
        self.sent = 0
        delta = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                 "choices": [{"index": 0, "delta": {"content": "x" * DELTA_BYTES}, "finish_reason": None}]}
        self.piece = f"data: {json.dumps(delta)}\n\n".encode()
        self.writers = set()
        self.server = shared().run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader, writer):
        self.open += 1
        self.writers.add(writer)
        # What waits here is no part of what is measured.
        writer.transport.set_write_buffer_limits(high=len(self.piece))
        chunk = b"%x\r\n%b\r\n" % (len(self.piece), self.piece)
        with suppress(OSError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                writer.write(chunk)
                self.sent += len(chunk)
                await writer.drain()
                # A body is never read here, so only a write tells that the other side is gone.
                await asyncio.sleep(0)
        self.open -= 1
        self.writers.discard(writer)
        writer.close()

    def close(self):
        async def close():
            self.server.close()
            for writer in list(self.writers):
                abort(writer)

        shared().run(close())
