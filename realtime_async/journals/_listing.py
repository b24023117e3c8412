"""Listing the runs of any store: by the chunk, in the order of their ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Self

from realtime_async._core.given import shown
from realtime_async.errors import ContractViolation, JournalCorrupt
from realtime_async.journals._compact import unpack
from realtime_async.journals._verdicts import numbered
from realtime_async.ports import JournalRecord, RunId, RunSummary

__all__ = ["LISTED_AT_ONCE", "Listing", "check_names", "summaries_of"]

LISTED_AT_ONCE = 100
"""Runs, with two records each."""


class Listing:
    """
    The runs after an id, as an async iterator.

    It is no generator, as one that is left half-way must be closed, and Trio warns if it is not.

    Raises:
        ContractViolation: Nothing can come after *after*.
        JournalCorrupt: Behind the last one, that there are runs whose id is none.
    """

    def __init__(
        self, after: object, tag: str | None, fetch: Callable[[str], Awaitable[Sequence[RunSummary]]]
    ) -> None:
        if not isinstance(after, str) or not after.isascii() or "\0" in after:
            # To one store no run would come after None, to another it would be an error of its driver.
            raise ContractViolation(
                f"runs cannot be listed after {shown(after)}: give the id of a run, or '' for all of them"
            )
        self._after = after
        self._tag = tag
        self._fetch = fetch
        self._chunk: deque[RunSummary] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunSummary:
        while True:
            while not self._chunk:
                after = self._after
                fetched = await self._fetch(after)
                if not fetched:
                    raise StopAsyncIteration
                # Whoever shares it may have fetched the same meanwhile.
                if not self._chunk and after == self._after:
                    self._chunk.extend(fetched)
            summary = self._chunk.popleft()
            self._after = summary.run_id
            if self._tag is None or self._tag in summary.tags:
                return summary


def summaries_of(rows: Iterable[tuple[Any, ...]]) -> list[RunSummary]:
    """
    Put a chunk of runs together.

    Args:
        rows: In the order of the runs; of each its first record and its last, or what there is of them:
            run_id, the last number, and the record as `records_of` takes it; where there is none, its number is None.
    """
    found: dict[tuple[RunId, int], dict[int, JournalRecord | None]] = {}
    for stored, last_seq, seq, *texts in rows:
        run_id = RunId(stored)
        session, connection, sort, body = texts
        records = found.setdefault((run_id, last_seq), {})
        if seq is not None:
            records[seq] = _legible(run_id, seq, (session, connection, sort, body))
    return [
        RunSummary.of(
            run_id, records=_counted(run_id, last_seq), first=records.get(1), last=records.get(last_seq)
        )
        for (run_id, last_seq), records in found.items()
    ]


def check_names(rows: Iterable[tuple[bytes | None, int]]) -> None:
    """
    Say after the last of the runs that there are others, which cannot be told from their ids.

    Args:
        rows: Of those at most one: what it has for an id, None where that is no text, and how many they are.

    Raises:
        JournalCorrupt: There is one.
    """
    for stored, runs in rows:
        named = "no text" if stored is None else shown(stored.decode(errors="replace"))
        others = f", and {runs - 1} more like it" if runs > 1 else ""
        raise JournalCorrupt(
            f"the journal has a run whose id is {named}, which is none{others}: it was tampered with or damaged; "
            "restore it from a copy"
        )


def _counted(run_id: RunId, last_seq: object) -> int:
    try:
        return numbered(run_id, last_seq)
    except JournalCorrupt:
        return 0


def _legible(run_id: RunId, seq: int, texts: tuple[str, str, str, str]) -> JournalRecord | None:
    """One damaged record must not keep all runs from being listed."""
    try:
        return unpack(run_id, seq, texts)
    except JournalCorrupt:
        return None
