"""What a loop of tool calls must have done, by what the client saw and what the simulator's books say."""

from sdk import loops

# Upstream -> its dialect, and a model whose vendor is strict about reasoning.
UPSTREAMS = {
    "openai-chat": ("openai-chat", "deepseek-reasoner"),
    "openai-responses": ("openai-responses", "gpt-5.6"),
    "anthropic": ("anthropic", "claude-opus-5-5"),
    "anthropic-budget": ("anthropic", "claude-sonnet-4-5"),
    "gemini": ("gemini", "gemini-3-pro-preview"),
}
THOUGHTS = [
    "This is step 1 of 2. I need weather and clock.", "This is step 2 of 2. I need weather.",
    "I have 3 results. Nothing is missing.",
]


def by_class(usage: dict) -> dict:
    told = {
        "input": usage["input_uncached"], "cache_read": usage["input_cache_read"],
        "cache_write": usage["input_cache_write_5m"] + usage["input_cache_write_1h"],
        "output": usage["output_text"], "reasoning": usage["output_reasoning"],
    }
    return {name: count for name, count in told.items() if count}


def check(client, upstream, keeps, loop: loops.Loop, entries: list[dict]):
    """The loop came to its end, and the upstream's books say that all its reasoning came back."""
    refused = [entry["refusal"] for entry in entries if entry["status"] != 200]
    assert refused == []
    assert loop.calls == loops.CALLS
    assert loop.texts[0] == "2 steps — here is the first."
    for result in loops.RESULTS.values():
        assert result in loop.texts[2]
    assert len(loop.texts[3].split()) == 5
    assert len(entries) == 4
    # What the upstream thinks is shown as it is; Chat Completions has no field for it, so a client there may see nothing.
    assert all(shown == thought or (client == "openai-chat" and not shown) for shown, thought in zip(loop.thoughts, THOUGHTS))
    assert loop.usages == [by_class(entry["usage"]) for entry in entries]
    if UPSTREAMS[upstream][0] == client and not keeps:
        # What the vendor lets pass is the client's own business.
        return
    returned = [entry["returned"] for entry in entries]
    assert returned == [{"kept": kept, "missing": 0, "sentinels": 0} for kept in (0, 1, 2, 0)]


def refuses(client, upstream, keeps) -> str | None:
    """In the upstream's own dialect a request goes through as it came: the vendor's own refusal of what a client dropped."""
    if keeps:
        return None
    return {("anthropic", "anthropic-budget"): "Expected `thinking` or `redacted_thinking`",
            ("gemini", "gemini"): "missing a thought_signature"}.get((client, upstream))
