"""The official Google Gen AI SDK for Python, unchanged but for base URL and key, before upstreams of all four dialects."""

import base64

import pytest
from google import genai
from google.genai import errors, types

import harness
import wire

pytestmark = pytest.mark.parametrize("upstream", wire.DIALECTS)
PARAMETERS = {name: value for name, value in wire.WEATHER.items() if name != "additionalProperties"}
TOOL = types.Tool(function_declarations=[types.FunctionDeclaration(
    name="weather", description="The weather", parameters_json_schema=PARAMETERS)])


def new_client(gate, key=harness.TENANT_KEY):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=gate.url, timeout=30_000))


@pytest.fixture
def client(gate):
    return new_client(gate)


def test_plain(client, upstream):
    config = types.GenerateContentConfig(system_instruction="be brief")
    answer = client.models.generate_content(model=f"via-{upstream}", contents="hello", config=config)
    assert answer.text.startswith('You said: "hello".')
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.total_token_count > 0


def test_streamed(client, upstream):
    chunks = list(client.models.generate_content_stream(model=f"via-{upstream}", contents="words=50"))
    assert len("".join(chunk.text or "" for chunk in chunks).split()) == 50
    assert len(chunks) > 3
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.candidates_token_count > 0


def test_tool_round_trip(client, upstream):
    config = types.GenerateContentConfig(
        tools=[TOOL], automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))
    question = types.Content(role="user", parts=[types.Part(text="use the tool")])
    answer = client.models.generate_content(model=f"via-{upstream}", contents=[question], config=config)
    [call] = answer.function_calls
    assert call.name == "weather"
    assert call.args == {"city": "Zürich", "days": 2}
    result = types.FunctionResponse(id=call.id, name="weather", response={"result": "sunny"})
    history = [question, answer.candidates[0].content, types.Content(role="user", parts=[types.Part(function_response=result)])]
    assert "sunny" in client.models.generate_content(model=f"via-{upstream}", contents=history, config=config).text


def test_image(client, upstream):
    image = types.Part.from_bytes(data=base64.b64decode(wire.PNG), mime_type="image/png")
    answer = client.models.generate_content(model=f"via-{upstream}", contents=["look", image])
    assert f"image/png, {wire.PNG_BYTES} bytes" in answer.text


def test_unknown_model(client, upstream):
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=f"via-{upstream}x", contents="hello")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_bad_key(gate, upstream):
    # The SDK closes a client that nobody holds.
    client = new_client(gate, "not-a-key-of-this-gateway")
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=f"via-{upstream}", contents="hello")
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


def test_models_are_listed(client, upstream):
    assert f"models/via-{upstream}" in [model.name for model in client.models.list()]
