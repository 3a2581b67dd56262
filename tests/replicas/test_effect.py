"""What is changed at one of three replicas holds at all of them within five seconds, also where the database cannot tell them."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psycopg
import pytest

import harness

MODEL = "m"
# The promise; not a guess at how slow a machine may be.
EFFECT_SECONDS = 5
LOOK_SECONDS = 0.02
MESSAGE = "Your invoice of October is open. Write to billing@example.com."


class Admin:
    """The admin API of one replica, as the first owner. The link to become one is the last that was given out."""

    def __init__(self, gateway, youngest):
        link = harness.wait_for("the setup link", lambda: re.search(r"/setup#(\S+)", youngest.process.output()), 10)
        owner = {"token": link.group(1).rstrip('"'), "name": "O", "email": "o@example.com", "password": "correct horse battery staple"}
        self.http = httpx.Client(base_url=gateway.admin_url + "/admin/v1", trust_env=False, timeout=10,
                                 headers={"origin": gateway.admin_url})
        made = self.http.post("/setup", json=owner)
        assert made.is_success, made.text
        cookie = "; ".join(line.split(";")[0] for line in made.headers.get_list("set-cookie"))
        token = self.post("/admin-tokens", {"name": "t", "role": "owner"}, {"cookie": cookie})["secret"]
        self.http.cookies.clear()
        self.http.headers["authorization"] = f"Bearer {token}"

    def post(self, path, body=None, headers=None) -> dict:
        reply = self.http.post(path, json=body, headers=headers)
        assert reply.is_success, (path, reply.text)
        return reply.json()

    def patch(self, path, body) -> dict:
        reply = self.http.patch(path, json=body, headers=self.version(path))
        assert reply.is_success, (path, reply.text)
        return reply.json()

    def version(self, path) -> dict:
        return {"if-match": self.http.get(path).headers["etag"]}


class Replicas:
    def __init__(self, gateways):
        self.gateways = gateways
        self.admin = Admin(gateways[0], gateways[-1])

    def ask(self, gateway, key):
        return gateway.ask("openai-chat", MODEL, key=key)

    def made(self, name, **limits) -> tuple[dict, dict]:
        """A tenant with a key, served by all."""
        tenant = self.admin.post("/tenants", {"name": name})
        key = self.admin.post("/api-keys", {"tenant_id": tenant["id"], "name": "k", "limits": limits})
        self.until(f"a new key ({name})", lambda gateway: self.ask(gateway, key["secret"]).status_code == 200)
        return tenant, key

    def until(self, what, holds) -> None:
        """Asks all replicas at once, until what was changed holds at each; no longer than is promised."""
        changed = time.monotonic()

        def wait(gateway):
            while not holds(gateway):
                assert time.monotonic() - changed < EFFECT_SECONDS, f"{what}: not in force after {EFFECT_SECONDS} s at {gateway.url}"
                time.sleep(LOOK_SECONDS)
            return time.monotonic() - changed

        with ThreadPoolExecutor(len(self.gateways)) as pool:
            took = list(pool.map(wait, self.gateways))
        print(f"{what}: in force after {', '.join(f'{seconds * 1000:.0f} ms' for seconds in took)}")

    def listeners(self) -> str:
        return "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"

    @contextmanager
    def deaf(self):
        """Whoever listens for changes is cut off, again and again."""
        stop, cut = threading.Event(), 0

        def cut_off():
            nonlocal cut
            with psycopg.connect(self.gateways[0].store_url, autocommit=True) as db:
                while not stop.is_set():
                    cut += db.execute(f"SELECT count(pg_terminate_backend(pid)) {self.listeners()}").fetchone()[0]
                    time.sleep(LOOK_SECONDS)

        cutter = threading.Thread(target=cut_off)
        cutter.start()
        try:
            harness.wait_for("listeners that are cut off", lambda: cut >= len(self.gateways))
            yield
        finally:
            stop.set()
            cutter.join()


@pytest.fixture
def replicas(quick_sim, start_gateway, postgres):
    url = postgres.database()
    sections = {"upstreams": harness.upstreams(quick_sim.url), "models": [harness.model(MODEL, "openai-chat", "plain")]}
    return Replicas([start_gateway(sections, store_url=url) for _ in range(3)])


def code(reply) -> str:
    return reply.json().get("error", {}).get("code", "")


def check_all(replicas, name):
    admin = replicas.admin

    _, key = replicas.made(f"{name}-revoked")
    admin.post(f"/api-keys/{key['id']}:revoke")
    replicas.until("a revoked key", lambda gateway: code(replicas.ask(gateway, key["secret"])) == "api_key_revoked")

    _, key = replicas.made(f"{name}-rotated")
    path = f"/api-keys/{key['id']}"
    rotated = admin.post(f"{path}:rotate", {"overlap_seconds": 0}, admin.version(path))

    def is_rotated(gateway):
        return (replicas.ask(gateway, rotated["secret"]).status_code, replicas.ask(gateway, key["secret"]).status_code) == (200, 401)

    replicas.until("a rotated key", is_rotated)

    tenant, key = replicas.made(f"{name}-suspended")
    admin.patch(f"/tenants/{tenant['id']}", {"status": "suspended", "suspended_message": MESSAGE})

    def is_suspended(gateway):
        reply = replicas.ask(gateway, key["secret"])
        # The operator's own words; the dialect adds the id of the request.
        return (reply.status_code, code(reply)) == (403, "tenant_suspended") and reply.json()["error"]["message"].startswith(MESSAGE)

    replicas.until("a suspended tenant", is_suspended)

    _, key = replicas.made(f"{name}-limited", requests_per_minute=1000)
    admin.patch(f"/api-keys/{key['id']}", {"limits": {"requests_per_minute": 1}})
    replicas.until("a lowered limit", lambda gateway: replicas.ask(gateway, key["secret"]).status_code == 429)


def test_a_change_at_one_replica_holds_at_all(replicas):
    check_all(replicas, "told")


def test_a_change_holds_also_where_nobody_hears_of_it(replicas):
    with replicas.deaf():
        check_all(replicas, "untold")
