"""Journals of others' whose `append` gives a future of asyncio: whoever is cancelled while awaiting it cancels it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from realtime_async import MediaSpan, RealtimeSessionController
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.errors import JournalFailure
from realtime_async.journals import MemoryJournal
from realtime_async.ports import JournalCursor, JournalRecord
from realtime_async.testing.cancellation import (
    Cancellation,
    Ending,
    Outcome,
    cancel_at_every_point,
    ways_to_cancel,
)
from tests.controller.staged import audio, plain_sidecar, text

pytestmark = [
    pytest.mark.virtual_time,
    # There are such futures on asyncio alone.
    pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True),
]


class _GivesFutures(MemoryJournal):
    def __init__(self) -> None:
        super().__init__()
        self.durable = 0
        self.cancels_from = 1_000_000

    def append(self, record: JournalRecord) -> Any:
        super().append(record)
        future = asyncio.get_running_loop().create_future()
        future.get_loop().call_soon(self._flush, record, future)
        return future

    def _flush(self, record: JournalRecord, future: asyncio.Future[JournalCursor]) -> None:
        if record.journal_seq >= self.cancels_from:
            future.cancel()
        elif not future.cancelled():
            self.durable = record.journal_seq
            future.set_result(JournalCursor(record.run_id, record.journal_seq))


class _GivesTasks(_GivesFutures):
    def append(self, record: JournalRecord) -> Any:
        return asyncio.ensure_future(super().append(record))


class _Session:
    def __init__(self, kind: type[_GivesFutures], span: MediaSpan | None = None) -> None:
        self.journal = kind()
        self.adapter = ScriptedAdapter()
        self.controller = RealtimeSessionController(
            plain_sidecar(span=span), self.adapter, self.journal, run_id="run-1"
        )


@pytest.mark.parametrize("how", ways_to_cancel("asyncio"))
@pytest.mark.parametrize("span", [None, MediaSpan(2, 60.0)], ids=["alone", "spans"])
@pytest.mark.parametrize("kind", [_GivesFutures, _GivesTasks])
async def test_whoever_is_cancelled_harms_no_other(
    kind: type[_GivesFutures], span: MediaSpan | None, how: Cancellation
) -> None:
    @asynccontextmanager
    async def connected() -> AsyncIterator[_Session]:
        session = _Session(kind, span)
        await session.controller.connect()
        yield session

    async def send(session: _Session) -> object:
        await session.controller.send(audio(1))
        return await session.controller.send(text(2))

    async def goes_on(session: _Session, outcome: Outcome[object]) -> None:
        assert outcome.ending is not Ending.RAISED
        await session.controller.send(audio(3))
        await session.controller.close()
        last = await session.journal.last(session.controller.run_id)
        assert last is not None
        assert session.journal.durable == last.journal_seq

    points = await cancel_at_every_point(connected, send, goes_on, how=how)

    assert points >= 2


async def test_a_future_that_the_journal_cancelled_is_a_failure_and_cancels_nobody() -> None:
    session = _Session(_GivesFutures)
    await session.controller.connect()
    session.journal.cancels_from = 3

    with pytest.raises(JournalFailure, match="cancelled"):
        await session.controller.send(text())
    with pytest.raises(JournalFailure, match="cancelled"):
        await session.controller.close()

    assert session.adapter.calls == ["connect"]
