"""R1 to R5: Redis, in which three replicas share their limits, goes away, is flushed, hangs or is slow; PostgreSQL goes away beside it."""

import signal
from contextlib import contextmanager

import harness
import load
import psycopg
import rig as rigs
from balancer import Balancer
from rig import Rig, alive, demand, joined, metric, scenario
from stores import ADDED_MS, drained, postgres, tail, unharmed

REPLICAS = 3
PER_MINUTE = 600
# Below the limit, and each replica's part of it below its share.
CALM_RATE = 7
BUDGET = {"amount": "1000.00", "currency": "USD", "period": "month"}


class Replicas:
    """Three gateways on one PostgreSQL and one Redis behind a balancer, and beside them one that shares nothing with them."""

    def __init__(self, rig: Rig, redis_url=None):
        self.rig = rig
        folder = rig.folder / "redis"
        folder.mkdir()
        self.redis = rig.add(harness.Redis(folder))
        self.database = postgres(rig)
        url, upstream = self.database.database(), rig.upstream("up")
        tenants = [{"name": "acme", "budget": BUDGET, "limits": {"requests_per_minute": PER_MINUTE, "concurrency": 50},
                    "keys": [{"name": "k", "secret": "env:TEST_ACME_KEY"}]}]
        limits = {"shared": redis_url(self.redis) if redis_url else self.redis.url}
        self.gateways = [rig.gateway([upstream], store_url=url, limits=limits, tenants=tenants) for _ in range(REPLICAS)]
        for one in self.gateways:
            harness.wait_for("the replicas", lambda one=one: metric(one, "tallygate_shared_limits_processes") == REPLICAS)
        self.balancer = rig.add(Balancer([(one.url, one.metrics_url + "/readyz") for one in self.gateways]))
        self.beside = rig.gateway([rig.upstream("beside", rig.simulator().url)])
        rig.warm(self.beside)

    def asked(self, count: int) -> load.Log:
        return load.run(self.balancer.url, count, 20)

    @contextmanager
    def under_load(self, seconds: float):
        """The same calm load on the replicas and on the one beside; afterwards `logs` has both."""
        both = [load.Background(url, int(seconds * CALM_RATE), 10, rate=CALM_RATE) for url in (self.balancer.url, self.beside.url)]
        with both[0], both[1]:
            yield
            self.logs = [one.wait() for one in both]

    def modes(self) -> set[str]:
        return {mode for mode in ("shared", "share") for one in self.gateways if metric(one, "tallygate_shared_limits_mode", mode=mode)}

    def told(self, *before: load.Log, but="") -> str:
        """What must hold of all rows: nobody refused (`but` for this reason), nobody held up, everything in the books, the budget's
        too."""
        log, calm = self.logs
        refused = [record for record in log if but and record.status == 503 and but.encode() in record.body]
        slow = max((1000 * record.latency for record in refused), default=0)
        demand(slow < ADDED_MS, f"a refusal took {slow:.0f} ms")
        unharmed(load.Log([record for record in log if record not in refused], log.seconds), calm)
        for one in self.gateways:
            drained(one, 30)
            alive(one)
        verdict = self.rig.verify(self.gateways[0], joined(*before, log), self.rig.sim)
        spent = f"{self.spent():.4f}"
        told = f", {len(refused)} x {but}" if refused else ""
        return f"{len(log)} requests{told}, success {log.success:.1f} %, {tail(log)} (beside: {tail(calm)}); {spent} of the budget spent; {verdict}"

    def spent(self) -> float:
        """Money, as the budget has it, which is what was charged."""
        with psycopg.connect(self.gateways[0].store_url) as db:
            [(units, pico, over)] = db.execute(
                "SELECT spent_units, spent_pico, overspent_units * 1000000000000 + overspent_pico FROM budget_windows").fetchall()
            [(charged,)] = db.execute("SELECT sum(charge) FROM usage_records").fetchall()
        spent = int(units) * 10**12 + int(pico)
        demand((spent, int(over)) == (int(charged), 0), f"the budget says {spent} and {over} beyond it, charged were {charged}")
        return spent / 1e12


