"""Records on their way into a store: what is committed at once, and how each of it ended."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any

import anyio

from realtime_async.errors import JournalFailure
from realtime_async.journals._compact import Packed
from realtime_async.journals._verdicts import elsewhere
from realtime_async.ports import JournalCursor, JournalRecord

__all__ = ["Batch", "Failure", "Taken", "fail_each", "nonce_of"]


class Failure:
    """Why a run has stopped, or an append was refused, and whether anybody knows."""

    __slots__ = ("_error", "is_given_up", "is_refusal", "is_told")

    def __init__(self, error: JournalFailure, *, is_refusal: bool = False, is_given_up: bool = False) -> None:
        self._error = error
        self.is_given_up = is_given_up
        """Nothing has failed: whoever had the run has left it to others."""
        self.is_refusal = is_refusal
        """The record was no continuation of the run: nobody here has lost it, and what fits may be appended."""
        self.is_told = False

    def told(self) -> JournalFailure:
        """The error to raise: each time another, as one that is raised twice gathers tracebacks."""
        self.is_told = True
        error = type(self._error)(self._error.message, kind=self._error.kind, retry=self._error.retry)
        error.__cause__ = self._error.__cause__
        return error


class Taken:
    """A record on its way; awaiting it, as often as one likes, waits until it is durable."""

    __slots__ = ("_batch", "failure", "is_repeat", "packed", "record")

    def __init__(self, record: JournalRecord, packed: Packed, batch: Batch, *, is_repeat: bool) -> None:
        self.record = record
        self.packed = packed
        self.is_repeat = is_repeat
        """Its place is taken; whether by an equal record, the store will tell."""
        self.failure: Failure | None = None
        self._batch = batch

    @property
    def is_durable(self) -> bool:
        return self._batch.is_settled and self.failure is None

    def __await__(self) -> Generator[Any, Any, JournalCursor]:
        if not self._batch.is_settled:
            if self._batch.thread not in (None, threading.get_ident()):
                # The writer wakes the event loop that opened the journal, and no other.
                raise elsewhere(f"the journal of run {str(self.record.run_id)!r}")
            event = self._batch.settling()
            # The writer settles first and looks for an event then; here it is the other way round,
            # so one of the two sees what the other did.
            if not self._batch.is_settled:
                yield from event.wait().__await__()
        if self.failure is not None:
            raise self.failure.told()
        return JournalCursor(self.record.run_id, self.record.journal_seq)


class Batch:
    """What is committed at once."""

    __slots__ = ("characters", "event", "is_settled", "records", "thread", "waits")

    def __init__(self, thread: int | None = None) -> None:
        self.thread = thread
        """In which it may be awaited; None: in any."""
        self.records: list[Taken] = []
        self.characters = 0
        self.is_settled = False
        self.event: anyio.Event | None = None
        self.waits = 0
        """So many have asked for the event."""

    def settling(self) -> anyio.Event:
        self.waits += 1
        if self.event is None:
            self.event = anyio.Event()
        return self.event


def nonce_of(record: JournalRecord) -> str:
    """What the ids of one writer's records end in."""
    return record.record_id.rpartition(".")[2]


def fail_each(batch: Sequence[Taken], error: JournalFailure) -> None:
    """Mark all of *batch* that isn't yet, with one failure for each run."""
    failures: dict[str, Failure] = {}
    for taken in batch:
        run_id, seq = taken.record.run_id, taken.record.journal_seq
        if run_id not in failures:
            stopped = type(error)(f"run {str(run_id)!r} stopped at {seq}: {error.message}")
            stopped.__cause__ = error.__cause__
            failures[run_id] = Failure(stopped)
        if taken.failure is None:
            taken.failure = failures[run_id]
