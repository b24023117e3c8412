"""What an adapter may put into a frame, and how what it may not is named."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest

from realtime_async._core.events import MEDIA_KIND, RealtimeEvent
from realtime_async._core.oddity import _RULES, oddity
from realtime_async.errors import ContractViolation
from realtime_async.ports import (
    GoAway,
    InputCommitted,
    InputTranscript,
    OutputAudio,
    OutputText,
    OutputTranscript,
    ProviderWarning,
    RealtimeOutputFrame,
    ResponseDone,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolCallCancelled,
)

__all__: list[str] = []

SECRET = "mauve-door"

FINE: list[Any] = [
    OutputAudio(),
    OutputAudio("item.1"),
    OutputText("x" * 1_000_000),
    OutputTranscript("half a pair \ud800"),
    InputTranscript("so"),
    SpeechStarted(),
    SpeechStarted(0),
    SpeechStopped(2**53 - 1),
    InputCommitted(5),
    InputCommitted(5.5),  # type: ignore[arg-type]  # by an adapter's own arithmetic
    SpeechStarted(-20),
    ResponseStarted(),
    ResponseDone("a status of its own"),
    ToolCall("call.1", "book_table", "no JSON"),
    ToolCallCancelled(("call.1",)),
    GoAway(),
    GoAway(0),
    GoAway(5.5),
    GoAway(-0.5),
    ProviderWarning("odd"),
]

NO_TIMES: list[Any] = [math.nan, math.inf, -math.inf, True, 2**53, -(2**53), "5", b"5", object()]
NO_TEXTS: list[Any] = [None, 5, SECRET.encode(), [SECRET]]

ODD: list[tuple[Any, str]] = [
    *(
        (event(no), event.__name__)
        for event in (SpeechStarted, SpeechStopped, InputCommitted)
        for no in NO_TIMES
    ),
    *((GoAway(no), "GoAway") for no in NO_TIMES),
    *(
        (event(no), event.__name__)
        for event in (OutputText, OutputTranscript, InputTranscript, ProviderWarning, ResponseDone)
        for no in NO_TEXTS
    ),
    *(
        (ToolCall(**{"call_id": "x", "name": "x", field: no}), "ToolCall")
        for field in ("call_id", "name", "arguments")
        for no in NO_TEXTS
    ),
    *((ToolCallCancelled((no,)), "ToolCallCancelled") for no in NO_TEXTS),
    *((OutputAudio(no), "OutputAudio") for no in NO_TEXTS if no is not None),
    *((no, "a frame") for no in (None, SECRET, ResponseDone)),
]


@pytest.mark.parametrize("call_ids", [5, None, "call.1"], ids=repr)
def test_calls_that_are_taken_back_are_told_as_several(call_ids: Any) -> None:
    with pytest.raises(ContractViolation, match="the call_ids are"):
        ToolCallCancelled(call_ids)


def test_there_is_a_rule_for_each_event() -> None:
    assert set(_RULES) == set(get_args(RealtimeEvent))
    assert set(MEDIA_KIND) < set(_RULES)


@pytest.mark.parametrize("event", FINE)
def test_what_an_event_may_be_is_not_odd(event: Any) -> None:
    assert oddity(RealtimeOutputFrame(media_kind="control", event=event)) is None


@pytest.mark.parametrize("payload", [None, b"", b"sound", bytearray(2), memoryview(b"so"), "text"], ids=repr)
def test_a_payload_is_bytes_or_text_or_none(payload: Any) -> None:
    assert oddity(RealtimeOutputFrame(media_kind="audio", payload=payload, event=OutputAudio())) is None


@pytest.mark.parametrize("item_id", [None, "item.1", *(no for no in NO_TEXTS if no is not None)], ids=repr)
def test_speech_names_its_item_by_a_text_or_not_at_all(item_id: Any) -> None:
    told = oddity(RealtimeOutputFrame.audio(b"sound", item_id=item_id))

    assert (told is None) == (item_id is None or isinstance(item_id, str))


@pytest.mark.parametrize("event, named", ODD)
def test_what_an_event_may_not_be_is_named_without_what_was_said(event: Any, named: str) -> None:
    told = oddity(RealtimeOutputFrame(media_kind="control", event=event))

    assert told is not None
    assert told.startswith(named)
    assert "must be" in told
    assert SECRET not in told


@pytest.mark.parametrize("payload", [5, [SECRET], object()])
def test_a_payload_that_is_no_data_is_named(payload: Any) -> None:
    told = oddity(RealtimeOutputFrame(media_kind="audio", payload=payload, event=OutputAudio()))

    assert told is not None
    assert told.startswith(f"a frame whose payload is {'5' if payload == 5 else 'of type'}")
    assert SECRET not in told
