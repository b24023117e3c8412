"""What a journal has said to be durable outlives its process, however that ends."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from realtime_async.ports import RunId
from realtime_async.testing.journal_contract import read_all, records
from tests.journals.places import opened
from tests.postgres_server import Database

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

    async for _ in killed_while_appending(str(path), anyio_backend_name, durability):
        assert integrity(path) == "ok"


@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize("way", ["stated", "copied"])
async def test_what_has_returned_is_in_the_database_after_a_kill(
    postgres_database: Database, anyio_backend_name: str, way: str
) -> None:
    async for _ in killed_while_appending(postgres_database.dsn, anyio_backend_name, way):
        pass


async def killed_while_appending(place: str, backend: str, durability: str) -> AsyncIterator[None]:
    """Kill at random moments, and each time look for what had returned, where the caller has looked as well."""
    moments = random.Random(f"{backend} {durability}")
    returned: dict[RunId, int] = {}
    for _ in range(KILLS):
        kill(place, backend, durability, moments.randrange(300), returned)

        yield
        async with opened(place) as journal:
            for run_id, seq in returned.items():
                kept = await read_all(journal, run_id)
                assert len(kept) >= seq
                assert kept == records(run_id, len(kept))

    assert len(returned) == TASKS


def kill(place: str, backend: str, durability: str, lines: int, returned: dict[RunId, int]) -> None:
    """Kill the program once it has printed so many *lines*, or a few more; note the last cursor of each run."""
    arguments = [place, durability, backend, str(TASKS), "0"]
    program = [sys.executable, "-m", "tests.journals.appending", *arguments]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        printed += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL, "it had ended by itself"
    # A line may have been cut.
    for line in (line for line in printed if line.endswith(b"\n")):
        run_id, seq = line.split()
        returned[RunId(run_id.decode())] = int(seq)


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as file:
        (found,) = file.execute("PRAGMA integrity_check").fetchone()
    assert isinstance(found, str)
    return found
