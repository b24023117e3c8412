"""
What of an answer was heard.

A provider speaks faster than anybody listens, so what was received says nothing about what was heard.
A player counts here what it takes and what it plays; an adapter finds out which items that comes to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import attrs

from realtime_async._core.cursors import is_position
from realtime_async._core.given import shown
from realtime_async._core.media import DEFAULT_AUDIO, AudioFormat, given_format
from realtime_async.errors import ContractViolation

__all__ = ["HeardItem", "PlaybackLedger", "heard_items", "heard_text"]


@attrs.frozen
class HeardItem:
    """How much of one item of an answer was heard."""

    item_id: str
    heard_ms: int
    """At most *received_ms*."""
    received_ms: int
    """What of it had arrived."""


def heard_items(received: Iterable[tuple[str, float]], played_ms: float) -> list[HeardItem]:
    """
    Share *played_ms* among the items of an answer, in order.

    Args:
        received: Of each item, its id and how many milliseconds of it had arrived.
        played_ms: Of the whole answer.
    """
    heard = []
    left = max(0.0, played_ms)
    for item_id, received_ms in received:
        share = min(left, received_ms)
        left -= share
        heard.append(HeardItem(item_id, int(share), int(received_ms)))
    return heard


def heard_text(transcript: str, heard_ms: float, received_ms: float) -> str:
    """
    The words of *transcript* that were heard, when *heard_ms* of *received_ms* were.

    Speech has no marks for its words, so they are taken to be equally long; one that was begun counts as unheard.
    """
    if heard_ms >= received_ms:
        return transcript
    if heard_ms <= 0:
        return ""
    cut = int(len(transcript) * heard_ms / received_ms)
    if transcript[cut : cut + 1].isspace():
        return transcript[:cut].rstrip()
    return transcript[:cut].rpartition(" ")[0].rstrip()


@attrs.define
class _Answer:
    received: int = 0
    played: int = 0


class PlaybackLedger:
    """
    Counts what a player was given, and what it has played, by answer.

    Answers are played in the order in which they were given.
    It remembers the last 16.
    """

    ANSWERS = 16

    def __init__(self, audio_format: AudioFormat = DEFAULT_AUDIO) -> None:
        self._bytes_per_second = given_format(audio_format).bytes_per_second
        self._answers: OrderedDict[str | None, _Answer] = OrderedDict()
        self.is_told = False
        """Whether anybody says what is played."""

    def take(self, response_id: str | None, size: int) -> None:
        """*size* bytes of that answer wait to be played; None: it has no id."""
        answer = self._answers.get(response_id)
        if answer is None:
            answer = self._answers[response_id] = _Answer()
            if len(self._answers) > self.ANSWERS:
                self._answers.popitem(last=False)
        answer.received += size

    def play(self, size: int) -> None:
        """
        *size* bytes more were heard; what nobody has given is not counted.

        Raises:
            ContractViolation: So many bytes there cannot be.
        """
        if not is_position(size):
            raise ContractViolation(
                f"{shown(size)} bytes cannot have been heard: give a whole number of them"
            )
        self.is_told = True
        for answer in self._answers.values():
            share = min(size, answer.received - answer.played)
            answer.played += share
            size -= share
            if not size:
                return

    @property
    def current(self) -> str | None:
        """The answer that is being heard, or was heard last; None: none was, or it has no id."""
        latest = next(iter(self._answers), None)
        for response_id, answer in self._answers.items():
            if answer.played:
                latest = response_id
            if answer.played < answer.received:
                break
        return latest

    @property
    def waiting_ms(self) -> int:
        """How much is yet to be played."""
        return self._ms(sum(answer.received - answer.played for answer in self._answers.values()))

    def played_ms(self, response_id: str | None = None) -> int:
        """How much of an answer was heard; of the `current` one where none is named."""
        answer = self._answers.get(self.current if response_id is None else response_id)
        return 0 if answer is None else self._ms(answer.played)

    def stop(self) -> int:
        """
        Forget what waits, as a player does that falls silent.

        Returns:
            The milliseconds that were heard of the answer being played, as `interrupt` wants them.
        """
        played_ms = self.played_ms()
        for answer in self._answers.values():
            answer.received = answer.played
        return played_ms

    def _ms(self, size: int) -> int:
        return size * 1000 // self._bytes_per_second
