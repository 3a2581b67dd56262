"""A loop of tool calls through each official Python SDK: what a user of that SDK would write.

Each function runs the script to its end in one dialect and tells what happened. With `keeps` the history holds what the SDK
returned, as it returned it; without, it is rebuilt from the fields that every client knows, as many frameworks do. Of several
models each question goes to the next, as after a failover. `before` stands before the script in the prompt.
"""

import json
from dataclasses import dataclass, field

import anthropic
import openai
from google import genai
from google.genai import types

import harness
import wire

# Two calls at once, then one more, each a step of its own with thinking before it.
SCRIPT = 'go: sim-script=[[["weather",{"city":"Oslo"}],["clock",{"zone":"CET"}]],[["weather",{"city":"Rome"}]]] and answer'
RESULTS = {"Oslo": "sunny at 7 degrees", "CET": "noon sharp", "Rome": "rain since monday"}
CALLS = [("weather", {"city": "Oslo"}), ("clock", {"zone": "CET"}), ("weather", {"city": "Rome"})]
PARAMETERS = {name: {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]}
              for name, key in [("weather", "city"), ("clock", "zone")]}
FOLLOW_UP = "words=5"


@dataclass
class Loop:
    """What a run of the script gave."""

    calls: list = field(default_factory=list)
    texts: list = field(default_factory=list)
    thoughts: list = field(default_factory=list)
    usages: list = field(default_factory=list)


def turn(loop: Loop, models: list[str]) -> str:
    """The model of the next question."""
    return models[len(loop.texts) % len(models)]


def result_of(arguments: dict) -> str:
    return RESULTS[next(iter(arguments.values()))]


