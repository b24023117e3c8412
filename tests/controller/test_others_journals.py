"""Journals of others' that fail, or take their time, while a run is read, or that give odd acknowledgements."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from realtime_async import Deadlines, MediaSpan, RealtimeSessionController
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.errors import JournalConflict, JournalFailure, JournalStalled
from realtime_async.journals import MemoryJournal
from realtime_async.ports import JournalCursor, JournalRecord, RealtimeRestartReason, RunId
from tests.controller.begun import begin
from tests.controller.staged import SECRET, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time

RUN = RunId("run-1")


class _Odd(MemoryJournal):
    """Does what it was told to, before each of the records that it reads, and before it says which is the last."""

    before_record: Callable[[int], Awaitable[None]] | None = None
    before_last: Callable[[], Awaitable[None]] | None = None

    async def _records(self, run_id: RunId, after: int) -> AsyncIterator[JournalRecord]:
        async for record in super().read(run_id, after=after):
            if self.before_record is not None:
                await self.before_record(record.journal_seq)
            yield record

    def read(self, run_id: RunId, *, after: int = 0) -> Any:
        return self._records(run_id, after)

    async def last(self, run_id: RunId) -> JournalCursor | None:
        if self.before_last is not None:
            await self.before_last()
        return await super().last(run_id)


async def left(journal: MemoryJournal, sent: int = 1) -> None:
    """A run whose process died."""
    controller = RealtimeSessionController(plain_sidecar(), ScriptedAdapter(), journal, run_id=RUN)
    await controller.connect()
    for _ in range(sent):
        await controller.send(text())


async def resumed(
    journal: MemoryJournal, adapter: ScriptedAdapter, *, within_s: float = 10.0
) -> RealtimeSessionController:
    deadlines = Deadlines(journal=within_s)
    return await RealtimeSessionController.resume(
        plain_sidecar(), adapter, journal, run_id=RUN, deadlines=deadlines
    )


async def raises(*_: object) -> None:
    raise OSError(SECRET)


async def never_comes(*_: object) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("where", ["before_record", "before_last"])
async def test_whatever_a_journal_raises_is_its_failure_and_the_session_can_be_resumed_later(
    where: str,
) -> None:
    journal, adapter = _Odd(), ScriptedAdapter()
    await left(journal)

    setattr(journal, where, raises)
    with pytest.raises(
        JournalFailure, match="the journal raised OSError while run 'run-1' was read"
    ) as failure:
        await resumed(journal, adapter)
    setattr(journal, where, None)
    assert adapter.calls == []
    controller = await resumed(journal, adapter)

    assert SECRET not in str(failure.value)
    assert isinstance(failure.value.__cause__, OSError)
    assert controller.delivery.sent == 1


@pytest.mark.parametrize("where", ["before_record", "before_last"])
async def test_a_journal_that_says_nothing_is_given_up_in_time(where: str) -> None:
    journal, adapter = _Odd(), ScriptedAdapter()
    await left(journal)
    setattr(journal, where, never_comes)
    began = anyio.current_time()

    with pytest.raises(
        JournalStalled, match="nothing of run 'run-1' could be read within 3 s, after record 0"
    ):
        await resumed(journal, adapter, within_s=3)

    assert anyio.current_time() - began == pytest.approx(3)
    assert adapter.calls == []


async def test_its_own_failure_is_raised_as_it_is() -> None:
    async def refuses(_: int) -> None:
        raise JournalConflict("somebody else has it")

    journal = _Odd()
    await left(journal)
    journal.before_record = refuses

    with pytest.raises(JournalConflict, match="somebody else has it"):
        await resumed(journal, ScriptedAdapter())


async def test_a_long_run_may_take_longer_than_its_next_records() -> None:
    async def slow(number: int) -> None:
        if number % 100 == 0:
            await anyio.sleep(1)

    journal = _Odd()
    await left(journal, sent=600)
    journal.before_record = slow
    began = anyio.current_time()

    controller = await resumed(journal, ScriptedAdapter(), within_s=6)

    assert anyio.current_time() - began == pytest.approx(12)
    assert controller.delivery.sent == 600


class _GivesAnIterableCoroutine(MemoryJournal):
    def append(self, record: JournalRecord) -> Any:
        @types.coroutine
        def flushed() -> Generator[Any, Any, JournalCursor]:
            yield from checkpoint().__await__()
            return cursor

        super().append(record)
        cursor = JournalCursor(record.run_id, record.journal_seq)
        return flushed()


async def test_whatever_can_be_awaited_will_do() -> None:
    controller = RealtimeSessionController(
        plain_sidecar(), ScriptedAdapter(), _GivesAnIterableCoroutine(), run_id=RUN
    )

    await controller.connect()
    await controller.send(text())

    assert (await controller.close()).kind == "closed"


class _Gives(MemoryJournal):
    """Returns another thing than an append is to return."""

    def __init__(self, given: Callable[[JournalCursor], Any]) -> None:
        super().__init__()
        self._given = given

    def append(self, record: JournalRecord) -> Any:
        super().append(record)
        return self._given(JournalCursor(record.run_id, record.journal_seq))


@pytest.mark.parametrize(
    "given, named",
    [(lambda cursor: cursor, "JournalCursor"), (lambda _: None, "NoneType")],
    ids=["the cursor", "nothing"],
)
async def test_an_append_that_returns_what_nobody_can_wait_for_is_told_so(
    given: Callable[[JournalCursor], Any], named: str
) -> None:
    """Nothing is what a journal returns that hands its records on and forgets to say so: they may not be durable."""
    adapter = ScriptedAdapter()
    controller = RealtimeSessionController(plain_sidecar(), adapter, _Gives(given), run_id=RUN)

    with pytest.raises(
        JournalFailure, match=f"append returned something of type {named}, which nobody can wait for"
    ):
        await controller.connect()

    assert adapter.calls == []


class _ForgetsTheCursor(MemoryJournal):
    async def append(self, record: JournalRecord) -> Any:  # type: ignore[override]  # an async function is served too
        await checkpoint()
        super().append(record)


async def test_an_append_that_was_waited_for_is_durable_though_it_returned_nothing() -> None:
    journal = _ForgetsTheCursor()
    controller = RealtimeSessionController(plain_sidecar(), ScriptedAdapter(), journal, run_id=RUN)

    await controller.connect()
    await controller.send(text())

    assert (await controller.close()).kind == "closed"
    last = await journal.last(RUN)
    assert last is not None
    assert last.journal_seq == 6


class _AnswersWhetherItIsDurable:
    """What an append returned, in a library that has a method where the port has an attribute."""

    def __init__(self, cursor: JournalCursor) -> None:
        self._cursor = cursor

    def is_durable(self) -> bool:
        return False

    def __await__(self) -> Generator[Any, Any, JournalCursor]:
        yield from anyio.sleep(3).__await__()
        return self._cursor


async def test_a_method_that_would_tell_whether_a_record_is_durable_is_not_taken_for_its_answer() -> None:
    controller = RealtimeSessionController(
        plain_sidecar(), ScriptedAdapter(), _Gives(_AnswersWhetherItIsDurable), run_id=RUN
    )
    began = anyio.current_time()

    await controller.connect()

    assert anyio.current_time() - began == pytest.approx(6)
    await controller.close()


class _Shields(MemoryJournal):
    """Lets nobody interrupt it while it writes."""

    writes_s = 0.0

    def append(self, record: JournalRecord) -> Any:
        super().append(record)
        return _Written(JournalCursor(record.run_id, record.journal_seq), self.writes_s)


class _Written:
    def __init__(self, cursor: JournalCursor, seconds: float) -> None:
        self._cursor = cursor
        self._seconds = seconds

    def __await__(self) -> Generator[Any, Any, JournalCursor]:
        return self._wait().__await__()

    async def _wait(self) -> JournalCursor:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(self._seconds)
        return self._cursor


async def test_a_call_that_was_given_up_while_its_intent_was_written_is_not_made() -> None:
    journal, adapter = _Shields(), ScriptedAdapter()
    controller = RealtimeSessionController(plain_sidecar(), adapter, journal, run_id=RUN)
    await controller.connect()
    journal.writes_s = 2.0

    with anyio.move_on_after(1) as scope:
        await controller.send(text())

    assert scope.cancelled_caught
    assert adapter.calls == ["connect"]
    assert (controller.delivery.failed, controller.delivery.accepted) == (1, 1)


async def test_a_frame_given_up_while_the_intent_of_its_span_was_written_is_not_accepted() -> None:
    journal, adapter = _Shields(), ScriptedAdapter()
    controller = RealtimeSessionController(
        plain_sidecar(span=MediaSpan(3, 60.0)), adapter, journal, run_id=RUN
    )
    await controller.connect()
    journal.writes_s = 2.0

    with anyio.move_on_after(1):
        await controller.send(audio())

    assert adapter.calls == ["connect"]
    assert (controller.delivery.refused, controller.delivery.accepted) == (1, 0)


async def test_a_frame_that_was_cut_while_its_intent_was_written_does_not_meet_the_dead_connection() -> None:
    journal, adapter = _Shields(), ScriptedAdapter()
    controller = RealtimeSessionController(plain_sidecar(), adapter, journal, run_id=RUN)
    await controller.connect()
    journal.writes_s = 2.0
    async with anyio.create_task_group() as tasks:
        send = await begin(tasks, partial(controller.send, text()))

        await controller.begin_restart(RealtimeRestartReason.CONNECTION_LOST)

    assert adapter.calls == ["connect"]
    assert send.result.kind == "backpressure_applied"  # type: ignore[attr-defined]  # a record
    await controller.complete_restart()
    assert adapter.calls == ["connect", "restart", "send"]
