"""The vendors' own agents, headless and unchanged, before upstreams of every dialect.

Each works in a folder and a home of its own: the simulator scripts a task of two steps (write a file, read it), the agent runs
the tools, answers, and is then asked again in the same session. The file, the answer, the upstream's books and the gateway's
records say whether it went well; an upstream's refusal, or reasoning that did not come back, is a failure.
"""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import harness
import wire
from sdk.judge import UPSTREAMS

BIN = Path(__file__).resolve().parent / "node_modules" / ".bin"
CONTENT = "made by an agent"
AGENT_SECONDS = 120
FOLLOW_UP = "words=5"


@dataclass
class Agent:
    """How an agent is set up and asked; `home` and `work` are its folders."""

    binary: str
    # Tool and arguments of each step; WORK stands for the folder.
    script: list
    environment: callable
    first: callable
    again: callable
    answer: callable


def _claude_environment(home, url, model):
    return {
        "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": harness.TENANT_KEY, "ANTHROPIC_MODEL": model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": model, "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1", "DISABLE_ERROR_REPORTING": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def _claude(prompt, model, *options):
    return ["-p", prompt, *options, "--output-format", "json", "--allowedTools", "Write", "Read"]


def _codex_environment(home, url, model):
    (home / ".codex").mkdir(exist_ok=True)
    (home / ".codex" / "config.toml").write_text(harness.toml_document({
        "analytics": {"enabled": False},
        "model_providers.gate": {"name": "gate", "base_url": f"{url}/v1", "env_key": "GATE_KEY", "wire_api": "responses"},
    }))
    return {"GATE_KEY": harness.TENANT_KEY}


def _codex(prompt, model, *command):
    settings = ["-c", f"model={model}", "-c", "model_provider=gate", "-c", "check_for_update_on_startup=false",
                "-c", "model_reasoning_summary=detailed", "-c", "sandbox_mode=danger-full-access"]
    return ["exec", *command, "--skip-git-repo-check", "--json", *settings, prompt]


def _codex_answer(output):
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    return [item["text"] for item in items if item["type"] == "agent_message"][-1]


def _gemini_environment(home, url, model):
    (home / ".gemini").mkdir(exist_ok=True)
    (home / ".gemini" / "settings.json").write_text(json.dumps({
        "security": {"auth": {"selectedType": "gemini-api-key"}}, "telemetry": {"enabled": False},
        "privacy": {"usageStatisticsEnabled": False}, "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
    }))
    return {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": harness.TENANT_KEY}


def _gemini(prompt, model, *options):
    return ["--skip-trust", "--yolo", "-m", model, "--output-format", "json", *options, "-p", prompt]


FILES = {"file_path": "WORK/hello.txt"}
AGENTS = {
    "claude": Agent("claude", [["Write", {**FILES, "content": CONTENT}], ["Read", FILES]], _claude_environment, _claude,
                    lambda prompt, model: _claude(prompt, model, "--continue"), lambda output: json.loads(output)["result"]),
    "codex": Agent("codex", [["exec_command", {"cmd": f"printf '{CONTENT}' > hello.txt"}], ["exec_command", {"cmd": "cat hello.txt"}]],
                   _codex_environment, _codex, lambda prompt, model: _codex(prompt, model, "resume", "--last"), _codex_answer),
    "gemini": Agent("gemini", [["write_file", {**FILES, "content": CONTENT}], ["read_file", FILES]], _gemini_environment, _gemini,
                    lambda prompt, model: _gemini(prompt, model, "--resume", "latest"), lambda output: json.loads(output)["response"]),
}


def run(agent, arguments, home, work, environment):
    """Runs an agent in an environment that has nothing but what it needs."""
    plain = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "NO_PROXY": "*", "TERM": "dumb"}
    return subprocess.run([BIN / agent.binary, *arguments], cwd=work, env={**plain, **environment}, capture_output=True,
                          text=True, timeout=AGENT_SECONDS, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module", params=AGENTS)
def agent(request, session_folder):
    """Each agent that runs on this machine; one that does not is skipped with its own words."""
    found = AGENTS[request.param]
    if not shutil.which("node") or not (BIN / found.binary).exists():
        pytest.skip(f"{request.param} is not installed; tests/setup.sh installs it")
    home = session_folder / f"version-{request.param}"
    home.mkdir(exist_ok=True)
    done = run(found, ["--version"], home, home, {})
    if done.returncode:
        pytest.skip(f"{request.param} does not run here: {(done.stderr or done.stdout).strip()[-500:]}")
    return found


@pytest.mark.parametrize("upstream", [name for name in UPSTREAMS if name != "anthropic-budget"])
def test_an_agent_does_a_task_and_goes_on(agent, upstream, loop_gate, quick_sim, folder):
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    model = f"loop-{upstream}"
    steps = [[[tool, arguments]] for tool, arguments in json.loads(json.dumps(agent.script).replace("WORK", str(work)))]
    environment = agent.environment(home, loop_gate.url, model)
    since, records = quick_sim.last_seq(), len(loop_gate.rows())

    done = run(agent, agent.first(f"Do this: sim-script={json.dumps(steps)} and say so.", model), home, work, environment)
    entries = quick_sim.ledger(since)
    refused = [entry["refusal"] for entry in entries if entry["status"] != 200]
    assert done.returncode == 0, (refused, done.stdout[-2000:], done.stderr[-2000:])
    assert refused == []
    assert (work / "hello.txt").read_text() == CONTENT
    answer = agent.answer(done.stdout)
    assert answer.startswith("The tools answered: ") and CONTENT in answer
    assert [entry["returned"] for entry in entries] == [{"kept": kept, "missing": 0, "sentinels": 0} for kept in range(3)]

    done = run(agent, agent.again(FOLLOW_UP, model), home, work, environment)
    entries = quick_sim.ledger(since)
    assert done.returncode == 0, ([entry["refusal"] for entry in entries if entry["refusal"]], done.stdout[-2000:], done.stderr[-2000:])
    assert len(agent.answer(done.stdout).split()) == 5
    assert [entry["status"] for entry in entries] == [200] * 4
    assert {entry["dialect"] for entry in entries} == {UPSTREAMS[upstream][0]}

    rows = loop_gate.wait_for_rows(records + 4)[records:]
    assert [(row["model"], row["outcome"]) for row in rows] == [(model, "ok")] * 4
    for name in harness.USAGE_CLASSES:
        assert sum(row[name] for row in rows) == sum(entry["usage"].get(name, 0) for entry in entries), name
