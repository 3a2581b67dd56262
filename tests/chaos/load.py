"""The load generator: so many requests, so many at a time, one record each. Its HTTP/1.1 is written by hand, because what
matters here is what a library hides: whether a body ended or broke off, and when each byte came."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import harness
import wire

# A request that takes longer is given up, and its record says so.
PATIENCE_SECONDS = 60
KEPT_BODY_BYTES = 8 << 20
SHOWN_ERRORS = 3
REQUEST_ID = re.compile(r"req_[0-9a-f]+")
# What each dialect's stream ends with when it is whole.
TERMINATORS = {
    "openai-chat": (b"data: [DONE]", b'"finish_reason":"'),
    "openai-responses": (b'"type":"response.completed"', b'"type":"response.incomplete"'),
    "anthropic": (b'"type":"message_stop"',),
    "gemini": (b'"finishReason":',),
}


@dataclass
class Ask:
    """One request, and how its client behaves."""

    dialect: str = "openai-chat"
    model: str = "m"
    text: str = "hello"
    stream: bool = False
    key: str = harness.TENANT_KEY
    headers: dict[str, str] = field(default_factory=dict)
    shape: dict = field(default_factory=dict)
    # The client leaves as soon as this is true of what it has of the body.
    leave: Callable[[bytearray], bool] | None = None
    # The client leaves so many seconds after sending.
    leave_after: float | None = None

    def bytes(self, host: str) -> bytes:
        body = json.dumps(wire.request(self.dialect, self.model, self.text, stream=self.stream, **self.shape)).encode()
        headers = {
            "host": host, "content-type": "application/json", "content-length": str(len(body)),
            **wire.auth(self.dialect, self.key), **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {wire.path(self.dialect, self.model, self.stream)} HTTP/1.1\r\n{head}\r\n".encode() + body


@dataclass
class Record:
    """What became of one request."""

    n: int
    ask: Ask
    id: str = ""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    bytes: int = 0
    # The body came to the end that its framing announces.
    whole: bool = False
    # By the dialect's own marks the answer is finished.
    finished: bool = False
    # Said by the transport, the status or an event of the stream.
    error: str = ""
    left: bool = False
    started: float = 0
    # Seconds since `started`.
    first_byte: float | None = None
    latency: float = 0

    @property
    def ok(self) -> bool:
        return self.status == 200 and self.whole and self.finished and not self.error

    @property
    def attempts(self) -> int:
        return int(self.headers.get("x-tallygate-attempts", 0))

    def text(self) -> str:
        """What the client can have read of the answer, even of half a stream."""
        if not self.ask.stream:
            return wire.read(self.ask.dialect, self.body, False).text
        body = self.body.replace(b"\r\n", b"\n")
        body = body[:body.rfind(b"\n\n") + 2]
        return wire.read(self.ask.dialect, body, True).text if body else ""


@dataclass
class Log:
    records: list[Record]
    seconds: float

    def __iter__(self):
        return iter(self.records)

    def __len__(self):
        return len(self.records)

    @property
    def ok(self) -> int:
        return sum(record.ok for record in self.records)

    @property
    def success(self) -> float:
        """Percent."""
        return 100 * self.ok / max(1, len(self.records))

    def of(self, model: str) -> Log:
        """What was asked of one model."""
        return Log([record for record in self.records if record.ask.model == model], self.seconds)

    def statuses(self) -> Counter:
        return Counter(record.status for record in self.records)

    def errors(self) -> str:
        """The most common errors and how often each was met."""
        met = Counter(f"{record.status} {REQUEST_ID.sub('…', record.error)[:120]}" for record in self.records if not record.ok)
        return "; ".join(f"{count} x {what}" for what, count in met.most_common(SHOWN_ERRORS))

    def latency(self, percentile: float, pick: Callable[[Record], float | None] = lambda record: record.latency) -> float:
        """Milliseconds, of those that were served."""
        times = sorted(time for record in self.records if record.ok and (time := pick(record)) is not None)
        return 1000 * times[min(len(times) - 1, int(len(times) * percentile / 100))] if times else 0.0

    def p50(self) -> float:
        return self.latency(50)

    def p99(self) -> float:
        return self.latency(99)

    def attempts(self) -> int:
        return sum(record.attempts for record in self.records)


class Connection:
    """A client's connection, kept while both sides want it."""

    def __init__(self, host: str, port: int):
        self.address = (host, port)
        self.reader = self.writer = None
        self.reusable = False

    async def send(self, request: bytes):
        if not self.reusable:
            self.close()
            self.reader, self.writer = await asyncio.open_connection(*self.address, limit=1 << 20)
        self.reusable = False
        self.writer.write(request)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        block = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = block.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if colon:
                headers[name.lower()] = value.strip()
        return int(first.split(" ")[1]), headers

    async def pieces(self, headers: dict[str, str]):
        """The body's pieces; ends normally only where the framing says that it ends."""
        if headers.get("transfer-encoding") == "chunked":
            while True:
                size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
                piece = await self.reader.readexactly(size + 2)
                if size == 0:
                    break
                yield piece[:-2]
        elif "content-length" in headers:
            left = int(headers["content-length"])
            while left:
                piece = await self.reader.read(min(left, 64 * 1024))
                if not piece:
                    raise asyncio.IncompleteReadError(b"", left)
                left -= len(piece)
                yield piece
        else:
            while piece := await self.reader.read(64 * 1024):
                yield piece
            return
        self.reusable = headers.get("connection", "").lower() != "close"

    def close(self):
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None
        self.reusable = False


