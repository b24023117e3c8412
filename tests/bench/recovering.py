"""How fast a very long run is recovered, and that it takes no more memory than a short one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import anyio.to_thread

from realtime_async import RunJournal
from realtime_async.journals import SqliteJournal
from tests.bench.figures import Figure, Row, Table
from tests.bench.folding import Folded, folded, long_run
from tests.bench.goals import RECOVERY_GROWTH_MB
from tests.bench.stage import Effort, Loop

__all__ = ["COLUMNS", "recovered", "recovering", "write"]

COLUMNS = ("records/s", "records/CPU s", "peak MB", "MB more than at a hundredth")

# A journal takes 20,000 that wait for a commit.
WRITTEN_AT_ONCE = 10_000


def recovering(effort: Effort, directory: Path) -> Iterator[Table]:
    count = effort.recovered_records
    with TemporaryDirectory(dir=directory) as folder:
        path = Path(folder, "journal.db")
        anyio.run(_write_to_a_file, count, path)
        rows = [
            recovered("the fold alone", count, folded(count)),
            *(
                recovered(f"read from SQLite, {loop}", count, folded(count, url=f"sqlite:{path}", loop=loop))
                for loop in Loop
            ),
        ]
    yield Table(f"recovery of a run of {count:,} records, two for each frame", COLUMNS, rows)


def recovered(label: str, count: int, reading: Folded) -> Row:
    growth = (reading.peak_bytes - reading.early_bytes) / 1e6
    return Row(
        label,
        (
            Figure([count / reading.wall_s]),
            Figure([count / reading.cpu_s]),
            Figure([reading.peak_bytes / 1e6]),
            Figure([growth], RECOVERY_GROWTH_MB),
        ),
    )


async def _write_to_a_file(count: int, path: Path) -> None:
    # Whether the journal survives a power cut is no question here.
    async with SqliteJournal.open(path, durability="normal") as journal:
        await write(journal, count)


async def write(journal: RunJournal, count: int) -> None:
    """Write a run of so many records."""
    records = await anyio.to_thread.run_sync(long_run, count)
    while some := list(islice(records, WRITTEN_AT_ONCE)):
        for record in some[:-1]:
            journal.append(record)
        await journal.append(some[-1])
