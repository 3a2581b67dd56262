"""The official SDKs for Node (openai: chat and responses; Anthropic), before upstreams of all four dialects."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import harness
import wire

SCRIPT = Path(__file__).resolve().parent.parent / "node" / "sdk.mjs"
pytestmark = [
    pytest.mark.skipif(not (SCRIPT.parent / "node_modules").is_dir() or not shutil.which("node"),
                       reason="tests/node has no packages installed; tests/setup.sh installs them"),
    pytest.mark.parametrize("sdk", ["chat", "responses", "anthropic"]),
]
EVERY_UPSTREAM = pytest.mark.parametrize("upstream", wire.DIALECTS)


def call(gate, sdk, model, what, key=harness.TENANT_KEY):
    asked = {"sdk": sdk, "base_url": gate.url, "key": key, "model": model, "what": what, "tool": wire.WEATHER, "png": wire.PNG}
    done = subprocess.run(["node", SCRIPT, json.dumps(asked)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@EVERY_UPSTREAM
def test_plain(gate, sdk, upstream):
    answer = call(gate, sdk, f"via-{upstream}", "plain")
    assert answer["text"].startswith('You said: "hello".'), answer
    assert answer["finish"] == {"chat": "stop", "responses": "completed", "anthropic": "end_turn"}[sdk]
    assert answer["total"] > 0


@EVERY_UPSTREAM
def test_streamed(gate, sdk, upstream):
    answer = call(gate, sdk, f"via-{upstream}", "stream")
    assert answer.get("words") == 50, answer
    assert answer["total"] > 0


@EVERY_UPSTREAM
def test_tool_round_trip(gate, sdk, upstream):
    answer = call(gate, sdk, f"via-{upstream}", "tool")
    assert answer.get("arguments") == {"city": "Zürich", "days": 2}, answer
    assert "sunny" in answer["text"]


@EVERY_UPSTREAM
def test_image(gate, sdk, upstream):
    answer = call(gate, sdk, f"via-{upstream}", "image")
    assert f"image/png, {wire.PNG_BYTES} bytes" in answer.get("text", ""), answer


def test_errors(gate, sdk):
    unknown = call(gate, sdk, "no-such-model", "plain")
    assert (unknown["error"], unknown["status"]) == ("NotFoundError", 404)
    assert unknown["request_id"]
    denied = call(gate, sdk, "via-anthropic", "plain", key="not-a-key-of-this-gateway")
    assert (denied["error"], denied["status"]) == ("AuthenticationError", 401)
