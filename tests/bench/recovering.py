"""How fast a very long run is recovered, and that it takes no more memory than a short one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from realtime_async import JournalRecord
from realtime_async.journals import SqliteJournal
from tests.bench.figures import Figure, Row, Table
from tests.bench.folding import Folded, folded, long_run
from tests.bench.goals import RECOVERY_GROWTH_MB
from tests.bench.stage import Effort, Loop

__all__ = ["recovering"]

# A journal takes 20,000 that wait for a commit.
WRITTEN_AT_ONCE = 10_000


def recovering(effort: Effort, directory: Path) -> Iterator[Table]:
    count = effort.recovered_records
    with TemporaryDirectory(dir=directory) as folder:
        path = Path(folder, "journal.db")
        records = long_run(count)
        anyio.run(_write, records, path)
        rows = [
            _row("the fold alone", count, folded(count)),
            *(_row(f"read from SQLite, {loop}", count, folded(count, path=path, loop=loop)) for loop in Loop),
        ]
    yield Table(
        f"recovery of a run of {count:,} records, two for each frame",
        ("records/s", "records/CPU s", "peak MB", "MB more than at a hundredth"),
        rows,
    )


def _row(label: str, count: int, reading: Folded) -> Row:
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


async def _write(records: Iterator[JournalRecord], path: Path) -> None:
    # Whether the journal survives a power cut is no question here.
    async with SqliteJournal.open(path, durability="normal") as journal:
        while some := list(islice(records, WRITTEN_AT_ONCE)):
            for record in some[:-1]:
                journal.append(record)
            await journal.append(some[-1])