def chat(url: str, models: list[str], streamed: bool, keeps: bool, before: str = "") -> Loop:
    client = openai.OpenAI(base_url=url + "/v1", api_key=harness.TENANT_KEY, max_retries=0, timeout=30)
    tools = [{"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in PARAMETERS.items()]
    loop, messages = Loop(), [{"role": "system", "content": "be brief"}, {"role": "user", "content": before + SCRIPT}]

    def ask():
        options = {"model": turn(loop, models), "messages": messages, "tools": tools, "reasoning_effort": "high"}
        if streamed:
            with client.chat.completions.stream(**options, stream_options={"include_usage": True}) as stream:
                answer = stream.get_final_completion()
        else:
            answer = client.chat.completions.create(**options)
        message = answer.choices[0].message
        loop.texts.append(message.content or "")
        loop.thoughts.append(getattr(message, "reasoning_content", None) or "")
        loop.usages.append(wire.openai_usage(answer.usage.model_dump()))
        calls = message.tool_calls or []
        assert answer.choices[0].finish_reason == ("tool_calls" if calls else "stop")
        if keeps:
            messages.append(message)
        else:
            known = [{"id": call.id, "type": "function",
                      "function": {"name": call.function.name, "arguments": call.function.arguments}} for call in calls]
            messages.append({"role": "assistant", "content": message.content, **({"tool_calls": known} if known else {})})
        for call in calls:
            arguments = json.loads(call.function.arguments)
            loop.calls.append((call.function.name, arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result_of(arguments)})
        return bool(calls)

    while ask():
        assert len(loop.texts) < 9
    messages.append({"role": "user", "content": FOLLOW_UP})
    assert not ask()
    return loop


def responses(url: str, models: list[str], streamed: bool, keeps: bool, before: str = "") -> Loop:
    client = openai.OpenAI(base_url=url + "/v1", api_key=harness.TENANT_KEY, max_retries=0, timeout=30)
    tools = [{"type": "function", "name": name, "parameters": schema, "strict": False} for name, schema in PARAMETERS.items()]
    loop, items = Loop(), [{"role": "user", "content": before + SCRIPT}]

    def ask():
        options = {"model": turn(loop, models), "input": items, "tools": tools, "store": False, "instructions": "be brief",
                   "reasoning": {"effort": "high", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
        if streamed:
            with client.responses.stream(**options) as stream:
                answer = stream.get_final_response()
        else:
            answer = client.responses.create(**options)
        assert answer.status == "completed"
        loop.texts.append(answer.output_text)
        loop.thoughts.append("".join(part.text for item in answer.output if item.type == "reasoning" for part in item.summary))
        loop.usages.append(wire.openai_usage(answer.usage.model_dump()))
        calls = [item for item in answer.output if item.type == "function_call"]
        if keeps:
            items.extend(answer.output)
        else:
            if answer.output_text:
                items.append({"role": "assistant", "content": answer.output_text})
            items.extend({"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
                         for call in calls)
        for call in calls:
            arguments = json.loads(call.arguments)
            loop.calls.append((call.name, arguments))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": result_of(arguments)})
        return bool(calls)

    while ask():
        assert len(loop.texts) < 9
    items.append({"role": "user", "content": FOLLOW_UP})
    assert not ask()
    return loop


def messages(url: str, models: list[str], streamed: bool, keeps: bool, before: str = "") -> Loop:
    client = anthropic.Anthropic(base_url=url, api_key=harness.TENANT_KEY, max_retries=0, timeout=30)
    tools = [{"name": name, "input_schema": schema} for name, schema in PARAMETERS.items()]
    # A model of the vendor's newest takes no budget; what other vendors' models make of either is the gateway's matter.
    budget = {"type": "enabled", "budget_tokens": 2048}
    adaptive = {"type": "adaptive", "display": "summarized"}
    loop, history = Loop(), [{"role": "user", "content": before + SCRIPT}]

    def ask():
        options = {"model": turn(loop, models), "messages": history, "tools": tools, "max_tokens": 8192, "system": "be brief", "thinking": adaptive if turn(loop, models) == "loop-anthropic" else budget}
        if streamed:
            with client.messages.stream(**options) as stream:
                answer = stream.get_final_message()
        else:
            answer = client.messages.create(**options)
        loop.texts.append("".join(block.text for block in answer.content if block.type == "text"))
        loop.thoughts.append("".join(block.thinking for block in answer.content if block.type == "thinking"))
        loop.usages.append(wire.anthropic_usage(answer.usage.model_dump()))
        calls = [block for block in answer.content if block.type == "tool_use"]
        assert answer.stop_reason == ("tool_use" if calls else "end_turn")
        if keeps:
            history.append({"role": "assistant", "content": answer.content})
        else:
            known = [{"type": "text", "text": block.text} if block.type == "text"
                     else {"type": "tool_use", "id": block.id, "name": block.name, "input": block.input}
                     for block in answer.content if block.type in ("text", "tool_use")]
            history.append({"role": "assistant", "content": known})
        loop.calls += [(call.name, call.input) for call in calls]
        if calls:
            history.append({"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": call.id, "content": result_of(call.input)} for call in calls]})
        return bool(calls)

    while ask():
        assert len(loop.texts) < 9
    history.append({"role": "user", "content": FOLLOW_UP})
    assert not ask()
    return loop


def gemini(url: str, models: list[str], streamed: bool, keeps: bool, before: str = "") -> Loop:
    # The SDK closes a client that nobody holds.
    client = genai.Client(api_key=harness.TENANT_KEY, http_options=types.HttpOptions(base_url=url, timeout=30_000))
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[
            types.FunctionDeclaration(name=name, parameters_json_schema=schema) for name, schema in PARAMETERS.items()])],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True), system_instruction="be brief",
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.HIGH))
    loop = Loop()
    # The SDK's own history keeps every part as it came.
    keeper, contents = None, []

    def ask(parts):
        nonlocal keeper
        if keeps:
            if not keeper or len(models) > 1:
                history = keeper.get_history() if keeper else []
                keeper = client.chats.create(model=turn(loop, models), config=config, history=history)
            chunks = list(keeper.send_message_stream(parts)) if streamed else [keeper.send_message(parts)]
        else:
            contents.append(types.Content(role="user", parts=parts))
            options = {"model": turn(loop, models), "contents": contents, "config": config}
            chunks = (list(client.models.generate_content_stream(**options)) if streamed
                      else [client.models.generate_content(**options)])
        answered = [part for chunk in chunks for candidate in chunk.candidates or []
                    for part in (candidate.content.parts if candidate.content else None) or []]
        text = "".join(part.text or "" for part in answered if not part.thought)
        loop.texts.append(text)
        loop.thoughts.append("".join(part.text or "" for part in answered if part.thought))
        loop.usages.append(wire.gemini_usage(chunks[-1].usage_metadata.model_dump(by_alias=True)))
        assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
        calls = [part.function_call for part in answered if part.function_call]
        if not keeps:
            known = [types.Part(text=text)] if text else []
            known += [types.Part(function_call=types.FunctionCall(id=call.id, name=call.name, args=call.args)) for call in calls]
            contents.append(types.Content(role="model", parts=known))
        loop.calls += [(call.name, call.args) for call in calls]
        return [types.Part(function_response=types.FunctionResponse(
            id=call.id, name=call.name, response={"output": result_of(call.args)})) for call in calls]

    parts = ask([types.Part(text=before + SCRIPT)])
    while parts:
        assert len(loop.texts) < 9
        parts = ask(parts)
    assert not ask([types.Part(text=FOLLOW_UP)])
    return loop


RUN = {"openai-chat": chat, "openai-responses": responses, "anthropic": messages, "gemini": gemini}
