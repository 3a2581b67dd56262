"""U7 to U10: upstreams that say no."""

import math
import time
from datetime import datetime

import harness
import load
import verify
from rig import CONCURRENCY, REQUESTS, Rig, demand, joined, metric, pause, scenario

COOLDOWN_SECONDS = 30
# How much more may be asked of upstreams that all fail than was asked of the gateway.
RETRY_BUDGET = 1.10
# Between an attempt's end and its verdict, and between a choice and its attempt.
GRACE_SECONDS = 0.005


def three(rig: Rig, *, dialect="openai-chat", **gateway) -> tuple[harness.Gateway, list[str]]:
    """One upstream with three credentials; faults are set on them while it runs."""
    secrets = [rig.secret() for _ in range(3)]
    return rig.gateway([rig.upstream("main", secrets=secrets, dialect=dialect)], **gateway), secrets


def calls(rig: Rig, secret: str) -> list[dict]:
    return [entry for entry in rig.sim.ledger() if entry["credential"] == secret[-4:]]


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def asked_again(gateway: harness.Gateway, status: int) -> int:
    """How often a key was asked after the gateway had read its first refusal, by the gateway's own records of its attempts."""
    attempts = [attempt for row in verify.usage_rows(gateway.store_url) for attempt in row["attempts"]]
    read = {}
    for attempt in attempts:
        if attempt["status"] == status:
            at = moment(attempt["started_at"]) + attempt["duration_us"] / 1e6
            read[attempt["credential_id"]] = min(at, read.get(attempt["credential_id"], at))
    return sum(1 for attempt in attempts if moment(attempt["started_at"]) > read.get(attempt["credential_id"], math.inf) + GRACE_SECONDS)


@scenario("U7", "429 with Retry-After 30", "left alone for 30 s, others used; all out: 429 with the smallest wait",
          "calls to the cooled key in its window = 0")
def rate_limited(rig: Rig) -> str:
    gateway, (first, second, third) = three(rig)
    warm = rig.warm(gateway)
    rig.sim.fail(third, "429", retry_after=COOLDOWN_SECONDS)
    log = rig.load(gateway)
    demand(log.success == 100, f"success {log.success:.1f} %: {log.errors()}")
    refused = [entry for entry in calls(rig, third) if entry["status"] == 429]
    demand(refused, "nothing met the fault")
    rig.settled(gateway, rig.sim)
    again = asked_again(gateway, 429)
    demand(not again, f"the cooled key was asked {again} more times")
    rig.sim.fail(first, "429", retry_after=20)
    rig.sim.fail(second, "429", retry_after=10)
    drained = rig.load(gateway, 20, 1)
    asked = len(rig.sim.ledger())
    last = rig.load(gateway, 20, 5)
    demand(len(rig.sim.ledger()) == asked, f"{len(rig.sim.ledger()) - asked} calls upstream though all keys are cooling")
    demand(set(last.statuses()) == {429}, f"with all keys cooling clients got {dict(last.statuses())}")
    waits = [int(record.headers.get("retry-after", -1)) for record in last]
    demand(all(1 <= wait <= 10 for wait in waits), f"the wait told is {waits[0]} s, not the smallest of 10, 20 and 30")
    verdict = rig.verify(gateway, joined(warm, log, drained, last))
    return f"success 100 %, {len(refused)} refused before it cooled, 0 after; all out: 429, wait {waits[0]} s; {verdict}"


@scenario("U8", "529 / 503 from all", "retried with jitter inside the budget", "upstream calls <= 1.1 x requests")
def overloaded(rig: Rig) -> str:
    told = []
    for dialect, fault in (("anthropic", "529"), ("openai-chat", "503")):
        part = Rig("u8")
        try:
            gateway, secrets = three(part, dialect=dialect)
            warm = part.warm(gateway)
            for secret in secrets:
                part.sim.fail(secret, fault)
            since = part.sim.last_seq()
            log = part.load(gateway)
            entries = part.sim.ledger(since)
            demand(log.ok == 0, f"{log.ok} were served by an upstream that only fails")
            bad = {status for status in log.statuses() if status not in (503, 529, 429)}
            demand(not bad, f"clients got {dict(log.statuses())}")
            demand(len(entries) <= RETRY_BUDGET * len(log), f"{fault}: {len(entries)} upstream calls for {len(log)} requests")
            part.verify(gateway, joined(warm, log))
            told.append(f"{fault}: {len(entries)} calls for {len(log)} requests ({len(entries) / len(log):.2f} x), clients {dict(log.statuses())}")
        finally:
            part.close()
    return "; ".join(told)


@scenario("U9", "401 / 403: key dead or banned", "key out, alert, others used, no retry storm", "calls to the dead key <= 3 once it is known")
def dead_key(rig: Rig) -> str:
    told = []
    for dialect, fault, status in (("openai-chat", "401", 401), ("anthropic", "403", 403), ("gemini", "403", 403)):
        part = Rig("u9")
        try:
            gateway, (_, _, dead) = three(part, dialect=dialect)
            warm = part.warm(gateway)
            part.sim.fail(dead, fault)
            log = part.load(gateway)
            demand(log.success == 100, f"{dialect} {fault}: success {log.success:.1f} %: {log.errors()}")
            refused = [entry for entry in calls(part, dead) if entry["status"] == status]
            demand(refused, "nothing met the fault")
            part.settled(gateway, part.sim)
            again = asked_again(gateway, status)
            demand(again <= 3, f"{dialect} {fault}: the dead key was asked {again} more times")
            demand("auth" in gateway.process.output() or "credential" in gateway.process.output(), "the log does not say that a key is dead")
            part.verify(gateway, joined(warm, log))
            told.append(f"{dialect} {fault}: {len(refused)} in flight at once, {again} after")
        finally:
            part.close()
    return "success 100 %; " + "; ".join(told)


