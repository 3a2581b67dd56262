"""U11 to U16, U18 to U22: upstreams that answer, but not with an answer."""

import load
import verify
from rig import Rig, alive, cpu_seconds, demand, forget_peak, joined, metric, rss_kib, scenario

import harness

MIB_KIB = 1024


def one_of_three(rig: Rig, fault: str, dialect="openai-chat", **gateway) -> harness.Gateway:
    """One upstream with three credentials of which one meets the fault; `broken` is the model that only meets the fault."""
    bad = rig.secret("answers")
    rig.sim.fail(bad, fault)
    mixed = rig.upstream("mixed", secrets=[rig.secret(), rig.secret(), bad], dialect=dialect)
    only = rig.upstream("only", secrets=[bad], dialect=dialect)
    return rig.gateway([mixed, only], [rig.model([mixed]), rig.model([only], name="broken")], **gateway)


def failed_over(rig: Rig, fault: str, code: str, streams=(False, True), status=502, oracle_usage=True) -> str:
    """With two healthy keys nobody notices; alone it is a 502 with this code."""
    gateway = one_of_three(rig, fault)
    log = rig.load(gateway, ask=lambda n: load.Ask(stream=streams[n % len(streams)], text=f"hello {n}"))
    demand(log.success == 100, f"success {log.success:.1f} %: {log.errors()}")
    alone = rig.load(gateway, 40, 1, lambda n: load.Ask(model="broken", stream=streams[n % len(streams)]))
    first = alone.records[0]
    demand(first.status == status and code in first.error, f"alone it is answered {first.status} {first.error}")
    demand(not any(record.ok for record in alone), "garbage was served")
    demand(set(alone.statuses()) <= {status, 503}, f"alone clients got {dict(alone.statuses())}")
    alive(gateway)
    verdict = rig.verify(gateway, joined(log, alone), oracle_usage=oracle_usage)
    return f"success 100 %, alone {first.status} {code}; {verdict}"


@scenario("U11", "garbage instead of JSON", "502 of our own, failover if nothing was sent", "success 100 %, no panic")
def garbage(rig: Rig) -> str:
    return failed_over(rig, "garbage-json", "upstream_invalid")


@scenario("U12", "truncated JSON with 200", "502, failover; estimated only if billed (I4)", "success 100 %")
def truncated_json(rig: Rig) -> str:
    return failed_over(rig, "truncate", "upstream_invalid", streams=(False,))


@scenario("U13", "truncated SSE, no terminator", "error event, partial settled", "I4, I7")
def truncated_stream(rig: Rig) -> str:
    gateway = one_of_three(rig, "truncate")
    log = rig.load(gateway, ask=lambda n: load.Ask(stream=True, text=f"words=60 {n}"))
    broken = [record for record in log if not record.ok]
    demand(broken, "nothing met the fault")
    demand(all(record.status == 200 and record.error and not record.error.startswith("transport") for record in broken),
           f"not all were told: {log.errors()}")
    verdict = rig.verify(gateway, log)
    return f"{len(broken)} of {len(log)} broke off, each with an error event; {verdict}"


@scenario("U14", "SSE line of 100 MiB", "cut at the bound, error", "RSS growth < 16 MiB")
def huge_line(rig: Rig) -> str:
    gateway = one_of_three(rig, "huge-line")
    rig.warm(gateway, 200, lambda n: load.Ask(stream=True))
    forget_peak(gateway)
    before = rss_kib(gateway)
    alone = rig.load(gateway, 20, 1, lambda n: load.Ask(model="broken", stream=True), patience=30)
    one = (rss_kib(gateway, peak=True) - before) / MIB_KIB
    demand(not any(record.ok for record in alone), "a line of 100 MiB was served")
    demand(one < 16, f"RSS grew by {one:.1f} MiB with one at a time")
    whole = rig.load(gateway, 3, 1, lambda n: load.Ask(model="broken"), patience=30)
    demand(not any(record.ok for record in whole), "a body of 100 MiB was served")
    log = rig.load(gateway, ask=lambda n: load.Ask(stream=True, text=f"hello {n}"))
    demand(all(record.ok or record.error for record in log), "a stream broke off and nothing was said")
    many = (rss_kib(gateway, peak=True) - before) / MIB_KIB
    sent = max((entry["bytes"] for entry in rig.sim.ledger() if entry["stream"] and entry["status"] == 200), default=0)
    alive(gateway)
    verdict = rig.verify(gateway, joined(alone, whole, log))
    return f"cut after {sent / 2**20:.1f} MiB were sent, RSS +{one:.1f} MiB one by one, +{many:.1f} MiB under load; {verdict}"


