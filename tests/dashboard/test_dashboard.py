"""The dashboard in headless Chromium, from the setup link to the bill."""

import csv
import json
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

import harness

SCRIPT = Path(__file__).resolve().parent.parent / "node" / "dashboard.mjs"
CHROMIUM = shutil.which("chromium")
PRICE = {"currency": "USD", "input": "3.17", "cache_read": "0.31", "cache_write_5m": "3.75", "cache_write_1h": "6.01",
         "output": "15.13", "reasoning": "14.07", "input_image": "0"}


pytestmark = pytest.mark.skipif(
    not CHROMIUM or not (SCRIPT.parent / "node_modules").is_dir(), reason="no chromium or no packages in tests/node")


def test_from_the_setup_link_to_the_bill(sim, folder, start_gateway):
    gateway = start_gateway({"upstreams": [], "models": [], "tenants": []})
    since = sim.last_seq()
    given = {"setup_url": gateway.setup_link(), "admin_url": gateway.admin_url, "gateway_url": gateway.url, "sim_url": sim.url,
             "chromium": CHROMIUM, "folder": str(folder)}
    done = subprocess.run(["node", SCRIPT, json.dumps(given)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["step"] == "done", json.dumps(seen, indent=1, ensure_ascii=False)
    assert seen["secret_form"]
    assert seen["statuses"] == [200, 200, 200], seen["last_answer"]
    assert not seen["secret_in_list"] and not seen["upstream_secret_in_list"]
    assert "Used up: $0.00" in seen["budgets"], seen["budgets"]
    assert seen["statuses_after_rotation"] == [200, 200]
    assert seen["status_after_revocation"] == 401
    assert seen["console_errors"] == []

    rows = gateway.rows("status = 200")
    ledger = sim.ledger(since)
    assert len(rows) == len(ledger) == 3
    charges = [int(row["charge"]) for row in rows]
    assert sorted(charges) == sorted(harness.charge_pico(entry["usage"], PRICE) for entry in ledger)

    assert len(seen["rows"]) == 3
    assert all("smart" in row and "acme" in row for row in seen["rows"])
    assert "Counted by the provider." in seen["drawer"]

    assert "every condition holds" in seen["explained"], seen["explained"]
    assert "dashboard-model-plain" in seen["explained"], seen["explained"]
    assert "0 in flight" in seen["health"] and "spent today" in seen["health"], seen["health"]

    lines = list(csv.DictReader(Path(seen["csv"]).read_text().splitlines()))
    assert lines, "the bill's CSV has no line"
    amounts = [line for line in lines if line.get("class") or line.get("usage_class")]
    assert sum(Decimal(line["amount"]) for line in amounts) * 10**12 == sum(charges), lines
    assert f"{Decimal(sum(charges)) / 10**12:f}".rstrip("0") in seen["bill"].replace(",", ""), seen["bill"]


def test_the_setup_link_works_once(folder, start_gateway):
    import httpx

    gateway = start_gateway({"upstreams": [], "models": [], "tenants": []})
    token = gateway.setup_link().split("#")[1]
    made = {"token": token, "name": "O", "email": "o@example.com", "password": "correct horse battery staple"}
    headers = {"origin": gateway.admin_url}
    first = httpx.post(gateway.admin_url + "/admin/v1/setup", json=made, headers=headers, trust_env=False)
    assert first.status_code in (200, 201), first.text
    again = httpx.post(gateway.admin_url + "/admin/v1/setup", json=made, headers=headers, trust_env=False)
    assert 400 <= again.status_code < 500
    gateway.stop()
    gateway.start()
    # It is ready a moment before it says so.
    harness.wait_for("the second banner", lambda: gateway.process.output().count("ready in") == 2, 10)
    assert "/setup#" not in gateway.process.output().split("ready in")[-1], "a second owner is offered"
