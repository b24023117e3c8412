"""What the journals of this package say when they refuse: whose run, and where it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from realtime_async.errors import JournalConflict, JournalFailure
from realtime_async.journals import MemoryJournal, SqliteJournal
from realtime_async.testing._journal_records import record

RUN = "run-1"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_refusal_names_the_run_and_what_it_goes_on_with(kind: str, tmp_path: Path) -> None:
    opened = MemoryJournal() if kind == "memory" else SqliteJournal.open(tmp_path / "calls.db")
    async with opened as journal:
        with pytest.raises(JournalFailure, match=f"{RUN}.* goes on at 1"):
            await journal.append(record(RUN, 2))
        for seq in (1, 2, 3):
            await journal.append(record(RUN, seq))

        with pytest.raises(JournalFailure, match=f"{RUN}.* goes on at 4"):
            await journal.append(record(RUN, 5))
        with pytest.raises(JournalConflict, match=RUN):
            await journal.append(record(RUN, 3, nonce="second-owner"))

    with pytest.raises(JournalFailure, match="closed"):
        await journal.append(record(RUN, 4))
