"""Where requests go, seen from outside: splits over replicas and restarts, conversations that stay, rules, fitness."""

import http.client
import json
import threading
from collections import Counter

import httpx
import pytest

import harness
import wire

MASK = (1 << 64) - 1
USERS = 10_000
THREADS = 8


def xxh64(data: bytes, seed: int = 0) -> int:
    """XXH64 of fewer than 32 bytes, from its specification: the oracle of splits."""
    p1, p2, p3, p4, p5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
    rotate = lambda x, by: ((x << by) | (x >> (64 - by))) & MASK  # noqa: E731
    assert len(data) < 32
    at, h = 0, (seed + p5 + len(data)) & MASK
    while at + 8 <= len(data):
        lane = rotate(int.from_bytes(data[at:at + 8], "little") * p2 & MASK, 31) * p1 & MASK
        h, at = (rotate(h ^ lane, 27) * p1 + p4) & MASK, at + 8
    while at + 4 <= len(data):
        h, at = (rotate(h ^ (int.from_bytes(data[at:at + 4], "little") * p1 & MASK), 23) * p2 + p3) & MASK, at + 4
    for byte in data[at:]:
        h = rotate(h ^ (byte * p5 & MASK), 11) * p1 & MASK
    h = (h ^ (h >> 33)) * p2 & MASK
    h = (h ^ (h >> 29)) * p3 & MASK
    return h ^ (h >> 32)


def arm_of(model: str, user: str, first_weight: int, total: int = 100) -> str:
    mark = xxh64(user.encode(), xxh64(model.encode())) * total >> 64
    return "arm-a" if mark < first_weight else "arm-b"


