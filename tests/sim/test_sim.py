"""The simulated providers themselves: their answers are valid by the vendors' strict schemas, and agree with their ledger."""

import json

import pytest

import schemas
import wire

needs_specs = pytest.mark.skipif(schemas.shared() is None, reason="no folder shared/specs beside the project")

SHAPES = {
    "text": {"text": "hello there"},
    "long": {"text": "words=60 " + "x" * 400},
    "capped": {"text": "words=60", "max_tokens": 5},
    "tool": {"text": "use the tool", "tools": ["weather"]},
    "parallel": {"text": "use the tool, parallel", "tools": ["weather", "clock"]},
    "image": {"text": "look", "image": True},
}


def ask(sim, dialect, model, stream, shape):
    body = wire.request(dialect, model, stream=stream, **shape)
    return sim.post(wire.path(dialect, model, stream), headers=wire.auth(dialect, "sk-sim-key-0001"), json=body)


@needs_specs
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", ["plain", "plain-thinking"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", wire.DIALECTS)
def test_answers_are_valid_by_the_strict_schema(sim, dialect, stream, model, shape):
    reply = ask(sim, dialect, model, stream, SHAPES[shape])
    assert reply.status_code == 200, reply.text
    for event in wire.read(dialect, reply.content, stream).events:
        assert schemas.problems(dialect, event, stream_event=stream) == [], event


@pytest.mark.parametrize("shape", ["text", "long", "tool"])
@pytest.mark.parametrize("dialect", wire.DIALECTS)
def test_whole_and_streamed_answers_say_the_same_and_cost_what_the_ledger_says(sim, dialect, shape):
    whole = wire.read(dialect, ask(sim, dialect, "plain-thinking", False, SHAPES[shape]).content, False)
    streamed = wire.read(dialect, ask(sim, dialect, "plain-thinking", True, SHAPES[shape]).content, True)
    for name in ("text", "calls", "usage", "finish"):
        assert getattr(whole, name) == getattr(streamed, name)
    entry = sim.ledger()[-1]["usage"]
    told = {
        "input": entry["input_uncached"], "cache_read": entry["input_cache_read"],
        "cache_write": entry["input_cache_write_5m"] + entry["input_cache_write_1h"],
        "output": entry["output_text"], "reasoning": entry["output_reasoning"],
    }
    assert streamed.usage == {name: count for name, count in told.items() if count}


@needs_specs
@pytest.mark.parametrize("fault", ["401", "404", "429", "500", "503", "529", "quota"])
@pytest.mark.parametrize("dialect", wire.DIALECTS)
def test_errors_have_the_vendors_shape(sim, dialect, fault):
    reply = ask(sim, dialect, f"sim-{fault}", False, SHAPES["text"])
    assert reply.status_code >= 400
    assert schemas.error_problems(dialect, json.loads(reply.content)) == []
