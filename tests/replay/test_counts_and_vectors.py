"""Recorded token counts and embeddings: in the vendor's own dialect byte for byte, in another the same numbers."""

import array
import base64
import json

import pytest

import harness
import schemas
import wire
from replay import cases

COUNTS = [case for case in cases.every_case(cases.COUNTERS) if case.status == 200]
# Answered with one signed byte a dimension, which only that vendor's clients can read.
OWN_BYTES = "openai-compat-embeddings/ruby-llm-b088ffca"
# `embedContent` answers for one text; a client of another dialect sends a list.
SINGLE = "vertex-gemini-embeddings/pydantic-ai-e3504d42"
VECTORS = [case for case in cases.every_case(cases.EMBEDDERS) if case.status == 200]
NONE = [pytest.param(None, None, id="none", marks=pytest.mark.skip(reason="no folder shared/traffic beside the project"))]
COUNT_PATHS = {
    "openai-responses": "/v1/responses/input_tokens", "anthropic": "/v1/messages/count_tokens",
    "gemini": "/v1beta/models/{model}:countTokens",
}


def pairs(found, dialects):
    return [pytest.param(case, dialect, id=f"{case.name} -> {dialect}") for case in found for dialect in dialects] or NONE


def post(gate, dialect, path, body):
    reply = gate.http.post(path, json=body, headers=wire.auth(dialect, harness.TENANT_KEY))
    assert reply.status_code == 200, reply.text
    return reply


@pytest.mark.parametrize(("case", "dialect"), pairs(COUNTS, COUNT_PATHS))
def test_recorded_count(replay_gate, case, dialect):
    recorded = case.load()
    vendor = recorded["response"]["body"]
    body = recorded["request"]["body"] if dialect == case.dialect else wire.request(dialect, case.model, "hello")
    for field in ("max_tokens", "generationConfig"):
        body.pop(field, None)
    if dialect != "gemini":
        body["model"] = case.model
    reply = post(replay_gate, dialect, COUNT_PATHS[dialect].format(model=case.model), body)
    if dialect == case.dialect:
        assert reply.json() == vendor
    told = reply.json().get("input_tokens", reply.json().get("totalTokens"))
    assert told == vendor.get("input_tokens", vendor.get("totalTokens"))
    assert "x-tallygate-estimated" not in reply.headers


def vectors(dialect, body) -> list[list[float]]:
    """The vectors of an answer as single precision, which is what base64 holds."""
    if dialect == "gemini":
        found = [item["values"] for item in (body["embeddings"] if "embeddings" in body else [body["embedding"]])]
    else:
        found = [item["embedding"] for item in body["data"]]
    return [list(array.array("f", base64.b64decode(one) if isinstance(one, str) else one)) for one in found]


@pytest.mark.parametrize(("case", "dialect"), pairs(VECTORS, ["openai-chat", "gemini"]))
def test_recorded_vectors(replay_gate, case, dialect):
    recorded = case.load()
    vendor, path = recorded["response"]["body"], recorded["request"]["path"]
    if dialect != case.dialect and case.name == SINGLE:
        pytest.skip("the recording answers another path than the one that would be asked")
    if dialect != case.dialect and case.name == OWN_BYTES:
        reply = replay_gate.http.post(f"/v1beta/models/{case.model}:embedContent", json={"content": {"parts": [{"text": "hello"}]}},
                                      headers=wire.auth(dialect, harness.TENANT_KEY))
        assert reply.status_code == 502, reply.text
        return
    if dialect == case.dialect == "gemini":
        path = f"/v1beta/models/{case.model}:{path.split('?')[0].rsplit(':', 1)[1]}"
        reply = post(replay_gate, dialect, path, recorded["request"]["body"])
    elif dialect == case.dialect:
        reply = post(replay_gate, dialect, "/v1/embeddings", {**recorded["request"]["body"], "model": case.model})
    elif dialect == "gemini":
        path = f"/v1beta/models/{case.model}:batchEmbedContents"
        contents = [{"model": f"models/{case.model}", "content": {"parts": [{"text": "hello"}]}} for _ in vectors(case.dialect, vendor)]
        reply = post(replay_gate, dialect, path, {"requests": contents})
        assert [error.message for error in schemas.validator("gemini-proto", "BatchEmbedContentsResponse").iter_errors(reply.json())] == []
    else:
        reply = post(replay_gate, dialect, "/v1/embeddings", {"model": case.model, "input": ["hello"] * len(vectors(case.dialect, vendor))})
        assert [error.message for error in schemas.validator("openai", "CreateEmbeddingResponse").iter_errors(reply.json())] == []
    if dialect == case.dialect:
        assert reply.json() == vendor
        return
    assert vectors(dialect, reply.json()) == vectors(case.dialect, vendor)
