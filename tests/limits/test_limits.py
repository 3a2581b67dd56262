"""Rates, concurrency and budgets: what a tenant over its limit is told, and that nothing of it reaches the upstream."""

import json
import threading

import pytest

import harness
import wire

LIMITED_KEY = "test-key-of-tenant-limited-01"


@pytest.fixture
def limited(sim, start_gateway):
    """Starts a gateway with one tenant of the given limits and budget, and one without."""

    def start(**tenant):
        models = [harness.model(f"via-{dialect}", dialect, "plain") for dialect in wire.DIALECTS]
        tenants = [
            {"name": "limited", "keys": [{"name": "k", "secret": "env:TEST_LIMITED_KEY"}], **tenant},
            {"name": "acme", "keys": [{"name": "k", "secret": "env:TEST_ACME_KEY"}]},
        ]
        return start_gateway({"upstreams": harness.upstreams(sim.url), "models": models, "tenants": tenants},
                             env={"TEST_LIMITED_KEY": LIMITED_KEY})

    return start


def until_refused(gateway, dialect, attempts=30, **shape):
    for _ in range(attempts):
        reply = gateway.ask(dialect, f"via-{dialect}", key=LIMITED_KEY, **shape)
        if reply.status_code != 200:
            return reply
    raise AssertionError(f"{attempts} requests were served")


def detail(error: dict, kind: str) -> dict:
    return next((item for item in error.get("details", []) if item["@type"].endswith(kind)), {})


@pytest.mark.parametrize("dialect", wire.DIALECTS)
def test_over_the_rate(limited, sim, dialect):
    gateway = limited(limits={"requests_per_minute": 3})
    reply = until_refused(gateway, dialect)
    assert reply.status_code == 429
    # Until the first of them is a minute old, with the half second it came in.
    assert 0 < float(reply.headers["retry-after"]) <= 60
    assert 0 < int(reply.headers["retry-after-ms"]) <= 60_000
    error = reply.json()["error"]
    if dialect in ("openai-chat", "openai-responses"):
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert reply.headers["x-ratelimit-limit-requests"] == "3"
    elif dialect == "anthropic":
        assert error["type"] == "rate_limit_error"
        assert reply.headers["anthropic-ratelimit-requests-limit"] == "3"
    else:
        assert error["status"] == "RESOURCE_EXHAUSTED"
        assert detail(error, "RetryInfo")["retryDelay"].endswith("s")
    assert reply.headers.get("x-should-retry") != "false"

    since = sim.last_seq()
    assert gateway.ask(dialect, f"via-{dialect}", key=LIMITED_KEY).status_code == 429
    assert sim.last_seq() == since, "a refused request reached the upstream"
    assert gateway.ask(dialect, f"via-{dialect}").status_code == 200, "another tenant suffers"


def test_over_the_token_rate(limited, sim):
    gateway = limited(limits={"tokens_per_minute": 2000})
    reply = until_refused(gateway, "openai-chat", text="x" * 2000, max_tokens=200)
    assert reply.status_code == 429
    assert reply.json()["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("dialect", wire.DIALECTS)
def test_over_the_budget(limited, sim, dialect):
    gateway = limited(budget={"amount": "0.01", "currency": "USD", "period": "month"})
    reply = until_refused(gateway, dialect, text="words=20", max_tokens=200)
    assert reply.status_code == 429
    assert reply.headers["x-should-retry"] == "false"
    error = reply.json()["error"]
    if dialect in ("openai-chat", "openai-responses"):
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    elif dialect == "anthropic":
        assert error["type"] == "rate_limit_error"
    else:
        assert error["status"] == "RESOURCE_EXHAUSTED"
        assert detail(error, "QuotaFailure")
    since = sim.last_seq()
    assert gateway.ask(dialect, f"via-{dialect}", key=LIMITED_KEY, text="words=20", max_tokens=200).status_code == 429
    assert sim.last_seq() == since, "a refused request reached the upstream"
    spent = sum(int(row["charge"]) for row in gateway.wait_for_rows(1, "outcome = 'ok'"))
    assert spent <= 10**10, "more was spent than the budget allows"
    assert gateway.ask(dialect, f"via-{dialect}").status_code == 200, "another tenant suffers"


def test_refusals_cost_nothing_and_are_on_record(limited):
    gateway = limited(limits={"requests_per_minute": 2})
    until_refused(gateway, "anthropic")
    [row] = gateway.wait_for_rows(1, "status = 429")
    assert (row["outcome"], int(row["charge"])) == ("rate_limited", 0)


def test_over_the_concurrency(limited, sim, folder):
    slow = harness.Sim(folder, "--chunk-delay-ms", "50")
    try:
        gateway = limited(limits={"concurrency": 2})
        gateway.stop()
        config = gateway.config.read_text().replace(sim.url, slow.url)
        gateway.config.write_text(config)
        gateway.start()
        replies = []

        def long_stream():
            replies.append(gateway.ask("openai-chat", "via-openai-chat", "words=120", key=LIMITED_KEY, stream=True))

        threads = [threading.Thread(target=long_stream) for _ in range(2)]
        for thread in threads:
            thread.start()
        harness.wait_for("two streams under way", lambda: sum(e["ended"] == "open" for e in slow.ledger()) == 2)
        refused = gateway.ask("openai-chat", "via-openai-chat", key=LIMITED_KEY)
        for thread in threads:
            thread.join()
        assert refused.status_code == 429
        assert [reply.status_code for reply in replies] == [200, 200]
        assert gateway.ask("openai-chat", "via-openai-chat", key=LIMITED_KEY).status_code == 200, "a slot was not given back"
        assert len(slow.ledger()) == 3
    finally:
        slow.stop()


def test_the_limits_are_told_with_every_answer(limited):
    gateway = limited(limits={"requests_per_minute": 600, "tokens_per_minute": 100_000})
    told = gateway.ask("openai-chat", "via-anthropic", key=LIMITED_KEY).headers
    assert told["x-ratelimit-limit-requests"] == "600"
    assert int(told["x-ratelimit-remaining-requests"]) < 600
    assert not any(name.startswith("anthropic-ratelimit") for name in told)
    told = gateway.ask("anthropic", "via-openai-chat", key=LIMITED_KEY).headers
    assert told["anthropic-ratelimit-requests-limit"] == "600"
    assert not any(name.startswith("x-ratelimit") for name in told), json.dumps(dict(told))