@scenario("U10", "400 by the provider", "passed through, no retry, not billed", "attempts = 1")
def bad_request(rig: Rig) -> str:
    gateway, secrets = three(rig)
    warm = rig.warm(gateway)
    for secret in secrets:
        rig.sim.fail(secret, "400")
    since = rig.sim.last_seq()
    log = rig.load(gateway, ask=lambda n: load.Ask(("openai-chat", "anthropic", "gemini", "openai-responses")[n % 4], text=f"{n}"))
    demand(set(log.statuses()) == {400}, f"clients got {dict(log.statuses())}")
    entries = rig.sim.ledger(since)
    demand(len(entries) == len(log), f"{len(entries)} upstream calls for {len(log)} requests")
    demand(all("a fault asks for it" in record.error for record in log), "the provider's own words are lost")
    rig.settled(gateway, rig.sim)
    for secret in secrets:
        rig.sim.heal(secret)
    after = rig.load(gateway, 60)
    demand(after.success == 100, f"refusals of requests were held against the keys: {after.errors()}")
    verdict = rig.verify(gateway, joined(warm, log, after))
    return f"{len(log)} x 400 in four dialects, {len(entries)} upstream calls; {verdict}"


@scenario("D1", "1 key of 5 dead, limited, hanging, lying", "no client error before the commit gate", "retries <= 10 %, no 401")
def one_of_five(rig: Rig) -> str:
    told = []
    for fault in ("401", "429", "hang", "garbage-json", "truncate"):
        part = Rig("d1")
        try:
            secrets = [part.secret() for _ in range(5)]
            gateway = part.gateway([part.upstream("main", secrets=secrets)])
            streams = lambda n: load.Ask(stream=True, text=f"hello {n}")  # noqa: E731
            warm = part.warm(gateway, 100, streams)
            part.sim.fail(secrets[4], fault, retry_after=COOLDOWN_SECONDS)
            since = part.sim.last_seq()
            # A request is committed once its first content was sent; what a lying stream says after that is no refusal.
            log = part.load(gateway, REQUESTS, CONCURRENCY, streams)
            early = [record for record in log if record.status != 200 or (not record.ok and record.bytes == 0)]
            demand(not early, f"{fault}: {len(early)} errors before the commit gate: {log.errors()}")
            if fault != "truncate":
                demand(log.success == 100, f"{fault}: success {log.success:.1f} %: {log.errors()}")
            extra = 100 * (len(part.sim.ledger(since)) / len(log) - 1)
            demand(extra <= 10, f"{fault}: {extra:.1f} % more upstream calls than requests")
            demand(401 not in log.statuses(), "an upstream's 401 reached a tenant")
            part.verify(gateway, joined(warm, log))
            told.append(f"{fault} +{extra:.1f} %")
        finally:
            part.close()
    return "no early error; " + ", ".join(told)


@scenario("D2", "limited key recovers", "not asked before its reset, back after it", "back within its probe interval")
def recovers(rig: Rig) -> str:
    gateway, (_, _, limited) = three(rig)
    warm = rig.warm(gateway)
    rig.sim.fail(limited, "429", retry_after=4)
    with load.Background(gateway.url, 100_000, 4, rate=200) as running:
        harness.wait_for("the refusal", lambda: any(entry["status"] == 429 for entry in calls(rig, limited)), 5)
        refused = next(entry for entry in calls(rig, limited) if entry["status"] == 429)
        rig.sim.heal(limited)
        harness.wait_for("its return", lambda: any(e["status"] == 200 and e["at"] > refused["ended_at"] + 1_000_000
                                                   for e in calls(rig, limited)), 15)
        pause(1)
    log = running.log
    demand(log.success == 100, f"success {log.success:.1f} %: {log.errors()}")
    told = max(entry["ended_at"] for entry in calls(rig, limited) if entry["status"] == 429)
    back = min(entry["at"] for entry in calls(rig, limited) if entry["at"] > told) - refused["ended_at"]
    demand(back >= 3_950_000, f"asked {back / 1e6:.2f} s after it said 4 s")
    demand(back <= 4_000_000 + 1_500_000, f"back only after {back / 1e6:.2f} s")
    verdict = rig.verify(gateway, joined(warm, log))
    return f"said 4 s, asked again after {back / 1e6:.2f} s; {verdict}"


@scenario("D3", "all keys revoked", "a tenant never sees the upstream's 401", "503, no call per key once known")
def all_revoked(rig: Rig) -> str:
    gateway, secrets = three(rig)
    warm = rig.warm(gateway)
    for secret in secrets:
        rig.sim.fail(secret, "401")
    begun = time.time()
    log = rig.load(gateway, ask=lambda n: load.Ask(("openai-chat", "anthropic", "gemini", "openai-responses")[n % 4], text=f"{n}"))
    bad = {status for status in log.statuses() if status not in (502, 503, 529)}
    demand(not bad, f"clients got {dict(log.statuses())}")
    since = rig.sim.last_seq()
    later = rig.load(gateway, 100)
    more = len(rig.sim.ledger(since))
    demand(more <= 3, f"{more} calls upstream though all keys are known to be dead")
    demand(set(later.statuses()) <= {502, 503}, f"clients got {dict(later.statuses())}")
    verdict = rig.verify(gateway, joined(warm, log, later))
    spent = time.time() - begun
    failed = metric(gateway, "tallygate_upstream_attempts_total", outcome="failed")
    return f"600 refused as 503 in {spent:.1f} s, {failed:.0f} attempts, {more} after all were known; {verdict}"
