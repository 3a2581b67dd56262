"""One hard budget over three replicas on one PostgreSQL: spent to its end and not beyond, whoever dies."""

import asyncio
import ssl
import time
from dataclasses import dataclass, field

import httpx
import psycopg
import pytest

import harness
import wire

PICO = 10**12
CONCURRENT = 500
MODEL = "m"
# Demand ends when the budget is nearly spent, or when nothing was admitted for so long.
QUIET_SECONDS = 3
LOAD_SECONDS = 90


@dataclass
class Outcome:
    served: int = 0
    refused: int = 0
    unknown: int = 0
    # Connections that broke before there was an answer.
    broken: list = field(default_factory=list)
    # Statuses that are neither.
    others: list = field(default_factory=list)
    last_served: float = 0


def sections(sim, budget: str) -> dict:
    tenant = {
        "name": "acme", "keys": [{"name": "k", "secret": "env:TEST_ACME_KEY"}],
        "limits": {"concurrency": 2 * CONCURRENT},
        "budget": {"amount": budget, "currency": "USD", "period": "month"},
    }
    return {
        "server": {"max_in_flight": 4 * CONCURRENT, "max_in_flight_per_key": 2 * CONCURRENT},
        "upstreams": harness.upstreams(sim.url), "tenants": [tenant],
        "models": [harness.model(MODEL, "openai-chat", "plain")],
    }


@pytest.fixture
def replicas(quick_sim, start_gateway, postgres):
    def start(budget: str):
        url = postgres.database()
        return [start_gateway(sections(quick_sim, budget), store_url=url) for _ in range(3)]

    return start


async def demand(gateways, outcome: Outcome, until) -> None:
    """So many clients, each asking again as soon as it is answered, until `until` says so or nothing more is admitted."""
    started = outcome.last_served = time.monotonic()
    # A pool for each: one pool for all looks through all its connections for each request, and is itself what is waited for.
    context = ssl.create_default_context()
    bodies = wire.request("openai-chat", MODEL, "words=20", max_tokens=60)
    path, headers = wire.path("openai-chat", MODEL, False), wire.auth("openai-chat", harness.TENANT_KEY)

    async def client(urls):
        async with httpx.AsyncClient(timeout=30, verify=context, trust_env=False) as http:
            await ask(http, urls)

    async def ask(http, urls):
        turn = 0
        while not until() and time.monotonic() - outcome.last_served < QUIET_SECONDS:
            if time.monotonic() - started > LOAD_SECONDS:
                raise TimeoutError("the budget was not spent in time")
            turn += 1
            try:
                reply = await http.post(urls[turn % len(urls)] + path, json=bodies, headers=headers)
            except httpx.TransportError as error:
                outcome.broken.append(repr(error))
                await asyncio.sleep(0.05)
                continue
            if reply.status_code == 200:
                outcome.served += 1
                outcome.last_served = time.monotonic()
            elif reply.status_code == 429 and reply.json()["error"]["code"] == "insufficient_quota":
                outcome.refused += 1
                await asyncio.sleep(0.05)
            elif reply.status_code == 503 and reply.json()["error"]["tallygate"]["reason"] == "budget_unknown":
                # Three gateways and a database on two cores: it may take longer to ask than a request is made to wait.
                outcome.unknown += 1
                await asyncio.sleep(0.05)
            else:
                outcome.others.append((reply.status_code, reply.text[:300]))
                await asyncio.sleep(0.05)

    urls = [gateway.url for gateway in gateways]
    await asyncio.gather(*(client(urls[at % len(urls):] + urls[:at % len(urls)]) for at in range(CONCURRENT)))


def pico(amount: str) -> int:
    whole, _, rest = amount.partition(".")
    return int(whole) * PICO + int((rest + "0" * 12)[:12])


def query(gateway, sql: str):
    with psycopg.connect(gateway.store_url) as db:
        return db.execute(sql).fetchall()


def window(gateway) -> dict:
    [(*amounts,)] = query(gateway, "SELECT spent_units, spent_pico, overspent_units, overspent_pico, leased_units, leased_pico "
                                   "FROM budget_windows")
    names = ("spent", "overspent", "leased")
    return {name: amounts[2 * at] * PICO + amounts[2 * at + 1] for at, name in enumerate(names)}


def charged(gateway) -> int:
    return sum(int(row["charge"]) for row in gateway.rows())


def stop_all(gateways):
    for gateway in gateways:
        gateway.stop()


def test_three_replicas_spend_a_hard_budget_to_its_end_and_not_beyond(replicas):
    budget = "1.50"
    gateways = replicas(budget)
    outcome = Outcome()
    asyncio.run(demand(gateways, outcome, lambda: False))
    assert outcome.others == [] and outcome.broken == []
    assert outcome.refused > 0
    stop_all(gateways)
    spent, told = charged(gateways[0]), window(gateways[0])
    assert told == {"spent": spent, "overspent": 0, "leased": 0}
    assert 0.98 * pico(budget) <= spent <= pico(budget), f"{spent / PICO} of {budget} after {outcome.served} answers"
    served = len(gateways[0].rows("outcome = 'ok'"))
    assert served == outcome.served, "an answered request has one record"


def test_a_replica_that_is_killed_loses_no_spending_and_keeps_no_lease(replicas):
    budget = "1.50"
    gateways = replicas(budget)
    outcome = Outcome()
    killed = False

    def kill_in_the_middle():
        nonlocal killed
        if not killed and outcome.served > 300:
            killed = True
            gateways[0].kill()
            gateways[0].start()
        return False

    asyncio.run(demand(gateways, outcome, kill_in_the_middle))
    assert killed
    stop_all(gateways)
    spent, told = charged(gateways[0]), window(gateways[0])
    assert told["spent"] + told["overspent"] == spent, "what was charged is what the budget counts"
    assert told["leased"] == 0
    # A request that was under way counts at most what was set aside for it; it was the dead process's lease that covered it.
    assert told["overspent"] == 0 and spent <= pico(budget)
    assert spent >= 0.98 * pico(budget), f"{spent / PICO} of {budget}"
    served = len(gateways[0].rows("outcome = 'ok'"))
    assert served >= outcome.served, "an answered request has no record"


def test_while_the_database_is_away_leases_are_used_and_then_it_is_said(quick_sim, start_gateway, folder):
    import os
    own = folder / "pg"
    own.mkdir()
    os.chmod(own, 0o755)
    database = harness.Postgres(own)
    try:
        gateway = start_gateway(sections(quick_sim, "100.00"), store_url=database.database())
        assert gateway.ask("openai-chat", MODEL, "words=5", max_tokens=20).status_code == 200
        harness.wait_for("the first record", lambda: window(gateway)["spent"] > 0)
        database.halt()
        # A hundredth of the budget is at hand, which is a thousand requests and more.
        for _ in range(50):
            reply = gateway.ask("openai-chat", MODEL, "words=5", max_tokens=20)
            assert reply.status_code == 200, reply.text
        started = time.monotonic()
        refused = gateway.ask("openai-chat", MODEL, "words=5", max_tokens=200_000)
        assert time.monotonic() - started < 0.25
        assert refused.status_code == 503
        assert refused.json()["error"]["tallygate"]["reason"] == "budget_unknown"
        database.go()
        harness.wait_for("all records", lambda: len(gateway.rows("outcome = 'ok'")) == 51)
        assert gateway.stop() == 0
        told = window(gateway)
        assert told == {"spent": charged(gateway), "overspent": 0, "leased": 0}
    finally:
        database.stop()
