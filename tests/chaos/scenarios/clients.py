"""C1 to C4, C12, C13 and aborted streams: clients that leave, read slowly, ask twice, or lose their key."""

import asyncio
import json
import socket
import threading
import time
from contextlib import suppress

import harness
import load
import verify
from fountain import Fountain
from rig import Open, Rig, alive, demand, descriptors, forget_peak, joined, pause, rss_kib, scenario

# The table's bound for one slow reader.
STREAM_KIB = 320
SLOW_READERS = 1_000
LEAVE_SECONDS = 0.3
# From a client's leaving to the end of its call at the provider.
CANCELLED_MS = 200
# A slow reader that has so much is served.
GOES_ON_BYTES = 2_000
ABORTED = 10_000
# Resident memory that a process may gain without it being a leak: caches fill, allocators keep pages.
RSS_SLACK_KIB = 24 * 1024


@scenario("C1", "leaves before the first byte", "provider's call cancelled, input billed", "cancelled in < 200 ms")
def leaves_early(rig: Rig) -> str:
    silent = rig.secret("silent")
    upstream = rig.upstream("main", secrets=[silent])
    gateway = rig.gateway([upstream], server={"first_byte_timeout_ms": 20_000})
    # A key that has never worked is asked by two requests at a time.
    warm = rig.warm(gateway)
    begun = rig.sim.last_seq()
    rig.sim.fail(silent, "hang")
    late, middle, logs = float("inf"), 0.0, []
    # A busy machine may keep the provider waiting for its own clock; a slow gateway does so each time.
    while late >= CANCELLED_MS and len(logs) < 3:
        since = rig.sim.last_seq()
        logs.append(rig.load(gateway, 200, 50, lambda n: load.Ask(stream=n % 2 == 0, text=f"hello {n}", leave_after=LEAVE_SECONDS)))
        demand(all(record.left for record in logs[-1]), f"not all left: {logs[-1].errors()}")
        harness.wait_for("the end of all calls", lambda: all(e["ended"] != "open" for e in rig.sim.ledger(since)), 5, 0.01)
        # A client that got no head knows no id of its request: its leaving is told by when it came.
        entries = rig.sim.ledger(since)
        demand({entry["ended"] for entry in entries} == {"client_gone"}, f"ended as {[e['ended'] for e in entries][:5]}")
        lasted = sorted((entry["ended_at"] - entry["at"]) / 1000 - 1000 * LEAVE_SECONDS for entry in entries)
        if lasted[int(len(lasted) * 0.99)] < late:
            late, middle = lasted[int(len(lasted) * 0.99)], lasted[len(lasted) // 2]
    demand(late < CANCELLED_MS, f"the provider's call went on for {late:.0f} ms")
    log, entries = joined(warm, *logs), rig.sim.ledger(begun)
    verdict = rig.verify(gateway, log)
    rows = [row for row in verify.usage_rows(gateway.store_url) if row["outcome"] == "client_gone" and row["attempts"]]
    demand(len(rows) >= len(entries), f"{len(entries)} calls, {len(rows)} records")
    free = [row for row in rows if int(row["charge"]) == 0]
    demand(not free, f"{len(free)} of {len(rows)} dispatched requests were not billed for their input")
    return f"cancelled {middle:+.0f} ms (median), {late:+.0f} ms (p99) after leaving; all billed for input; {verdict}"


@scenario("C2", "leaves in mid-stream", "cancelled, output counted and flagged (I2, I4)", "leaving before the usage: charge >= 95 %")
def leaves_midstream(rig: Rig) -> str:
    sim = rig.simulator("--chunk-delay-ms", "15")
    models = {dialect: rig.upstream(f"up-{dialect}", sim.url, dialect=dialect) for dialect in ("openai-chat", "anthropic", "gemini")}
    gateway = rig.gateway(list(models.values()), [rig.model([one], name=f"via-{name}") for name, one in models.items()])
    moments = {
        "first": lambda body: b"every" in body,
        "half": lambda body: body.count(b"every") >= 5,
        # Its last words are there, its usage is not.
        "last": lambda body: (b'"finish_reason":"stop"' in body and b'"prompt_tokens"' not in body) or body.count(b"the tally") >= 10,
    }
    names = list(moments)

    def ask(n: int) -> load.Ask:
        model = f"via-{list(models)[n // 3 % 3]}"
        return load.Ask("openai-chat", model, "words=80", stream=True, leave=moments[names[n % 3]])

    log = rig.load(gateway, 300, 50, ask)
    verdict = rig.verify(gateway, log, sim)
    rows = {row["request_id"]: row for row in verify.usage_rows(gateway.store_url)}
    oracle = {verify.plain(entry["gateway_request_id"]): entry for entry in sim.ledger()}
    share = []
    for record in log:
        row, entry = rows[verify.plain(record.id)], oracle[verify.plain(record.id)]
        if record.left and names[record.n % 3] == "last":
            share.append(100 * int(row["charge"]) / harness.charge_pico(entry["usage"]))
        if record.left and entry["ended"] == "client_gone":
            demand(row["usage_source"] != "provider" and row["outcome"] == "client_gone", f"{row['outcome']}, {row['usage_source']}")
    demand(share, "nobody left before the usage")
    demand(min(share) >= 95, f"leaving before the usage costs only {min(share):.1f} %")
    cancelled = sum(entry["ended"] == "client_gone" for entry in oracle.values())
    return f"{cancelled} cancelled; leaving before the usage costs {min(share):.1f} % and more of the whole; {verdict}"


async def slow_reader(gateway, request: bytes, seconds: float, per_second: int, told: list[int], n: int):
    """A client that takes so many bytes a second, and no more; tells what it got."""
    host, port = gateway.url.split("//")[1].split(":")
    client = socket.socket()
    client.setblocking(False)
    # What the client's kernel takes in, the gateway has got rid of.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    loop, begun = asyncio.get_running_loop(), time.monotonic()
    deadline = begun + seconds
    with client:
        await loop.sock_connect(client, (host, int(port)))
        await loop.sock_sendall(client, request)
        while time.monotonic() < deadline and (time.monotonic() < begun + 10 or min(told) <= GOES_ON_BYTES):
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline - time.monotonic()):
                    if per_second:
                        piece = await loop.sock_recv(client, per_second)
                        if not piece:
                            break
                        told[n] += len(piece)
                    await asyncio.sleep(1)


