"""Whatever a server sends: no exception but ours, nothing that was said in a message, and no end to the session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_async.adapters.openai.hearing import HEARD, hear
from realtime_async.adapters.openai.saying import interrupt
from realtime_async.adapters.openai.talk import Talk
from realtime_async.errors import ProviderFailure
from realtime_async.ports import RealtimeInputFrame
from tests.adapters.openai.talks import audio, new_talk, said, say, to_send

SECRET = "mauve-door-91"
GOLDEN = Path(__file__).parent / "golden"
RECORDED = [
    json.loads(line)
    for path in sorted(GOLDEN.glob("*.wire.jsonl"))
    for line in path.read_text(encoding="utf-8").splitlines()
]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(SECRET)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


def paths_of(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, each in inner for path in paths_of(each, (*at, key)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """*value* with something else at *path*."""
    if not path:
        return new
    key, *rest = path
    if isinstance(value, dict):
        return {**value, key: changed(value[key], tuple(rest), new)}
    return [changed(each, tuple(rest), new) if index == key else each for index, each in enumerate(value)]


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """A recorded message with up to three of its values exchanged."""
    message = draw(st.sampled_from(RECORDED))
    for _ in range(draw(st.integers(0, 3))):
        paths = [path for path in paths_of(message) if path and path != ("type",)]
        if paths:
            message = changed(message, draw(st.sampled_from(paths)), draw(values))
    return json.dumps(message)


@st.composite
def inventions(draw: st.DrawFn) -> str:
    """A message of a known name with fields that nobody chose."""
    fields = draw(
        st.dictionaries(st.sampled_from(["item_id", "response_id", "delta", "item", "error"]), values)
    )
    return json.dumps({"type": draw(st.sampled_from(sorted(HEARD))), **fields})


messages = mutants() | inventions() | values.map(json.dumps) | st.binary(max_size=50) | st.text(max_size=50)
steps = st.lists(messages | st.sampled_from(["interrupt", "restart", "ask", "speak"]), max_size=25)


def step(talk: Talk, what: str | bytes) -> None:
    match what:
        case "interrupt":
            interrupt(talk, None, 100)
        case "restart":
            talk.disconnected()
            list(talk.restoring())
            talk.reconnected()
        case "ask":
            say(talk, RealtimeInputFrame.text("A table."), RealtimeInputFrame.request_response())
        case "speak":
            say(talk, *audio(3))
        case _:
            hear(talk, what)


@settings(max_examples=60)
@given(steps)
def test_no_message_brings_a_session_down_or_shows_what_was_said(steps: list[str | bytes]) -> None:
    talk = new_talk(transcription="whisper-1")
    talk.is_begun = talk.is_configured = True

    for what in steps:
        step(talk, what)
        to_send(talk)
    failures = [heard for heard in talk.outbox if isinstance(heard, ProviderFailure)]
    frames = [heard for heard in talk.outbox if not isinstance(heard, ProviderFailure)]

    assert SECRET not in "".join(f"{failure!s}{failure!r}{vars(failure)}" for failure in failures)
    assert all(failure.code == "malformed_event" for failure in failures)
    assert SECRET not in "".join(frame.redacted_summary or "" for frame in frames)
    # It goes on: another answer can be asked for and heard.
    talk.disconnected()
    talk.reconnected()
    talk.outbox.clear()
    hear(talk, said("response.created", response={"id": "resp_last"}))
    hear(talk, said("response.done", response={"id": "resp_last", "status": "completed"}))
    assert len(talk.outbox) == 2