@scenario("R1", "three replicas, 1,200 a minute asked", "600 in any minute", "600 ± 2 % in each of 60 s of demand")
def in_any_minute(rig: Rig) -> str:
    replicas = Replicas(rig)
    log = load.run(replicas.balancer.url, 20 * 135, 30, rate=20)
    demand(set(log.statuses()) == {200, 429}, log.errors())
    times = sorted(entry["at"] / 1e6 for entry in rig.sim.ledger())
    begun, end = times[0], times[0] + 130
    starts = [begun, *(at + 1e-6 for at in times if at + 60 < end)]
    counts = [sum(start <= at < start + 60 for at in times) for start in starts]
    demand(max(counts) <= 1.02 * PER_MINUTE, f"{max(counts)} in one minute")
    demand(min(counts) >= 0.98 * PER_MINUTE, f"{min(counts)} in one minute")
    late = sum(metric(one, "tallygate_shared_limits_failures_total") for one in replicas.gateways)
    return f"{min(counts)} to {max(counts)} in any minute of 130 s, {len(log)} asked, {late:.0f} answers of Redis late"


@scenario("R2", "Redis killed for 60 s", "the share holds", "success 100 %, added < 250 ms, all in the books")
def killed(rig: Rig) -> str:
    replicas = Replicas(rig)
    with replicas.under_load(66):
        rigs.pause(3)
        replicas.redis.kill()
        rigs.pause(58)
        demand(replicas.modes() == {"share"}, f"the modes are {replicas.modes()}")
        replicas.redis.go()
    first = replicas.told()
    harness.wait_for("shared limits", lambda: replicas.modes() == {"shared"}, 70, 0.5)
    return f"shared again a minute after; {first}"


@scenario("R3", "Redis flushed every 5 s", "the share holds for a minute", "success 100 %, added < 250 ms, all in the books")
def flushed(rig: Rig) -> str:
    replicas = Replicas(rig)
    with replicas.under_load(24):
        for _ in range(4):
            rigs.pause(5)
            replicas.redis.flush()
        rigs.pause(1)
        demand(replicas.modes() == {"share"}, f"the modes are {replicas.modes()}")
    return replicas.told()


@scenario("R4", "Redis hangs (SIGSTOP, 10 s), then takes 150 ms", "given up, the share holds",
          "success 100 %, added < 250 ms, all in the books")
def slow(rig: Rig) -> str:
    between = []

    def through(redis):
        between.append(rig.proxy(redis.url.replace("redis://", "http://")))
        return f"redis://{between[0].address}"

    replicas = Replicas(rig, through)
    with replicas.under_load(26):
        rigs.pause(2)
        replicas.redis.signal(signal.SIGSTOP)
        rigs.pause(10)
        demand(replicas.modes() == {"share"}, f"hung, the modes are {replicas.modes()}")
        replicas.redis.signal(signal.SIGCONT)
        rigs.pause(2)
        between[0].set(latency=0.15)
        rigs.pause(8)
        demand(replicas.modes() == {"share"}, f"slow, the modes are {replicas.modes()}")
    return replicas.told()


@scenario("R5", "PostgreSQL stopped for 60 s, Redis there", "limits are shared on; leases of a budget last a minute",
          "added < 250 ms, no 401, no refusal but budget_unknown")
def without_postgresql(rig: Rig) -> str:
    replicas = Replicas(rig)
    first = replicas.asked(20)
    with replicas.under_load(68):
        rigs.pause(3)
        replicas.database.halt()
        rigs.pause(60)
        demand(replicas.modes() == {"shared"}, f"the modes are {replicas.modes()}")
        replicas.database.go()
    # Leases of the budget last a minute, and are used no longer than that without the database.
    return replicas.told(first, but="budget_unknown")
