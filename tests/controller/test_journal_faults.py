"""The journal fails, hangs or is in conflict at every append of a call in turn: the run stops, and nothing else."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from realtime_async import MediaSpan, RealtimeSessionController
from realtime_async.adapters.scripted import NowaitScriptedAdapter, ScriptedAdapter
from realtime_async.errors import (
    AgentError,
    JournalConflict,
    JournalFailure,
    JournalStalled,
    SessionStateError,
)
from realtime_async.journals import MemoryJournal
from realtime_async.journals._verdicts import Durable
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.begun import begin, settled
from tests.controller.recording import RecordedJournal
from tests.controller.staged import StagedSession, audio, plain_sidecar, text
from tests.controller.whole_call import WholeCall, answering, sidecar

pytestmark = pytest.mark.virtual_time

RAISED = {
    JournalFault.REFUSE: JournalFailure,
    JournalFault.BEFORE: JournalFailure,
    JournalFault.AFTER: JournalFailure,
    JournalFault.CONFLICT: JournalConflict,
    JournalFault.HANG: JournalStalled,
    JournalFault.STALL: JournalStalled,
}
LATE = (JournalFault.HANG, JournalFault.STALL)


def staged_on(
    journal: FaultyJournal | RecordedJournal,
    span: MediaSpan | None = None,
    run_id: str = "broken",
    kind: type[ScriptedAdapter] = ScriptedAdapter,
) -> StagedSession:
    return StagedSession(answering(kind), journal=journal, run_id=run_id, sidecar=sidecar(span))


async def nothing() -> None:
    """There is nothing to check between the steps."""


async def appends_of_a_call(span: MediaSpan | None, kind: type[ScriptedAdapter]) -> int:
    staged = StagedSession(answering(kind), sidecar=sidecar(span))
    call = WholeCall(staged)
    await call.take(staged.check)
    assert call.errors == []
    assert call.receiver_ended
    return len(await staged.records())


async def every_operation_raises(controller: RealtimeSessionController, error: type[JournalFailure]) -> None:
    for operation in (
        controller.connect,
        controller.receive,
        controller.interrupt,
        controller.begin_restart,
        controller.complete_restart,
        controller.restart,
        controller.close,
    ):
        with pytest.raises(error):
            await operation()
    with pytest.raises(error):
        await controller.send(text())


@pytest.mark.parametrize(
    "kind, span",
    [
        (ScriptedAdapter, None),
        (ScriptedAdapter, MediaSpan(2, 60.0)),
        (NowaitScriptedAdapter, MediaSpan(2, 60.0)),
    ],
    ids=["alone", "spans", "spans, nowait"],
)
@pytest.mark.parametrize("how", list(JournalFault))
async def test_wherever_the_journal_goes_wrong_the_run_stops_and_its_provider_is_left_alone(
    how: JournalFault, kind: type[ScriptedAdapter], span: MediaSpan | None
) -> None:
    appends = await appends_of_a_call(span, kind)
    assert appends >= 20
    stopped = 0
    for fail_at in range(1, appends + 1):
        faulty = FaultyJournal(MemoryJournal(), fail_at=fail_at, how=how, run_id="broken")
        staged = staged_on(faulty, span, kind=kind)
        call = WholeCall(staged)

        await call.take(nothing)

        await staged.check_records()
        failures = [error for error in call.errors if isinstance(error, JournalFailure)]
        records = await staged.records()
        if failures:
            stopped += 1
            assert {type(error) for error in failures} == {RAISED[how]}
            assert staged.controller.state.lifecycle_status == "failed"
            calls = list(staged.adapter.operations)
            if how in LATE and staged.journal.kinds[-1] in {"closed", "close_failed"}:
                # The terminal record was taken before it was known to be late: nothing can follow it.
                with pytest.raises(JournalStalled):
                    await staged.controller.close()
            else:
                await every_operation_raises(staged.controller, RAISED[how])
            assert staged.adapter.operations == calls
        assert call.receiver_ended
        assert [record.journal_seq for record in records] == list(range(1, len(records) + 1))
        if how in (JournalFault.REFUSE, JournalFault.BEFORE, JournalFault.CONFLICT):
            assert len(records) == fail_at - 1
        faulty.release()
        await staged.check_records()

    # The failure of a last record that nobody waits for is raised by the close that appended it.
    assert stopped == appends


@pytest.mark.parametrize("how", list(JournalFault))
async def test_another_run_on_the_same_journal_does_not_notice(how: JournalFault) -> None:
    for fail_at in range(1, 20, 3):
        journal = RecordedJournal(FaultyJournal(MemoryJournal(), fail_at=fail_at, how=how, run_id="broken"))
        broken = staged_on(journal)
        sound = staged_on(journal, run_id="sound")
        calls = [WholeCall(broken), WholeCall(sound)]
        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(call.take, nothing)

        assert any(isinstance(error, JournalFailure) for error in calls[0].errors)
        assert calls[1].errors == []
        assert (await sound.kinds())[-1] == "closed"
        await sound.check()


async def test_a_journal_that_is_slow_but_in_time_is_waited_for() -> None:
    for fail_at in range(1, 20):
        faulty = FaultyJournal(MemoryJournal(), fail_at=fail_at, how="stall", run_id="broken", stall_s=2.0)
        staged = staged_on(faulty)
        call = WholeCall(staged)

        await call.take(nothing)

        assert call.errors == []
        await staged.check()


async def test_a_close_after_a_journal_failure_wakes_everybody_and_calls_nobody() -> None:
    faulty = FaultyJournal(MemoryJournal(), fail_at=8, how="before")
    staged = StagedSession(ScriptedAdapter(), journal=faulty, sidecar=plain_sidecar(queue_capacity=1))
    controller = staged.controller
    await controller.connect()
    async with anyio.create_task_group() as tasks:
        receiving = await begin(tasks, controller.receive)
        await controller.begin_restart()
        await controller.send(audio())
        waiting = [await begin(tasks, lambda: controller.send(audio())) for _ in range(3)]
        with suppress(AgentError):
            while True:
                await controller.interrupt()
        calls = list(staged.adapter.operations)

        with pytest.raises(JournalFailure):
            await controller.close()
        await settled()

        assert all(each.is_over for each in [receiving, *waiting])

    assert staged.adapter.operations == calls
    assert {type(each.error) for each in [receiving, *waiting]} == {JournalFailure}


async def test_a_failure_that_nobody_waited_for_is_raised_by_the_next_operation() -> None:
    """A result need not be durable when send returns."""
    staged = StagedSession(journal=FaultyJournal(MemoryJournal(), fail_at=4, how="conflict"))
    await staged.controller.connect()
    await staged.controller.send(text())

    with pytest.raises(JournalConflict):
        await staged.controller.send(text())

    assert staged.adapter.operations == ["connect", "send"]


async def test_a_failure_that_nobody_waited_for_is_raised_by_close() -> None:
    staged = StagedSession(journal=FaultyJournal(MemoryJournal(), fail_at=4, how="before"))
    await staged.controller.connect()
    await staged.controller.send(text())

    with pytest.raises(JournalFailure):
        await staged.controller.close()

    assert "close" not in staged.adapter.operations


async def test_a_journal_that_raises_what_no_journal_may_stops_the_run_too() -> None:
    class Broken(MemoryJournal):
        def append(self, record: object) -> Durable:
            raise RuntimeError("the disk is on fire")

    staged = StagedSession(journal=Broken())

    with pytest.raises(JournalFailure):
        await staged.controller.connect()
    with pytest.raises(JournalFailure):
        await staged.controller.close()

    assert staged.adapter.operations == []


async def test_the_block_of_a_session_whose_journal_failed_raises_that_failure() -> None:
    staged = StagedSession(journal=FaultyJournal(MemoryJournal(), fail_at=3, how="before"))

    with pytest.raises(JournalFailure):
        await in_a_block(staged)


async def in_a_block(staged: StagedSession) -> None:
    async with staged.controller as controller:
        await controller.connect()
        with suppress(JournalFailure):
            await controller.send(text())


async def test_a_new_controller_on_a_lane_that_failed_is_told_so() -> None:
    journal = RecordedJournal(FaultyJournal(MemoryJournal(), fail_at=3, how="before"))
    first = StagedSession(journal=journal, session_id="first")
    await first.controller.connect()
    with pytest.raises(JournalFailure):
        await first.controller.send(text())
    second = StagedSession(journal=journal, session_id="second")

    with pytest.raises((JournalFailure, SessionStateError)):
        await second.controller.connect()

    assert second.adapter.operations == []


async def test_a_close_whose_failure_could_not_be_written_is_waited_for_once() -> None:
    """The provider was not told in time, and nobody learns whether that was recorded."""
    journal = FaultyJournal(MemoryJournal(), fail_at=3, how=JournalFault.STALL, stall_s=60)
    staged = StagedSession(journal=journal)
    await staged.controller.connect()
    with pytest.raises(JournalStalled):
        await staged.controller.close()
    at = anyio.current_time()

    for operation in (staged.controller.close, staged.controller.receive, staged.controller.interrupt):
        with pytest.raises(JournalStalled):
            await operation()

    assert anyio.current_time() == at


async def test_a_call_that_ends_after_the_journal_has_failed_does_not_hide_that() -> None:
    # connect_requested and connected, interrupt_requested, input_send_requested.
    adapter, told = ScriptedAdapter(), anyio.Event()

    async def interrupt(*_arguments: object, **_options: object) -> None:
        await told.wait()

    adapter.interrupt = interrupt  # type: ignore[method-assign]  # of this one alone
    staged = StagedSession(
        adapter, journal=FaultyJournal(MemoryJournal(), fail_at=4, how=JournalFault.REFUSE)
    )
    await staged.controller.connect()

    async with anyio.create_task_group() as tasks:
        interrupting = await begin(tasks, staged.controller.interrupt)
        with pytest.raises(JournalFailure):
            await staged.controller.send(text())
        told.set()

    assert isinstance(interrupting.error, JournalFailure)
    assert staged.controller.state.lifecycle_status == "failed"
    with pytest.raises(JournalFailure):
        await staged.controller.close()
