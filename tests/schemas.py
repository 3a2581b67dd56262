"""The vendors' wire schemas from the shared folder, where it is present: judges of what the product composes."""

import functools
import json
import os
from pathlib import Path

import jsonschema_rs

ROOT = Path(__file__).resolve().parent.parent


def shared() -> Path | None:
    """The folder of recorded traffic and schemas, or None."""
    folder = Path(os.environ.get("TALLYGATE_SHARED", ROOT.parent / "shared"))
    return folder if (folder / "specs").is_dir() else None


def _modern(schema):
    """Without the two keywords of an older draft that some schemas still hold (they mean "anything nested" here)."""
    if isinstance(schema, list):
        return [_modern(item) for item in schema]
    if isinstance(schema, dict):
        return {key: _modern(value) for key, value in schema.items() if key not in ("$recursiveAnchor", "$recursiveRef")}
    return schema


@functools.cache
def validator(bundle: str, root: str):
    """A validator for one root of one bundle."""
    definitions = _modern(json.loads((shared() / "specs" / f"{bundle}.schema.json").read_text())["$defs"])
    return jsonschema_rs.Draft202012Validator({"$ref": f"#/$defs/{root}", "$defs": definitions})


# dialect -> (root of a whole answer, root of a stream event), strict bundle, relaxed bundle
ROOTS = {
    "openai-chat": ("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse", "openai", "openai.relaxed"),
    "openai-responses": ("Response", "ResponseStreamEvent", "openai", "openai.relaxed"),
    "anthropic": ("Message", "MessageStreamEvent", "anthropic", "anthropic.relaxed"),
    "gemini": ("GenerateContentResponse", "GenerateContentResponse", "gemini-proto", "gemini-sdk"),
}


def problems(dialect: str, value, stream_event: bool = False, relaxed: bool = False) -> list[str]:
    """What is wrong with an answer or one event of a stream, as the vendor's schema sees it; empty if nothing is."""
    whole, event, strict_bundle, relaxed_bundle = ROOTS[dialect]
    if dialect == "anthropic" and stream_event and value.get("type") in ("ping", "error"):
        return []
    bundle = relaxed_bundle if relaxed else strict_bundle
    found = validator(bundle, event if stream_event else whole)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}" for error in found.iter_errors(value)]


ERRORS = {"openai-chat": "openai", "openai-responses": "openai", "anthropic": "anthropic", "gemini": "gemini-sdk"}


def error_problems(dialect: str, value) -> list[str]:
    found = validator(ERRORS[dialect], "ErrorResponse")
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message[:300]}" for error in found.iter_errors(value)]
