"""A tenant's admin and a member sign in to the dashboard, and find a dashboard of their own."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "node" / "tenant.mjs"
CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    not CHROMIUM or not (SCRIPT.parent / "node_modules").is_dir(), reason="no chromium or no packages in tests/node")


def test_people_of_a_tenant_find_what_is_theirs_and_nothing_else(sim, start_gateway):
    gateway = start_gateway({"upstreams": [], "models": [], "tenants": []})
    given = {"setup_url": gateway.setup_link(), "admin_url": gateway.admin_url, "gateway_url": gateway.url, "sim_url": sim.url,
             "chromium": CHROMIUM, "shots": os.environ.get("TALLYGATE_SHOTS")}
    done = subprocess.run(["node", SCRIPT, json.dumps(given)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["step"] == "done", json.dumps({name: seen.get(name) for name in ("step", "error", "text")}, indent=1)
    assert seen["console_errors"] == []
    assert seen["failed"] == [], "a page asked for what is not its reader's"
    assert seen["admin_nav"] == [
        "Overview", "Requests", "Models and prices", "Limits and projects", "API keys", "People", "Bills", "Audit"]
    assert seen["member_nav"] == ["Overview", "Requests", "Models and prices", "API keys"]
    assert seen["roles_to_give"] == ["Tenant admin", "Tenant member"]
    assert (seen["status"], seen["status_restricted"]) == (200, 403), "a changed scope holds"
    for name, text in seen["pages"].items():
        who = name.split()[0]
        if who == "staff":
            continue
        for mark in ("zq7other", "zq7key", "zq7upstream", "zq7credential", "olga@example.com"):
            assert mark not in text, f"{name} shows {mark}"
        if who == "member":
            assert "ada@example.com" not in text, name
    assert "ci" not in seen["pages"]["member keys"].split()
    assert "own" in seen["pages"]["member keys"].split()
    assert "smart" in seen["pages"]["member available-models"] and "3.17" in seen["pages"]["member available-models"]
    assert "25" in seen["pages"]["admin tenants"] and "web" in seen["pages"]["admin tenants"]
    assert "Operator" in seen["pages"]["admin audit"]
