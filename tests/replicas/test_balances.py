"""A prepaid tenant over three replicas on one PostgreSQL: what is paid in can be spent by all of them, once, and no more."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import harness

PICO = 10**12
MODEL = "m"
RACERS = 100
# In which a change takes effect on all replicas.
EFFECT_SECONDS = 5


@pytest.fixture
def replicas(quick_sim, start_gateway, postgres):
    tenant = {"name": "acme", "billing": {"mode": "prepaid"}, "keys": [{"name": "k", "secret": "env:TEST_ACME_KEY"}]}
    sections = {
        "upstreams": harness.upstreams(quick_sim.url), "tenants": [tenant],
        "models": [harness.model(MODEL, "openai-chat", "plain")],
    }
    url = postgres.database()
    return [start_gateway(sections, store_url=url) for _ in range(3)]


def ask(gateway):
    return gateway.ask("openai-chat", MODEL, "words=20", max_tokens=60)


def pico(text: str) -> int:
    whole, _, rest = text.partition(".")
    return int(whole) * PICO + int((rest + "0" * 12)[:12])


def test_what_is_paid_in_is_spent_by_all_replicas_and_a_voucher_is_money_once(replicas):
    for gateway in replicas:
        refused = ask(gateway)
        assert refused.status_code == 429, refused.text
        error = refused.json()["error"]
        assert (error["code"], error["tallygate"]["reason"]) == ("insufficient_quota", "balance")
        assert "prepaid balance" in error["message"]
    topup = ("topup", "--json", "--tenant", "acme", "--amount", "0.05", "--reference", "order-1")
    told = json.loads(replicas[0].cli(*topup))
    assert (told["was_booked_before"], told["balance"]) == (False, "0.05")
    harness.wait_for(
        "the top-up on all replicas", lambda: all(ask(gateway).status_code == 200 for gateway in replicas), EFFECT_SECONDS)
    assert json.loads(replicas[1].cli(*topup))["was_booked_before"] is True

    minted = json.loads(replicas[0].cli("voucher", "create", "--json", "--amount", "0.10", "--count", "2"))
    code = minted["vouchers"][0]["code"]
    # The link of the last to start is the one that holds.
    headers = {"authorization": f"Bearer {replicas[-1].admin_token()}"}
    http = [httpx.Client(base_url=gateway.admin_url, headers=headers, trust_env=False, timeout=30) for gateway in replicas]
    [tenant] = http[0].get("/admin/v1/tenants").json()["data"]
    path = f"/admin/v1/tenants/{tenant['id']}"
    with ThreadPoolExecutor(RACERS) as pool:
        redeem = lambda n: http[n % 3].post(f"{path}:redeem-voucher", json={"code": code}).status_code  # noqa: E731
        statuses = list(pool.map(redeem, range(RACERS)))
    assert (statuses.count(200), statuses.count(409)) == (1, RACERS - 1)
    balance = http[1].get(f"{path}/balance").json()
    assert balance["amount"] == "0.15"

    # To its end: no request is served that the balance does not cover.
    turn, quiet = 0, 0
    while quiet < 20:
        turn += 1
        quiet = 0 if ask(replicas[turn % 3]).status_code == 200 else quiet + 1
        assert turn < 10_000
    for gateway in replicas:
        assert gateway.stop() == 0
    charged = sum(int(row["charge"]) for row in replicas[0].rows())
    assert 0.9 * pico("0.15") < charged <= pico("0.15"), charged