@scenario("U15", "HTML page with 200", "502, failover", "success 100 %")
def html(rig: Rig) -> str:
    return failed_over(rig, "garbage", "upstream_invalid")


@scenario("U16", "200 with an error object", "an error; retried only before the first byte", "success 100 %; mid-stream: I7")
def error_object(rig: Rig) -> str:
    figure = failed_over(rig, "error-200", "", status=503)
    part = Rig("u16")
    try:
        gateway = one_of_three(part, "midstream-error")
        log = part.load(gateway, ask=lambda n: load.Ask(stream=True, text=f"words=60 {n}"))
        broken = [record for record in log if not record.ok]
        demand(broken and all(record.status == 200 and record.error and not record.error.startswith("transport") for record in broken),
               f"not all were told: {log.errors()}")
        part.verify(gateway, log)
    finally:
        part.close()
    return f"{figure}; in mid-stream {len(broken)} error events of {len(log)}"


@scenario("U18", "usage missing", "estimated and flagged", "I4: mean within 15 %")
def usage_missing(rig: Rig) -> str:
    gateway = one_of_three(rig, "no-usage")
    log = rig.load(gateway, ask=lambda n: load.Ask(stream=n % 2 == 0, text=f"words={n % 90 + 10}"))
    demand(log.success == 100, f"success {log.success:.1f} %: {log.errors()}")
    verdict = rig.verify(gateway, log)
    rows = verify.usage_rows(gateway.store_url)
    told = sum(1 for entry in rig.sim.ledger() if entry["usage_reported"])
    guessed = [row for row in rows if row["usage_source"] == "estimated"]
    demand(len(guessed) == len(log) - told > 0, f"{len(guessed)} are flagged as estimated, {len(log) - told} came without usage")
    demand(all(int(row["charge"]) > 0 for row in guessed), "an answer without usage was free")
    return f"{len(guessed)} of {len(log)} estimated; {verdict}"


@scenario("U19", "usage negative, 1e18, inconsistent", "not believed: estimated, told", "0 <= charge <= reserved, balance never rises")
def usage_absurd(rig: Rig) -> str:
    told = []
    for fault in ("usage-negative", "usage-huge", "usage-inconsistent"):
        for dialect in ("openai-chat", "anthropic", "gemini"):
            if (fault, dialect) == ("usage-inconsistent", "anthropic"):
                continue  # Its counts are disjoint and without a total: nothing in them can disagree.
            part = Rig("u19")
            try:
                gateway = one_of_three(part, fault, dialect)
                log = part.load(gateway, 60, 20, lambda n: load.Ask(model="broken", stream=n % 2 == 0, text=f"words={n % 9 + 40}"))
                demand(log.success == 100, f"{dialect} {fault}: success {log.success:.1f} %: {log.errors()}")
                part.verify(gateway, log, oracle_usage=False)
                rows = verify.usage_rows(gateway.store_url)
                wrong = [row for row in rows if not 0 < int(row["charge"]) <= int(row["reserved"])]
                demand(not wrong, f"{dialect} {fault}: {len(wrong)} are charged {wrong and wrong[0]['charge']} of {wrong and wrong[0]['reserved']} reserved")
                sources = {row["usage_source"] for row in rows}
                if fault != "usage-inconsistent":
                    demand(sources == {"estimated"}, f"{dialect} {fault}: the usage is taken from {sources}")
                estimated = metric(gateway, "tallygate_usage_estimated_total")
                demand(sources == {"provider"} or estimated == len(log), f"{dialect} {fault}: {estimated:.0f} counted as estimated")
                told.append(f"{dialect} {fault.removeprefix('usage-')} {'/'.join(sorted(sources))}")
            finally:
                part.close()
    return "; ".join(told)


