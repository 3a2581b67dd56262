"""The rig's databases, and the load that the rows of table S put on a gateway before them."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import harness
import load
import rig as rigs
from rig import Rig, demand

# A tenth of the table's 200 a second: the debug binary, the load and the provider share two cores.
RATE = 40
CONCURRENCY = 20
# No request may wait so long for a database it does not need, in milliseconds.
ADDED_MS = 250
ENV = {"RUST_LOG": "info"}


def postgres(rig: Rig, connections=100) -> harness.Postgres:
    folder = rig.folder / "postgres"
    folder.mkdir()
    os.chmod(folder, 0o755)
    return rig.add(harness.Postgres(folder, connections))


def asks(n: int) -> load.Ask:
    """Plain and streamed, in turns."""
    return load.Ask(text=f"hello {n}", stream=n % 4 == 3)


def paced(gateway: harness.Gateway, seconds: float, rate=RATE, ask=asks) -> load.Background:
    return load.Background(gateway.url, int(seconds * rate), CONCURRENCY, ask, rate=rate)


class Beside:
    """The same load at the same time on a gateway with the fault and on one without: what the machine does, it does to both."""

    def __init__(self, gateway: harness.Gateway, control: harness.Gateway, seconds: float):
        self.running = [paced(one, seconds, RATE / 2) for one in (gateway, control)]

    def __enter__(self):
        for one in self.running:
            one.__enter__()
        return self

    def wait(self) -> tuple[load.Log, load.Log]:
        log, control = (one.wait() for one in self.running)
        return log, control

    def __exit__(self, *nothing):
        for one in self.running:
            one.__exit__(*nothing)


def ready(gateway: harness.Gateway) -> dict:
    """What the readiness probe says; `status` is its status."""
    with suppress(harness.httpx.TransportError):
        reply = harness.httpx.get(gateway.metrics_url + "/readyz", trust_env=False)
        return {"status": reply.status_code, **reply.json()}
    return {"status": 0}


def drained(gateway: harness.Gateway, seconds: float) -> float:
    """How long it took until no usage waits for the database."""
    begun = time.monotonic()
    harness.wait_for(
        "the backlog of usage", lambda: rigs.metric(gateway, "tallygate_usage_queue_depth") == 0, seconds, 0.1)
    return time.monotonic() - begun


def unharmed(log: load.Log, control: load.Log, what="the outage"):
    """No error, and no latency that the other gateway did not have."""
    demand(log.success == 100, f"success {log.success:.2f} % in {what}: {log.errors()}")
    demand(not log.statuses()[401], f"{log.statuses()[401]} times 401 in {what}")
    added = worst(log) - worst(control)
    demand(added < ADDED_MS, f"in {what} {tail(log)}; beside it, without it, {tail(control)}")


def worst(log: load.Log) -> float:
    return log.latency(100)


def tail(log: load.Log) -> str:
    return f"p99 {log.p99():.0f} ms, worst {worst(log):.0f} ms"
