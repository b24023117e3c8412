"""What a journal answers to an append: durable already, or refused and why."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

from realtime_async.errors import JournalConflict, JournalFailure
from realtime_async.ports import JournalCursor, JournalRecord

__all__ = ["Durable", "closed", "conflict", "gap"]


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
