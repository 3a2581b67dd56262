"""Three replicas behind a TCP balancer, on one PostgreSQL and one Redis: limits are of all of them together, and what holds when
Redis or PostgreSQL is away is what docs/limits.md says."""

import json
import os
import signal
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import harness
import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "chaos"))

import load  # noqa: E402
from balancer import Balancer  # noqa: E402

MODEL = "m"
REPLICAS = 3
# No answer may take longer than it would if nothing were wrong, by so much.
ADDED_SECONDS = 0.25
# Clients that ask all the time ask no more often than this together, a second: they are to wait for nobody but the gateways.
RATE = 60
UNBOUND = 1_000_000


@pytest.fixture
def replicas(quick_sim, start_gateway, redis):
    """Starts them: the gateways and the address of the balancer before them."""
    balancers = []

    def start(postgres, limits: dict, on_failure="share", sim=quick_sim):
        sections = {
            "server": {"max_in_flight": 2_000}, "limits": {"shared": redis.url, "on_failure": on_failure},
            "upstreams": harness.upstreams(sim.url), "models": [harness.model(MODEL, "openai-chat", "plain")],
            "tenants": [{"name": "acme", "keys": [{"name": "k", "secret": "env:TEST_ACME_KEY"}], "limits": limits}],
        }
        url = postgres.database()
        gateways = [start_gateway(sections, store_url=url) for _ in range(REPLICAS)]
        for gateway in gateways:
            harness.wait_for("all replicas to know of each other", lambda gateway=gateway: knows_all(gateway))
        balancers.append(Balancer([(gateway.url, gateway.metrics_url + "/readyz") for gateway in gateways]))
        return gateways, balancers[-1].url

    yield start
    for balancer in balancers:
        balancer.stop()


@pytest.fixture
def postgres_of_its_own(folder):
    own = folder / "pg"
    own.mkdir()
    os.chmod(own, 0o755)
    running = harness.Postgres(own)
    yield running
    running.stop()


def metrics(gateway, name: str) -> dict[str, float]:
    """The values of a metric by the value of its one label, or by nothing."""
    found = {}
    for line in gateway.http.get(gateway.metrics_url + "/metrics").text.splitlines():
        if line.startswith((name + "{", name + " ")):
            series, value = line.rsplit(" ", 1)
            found[series.split('"')[1] if '"' in series else ""] = float(value)
    return found


def knows_all(gateway) -> bool:
    return metrics(gateway, "tallygate_shared_limits_processes") == {"": REPLICAS} and mode(gateway) == "shared"


def mode(gateway) -> str:
    """What decides in this replica."""
    [decides] = [name for name, value in metrics(gateway, "tallygate_shared_limits_mode").items() if value == 1]
    return decides


def modes(gateways) -> set[str]:
    return {mode(gateway) for gateway in gateways}


def told(log, since: float = 0) -> Counter:
    """Statuses and reasons of the answers to what was asked from then on."""
    def why(record):
        return "" if record.status == 200 else json.loads(record.body)["error"]["tallygate"]["reason"] if record.whole else record.error

    return Counter((record.status, why(record)) for record in log if record.started >= since)


def served(log) -> int:
    return sum(record.status == 200 for record in log)


def accounted(gateways, *logs):
    """What was answered stands in the books, and nothing else."""
    answered = sum(map(served, logs))
    assert len(gateways[0].wait_for_rows(answered, "outcome = 'ok'", 40)) == answered


def most_at_once(ledger: list[dict]) -> int:
    """As the provider saw it."""
    steps = sorted([(entry["at"], 1) for entry in ledger] + [(entry["ended_at"], -1) for entry in ledger if entry["ended_at"]])
    running = most = 0
    for _, step in steps:
        running += step
        most = max(most, running)
    return most


def ask(n: int) -> load.Ask:
    return load.Ask(text="words=20", shape={"max_tokens": 60})


def stream(n: int) -> load.Ask:
    return load.Ask(text="words=20", shape={"max_tokens": 60}, stream=True)


@contextmanager
def steady(url: str, log: list):
    """Clients that go on asking at a pace the machine can hold; their records are in `log` afterwards."""
    with load.Background(url, UNBOUND, 10, ask, rate=RATE) as running:
        time.sleep(1)
        yield
    log += list(running.log)


def calm(log: list[load.Record], since: float):
    """Nobody waited longer than before `since`, by more than what is allowed."""
    before = max(record.latency for record in log if record.started < since)
    slow = [round(record.latency, 3) for record in log if record.started >= since and record.latency > before + ADDED_SECONDS]
    assert slow == [], f"{slow} s, and {before:.3f} s before"


