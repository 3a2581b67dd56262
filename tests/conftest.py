"""Fixtures of the black-box tests. The binary is built before; `TALLYGATE_BIN` names another one."""

import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import harness
import wire

FAULTS = [
    "429", "quota", "401", "404", "500", "503", "529", "hang", "hang-midstream", "slow", "cut", "garbage", "garbage-json",
    "midstream-error", "no-usage", "refuse",
]


def pytest_configure(config):
    if not harness.BIN.exists():
        pytest.exit(f"{harness.BIN} does not exist: run `cargo build` first, or name a binary in TALLYGATE_BIN", 2)


@pytest.fixture
def folder():
    """A folder of the test's own, outside the project, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tallygate-test-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def session_folder():
    with tempfile.TemporaryDirectory(prefix="tallygate-tests-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def sim(session_folder):
    running = harness.Sim(session_folder)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def gate(session_folder, sim):
    """A gateway whose models reach the simulator in each dialect: `via-<dialect>`, `via-<dialect>--<fault>`."""
    models = []
    for dialect in wire.DIALECTS:
        models.append(harness.model(f"via-{dialect}", dialect, "plain"))
        models.append(harness.model(f"via-{dialect}--thinking", dialect, "plain-thinking"))
        models += [harness.model(f"via-{dialect}--{fault}", dialect, f"sim-{fault}") for fault in FAULTS]
    folder = session_folder / "gate"
    folder.mkdir()
    timeouts = {"first_byte_timeout_ms": 1500, "idle_timeout_ms": 1500, "max_body_bytes": 2_000_000}
    running = harness.Gateway(folder, {"server": timeouts, "health": harness.FORGETFUL, "upstreams": harness.upstreams(sim.url), "models": models})
    yield running
    running.stop()


@pytest.fixture(scope="session")
def quick_sim(session_folder):
    """A simulator that does not pause between the chunks of a stream."""
    running = harness.Sim(session_folder, "--chunk-delay-ms", "0")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def loop_gate(session_folder, quick_sim):
    """A gateway before models that are strict about reasoning: `loop-<upstream>`."""
    from sdk.judge import UPSTREAMS

    folder = session_folder / "loops"
    folder.mkdir()
    models = [harness.model(f"loop-{name}", dialect, model) for name, (dialect, model) in UPSTREAMS.items()]
    running = harness.Gateway(folder, {"upstreams": harness.upstreams(quick_sim.url), "models": models})
    yield running
    running.stop()


@pytest.fixture(scope="session")
def postgres():
    folder = Path(tempfile.mkdtemp(prefix="tallygate-pg-"))
    os.chmod(folder, 0o755)
    try:
        running = harness.Postgres(folder)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    yield running
    running.stop()


@pytest.fixture
def redis(folder):
    own = folder / "redis"
    own.mkdir()
    try:
        running = harness.Redis(own)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    yield running
    running.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request, folder):
    """Each engine in turn: the URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:{folder}/tallygate.db"
    return request.getfixturevalue("postgres").database()


@pytest.fixture
def start_gateway(folder):
    """Starts gateways that end with the test."""
    running = []

    def start(sections, **options):
        own = folder / f"gateway-{len(running)}"
        own.mkdir()
        running.append(harness.Gateway(own, sections, **options))
        return running[-1]

    yield start
    for gateway in running:
        gateway.stop()


def pytest_terminal_summary(terminalreporter):
    """Agents that do not run here, and the table of replayed traffic."""
    skipped = {report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if "tests/agents/" in report.longrepr[0]}
    if skipped:
        terminalreporter.section("agents that were not tried")
        for reason in sorted(skipped):
            terminalreporter.line(reason.removeprefix("Skipped: "))
    replay_summary(terminalreporter)


def replay_summary(terminalreporter):
    """The table of replayed traffic: passes of each provider through each dialect, failures by name."""
    counts, failures = defaultdict(lambda: [0, 0]), []
    for outcome in ("passed", "failed", "xfailed", "xpassed"):
        for report in terminalreporter.stats.get(outcome, []):
            if report.when != "call" or "test_replay.py" not in report.nodeid or "[" not in report.nodeid:
                continue
            name = report.nodeid[report.nodeid.index("[") + 1:-1]
            if " -> " not in name:
                continue
            case, dialect = name.split(" -> ")
            row = counts[case.split("/")[0], dialect]
            row[1] += 1
            row[0] += outcome in ("passed", "xpassed")
            if outcome in ("failed", "xfailed"):
                failures.append(f"{name}{' (known)' if outcome == 'xfailed' else ''}")
    if not counts:
        return
    terminalreporter.section("recorded traffic: passed of all, by provider and client dialect")
    terminalreporter.line(f"{'provider':<26}" + "".join(f"{dialect:>18}" for dialect in wire.DIALECTS))
    for provider in sorted({provider for provider, _ in counts}):
        cells = [counts.get((provider, dialect)) for dialect in wire.DIALECTS]
        terminalreporter.line(f"{provider:<26}" + "".join(f"{f'{c[0]}/{c[1]}' if c else '-':>18}" for c in cells))
    for failure in sorted(failures):
        terminalreporter.line(f"failed: {failure}")
