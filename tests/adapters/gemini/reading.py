"""Server messages in, frames out, written so that a person can compare them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from realtime_async.adapters.gemini.calls import ToolCalls
from realtime_async.adapters.gemini.coverage import Coverage
from realtime_async.adapters.gemini.turns import Turns
from realtime_async.adapters.gemini.wire import read_message
from realtime_async.ports import RealtimeOutputFrame

__all__ = ["GOLDEN", "frames_of", "new_turns", "shown", "wire_messages"]

GOLDEN = Path(__file__).with_name("golden")

Json = dict[str, Any]


def wire_messages(name: str) -> list[str]:
    return (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()


def new_turns(calls: ToolCalls | None = None, coverage: Coverage | None = None) -> Turns:
    return Turns(
        "response", ToolCalls() if calls is None else calls, Coverage() if coverage is None else coverage
    )


def frames_of(
    messages: Iterable[str | bytes | Json], turns: Turns | None = None, *, now: float = 0.0
) -> list[RealtimeOutputFrame]:
    """Read *messages*, which come ten seconds apart."""
    turns = new_turns() if turns is None else turns
    frames: list[RealtimeOutputFrame] = []
    for number, message in enumerate(messages):
        data = json.dumps(message) if isinstance(message, dict) else message
        frames += turns.read(read_message(data), now + number * 10.0)
    return frames


def shown(frame: RealtimeOutputFrame) -> str:
    fields = {key: value for key, value in attrs.asdict(frame.event).items() if value is not None}
    if isinstance(frame.payload, bytes):
        fields["pcm"] = frame.payload.hex()
    answer = f" of {frame.response_id}" if frame.response_id else ""
    return f"{type(frame.event).__name__}{answer} {json.dumps(fields)}"