async def slow_readers_of(gateway, count: int, request: bytes, seconds: float, per_second: int) -> list[int]:
    """At most so many seconds; at least 10, and until all go on."""
    told = [0] * count
    await asyncio.gather(*(slow_reader(gateway, request, seconds, per_second, told, n) for n in range(count)))
    return told


@scenario("C3", "1,000 readers at 1 KiB/s", "back-pressure, bounded buffers", f"RSS < base + 1,000 x {STREAM_KIB} KiB")
def slow_readers(rig: Rig) -> str:
    fountain = rig.add(Fountain())
    endless = rig.upstream("endless", fountain.url)
    healthy = rig.upstream("main")
    gateway = rig.gateway([endless, healthy], [rig.model([endless]), rig.model([healthy], name="calm")],
                          server={"idle_timeout_ms": 60_000, "first_byte_timeout_ms": 30_000, "max_in_flight": 3_000})
    rig.warm(gateway, 200, lambda n: load.Ask(model="calm"))
    base = rss_kib(gateway)
    forget_peak(gateway)
    request = load.Ask(stream=True).bytes("gateway")
    got = asyncio.run(slow_readers_of(gateway, SLOW_READERS, request, 40, 1024))
    peak = rss_kib(gateway, peak=True)
    each = (peak - base) / SLOW_READERS
    served = sum(amount > GOES_ON_BYTES for amount in got)
    demand(served == SLOW_READERS, f"only {served} of {SLOW_READERS} streams went on")
    demand(each < STREAM_KIB, f"{each:.0f} KiB each")
    harness.wait_for("the end of all streams", lambda: fountain.open == 0, 10, 0.1)
    good = rig.load(gateway, 50, ask=lambda n: load.Ask(model="calm"))
    demand(good.success == 100, f"others: {good.errors()}")
    return f"RSS {base // 1024} -> {peak // 1024} MiB, {each:.0f} KiB a stream; all {served} went on, the provider sent {fountain.sent >> 20} MiB"


