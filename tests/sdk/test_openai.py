"""The official OpenAI SDK for Python, unchanged but for base URL and key, before upstreams of all four dialects."""

import json

import openai
import pytest

import harness
import wire

pytestmark = pytest.mark.parametrize("upstream", wire.DIALECTS)
IMAGE_URL = f"data:image/png;base64,{wire.PNG}"
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": wire.WEATHER}}
RESPONSES_TOOL = {"type": "function", "name": "weather", "description": "The weather", "parameters": wire.WEATHER, "strict": False}


@pytest.fixture
def client(gate):
    return openai.OpenAI(base_url=gate.url + "/v1", api_key=harness.TENANT_KEY, max_retries=0, timeout=30)


def test_chat_plain(client, upstream):
    answer = client.chat.completions.create(model=f"via-{upstream}", messages=[{"role": "user", "content": "hello"}])
    assert answer.choices[0].message.content.startswith('You said: "hello".')
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer._request_id


def test_chat_streamed(client, upstream):
    stream = client.chat.completions.create(
        model=f"via-{upstream}", messages=[{"role": "user", "content": "words=50"}], stream=True,
        stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(text.split()) == 50
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens > 0
    assert sum(1 for chunk in chunks if chunk.choices and chunk.choices[0].delta.role) == 1


def test_chat_stream_without_usage_shows_none(client, upstream):
    stream = client.chat.completions.create(
        model=f"via-{upstream}", messages=[{"role": "user", "content": "hi"}], stream=True)
    assert all(chunk.usage is None and chunk.choices for chunk in stream)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_chat_tool_round_trip(client, upstream, streamed):
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "use the tool"}]
    ask = {"model": f"via-{upstream}", "tools": [CHAT_TOOL]}
    if streamed:
        with client.chat.completions.stream(messages=messages, **ask) as stream:
            choice = stream.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(messages=messages, **ask).choices[0]
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Zürich", "days": 2}
    messages.append({"role": "assistant", "tool_calls": [
        {"id": call.id, "type": "function", "function": {"name": "weather", "arguments": call.function.arguments}}]})
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
    final = client.chat.completions.create(messages=messages, **ask).choices[0]
    assert "sunny" in final.message.content
    assert final.finish_reason == "stop"


def test_chat_parallel_tools(client, upstream):
    clock = {"type": "function", "function": {"name": "clock", "parameters": wire.WEATHER}}
    answer = client.chat.completions.create(
        model=f"via-{upstream}", messages=[{"role": "user", "content": "tool parallel"}], tools=[CHAT_TOOL, clock])
    calls = answer.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "clock"]
    assert len({call.id for call in calls}) == 2


def test_chat_image(client, upstream):
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": IMAGE_URL}}]
    answer = client.chat.completions.create(model=f"via-{upstream}", messages=[{"role": "user", "content": content}])
    assert f"image/png, {wire.PNG_BYTES} bytes" in answer.choices[0].message.content


def test_chat_structured_output(client, upstream):
    schema = {"name": "forecast", "schema": wire.WEATHER, "strict": True}
    answer = client.chat.completions.create(
        model=f"via-{upstream}", messages=[{"role": "user", "content": "forecast"}],
        response_format={"type": "json_schema", "json_schema": schema})
    # Anthropic's structured output knows no `minimum`; the gateway says so in x-tallygate-loss.
    assert json.loads(answer.choices[0].message.content) == {"city": "Zürich", "days": 1 if upstream == "anthropic" else 2}


def test_responses_plain(client, upstream):
    answer = client.responses.create(model=f"via-{upstream}", input="hello", instructions="be brief")
    assert answer.output_text.startswith('You said: "hello".')
    assert answer.status == "completed"
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0


def test_responses_streamed(client, upstream):
    text, last, numbers = "", None, []
    for event in client.responses.create(model=f"via-{upstream}", input="words=50", stream=True):
        numbers.append(event.sequence_number)
        if event.type == "response.output_text.delta":
            text += event.delta
        last = event
    assert len(text.split()) == 50
    assert last.type == "response.completed"
    assert last.response.output_text == text
    assert last.response.usage.output_tokens > 0
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_responses_tool_round_trip(client, upstream, streamed):
    items = [{"role": "user", "content": "use the tool"}]
    ask = {"model": f"via-{upstream}", "tools": [RESPONSES_TOOL], "store": False}
    if streamed:
        with client.responses.stream(input=items, **ask) as stream:
            answer = stream.get_final_response()
    else:
        answer = client.responses.create(input=items, **ask)
    [call] = [item for item in answer.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"city": "Zürich", "days": 2}
    items += [
        {"type": "function_call", "call_id": call.call_id, "name": "weather", "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    assert "sunny" in client.responses.create(input=items, **ask).output_text


def test_responses_image(client, upstream):
    content = [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": IMAGE_URL, "detail": "auto"}]
    answer = client.responses.create(model=f"via-{upstream}", input=[{"role": "user", "content": content}])
    assert f"image/png, {wire.PNG_BYTES} bytes" in answer.output_text


def test_unknown_model(client, upstream):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=f"via-{upstream}x", messages=[{"role": "user", "content": "hello"}])
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id
    assert f"via-{upstream}" in caught.value.message


def test_bad_key(gate, upstream):
    client = openai.OpenAI(base_url=gate.url + "/v1", api_key="not-a-key-of-this-gateway", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        client.responses.create(model=f"via-{upstream}", input="hello")
    assert caught.value.code == "invalid_api_key"


def test_error_in_the_middle_of_a_stream(client, upstream):
    stream = client.chat.completions.create(
        model=f"via-{upstream}--midstream-error", messages=[{"role": "user", "content": "words=50"}], stream=True)
    with pytest.raises(openai.APIError):
        list(stream)


def test_models_are_listed(client, upstream):
    assert f"via-{upstream}" in [model.id for model in client.models.list()]
