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
        loop = loops.RUN[client](loop_gate.url, f"loop-{upstream}", streamed, keeps)
    except Exception as error:
        refused = [entry["refusal"] for entry in quick_sim.ledger(since) if entry["refusal"]]
        raise AssertionError(f"the upstream refused: {refused}") from error
    check(client, upstream, keeps, loop, quick_sim.ledger(since))
