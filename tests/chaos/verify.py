"""The invariants I1 to I8, over three lists that know nothing of each other: the simulated providers' ledgers, the load
generator's log and the database; and over everything the gateway wrote where people can read it."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field

import harness
import load

# The mean of estimated output may be off by so many percent.
ESTIMATE_TOLERANCE_PERCENT = 15
# What may go wrong with an attempt before the provider has seen anything of it.
NOTHING_SENT = {"connect", "proxy", "misconfigured", "circuit_open"}


class Violated(AssertionError):
    """An invariant does not hold."""


def plain(request_id: str) -> str:
    """A request's id as the database keeps it: hexadecimal digits alone."""
    return request_id.removeprefix("req_").replace("-", "").lower()


def usage_rows(store_url: str) -> list[dict]:
    return _query(store_url, "SELECT * FROM usage_records")


def _query(store_url: str, query: str) -> list[dict]:
    if store_url.startswith("sqlite:"):
        with sqlite3.connect(f"file:{store_url.removeprefix('sqlite:')}?mode=ro", uri=True) as db:
            db.row_factory = sqlite3.Row
            rows = [dict(row) for row in db.execute(query)]
    else:
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(store_url, row_factory=dict_row) as db:
            rows = [dict(row) for row in db.execute(query)]
    for row in rows:
        if "request_id" in row:
            found = row["request_id"]
            row["request_id"] = bytes(found).hex() if isinstance(found, (bytes, memoryview)) else found.hex
        if isinstance(row.get("attempts"), str):
            row["attempts"] = json.loads(row["attempts"])
    return rows


def vector(usage: dict | None) -> tuple:
    return tuple((usage or {}).get(name) or 0 for name in harness.USAGE_CLASSES)


@dataclass
class Verdict:
    """How much each invariant was held against, and what the estimates were worth."""

    upstream_calls: int = 0
    rows: int = 0
    exact: int = 0
    interrupted: int = 0
    estimate_error_percent: float | None = None
    violations: list[str] = field(default_factory=list)

    def demand(self, holds: bool, what: str):
        if not holds:
            self.violations.append(what)

    def __str__(self):
        off = "" if self.estimate_error_percent is None else f", output estimated {self.estimate_error_percent:+.1f} %"
        return f"{self.upstream_calls} upstream calls, {self.rows} records, {self.exact} exact, {self.interrupted} interrupted{off}"


def verify(gateway: harness.Gateway, log: load.Log, ledger: list[dict], canaries: list[str], *, oracle_usage=True) -> Verdict:
    """Raises what does not hold. `oracle_usage` is False where the fault is that the provider's usage is wrong or missing."""
    verdict = Verdict()
    calls = defaultdict(list)
    for entry in ledger:
        if entry["operation"] == "generate" and entry["gateway_request_id"]:
            calls[plain(entry["gateway_request_id"])].append(entry)
    rows = defaultdict(list)
    for row in usage_rows(gateway.store_url):
        rows[row["request_id"]].append(row)
    heard = {plain(record.id): record for record in log if record.id}
    verdict.upstream_calls, verdict.rows = sum(map(len, calls.values())), sum(map(len, rows.values()))

    for request_id, entries in calls.items():
        one_call_one_attempt(verdict, request_id, entries, rows[request_id])
    for request_id, found in rows.items():
        verdict.demand(len(found) == 1, f"I2: {request_id} has {len(found)} usage records")
        if found:
            charged_once(verdict, found[0], calls.get(request_id, []))
    for record in log:
        if record.status == 200 and record.bytes:
            verdict.demand(len(rows[plain(record.id)]) == 1, f"I2: {record.id} got {record.bytes} bytes and has no usage record")
    if oracle_usage:
        exact_where_complete(verdict, heard, calls, rows)
    estimates(verdict, heard, calls, rows)
    sums(verdict, gateway.store_url)
    for record in log:
        nothing_truncated_looks_whole(verdict, record, calls.get(plain(record.id), []))
    secrets(verdict, gateway, canaries)
    if verdict.violations:
        shown = "\n    ".join(verdict.violations[:8])
        raise Violated(f"{len(verdict.violations)} violations, the first:\n    {shown}")
    return verdict


