"""Every token counted once, every charge exact: the gateway's records against the simulated provider's own ledger."""

import asyncio
import random
import time
from collections import Counter

import httpx
import pytest

import harness
import wire

REQUESTS = 500
CONCURRENCY = 50
SHAPES = [
    {"text": "hello {n}"},
    {"text": "words={n} please"},
    {"text": "a longer prompt {n} " + "lorem ipsum " * 40},
    {"text": "use the tool {n}", "tools": ["weather"]},
]


def sections(sim):
    models = []
    for dialect in wire.DIALECTS:
        models.append(harness.model(f"via-{dialect}", dialect, f"money-{dialect}"))
        models.append(harness.model(f"via-{dialect}--thinking", dialect, f"money-thinking-{dialect}"))
    return {"upstreams": harness.upstreams(sim.url), "models": models}


def mixed(count: int, seed: int) -> list[tuple]:
    """Requests of every client dialect to every upstream dialect, whole and streamed, in a fixed order."""
    choose = random.Random(seed)
    asked = []
    for n in range(count):
        shape = dict(choose.choice(SHAPES))
        shape["text"] = shape["text"].format(n=choose.randint(1, 90))
        model = f"via-{wire.DIALECTS[n % 4]}{choose.choice(['', '--thinking'])}"
        asked.append((wire.DIALECTS[n // 4 % 4], model, choose.random() < 0.5, shape))
    return asked


async def drive(gateway, asked, stop_at=None, on_stop=None) -> list[tuple]:
    """Sends all, at most CONCURRENCY at a time; gives (status or None, whole body came) for each."""
    slots, done = asyncio.Semaphore(CONCURRENCY), 0
    limits = httpx.Limits(max_connections=CONCURRENCY)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, limits=limits, trust_env=False) as client:
        async def one(dialect, model, stream, shape):
            nonlocal done
            async with slots:
                body = wire.request(dialect, model, stream=stream, **shape)
                headers = wire.auth(dialect, harness.TENANT_KEY)
                status = None
                try:
                    async with client.stream("POST", wire.path(dialect, model, stream), json=body, headers=headers) as reply:
                        status = reply.status_code
                        content = await reply.aread()
                    whole = status == 200 and wire.read(dialect, content, stream).finish is not None
                    result = (status, whole)
                except httpx.TransportError:
                    result = (status, False)
                done += 1
                if stop_at is not None and done == stop_at:
                    on_stop()
                return result
        return await asyncio.gather(*(one(*request) for request in asked))


def vector(usage: dict) -> tuple:
    return tuple(usage.get(name) or 0 for name in harness.USAGE_CLASSES)


def test_every_request_is_charged_exactly(sim, start_gateway, store_url):
    gateway = start_gateway(sections(sim), store_url=store_url)
    since = sim.last_seq()
    results = asyncio.run(drive(gateway, mixed(REQUESTS, seed=1)))
    assert Counter(results) == {(200, True): REQUESTS}
    ledger = sim.ledger(since)
    assert len(ledger) == REQUESTS
    assert {entry["ended"] for entry in ledger} == {"complete"}

    rows = gateway.wait_for_rows(REQUESTS)
    assert len(rows) == REQUESTS == len({row["request_id"] for row in rows})
    assert {(row["outcome"], row["status"], row["usage_source"], row["currency"]) for row in rows} == {("ok", 200, "provider", "USD")}
    assert Counter(vector(row) for row in rows) == Counter(vector(entry["usage"]) for entry in ledger)
    for row in rows:
        assert int(row["charge"]) == harness.charge_pico(row), row
    assert sum(int(row["charge"]) for row in rows) == sum(harness.charge_pico(entry["usage"]) for entry in ledger)

    gateway.stop()
    assert len(gateway.rows()) == REQUESTS, "stopping shipped something twice or lost it"


def test_kill_9_loses_no_finished_request(sim, folder, start_gateway, store_url):
    # Slow enough that many streams are open when the process dies.
    slow = harness.Sim(folder, "--chunk-delay-ms", "15")
    try:
        gateway = start_gateway(sections(slow), store_url=store_url)
        results = asyncio.run(drive(gateway, mixed(REQUESTS, seed=2), stop_at=REQUESTS // 2, on_stop=gateway.kill))
        whole = sum(1 for _, complete in results if complete)
        assert REQUESTS // 2 <= whole < REQUESTS, "the kill came too late or too early to prove anything"
        # The provider notices the hang-ups.
        harness.wait_for("the provider's books", lambda: all(entry["ended"] != "open" for entry in slow.ledger()))
        ledger = slow.ledger()

        gateway.start()
        rows = gateway.wait_for_rows(len(ledger))
        assert len({row["request_id"] for row in rows}) == len(rows)
        finished = [row for row in rows if row["outcome"] == "ok"]
        crashed = [row for row in rows if row["outcome"] != "ok"]
        # Each request that reached the provider has its record. A record without one is a request whose BEGIN was written
        # and whose sending the kill cut off: it must be flagged.
        assert len(rows) >= len(ledger), "a request that reached the provider has no record"
        assert len(rows) - len(ledger) <= len(crashed), "a record of a request that never reached the provider is not flagged"
        assert len(finished) >= whole, "a request that its client got whole is not there"
        complete = Counter(vector(entry["usage"]) for entry in ledger if entry["ended"] == "complete")
        assert Counter(vector(row) for row in finished) <= complete, "a finished request has other counts than the provider's"
        for row in finished:
            assert (row["usage_source"], int(row["charge"])) == ("provider", harness.charge_pico(row))
        assert crashed, "no request was open when the process died"
        for row in crashed:
            assert row["outcome"] == "crash", row
            assert row["usage_source"] != "provider", row
            assert int(row["charge"]) >= 0

        # Starting once more ships the same journal again: nothing changes.
        before = [(row["request_id"], row["attempt"], int(row["charge"])) for row in rows]
        gateway.kill()
        gateway.start()
        time.sleep(1)
        assert sorted((row["request_id"], row["attempt"], int(row["charge"])) for row in gateway.rows()) == sorted(before)
    finally:
        slow.stop()


@pytest.mark.parametrize("upstream", wire.DIALECTS)
@pytest.mark.parametrize("fault", ["429", "401", "404", "500", "503", "refuse"])
def test_a_request_that_got_no_answer_costs_nothing(gate, sim, upstream, fault):
    before = len(gate.rows("status <> 200"))
    reply = gate.ask("openai-chat", f"via-{upstream}--{fault}")
    assert reply.status_code >= 400
    rows = gate.wait_for_rows(before + 1, "status <> 200")
    assert len(rows) > before
    assert int(rows[-1]["charge"]) == 0
    assert vector(rows[-1]) == (0,) * len(harness.USAGE_CLASSES)


@pytest.mark.parametrize("upstream", wire.DIALECTS)
def test_usage_that_the_provider_did_not_tell_is_estimated_and_flagged(gate, upstream):
    model = f"via-{upstream}--no-usage"
    reply = gate.ask("openai-chat", model, "words=40")
    assert reply.status_code == 200
    [*_, row] = gate.wait_for_rows(1, f"model = '{model}'")
    assert row["usage_source"] == "estimated"
    assert int(row["charge"]) == harness.charge_pico(row) > 0
