"""The same loops of tool calls through the official SDKs for Node: one process runs all shapes of one SDK and upstream."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import harness
import wire
from sdk import loops
from sdk.judge import UPSTREAMS, check

SCRIPT = Path(__file__).resolve().parent.parent / "node" / "loops.mjs"
USAGE = {"openai-chat": wire.openai_usage, "openai-responses": wire.openai_usage, "anthropic": wire.anthropic_usage,
         "gemini": wire.gemini_usage}

pytestmark = pytest.mark.skipif(
    not (SCRIPT.parent / "node_modules").is_dir() or not shutil.which("node"),
    reason="tests/node has no packages installed; tests/setup.sh installs them")


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", wire.DIALECTS)
def test_loops_run_to_their_end(loop_gate, quick_sim, client, upstream):
    runs = [{"model": f"loop-{upstream}", "streamed": streamed, "keeps": keeps}
            for streamed in (False, True) for keeps in (True, False)]
    asked = {"sdk": client, "base_url": loop_gate.url, "key": harness.TENANT_KEY, "runs": runs, "script": loops.SCRIPT,
             "results": loops.RESULTS, "parameters": loops.PARAMETERS, "follow_up": loops.FOLLOW_UP}
    since = quick_sim.last_seq()
    done = subprocess.run(["node", SCRIPT, json.dumps(asked)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(runs)
    entries = quick_sim.ledger(since)
    for run, answer in zip(runs, answers):
        assert "error" not in answer, (run, answer, [entry["refusal"] for entry in entries if entry["refusal"]])
        loop = loops.Loop(calls=[tuple(call) for call in answer["calls"]], texts=answer["texts"], thoughts=answer["thoughts"],
                          usages=[USAGE[client](usage) for usage in answer["usages"]])
        # The run's last question is its fourth that was served.
        served = [at for at, entry in enumerate(entries) if entry["status"] == 200]
        assert len(served) >= 4, (run, entries)
        check(client, upstream, run["keeps"], loop, entries[:served[3] + 1])
        entries = entries[served[3] + 1:]
    assert entries == []
