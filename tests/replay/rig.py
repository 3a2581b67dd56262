"""What the suites of recorded traffic share: how the vendor and the gateway are asked."""

import wire


def direct(replay, case, status: int = 200) -> bytes:
    """What the vendor answered."""
    reply = replay.post(
        wire.path(case.dialect, case.name, case.stream), json={"model": case.name}, headers=wire.auth(case.dialect, "sk-x"))
    assert reply.status_code == status, reply.text
    return reply.content


def own_request(case) -> dict:
    """The recorded request, or a plain one where it was not kept."""
    recorded = case.load()["request"].get("body")
    body = dict(recorded) if recorded else wire.request(case.dialect, case.model, "hello", stream=case.stream)
    if case.dialect == "gemini":
        body.pop("model", None)
    else:
        body["model"] = case.model
    if case.dialect == "openai-chat" and case.stream:
        # Else the gateway asks for usage on the client's behalf, which is a test of its own.
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return body
