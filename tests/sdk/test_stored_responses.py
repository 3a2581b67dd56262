"""Conversations by `previous_response_id` through OpenAI's SDK, before upstreams of all four dialects.

The gateway keeps what upstreams without a memory do not; what an upstream of the Responses API keeps it leaves there."""

import json

import openai
import pytest

import harness
import wire

STORED = {"mode": "stored", "lifetime_hours": 24}
TENANTS = [
    {"name": "acme", "responses": STORED, "keys": [{"name": "k", "secret": "env:TEST_ACME_KEY"}]},
    {"name": "beta", "responses": STORED, "keys": [{"name": "k", "secret": "env:TEST_BETA_KEY"}]},
]


def sections(sim) -> dict:
    models = [harness.model(f"via-{dialect}", dialect, "plain") for dialect in wire.DIALECTS]
    return {"upstreams": harness.upstreams(sim.url), "models": models, "tenants": TENANTS}


def client(gateway, key=harness.TENANT_KEY):
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key=key, max_retries=0, timeout=30)


def ask(gateway, upstream, text, streamed, **more):
    """The finished response, gathered by the SDK."""
    ask = {"model": f"via-{upstream}", "input": text, **more}
    if streamed:
        with client(gateway).responses.stream(**ask) as stream:
            return stream.get_final_response()
    return client(gateway).responses.create(**ask)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("upstream", wire.DIALECTS)
def test_a_conversation_goes_on_by_id_over_a_restart(start_gateway, sim, upstream, streamed):
    gateway = start_gateway(sections(sim))
    first = ask(gateway, upstream, "one fish", streamed, instructions="Count.")
    second = ask(gateway, upstream, "two fish", streamed, previous_response_id=first.id)
    assert gateway.stop() == 0
    gateway.start()
    third = ask(gateway, upstream, "red fish", streamed, previous_response_id=second.id)

    sent = sim.last_request()["body"]
    if upstream == "openai-responses":
        body = json.loads(sent)
        assert (body["previous_response_id"], body["input"]) == (second.id, "red fish"), "the upstream keeps what came before"
        return
    assert (first.store, second.store, third.store) == (True, True, True)
    assert (second.previous_response_id, third.previous_response_id) == (first.id, second.id)
    said = ["one fish", first.output_text, "two fish", second.output_text, "red fish"]
    places = [sent.find(json.dumps(text, ensure_ascii=False)) for text in said]
    assert -1 not in places and places == sorted(places) and "Count." not in sent, sent

    api = client(gateway).responses
    assert api.retrieve(second.id).output_text == second.output_text
    items = list(api.input_items.list(third.id, order="asc", limit=2))
    assert [item.role for item in items] == ["user", "assistant", "user", "assistant", "user"]
    assert [item.content[0].text for item in items] == said
    assert len({item.id for item in items}) == 5
    assert [item.id for item in api.input_items.list(third.id)] == [item.id for item in reversed(items)]
    api.delete(third.id)
    with pytest.raises(openai.NotFoundError):
        api.retrieve(third.id)


@pytest.mark.parametrize("upstream", wire.DIALECTS)
def test_case_b68_another_tenants_response_does_not_exist(start_gateway, sim, upstream):
    gateway = start_gateway(sections(sim))
    mine = ask(gateway, upstream, "a secret", False)
    theirs = client(gateway, harness.OTHER_KEY)
    for unknown in (mine.id, "resp_0123456789abcdef0123456789abcdef"):
        with pytest.raises(openai.BadRequestError) as refused:
            theirs.responses.create(model=f"via-{upstream}", input="x", previous_response_id=unknown)
        assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
        for call in (theirs.responses.retrieve, theirs.responses.delete, theirs.responses.cancel, theirs.responses.input_items.list):
            with pytest.raises(openai.NotFoundError) as missing:
                call(unknown)
            assert missing.value.body["message"].startswith(f"Response with id '{unknown}' not found.")
    if upstream != "openai-responses":
        assert client(gateway).responses.retrieve(mine.id).output_text == mine.output_text


@pytest.mark.parametrize("upstream", wire.DIALECTS)
def test_case_b70_references_without_state_are_refused(gate, upstream):
    with pytest.raises(openai.BadRequestError) as refused:
        client(gate).responses.create(model=f"via-{upstream}", input=[{"type": "item_reference", "id": "msg_1"}])
    assert (refused.value.code, refused.value.param) == ("item_not_found", "input[0]")
    assert "Send the full item instead of a reference" in refused.value.body["message"]


def test_a_tool_loop_goes_on_by_id(start_gateway, sim):
    tool = {"type": "function", "name": "weather", "description": "The weather", "parameters": wire.WEATHER, "strict": False}
    gateway = start_gateway(sections(sim))
    for upstream in ("openai-chat", "anthropic", "gemini"):
        first = ask(gateway, upstream, "use the tool", False, tools=[tool])
        [call] = [item for item in first.output if item.type == "function_call"]
        result = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
        second = ask(gateway, upstream, result, True, previous_response_id=first.id, tools=[tool])
        assert second.status == "completed"
        sent = sim.last_request()["body"]
        assert "use the tool" in sent and "sunny" in sent


def test_the_two_engines_keep_alike(start_gateway, sim, store_url):
    gateway = start_gateway(sections(sim), store_url=store_url)
    first = ask(gateway, "anthropic", "one fish", True)
    second = ask(gateway, "gemini", "two fish", False, previous_response_id=first.id)
    assert "one fish" in sim.last_request()["body"]
    assert client(gateway).responses.retrieve(second.id).previous_response_id == first.id
