"""Requests and answers in the four dialects, written by hand: the tests' own reading of the wire formats.

Nothing here is taken from the product. `Turn` builds a request from a plain conversation; `read` reduces any answer,
whole or streamed, to text, tool calls, usage by disjoint class and how it ended.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

DIALECTS = ["openai-chat", "openai-responses", "anthropic", "gemini"]

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
    "required": ["city", "days"],
    "additionalProperties": False,
}

# One red pixel.
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
PNG_BYTES = 70


def auth(dialect: str, key: str) -> dict[str, str]:
    """The headers in which a dialect carries its credential."""
    if dialect == "anthropic":
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    if dialect == "gemini":
        return {"x-goog-api-key": key}
    return {"authorization": f"Bearer {key}"}


def path(dialect: str, model: str, stream: bool) -> str:
    if dialect == "openai-chat":
        return "/v1/chat/completions"
    if dialect == "openai-responses":
        return "/v1/responses"
    if dialect == "anthropic":
        return "/v1/messages"
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{model}:{verb}"


THINKING = {
    "openai-chat": {"reasoning_effort": "high"},
    "openai-responses": {"reasoning": {"effort": "high", "summary": "auto"}},
    "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
}


def request(dialect: str, model: str, text: str, *, stream=False, max_tokens=4096, tools=(), image=False, thinking=False) -> dict:
    """One user message, as the dialect says it. `tools` are names of tools that all take WEATHER; with `thinking` the model
    is to think, and show it."""
    body = _request(dialect, model, text, stream=stream, max_tokens=max_tokens, tools=tools, image=image)
    if thinking and dialect == "gemini":
        body["generationConfig"]["thinkingConfig"] = {"includeThoughts": True}
    elif thinking:
        body |= THINKING[dialect]
    return body


def _request(dialect: str, model: str, text: str, *, stream, max_tokens, tools, image) -> dict:
    if dialect == "openai-chat":
        content = text
        if image:
            url = {"url": f"data:image/png;base64,{PNG}"}
            content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": url}]
        body = {"model": model, "messages": [{"role": "user", "content": content}], "max_completion_tokens": max_tokens}
        if tools:
            body["tools"] = [{"type": "function", "function": {"name": name, "parameters": WEATHER}} for name in tools]
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body
    if dialect == "openai-responses":
        content = [{"type": "input_text", "text": text}]
        if image:
            content.append({"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PNG}"})
        body = {"model": model, "input": [{"role": "user", "content": content}], "max_output_tokens": max_tokens}
        if tools:
            body["tools"] = [{"type": "function", "name": name, "parameters": WEATHER, "strict": False} for name in tools]
        if stream:
            body["stream"] = True
        return body
    if dialect == "anthropic":
        content = [{"type": "text", "text": text}]
        if image:
            content.append({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}})
        body = {"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": content}]}
        if tools:
            body["tools"] = [{"name": name, "input_schema": WEATHER} for name in tools]
        if stream:
            body["stream"] = True
        return body
    parts = [{"text": text}]
    if image:
        parts.append({"inlineData": {"mimeType": "image/png", "data": PNG}})
    body = {"contents": [{"role": "user", "parts": parts}], "generationConfig": {"maxOutputTokens": max_tokens}}
    if tools:
        schema = {key: value for key, value in WEATHER.items() if key != "additionalProperties"}
        body["tools"] = [{"functionDeclarations": [{"name": name, "parameters": schema} for name in tools]}]
    return body


@dataclass
class Answer:
    """What an answer says, whatever its dialect."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    # Why it was refused, which not every dialect has a place for.
    explanation: str = ""
    # (name, arguments as parsed JSON)
    calls: list[tuple[str, object]] = field(default_factory=list)
    usage: dict[str, int] = field(default_factory=dict)
    # stop | length | tool_calls | content_filter | None
    finish: str | None = None
    error: dict | None = None
    # The text of a Responses stream's deltas is not that of its terminal event.
    disagrees: bool = False
    events: list[dict] = field(default_factory=list)


