"""What was written once is read for ever: the files in tests/data are never written again."""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs
import pytest

from realtime_async.journals import SqliteJournal
from realtime_async.journals._codec import decode
from realtime_async.ports import JournalCursor, JournalRecord, RealtimeSessionRecordKind
from realtime_async.testing.journal_contract import read_all
from tests.data.make_journal import LACKS, RUNS, run_of_every_kind

__all__: list[str] = []

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(params=LACKS)
def pair(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def golden(pair: str, tmp_path: Path) -> Path:
    """A copy, as opening a journal may write to it."""
    return Path(shutil.copy(DATA / f"{pair}.db", tmp_path))


def golden_lines(pair: str) -> list[JournalRecord]:
    with (DATA / f"{pair}.jsonl").open("rb") as lines:
        return [decode(line) for line in lines]


def test_lines_that_were_written_before_are_read(pair: str) -> None:
    assert golden_lines(pair) == [one for run_id in RUNS for one in run_of_every_kind(run_id, pair)]


async def test_a_journal_that_was_written_before_is_read(pair: str, golden: Path) -> None:
    async with SqliteJournal.open(golden) as journal:
        kept = [one for run_id in RUNS for one in await read_all(journal, run_id)]

    assert kept == golden_lines(pair)


async def test_a_journal_that_was_written_before_goes_on(pair: str, golden: Path) -> None:
    written = run_of_every_kind(RUNS[0], pair)
    following = attrs.evolve(written[0], journal_seq=len(written) + 1)

    async with SqliteJournal.open(golden) as journal:
        assert await journal.append(following) == JournalCursor(RUNS[0], following.journal_seq)
        assert await read_all(journal, RUNS[0]) == [*written, following]


def test_the_latest_journal_has_a_record_of_every_kind() -> None:
    assert {one.payload.kind for one in golden_lines(max(LACKS))} == set(RealtimeSessionRecordKind)
