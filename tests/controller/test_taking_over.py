"""Who has a session after a resume: one controller, and nobody else reaches a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from realtime_async import Deadlines, RealtimeCompletionGate, RealtimeSessionController
from realtime_async.adapters.scripted import Refuse, Script, ScriptedAdapter
from realtime_async.errors import (
    AgentError,
    JournalConflict,
    JournalFailure,
    JournalStalled,
    ProviderFailure,
    SessionStateError,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import JournalCursor, JournalRecord, RealtimeOutputFrame, RunId, RunJournal
from realtime_async.testing.cancellation import Cancellation, Ending, Outcome, cancel_at_every_point
from realtime_async.testing.journals import FaultyJournal, JournalFault, SuspendingJournal
from tests.controller.begun import begin, settled
from tests.controller.recording import RecordedJournal
from tests.controller.staged import FRAME, Stage, StagedSession, plain_sidecar, text
from tests.controller.test_cancellation import CALL, DURABLE, every_way

pytestmark = pytest.mark.virtual_time


async def every_operation_conflicts(controller: RealtimeSessionController) -> None:
    for operation in (
        partial(controller.send, text()),
        controller.receive,
        controller.interrupt,
        controller.begin_restart,
        controller.close,
    ):
        with pytest.raises(JournalConflict):
            await operation()


async def test_the_older_owner_in_another_process_is_fenced(stage: Stage) -> None:
    before = await stage.connected()
    await before.controller.send(text())
    after = await stage.resumed(before, ScriptedAdapter())

    await every_operation_conflicts(before.controller)

    assert before.provider.calls == ["connect", "send"]
    await after.controller.send(text())


async def test_the_older_owner_in_the_same_process_is_fenced() -> None:
    journal = MemoryJournal()
    before = in_one_process(journal)
    await before.connect()
    await before.send(text())
    after = await resumed(journal, ScriptedAdapter())

    await every_operation_conflicts(before)

    assert adapter_of(before).calls == ["connect", "send"]
    await after.send(text())
    await after.close()


async def test_a_receive_that_waits_in_the_older_controller_takes_nothing_from_the_new_one(
    stage: Stage,
) -> None:
    journal = MemoryJournal()
    before = in_one_process(journal)
    await before.connect()
    async with anyio.create_task_group() as tasks:
        waiting = await begin(tasks, before.receive)

        after = await resumed(journal, adapter_of(before))
        adapter_of(before).feed(RealtimeOutputFrame.audio(FRAME))
        received = await after.receive()

        assert received is not None
        await waiting.over()
        assert isinstance(waiting.error, JournalConflict)
    await after.close()


async def test_a_call_whose_intent_was_not_durable_when_it_was_superseded_is_not_made() -> None:
    journal = FaultyJournal(PromptJournal(), fail_at=3, how=JournalFault.HANG)
    before = in_one_process(journal)
    await before.connect()
    async with anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(before.send, text()))
        journal.release()

        after = await resumed(journal, ScriptedAdapter())

        await settled()
        assert isinstance(sending.error, JournalConflict)
    assert adapter_of(before).calls == ["connect"]
    assert (after.delivery.sent, after.delivery.in_doubt) == (0, 1)
    await after.close()


class PromptJournal(MemoryJournal):
    """Is read without a pause in which others could go on."""

    async def last(self, run_id: RunId) -> JournalCursor | None:
        return JournalCursor(run_id, len(self._runs[run_id]))

    async def _records_after(self, run_id: RunId, position: int) -> Sequence[JournalRecord]:
        return self._runs[run_id][position:]


async def test_another_session_of_the_run_goes_on_beside_the_one_that_is_resumed() -> None:
    journal = MemoryJournal()
    one, two = [in_one_process(journal, session_id=name) for name in ("one", "two")]
    await one.connect()
    await two.connect()

    after = await resumed(journal, ScriptedAdapter(), session_id="one")
    await two.send(text())
    await after.send(text())

    with pytest.raises(JournalConflict):
        await one.send(text())
    await two.close()
    await after.close()


async def test_of_two_that_resume_at_once_one_goes_on_and_the_other_may_try_again() -> None:
    store = MemoryJournal()
    before = in_one_process(store)
    await before.connect()
    slow, quick = ScriptedAdapter(), ScriptedAdapter()
    late = SlowReader(store)
    async with anyio.create_task_group() as tasks:
        second = await begin(tasks, partial(resumed, late, slow))
        winner = await resumed(store, quick)
        late.go_on.set()
        await second.over()

        assert isinstance(second.error, JournalConflict)
        assert slow.calls == []
        await winner.send(text())

        again = await resumed(late, slow)
        await again.send(text())
    with pytest.raises(JournalConflict):
        await winner.send(text())
    assert again.delivery.sent == 2
    await again.close()
    with pytest.raises(JournalConflict):
        await before.close()


class SlowReader(RecordedJournal):
    """Goes on, once it has read, only when it is told."""

    def __init__(self, inner: MemoryJournal) -> None:
        super().__init__(inner)
        self.go_on = anyio.Event()

    async def last(self, run_id: RunId) -> JournalCursor | None:
        found = await super().last(run_id)
        await self.go_on.wait()
        return found


async def test_an_owner_in_this_process_that_never_rests_keeps_its_run() -> None:
    journal = ReadWhileWritten()
    owner = in_one_process(journal)
    await owner.connect()
    journal.meanwhile = partial(owner.send, text())
    adapter = ScriptedAdapter()

    with pytest.raises(JournalConflict, match="while its controller goes on writing"):
        await resumed(journal, adapter)

    await owner.send(text())
    assert adapter.calls == []
    await owner.close()


class ReadWhileWritten(MemoryJournal):
    """Whenever it is read, something is written."""

    meanwhile: Callable[[], Awaitable[object]] = checkpoint

    async def _records_after(self, run_id: RunId, position: int) -> Sequence[JournalRecord]:
        records = list(await super()._records_after(run_id, position))
        await self.meanwhile()
        return records


class Failing(RecordedJournal):
    """One whose results are not written, which it tells who awaits them, while `raises` is set."""

    raises: Exception | None = None

    def append(self, record: JournalRecord) -> Any:
        if self.raises is None or record.payload.kind != "input_sent":
            return super().append(record)
        return self._fail(self.raises)

    async def _fail(self, error: Exception) -> JournalCursor:
        raise error


class FullWhileRead(ReadWhileWritten):
    """The same, until it takes no more."""

    is_full = False

    def append(self, record: JournalRecord) -> Any:
        if self.is_full:
            raise JournalFailure("it is full, as the test asked")
        return super().append(record)


async def test_a_journal_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=3, how=JournalFault.STALL, stall_s=60.0)
    owner = in_one_process(journal)
    await owner.connect()
    async with anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(owner.send, text()))

        with pytest.raises(JournalStalled, match="record 3 of run 'run-1' was not durable within 4 s"):
            await resumed(journal, ScriptedAdapter(), deadlines=Deadlines(journal=4))

        await sending.over()


async def test_a_run_whose_journal_failed_goes_on_from_what_it_holds() -> None:
    store = MemoryJournal()
    broken = FaultyJournal(store, fail_at=5, how=JournalFault.BEFORE)
    owner = in_one_process(broken)
    await owner.connect()
    await owner.send(text())
    with pytest.raises(JournalFailure):
        await owner.send(text())
    broken.run_that_failed = None

    after = await resumed(broken, ScriptedAdapter())

    assert after.delivery.sent == 1
    await after.close()


@pytest.mark.parametrize("raised", [JournalFailure("the disk is full"), OSError()])
async def test_a_run_whose_failure_nobody_has_asked_for_goes_on_from_what_the_journal_holds(
    raised: Exception,
) -> None:
    """Its owner waits for the provider, and would be told by its next record."""
    journal = Failing(MemoryJournal())
    owner = in_one_process(journal)
    await owner.connect()
    journal.raises = raised
    await owner.send(text())
    journal.raises = None

    after = await resumed(journal, ScriptedAdapter())

    assert after.delivery.in_doubt == 1
    await every_operation_conflicts(owner)
    await after.close()


async def test_a_run_that_stopped_is_read_when_what_it_had_begun_has_landed() -> None:
    """What is read before would be a run that goes on: who appends to it writes where others have written."""
    journal = FaultyJournal(MemoryJournal(), fail_at=3, how=JournalFault.HANG)
    owner = in_one_process(journal, deadlines=Deadlines(journal=1))
    await owner.connect()
    with pytest.raises(JournalStalled):
        await owner.send(text())
    async with anyio.create_task_group() as tasks:
        resuming = await begin(tasks, partial(resumed, journal, ScriptedAdapter()))

        journal.release()
        await resuming.over()

    assert isinstance(resuming.result, RealtimeSessionController)
    assert resuming.result.delivery.in_doubt == 1
    await resuming.result.close()


async def test_a_run_that_stops_while_it_is_read_is_read_to_where_it_stands() -> None:
    journal = FullWhileRead()
    owner = in_one_process(journal)
    await owner.connect()

    async def goes_on_and_stops() -> None:
        journal.meanwhile = checkpoint
        await owner.send(text())
        journal.is_full = True
        with pytest.raises(JournalFailure):
            await owner.send(text())
        journal.is_full = False

    journal.meanwhile = goes_on_and_stops
    after = await resumed(journal, ScriptedAdapter())

    assert after.delivery.sent == 1
    await after.close()


async def test_a_resume_that_fails_does_not_keep_the_run_from_completing() -> None:
    journal, gate = MemoryJournal(), RealtimeCompletionGate()
    before = in_one_process(journal, gate=gate)
    await before.connect()
    refusing = ScriptedAdapter(Script(faults={("connect", 1): Refuse()}))
    with pytest.raises(ProviderFailure):
        await resumed(journal, refusing, gate=gate)

    after = await resumed(journal, ScriptedAdapter(), gate=gate)
    assert not gate.realtime_sessions_terminal
    await after.close()

    assert gate.realtime_sessions_terminal
    assert gate.journal_terminal


async def test_a_resume_on_a_gate_that_has_let_its_run_complete_leaves_the_owner_alone() -> None:
    journal, gate = MemoryJournal(), RealtimeCompletionGate(*[True] * 7)
    owner = in_one_process(journal)
    await owner.connect()

    with pytest.raises(SessionStateError, match="has let its run complete"):
        await resumed(journal, ScriptedAdapter(), gate=gate)

    await owner.send(text())
    await owner.close()


# -- cancelled


@every_way
async def test_a_resume_that_is_cancelled_may_be_tried_again(how: Cancellation) -> None:
    @asynccontextmanager
    async def abandoned() -> AsyncIterator[StagedSession]:
        staged = StagedSession(
            ScriptedAdapter(suspend=checkpoint), journal=SuspendingJournal(MemoryJournal())
        )
        await staged.controller.connect()
        await staged.controller.send(text())
        await staged.controller.begin_restart()
        await staged.controller.send(text())
        yield staged

    async def resume(staged: StagedSession) -> StagedSession:
        return await staged.resumed()

    async def check(staged: StagedSession, outcome: Outcome[StagedSession]) -> None:
        assert outcome.ending is not Ending.RAISED, outcome.error
        after = outcome.value or await staged.resumed()
        assert (after.controller.delivery.sent, after.controller.delivery.queued) == (1, 0)
        await after.controller.send(text())
        await after.controller.close()
        await after.check()
        with suppress(AgentError):
            await staged.controller.close()

    points = await cancel_at_every_point(abandoned, resume, check, how=how)

    assert points >= DURABLE + CALL


# -- without a stage


def in_one_process(journal: RunJournal, **options: Any) -> RealtimeSessionController:
    """A controller on *journal* itself, as two of one process share it."""
    return RealtimeSessionController(plain_sidecar(), ScriptedAdapter(), journal, run_id="run-1", **options)


def adapter_of(controller: RealtimeSessionController) -> ScriptedAdapter:
    adapter = controller._rt.adapter
    assert isinstance(adapter, ScriptedAdapter)
    return adapter


async def resumed(journal: RunJournal, adapter: ScriptedAdapter, **options: Any) -> RealtimeSessionController:
    return await RealtimeSessionController.resume(
        plain_sidecar(), adapter, journal, run_id="run-1", **options
    )
