"""
A program that appends until it is killed, and says which records have returned.

    python -m tests.journals.appending PLACE DURABILITY BACKEND TASKS RECORDS

Each of TASKS writes a run of its own, from where that stands, RECORDS records or, at 0, without end.
After every append it prints its cursor; the write to the pipe is a system call of its own.
DURABILITY is that of a file; a database takes all for large batches where it is `copied`.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import Literal

import anyio

from realtime_async.journals import _postgres_store
from realtime_async.ports import RunId
from realtime_async.testing._journal_records import record
from tests.journals.places import SharedJournal, opened

__all__: list[str] = []


async def main(place: str, durability: Literal["full", "normal"], tasks: int, count: int) -> None:
    async with opened(place, durability) as journal, anyio.create_task_group() as group:
        for number in range(tasks):
            group.start_soon(write, journal, RunId(f"run.{number}"), count)


async def write(journal: SharedJournal, run_id: RunId, count: int) -> None:
    last = await journal.last(run_id)
    start = 1 if last is None else last.journal_seq + 1
    for seq in itertools.count(start) if count == 0 else range(start, start + count):
        cursor = await journal.append(record(run_id, seq))
        os.write(1, f"{cursor.run_id} {cursor.journal_seq}\n".encode())


if __name__ == "__main__":
    place, durability, backend, tasks, count = sys.argv[1:]
    chosen: Literal["full", "normal"] = "normal" if durability == "normal" else "full"
    if durability == "copied":
        # There is no other way to large batches at random moments.
        _postgres_store.STATED = 0  # type: ignore[attr-defined]  # an import of it
    anyio.run(main, place, chosen, int(tasks), int(count), backend=backend)
