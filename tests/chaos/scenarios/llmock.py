"""L1 to L3: an upstream that nobody here wrote, with faults of its own and a judgement of our manners as its client."""

import sys
from pathlib import Path

import httpx

import harness
import load
from rig import Rig, alive, demand, scenario

BIN = Path(sys.executable).parent / "llmock"
SHOWN_FINDINGS = 3


class Llmock:
    def __init__(self, rig: Rig, *options):
        port = harness.free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = rig.add(harness.Process(
            [BIN, "serve", "--host", "127.0.0.1", "--port", port, "--log-level", "warning", *options], rig.folder, f"llmock-{port}"))
        harness.wait_for("llmock", self._verdict)

    def _verdict(self) -> dict | None:
        try:
            return httpx.get(self.url + "/_llmock/verdict", trust_env=False).json()
        except httpx.TransportError:
            return None

    def verdict(self, *excused: str) -> str:
        """What it says of its client; raises what is an error and not excused."""
        said = self._verdict()
        wrong = [finding for finding in said["findings"] if finding["severity"] == "error" and finding["code"] not in excused]
        shown = "; ".join(f"{finding['code']}: {finding['title']}" for finding in wrong[:SHOWN_FINDINGS])
        demand(not wrong, f"llmock: {len(wrong)} errors: {shown}")
        return (f"verdict: {'passed' if said['passed'] else 'passed but for ' + ', '.join(excused)}, {said['calls']} calls in "
                f"{said['attempts']} attempts, {said['faults_injected']} faults, {said['warnings']} warnings")


def before(rig: Rig, mock: Llmock, keys=3) -> harness.Gateway:
    return rig.gateway([rig.upstream("llmock", mock.url, secrets=[rig.secret() for _ in range(keys)])])


@scenario("L1", "llmock: 2 % 503, 2 % 500, one key", "tried elsewhere within the budget", "success >= 99 %, attempts <= 1.1 x, verdict passed")
def errors(rig: Rig) -> str:
    mock = Llmock(rig, "--error-rate", "503=0.02", "--error-rate", "500=0.02")
    # With a second key a failover would be right and look to llmock, which sees no keys, like impatience.
    gateway = before(rig, mock, keys=1)
    log = rig.load(gateway, 400, 20, lambda n: load.Ask(stream=n % 2 == 0, text=f"hello {n}"))
    demand(log.success >= 99, f"success {log.success:.1f} %: {log.errors()}")
    attempts = log.attempts()
    demand(attempts <= 1.1 * len(log), f"{attempts} attempts for {len(log)} requests")
    alive(gateway)
    return f"success {log.success:.1f} %, {attempts} attempts for {len(log)} requests; {mock.verdict()}"


@scenario("L2", "llmock: streams cut, stalled, malformed", "whole, or an error event", "I7: none looks whole that is not")
def streams(rig: Rig) -> str:
    mock = Llmock(rig, "--stream-fault", "disconnect=0.05", "--stream-fault", "truncate=0.05", "--stream-fault", "malformed=0.05",
                  "--stream-fault", "stall=0.03", "--stream-stall-seconds", "30", "--response-style", "echo")
    gateway = before(rig, mock)
    log = rig.load(gateway, 300, 30, lambda n: load.Ask(("openai-chat", "anthropic", "gemini")[n % 3], stream=True, text=f"hello {n}"))
    silent = [record for record in log if not record.ok and not record.error]
    demand(not silent, f"{len(silent)} streams ended early without a word: {silent and silent[0].body[-200:]!r}")
    cut = [record for record in log if record.error.startswith("transport")]
    demand(not cut, f"{len(cut)} streams were cut: {cut and cut[0].error}")
    # What its client has of a stream cannot be taken back: the error event hands the decision to retry to it.
    told = mock.verdict("truncated_stream_accepted", "disconnect_accepted", "malformed_stream_accepted", "stall_tolerated")
    broken = [record for record in log if not record.ok]
    demand(broken, "nothing met the fault")
    wrong = [record for record in log if record.ok and f"hello {record.n}" not in record.text()]
    demand(not wrong, f"{len(wrong)} streams look whole and are not: {wrong and wrong[0].text()!r}")
    alive(gateway)
    return f"{log.ok} of {len(log)} whole, {len(broken)} with an error event; {told}"


@scenario("L3", "llmock: 40 requests a minute", "limit headers and Retry-After are kept", "verdict passed, refusals only 429")
def rates(rig: Rig) -> str:
    mock = Llmock(rig, "--rpm", "40")
    gateway = before(rig, mock, keys=1)
    log = rig.load(gateway, 300, 10)
    demand(set(log.statuses()) <= {200, 429}, f"clients got {dict(log.statuses())}: {log.errors()}")
    demand(log.ok >= 40 * 0.9, f"only {log.ok} of the 40 that the key allows were served")
    waits = [record for record in log if record.status == 429 and int(record.headers.get("retry-after", 0)) < 1]
    demand(not waits, f"a 429 with Retry-After {waits and waits[0].headers.get('retry-after')}: {waits and waits[0].error}")
    alive(gateway)
    return f"{log.ok} served, {log.statuses()[429]} refused with Retry-After; {mock.verdict()}"
