"""
What a loopback server hears: audio with numbers in it, and rules for when a person speaks.

A numbered frame tells the server which one it is, so that a test can ask what arrived, how often, in which order.
All rules count in frames of 20 ms, however the audio was cut for its way.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, TypeAlias

import attrs

__all__ = [
    "FRAME_MS",
    "Ear",
    "Speech",
    "Turns",
    "TurnsByFrame",
    "TurnsByLoudness",
    "TurnsByNumber",
    "number_of",
    "numbered_audio",
]

FRAME_MS = 20

# As samples it is a click at each end of the scale, which speech does not begin with.
_MARK = b"\xff\x7f\x00\x80"
_HEAD = struct.Struct("<4sI")
_LOUD = struct.pack("<hh", 8000, -8000)

# What G.711 says for silence, in both laws.
_QUIET_BYTES = frozenset(b"\xff\x7f\xd5\x55")


def numbered_audio(number: int, *, frame_bytes: int = 960) -> bytes:
    """
    Return one loud frame that bears *number*.

    Args:
        frame_bytes: 960 is 20 ms of pcm16 at 24 kHz, 160 is 20 ms of G.711.
    """
    head = _HEAD.pack(_MARK, number)
    return head + _LOUD * ((frame_bytes - len(head)) // len(_LOUD))


def number_of(frame: bytes) -> int | None:
    """Return the number that a frame bears; None: it bears none."""
    if len(frame) < _HEAD.size or not frame.startswith(_MARK):
        return None
    return int(_HEAD.unpack_from(frame)[1])


class Speech(StrEnum):
    """What a rule for turns has noticed."""

    STARTED = "started"
    STOPPED = "stopped"


class Ear(Protocol):
    """A rule at work on one connection."""

    def hear(self, frame: bytes, *, bytes_per_ms: int) -> Speech | None:
        """Take the next 20 ms; say whether speech began or ended with it."""
        ...


@attrs.frozen
class TurnsByLoudness:
    """Speech begins after some loud frames in a row and ends after some quiet ones."""

    loud_frames: int = 3
    quiet_frames: int = 25
    threshold: int = 500
    """The largest sample of a quiet frame, of 32768; G.711 is quiet where every byte says silence."""

    def ear(self) -> Ear:
        return _LoudnessEar(self)


@attrs.frozen
class TurnsByFrame:
    """Speech begins with one frame of a connection and ends with a later one; frames count from 1."""

    turns: Sequence[tuple[int, int]]

    def ear(self) -> Ear:
        return _FrameEar(self.turns)


@attrs.frozen
class TurnsByNumber:
    """
    Speech begins with the first frame whose number is within a pair, and ends with the pair's last.

    It counts what was said, not what a connection brought: a turn that a restart cuts is ended by the new connection.
    """

    turns: Sequence[tuple[int, int]]

    def ear(self) -> Ear:
        return _NumberEar(self.turns)


Turns: TypeAlias = TurnsByLoudness | TurnsByFrame | TurnsByNumber


class _LoudnessEar:
    def __init__(self, rule: TurnsByLoudness) -> None:
        self._rule = rule
        self._is_speaking = False
        self._in_a_row = 0

    def hear(self, frame: bytes, *, bytes_per_ms: int) -> Speech | None:
        is_loud = _is_loud(frame, self._rule.threshold, bytes_per_ms)
        if is_loud is self._is_speaking:
            self._in_a_row = 0
            return None
        self._in_a_row += 1
        if self._in_a_row < (self._rule.quiet_frames if self._is_speaking else self._rule.loud_frames):
            return None
        self._in_a_row = 0
        self._is_speaking = is_loud
        return Speech.STARTED if is_loud else Speech.STOPPED


def _is_loud(frame: bytes, threshold: int, bytes_per_ms: int) -> bool:
    if bytes_per_ms < 16:
        return not _QUIET_BYTES.issuperset(frame)
    samples = memoryview(frame[: len(frame) // 2 * 2]).cast("h")
    return max(samples, default=0) > threshold or min(samples, default=0) < -threshold


class _FrameEar:
    def __init__(self, turns: Sequence[tuple[int, int]]) -> None:
        self._edges = {
            number: speech
            for first, last in turns
            for number, speech in ((first, Speech.STARTED), (last, Speech.STOPPED))
        }
        self._frames = 0

    def hear(self, frame: bytes, *, bytes_per_ms: int) -> Speech | None:
        self._frames += 1
        return self._edges.get(self._frames)


class _NumberEar:
    def __init__(self, turns: Sequence[tuple[int, int]]) -> None:
        self._turns = turns
        self._until: int | None = None

    def hear(self, frame: bytes, *, bytes_per_ms: int) -> Speech | None:
        number = number_of(frame)
        if number is None:
            return None
        if self._until is not None:
            if number < self._until:
                return None
            self._until = None
            return Speech.STOPPED
        self._until = next((last for first, last in self._turns if first <= number < last), None)
        return None if self._until is None else Speech.STARTED
