"""A bad credential or upstream is stepped over before the first byte, and left alone while it is bad."""

import pytest

import harness
import wire

EVERY_UPSTREAM = pytest.mark.parametrize("upstream", wire.DIALECTS)


def two_credentials(sim, dialect, first: str, count: int = 1):
    base = {"openai-chat": "/v1", "openai-responses": "/v1"}.get(dialect, "")
    credentials = [{"name": f"bad{n}", "secret": "env:TEST_BAD"} for n in range(count)] + [{"name": "good", "secret": "env:TEST_GOOD"}]
    sections = {
        "upstreams": [{"name": f"up-{dialect}", "dialect": dialect, "base_url": sim.url + base, "credentials": credentials}],
        "models": [harness.model("m", dialect, "plain")],
        "server": {"first_byte_timeout_ms": 1000},
    }
    return sections, {"TEST_BAD": f"sk-{first}-0001", "TEST_GOOD": "sk-good-0002"}


@pytest.mark.parametrize("fault", ["bad", "limited", "quota", "down", "refused"])
@EVERY_UPSTREAM
def test_a_bad_credential_is_stepped_over(sim, start_gateway, upstream, fault):
    sections, env = two_credentials(sim, upstream, fault)
    gateway = start_gateway(sections, env=env)
    since = sim.last_seq()
    for _ in range(12):
        reply = gateway.ask("openai-chat", "m")
        assert reply.status_code == 200, reply.text
        assert int(reply.headers["x-tallygate-attempts"]) in (1, 2)
    ledger = sim.ledger(since)
    assert sum(entry["credential"] == "0002" for entry in ledger) == 12
    tried = sum(entry["credential"] == "0001" for entry in ledger)
    assert 0 < tried <= (3 if fault in ("bad", "limited", "quota") else 12), "the bad credential is asked again and again"
    rows = gateway.wait_for_rows(12)
    assert [row["outcome"] for row in rows] == ["ok"] * 12
    assert sum(int(row["charge"]) for row in rows) == sum(
        harness.charge_pico(entry["usage"]) for entry in ledger if entry["credential"] == "0002")


@EVERY_UPSTREAM
def test_a_lower_priority_serves_when_the_first_is_down(sim, start_gateway, upstream):
    dead = harness.free_port()
    sections = {
        "upstreams": [
            {"name": "dead", "dialect": upstream, "base_url": f"http://127.0.0.1:{dead}",
             "credentials": [{"name": "c", "secret": "env:TEST_UPSTREAM_SECRET"}]},
            *harness.upstreams(sim.url)],
        "models": [{"name": "m", "price": harness.PRICE, "targets": [
            {"upstream": "dead", "model": "x", "priority": 1}, {"upstream": "up-gemini", "model": "plain", "priority": 2}]}],
    }
    gateway = start_gateway(sections)
    for stream in (False, True):
        reply = gateway.ask("anthropic", "m", stream=stream)
        assert reply.status_code == 200
        assert reply.headers["x-tallygate-upstream"] == "up-gemini"
        assert wire.read("anthropic", reply.content, stream).finish == "stop"


def test_a_request_the_provider_refuses_is_not_tried_again(gate, sim):
    """A 400 is the caller's: the next credential would say the same."""
    since = sim.last_seq()
    body = wire.request("anthropic", "via-anthropic", "hello")
    body["messages"] = [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]}]
    reply = gate.http.post("/v1/messages", json=body, headers=wire.auth("anthropic", harness.TENANT_KEY))
    assert reply.status_code == 400
    assert "toolu_1" in reply.json()["error"]["message"]
    assert len(sim.ledger(since)) == 1


def test_weights_share_the_load(sim, start_gateway):
    models = [{"name": "m", "price": harness.PRICE, "targets": [
        {"upstream": "up-anthropic", "model": "nine", "weight": 9}, {"upstream": "up-gemini", "model": "one", "weight": 1}]}]
    gateway = start_gateway({"upstreams": harness.upstreams(sim.url), "models": models})
    since = sim.last_seq()
    for _ in range(200):
        assert gateway.ask("openai-chat", "m").status_code == 200
    share = sum(entry["model"] == "nine" for entry in sim.ledger(since))
    assert 160 <= share <= 196
