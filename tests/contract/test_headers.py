"""What every answer tells in its headers."""

import re
from decimal import Decimal

import pytest

import harness
import wire

EVERY_DIALECT = pytest.mark.parametrize("dialect", wire.DIALECTS)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@EVERY_DIALECT
def test_headers_of_an_answer(gate, sim, dialect, stream):
    reply = gate.ask(dialect, "via-anthropic", stream=stream)
    headers = reply.headers
    assert headers["x-request-id"] == headers["request-id"]
    assert headers["x-tallygate-upstream"] == "up-anthropic"
    assert headers["x-tallygate-model"] == "plain"
    assert headers["x-tallygate-attempts"] == "1"
    assert float(headers["x-tallygate-overhead-ms"]) >= 0
    assert "anthropic-organization-id" not in headers, "the upstream's account shows"
    assert headers.get("x-tallygate-upstream-request-id", "req_sim").startswith("req_sim")
    if not stream:
        entry = sim.ledger()[-1]
        [row] = harness.wait_for("the record", lambda: gate.rows(f"upstream_request_id = '{entry['request_id']}'"), 10)
        cost = re.match(r"[0-9.]+", headers["x-tallygate-cost"]).group()
        assert Decimal(cost) * 10**12 == int(row["charge"]) == harness.charge_pico(row)


def test_a_callers_request_id_is_echoed(gate):
    reply = gate.ask("openai-chat", "via-gemini", headers={"x-request-id": "my-own-id-7"})
    assert reply.headers["x-request-id"]
    assert reply.status_code == 200


@EVERY_DIALECT
def test_what_a_translation_loses_is_said(gate, dialect):
    """`seed` and `top_k` are known to some dialects only: never dropped in silence."""
    body = wire.request(dialect, "via-anthropic", "hello")
    if dialect == "openai-chat":
        body |= {"seed": 7, "logprobs": True}
    elif dialect == "openai-responses":
        body |= {"top_logprobs": 3, "truncation": "auto"}
    elif dialect == "gemini":
        body["generationConfig"] |= {"seed": 7}
    else:
        pytest.skip("the same dialect loses nothing")
    reply = gate.http.post(wire.path(dialect, "via-anthropic", False), json=body, headers=wire.auth(dialect, harness.TENANT_KEY))
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-tallygate-loss"]


def test_the_upstream_gets_its_own_credential_only(gate, sim):
    for dialect in wire.DIALECTS:
        for upstream in wire.DIALECTS:
            assert gate.ask(dialect, f"via-{upstream}").status_code == 200
            arrived = dict(sim.last_request()["headers"])
            secrets = {name: arrived[name] for name in ("authorization", "x-api-key", "x-goog-api-key") if name in arrived}
            own = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}.get(upstream, "authorization")
            assert secrets == {own: "…0001"}, (dialect, upstream)
            assert harness.TENANT_KEY not in str(arrived)


def test_unknown_fields_survive_in_the_same_dialect(gate, sim):
    body = wire.request("anthropic", "via-anthropic", "hello") | {"brand_new_field": {"deep": [1, 2.50, None]}}
    assert gate.http.post("/v1/messages", json=body, headers=wire.auth("anthropic", harness.TENANT_KEY)).status_code == 200
    assert '"brand_new_field":{"deep":[1,2.5,null]}' in sim.last_request()["body"]


@pytest.mark.parametrize("path", ["/v1/v1/chat/completions", "/chat/completions", "/openai/v1/chat/completions",
                                  "/v1/chat/completions/", "//v1/chat/completions"])
def test_paths_are_tolerated(gate, path):
    body = wire.request("openai-chat", "via-gemini", "hello")
    reply = gate.http.post(gate.url + path, json=body, headers=wire.auth("openai-chat", harness.TENANT_KEY))
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("headers", [
    {"authorization": f"Bearer {harness.TENANT_KEY}"}, {"x-api-key": harness.TENANT_KEY}, {"x-goog-api-key": harness.TENANT_KEY},
    {"api-key": harness.TENANT_KEY}], ids=lambda headers: next(iter(headers)))
@EVERY_DIALECT
def test_a_key_is_taken_from_any_vendors_header(gate, dialect, headers):
    body = wire.request(dialect, "via-openai-chat", "hello")
    assert gate.http.post(wire.path(dialect, "via-openai-chat", False), json=body, headers=headers).status_code == 200


def test_two_different_keys_are_refused(gate):
    headers = {"authorization": f"Bearer {harness.TENANT_KEY}", "x-api-key": harness.OTHER_KEY}
    body = wire.request("openai-chat", "via-openai-chat", "hello")
    assert gate.http.post("/v1/chat/completions", json=body, headers=headers).status_code == 401


def test_a_gemini_json_array_stream(gate):
    """Without alt=sse the stream is one JSON array."""
    for upstream in wire.DIALECTS:
        body = wire.request("gemini", f"via-{upstream}", "words=50")
        reply = gate.http.post(
            f"/v1beta/models/via-{upstream}:streamGenerateContent", json=body, headers=wire.auth("gemini", harness.TENANT_KEY))
        answer = wire.read("gemini", reply.content, True)
        assert (len(answer.text.split()), answer.finish) == (50, "stop")


def test_metrics_and_probes(gate):
    import httpx

    assert gate.ask("openai-chat", "via-anthropic").status_code == 200
    metrics = httpx.get(gate.metrics_url + "/metrics", trust_env=False).text
    assert "tallygate_" in metrics
    assert httpx.get(gate.metrics_url + "/healthz", trust_env=False).status_code == 200
