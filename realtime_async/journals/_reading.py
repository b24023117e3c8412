"""Reading a run from any store: by the chunk, in order, and never across a hole."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Self

from realtime_async._core.cursors import is_position
from realtime_async._core.given import shown
from realtime_async.errors import ContractViolation, JournalCorrupt
from realtime_async.ports import JournalRecord, RunId

__all__ = ["HIGHEST_SEQ", "Reading"]

# Stores number records in 64 bits.
HIGHEST_SEQ: Final = 2**63 - 1


class Reading:
    """
    The records of a run after a position, as an async iterator.

    Ends where the run ended when the last chunk was fetched.
    It is no generator, as one that is left half-way must be closed, and Trio warns if it is not.

    Raises:
        InvalidIdentifier: There can be no such run.
        ContractViolation: *after* is no position of a record.
    """

    def __init__(
        self, run_id: RunId, after: int, fetch: Callable[[RunId, int], Awaitable[Sequence[JournalRecord]]]
    ) -> None:
        self._run_id = RunId(run_id)
        if not is_position(after) or after > HIGHEST_SEQ:
            # Else a store says of it what its driver says, or that the run was damaged.
            raise ContractViolation(
                f"run {str(run_id)!r} cannot be read after {shown(after)}: give the whole number of a record, "
                "below 2**63, or 0 for all of them"
            )
        self._position = after
        self._fetch = fetch
        self._chunk: deque[JournalRecord] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JournalRecord:
        while not self._chunk:
            position = self._position
            fetched = await self._fetch(self._run_id, position)
            if not fetched:
                raise StopAsyncIteration
            # Whoever shares it may have fetched the same meanwhile.
            if not self._chunk and position == self._position:
                self._chunk.extend(fetched)
        record = self._chunk.popleft()
        if record.journal_seq != self._position + 1:
            raise JournalCorrupt(
                f"run {str(self._run_id)!r} has no record {self._position + 1}, but a record {record.journal_seq}: "
                "its journal was tampered with or damaged; restore it, or leave this run alone"
            )
        self._position = record.journal_seq
        return record
