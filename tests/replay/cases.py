"""The recorded cases that the gateway must carry: which they are, and in which dialect their vendor spoke."""

import json
from dataclasses import dataclass
from pathlib import Path

import schemas

# Folder of recorded traffic -> the dialect its vendor speaks.
PROVIDERS = {
    "openai-chat": "openai-chat",
    "openai-compat-chat": "openai-chat",
    "azure-openai-chat": "openai-chat",
    "anthropic-openai-compat": "openai-chat",
    "gemini-openai-compat": "openai-chat",
    "openai-responses": "openai-responses",
    "openai-compat-responses": "openai-responses",
    "azure-openai-responses": "openai-responses",
    "anthropic-messages": "anthropic",
    "gemini-generate": "gemini",
    "gemini-stream": "gemini",
    "vertex-gemini-generate": "gemini",
    "vertex-gemini-stream": "gemini",
}


@dataclass(frozen=True)
class Case:
    provider: str
    id: str
    dialect: str
    stream: bool
    file: Path
    status: int

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.id}"

    @property
    def model(self) -> str:
        """The name tenants ask the gateway for."""
        return f"replay-{self.id}"

    def load(self) -> dict:
        return json.loads(self.file.read_text())


def _is_stream(case: dict) -> bool:
    body = (case["request"].get("body") or {})
    return "body_raw" in case["response"] or body.get("stream") is True or ":streamGenerateContent" in (case["request"].get("path") or "")


# Folders of what is not generated: the same, by what it is.
COUNTERS = {"anthropic-count-tokens": "anthropic", "gemini-count-tokens": "gemini"}
EMBEDDERS = {
    "openai-embeddings": "openai-chat", "openai-compat-embeddings": "openai-chat", "gemini-embeddings": "gemini",
    "vertex-gemini-embeddings": "gemini",
}


def every_case(providers: dict[str, str]) -> list[Case]:
    """Every case of the folders."""
    folder = schemas.shared()
    found = []
    for provider, dialect in providers.items() if folder else ():
        for file in sorted((folder / "traffic" / provider).glob("*.json")):
            case = json.loads(file.read_text())
            found.append(Case(provider, case["id"], dialect, _is_stream(case), file, case["response"]["status"]))
    return found


def all_cases() -> list[Case]:
    """Every generation that was answered with status 200."""
    return [case for case in every_case(PROVIDERS) if case.status == 200]


def known_failures() -> dict[str, str]:
    """Named exceptions: `<provider>/<id> -> <dialect>: why`."""
    known = {}
    for line in (Path(__file__).parent / "known_failures.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition(": ")
            known[name.strip()] = reason.strip()
    return known
