"""U1 to U6, U17, U23, U24: upstreams that cannot be reached, or fall silent."""

import load
import verify
import wire
from proxy import HttpProxy, Unconnectable
from rig import (
    CONNECT_MS, FIRST_BYTE_MS, IDLE_MS, REQUESTS, Rig, alive, demand, descriptors, joined, scenario,
)

import harness


def two_and(rig: Rig, faulty: dict, **gateway):
    """Two healthy upstreams and a faulty one, all serving the same model with the same weight; beside it a model that only
    the healthy ones serve, to compare with."""
    healthy = [rig.upstream("healthy-1"), rig.upstream("healthy-2")]
    models = [rig.model([faulty, *healthy]), rig.model(healthy, name="calm")]
    return rig.gateway([faulty, *healthy], models, **gateway)


def beside_calm(rig: Rig, gateway, stream=False) -> tuple[load.Log, load.Log]:
    """The load on the healthy model and on the one with the fault, in turns, so that both have the same machine."""
    rig.warm(gateway, ask=lambda n: load.Ask(model="calm", stream=stream))
    both = rig.load(gateway, 2 * REQUESTS, ask=lambda n: load.Ask(model=("calm", "m")[n % 2], stream=stream, text=f"hello {n}"))
    return both.of("calm"), both.of("m")


@scenario("U1", "connection refused", "next one at once, not billed", "success 100 %, added p99 < 20 ms")
def refused(rig: Rig) -> str:
    gateway = two_and(rig, rig.upstream("refused", f"http://127.0.0.1:{harness.free_port()}"))
    calm, log = beside_calm(rig, gateway)
    demand(log.success == 100, f"success {log.success:.1f} %: {log.errors()}")
    verdict = rig.verify(gateway, joined(calm, log))
    # What the fault adds is the time of the attempts that failed; the clients' own p99 moves with the machine by more.
    spent = [sum(attempt["duration_us"] for attempt in row["attempts"] if attempt["outcome"] != "ok") / 1000
             for row in verify.usage_rows(gateway.store_url) if row["model"] == "m"]
    added = sorted(spent)[int(len(spent) * 0.99)]
    demand(added < 20, f"added p99 {added:.0f} ms")
    return f"success {log.success:.0f} %, added p99 {added:.1f} ms (clients' p99 {calm.p99():.0f} -> {log.p99():.0f} ms); {verdict}"


@scenario("U2", "reset after accept, before a byte", "tried elsewhere", "success 100 %")
def reset_after_accept(rig: Rig) -> str:
    proxy = rig.proxy(rig.sim.url, reset_on_accept=True)
    resetting = rig.secret("resets")
    rig.sim.fail(resetting, "reset")
    upstreams = [rig.upstream("broken", f"http://{proxy.address}"), rig.upstream("healthy-1"), rig.upstream("healthy-2")]
    keys = rig.upstream("keys", secrets=[rig.secret(), rig.secret(), resetting])
    gateway = rig.gateway([*upstreams, keys], [rig.model(upstreams), rig.model([keys], name="keys")])
    log = rig.load(gateway, 2 * REQUESTS, ask=lambda n: load.Ask(model=("m", "keys")[n % 2], text=f"hello {n}"))
    demand(log.success == 100, f"success {log.success:.1f} %: {log.errors()}")
    verdict = rig.verify(gateway, log)
    return f"success 100 %, {proxy.accepted} reset on accept, {log.attempts() - len(log)} attempts more; {verdict}"


@scenario("U3", "hang at connect", "connect timeout, failover, the circuit opens", "then no more than 5 slow in 500")
def hang_at_connect(rig: Rig) -> str:
    hole = rig.add(Unconnectable())
    gateway = two_and(rig, rig.upstream("hole", f"http://{hole.address}"))
    calm, opening = beside_calm(rig, gateway)
    log = rig.load(gateway)
    demand(opening.success == 100, f"success {opening.success:.1f} %: {opening.errors()}")
    demand(log.success == 100, f"success {log.success:.1f} %: {log.errors()}")
    slow = [record for record in log if record.latency > CONNECT_MS / 1000]
    demand(len(slow) <= 5, f"{len(slow)} slow requests after the circuit opened")
    first = sum(record.latency > CONNECT_MS / 1000 for record in opening)
    verdict = rig.verify(gateway, joined(calm, opening, log))
    return f"success 100 %, slow before opening {first}, after {len(slow)}, p50 {calm.p50():.0f} -> {log.p50():.0f} ms; {verdict}"


