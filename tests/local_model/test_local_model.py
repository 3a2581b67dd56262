"""A real model server as the last resort: the upstream is down, and the house's own model answers, marked and priced."""

import json
import os
import subprocess
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

import harness
import wire

PYTHON = os.environ.get("TALLYGATE_LOCAL_MODEL_PYTHON")
# The model is a base model without a chat template: what it says is poor, what it counts is true.
HOUSE_PRICE = {"currency": "USD", "input": "0.110003", "cache_read": "0.010007", "output": "0.370011"}
ANSWER_TOKENS = 12
ANSWER_SECONDS = 300

pytestmark = pytest.mark.skipif(PYTHON is None, reason="no local model: tests/local_model/run.sh sets one up")


@pytest.fixture(scope="module")
def house():
    """The model server. It is loaded in some seconds."""
    folder = Path(PYTHON).absolute().parents[2]
    port = harness.free_port()
    server = subprocess.Popen(
        [PYTHON, str(Path(__file__).with_name("server.py")), str(folder / "model"), str(port)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    url = f"http://127.0.0.1:{port}"

    def is_up():
        assert server.poll() is None, "the model server ended"
        try:
            return httpx.get(url + "/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    harness.wait_for("the local model", is_up, seconds=120, pause=0.2)
    yield url
    server.stdin.close()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def gateway(house, session_folder):
    os.environ.setdefault("TEST_UPSTREAM_SECRET", "sk-upstream-0001")
    dead = harness.free_port()
    folder = session_folder / "local-model"
    folder.mkdir()
    sections = {
        "upstreams": [
            {"name": "main", "dialect": "openai-chat", "base_url": f"http://127.0.0.1:{dead}/v1",
             "credentials": [{"name": "c", "secret": "env:TEST_UPSTREAM_SECRET"}]},
            {"name": "house", "dialect": "openai-chat", "base_url": house + "/v1", "local": True}],
        "models": [
            {"name": "smart", "price": harness.PRICE, "targets": [
                {"upstream": "main", "model": "far-away", "priority": 1},
                {"upstream": "house", "model": "gemma", "priority": 2, "price_model": "house-gemma",
                 "capabilities": {"context_tokens": 2048, "images": False, "documents": False, "tools": False}}]},
            {"name": "house-gemma", "price": HOUSE_PRICE, "targets": [{"upstream": "house", "model": "gemma"}]}],
    }
    running = harness.Gateway(folder, sections)
    running.http = httpx.Client(base_url=running.url, timeout=ANSWER_SECONDS, trust_env=False)
    yield running
    running.stop()


def charge(row) -> int:
    """What the house's price makes of a record's tokens; what has no price of its own costs as the text beside it."""
    price = {name: Decimal(HOUSE_PRICE[name]) * 1_000_000 for name in ("input", "cache_read", "output")}
    output = int(row["output_text"]) + int(row["output_reasoning"])
    return int(int(row["input_uncached"]) * price["input"] + int(row["input_cache_read"]) * price["cache_read"]
               + output * price["output"])


def counted(raw: dict) -> tuple[int, int]:
    """Input and output as the model server itself said them."""
    return raw["prompt_tokens"], raw["completion_tokens"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("dialect", wire.DIALECTS)
def test_the_house_answers_when_the_upstream_is_down(gateway, dialect, stream):
    before = len(gateway.rows())
    reply = gateway.ask(dialect, "smart", "The capital of France is", stream=stream, max_tokens=ANSWER_TOKENS)
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-tallygate-fallback"] == "local"
    assert reply.headers["x-tallygate-upstream"] == "house"
    answer = wire.read(dialect, reply.content, stream)
    row = gateway.wait_for_rows(before + 1)[-1]
    assert (row["outcome"], row["usage_source"], row["model"]) == ("ok", "provider", "smart")
    said = json.loads(raw_usage(gateway, row["request_id"]))
    prompt, completion = counted(said)
    inputs = int(row["input_uncached"]) + int(row["input_cache_read"])
    outputs = int(row["output_text"]) + int(row["output_reasoning"])
    assert (inputs, outputs) == (prompt, completion)
    assert 0 < completion <= ANSWER_TOKENS
    assert sum(answer.usage.values()) == prompt + completion
    assert int(row["charge"]) == charge(row) > 0
    if not stream:
        assert Decimal(reply.headers["x-tallygate-cost"]) * 10**12 == charge(row)
    print(f"\n  {dialect:16} {'streamed' if stream else 'plain':8} {prompt} tokens in, {completion} out, {row['charge']} pico", end="")


def raw_usage(gateway, request_id) -> str:
    import sqlite3

    with sqlite3.connect(f"file:{gateway.store_url.removeprefix('sqlite:')}?mode=ro", uri=True) as db:
        return db.execute("SELECT raw_usage FROM usage_records WHERE request_id = ?", [bytes.fromhex(request_id)]).fetchone()[0]


def test_asked_for_itself_it_is_no_fallback(gateway):
    reply = gateway.ask("openai-chat", "house-gemma", "Once upon a time", max_tokens=ANSWER_TOKENS)
    assert reply.status_code == 200, reply.text
    assert "x-tallygate-fallback" not in reply.headers