@scenario("C4", "reader that stalls", "cut after the stall timeout, settled", "sockets freed")
def stalled_reader(rig: Rig) -> str:
    # So many that what else the process allocates meanwhile, some megabytes, does not show in the share of each.
    count, stall = 400, 3
    fountain = rig.add(Fountain())
    endless = rig.upstream("endless", fountain.url)
    try:
        gateway = rig.gateway([endless, rig.upstream("main")], [rig.model([endless]), rig.model([{"name": "main"}], name="calm")],
                              server={"write_stall_timeout_ms": stall * 1000, "idle_timeout_ms": 60_000})
    except RuntimeError as error:
        raise Open("the stall timeout (60 s) cannot be configured") from error
    rig.warm(gateway, 60, lambda n: load.Ask(model="calm"))
    before, base, begun = descriptors(gateway), rss_kib(gateway), time.monotonic()
    request = load.Ask(stream=True).bytes("gateway")
    ended, held_most = [], []

    def watch():
        harness.wait_for("the streams", lambda: fountain.open == count, 10, 0.05)
        pause(stall * 0.8)
        held_most.append(rss_kib(gateway))
        harness.wait_for("their end", lambda: fountain.open == 0, 30, 0.05)
        ended.append((time.monotonic() - begun, rss_kib(gateway), descriptors(gateway)))

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    asyncio.run(slow_readers_of(gateway, count, request, stall + 12, 0))
    watching.join()
    demand(ended, "stalled streams are still open at the provider")
    took, held, sockets = ended[0]
    each = (held_most[0] - base) / count
    demand(each < STREAM_KIB, f"{each:.0f} KiB each while stalled")
    demand(took >= stall, f"cut after {took:.1f} s, before the timeout")
    demand(sockets <= before + 5, f"descriptors {before} -> {sockets}")
    gateway.wait_for_rows(60 + count)
    rows = [row for row in verify.usage_rows(gateway.store_url) if row["model"] == "m"]
    demand(len(rows) == count and all(row["outcome"] == "client_gone" and int(row["charge"]) > 0 for row in rows),
           f"{len(rows)} settled, as {({row['outcome'] for row in rows})}")
    return (f"{count} cut within {took:.1f} s (timeout {stall} s), {each:.0f} KiB each while stalled, "
            f"RSS {base >> 10} -> {held >> 10} MiB after, descriptors {before} -> {sockets}, all settled")


@scenario("C12", "same Idempotency-Key twice", "409 in flight, else the stored answer", "billed once (I2)")
def idempotency(rig: Rig) -> str:
    slow = rig.secret("slow")
    rig.sim.fail(slow, "slow")
    gateway = rig.gateway([rig.upstream("slow", secrets=[slow]), rig.upstream("main")],
                          [rig.model([{"name": "slow"}], name="slow"), rig.model([{"name": "main"}])],
                          server={"first_byte_timeout_ms": 20_000})
    same = {"idempotency-key": "order-1"}
    first = rig.load(gateway, 1, 1, lambda n: load.Ask(text="once", headers=same)).records[0]
    again = rig.load(gateway, 3, 1, lambda n: load.Ask(text="once", headers=same))
    calls = len(rig.sim.ledger())
    if calls == 4:
        raise Open("keys are not looked at: each request is served and billed")
    demand(calls == 1, f"{calls} upstream calls for one key")
    demand(all(record.ok and record.body == first.body for record in again), f"the stored answer is another: {again.errors()}")
    demand(all(record.headers.get("idempotency-replayed") == "true" for record in again), "a stored answer does not say that it is one")
    other = rig.load(gateway, 1, 1, lambda n: load.Ask(text="something else", headers=same)).records[0]
    demand(other.status == 409, f"the same key with another body is answered {other.status}")
    beta = rig.load(gateway, 1, 1, lambda n: load.Ask(text="once", headers=same, key=harness.OTHER_KEY)).records[0]
    demand(beta.ok and len(rig.sim.ledger()) == 2, "another tenant's key of the same name is not its own")
    both = rig.load(gateway, 2, 2, lambda n: load.Ask(model="slow", text="twice", headers={"idempotency-key": "order-2"}))
    demand(sorted(record.status for record in both) == [200, 409], f"two at once are answered {dict(both.statuses())}")
    streams = rig.load(gateway, 2, 2, lambda n: load.Ask(model="slow", stream=True, headers={"idempotency-key": "order-3"}))
    demand(sorted(record.status for record in streams) == [200, 409], f"two streams at once are answered {dict(streams.statuses())}")
    demand(len(rig.sim.ledger()) == 4, f"{len(rig.sim.ledger())} calls upstream for 4 keys")
    verdict = rig.verify(gateway, load.Log([first, beta, *both, *streams], 0))
    return (f"4 requests, 1 call, 1 bill; other body 409; at once {dict(both.statuses())}; "
            f"streams at once {dict(streams.statuses())}; {verdict}")


