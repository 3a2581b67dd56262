"""Loops of tool calls with thinking, through each Python SDK, before strict upstreams of all four dialects.

The simulator refuses a history whose reasoning was lost, forged or moved, where the vendor does, and its books tell what
came back where the vendor lets it pass. So a loop that runs to its end with nothing missing in the books was carried whole.
"""

import pytest

import wire
from sdk import loops
from sdk.judge import UPSTREAMS, check


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", wire.DIALECTS)
def test_a_loop_runs_to_its_end(loop_gate, quick_sim, client, upstream, streamed, keeps):
    since = quick_sim.last_seq()
    try:
        loop = loops.RUN[client](loop_gate.url, [f"loop-{upstream}"], streamed, keeps)
    except Exception as error:
        refused = [entry["refusal"] for entry in quick_sim.ledger(since) if entry["refusal"]]
        raise AssertionError(f"the upstream refused: {refused}") from error
    check(client, upstream, keeps, loop, quick_sim.ledger(since))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("upstream", ["anthropic", "anthropic-budget"])
@pytest.mark.parametrize("client", wire.DIALECTS)
def test_redacted_thinking_comes_back(loop_gate, quick_sim, client, upstream, streamed):
    since = quick_sim.last_seq()
    # A client that knows no redacted thinking drops it; the gateway remembers it.
    keeps = client == "anthropic"
    loop = loops.RUN[client](loop_gate.url, [f"loop-{upstream}"], streamed, keeps, before="sim-redacted ")
    entries = quick_sim.ledger(since)
    assert [entry["refusal"] for entry in entries] == [None] * 4
    assert loop.calls == loops.CALLS
    assert [entry["returned"] for entry in entries] == [{"kept": kept, "missing": 0, "sentinels": 0} for kept in (0, 1, 2, 0)]
    assert "".join(loop.thoughts) == ""


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", wire.DIALECTS)
def test_a_loop_goes_on_with_another_vendors_model(loop_gate, quick_sim, client, streamed, keeps):
    """Each question goes to another vendor: nobody is sent what another signed, and the work is done all the same."""
    since = quick_sim.last_seq()
    models = ["loop-anthropic", "loop-gemini", "loop-openai-responses", "loop-openai-chat"]
    loop = loops.RUN[client](loop_gate.url, models, streamed, keeps)
    entries = quick_sim.ledger(since)
    if not keeps:
        # Before its own vendor what a client dropped may be refused once, and is asked once more.
        entries = [entry for entry in entries if entry["status"] == 200 or entry["dialect"] != client]
    assert [entry["refusal"] for entry in entries] == [None] * 4
    assert [entry["dialect"] for entry in entries] == ["anthropic", "gemini", "openai-responses", "openai-chat"]
    assert loop.calls == loops.CALLS
    for result in loops.RESULTS.values():
        assert result in loop.texts[2]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", wire.DIALECTS)
def test_a_loop_comes_back_to_the_model_that_began_it(loop_gate, quick_sim, client, streamed):
    """Between two questions to one vendor stands one to another: what the first signed goes back to it alone."""
    since = quick_sim.last_seq()
    loop = loops.RUN[client](loop_gate.url, ["loop-gemini", "loop-anthropic"], streamed, True)
    entries = quick_sim.ledger(since)
    assert [entry["refusal"] for entry in entries] == [None] * 4
    assert loop.calls == loops.CALLS
    # The third question brings Gemini's own first step back, signed; the second step was another's.
    assert entries[2]["returned"] == {"kept": 1, "missing": 0, "sentinels": 1}
