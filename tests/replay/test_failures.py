"""Recorded refusals of generations: each in its vendor's own dialect and in each other, as that dialect says it."""

import json

import pytest

import harness
import schemas
import wire
from replay import cases
from replay.rig import direct, own_request

CASES = [case for case in cases.every_case(cases.PROVIDERS) if case.status != 200]


OPERATORS = ("API_KEY_INVALID", "insufficient_quota")


def expected_status(case, dialect: str, body) -> int:
    """What is the caller's own stays as it is; what is the operator's (key, account) never looks like the caller's fault. A
    model that the vendor does not have is no use to ask for again."""
    text = json.dumps(body)
    if case.status == 404 or "model_not_found" in text:
        return 404
    if case.status in (401, 402, 403) or any(word in text for word in OPERATORS):
        return 529 if dialect == "anthropic" else 503
    return case.status


def said(body) -> str:
    """The words of an error, wherever a vendor puts them."""
    if isinstance(body, list):
        return said(body[0])
    error = body.get("error", body)
    return error if isinstance(error, str) else error.get("message") or ""


@pytest.mark.parametrize(
    ("case", "dialect"),
    [pytest.param(case, dialect, id=f"{case.name} -> {dialect}") for case in CASES for dialect in wire.DIALECTS]
    or [pytest.param(None, None, id="none", marks=pytest.mark.skip(reason="no folder shared/traffic beside the project"))])
def test_recorded_failure(replay, replay_gate, case, dialect):
    vendor = json.loads(direct(replay, case, case.status))
    body = own_request(case) if dialect == case.dialect else wire.request(dialect, case.model, "hello", stream=case.stream)
    headers = wire.auth(dialect, harness.TENANT_KEY)
    reply = replay_gate.http.post(wire.path(dialect, case.model, case.stream), json=body, headers=headers)
    expected = expected_status(case, dialect, vendor)
    assert reply.status_code == expected, (vendor, reply.text)
    told = reply.json()
    assert schemas.error_problems(dialect, told) == [], told
    if expected == 400:
        # The caller can mend it, so the vendor's own words are told.
        assert said(vendor) in said(told), (vendor, told)