def arms_of(gateways, users) -> dict[str, str]:
    """The upstream's model that answered each user, the gateways asked in turn, few at a time."""
    found, failed = {}, []

    def ask(own):
        # The standard library's client: ten thousand requests are a matter of the client's own speed.
        lines = [http.client.HTTPConnection("127.0.0.1", gateway.ports["listen"], timeout=30) for gateway in gateways]
        headers = {**wire.auth("openai-chat", harness.TENANT_KEY), "content-type": "application/json"}
        for number, user in own:
            line = lines[number % len(lines)]
            line.request("POST", "/v1/chat/completions", json.dumps(
                {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, "user": user}), headers)
            reply = line.getresponse()
            text = reply.read()
            if reply.status == 200:
                found[user] = reply.headers["x-tallygate-model"]
            else:
                failed.append((user, reply.status, text))

    numbered = list(enumerate(users))
    threads = [threading.Thread(target=ask, args=(numbered[n::THREADS],)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[:3]
    return found


def test_a_split_is_within_one_percent_and_the_same_in_two_replicas_and_after_a_restart(sim, start_gateway, postgres):
    sections = {
        "upstreams": harness.upstreams(sim.url),
        "models": [{
            "name": "m", "price": harness.PRICE,
            "split": {"by": "user", "arms": [{"name": "a", "weight": 90}, {"name": "b", "weight": 10}]},
            "targets": [{"upstream": "up-openai-chat", "model": "arm-a", "arm": "a"},
                        {"upstream": "up-openai-chat", "model": "arm-b", "arm": "b"}]}],
    }
    url = postgres.database()
    replicas = [start_gateway(sections, store_url=url), start_gateway(sections, store_url=url)]
    since = sim.last_seq()
    users = [f"user-{n}" for n in range(USERS)]
    arms = arms_of(replicas, users)
    share = Counter(entry["model"] for entry in sim.ledger(since))
    assert share.total() == USERS
    assert abs(share["arm-b"] - USERS // 10) <= USERS // 100, share
    assert arms == {user: arm_of("m", user, 90) for user in users}

    page = httpx.get(replicas[0].metrics_url + "/metrics", trust_env=False).text
    assert 'tallygate_arm_requests_total{arm="b",rule="m"}' in page
    for replica in replicas:
        replica.stop()
        replica.start()
    # The other replica this time.
    sample = users[1::10]
    assert arms_of(replicas, sample) == {user: arms[user] for user in sample}


def five_credentials(sim, **model):
    secrets = {f"TEST_CRED_{n}": f"sk-route{sim.last_seq()}-c{n:03}" for n in range(5)}
    credentials = [{"name": f"c{n}", "secret": f"env:TEST_CRED_{n}"} for n in range(5)]
    sections = {
        "upstreams": [{"name": "pool", "dialect": "openai-chat", "base_url": sim.url + "/v1", "credentials": credentials}],
        "models": [{"name": "m", "price": harness.PRICE, "targets": [{"upstream": "pool", "model": "plain"}], **model}],
    }
    return sections, secrets


@pytest.mark.parametrize("known_by", ["session", "prompt_cache_key", "prefix"])
def test_a_conversation_stays_through_reloads_and_moves_once_when_its_credential_dies(sim, start_gateway, postgres, known_by):
    sections, secrets = five_credentials(sim)
    gateway = start_gateway(sections, env=secrets, store_url=postgres.database())
    headers = {**wire.auth("openai-chat", harness.TENANT_KEY)}
    extra = {}
    if known_by == "session":
        headers["x-claude-code-session-id"] = "57a121ec-f78c-48c3-a745-e3036a3ecc33"
    if known_by == "prompt_cache_key":
        extra["prompt_cache_key"] = "thread-1"
    messages, served, dead = [{"role": "system", "content": "Be brief."}], [], None
    for turn in range(20):
        messages.append({"role": "user", "content": f"Question {turn} of {known_by}?"})
        since = sim.last_seq()
        reply = gateway.http.post("/v1/chat/completions", json={"model": "m", "messages": messages, **extra}, headers=headers)
        assert reply.status_code == 200, reply.text
        messages.append({"role": "assistant", "content": reply.json()["choices"][0]["message"]["content"]})
        tried = [entry["credential"] for entry in sim.ledger(since)]
        served.append(tried[-1])
        if turn % 4 == 1:
            # A change of configuration, which the running gateway takes up.
            gateway.cli("key", "create", "--tenant", "acme", "--name", f"reload-{turn}")
        if turn == 9:
            dead = next(secret for secret in secrets.values() if secret.endswith(served[-1]))
            assert sim.http.put("/_sim/faults", params={"credential": dead, "fault": "401"}).is_success
    assert len(set(served[:10])) == 1, served
    assert len(set(served[10:])) == 1, served
    assert served[9] != served[10]
    rows = gateway.wait_for_rows(20)
    assert len(rows) == 20
    told = affinities(gateway)
    assert told == [known_by] * 10 + [f"{known_by}:moved"] * 10
    sim.http.delete("/_sim/faults", params={"credential": dead})


def affinities(gateway) -> list[str]:
    import psycopg

    with psycopg.connect(gateway.store_url) as db:
        return [row[0] for row in db.execute("SELECT affinity FROM usage_records ORDER BY accepted_at").fetchall()]


def test_the_same_short_prompt_again_and_again_is_spread(sim, start_gateway):
    sections, secrets = five_credentials(sim)
    gateway = start_gateway(sections, env=secrets)
    since = sim.last_seq()
    for _ in range(51):
        assert gateway.ask("openai-chat", "m").status_code == 200
    share = Counter(entry["credential"] for entry in sim.ledger(since))
    assert len(share) == 5 and max(share.values()) <= 11, share


def test_rules_go_by_tenant_tag_header_and_size(sim, start_gateway):
    def to(name, **match):
        return {"name": name, "match": match, "targets": [{"upstream": "up-openai-chat", "model": name}]}

    sections = {
        "upstreams": harness.upstreams(sim.url),
        "models": [harness.model("m", "openai-chat", "own"), harness.model("n", "openai-chat", "other")],
        "routes": [
            to("for-beta", tenants=["beta"], models=["m"]),
            to("for-night", tags=["night"], models=["m"]),
            to("for-search", headers={"x-team": "search*"}, models=["m"]),
            to("for-long", min_input_tokens=1000, models=["m"]),
        ],
        "tenants": [
            {"name": "acme", "keys": [{"name": "k", "secret": "env:TEST_ACME_KEY", "tags": ["day"], "project": "p1"}]},
            {"name": "beta", "keys": [{"name": "k", "secret": "env:TEST_BETA_KEY"}]}],
    }
    gateway = start_gateway(sections)

    def goes(model="m", text="hello", **options):
        reply = gateway.ask("openai-chat", model, text, **options)
        assert reply.status_code == 200, reply.text
        return reply.headers["x-tallygate-model"]

    assert goes() == "own"
    assert goes(key=harness.OTHER_KEY) == "for-beta"
    assert goes(headers={"x-tallygate-tags": "a, night"}) == "for-night"
    assert goes(headers={"x-team": "search-eu"}) == "for-search"
    assert goes(headers={"x-team": "sales"}) == "own"
    assert goes(text="word " * 1000) == "for-long"
    assert goes(text="word " * 1000, key=harness.OTHER_KEY) == "for-beta"
    assert goes(model="n", key=harness.OTHER_KEY) == "other"


def test_what_a_target_cannot_take_goes_to_one_that_can(sim, start_gateway):
    sections = {
        "upstreams": harness.upstreams(sim.url),
        "models": [{"name": "m", "price": harness.PRICE, "targets": [
            {"upstream": "up-openai-chat", "model": "small", "priority": 1,
             "capabilities": {"context_tokens": 2000, "images": False, "tools": False}},
            {"upstream": "up-anthropic", "model": "large", "priority": 2, "capabilities": {"context_tokens": 100_000}}]},
            {"name": "blind", "price": harness.PRICE, "targets": [
                {"upstream": "up-openai-chat", "model": "small", "capabilities": {"images": False}}]}],
    }
    gateway = start_gateway(sections)
    for dialect in wire.DIALECTS:
        def goes(text="hello", **shape):
            reply = gateway.ask(dialect, "m", text, **{"max_tokens": 50, **shape})
            assert reply.status_code == 200, reply.text
            return reply.headers["x-tallygate-model"]

        assert goes() == "small"
        assert goes(image=True) == "large"
        assert goes(tools=["weather"]) == "large"
        assert goes("word " * 2000) == "large"
        assert goes(max_tokens=3000) == "large"
        refused = gateway.ask(dialect, "blind", image=True)
        assert refused.status_code == 400, refused.text
        assert "takes no images" in json.dumps(refused.json())


def test_a_local_stand_in_is_marked_and_charged_by_its_own_price(sim, start_gateway):
    cheap = {**harness.PRICE, "input": "0.5", "output": "1.000003"}
    sections = {
        "upstreams": [
            {"name": "dead", "dialect": "openai-chat", "base_url": f"http://127.0.0.1:{harness.free_port()}",
             "credentials": [{"name": "c", "secret": "env:TEST_UPSTREAM_SECRET"}]},
            {"name": "house", "dialect": "openai-chat", "base_url": sim.url + "/v1", "local": True,
             "credentials": [{"name": "c", "secret": "env:TEST_UPSTREAM_SECRET"}]}],
        "models": [
            {"name": "m", "price": harness.PRICE, "targets": [
                # Whatever its priority, a local one comes last.
                {"upstream": "house", "model": "plain", "priority": 1, "price_model": "house-price"},
                {"upstream": "dead", "model": "x", "priority": 9}]},
            {"name": "house-price", "price": cheap, "targets": [{"upstream": "house", "model": "plain"}]}],
    }
    gateway = start_gateway(sections)
    for stream in (False, True):
        reply = gateway.ask("openai-chat", "m", stream=stream)
        assert reply.status_code == 200, reply.text
        assert reply.headers["x-tallygate-fallback"] == "local"
    own = gateway.ask("openai-chat", "house-price")
    assert "x-tallygate-fallback" not in own.headers
    rows = gateway.wait_for_rows(3)
    for row in rows:
        usage = {name: row[name] for name in harness.USAGE_CLASSES}
        assert int(row["charge"]) == harness.charge_pico(usage, cheap), row
