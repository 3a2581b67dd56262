"""Embeddings through the OpenAI SDK, which asks for base64 unless told otherwise."""

import openai
import pytest

import harness


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_embeddings(gate, sim, form):
    client = openai.OpenAI(base_url=gate.url + "/v1", api_key=harness.TENANT_KEY, max_retries=0)
    options = {"encoding_format": form} if form else {}
    answer = client.embeddings.create(model="via-openai-chat", input=["one", "two"], **options)
    assert [item.index for item in answer.data] == [0, 1]
    if form != "base64":
        assert len(answer.data[0].embedding) == 8
    assert answer.usage.prompt_tokens == 2
    assert sim.ledger()[-1]["operation"] == "embeddings"
