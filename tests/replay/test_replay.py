"""Recorded generations through the gateway: each case once in its vendor's own dialect and once in each other.

The simulator replays the vendor's answer. In the same dialect the client must get it byte for byte, and the recorded request
must reach the upstream byte for byte but for the model's name. In another dialect the answer, each event of a stream, must be
valid by that dialect's strict schema and say the same: text, reasoning, tool calls, usage by class. A failure that is not named
in known_failures.txt fails the test; a named one that passes fails too, so that the list stays true.
"""

import json

import pytest

import harness
import schemas
import wire
from replay import cases
from replay.rig import direct, own_request

CASES = cases.all_cases()
KNOWN = cases.known_failures()

if not CASES:
    print("skipped: no folder shared/traffic beside the project, so recorded traffic is not replayed")


def _pairs():
    if not CASES:
        reason = "no folder shared/traffic beside the project"
        return [pytest.param(None, None, id="none", marks=pytest.mark.skip(reason=reason))]
    pairs = []
    for case in CASES:
        for dialect in wire.DIALECTS:
            name = f"{case.name} -> {dialect}"
            marks = [pytest.mark.xfail(reason=KNOWN[name], strict=True)] if name in KNOWN else []
            pairs.append(pytest.param(case, dialect, id=name, marks=marks))
    return pairs


def check_same_dialect(replay, gate, case):
    sent = json.dumps(own_request(case), ensure_ascii=False, separators=(",", ":")).encode()
    path = wire.path(case.dialect, case.model, case.stream)
    headers = {**wire.auth(case.dialect, harness.TENANT_KEY), "content-type": "application/json"}
    reply = gate.http.post(path, content=sent, headers=headers)
    vendor = direct(replay, case)
    said = wire.read(case.dialect, vendor, case.stream)
    if said.error:
        # A failure of the upstream is told in the gateway's own words, with what was said before it.
        told = wire.read(case.dialect, reply.content, case.stream and reply.status_code == 200)
        assert told.error and told.text == said.text, reply.text[:2000]
        return
    assert reply.status_code == 200, reply.text[:2000]
    # Newest first: the vendor was asked directly after it.
    arrived = replay.requests()[1]
    expected = sent.decode().replace(f'"model":"{case.model}"', f'"model":"{case.name}"', 1)
    if arrived["body_bytes"] <= 1 << 20:
        assert arrived["body"] == expected, "the request did not arrive as it was sent"
    assert reply.content == vendor, "the answer is not the vendor's, byte for byte"
    assert not reply.headers.get("x-tallygate-loss")


def squeezed(text: str) -> str:
    return "".join(text.split())


def check_translated(replay, gate, case, dialect):
    vendor = wire.read(case.dialect, direct(replay, case), case.stream)
    reply = gate.ask(dialect, case.model, "hello", stream=case.stream, thinking=True)
    if vendor.error and not vendor.text and not vendor.calls:
        # The vendor answered 200 with an error: the client must see an error, in its own dialect.
        told = wire.read(dialect, reply.content, case.stream and reply.status_code == 200)
        assert told.error, reply.text[:1000]
        return
    assert reply.status_code == 200, reply.text[:2000]
    answer = wire.read(dialect, reply.content, case.stream)
    found = [
        f"event {index}: {problem}"
        for index, event in enumerate(answer.events)
        for problem in schemas.problems(dialect, event, stream_event=case.stream)
    ]
    assert found == [], "not valid by the strict schema"
    assert not answer.disagrees, "the deltas and the terminal event differ"
    if vendor.error:
        assert answer.error, "the stream broke at the vendor and ended well for the client"
        return
    # A refusal has a field of its own in one dialect only; elsewhere it is text. Its reason may be added, also as a refusal.
    said, wanted = answer.text + answer.refusal, vendor.text + vendor.refusal
    if vendor.finish == "content_filter" and said != wanted:
        wanted += vendor.explanation or answer.refusal
    assert said == wanted, "the text differs"
    # Pieces of reasoning may be joined with blank lines between them, or stand apart.
    assert squeezed(answer.reasoning) == squeezed(vendor.reasoning), "the reasoning differs"
    if dialect == "gemini":
        # Gemini's arguments are an object: text that is none (cut by the token cap) is wrapped.
        vendor.calls = [(name, {"_raw": given} if isinstance(given, str) else given) for name, given in vendor.calls]
        # It counts no cache writes: they are input like any other.
        if written := vendor.usage.pop("cache_write", 0):
            vendor.usage["input"] = vendor.usage.get("input", 0) + written
    assert answer.calls == vendor.calls, "the tool calls differ"
    # Messages has no answer without counts: where the vendor told none they are estimated.
    if vendor.usage or dialect != "anthropic":
        assert answer.usage == vendor.usage, "the usage differs"
    # Some vendors say `stop`, or nothing, after a call or a refusal.
    expected = "content_filter" if vendor.refusal else vendor.finish
    if vendor.calls and expected in ("stop", None):
        expected = "tool_calls"
    assert answer.finish == expected, "it ends for another reason"


def is_in_background(case) -> bool:
    return (case.load()["request"].get("body") or {}).get("background") is True


def check_in_background(gate, case, dialect):
    """The gateway asks for no answer in the background, for nobody could meter it: neither is asked for nor taken."""
    if case.dialect == dialect:
        headers = wire.auth(dialect, harness.TENANT_KEY)
        reply = gate.http.post(wire.path(dialect, case.model, case.stream), json=own_request(case), headers=headers)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "background")
    else:
        reply = gate.ask(dialect, case.model, "hello", stream=case.stream)
        assert reply.status_code == 502, reply.text
    assert schemas.error_problems(dialect, reply.json()) == []


@pytest.mark.parametrize(("case", "dialect"), _pairs())
def test_recorded_answer(request, case, dialect):
    replay, gate = request.getfixturevalue("replay"), request.getfixturevalue("replay_gate")
    if is_in_background(case):
        check_in_background(gate, case, dialect)
    elif case.dialect == dialect:
        check_same_dialect(replay, gate, case)
    else:
        check_translated(replay, gate, case, dialect)


def test_known_failures_name_real_cases():
    names = {f"{case.name} -> {dialect}" for case in CASES for dialect in wire.DIALECTS}
    assert not CASES or set(KNOWN) <= names