@scenario("C13", "key revoked in mid-stream", "the stream may finish; new requests refused", "in <= 5 s")
def key_revoked(rig: Rig) -> str:
    sim = rig.simulator("--chunk-delay-ms", "30")
    gateway = rig.gateway([rig.upstream("main", sim.url)], store_url=rig.postgres.database())
    key = json.loads(gateway.cli("key", "create", "--tenant", "beta", "--name", "short-lived", "--json"))
    secret, key_id = key.get("secret") or key.get("key") or key["api_key"], key.get("id") or key.get("key_id")
    harness.wait_for("the new key", lambda: rig.load(gateway, 1, 1, lambda n: load.Ask(key=secret, text="words=3")).ok == 1, 5, 0.1)
    with load.Background(gateway.url, 20, 20, lambda n: load.Ask(key=secret, text="words=300", stream=True)) as running:
        harness.wait_for("20 streams", lambda: sum(entry["ended"] == "open" for entry in sim.ledger()) == 20, 10)
        begun = time.monotonic()
        gateway.cli("key", "revoke", key_id)
        harness.wait_for("the refusal", lambda: rig.load(gateway, 1, 1, lambda n: load.Ask(key=secret)).records[0].status == 401, 5, 0.05)
        took = time.monotonic() - begun
        log = running.wait()
    demand(log.ok in (0, len(log)), f"{log.ok} of {len(log)} streams finished: {log.errors()}")
    verdict = rig.verify(gateway, log, sim)
    return f"refused {took:.2f} s after the command, {log.ok} of {len(log)} open streams finished; {verdict}"


@scenario("C14", "10,000 aborted streams", "cancelled, settled", "memory and descriptors where they were")
def aborted(rig: Rig) -> str:
    sim = rig.simulator("--chunk-delay-ms", "20")
    gateway = rig.gateway([rig.upstream("main", sim.url)], log={"level": "warn"}, server={"first_byte_timeout_ms": 30_000})

    def ask(n: int) -> load.Ask:
        return load.Ask(text="words=90", stream=True, leave=lambda body: len(body) > 300)

    rig.load(gateway, 2_000, 100, ask)
    harness.wait_for("the calls' ends", lambda: all(entry["ended"] != "open" for entry in sim.ledger()), 10, 0.2)
    pause(2)
    before, sockets = rss_kib(gateway), descriptors(gateway)
    log = rig.load(gateway, ABORTED, 100, ask)
    left = sum(record.left for record in log)
    demand(left == len(log), f"{left} of {len(log)} left: {log.errors()}")
    harness.wait_for("the calls' ends", lambda: all(entry["ended"] != "open" for entry in sim.ledger()), 10, 0.2)
    pause(2)
    after = rss_kib(gateway)
    demand(after - before < RSS_SLACK_KIB, f"RSS {before / 1024:.1f} -> {after / 1024:.1f} MiB")
    demand(descriptors(gateway) <= sockets + 20, f"descriptors {sockets} -> {descriptors(gateway)}")
    rig.settled(gateway, sim)
    alive(gateway)
    # What is on its way when a client leaves after a few words is more than it read: no estimate is compared.
    verdict = rig.verify(gateway, load.Log([], 0), sim)
    return f"RSS {before / 1024:.1f} -> {after / 1024:.1f} MiB, descriptors {sockets} -> {descriptors(gateway)}, {left / log.seconds:.0f}/s; {verdict}"