def sse(body: bytes) -> list[tuple[str | None, str]]:
    """The events of a stream as (event name, data), by the rules of the HTML standard."""
    events, name, data = [], None, []
    text = body.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n"):
        if line == "":
            if data:
                events.append((name, "\n".join(data)))
            name, data = None, []
        elif line.startswith(":"):
            continue
        else:
            key, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if key == "data":
                data.append(value)
            elif key == "event":
                name = value
    return events


def stream_values(body: bytes) -> list[dict]:
    """The JSON values of a stream's events, `[DONE]` left out; also of a Gemini JSON array."""
    if body.lstrip().startswith(b"["):
        return json.loads(body)
    return [json.loads(data) for _, data in sse(body) if data.strip() != "[DONE]"]


def _arguments(text):
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text


def openai_usage(usage: dict | None) -> dict[str, int]:
    if not usage:
        return {}
    inputs = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    outputs = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    total_in = usage.get("prompt_tokens", usage.get("input_tokens")) or 0
    total_out = usage.get("completion_tokens", usage.get("output_tokens")) or 0
    read, written = inputs.get("cached_tokens") or 0, inputs.get("cache_write_tokens") or 0
    reasoning = outputs.get("reasoning_tokens") or 0
    # Google's compatible endpoint counts thinking in the total only.
    hidden = max(0, (usage.get("total_tokens") or 0) - total_in - total_out)
    reasoning, total_out = reasoning + hidden, total_out + hidden
    return _classes(total_in - read - written, read, written, total_out - reasoning, reasoning)


def anthropic_usage(usage: dict | None) -> dict[str, int]:
    if not usage:
        return {}

    def whole(read) -> int:
        # What a compaction or a fallback took stands in its iteration only.
        return max(read(usage), sum(read(one) for one in usage.get("iterations") or []))

    reasoning = whole(lambda told: (told.get("output_tokens_details") or {}).get("thinking_tokens") or 0)
    plain, read, written, out = (whole(lambda told, name=name: told.get(name) or 0) for name in (
        "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"))
    return _classes(plain, read, written, out - reasoning, reasoning)


def gemini_usage(usage: dict | None) -> dict[str, int]:
    if not usage:
        return {}
    prompt = (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0)
    read, thoughts = usage.get("cachedContentTokenCount") or 0, usage.get("thoughtsTokenCount") or 0
    answered = usage.get("candidatesTokenCount") or 0
    if thoughts and prompt + answered == (usage.get("totalTokenCount") or 0):
        answered -= thoughts
    return _classes(prompt - read, read, 0, answered, thoughts)


def _classes(plain, read, written, text, reasoning) -> dict[str, int]:
    """Totals that every dialect can express: media and cache lifetimes are merged."""
    found = {"input": plain, "cache_read": read, "cache_write": written, "output": text, "reasoning": reasoning}
    return {name: count for name, count in found.items() if count}


