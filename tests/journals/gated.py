"""A group commit over a store that writes nothing before it is let."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio.lowlevel

from realtime_async.journals._compact import pack
from realtime_async.journals._group_commit import GroupCommit
from realtime_async.journals._taken import Taken
from realtime_async.ports import JournalRecord

__all__ = ["GatedStore", "group_commit", "take", "taken_up"]


class GatedStore:
    """A store whose commits wait until they are let through."""

    def __init__(self) -> None:
        self.batches: list[list[JournalRecord]] = []
        self._permits = threading.Semaphore(0)
        self.error: Exception | None = None

    def let_through(self, commits: int = 1000) -> None:
        self._permits.release(commits)

    def open(self) -> None:
        pass

    def write(self, batch: Sequence[Taken]) -> None:
        self._permits.acquire()
        if self.error is not None:
            raise self.error
        self.batches.append([taken.record for taken in batch])

    def tend(self) -> float | None:
        return None

    def close(self) -> None:
        pass


@asynccontextmanager
async def group_commit(store: GatedStore) -> AsyncIterator[GroupCommit]:
    commits = GroupCommit(store, "store")
    await commits.open()
    try:
        yield commits
    finally:
        store.let_through()
        await commits.close()


def take(commits: GroupCommit, one: JournalRecord) -> Taken:
    return commits.take(one, pack(one))


async def taken_up(commits: GroupCommit) -> None:
    """Wait until the writer has what was taken."""
    while commits._gathering.records:
        await anyio.lowlevel.checkpoint()
