"""What a journal answers to an append: durable already, or refused and why."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

from realtime_async._core.given import shown
from realtime_async.errors import JournalConflict, JournalCorrupt, JournalFailure
from realtime_async.ports import JournalCursor, JournalRecord, RunId

__all__ = [
    "Durable",
    "beyond",
    "closed",
    "conflict",
    "elsewhere",
    "gap",
    "hole",
    "numbered",
    "released",
    "superseded",
]


class Durable:
    """What `append` returns where nothing is left to wait for."""

    __slots__ = ("cursor",)

    is_durable: ClassVar[bool] = True

    def __init__(self, cursor: JournalCursor) -> None:
        self.cursor = cursor

    def __await__(self) -> Generator[Any, Any, JournalCursor]:
        return self.cursor
        yield  # an await needs a generator


def conflict(record: JournalRecord) -> JournalConflict:
    return JournalConflict(
        f"run {str(record.run_id)!r} has another record at {record.journal_seq}: "
        "somebody else owns the run, or it has run before; give every run a run_id of its own, "
        "or read where this one stands before taking it over"
    )


def gap(record: JournalRecord, expected: int) -> JournalFailure:
    return JournalFailure(
        f"run {str(record.run_id)!r} goes on at {expected}, not at {record.journal_seq}: append in order, without gap"
    )


def closed(what: str) -> JournalFailure:
    return JournalFailure(f"{what} is closed: close it after its sessions, and open it again to go on")


def superseded(record: JournalRecord) -> JournalConflict:
    return JournalConflict(
        f"run {str(record.run_id)!r} has another owner, and cannot be written at {record.journal_seq}: "
        "it was resumed, claimed or released meanwhile; leave it to that one, "
        "or read where it stands before taking it over"
    )


def released(run_id: RunId) -> JournalConflict:
    return JournalConflict(
        f"run {str(run_id)!r} was released, and is for another owner to take up: "
        "read where it stands before taking it over again"
    )


def hole(run_id: RunId, first: int, last: int) -> JournalCorrupt:
    return JournalCorrupt(
        f"run {str(run_id)!r} stands at {last}, but not all of its records from {first} on are there: "
        "its journal was tampered with or damaged; restore it, or leave this run alone"
    )


def beyond(run_id: RunId, seq: int, last: int) -> JournalCorrupt:
    return JournalCorrupt(
        f"run {str(run_id)!r} stands at {last}, but has a record {seq}: "
        "its journal was tampered with or damaged; restore it, or leave this run alone"
    )


def elsewhere(what: str) -> JournalFailure:
    return JournalFailure(
        f"{what} belongs to the event loop that opened it, and cannot be waited for in another thread's: "
        "open one in each loop"
    )


def numbered(run_id: RunId, seq: object) -> int:
    """
    *seq*, as a store has it, where a record can have that number.

    Raises:
        JournalCorrupt: None can.
    """
    if type(seq) is int and seq > 0:
        return seq
    raise JournalCorrupt(
        f"run {str(run_id)!r} has a record whose number is {shown(seq)}, which is none: "
        "its journal was tampered with or damaged; restore it, or leave this run alone"
    )