CHAT_FINISH = {"function_call": "tool_calls"}
ANTHROPIC_FINISH = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter",
    "model_context_window_exceeded": "length", "pause_turn": "length",
}
GEMINI_FILTERS = {"SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "RECITATION", "IMAGE_SAFETY", "LANGUAGE"}


def read(dialect: str, body: bytes, stream: bool) -> Answer:
    """Reduces an answer to what it says. Raises ValueError on what is not the dialect at all."""
    if not stream:
        value = json.loads(body)
        if isinstance(value, list):
            return read(dialect, body, True)
        answer = _whole(dialect, value)
        answer.events = [value]
        return answer
    events = stream_values(body)
    answer = {"openai-chat": _chat_stream, "openai-responses": _responses_stream, "anthropic": _anthropic_stream,
              "gemini": _gemini_stream}[dialect](events)
    answer.events = events
    return answer


def _whole(dialect: str, value: dict) -> Answer:
    if "error" in value and value.get("error"):
        return Answer(error=value["error"])
    if dialect == "openai-chat":
        return _chat_whole(value)
    if dialect == "openai-responses":
        return _responses_whole(value)
    if dialect == "anthropic":
        return _anthropic_whole(value)
    return _gemini_stream([value])


def _chat_text(content) -> tuple[str, str]:
    """Text and reasoning of chat content, which some vendors send as a list of typed parts."""
    if isinstance(content, list):
        text = "".join(part.get("text", "") for part in content if part.get("type") == "text")
        thought = "".join(
            inner.get("text", "") for part in content if part.get("type") == "thinking" for inner in part.get("thinking", []))
        return text, thought
    return content or "", ""


def _chat_whole(value: dict) -> Answer:
    if not value.get("choices"):
        return Answer(usage=openai_usage(value.get("usage")))
    choice = value["choices"][0]
    message = choice.get("message") or {}
    text, thought = _chat_text(message.get("content"))
    calls = [(call["custom"]["name"], {"input": call["custom"]["input"]}) if call.get("custom")
             else (call["function"]["name"], _arguments(call["function"]["arguments"]))
             for call in message.get("tool_calls") or []]
    if message.get("function_call"):
        calls.append((message["function_call"]["name"], _arguments(message["function_call"]["arguments"])))
    finish = choice.get("finish_reason")
    return Answer(
        text=text, refusal=message.get("refusal") or "", calls=calls, usage=openai_usage(value.get("usage")),
        finish=CHAT_FINISH.get(finish, finish),
        reasoning=thought or message.get("reasoning_content") or message.get("reasoning") or "")


def _chat_stream(events: list[dict]) -> Answer:
    answer, calls = Answer(), {}
    for event in events:
        if event.get("error"):
            answer.error = event["error"]
            continue
        if event.get("usage"):
            answer.usage = openai_usage(event["usage"])
        for choice in event.get("choices") or []:
            if choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta") or {}
            text, thought = _chat_text(delta.get("content"))
            answer.text += text
            answer.reasoning += thought or delta.get("reasoning_content") or delta.get("reasoning") or ""
            answer.refusal += delta.get("refusal") or ""
            for call in delta.get("tool_calls") or []:
                known = calls.setdefault(call.get("index", len(calls)), ["", ""])
                function = call.get("function") or {}
                known[0] += function.get("name") or ""
                known[1] += function.get("arguments") or ""
            if choice.get("finish_reason"):
                answer.finish = CHAT_FINISH.get(choice["finish_reason"], choice["finish_reason"])
    answer.calls = [(name, _arguments(arguments)) for name, arguments in calls.values()]
    return answer


def _responses_whole(value: dict) -> Answer:
    answer = Answer(usage=openai_usage(value.get("usage")))
    for item in value.get("output") or []:
        if item["type"] == "message":
            for part in item["content"]:
                answer.text += part.get("text") or "" if part["type"] == "output_text" else ""
                answer.refusal += part.get("refusal") or "" if part["type"] == "refusal" else ""
        elif item["type"] == "function_call":
            # Only Responses has namespaces; elsewhere they stand before the name.
            name = f"{item['namespace']}__{item['name']}" if item.get("namespace") else item["name"]
            answer.calls.append((name, _arguments(item["arguments"])))
        elif item["type"] == "custom_tool_call":
            answer.calls.append((item["name"], {"input": item["input"]}))
        elif item["type"] == "reasoning":
            answer.reasoning += "".join(part["text"] for part in (item.get("summary") or []) + (item.get("content") or []))
    if value.get("status") == "incomplete":
        reason = (value.get("incomplete_details") or {}).get("reason")
        answer.finish = "content_filter" if reason == "content_filter" else "length"
    elif value.get("status") == "completed":
        answer.finish = "tool_calls" if answer.calls else "content_filter" if answer.refusal else "stop"
    if value.get("error"):
        answer.error = value["error"]
    return answer


def _responses_stream(events: list[dict]) -> Answer:
    # The deltas are what a client shows; the terminal event should say the same.
    text, last, error = "", None, None
    for event in events:
        if event["type"] == "response.output_text.delta":
            text += event["delta"]
        elif event["type"] in ("response.completed", "response.incomplete", "response.failed"):
            last = event["response"]
            break  # Some recordings hold several answers one after the other; the first ends here.
        elif event["type"] == "error":
            error = event
    if last is None:
        return Answer(text=text, error=error)
    answer = _responses_whole(last)
    answer.disagrees = answer.text != text
    answer.text = text
    answer.error = answer.error or error
    return answer


def _anthropic_whole(value: dict) -> Answer:
    answer = Answer(usage=anthropic_usage(value.get("usage")))
    for block in value.get("content") or []:
        if block["type"] == "text":
            answer.text += block["text"]
        elif block["type"] == "tool_use":
            answer.calls.append((block["name"], block["input"]))
        elif block["type"] == "thinking":
            answer.reasoning += block["thinking"]
    stop = value.get("stop_reason")
    answer.finish = ANTHROPIC_FINISH.get(stop, stop)
    answer.explanation = (value.get("stop_details") or {}).get("explanation") or ""
    return answer


def _anthropic_stream(events: list[dict]) -> Answer:
    message, blocks, error = {"content": []}, {}, None
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            message = json.loads(json.dumps(event["message"]))
        elif kind == "content_block_start":
            blocks[event["index"]] = [json.loads(json.dumps(event["content_block"])), ""]
        elif kind == "content_block_delta":
            block, delta = blocks[event["index"]], event["delta"]
            if delta["type"] == "text_delta":
                block[0]["text"] += delta["text"]
            elif delta["type"] == "thinking_delta":
                block[0]["thinking"] += delta["thinking"]
            elif delta["type"] == "input_json_delta":
                block[1] += delta["partial_json"]
        elif kind == "message_delta":
            message["stop_reason"] = event["delta"].get("stop_reason")
            message["stop_details"] = event["delta"].get("stop_details")
            told = {key: count for key, count in (event.get("usage") or {}).items() if count is not None}
            message["usage"] = {**(message.get("usage") or {}), **told}
        elif kind == "error":
            error = event["error"]
        elif kind == "message_stop":
            break
    for block, arguments in blocks.values():
        if block["type"] == "tool_use":
            block["input"] = _arguments(arguments) if arguments else block.get("input") or {}
    message["content"] = [block for block, _ in blocks.values()]
    answer = _anthropic_whole(message)
    answer.error = error
    return answer


def _gemini_call(calls: list, call: dict):
    """A call comes whole, or (Vertex) as its name and then pieces of its arguments by JSON path."""
    if "name" in call:
        calls.append((call["name"], dict(call.get("args") or {})))
    for piece in call.get("partialArgs") or []:
        target, names = calls[-1][1], piece["jsonPath"].removeprefix("$.").split(".")
        for name in names[:-1]:
            target = target.setdefault(name, {})
        value = next(value for key, value in piece.items() if key.endswith("Value"))
        grown = isinstance(value, str) and isinstance(target.get(names[-1]), str)
        target[names[-1]] = target[names[-1]] + value if grown else value


def fenced(language: str, text: str | None) -> str:
    """Code that the vendor ran, and its output, as a dialect without such parts can show them."""
    text = text or ""
    return f"\n```{language}\n{text}{'' if text.endswith(chr(10)) else chr(10)}```\n"


def _gemini_stream(events: list[dict]) -> Answer:
    answer, finish = Answer(), None
    for event in events:
        if event.get("error"):
            answer.error = event["error"]
            continue
        if event.get("usageMetadata"):
            answer.usage = gemini_usage(event["usageMetadata"])
        if (event.get("promptFeedback") or {}).get("blockReason"):
            answer.finish = "content_filter"
            answer.explanation = event["promptFeedback"].get("blockReasonMessage") or ""
        for candidate in event.get("candidates") or []:
            if candidate.get("index", 0) != 0:
                continue
            for part in (candidate.get("content") or {}).get("parts") or []:
                if "functionCall" in part:
                    _gemini_call(answer.calls, part["functionCall"])
                elif part.get("thought"):
                    answer.reasoning += part.get("text") or ""
                elif "executableCode" in part:
                    answer.text += fenced(part["executableCode"].get("language", "").lower(), part["executableCode"].get("code"))
                elif "codeExecutionResult" in part:
                    answer.text += fenced("", part["codeExecutionResult"].get("output"))
                else:
                    answer.text += part.get("text") or ""
            finish = candidate.get("finishReason") or finish
    if finish:
        known = {"STOP": "tool_calls" if answer.calls else "stop", "MAX_TOKENS": "length"}
        answer.finish = "content_filter" if finish in GEMINI_FILTERS else known.get(finish, finish)
    return answer
