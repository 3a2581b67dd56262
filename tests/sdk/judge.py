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
# Client and upstream of one dialect -> what its vendor says to a history that lost its reasoning.
REFUSALS = {
    ("anthropic", "anthropic-budget"): "Expected `thinking` or `redacted_thinking`",
    ("gemini", "gemini"): "missing a thought_signature",
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
    served = [entry for entry in entries if entry["status"] == 200]
    drops_in_own_dialect = UPSTREAMS[upstream][0] == client and not keeps
    wanted = REFUSALS.get((client, upstream)) if drops_in_own_dialect else None
    # In its own dialect a request goes through as it came; what the vendor refuses for its reasoning is asked once more without.
    assert len(refused) == (2 if wanted else 0), refused
    assert all(wanted in refusal for refusal in refused), refused
    assert loop.calls == loops.CALLS
    assert loop.texts[0] == "2 steps — here is the first."
    for result in loops.RESULTS.values():
        assert result in loop.texts[2]
    assert len(loop.texts[3].split()) == 5
    assert len(served) == 4
    assert loop.usages == [by_class(entry["usage"]) for entry in served]
    if drops_in_own_dialect:
        # What the vendor lets pass is the client's own business.
        return
    # What the upstream thinks is shown as it is; Chat Completions has no field for it, so a client there may see nothing.
    assert all(shown == thought or (client == "openai-chat" and not shown) for shown, thought in zip(loop.thoughts, THOUGHTS))
    returned = [entry["returned"] for entry in served]
    assert returned == [{"kept": kept, "missing": 0, "sentinels": 0} for kept in (0, 1, 2, 0)]
