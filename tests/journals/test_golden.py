"""What a release has written, every later one reads: the files in tests/data are never written again."""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs
import pytest

from realtime_async.journals import SqliteJournal
from realtime_async.journals._codec import decode
from realtime_async.ports import JournalCursor, JournalRecord
from realtime_async.testing.journal_contract import read_all
from tests.data.make_journal import RUNS, run_of_every_kind

__all__: list[str] = []

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy, as opening a journal may write to it."""
    return Path(shutil.copy(DATA / "journal-v1.db", tmp_path))


def golden_lines() -> list[JournalRecord]:
    with (DATA / "journal-v1.jsonl").open("rb") as lines:
        return [decode(line) for line in lines]


def test_lines_of_the_first_release_are_read() -> None:
    assert golden_lines() == [one for run_id in RUNS for one in run_of_every_kind(run_id)]


async def test_a_journal_of_the_first_release_is_read(golden: Path) -> None:
    async with SqliteJournal.open(golden) as journal:
        kept = [one for run_id in RUNS for one in await read_all(journal, run_id)]

    assert kept == golden_lines()


async def test_a_journal_of_the_first_release_goes_on(golden: Path) -> None:
    first_release = run_of_every_kind(RUNS[0])
    following = attrs.evolve(first_release[0], journal_seq=len(first_release) + 1)

    async with SqliteJournal.open(golden) as journal:
        assert await journal.append(following) == JournalCursor(RUNS[0], following.journal_seq)
        assert await read_all(journal, RUNS[0]) == [*first_release, following]
