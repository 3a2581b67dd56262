"""`route explain` says before what live traffic does after."""

import json

import harness
import wire


def test_what_is_explained_is_what_happens(sim, start_gateway, postgres):
    secrets = {f"TEST_CRED_{n}": f"sk-explain-x{n:03}" for n in range(5)}
    credentials = [{"name": f"x{n:03}", "secret": f"env:TEST_CRED_{n}"} for n in range(5)]

    def at(model, **more):
        return {"upstream": "pool", "model": model, **more}

    sections = {
        "upstreams": [{"name": "pool", "dialect": "openai-chat", "base_url": sim.url + "/v1", "credentials": credentials}],
        "models": [
            {"name": "m", "price": harness.PRICE, "targets": [
                at("first", weight=3, capabilities={"images": False, "context_tokens": 3000}), at("second", weight=1)]},
            {"name": "split", "price": harness.PRICE, "targets": [at("arm-a", arm="a"), at("arm-b", arm="b")],
             "split": {"by": "user", "arms": [{"name": "a", "weight": 1}, {"name": "b", "weight": 1}]}}],
        "routes": [
            {"name": "night", "match": {"tags": ["night"], "models": ["m"]}, "targets": [at("at-night")]},
            {"name": "team", "match": {"headers": {"x-team": "search*"}}, "targets": [at("for-search")]}],
    }
    gateway = start_gateway(sections, env=secrets, store_url=postgres.database())

    def explained(*options):
        return json.loads(gateway.cli("route", "explain", "--json", "--tenant", "acme", *options))

    def happened(body, headers=None):
        since = sim.last_seq()
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 16, **body}
        reply = gateway.http.post(
            "/v1/chat/completions", json=body, headers={**wire.auth("openai-chat", harness.TENANT_KEY), **(headers or {})})
        assert reply.status_code == 200, reply.text
        entry = sim.ledger(since)[-1]
        return entry["model"], entry["credential"]

    def first(told):
        step = told["steps"][0]
        return step["upstream_model"], step["credential_name"]

    cases = 0
    for n in range(8):
        told = explained("--model", "m", "--prompt-cache-key", f"thread-{n}")
        assert told["affinity"]["kind"] == "prompt_cache_key" and told["affinity"]["held"]
        assert first(told) == happened({"model": "m", "prompt_cache_key": f"thread-{n}"})
        session = f"x-tallygate-session: s{n}"
        assert first(explained("--model", "m", "--header", session)) == happened({"model": "m"}, {"x-tallygate-session": f"s{n}"})
        told = explained("--model", "split", "--user", f"user-{n}")
        arm = {"arm-a": "a", "arm-b": "b"}[happened({"model": "split", "user": f"user-{n}"})[0]]
        assert told["arm"]["name"] == arm
        cases += 3
    told = explained("--model", "m", "--tag", "night", "--prompt-cache-key", "k")
    assert told["route"]["name"] == "night" and [rule["matched"] for rule in told["rules"]] == [True]
    assert first(told) == happened({"model": "m", "prompt_cache_key": "k"}, {"x-tallygate-tags": "night"})
    told = explained("--model", "m", "--header", "x-team: search-eu", "--prompt-cache-key", "k")
    assert [rule["matched"] for rule in told["rules"]] == [False, True]
    assert first(told) == happened({"model": "m", "prompt_cache_key": "k"}, {"x-team": "search-eu"})
    told = explained("--model", "m", "--images", "--prompt-cache-key", "k")
    image = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{wire.PNG}"}}]
    assert first(told)[0] == "second" and "capability" in [passed["why"] for passed in told["passed_over"]]
    assert first(told) == happened({"model": "m", "prompt_cache_key": "k", "messages": [{"role": "user", "content": image}]})
    told = explained("--model", "m", "--input-tokens", "3500", "--prompt-cache-key", "k")
    long = [{"role": "user", "content": "word " * 2800}]
    assert first(told) == happened({"model": "m", "prompt_cache_key": "k", "messages": long})
    refused = gateway.cli("route", "explain", "--json", "--model", "nobody", check=False)
    assert json.loads(refused)["refusal"]["code"] == "model_not_found"
    print(f"{cases + 4} decisions were as explained")
