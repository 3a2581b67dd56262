"""A hard budget bounds the output: it is spent to its end and not beyond, the last answer is cut, and who is refused learns why."""

import json

import httpx
import pytest

import harness
import wire

KEY = "test-key-of-tenant-capped-001"
APPLIED = "x-tallygate-max-tokens-applied"
BUDGET = "0.01"
BUDGET_PICO = 10**10
ASKED = 300
# The least that a request is cut to.
LEAST = 16
PAIRS = [(dialect, dialect) for dialect in wire.DIALECTS] + [("openai-chat", "anthropic"), ("anthropic", "gemini"), ("gemini", "openai-chat")]


@pytest.fixture
def gateway(quick_sim, start_gateway):
    models = [harness.model(f"via-{dialect}", dialect, "plain") for dialect in wire.DIALECTS]
    budget = {"amount": BUDGET, "currency": "USD", "period": "month"}
    tenants = [{"name": "capped", "keys": [{"name": "ci", "secret": "env:TEST_CAPPED_KEY"}], "budget": budget}]
    return start_gateway({"upstreams": harness.upstreams(quick_sim.url), "models": models, "tenants": tenants},
                         env={"TEST_CAPPED_KEY": KEY})


@pytest.mark.parametrize("client, upstream", PAIRS)
@pytest.mark.parametrize("stream", [False, True])
def test_it_is_spent_to_its_end_and_the_last_answer_is_cut(gateway, client, upstream, stream):
    served = []
    for _ in range(60):
        # More words than the bound admits: whatever is not cut costs all that was set aside for it.
        reply = gateway.ask(client, f"via-{upstream}", "words=600", key=KEY, stream=stream, max_tokens=ASKED)
        if reply.status_code != 200:
            break
        served.append(reply.headers.get(APPLIED))
    assert reply.status_code == 429, reply.text
    *whole, cut = served
    assert set(whole) <= {None, *map(str, range(LEAST, ASKED))} and whole[0] is None
    assert LEAST <= int(cut) < ASKED
    spent = sum(int(row["charge"]) for row in gateway.wait_for_rows(len(served), "outcome = 'ok'"))
    assert spent <= BUDGET_PICO, f"{spent - BUDGET_PICO} pico more than the budget"


def test_who_names_no_bound_gets_one_that_the_budget_pays(gateway, quick_sim):
    body = {"model": "via-openai-chat", "messages": [{"role": "user", "content": "words=6000"}]}
    reply = gateway.http.post("/v1/chat/completions", json=body, headers=wire.auth("openai-chat", KEY))
    assert reply.status_code == 200
    cap = int(reply.headers[APPLIED])
    assert json.loads(quick_sim.last_request()["body"])["max_tokens"] == cap
    [row] = gateway.wait_for_rows(1, "outcome = 'ok'")
    assert int(row["output_text"]) == cap and int(row["charge"]) <= BUDGET_PICO


def test_why_it_was_refused_is_in_its_record(gateway):
    for _ in range(60):
        refused = gateway.ask("openai-chat", "via-openai-chat", "words=600", key=KEY, max_tokens=ASKED)
        if refused.status_code == 429:
            break
    headers = {"authorization": f"Bearer {gateway.admin_token()}"}
    with httpx.Client(base_url=gateway.admin_url + "/admin/v1", trust_env=False, headers=headers) as admin:
        path = f"/requests/{refused.headers['x-request-id']}"
        harness.wait_for("the record of a refused request", lambda: admin.get(path).status_code == 200)
        by = admin.get(path).json()["refused_by"]
        listed = admin.get("/requests", params={"refused_only": True}).json()["data"]
    assert (by["code"], by["scope"], by["subject"], by["dimension"]) == ("insufficient_quota", "tenant", "capped", "spend")
    assert (by["limit"], by["currency"], by["period"]) == (BUDGET, "USD", "month")
    assert by["resets_at"] and "monthly budget of 0.01 USD" in by["explanation"]
    assert [request["id"] for request in listed] == [refused.headers["x-request-id"]]
