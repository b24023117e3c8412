"""
Recorded conversations: wire in, frames out.

Beside each `.jsonl` of server messages stands a `.frames` with what they become, one line a frame.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from realtime_async.adapters.gemini.wire import read_message
from tests.adapters.gemini.reading import GOLDEN, frames_of, new_turns, shown, wire_messages

NAMES = sorted(path.stem for path in GOLDEN.glob("*.jsonl"))


def expected(name: str) -> list[str]:
    return (GOLDEN / f"{name}.frames").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_conversation_becomes_the_frames_beside_it(name: str) -> None:
    assert list(map(shown, frames_of(wire_messages(name)))) == expected(name)


@pytest.mark.parametrize("name", NAMES)
def test_binary_frames_say_the_same_as_text(name: str) -> None:
    assert list(map(shown, frames_of([line.encode() for line in wire_messages(name)]))) == expected(name)


@pytest.mark.parametrize("name", NAMES)
def test_where_the_reading_pauses_makes_no_difference(name: str) -> None:
    messages = wire_messages(name)

    for cut in range(len(messages) + 1):
        turns = new_turns()
        first = frames_of(messages[:cut], turns)
        rest = frames_of(messages[cut:], turns, now=cut * 10.0)
        assert list(map(shown, first + rest)) == expected(name), cut


@pytest.mark.parametrize("name", NAMES)
def test_a_message_may_be_split_into_one_for_each_thing_that_it_says(name: str) -> None:
    parts = list(itertools.chain.from_iterable(split(json.loads(line)) for line in wire_messages(name)))

    assert list(map(shown, frames_of(parts))) == expected(name)


def split(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The same, in the order in which the things of one message count."""
    content = message.pop("serverContent", {})
    split_off: list[dict[str, Any]] = []
    for key in ("inputTranscription", "modelTurn", "outputTranscription"):
        values = parts_of(key, content.pop(key, None))
        split_off += [{"serverContent": {key: value}} for value in values]
    if "usageMetadata" in message:
        split_off.append({"usageMetadata": message.pop("usageMetadata")})
    if content:
        split_off.append({"serverContent": content})
    return split_off + [{key: value} for key, value in message.items()]


def parts_of(key: str, value: dict[str, Any] | None) -> list[dict[str, Any]]:
    if value is None:
        return []
    return [{"parts": [part]} for part in value["parts"]] if key == "modelTurn" else [value]


def test_reading_is_the_same_from_a_message_that_was_read_before() -> None:
    """Nothing of a message is kept but what it says, so reading it twice gives equal values."""
    for name in NAMES:
        for line in wire_messages(name):
            assert read_message(line) == read_message(line.encode())
