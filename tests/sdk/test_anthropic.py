"""The official Anthropic SDK for Python, unchanged but for base URL and key, before upstreams of all four dialects."""

import anthropic
import pytest

import harness
import wire

pytestmark = pytest.mark.parametrize("upstream", wire.DIALECTS)
TOOL = {"name": "weather", "description": "The weather", "input_schema": wire.WEATHER}


@pytest.fixture
def client(gate):
    return anthropic.Anthropic(base_url=gate.url, api_key=harness.TENANT_KEY, max_retries=0, timeout=30)


def test_plain(client, upstream):
    answer = client.messages.create(
        model=f"via-{upstream}", max_tokens=500, system="be brief", messages=[{"role": "user", "content": "hello"}])
    assert answer.content[0].text.startswith('You said: "hello".')
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens > 0 < answer.usage.output_tokens
    assert answer._request_id


def test_streamed(client, upstream):
    with client.messages.stream(
            model=f"via-{upstream}", max_tokens=500, messages=[{"role": "user", "content": "words=50"}]) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert len(text.split()) == 50
    assert final.content[0].text == text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 1


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_tool_round_trip(client, upstream, streamed):
    messages = [{"role": "user", "content": "use the tool"}]
    ask = {"model": f"via-{upstream}", "max_tokens": 500, "tools": [TOOL]}
    if streamed:
        with client.messages.stream(messages=messages, **ask) as stream:
            answer = stream.get_final_message()
    else:
        answer = client.messages.create(messages=messages, **ask)
    assert answer.stop_reason == "tool_use"
    [call] = [block for block in answer.content if block.type == "tool_use"]
    assert call.input == {"city": "Zürich", "days": 2}
    messages.append({"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}]})
    messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]})
    final = client.messages.create(messages=messages, **ask)
    assert "sunny" in final.content[0].text
    assert final.stop_reason == "end_turn"


def test_image(client, upstream):
    source = {"type": "base64", "media_type": "image/png", "data": wire.PNG}
    content = [{"type": "text", "text": "look"}, {"type": "image", "source": source}]
    answer = client.messages.create(
        model=f"via-{upstream}", max_tokens=500, messages=[{"role": "user", "content": content}])
    assert f"image/png, {wire.PNG_BYTES} bytes" in answer.content[0].text


def test_token_cap(client, upstream):
    answer = client.messages.create(
        model=f"via-{upstream}", max_tokens=20, messages=[{"role": "user", "content": "words=500"}])
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens <= 20


def test_unknown_model(client, upstream):
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model=f"via-{upstream}x", max_tokens=5, messages=[{"role": "user", "content": "hello"}])
    assert caught.value.body["error"]["type"] == "not_found_error"
    assert caught.value.request_id


def test_bad_key(gate, upstream):
    client = anthropic.Anthropic(base_url=gate.url, api_key="not-a-key-of-this-gateway", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError):
        client.messages.create(model=f"via-{upstream}", max_tokens=5, messages=[{"role": "user", "content": "hello"}])


def test_error_in_the_middle_of_a_stream(client, upstream):
    with pytest.raises(anthropic.APIStatusError), client.messages.stream(
            model=f"via-{upstream}--midstream-error", max_tokens=500,
            messages=[{"role": "user", "content": "words=50"}]) as stream:
        list(stream.text_stream)


def test_tokens_are_counted_before_sending(client, upstream):
    count = client.messages.count_tokens(model=f"via-{upstream}", messages=[{"role": "user", "content": "hello there"}])
    assert count.input_tokens > 0


def test_models_are_listed(client, upstream):
    assert f"via-{upstream}" in [model.id for model in client.models.list(limit=1000)]
