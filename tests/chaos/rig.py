"""What every scenario stands on: simulated providers, gateways with short timeouts, proxies, load, and the check after it."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import harness
import load
import verify
from proxy import Proxy

REQUESTS = 500
CONCURRENCY = 50
# Timeouts are as short as the tables' own test values, so that the whole run stays short.
FIRST_BYTE_MS = 2_000
IDLE_MS = 2_000
CONNECT_MS = 1_000
# So long the shipper may take to bring the last records to the database.
SETTLE_SECONDS = 20


class Failed(AssertionError):
    """A target is missed or an invariant broken."""


class Open(Exception):
    """The product does not do this yet; the row stands open."""


@dataclass
class Scenario:
    id: str
    fault: str
    invariant: str
    target: str
    run: Callable[[Rig], str]


SCENARIOS: dict[str, Scenario] = {}


def scenario(id: str, fault: str, invariant: str, target: str):
    """Names a function a row of the tables. It gets a rig, returns the figure it measured, and raises what does not hold."""

    def register(run: Callable[[Rig], str]):
        if id in SCENARIOS:
            raise ValueError(f"two scenarios are named {id}")
        SCENARIOS[id] = Scenario(id, fault, invariant, target, run)
        return run

    return register


def demand(holds, what: str):
    if not holds:
        raise Failed(what)


class Rig:
    """The parts of one scenario; all end with it."""

    def __init__(self, name: str):
        self.folder = Path(tempfile.mkdtemp(prefix=f"tallygate-chaos-{name}-"))
        os.chmod(self.folder, 0o755)
        self.parts: list = []
        self.canaries: list[str] = []
        self.env: dict[str, str] = {}
        self._sim: harness.Sim | None = None
        self._postgres: harness.Postgres | None = None

    def add(self, part):
        """Something with `stop` or `close`, ended with the rig, last first."""
        self.parts.append(part)
        return part

    def close(self, keep=False):
        for part in reversed(self.parts):
            with suppress(Exception):
                (getattr(part, "stop", None) or part.close)()
        if keep:
            print(f"kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def simulator(self, *options) -> harness.Sim:
        return self.add(harness.Sim(self.folder, *options))

    @property
    def sim(self) -> harness.Sim:
        """The simulator that most scenarios need one of."""
        if self._sim is None:
            self._sim = self.simulator()
        return self._sim

    @property
    def postgres(self) -> harness.Postgres:
        """A private PostgreSQL, for what needs more than one process at the database."""
        if self._postgres is None:
            folder = self.folder / "postgres"
            folder.mkdir(mode=0o755)
            self._postgres = self.add(harness.Postgres(folder))
        return self._postgres

    def proxy(self, url: str, **faults) -> Proxy:
        return self.add(Proxy.before(url, **faults))

    def secret(self, hint: str = "key") -> str:
        """A secret that must not be seen anywhere; `hint` tells its faults to the simulator, by word."""
        made = f"sk-canary-{hint}-{secrets.token_hex(8)}"
        self.canaries.append(made)
        return made

    def upstream(self, name: str, url: str | None = None, secrets: list[str] | None = None, dialect="openai-chat", **more) -> dict:
        """An upstream's section; each secret becomes a credential, by way of an environment variable."""
        credentials = []
        for at, secret in enumerate([self.secret()] if secrets is None else secrets):
            variable = f"CHAOS_{name.upper().replace('-', '_')}_{at}"
            self.env[variable] = secret
            credentials.append({"name": f"{name}-c{at}", "secret": f"env:{variable}"})
        path = "/v1" if dialect.startswith("openai") else ""
        return {"name": name, "dialect": dialect, "base_url": (url or self.sim.url) + path, "credentials": credentials, **more}

    def model(self, upstreams: list[dict], name="m", target="plain", **more) -> dict:
        """A model that all these upstreams serve alike."""
        targets = [{"upstream": upstream["name"], "model": target} for upstream in upstreams]
        return {"name": name, "targets": targets, "price": harness.PRICE, **more}

    def gateway(self, upstreams: list[dict], models: list[dict] | None = None, *, server: dict | None = None,
                store_url: str | None = None, env: dict | None = None, **sections) -> harness.Gateway:
        folder = self.folder / f"gateway-{len(self.parts)}"
        folder.mkdir()
        timeouts = {"first_byte_timeout_ms": FIRST_BYTE_MS, "idle_timeout_ms": IDLE_MS, "connect_timeout_ms": CONNECT_MS}
        # One key carries all the load; what a key may have at once by itself is less.
        limits = {"concurrency": 10_000}
        tenants = [{"name": name, "limits": limits, "keys": [{"name": "k", "secret": f"env:TEST_{name.upper()}_KEY", "limits": limits}]}
                   for name in ("acme", "beta")]
        document = {
            "server": {**timeouts, **(server or {})}, "upstreams": upstreams, "tenants": tenants,
            "models": models if models is not None else [self.model(upstreams)], **sections}
        started = harness.Gateway(folder, document, env={**self.env, **(env or {})}, store_url=store_url)
        return self.add(started)

    def load(self, gateway: harness.Gateway, count=REQUESTS, concurrency=CONCURRENCY, ask=None, **options) -> load.Log:
        return load.run(gateway.url, count, concurrency, ask, **options)

    def warm(self, gateway: harness.Gateway, count=60, ask=None) -> load.Log:
        """What a first request pays (connections, pages of memory) is no part of a figure."""
        return self.load(gateway, count, 20, ask)

    def settled(self, gateway: harness.Gateway, *sims: harness.Sim) -> list[dict]:
        """Waits until nothing is under way any more and each request that reached a provider is in the database."""

        def ended():
            return all(entry["ended"] != "open" for sim in sims for entry in sim.ledger())

        with suppress(TimeoutError):
            harness.wait_for("the providers' books", ended, 10, 0.05)
        ledger = [entry for sim in sims for entry in sim.ledger()]
        asked = {verify.plain(entry["gateway_request_id"]) for entry in ledger if entry["gateway_request_id"]}

        def shipped():
            with suppress(Exception):
                return asked <= {row["request_id"] for row in verify.usage_rows(gateway.store_url)}

        with suppress(TimeoutError):
            harness.wait_for("the shipper", shipped, SETTLE_SECONDS, 0.1)
        return ledger

    def verify(self, gateway: harness.Gateway, log: load.Log, *sims: harness.Sim, **options) -> verify.Verdict:
        """I1 to I8 over everything that happened."""
        ledger = self.settled(gateway, *(sims or (self.sim,)))
        return verify.verify(gateway, log, ledger, [*self.canaries, harness.TENANT_KEY], **options)


