"""One simulator that replays all recorded traffic, and one gateway before it with a model for each case."""

import pytest

import harness
import schemas
from replay import cases


@pytest.fixture(scope="session")
def replay(session_folder):
    running = harness.Sim(session_folder, "--replay", schemas.shared() / "traffic")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def replay_gate(session_folder, replay):
    folder = session_folder / "replay"
    folder.mkdir()
    every = cases.every_case({**cases.PROVIDERS, **cases.COUNTERS, **cases.EMBEDDERS})
    models = [harness.model(case.model, case.dialect, case.name) for case in every]
    sections = {"health": harness.FORGETFUL, "upstreams": harness.upstreams(replay.url), "models": models}
    running = harness.Gateway(folder, sections)
    yield running
    running.stop()