@scenario("U20", "usage twice, in two parts, after [DONE]", "cumulative rule of each provider", "I3")
def usage_retold(rig: Rig) -> str:
    told = []
    for fault in ("usage-twice", "usage-split", "usage-late"):
        for dialect in ("openai-chat", "anthropic", "gemini"):
            if (fault, dialect) == ("usage-late", "gemini"):
                continue  # Its last event is the one with the usage: there is nothing for it to come after.
            part = Rig("u20")
            try:
                gateway = one_of_three(part, fault, dialect)
                log = part.load(gateway, 60, 20, lambda n: load.Ask(model="broken", stream=True, text=f"words={n % 9 + 40}"))
                demand(log.success == 100, f"{dialect} {fault}: success {log.success:.1f} %: {log.errors()}")
                verdict = part.verify(gateway, log)
                told.append(f"{dialect} {fault.removeprefix('usage-')} {verdict.exact}/{len(log)} exact")
            finally:
                part.close()
    return "; ".join(told)


@scenario("U21", "gzip bomb", "not unpacked", "RSS growth < 16 MiB, success 100 %")
def bomb(rig: Rig) -> str:
    gateway = one_of_three(rig, "gzip-bomb")
    rig.warm(gateway, 200)
    forget_peak(gateway)
    before = rss_kib(gateway)
    alone = rig.load(gateway, 50, 10, lambda n: load.Ask(model="broken"))
    demand(not any(record.ok for record in alone), "a bomb was served")
    log = rig.load(gateway)
    demand(log.success == 100, f"success {log.success:.1f} %: {log.errors()}")
    grown = (rss_kib(gateway, peak=True) - before) / MIB_KIB
    demand(grown < 16, f"RSS grew by {grown:.1f} MiB")
    verdict = rig.verify(gateway, joined(alone, log))
    return f"success 100 %, alone {dict(alone.statuses())}, RSS +{grown:.1f} MiB; {verdict}"


@scenario("U22", "10,000 tiny deltas a second", "CPU bound known", "loss 0")
def flood(rig: Rig) -> str:
    gateway = rig.gateway([rig.upstream("main"), rig.upstream("other", dialect="anthropic")],
                          [rig.model([{"name": "main"}]), rig.model([{"name": "other"}], name="translated")])
    told, logs = [], []
    for model in ("m", "translated"):
        shape = {"max_tokens": 100_000}
        rig.load(gateway, 4, 2, lambda n: load.Ask(model=model, stream=True, text="words=30", shape=shape))
        cpu = cpu_seconds(gateway)
        log = rig.load(gateway, 20, 4, lambda n: load.Ask(model=model, stream=True, text="words=12000", shape=shape))
        cpu = cpu_seconds(gateway) - cpu
        demand(log.success == 100, f"{model}: success {log.success:.1f} %: {log.errors()}")
        short = [record for record in log if len(record.text().split(" ")) != 12_000]
        demand(not short, f"{model}: {len(short)} streams lost words")
        deltas = 4_000 * len(log)
        told.append(f"{model}: {deltas / log.seconds:,.0f} deltas/s, {1e6 * cpu / deltas:.0f} us CPU each")
        logs.append(log)
    rig.verify(gateway, joined(*logs))
    return "loss 0; " + "; ".join(told) + " (debug build)"