def finished(ask: Ask, body: bytes) -> bool:
    if ask.stream:
        return any(mark in body for mark in TERMINATORS[ask.dialect])
    with suppress(ValueError, KeyError, TypeError, IndexError):
        return wire.read(ask.dialect, body, False).finish is not None
    return False


def told_error(ask: Ask, status: int, body: bytes) -> str:
    """The error that an answer tells, in its status or in its stream."""
    if status != 200:
        return body[:300].decode(errors="replace") or f"status {status}"
    if ask.stream and b'"error"' in body:
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            answer = wire.read(ask.dialect, body, True)
            return json.dumps(answer.error) if answer.error else ""
    return ""


async def one(connection: Connection, n: int, ask: Ask, patience: float) -> Record:
    record = Record(n, ask, started=time.time())
    begun = time.perf_counter()
    host, body = f"{connection.address[0]}:{connection.address[1]}", bytearray()
    try:
        async with asyncio.timeout(min(patience, ask.leave_after or patience)):
            await connection.send(ask.bytes(host))
            record.status, record.headers = await connection.head()
            record.id = record.headers.get("x-request-id", "")
            async for piece in connection.pieces(record.headers):
                if record.first_byte is None:
                    record.first_byte = time.perf_counter() - begun
                record.bytes += len(piece)
                if len(body) < KEPT_BODY_BYTES:
                    body += piece
                if ask.leave is not None and ask.leave(body):
                    record.left = True
                    break
            else:
                record.whole = True
    except TimeoutError:
        record.left = ask.leave_after is not None
        record.error = "" if record.left else f"nothing within {patience} s"
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        record.error = f"transport: {type(error).__name__}: {error}"
    record.latency, record.body = time.perf_counter() - begun, bytes(body)
    if not record.whole:
        connection.close()
    record.finished = finished(ask, record.body)
    record.error = record.error or told_error(ask, record.status, record.body)
    return record


async def drive(url: str, count: int, concurrency: int, ask: Callable[[int], Ask], *, patience=PATIENCE_SECONDS,
                rate: float | None = None, stop: threading.Event | None = None, obey: bool = False) -> Log:
    """Sends `count` requests, `concurrency` at a time, at most `rate` a second, until told to stop. Whoever obeys comes again
    no sooner than it was told to."""
    host, port = url.split("//")[1].split(":")
    records, begun, taken = [], time.perf_counter(), iter(range(count))

    async def worker():
        connection = Connection(host, int(port))
        for n in taken:
            if stop is not None and stop.is_set():
                break
            if rate:
                await asyncio.sleep(max(0.0, begun + n / rate - time.perf_counter()))
            records.append(await one(connection, n, ask(n), patience))
            if obey and (wait := records[-1].headers.get("retry-after")):
                await asyncio.sleep(float(wait))
        connection.close()

    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return Log(sorted(records, key=lambda record: record.n), time.perf_counter() - begun)


def run(url: str, count: int, concurrency: int, ask: Callable[[int], Ask] | None = None, **options) -> Log:
    return asyncio.run(drive(url, count, concurrency, ask or (lambda n: Ask(text=f"hello {n}")), **options))


class Background:
    """Load that goes on beside a test: `with Background(...) as load: ...; log = load.log`."""

    def __init__(self, url: str, count: int, concurrency: int, ask: Callable[[int], Ask] | None = None, **options):
        self.stop, self.log = threading.Event(), None

        def work():
            self.log = run(url, count, concurrency, ask, stop=self.stop, **options)

        self.thread = threading.Thread(target=work, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def wait(self) -> Log:
        self.thread.join()
        return self.log

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
