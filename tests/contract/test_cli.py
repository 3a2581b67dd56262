"""The command line: what scripts rely on."""

import csv
import io
import json
import subprocess
from decimal import Decimal

import pytest

import harness
import wire


def test_version(folder):
    told = subprocess.run([harness.BIN, "version", "--json"], capture_output=True, text=True, check=True, cwd=folder).stdout
    assert json.loads(told)["version"]


def test_the_schema_of_the_configuration_is_printed(folder):
    told = subprocess.run([harness.BIN, "config", "schema"], capture_output=True, text=True, check=True, cwd=folder).stdout
    assert "upstreams" in json.loads(told)["properties"]


def test_the_configuration_is_shown_without_secrets(gate):
    told = gate.cli("config", "show")
    assert "up-anthropic" in told
    for secret in ("sk-upstream-0001", harness.TENANT_KEY, harness.PEPPER):
        assert secret not in told


def test_a_good_configuration_passes_the_check(gate):
    gate.cli("config", "check")


def test_keys_are_made_listed_and_revoked_while_the_gateway_runs(sim, start_gateway, postgres):
    """On PostgreSQL, where the command and the gateway share the database."""
    models = [harness.model("m", "anthropic", "plain")]
    gateway = start_gateway({"upstreams": harness.upstreams(sim.url), "models": models}, store_url=postgres.database())
    made = json.loads(gateway.cli("key", "create", "--tenant", "acme", "--name", "made", "--json"))
    key = next(value for value in made.values() if isinstance(value, str) and value.startswith("sk-tg1_"))
    harness.wait_for("the new key", lambda: gateway.ask("openai-chat", "m", key=key).status_code == 200, 40, 0.2)
    assert key not in gateway.cli("key", "list", "--json")
    assert "made" in gateway.cli("key", "list", "--json")
    id = next(value for value in made.values() if isinstance(value, str) and value.startswith("key_"))
    gateway.cli("key", "revoke", id)
    harness.wait_for("the revocation", lambda: gateway.ask("openai-chat", "m", key=key).status_code == 401, 40, 0.2)


def test_exports_agree_with_the_records(sim, start_gateway, store_url):
    models = [harness.model(f"via-{dialect}", dialect, "plain") for dialect in wire.DIALECTS]
    gateway = start_gateway({"upstreams": harness.upstreams(sim.url), "models": models}, store_url=store_url)
    for number in range(12):
        assert gateway.ask(wire.DIALECTS[number % 4], f"via-{wire.DIALECTS[number // 4]}", f"words={number + 3}").status_code == 200
    rows = gateway.wait_for_rows(12)
    assert len(rows) == 12
    total = sum(int(row["charge"]) for row in rows)
    gateway.stop()

    records = list(csv.DictReader(io.StringIO(gateway.cli("usage", "export"))))
    assert len(records) == 12
    assert sum(Decimal(record["charge"]) for record in records) * 10**12 == total
    assert {int(record["output_text"]) for record in records} == {row["output_text"] for row in rows}
    for line in gateway.cli("usage", "export", "--json").splitlines():
        assert json.loads(line)["request_id"]

    month = max(record["accepted_at"] for record in records)[:7]
    bill = json.loads(gateway.cli("bill", "export", "--tenant", "acme", "--period", month, "--json"))
    lines = list(csv.DictReader(io.StringIO(gateway.cli("bill", "export", "--tenant", "acme", "--period", month))))
    assert lines, bill


@pytest.mark.parametrize("command", [["serve", "--help"], ["--help"]])
def test_help(folder, command):
    done = subprocess.run([harness.BIN, *command], capture_output=True, text=True, cwd=folder)
    assert "serve" in done.stdout.lower() + done.stderr.lower()