def joined(*logs: load.Log) -> load.Log:
    return load.Log([record for log in logs for record in log], sum(log.seconds for log in logs))


def rss_kib(gateway: harness.Gateway, peak=False) -> int:
    """Resident memory of the gateway's process, now or at its highest since the peak was forgotten."""
    field = "VmHWM:" if peak else "VmRSS:"
    text = Path(f"/proc/{gateway.process.child.pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field))


def forget_peak(gateway: harness.Gateway):
    Path(f"/proc/{gateway.process.child.pid}/clear_refs").write_text("5")


def descriptors(gateway: harness.Gateway) -> int:
    return len(list(Path(f"/proc/{gateway.process.child.pid}/fd").iterdir()))


def cpu_seconds(gateway: harness.Gateway) -> float:
    fields = Path(f"/proc/{gateway.process.child.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def metric(gateway: harness.Gateway, name: str, **labels) -> float:
    """The sum of a metric over all its series that have these labels."""
    total = 0.0
    for line in gateway.http.get(gateway.metrics_url + "/metrics").text.splitlines():
        if line.startswith((name + "{", name + " ")) and all(f'{key}="{value}"' in line for key, value in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


def alive(gateway: harness.Gateway):
    demand(gateway.process.alive(), f"the gateway died:\n{gateway.process.output()[-2000:]}")
    demand("panicked" not in gateway.process.output(), "a panic stands in the log")


def pause(seconds: float):
    time.sleep(seconds)
