"""
What becomes of records that do not simply continue a run that is held here.

Decided from the run's row, which is locked meanwhile, and from the records that hold the places in question:
the first append of a process, one whose first answer was lost, and one of an owner who was superseded.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from realtime_async.errors import JournalFailure
from realtime_async.journals._taken import Taken
from realtime_async.journals._verdicts import conflict, gap, hole, superseded
from realtime_async.ports import JournalRecord

__all__ = ["NOBODYS", "Standing", "Verdict", "judged"]


@attrs.frozen
class Standing:
    """A run's row."""

    run: int
    last_seq: int
    token: int
    written_token: int
    """The token under which the last record was written."""
    open_sessions: frozenset[str]


NOBODYS = Standing(0, 0, 0, 0, frozenset())
"""Of a run that isn't there."""


@attrs.frozen
class Verdict:
    done: int
    """So many of the records are in the database already."""
    failure: JournalFailure | None = None
    """Of all behind those; None: they are to be written."""
    is_takeover: bool = False
    """They are to be written under a token of their own."""


def judged(
    batch: Sequence[Taken], standing: Standing, held_token: int | None, stored: Sequence[JournalRecord]
) -> Verdict:
    """
    Judge the next records of one run, in order and without gap.

    Args:
        held_token: None: the run is not held here, and whoever appends means to take it over.
        stored: What the database has from the first of their places on.
    """
    first, last = batch[0].record.journal_seq, standing.last_seq
    if not 1 <= first <= last + 1:
        return Verdict(0, gap(batch[0].record, last + 1))
    taken_places = batch[: last + 1 - first]
    if len(stored) != len(taken_places):
        return Verdict(0, hole(batch[0].record.run_id, first, last))
    for done, (taken, there) in enumerate(zip(taken_places, stored, strict=True)):
        if taken.record != there:
            return Verdict(done, conflict(taken.record))
    done = len(taken_places)
    if held_token is None or held_token == standing.token:
        return Verdict(done, is_takeover=held_token is None)
    # Superseded; but where whoever holds the run has written these very records, he writes for the same owner.
    if done and first + done - 1 == last and standing.written_token == standing.token:
        return Verdict(done, is_takeover=True)
    return Verdict(done, superseded(batch[done].record) if batch[done:] else None)
