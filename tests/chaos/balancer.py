"""A TCP balancer as small as can be: connections go in turn to the backends that say they are ready."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import harness

CHECK_SECONDS = 0.1


class Balancer:
    """`backends` are pairs of a URL and the URL of its readiness probe."""

    def __init__(self, backends: list[tuple[str, str]]):
        self.backends, self.ready, self.turn = backends, [True] * len(backends), 0
        self.port = harness.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.loop, started = asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self.thread.start()
        started.wait(5)

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._balance(started))

    async def _balance(self, started):
        self.stopped = asyncio.Event()
        await asyncio.start_server(self._join, "127.0.0.1", self.port)
        checking = asyncio.create_task(self._check())
        started.set()
        await self.stopped.wait()
        checking.cancel()
        with suppress(asyncio.CancelledError):
            await checking

    async def _check(self):
        async with harness.httpx.AsyncClient(trust_env=False, timeout=1) as http:
            while True:
                for at, (_, probe) in enumerate(self.backends):
                    try:
                        self.ready[at] = (await http.get(probe)).status_code == 200
                    except harness.httpx.TransportError:
                        self.ready[at] = False
                await asyncio.sleep(CHECK_SECONDS)

    async def _backend(self):
        """A connection to the next ready backend; one that refuses is passed over."""
        for _ in range(2 * len(self.backends)):
            self.turn = (self.turn + 1) % len(self.backends)
            if not self.ready[self.turn]:
                continue
            host, port = self.backends[self.turn][0].removeprefix("http://").split(":")
            with suppress(OSError):
                return await asyncio.open_connection(host, int(port))
        return None

    async def _join(self, reader, writer):
        found = await self._backend()
        if found is not None:
            await asyncio.gather(self._copy(reader, found[1]), self._copy(found[0], writer))
        writer.close()

    @staticmethod
    async def _copy(reader, writer):
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        with suppress(OSError, RuntimeError):
            writer.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.stopped.set)
        self.thread.join(5)
