"""Recorded messages in, the frames that were looked at in review out; `make_golden` writes both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realtime_async.ports import RealtimeInputFrame
from tests.adapters.openai.make_golden import CALLS, FRAMES
from tests.adapters.openai.talks import FRAME, Message, heard, new_talk, say, shown

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.name.removesuffix(".wire.jsonl") for path in GOLDEN.glob("*.wire.jsonl"))


def lines(path: Path) -> list[Message]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def frames_of(name: str, *parts: list[Message]) -> list[Message]:
    """The frames of a call whose messages come in *parts*; between them, all is taken."""
    _, config, _ = CALLS[name.removesuffix("_before_ga")]
    talk = new_talk(**config)
    say(talk, *[RealtimeInputFrame.audio(FRAME)] * FRAMES)
    return [shown(frame) for part in parts for frame in heard(talk, *map(json.dumps, part))]


def test_there_is_a_recording_of_each_call() -> None:
    assert {name.removesuffix("_before_ga") for name in NAMES} == set(CALLS)


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_call_comes_to_the_frames_that_were_kept(name: str) -> None:
    wire = lines(GOLDEN / f"{name}.wire.jsonl")

    assert frames_of(name, wire) == lines(GOLDEN / f"{name}.frames.jsonl")


@pytest.mark.parametrize("name", NAMES)
def test_it_makes_no_difference_when_a_message_is_taken(name: str) -> None:
    wire, expected = lines(GOLDEN / f"{name}.wire.jsonl"), lines(GOLDEN / f"{name}.frames.jsonl")

    for cut in range(len(wire) + 1):
        assert frames_of(name, wire[:cut], wire[cut:]) == expected
    assert frames_of(name, *([message] for message in wire)) == expected


@pytest.mark.parametrize("name", ["spoken", "written"])
def test_a_server_of_before_general_availability_comes_to_the_same_frames(name: str) -> None:
    assert lines(GOLDEN / f"{name}_before_ga.frames.jsonl") == lines(GOLDEN / f"{name}.frames.jsonl")
