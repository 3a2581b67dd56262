"""Starts and stops what the tests drive: simulated providers, gateways, a private PostgreSQL. All on loopback and free ports."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("TALLYGATE_BIN", ROOT / "target/debug/tallygate")).resolve()
START_SECONDS = 30
STOP_SECONDS = 20
TENANT_KEY = "test-key-of-tenant-acme-0001"
PEPPER = "0123456789abcdef" * 4
SEALING_KEY = "fedcba9876543210" * 4
OTHER_KEY = "test-key-of-tenant-beta-0002"

# Odd on purpose: a class priced by another class's price shows in the last digits.
PRICE = {
    "currency": "USD", "input": "3.170001", "cache_read": "0.310007", "cache_write_5m": "3.750013",
    "cache_write_1h": "6.010017", "output": "15.130019", "reasoning": "14.070023", "input_image": "3.330029",
}
# Usage class -> key of PRICE; a class without a price of its own costs as the text it stands beside.
PRICED_BY = {
    "input_uncached": "input", "input_cache_read": "cache_read", "input_cache_write_5m": "cache_write_5m",
    "input_cache_write_1h": "cache_write_1h", "input_image": "input_image", "output_text": "output",
    "output_reasoning": "reasoning", "input_audio": "input", "output_image": "output",
    "output_audio": "output",
}
USAGE_CLASSES = list(PRICED_BY)


# A gateway that forgets at once what it learnt of a failure: for suites that send faults of all kinds through one of them.
FORGETFUL = {
    "rate_wait_ms": 1, "max_rate_wait_ms": 1, "max_told_wait_ms": 1, "exhausted_probe_ms": 1, "max_exhausted_probe_ms": 1,
    "max_told_reset_ms": 1, "auth_recheck_ms": 1, "auth_probe_ms": 1, "max_auth_probe_ms": 1, "open_ms": 1, "max_open_ms": 1,
    "failures_to_open": 1_000_000, "unproven_failures_to_open": 1_000_000, "window_min_calls": 1_000_000,
    "unproven_in_flight": 1_000_000, "retry_percent": 100, "retry_reserve": 1_000_000,
}


def charge_pico(usage: dict[str, int], price: dict[str, str] = PRICE) -> int:
    """The charge for a usage, in 10^-12 of the currency: prices are per million tokens, so one token costs price * 10^6."""
    total = sum(usage.get(name, 0) * Decimal(price[key]) * 1_000_000 for name, key in PRICED_BY.items())
    assert total == int(total)
    return int(total)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what: str, check, seconds: float = START_SECONDS, pause: float = 0.02):
    """Waits until `check` gives something true, and returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(pause)
    raise TimeoutError(f"{what}: not within {seconds} s")


def _toml(value) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items() if item is not None) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)


def toml_document(sections: dict) -> str:
    """A TOML text: dicts become tables, lists of dicts arrays of tables, what lies deeper inline values."""
    lines = []
    for name, section in sections.items():
        for table, opening in [(section, f"[{name}]")] if isinstance(section, dict) else [(one, f"[[{name}]]") for one in section]:
            lines.append(opening)
            lines += [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]
            lines.append("")
    return "\n".join(lines)


class Process:
    """A child with a log file; its output is in the failure of whoever waits for it in vain."""

    def __init__(self, command: list, folder: Path, name: str, env: dict | None = None):
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                list(map(str, command)), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder,
                env={**os.environ, "NO_PROXY": "*", **(env or {})})

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def alive(self) -> bool:
        return self.child.poll() is None

    def stop(self, how=signal.SIGTERM) -> int:
        if self.alive():
            self.child.send_signal(how)
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        return self.child.returncode


class Sim:
    """A running `tallygate sim`."""

    def __init__(self, folder: Path, *options):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = Process([BIN, "sim", "--listen", f"127.0.0.1:{port}", *options], folder, f"sim-{port}")
        self.http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        wait_for(f"the simulator\n{self.process.output()}", self._healthy)

    def _healthy(self):
        if not self.process.alive():
            raise RuntimeError(f"the simulator ended with {self.process.child.returncode}:\n{self.process.output()}")
        with suppress(httpx.TransportError):
            return self.http.get("/_sim/health").status_code == 200

    def post(self, *args, **kwargs):
        return self.http.post(*args, **kwargs)

    def ledger(self, since: int = 0) -> list[dict]:
        return self.http.get("/_sim/ledger", params={"since": since}).json()["entries"]

    def last_seq(self) -> int:
        entries = self.ledger()
        return entries[-1]["seq"] if entries else 0

    def fail(self, credential: str, fault: str, **options):
        """From now on this credential meets a fault; `retry_after` says how long a rate-limited one is told to wait."""
        reply = self.http.put("/_sim/faults", params={"credential": credential, "fault": fault, **options})
        assert reply.status_code == 200, reply.text

    def heal(self, credential: str):
        self.http.delete("/_sim/faults", params={"credential": credential})

    def requests(self) -> list[dict]:
        """The latest requests as they arrived, newest first."""
        return self.http.get("/_sim/last-request").json()["requests"]

    def last_request(self) -> dict:
        return self.requests()[0]

    def stop(self):
        self.process.stop()


