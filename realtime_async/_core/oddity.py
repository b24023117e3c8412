"""
What an adapter may put into a frame: events that there are, positions that are numbers, texts that are text.

The frame itself looks at what comes into a record.
What is looked at here is believed by the session, which settles input by a position and calls a tool by its name.
A time that lies a little before the session began, or between two milliseconds, comes of an adapter's arithmetic and
harms nobody: a call does not end for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from realtime_async._core.events import (
    GoAway,
    InputCommitted,
    InputTranscript,
    OutputAudio,
    OutputText,
    OutputTranscript,
    ProviderWarning,
    RealtimeEvent,
    ResponseDone,
    ResponseStarted,
    Restarted,
    SpeechStarted,
    SpeechStopped,
    ToolCall,
    ToolCallCancelled,
)
from realtime_async._core.frames import RealtimeOutputFrame
from realtime_async._core.given import shown

__all__ = ["oddity"]

# What an item is called, where it is called anything.
_NAMES: Final = (str, type(None))
# Beyond it nothing is a time.
_MOST: Final = 2**53


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_time_or_none(value: object) -> bool:
    if value is None:
        return True
    # That also refuses what is infinite, and what is not a number.
    return isinstance(value, int | float) and not isinstance(value, bool) and -_MOST < value < _MOST


def _are_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, str) for each in value)


_Rule: TypeAlias = tuple[Callable[[object], bool], str]
_TEXT: _Rule = (_is_text, "a str")
_TEXT_OR_NONE: _Rule = (_is_text_or_none, "a str, or None")
_POSITION: _Rule = (_is_time_or_none, "milliseconds since the session began, or None")
_SECONDS: _Rule = (_is_time_or_none, "seconds, or None")
_TEXTS: _Rule = (_are_texts, "of str alone")

_RULES: Mapping[type[RealtimeEvent], Mapping[str, _Rule]] = {
    OutputAudio: {"item_id": _TEXT_OR_NONE},
    OutputText: {"text": _TEXT},
    OutputTranscript: {"text": _TEXT},
    InputTranscript: {"text": _TEXT},
    SpeechStarted: {"audio_start_ms": _POSITION},
    SpeechStopped: {"audio_end_ms": _POSITION},
    InputCommitted: {"audio_end_ms": _POSITION},
    ResponseStarted: {},
    ResponseDone: {"status": _TEXT},
    ToolCall: {"call_id": _TEXT, "name": _TEXT, "arguments": _TEXT},
    ToolCallCancelled: {"call_ids": _TEXTS},
    GoAway: {"time_left_s": _SECONDS},
    ProviderWarning: {"code": _TEXT},
    Restarted: {},
}


def oddity(frame: RealtimeOutputFrame) -> str | None:
    """What *frame* bears that no frame may, and what it must be, without a word of what was said; None: nothing."""
    payload, event = frame.payload, frame.event
    if type(payload) is bytes and type(event) is OutputAudio and type(event.item_id) in _NAMES:
        # Nearly every frame.
        return None
    if not (payload is None or isinstance(payload, bytes | bytearray | memoryview | str)):
        return f"a frame whose payload is {_named(payload)}: it must be bytes, a str, or None"
    kind = next((kind for kind in _RULES if isinstance(event, kind)), None)
    if kind is None:
        return f"a frame whose event is {_named(event)}: it must be one of realtime_async.ports.RealtimeEvent"
    for name, (holds, must_be) in _RULES[kind].items():
        value = getattr(event, name)
        if not holds(value):
            return f"{kind.__name__} whose {name} is {_named(value)}: it must be {must_be}"
    return None


def _named(value: object) -> str:
    # A text may be what was said, wherever it stands.
    return f"of type {type(value).__name__}" if isinstance(value, str) else shown(value)
