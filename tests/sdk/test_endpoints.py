"""The endpoints around generation through the official SDKs: counting tokens, lists of models, embeddings, and what passes
untranslated to an upstream of OpenAI's protocol."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

import harness
import wire

IMAGE_USAGE = {
    "input_tokens": 20, "output_tokens": 4160, "total_tokens": 4180,
    "input_tokens_details": {"text_tokens": 12, "image_tokens": 8},
}
ANSWERS = {
    "/v1/completions": {
        "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m",
        "choices": [{"text": "world", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
    },
    "/v1/moderations": {"id": "modr-1", "model": "m", "results": [
        {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}]},
    "/v1/images/generations": {"created": 1, "data": [{"b64_json": "QUJD"}], "usage": IMAGE_USAGE},
    "/v1/images/edits": {"created": 1, "data": [{"b64_json": "QUJD"}], "usage": IMAGE_USAGE},
    "/v1/audio/transcriptions": {"text": "Hello", "usage": {
        "type": "tokens", "input_tokens": 30, "input_token_details": {"text_tokens": 4, "audio_tokens": 26},
        "output_tokens": 6, "total_tokens": 36}},
    "/v1/audio/speech": 'data: {"type":"speech.audio.delta","audio":"QUJD"}\n\n'
                        'data: {"type":"speech.audio.done","usage":{"input_tokens":9,"output_tokens":101,"total_tokens":110}}\n\n',
}


class Media(ThreadingHTTPServer):
    """A provider of a few lines for what the simulator does not offer."""

    daemon_threads = True

    def __init__(self):
        self.seen = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, self.headers["content-type"], body))
        told = ANSWERS[self.path]
        answer = told.encode() if isinstance(told, str) else json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if isinstance(told, str) else "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def media():
    server = Media()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def shop(session_folder, sim, media):
    """Models of every dialect, one with aliases, and one of a provider that also paints and listens."""
    folder = session_folder / "shop"
    folder.mkdir()
    models = [harness.model(f"via-{dialect}", dialect, "plain") for dialect in wire.DIALECTS]
    models[0]["aliases"] = ["claude-house", "gemini-3-pro-preview", "gpt-house", "house"]
    models += [harness.model(name, "media", "m") for name in ("studio", "omni-moderation-latest")]
    models.append(harness.model("old-speaker", "media", "tts-1"))
    upstreams = [*harness.upstreams(sim.url), {"name": "up-media", "dialect": "openai-chat", "base_url": media.url}]
    running = harness.Gateway(folder, {"upstreams": upstreams, "models": models})
    yield running
    running.stop()


@pytest.fixture
def claude(shop):
    return anthropic.Anthropic(base_url=shop.url, api_key=harness.TENANT_KEY, max_retries=0, timeout=30)


@pytest.fixture
def gpt(shop):
    return openai.OpenAI(base_url=shop.url + "/v1", api_key=harness.TENANT_KEY, max_retries=0, timeout=30)


@pytest.fixture
def gemini(shop):
    return genai.Client(api_key=harness.TENANT_KEY, http_options=types.HttpOptions(base_url=shop.url, timeout=30_000))


@pytest.mark.parametrize("upstream", wire.DIALECTS)
def test_each_sdk_counts_before_each_upstream(claude, gpt, gemini, upstream):
    model = f"via-{upstream}"
    messages = [{"role": "user", "content": "How many tokens are these?"}]
    assert claude.messages.count_tokens(model=model, system="be brief", messages=messages).input_tokens > 0
    assert claude.beta.messages.count_tokens(model=model, messages=messages).input_tokens > 0
    assert gemini.models.count_tokens(model=model, contents="How many tokens are these?").total_tokens > 0
    assert gpt.responses.input_tokens.count(model=model, input="How many tokens are these?").input_tokens > 0


def test_a_count_of_an_unknown_model_is_the_sdks_own_error(claude, gemini):
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.count_tokens(model="nothing", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(genai.errors.ClientError) as raised:
        gemini.models.count_tokens(model="nothing", contents="x")
    assert (raised.value.code, raised.value.status) == (404, "NOT_FOUND")


def test_each_sdk_lists_the_models_with_the_aliases_of_its_vendor(claude, gpt, gemini):
    everyone = {f"via-{dialect}" for dialect in wire.DIALECTS} | {"studio", "old-speaker", "omni-moderation-latest", "house"}
    # Two a page: the SDK turns them.
    assert {model.id for model in claude.models.list(limit=2)} == everyone | {"claude-house"}
    assert {model.id for model in gpt.models.list()} == everyone | {"gpt-house"}
    names = {model.name for model in gemini.models.list(config={"page_size": 3})}
    assert names == {f"models/{name}" for name in everyone | {"gemini-3-pro-preview"}}
    assert claude.models.retrieve("claude-house").display_name == "via-openai-chat"
    assert gpt.models.retrieve("gpt-house").id == "gpt-house"
    assert gemini.models.get(model="gemini-3-pro-preview").name == "models/gemini-3-pro-preview"


def test_an_alias_is_served(claude, gemini):
    answer = claude.messages.create(model="claude-house", max_tokens=100, messages=[{"role": "user", "content": "hello"}])
    assert answer.model == "claude-house"
    assert answer.content[0].text.startswith('You said: "hello".')
    answer = gemini.models.generate_content(model="gemini-3-pro-preview", contents="hello")
    assert answer.text.startswith('You said: "hello".')


@pytest.mark.parametrize("upstream", ["openai-chat", "openai-responses", "gemini"])
def test_both_sdks_embed_before_each_upstream_that_can(gpt, gemini, upstream):
    answer = gpt.embeddings.create(model=f"via-{upstream}", input=["one", "two"], dimensions=4)
    assert [(item.index, len(item.embedding)) for item in answer.data] == [(0, 4), (1, 4)]
    assert answer.usage.prompt_tokens > 0
    floats = gpt.embeddings.create(model=f"via-{upstream}", input=["one", "two"], dimensions=4, encoding_format="float")
    assert [item.embedding for item in floats.data] == [item.embedding for item in answer.data]
    config = types.EmbedContentConfig(output_dimensionality=4)
    found = gemini.models.embed_content(model=f"via-{upstream}", contents=["one", "two"], config=config)
    # The SDK takes a list for one content if the model's name says Gemini.
    assert [len(vector.values) for vector in found.embeddings] == ([4] if upstream == "gemini" else [4, 4])


def test_no_embeddings_of_anthropic_and_no_token_ids_for_gemini(gpt):
    with pytest.raises(openai.NotFoundError):
        gpt.embeddings.create(model="via-anthropic", input="x")
    with pytest.raises(openai.BadRequestError) as raised:
        gpt.embeddings.create(model="via-gemini", input=[[1, 2, 3]])
    assert raised.value.param == "input"


def test_what_passes_untranslated_works_and_is_metered(gpt, shop, media):
    assert gpt.completions.create(model="studio", prompt="Hello, ").choices[0].text == "world"
    assert gpt.moderations.create(input="some words").results[0].flagged is False
    image = gpt.images.generate(model="studio", prompt="a cat").data[0]
    assert base64.b64decode(image.b64_json) == b"ABC"
    edited = gpt.images.edit(model="studio", prompt="a hat", image=("cat.png", b"\x89PNG\r\n--\x00\xff", "image/png"))
    assert edited.usage.output_tokens == 4160
    sound = ("a.mp3", b"\xff\xfb" * 1000, "audio/mpeg")
    assert gpt.audio.transcriptions.create(model="studio", file=sound).text == "Hello"

    # Of the forms only the model was replaced: the file is there byte for byte.
    path, content_type, body = media.seen[-1]
    assert gpt.audio.speech.create(model="studio", input="Hello", voice="alloy").content == b"ABC"
    assert path == "/v1/audio/transcriptions" and content_type.startswith("multipart/form-data; boundary=")
    assert b"\xff\xfb" * 1000 in body and b'name="model"\r\n\r\nm\r\n' in body

    rows = shop.wait_for_rows(6, "model IN ('studio', 'omni-moderation-latest') AND status = 200")
    used = [{name: row[name] for name in harness.USAGE_CLASSES if row[name]} for row in rows]
    assert used[0] == {"input_uncached": 5, "output_text": 7}
    assert rows[1]["usage_source"] == "estimated" and used[1]["input_uncached"] > 0
    made = {"input_uncached": 12, "input_image": 8, "output_image": 4160}
    heard = {"input_uncached": 4, "input_audio": 26, "output_text": 6}
    assert used[2:] == [made, made, heard, {"input_uncached": 9, "output_audio": 101}]
    assert [row["charge"] for row in rows] == [harness.charge_pico(usage) for usage in used]


def test_what_cannot_be_metered_or_kept_says_so(gpt, claude):
    with pytest.raises(openai.PermissionDeniedError) as raised:
        gpt.audio.speech.create(model="old-speaker", input="Hello", voice="alloy")
    assert raised.value.code == "model_unpriced" and "by the character" in raised.value.message
    with pytest.raises(openai.NotFoundError) as raised:
        gpt.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    assert raised.value.code == "not_offered" and "Files" in raised.value.message
    with pytest.raises(anthropic.NotFoundError) as raised:
        claude.messages.batches.list()
    assert "Batches" in raised.value.message