def upstreams(sim_url: str, secret: str = "sk-upstream-0001") -> list[dict]:
    """One upstream a dialect, all on the same simulator."""
    base = {"openai-chat": "/v1", "openai-responses": "/v1", "anthropic": "", "gemini": ""}
    os.environ["TEST_UPSTREAM_SECRET"] = secret
    return [
        {"name": f"up-{dialect}", "dialect": dialect, "base_url": sim_url + path,
         "credentials": [{"name": "c1", "secret": "env:TEST_UPSTREAM_SECRET"}]}
        for dialect, path in base.items()
    ]


def model(name: str, dialect: str, target: str, price: dict | None = None) -> dict:
    return {"name": name, "targets": [{"upstream": f"up-{dialect}", "model": target}], "price": price or PRICE}


class Gateway:
    """A running `tallygate serve` on a configuration file of its own."""

    def __init__(self, folder: Path, sections: dict, env: dict | None = None, store_url: str | None = None):
        self.folder = folder
        self.ports = {name: free_port() for name in ("listen", "admin_listen", "metrics_listen")}
        server = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.store_url = store_url or f"sqlite:{folder}/tallygate.db"
        tenants = [
            {"name": "acme", "keys": [{"name": "k", "secret": "env:TEST_ACME_KEY"}]},
            {"name": "beta", "keys": [{"name": "k", "secret": "env:TEST_BETA_KEY"}]},
        ]
        document = {
            "server": {**server, **sections.get("server", {})},
            "store": {"url": self.store_url, **sections.get("store", {})},
            "secrets": {"key_pepper": "env:TEST_PEPPER", "sealing_key": "env:TEST_SEALING"},
            "journal": {"dir": f"{folder}/journal", **sections.get("journal", {})},
            **{name: sections[name] for name in ("outbound",) if name in sections},
            "upstreams": sections["upstreams"], "models": sections["models"],
            "tenants": sections.get("tenants", tenants),
        }
        document |= {name: section for name, section in sections.items() if name not in document}
        self.config = folder / "tallygate.toml"
        self.config.write_text(toml_document(document))
        self.env = {
            "TEST_ACME_KEY": TENANT_KEY, "TEST_BETA_KEY": OTHER_KEY, "TEST_PEPPER": PEPPER, "TEST_SEALING": SEALING_KEY,
            "TEST_UPSTREAM_SECRET": os.environ.get("TEST_UPSTREAM_SECRET", "sk-upstream-0001"), **(env or {}),
        }
        self.url = f"http://127.0.0.1:{self.ports['listen']}"
        self.admin_url = f"http://127.0.0.1:{self.ports['admin_listen']}"
        self.metrics_url = f"http://127.0.0.1:{self.ports['metrics_listen']}"
        self.http = httpx.Client(base_url=self.url, timeout=10, trust_env=False)
        self.start()

    def start(self):
        self.launch()
        wait_for("readiness of the gateway", self._ready)

    def launch(self):
        """Starts it and does not wait."""
        self.process = Process([BIN, "serve", "--config", self.config], self.folder, "serve", self.env)

    def _ready(self):
        if not self.process.alive():
            raise RuntimeError(f"the gateway ended with {self.process.child.returncode}:\n{self.process.output()[-4000:]}")
        with suppress(httpx.TransportError):
            return httpx.get(self.metrics_url + "/readyz", trust_env=False).status_code == 200

    def kill(self):
        """As the machine would: no warning, no goodbye."""
        self.process.stop(signal.SIGKILL)

    def stop(self) -> int:
        return self.process.stop()

    def setup_link(self) -> str:
        """Where the first owner is made; printed at a first start, when everything is up."""
        return wait_for("the setup link", lambda: re.search(r"http\S+/setup#[^\s\"]+", self.process.output()), 10).group()

    def admin_token(self, role: str = "owner") -> str:
        """A token of the admin API, made by the first owner."""
        token = self.setup_link().split("#")[1]
        owner = {"token": token, "name": "O", "email": "o@example.com", "password": "correct horse battery staple"}
        headers = {"origin": self.admin_url}
        with httpx.Client(base_url=self.admin_url, trust_env=False, headers=headers) as http:
            made = http.post("/admin/v1/setup", json=owner)
            # The cookies are for https; they are sent by hand here.
            cookie = "; ".join(line.split(";")[0] for line in made.headers.get_list("set-cookie"))
            token = http.post("/admin/v1/admin-tokens", json={"name": "t", "role": role}, headers={"cookie": cookie})
        return token.json()["secret"]

    def cli(self, *arguments, check=True) -> str:
        """Runs a command of the binary on this gateway's configuration."""
        done = subprocess.run(
            [BIN, *map(str, arguments), "--config", str(self.config)], capture_output=True, text=True, timeout=60,
            cwd=self.folder, env={**os.environ, **self.env})
        if check and done.returncode:
            raise RuntimeError(f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def ask(self, dialect: str, model_name: str, text="hello", *, key=TENANT_KEY, stream=False, headers=None, **shape):
        """One request in a dialect, by hand."""
        import wire

        body = wire.request(dialect, model_name, text, stream=stream, **shape)
        return self.http.post(
            wire.path(dialect, model_name, stream), json=body, headers={**wire.auth(dialect, key), **(headers or {})})

    def rows(self, where: str = "1 = 1") -> list[dict]:
        """Usage records as they stand in the database."""
        columns = ", ".join([
            "request_id", "attempt", "model", "client_dialect", "upstream_dialect", "stream", "outcome", "status", "error_code",
            *USAGE_CLASSES, "usage_source", "charge", "currency", "upstream_request_id"])
        query = f"SELECT {columns} FROM usage_records WHERE {where} ORDER BY accepted_at"
        if self.store_url.startswith("sqlite:"):
            with sqlite3.connect(f"file:{self.store_url.removeprefix('sqlite:')}?mode=ro", uri=True) as db:
                db.row_factory = sqlite3.Row
                rows = [dict(row) for row in db.execute(query)]
                for row in rows:
                    row["request_id"] = bytes(row["request_id"]).hex()
                return rows
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(self.store_url, row_factory=dict_row) as db:
            rows = db.execute(query).fetchall()
            for row in rows:
                row["request_id"] = row["request_id"].hex
            return rows

    def wait_for_rows(self, count: int, where: str = "1 = 1", seconds: float = 20) -> list[dict]:
        """Waits until the shipper has brought so many records to the database."""
        found = []

        def enough():
            nonlocal found
            with suppress(sqlite3.OperationalError):
                found = self.rows(where)
            return len(found) >= count

        with suppress(TimeoutError):
            wait_for("usage records", enough, seconds, 0.1)
        return found


class Postgres:
    """A private server in a folder of its own; initdb refuses root, so root drops to the system's postgres user."""

    def __init__(self, folder: Path, connections=100):
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        if not found:
            raise FileNotFoundError("no PostgreSQL under /usr/lib/postgresql")
        self.bin, self.folder, self.port = found[-1], folder, free_port()
        self.as_user = []
        if os.getuid() == 0:
            self.as_user = ["runuser", "-u", "postgres", "--"]
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        data = folder / "data"
        self._run("initdb", "-D", data, "-U", "tallygate", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.options = (f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off "
                        f"-c max_connections={connections}")
        self.go()
        self.databases = 0

    def go(self):
        self._run("pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", self.options, "start")

    def halt(self):
        """As if the machine went: no connection is told."""
        self._run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop")

    def signal(self, how):
        """To the server and all its processes."""
        parent = int((self.folder / "data/postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for pid in [*map(int, children), parent]:
            with suppress(ProcessLookupError):
                os.kill(pid, how)

    def _run(self, program, *arguments):
        done = subprocess.run(
            [*self.as_user, str(self.bin / program), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, cwd=self.folder, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr}")

    def database(self) -> str:
        """The URL of a new, empty database."""
        import psycopg

        self.databases += 1
        name = f"t{self.databases}"
        with psycopg.connect(f"postgres://tallygate@127.0.0.1:{self.port}/postgres", autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}")
        return f"postgres://tallygate@127.0.0.1:{self.port}/{name}"

    def stop(self):
        with suppress(RuntimeError, OSError):
            self.signal(signal.SIGCONT)
            self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis:
    """A private server that keeps nothing on disk."""

    def __init__(self, folder: Path):
        if not shutil.which("redis-server"):
            raise FileNotFoundError("redis-server is not installed")
        self.folder, self.port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.go()

    def go(self):
        self.process = Process(
            ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"], self.folder, "redis")
        wait_for("redis-server", lambda: self.command("PING") == b"+PONG\r\n")

    def command(self, *words: str) -> bytes:
        """The first bytes of the answer."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2) as line:
            line.sendall((" ".join(words) + "\r\n").encode())
            return line.recv(65_536)
        return b""

    def flush(self):
        assert self.command("FLUSHALL") == b"+OK\r\n"

    def kill(self):
        self.process.stop(signal.SIGKILL)

    def signal(self, how):
        self.process.child.send_signal(how)

    def stop(self):
        self.signal(signal.SIGCONT)
        self.process.stop(signal.SIGKILL)