def one_call_one_attempt(verdict: Verdict, request_id: str, entries: list[dict], found: list[dict]):
    """I1."""
    if not found:
        verdict.demand(False, f"I1: {request_id} reached the provider {len(entries)} times and has no record")
        return
    attempts = [attempt for attempt in found[0]["attempts"] if attempt["outcome"] not in NOTHING_SENT]
    verdict.demand(
        len(entries) <= len(attempts) or found[0]["outcome"] == "crash",
        f"I1: {request_id} reached the provider {len(entries)} times and has {len(attempts)} attempt records")
    answered = sum(1 for entry in entries if entry["status"])
    told = sum(1 for attempt in attempts if attempt["status"])
    verdict.demand(told <= answered, f"I1: {request_id} was answered {answered} times and its attempts say {told}")


def charged_once(verdict: Verdict, row: dict, entries: list[dict]):
    """I4 and I5: the bounds of every charge."""
    charge, reserved = int(row["charge"]), int(row["reserved"])
    what = f"{row['request_id']} ({row['outcome']}, {row['usage_source']}): charge {charge}, reserved {reserved}"
    verdict.demand(charge >= 0, f"I4: {what}")
    # A client may leave when its request is sent and not yet read: what was sent is billed, and flagged.
    was_sent = row["outcome"] == "client_gone" and row["usage_source"] == "estimated" and row["attempts"]
    # Killed between the journal's BEGIN and the call, nobody can know that it was not made: it is estimated and flagged.
    is_unknown = row["outcome"] == "crash" and row["usage_source"] == "crash"
    if not entries and not was_sent and not is_unknown:
        verdict.demand(charge == 0, f"I5: no upstream call, but {what}")
    if row["outcome"] != "ok":
        verdict.interrupted += 1
        verdict.demand(charge <= reserved, f"I4: {what}")
        verdict.demand(row["usage_source"] != "provider" or charge == 0, f"I4: interrupted, but {what}")


def exact_where_complete(verdict: Verdict, heard: dict, calls: dict, rows: dict):
    """I3."""
    for request_id, record in heard.items():
        complete = [entry for entry in calls.get(request_id, []) if entry["ended"] == "complete" and entry["usage_reported"]]
        if not (record.ok and complete and rows[request_id]):
            continue
        row, told = rows[request_id][0], [vector(entry["usage"]) for entry in complete]
        verdict.exact += 1
        verdict.demand(vector(row) in told, f"I3: {request_id} is recorded with {vector(row)}, the provider says {told}")
        verdict.demand(
            int(row["charge"]) == harness.charge_pico(row), f"I3: {request_id} is charged {row['charge']} for {vector(row)}")


def estimates(verdict: Verdict, heard: dict, calls: dict, rows: dict):
    """I4: what was estimated against what the client received, four bytes a token as the provider counts."""
    guessed = true = 0
    for request_id, record in heard.items():
        found = rows[request_id]
        if not (found and found[0]["usage_source"] == "estimated" and record.status == 200 and calls.get(request_id)):
            continue
        with suppress(ValueError, KeyError, TypeError, IndexError):
            text = record.text()
            guessed += found[0]["output_text"]
            true += -(-len(text.encode()) // 4)
    if true:
        off = verdict.estimate_error_percent = 100 * (guessed - true) / true
        verdict.demand(abs(off) <= ESTIMATE_TOLERANCE_PERCENT, f"I4: output was estimated {off:+.1f} % off ({guessed} for {true})")


def sums(verdict: Verdict, store_url: str):
    """I6: the sums that bills are made of, against the records they are sums of."""
    charged = sum(int(row["charge"]) for row in usage_rows(store_url))
    rollups = _query(store_url, "SELECT requests, charge_units, charge_pico FROM usage_rollups_hourly")
    summed = sum(int(row["charge_units"]) * 10**12 + int(row["charge_pico"]) for row in rollups)
    verdict.demand(charged == summed, f"I6: the records charge {charged} pico, their sums say {summed}")


def nothing_truncated_looks_whole(verdict: Verdict, record: load.Record, entries: list[dict]):
    """I7."""
    if record.status != 200 or not record.finished or not entries:
        return
    complete = any(entry["ended"] == "complete" for entry in entries)
    # A provider may be cut off after its last words: the client has all of it then.
    if not complete and not record.left:
        verdict.demand(bool(record.error), f"I7: {record.id} looks finished, but no provider finished it: {record.body[-120:]}")


def secrets(verdict: Verdict, gateway: harness.Gateway, canaries: list[str]):
    """I8."""
    seen = gateway.process.output()
    with suppress(Exception):
        seen += gateway.http.get(gateway.metrics_url + "/metrics").text
    for canary in canaries:
        verdict.demand(canary not in seen, f"I8: {canary[:6]}… stands in the log or the metrics")