def test_a_rate_is_admitted_once_by_all_replicas_together(replicas, postgres, quick_sim):
    gateways, url = replicas(postgres, {"requests_per_minute": 600, "concurrency": 1_000})
    since = quick_sim.last_seq()
    log = load.run(url, 2_000, 60, ask)
    assert log.seconds < 60
    # Each question that was not answered in time may have been decided otherwise than it would have been.
    late = sum(sum(metrics(gateway, "tallygate_shared_limits_failures_total").values()) for gateway in gateways)
    assert set(told(log)) == {(200, ""), (429, "requests_limit")}, told(log)
    assert abs(served(log) - 600) <= min(late, 12), (served(log), late)
    assert len(quick_sim.ledger(since)) == served(log)
    assert all(metrics(gateway, "tallygate_shared_limits_ask_seconds_count")[""] > 100 for gateway in gateways)
    accounted(gateways, log)


def test_places_are_never_more_than_the_limit_at_the_upstream(replicas, postgres, folder):
    # About a third of a second for each answer.
    sim = harness.Sim(folder, "--chunk-delay-ms", "12")
    try:
        gateways, url = replicas(postgres, {"concurrency": 50}, sim=sim)
        with load.Background(url, UNBOUND, 500, stream, obey=True) as running:
            time.sleep(8)
        log = running.log
        assert set(told(log)) == {(200, ""), (429, "concurrency_limit")}, told(log)
        # On a machine that is busy with something else Redis may be too slow to be asked: then it is the shares that hold.
        bound = 50 if all("cannot be asked" not in gateway.process.output() for gateway in gateways) else 50 * 5 // 3
        assert 50 <= most_at_once(sim.ledger()) <= bound
        accounted(gateways, log)
    finally:
        sim.stop()


def test_whatever_becomes_of_redis_nobody_waits_and_the_share_holds(replicas, postgres, redis):
    limit = 900
    gateways, url = replicas(postgres, {"requests_per_minute": limit, "concurrency": 500})
    log: list[load.Record] = []
    with steady(url, log):
        began = time.time()
        redis.signal(signal.SIGSTOP)
        harness.wait_for("the shares", lambda: modes(gateways) == {"share"}, 5)
        time.sleep(2)
        redis.signal(signal.SIGCONT)
        time.sleep(1)
        redis.kill()
        time.sleep(2)
        redis.go()
        harness.wait_for("the counts", lambda: counted(redis) > 0, 5)
        redis.flush()
        harness.wait_for("the counts after the flush", lambda: counted(redis) > 0, 5)
        # What was admitted before stands in no count of the server's.
        assert modes(gateways) == {"share"}
    calm(log, began)
    assert set(told(log)) == {(200, "")}, told(log)
    # Now all of it at once: each has its share, less what it has admitted already.
    rest = load.run(url, 1_500, 30, ask)
    assert set(told(rest)) == {(200, ""), (429, "requests_limit")}, told(rest)
    assert 0.9 * limit <= served(log) + served(rest) <= limit, (served(log), served(rest))
    accounted(gateways, log, rest)


def counted(redis) -> int:
    """Keys of rates."""
    return redis.command("KEYS", "tallygate:{*:requests:*").count(b"\r\n$")


@pytest.mark.parametrize(("on_failure", "expected"), [("open", 3 * 20), ("closed", 0)])
def test_the_failure_mode_is_what_is_configured(replicas, postgres, redis, on_failure, expected):
    gateways, url = replicas(postgres, {"requests_per_minute": 20, "concurrency": 500}, on_failure)
    redis.kill()
    harness.wait_for("the mode", lambda: modes(gateways) == {on_failure}, 5)
    log = load.run(url, 120, 12, ask)
    refusal = (429, "requests_limit") if expected else (503, "limits_unknown")
    assert told(log) == {(200, ""): expected, refusal: 120 - expected} if expected else {refusal: 120}
    assert all(record.headers["retry-after"] for record in log if record.status != 200)
    harness.wait_for("readiness", lambda: all(gateway._ready() for gateway in gateways))
    accounted(gateways, log)


def test_without_postgresql_limits_go_on_and_nothing_is_lost(replicas, postgres_of_its_own):
    gateways, url = replicas(postgres_of_its_own, {"requests_per_minute": 600, "concurrency": 500})
    log: list[load.Record] = []
    with steady(url, log):
        began = time.time()
        postgres_of_its_own.halt()
        time.sleep(4)
    rest = load.run(url, 1_000, 30, ask)
    postgres_of_its_own.go()
    calm(log, began)
    assert set(told(log)) == {(200, "")}, told(log)
    assert set(told(rest)) == {(200, ""), (429, "requests_limit")}, told(rest)
    assert served(log) + served(rest) == 600
    accounted(gateways, log, rest)