@scenario("U4", "hang before the head", "first-byte timeout (2 s), failover", "within the timeout + 50 ms")
def hang_before_head(rig: Rig) -> str:
    hanging = rig.secret("hanging")
    upstream = rig.upstream("main", secrets=[rig.secret(), rig.secret(), hanging])
    gateway = rig.gateway([upstream])
    log = rig.load(gateway, ask=lambda n: load.Ask(stream=True, text=f"hello {n}"))
    demand(log.success == 100, f"success {log.success:.1f} %: {log.errors()}")
    verdict = rig.verify(gateway, log)
    lasted = sorted(attempt["duration_us"] / 1000 for row in verify.usage_rows(gateway.store_url) for attempt in row["attempts"]
                    if attempt["outcome"] != "ok")
    demand(lasted, "nothing met the fault")
    # The least is the gateway's own; what others took longer they waited for the machine.
    over, middle = lasted[0] - FIRST_BYTE_MS, lasted[len(lasted) // 2] - FIRST_BYTE_MS
    demand(over < 50, f"the failover took {over:.0f} ms more than the timeout")
    return f"success 100 %, {len(lasted)} slow, {over:+.0f} ms (least), {middle:+.0f} ms (median) beyond the timeout; {verdict}"


def interrupted(rig: Rig, fault: str, count=500) -> tuple[str, load.Log]:
    """Streams in all four dialects, one credential of three breaking off in the middle."""
    bad, said = rig.secret("breaks"), 0
    sims = {dialect: rig.upstream(f"up-{dialect}", secrets=[rig.secret(), rig.secret(), bad], dialect=dialect)
            for dialect in wire.DIALECTS}
    rig.sim.fail(bad, fault)
    gateway = rig.gateway(list(sims.values()), [rig.model([one], name=f"via-{dialect}") for dialect, one in sims.items()])
    rig.warm(gateway, 20, lambda n: load.Ask(model="via-anthropic", text="words=3"))
    before = descriptors(gateway)

    def ask(n: int) -> load.Ask:
        client = wire.DIALECTS[n % 4]
        upstream = wire.DIALECTS[n // 4 % 4]
        return load.Ask(client, f"via-{upstream}", f"words=60 {n}", stream=True)

    log = rig.load(gateway, count, ask=ask)
    harness.wait_for("the providers' connections", lambda: all(entry["ended"] != "open" for entry in rig.sim.ledger()), 5, 0.05)
    broken = [record for record in log if not record.ok]
    for record in broken:
        demand(record.status == 200, f"an error before the first byte: {record.status} {record.error}")
        demand(record.error, f"a {record.ask.dialect} stream broke off and nothing was said: {record.body[-200:]}")
        said += 1
        demand(not record.error.startswith("transport"), f"a {record.ask.dialect} stream was cut without a word: {record.error}")
    demand(said, "nothing met the fault")
    demand(log.ok >= len(log) * 0.6, f"only {log.ok} of {len(log)} served")
    verdict = rig.verify(gateway, log)
    after = descriptors(gateway)
    alive(gateway)
    return f"{said} of {len(log)} broke off, each with an error event; descriptors {before} -> {after}; {verdict}", log


@scenario("U5", "hang in mid-stream", "error event in dialect, partial settled (I4, I7)", "provider's connections ended in 5 s")
def hang_midstream(rig: Rig) -> str:
    figure, log = interrupted(rig, "hang-midstream")
    late = [record for record in log if not record.ok and record.latency * 1000 > IDLE_MS + 1_000 + log.p99()]
    demand(not late, f"{len(late)} were told more than a second after the idle timeout")
    return figure


@scenario("U6", "reset in mid-stream", "error event at once, no silent retry (I7)", "no truncated stream looks whole")
def reset_midstream(rig: Rig) -> str:
    figure, log = interrupted(rig, "reset-midstream")
    repeated = [record for record in log if not record.ok and record.text().count("count every token") > 8]
    demand(not repeated, f"{len(repeated)} streams were begun twice")
    return figure


@scenario("U17", "one byte a second", "first-token timeout, failover", "others' p99 unchanged (10 % or 20 ms)")
def drip(rig: Rig) -> str:
    bad = rig.secret("drips")
    rig.sim.fail(bad, "drip")
    dripping = rig.upstream("dripping", secrets=[bad], timeouts={"first_token_ms": 1_500})
    gateway = two_and(rig, dripping)
    calm, log = beside_calm(rig, gateway, stream=True)
    demand(log.success == 100, f"success {log.success:.1f} %: {log.errors()}")
    with load.Background(gateway.url, 10_000, 10, lambda n: load.Ask(stream=True)):
        during = rig.load(gateway, ask=lambda n: load.Ask(model="calm", stream=True))
    with load.Background(gateway.url, 10_000, 10, lambda n: load.Ask(model="calm", stream=True)):
        beside = rig.load(gateway, ask=lambda n: load.Ask(model="calm", stream=True))
    added = during.p99() - beside.p99()
    demand(added <= max(20, beside.p99() / 10), f"others' p99 {beside.p99():.0f} -> {during.p99():.0f} ms")
    slowest = max(record.latency for record in log)
    return f"success 100 %, slowest {slowest:.1f} s, others' p99 {beside.p99():.0f} -> {during.p99():.0f} ms"


@scenario("U23", "name not found; metadata address", "failover; never connected", "success 100 %, refused")
def names(rig: Rig) -> str:
    nowhere = rig.upstream("nowhere", "http://no-such-host.invalid")
    gateway = two_and(rig, nowhere)
    log = rig.load(gateway)
    demand(log.success == 100, f"success {log.success:.1f} %: {log.errors()}")
    verdict = rig.verify(gateway, log)
    metadata = rig.upstream("metadata", "http://169.254.169.254")
    try:
        second = rig.gateway([metadata])
        reply = rig.load(second, 1, 1).records[0]
        told = second.process.output()
        demand(reply.status in (502, 503), f"a metadata address is answered {reply.status}")
        demand("169.254" in told or "metadata" in told, "the log does not say that the address is refused")
        refused = f"answered {reply.status}"
    except RuntimeError as error:
        refused = "configuration refused"
        demand("169.254.169.254" in str(error) or "metadata" in str(error), f"refused for another reason: {error}")
    return f"success 100 %, p99 {log.p99():.0f} ms; metadata address: {refused}; {verdict}"




@scenario("U24", "outbound proxy down, 407, slow", "next egress; the error names the proxy, not the key", "success 100 %, key not blamed")
def egress(rig: Rig) -> str:
    good, asking = rig.add(HttpProxy()), rig.add(HttpProxy(asks_for_password=True))
    slow = rig.proxy(f"http://127.0.0.1:{good.port}", half_open=True)
    dead = f"http://127.0.0.1:{harness.free_port()}"
    pools = {"down": dead, "407": asking.url, "slow": f"http://{slow.address}"}
    upstreams = {name: rig.upstream(f"by-{name}", proxy=[url, good.url]) for name, url in pools.items()}
    stuck = rig.upstream("stuck", proxy=[dead])
    models = [rig.model([one], name=name) for name, one in upstreams.items()] + [rig.model([stuck], name="stuck")]
    gateway = rig.gateway([*upstreams.values(), stuck], models)
    told, logs = [], []
    for name in upstreams:
        log = rig.load(gateway, ask=lambda n, name=name: load.Ask(model=name, stream=True, text=f"hello {n}"))
        demand(log.success == 100, f"{name}: success {log.success:.1f} %: {log.errors()}")
        late = sum(record.latency > CONNECT_MS / 1000 for record in log)
        told.append(f"{name} 100 % ({late} slow)")
        logs.append(log)
    direct = len(rig.sim.ledger())
    alone = rig.load(gateway, 20, 1, lambda n: load.Ask(model="stuck"))
    demand(alone.ok == 0 and len(rig.sim.ledger()) == direct, "without its proxy the upstream was reached")
    verdict = rig.verify(gateway, joined(*logs, alone))
    reasons = {attempt["outcome"] for row in verify.usage_rows(gateway.store_url) if row["model"] == "stuck" for attempt in row["attempts"]}
    demand(reasons and reasons <= {"proxy", "circuit_open"}, f"the attempts say {reasons}")
    demand(set(alone.statuses()) <= {502, 503}, f"clients got {dict(alone.statuses())}")
    return f"{', '.join(told)}; only a dead proxy: {dict(alone.statuses())}, reason {'/'.join(reasons)}, never direct; {verdict}"
