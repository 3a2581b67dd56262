"""Loops of tool calls with thinking, through each SDK, before strict upstreams of all four dialects.

The simulator refuses a history whose reasoning was lost, forged or moved, where the vendor does, and its books tell what
came back where the vendor lets it pass. So a loop that runs to its end with nothing missing in the books was carried whole.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import harness
import wire
from sdk import loops

# Upstream -> its dialect, and a model whose vendor is strict about reasoning.
UPSTREAMS = {
    "openai-chat": ("openai-chat", "deepseek-reasoner"),
    "openai-responses": ("openai-responses", "gpt-5.6"),
    "anthropic": ("anthropic", "claude-opus-5-5"),
    "anthropic-budget": ("anthropic", "claude-sonnet-4-5"),
    "gemini": ("gemini", "gemini-3-pro-preview"),
}
NODE = Path(__file__).resolve().parent.parent / "node"


@pytest.fixture(scope="module")
def quick_sim(session_folder):
    running = harness.Sim(session_folder, "--chunk-delay-ms", "0")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def loop_gate(session_folder, quick_sim):
    folder = session_folder / "loops"
    folder.mkdir()
    models = [harness.model(f"loop-{name}", dialect, model) for name, (dialect, model) in UPSTREAMS.items()]
    running = harness.Gateway(folder, {"upstreams": harness.upstreams(quick_sim.url), "models": models})
    yield running
    running.stop()


def by_class(usage: dict) -> dict:
    told = {
        "input": usage["input_uncached"], "cache_read": usage["input_cache_read"],
        "cache_write": usage["input_cache_write_5m"] + usage["input_cache_write_1h"],
        "output": usage["output_text"], "reasoning": usage["output_reasoning"],
    }
    return {name: count for name, count in told.items() if count}


def check(client, upstream, keeps, loop: loops.Loop, entries: list[dict]):
    """The loop came to its end, and the upstream's books say that all its reasoning came back."""
    refused = [entry["refusal"] for entry in entries if entry["status"] != 200]
    assert refused == []
    assert loop.calls == loops.CALLS
    assert loop.texts[0] == "2 steps — here is the first."
    for result in loops.RESULTS.values():
        assert result in loop.texts[2]
    assert len(loop.texts[3].split()) == 5
    assert len(entries) == 4
    assert loop.usages == [by_class(entry["usage"]) for entry in entries]
    if UPSTREAMS[upstream][0] == client and not keeps:
        # What the vendor lets pass is the client's own business.
        return
    returned = [entry["returned"] for entry in entries]
    assert returned == [{"kept": kept, "missing": 0, "sentinels": 0} for kept in (0, 1, 2, 0)]


def refuses(client, upstream, keeps) -> str | None:
    """In the upstream's own dialect a request goes through as it came: the vendor's own refusal of what a client dropped."""
    if keeps:
        return None
    return {("anthropic", "anthropic-budget"): "Expected `thinking` or `redacted_thinking`",
            ("gemini", "gemini"): "missing a thought_signature"}.get((client, upstream))


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", wire.DIALECTS)
def test_a_loop_runs_to_its_end(loop_gate, quick_sim, client, upstream, streamed, keeps):
    since = quick_sim.last_seq()
    refusal = refuses(client, upstream, keeps)
    if refusal:
        with pytest.raises(Exception, match=refusal):
            loops.RUN[client](loop_gate.url, f"loop-{upstream}", streamed, keeps)
        return
    try:
        loop = loops.RUN[client](loop_gate.url, f"loop-{upstream}", streamed, keeps)
    except Exception as error:
        refused = [entry["refusal"] for entry in quick_sim.ledger(since) if entry["refusal"]]
        raise AssertionError(f"the upstream refused: {refused}") from error
    check(client, upstream, keeps, loop, quick_sim.ledger(since))
    # What the upstream showed of its thinking was shown, and nothing else.
    shown = ["This is step 1 of 2. I need weather and clock.", "This is step 2 of 2. I need weather.", "I have 3 results. Nothing is missing."]
    if client != "openai-chat" and (upstream, client) != ("openai-chat", "openai-chat"):
        assert loop.thoughts[:3] == shown
