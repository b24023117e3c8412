"""Journals of others' whose `append` gives a coroutine: good for one task, and gone with it."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint

from realtime_async import MediaSpan, RealtimeSessionController
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.errors import JournalConflict, JournalFailure
from realtime_async.ports import JournalCursor, JournalRecord, RealtimeInputFrame, RealtimeSessionId, RunId
from realtime_async.testing.cancellation import (
    Cancellation,
    Ending,
    Outcome,
    cancel_at_every_point,
    ways_to_cancel,
)
from tests.controller.staged import audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time


class _Kept:
    """What both journals keep; a gap or a rival's record is refused."""

    def __init__(self) -> None:
        self.records: list[JournalRecord] = []
        self.durable = 0
        self.full_at = 0
        """The record that does not fit; 0: they all do."""

    def take(self, record: JournalRecord) -> None:
        if record.journal_seq <= len(self.records):
            if self.records[record.journal_seq - 1] != record:
                raise JournalConflict("another record is there")
            return
        if record.journal_seq != len(self.records) + 1:
            raise JournalFailure("a gap")
        self.records.append(record)

    async def flush(self, record: JournalRecord) -> JournalCursor:
        await checkpoint()
        if record.journal_seq == self.full_at:
            raise JournalFailure("full")
        self.durable = max(self.durable, record.journal_seq)
        await checkpoint()
        return JournalCursor(record.run_id, record.journal_seq)

    async def read(self, run_id: RunId, *, after: int = 0) -> AsyncIterator[JournalRecord]:
        for record in self.records[after:]:
            await checkpoint()
            yield record

    async def last(self, run_id: RunId) -> JournalCursor | None:
        await checkpoint()
        return JournalCursor(run_id, len(self.records)) if self.records else None

    async def aclose(self) -> None:
        await checkpoint()


class _TakesInTheCall(_Kept):
    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        self.take(record)
        return self.flush(record)


class _TakesWhenAwaited(_Kept):
    async def append(self, record: JournalRecord) -> JournalCursor:
        await checkpoint()
        self.take(record)
        return await self.flush(record)


KINDS = pytest.mark.parametrize("kind", [_TakesInTheCall, _TakesWhenAwaited], ids=["taken", "awaited"])
SPANS = pytest.mark.parametrize("span", [None, MediaSpan(2, 60.0)], ids=["alone", "spans"])


class _Watched(ScriptedAdapter):
    """Notes what was not durable when a frame came."""

    def __init__(self, journal: _Kept) -> None:
        super().__init__()
        self.journal = journal
        self.too_early: list[str] = []
        self.came: list[str] = []

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        self.came.append(str(frame.frame_id))
        durable = self.journal.records[: self.journal.durable]
        if not any(record.payload.kind == "input_send_requested" for record in durable):
            self.too_early.append(str(frame.frame_id))
        await super().send(session_id, frame)


class _Session:
    def __init__(self, kind: type[_TakesInTheCall | _TakesWhenAwaited], span: MediaSpan | None) -> None:
        self.journal = kind()
        self.adapter = _Watched(self.journal)
        self.controller = RealtimeSessionController(
            plain_sidecar(span=span), self.adapter, self.journal, run_id="run-1"
        )

    async def end(self) -> None:
        """Close it, and see that nothing it began is missing."""
        await self.controller.close()
        records = self.journal.records
        named = Counter(record.payload.effect_intent_ref for record in records)
        assert [record.journal_seq for record in records] == list(range(1, len(records) + 1))
        assert self.journal.durable == len(records)
        assert str(records[-1].payload.kind) == "closed"
        assert [ref for ref, times in named.items() if ref is not None and times != 2] == []
        assert self.adapter.too_early == []


@KINDS
@SPANS
async def test_every_record_lands_in_its_place(
    kind: type[_TakesInTheCall | _TakesWhenAwaited], span: MediaSpan | None
) -> None:
    session = _Session(kind, span)
    controller = session.controller

    await controller.connect()
    frames = [audio(), text(), audio(), audio(), text()]
    for frame in frames:
        await controller.send(frame)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(controller.send, text())
    await controller.begin_restart()
    await controller.send(audio())
    await controller.complete_restart()

    await session.end()
    gc.collect()  # A coroutine that nobody ran would complain, and warnings are errors.
    assert session.adapter.came[:5] == [frame.frame_id for frame in frames]
    assert controller.delivery.sent == 11


@asynccontextmanager
async def connected(
    kind: type[_TakesInTheCall | _TakesWhenAwaited], span: MediaSpan | None
) -> AsyncIterator[_Session]:
    session = _Session(kind, span)
    await session.controller.connect()
    yield session


@asynccontextmanager
async def sent_one(
    kind: type[_TakesInTheCall | _TakesWhenAwaited], span: MediaSpan | None
) -> AsyncIterator[_Session]:
    async with connected(kind, span) as session:
        await session.controller.send(audio(1))
        yield session


@pytest.mark.parametrize(
    "anyio_backend, how",
    [(backend, way) for backend in ("asyncio", "trio") for way in ways_to_cancel(backend)],
    indirect=["anyio_backend"],
)
@KINDS
@SPANS
async def test_one_that_was_cut_is_asked_for_again(
    kind: type[_TakesInTheCall | _TakesWhenAwaited], span: MediaSpan | None, how: Cancellation
) -> None:
    async def send(session: _Session) -> object:
        await session.controller.send(audio(1))
        return await session.controller.send(text(2))

    async def goes_on(session: _Session, outcome: Outcome[object]) -> None:
        assert outcome.ending is not Ending.RAISED
        await session.controller.send(audio(3))
        await session.end()
        assert session.adapter.came[-1] == "audio.3"

    points = await cancel_at_every_point(partial(connected, kind, span), send, goes_on, how=how)

    assert points >= 4


@pytest.mark.parametrize(
    "anyio_backend, how",
    [
        (backend, way)
        for backend in ("asyncio", "trio")
        for way in ways_to_cancel(backend)
        # Who is cancelled twice is not let wait for what no task of its own would write.
        if way is not Cancellation.NATIVE_TWICE
    ],
    indirect=["anyio_backend"],
)
@KINDS
@SPANS
async def test_a_close_that_is_cancelled_leaves_nothing_unwritten(
    kind: type[_TakesInTheCall | _TakesWhenAwaited], span: MediaSpan | None, how: Cancellation
) -> None:
    """Nobody would await it any more."""

    async def close(session: _Session) -> object:
        return await session.controller.close()

    async def is_whole(session: _Session, outcome: Outcome[object]) -> None:
        records = session.journal.records
        assert str(records[-1].payload.kind) in {"closed", "close_failed"}
        assert session.journal.durable == len(records)

    points = await cancel_at_every_point(partial(sent_one, kind, span), close, is_whole, how=how)

    assert points >= 4


@KINDS
async def test_a_failure_is_told_to_all_who_wait(
    kind: type[_TakesInTheCall | _TakesWhenAwaited],
) -> None:
    session = _Session(kind, None)
    await session.controller.connect()
    session.journal.full_at = 3
    told: list[str] = []

    async def send() -> None:
        with pytest.raises(JournalFailure) as failure:
            await session.controller.send(text())
        told.append(str(failure.value))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(send)
    with pytest.raises(JournalFailure):
        await session.controller.close()

    gc.collect()
    assert told == ["full"] * 3
    assert session.adapter.came == []
