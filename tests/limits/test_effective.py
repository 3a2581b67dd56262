"""`limits effective` and `key rotate`: what the command line says of a key's caps, with and without a server, and its new text."""

import json

import pytest

import harness

KEY = "test-key-of-tenant-limited-01"
TENANT = {
    "name": "limited", "limits": {"requests_per_minute": 60, "concurrency": 7}, "projects": [{"name": "web"}],
    "keys": [{"name": "ci", "secret": "env:TEST_LIMITED_KEY", "project": "web", "limits": {"requests_per_minute": 30}}],
    "budget": {"amount": "25", "currency": "USD", "period": "month"},
    "budgets": [
        {"scope": "project:web", "period": "day", "amount": "5", "currency": "USD"},
        {"scope": "model:via-anthropic", "period": "day", "amount": "3", "currency": "USD", "mode": "soft"},
    ],
}


@pytest.fixture
def gateway(sim, start_gateway):
    models = [harness.model(f"via-{dialect}", dialect, "plain") for dialect in ("openai-chat", "anthropic")]
    tenants = [TENANT, {"name": "acme", "keys": [{"name": "k", "secret": "env:TEST_ACME_KEY"}]}]
    return start_gateway({"upstreams": harness.upstreams(sim.url), "models": models, "tenants": tenants},
                         env={"TEST_LIMITED_KEY": KEY})


def caps(told) -> dict:
    return {(limit["scope"], limit["dimension"]): limit for limit in told["limits"]}


def test_every_cap_with_and_without_a_server(gateway, monkeypatch):
    monkeypatch.setenv("TEST_ADMIN_TOKEN", gateway.admin_token("auditor"))
    assert gateway.ask("openai-chat", "via-openai-chat", key=KEY).status_code == 200
    where = ("--server", gateway.admin_url, "--token", "env:TEST_ADMIN_TOKEN")
    told = json.loads(gateway.cli("limits", "effective", "--json", "--key", "ci", *where))
    assert told["is_live"] and told["key"]["name"] == "ci" and told["key"]["project"] == "web"
    limits = caps(told)
    assert (limits["tenant", "requests"]["limit"], limits["tenant", "requests"]["used"]) == (60, 1)
    assert (limits["key", "requests"]["limit"], limits["key", "requests"]["remaining"]) == (30, 29)
    assert (limits["tenant", "concurrency"]["limit"], limits["tenant", "concurrency"]["used"]) == (7, 0)
    assert [(budget["scope"], budget["amount"]) for budget in told["budgets"]] == [("tenant", "25"), ("project", "5"), ("model", "3")]
    other = json.loads(gateway.cli("limits", "effective", "--json", "--key", told["key"]["id"], "--model", "via-openai-chat", *where))
    assert [budget["scope"] for budget in other["budgets"]] == ["tenant", "project"]
    text = gateway.cli("limits", "effective", "--key", "ci", "--tenant", "limited", *where)
    assert "30 a minute; 1 used, 29 left" in text and "25 USD a month; 0" in text, text

    gateway.stop()
    alone = json.loads(gateway.cli("limits", "effective", "--json", "--key", "ci"))
    assert not alone["is_live"]
    assert {name: cap["limit"] for name, cap in caps(alone).items()} == {name: cap["limit"] for name, cap in limits.items()}
    assert {cap["used"] for cap in alone["limits"]} == {None}
    assert {(budget["scope"], budget["amount"], budget["spent"]) for budget in alone["budgets"]} == {
        ("tenant", "25", None), ("project", "5", None), ("model", "3", None)}


def test_who_cannot_be_told_apart_is_asked_for(gateway):
    gateway.stop()
    with pytest.raises(RuntimeError, match="no active key is named `nobody`"):
        gateway.cli("limits", "effective", "--key", "nobody")
    with pytest.raises(RuntimeError, match="--token"):
        gateway.cli("limits", "effective", "--key", "ci", "--server", gateway.admin_url)


def test_a_rotated_key_has_two_texts_for_the_overlap(gateway):
    gateway.stop()
    made = json.loads(gateway.cli("key", "create", "--json", "--tenant", "acme", "--name", "moving"))
    rotated = json.loads(gateway.cli("key", "rotate", "--json", "moving", "--overlap", "24h"))
    assert rotated["id"] == made["id"] and rotated["key"] != made["key"] and rotated["previous_expires_at"]
    once = json.loads(gateway.cli("key", "create", "--json", "--tenant", "acme", "--name", "leaked"))
    replaced = json.loads(gateway.cli("key", "rotate", "--json", once["id"], "--overlap", "0"))
    gateway.start()

    def status(key: str) -> int:
        return gateway.ask("openai-chat", "via-openai-chat", key=key).status_code

    assert (status(made["key"]), status(rotated["key"])) == (200, 200)
    assert (status(once["key"]), status(replaced["key"])) == (401, 200)


def test_a_key_of_the_file_is_rotated_there(gateway):
    gateway.stop()
    with pytest.raises(RuntimeError, match="declared in the configuration file"):
        gateway.cli("key", "rotate", "ci")
    with pytest.raises(RuntimeError, match="24h"):
        gateway.cli("key", "rotate", "ci", "--overlap", "soon")
