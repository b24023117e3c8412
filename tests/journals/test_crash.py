"""What a journal has said to be durable outlives its process, however that ends."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from realtime_async.journals import SqliteJournal
from realtime_async.ports import RunId
from realtime_async.testing.journal_contract import read_all, records

__all__: list[str] = []

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("REALTIME_ASYNC_KILLS", "5"))
TASKS = 5


@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize("durability", ["full", "normal"])
async def test_what_has_returned_is_in_the_file_after_a_kill(
    tmp_path: Path, anyio_backend_name: str, durability: str
) -> None:
    path = tmp_path / "calls.db"
    moments = random.Random(f"{anyio_backend_name} {durability}")
    returned: dict[RunId, int] = {}

    for _ in range(KILLS):
        kill_while_appending(path, anyio_backend_name, durability, moments.randrange(300), returned)

        assert integrity(path) == "ok"
        async with SqliteJournal.open(path) as journal:
            for run_id, seq in returned.items():
                kept = await read_all(journal, run_id)
                assert len(kept) >= seq
                assert kept == records(run_id, len(kept))

    assert len(returned) == TASKS


def kill_while_appending(
    path: Path, backend: str, durability: str, lines: int, returned: dict[RunId, int]
) -> None:
    """Kill the program once it has printed so many *lines*, or a few more; note the last cursor of each run."""
    program = [
        sys.executable,
        "-m",
        "tests.journals.appending",
        str(path),
        durability,
        backend,
        str(TASKS),
        "0",
    ]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        printed += process.stdout.readlines()
    # A line may have been cut.
    for line in (line for line in printed if line.endswith(b"\n")):
        run_id, seq = line.split()
        returned[RunId(run_id.decode())] = int(seq)


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as file:
        (found,) = file.execute("PRAGMA integrity_check").fetchone()
    assert isinstance(found, str)
    return found
