"""
What moves runs on: their next records, the texts that these share, and the leases under which they are written.

However it gets there, see `_postgres_writing`, it is cut here into what is written at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs
import orjson

from realtime_async._core.records import TERMINAL
from realtime_async.journals._postgres_leases import Held
from realtime_async.journals._taken import Taken
from realtime_async.ports import RunId

__all__ = ["PARTS_KNOWN", "Advance", "characters", "integers", "moves", "parts", "pieces"]

PARTS_KNOWN: Final = 1000
"""Shared texts of a run; one that is forgotten is written again, under another number."""


@attrs.frozen
class Advance:
    """Records that continue a run, and what its lease is to be after them."""

    held: Held
    becomes: int
    """The token to write under; another than the one that is held, where the run is taken over."""
    batch: Sequence[Taken]
    numbers: dict[str, int]
    """Of the shared texts that the run does not have yet."""
    open_sessions: frozenset[str]

    @classmethod
    def of(cls, held: Held, batch: Sequence[Taken], *, becomes: int | None = None) -> Advance:
        known, numbers = held.parts or {}, dict[str, int]()
        open_sessions = held.open_sessions
        # Most records share all with one before them: its texts have numbers, and its session is open.
        seen: set[tuple[str, ...]] = set()
        for taken in batch:
            shared = taken.packed[:-1]
            if shared in seen:
                continue
            for text in shared:
                if text not in known and text not in numbers:
                    numbers[text] = held.highest_part + len(numbers) + 1
            payload = taken.record.payload
            if payload.kind in TERMINAL:
                open_sessions -= {payload.session_id}
                seen.clear()
                continue
            seen.add(shared)
            if payload.session_id not in open_sessions:
                open_sessions |= {str(payload.session_id)}
        return cls(held, held.token if becomes is None else becomes, batch, numbers, open_sessions)

    @property
    def open(self) -> str:
        """Which sessions are open after it, as an array; empty: those that were before."""
        if self.open_sessions == self.held.open_sessions:
            return ""
        # No identifier has a quotation mark.
        return _array(f'"{session}"' for session in sorted(self.open_sessions))

    def happened(self, now: float) -> None:
        """Note what the database has by now."""
        held = self.held
        held.token, held.last_seq = self.becomes, self.batch[-1].record.journal_seq
        if self.numbers or held.parts is None:
            held.parts = (held.parts or {}) | self.numbers
            held.highest_part += len(self.numbers)
            if len(held.parts) > PARTS_KNOWN:
                held.parts = {}
        held.open_sessions = self.open_sessions
        held.renewed_at = held.appended_at = now

    def columns(self) -> tuple[Sequence[int], Sequence[int], Sequence[int], Sequence[str]]:
        """What is in the records: the numbers of their three shared texts, and their bodies."""
        numbers = {**(self.held.parts or {}), **self.numbers} if self.numbers else self.held.parts or {}
        sessions, connections, sorts, bodies = zip(*[taken.packed for taken in self.batch], strict=True)
        return (
            [numbers[text] for text in sessions],
            [numbers[text] for text in connections],
            [numbers[text] for text in sorts],
            bodies,
        )


def characters(runs: Mapping[RunId, Sequence[Taken]]) -> int:
    """Of the bodies of what is to be written."""
    return sum([len(taken.packed[-1]) for batch in runs.values() for taken in batch])


def pieces(runs: Mapping[RunId, Sequence[Taken]], size: int) -> Iterator[Mapping[RunId, Sequence[Taken]]]:
    """Cut what is to be written after *size* characters of bodies; what is left of a run comes first in the next piece."""
    piece: dict[RunId, Sequence[Taken]] = {}
    room = size
    for run_id, batch in runs.items():
        first = 0
        for end, taken in enumerate(batch, 1):
            room -= len(taken.packed[-1])
            if room <= 0:
                piece[run_id] = batch[first:end]
                yield piece
                piece, room, first = {}, size, end
        if batch[first:]:
            piece[run_id] = batch[first:]
    if piece:
        yield piece


def moves(advances: Sequence[Advance]) -> dict[str, str]:
    """Where *advances* move their runs, as a text for each column."""
    return {
        "moved": integers([each.held.run for each in advances]),
        "tokens": integers([each.held.token for each in advances]),
        "becomes": integers([each.becomes for each in advances]),
        "first": integers([each.batch[0].record.journal_seq for each in advances]),
        "last": integers([each.batch[-1].record.journal_seq for each in advances]),
        "open": "\n".join([each.open for each in advances]),
    }


def parts(advances: Sequence[Advance]) -> dict[str, str]:
    """Their new shared texts."""
    return {
        "part_runs": integers([each.held.run for each in advances for _ in each.numbers]),
        "numbers": integers([number for each in advances for number in each.numbers.values()]),
        "texts": "\n".join([text for each in advances for text in each.numbers]),
    }


def _array(texts: Iterable[str]) -> str:
    return "{" + ",".join(texts) + "}"


def integers(values: Sequence[int]) -> str:
    """The same of numbers, which JSON writes faster than they become texts one by one."""
    return "{" + orjson.dumps(values).decode()[1:-1] + "}"
