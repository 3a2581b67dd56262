"""`tallygate demo --json`: one line, and everything behind it works."""

import json
import signal

import httpx
import pytest

import harness
import wire


@pytest.fixture(scope="module")
def demo(session_folder):
    folder = session_folder / "demo"
    folder.mkdir()
    port = harness.free_port()
    process = harness.Process(
        [harness.BIN, "demo", "--json", "--listen", f"127.0.0.1:{port}", "--data-dir", folder / "data"], folder, "demo")

    def ready():
        assert process.alive(), process.output()
        return [line for line in process.output().splitlines() if line.startswith("{") and '"api_key"' in line]

    [line] = harness.wait_for("the demo", ready, 60)
    yield json.loads(line) | {"process": process}
    process.stop(signal.SIGTERM)


def test_the_line_has_the_documented_fields(demo):
    assert {"url", "api_key", "admin_url", "admin_token"} <= demo.keys()


def test_each_listed_model_answers_in_every_dialect(demo):
    http = httpx.Client(base_url=demo["url"], timeout=30, trust_env=False)
    listed = http.get("/v1/models", headers=wire.auth("openai-chat", demo["api_key"])).json()["data"]
    assert len(listed) >= 4
    for model in [entry["id"] for entry in listed if "embed" not in entry["id"]]:
        for dialect in wire.DIALECTS:
            for stream in (False, True):
                reply = http.post(wire.path(dialect, model, stream), json=wire.request(dialect, model, "hello", stream=stream),
                                  headers=wire.auth(dialect, demo["api_key"]))
                assert reply.status_code == 200, (model, dialect, reply.text)
                assert wire.read(dialect, reply.content, stream).text, (model, dialect)


def test_the_admin_token_reads_a_day_of_usage(demo):
    headers = {"authorization": f"Bearer {demo['admin_token']}"}
    base = demo["admin_url"].split("/setup")[0].rstrip("/")
    tenants = httpx.get(base + "/admin/v1/tenants", headers=headers, trust_env=False)
    assert tenants.status_code == 200, tenants.text
    assert len(tenants.json()["data"]) >= 1
    requests = httpx.get(base + "/admin/v1/requests", headers=headers, trust_env=False).json()["data"]
    assert requests, "the demo has no seeded usage"


def test_without_the_token_the_admin_api_is_shut(demo):
    base = demo["admin_url"].split("/setup")[0].rstrip("/")
    for path in ("tenants", "requests", "upstreams", "models", "users", "audit-events", "api-keys", "usage", "bills"):
        assert httpx.get(f"{base}/admin/v1/{path}", trust_env=False).status_code == 401, path
