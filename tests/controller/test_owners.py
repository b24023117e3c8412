"""Who may write a run: several sessions on one lane, never two owners."""

from __future__ import annotations

import anyio
import pytest

from realtime_async.adapters.scripted import Hang, Script, ScriptedAdapter
from realtime_async.errors import ContractViolation, JournalConflict, JournalFailure, SessionStateError
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeOutputFrame
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.recording import RecordedJournal
from tests.controller.staged import FRAME, Stage, StagedSession, audio, text

pytestmark = pytest.mark.virtual_time


async def test_the_sessions_of_a_run_share_its_sequence(stage: Stage) -> None:
    journal = RecordedJournal(MemoryJournal())
    sessions = [await stage.connected(journal=journal, session_id=f"session-{number}") for number in range(3)]
    for _ in range(3):
        for staged in sessions:
            await staged.controller.send(text())
    await sessions[1].controller.restart()
    await sessions[0].controller.close()

    records = await sessions[0].records()

    assert [record.journal_seq for record in records] == list(range(1, len(records) + 1))
    assert {str(record.payload.session_id) for record in records} == {"session-0", "session-1", "session-2"}
    for staged in sessions:
        await staged.check()


async def test_sessions_of_a_run_do_not_wait_for_each_other(stage: Stage) -> None:
    journal = RecordedJournal(MemoryJournal())
    slow = await stage.connected(
        ScriptedAdapter(Script(faults={("send", 1): Hang()})), journal=journal, session_id="slow"
    )
    quick = await stage.connected(journal=journal, session_id="quick")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(quietly, slow)
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()

        await quick.controller.send(text())

        assert anyio.current_time() == began
        tasks.cancel_scope.cancel()


async def quietly(staged: StagedSession) -> None:
    await staged.controller.send(text())


async def test_a_second_controller_of_a_session_is_refused(stage: Stage) -> None:
    journal = RecordedJournal(MemoryJournal())
    first = await stage.connected(journal=journal)
    second = StagedSession(journal=journal)
    before = await first.kinds()

    with pytest.raises(SessionStateError) as refusal:
        await second.controller.connect()

    assert isinstance(refusal.value, ContractViolation)
    assert second.adapter.operations == []
    assert await first.kinds() == before
    await first.controller.send(text())


async def test_another_controller_may_connect_a_session_whose_connect_was_cancelled(stage: Stage) -> None:
    journal = RecordedJournal(MemoryJournal())
    first = StagedSession(ScriptedAdapter(Script(faults={("connect", 1): Hang()})), journal=journal)
    second = StagedSession(journal=journal)
    with anyio.move_on_after(1):
        await first.controller.connect()

    await second.controller.connect()

    with pytest.raises(SessionStateError):
        await first.controller.connect()
    await second.controller.close()


async def test_sessions_of_a_run_can_follow_each_other(stage: Stage) -> None:
    journal = RecordedJournal(MemoryJournal())
    first = await stage.connected(journal=journal, session_id="first")
    await first.controller.close()

    second = await stage.connected(journal=journal, session_id="second")
    await second.controller.close()

    records = await second.records()
    assert [record.journal_seq for record in records] == list(range(1, 9))


async def test_a_second_owner_of_a_run_is_fenced_before_it_reaches_its_provider(stage: Stage) -> None:
    store = MemoryJournal()
    owner = await stage.connected(journal=RecordedJournal(store))
    intruder = StagedSession(journal=RecordedJournal(store))

    with pytest.raises(JournalConflict):
        await intruder.controller.connect()

    assert intruder.adapter.operations == []
    await owner.controller.send(text())
    assert await owner.kinds() == ["connect_requested", "connected", "input_send_requested", "input_sent"]


async def test_a_second_owner_stays_out_whatever_it_tries(stage: Stage) -> None:
    store = MemoryJournal()
    owner = await stage.connected(journal=RecordedJournal(store))
    intruder = StagedSession(journal=RecordedJournal(store))
    with pytest.raises(JournalConflict):
        await intruder.controller.connect()

    for operation in (
        intruder.controller.connect,
        intruder.controller.receive,
        intruder.controller.interrupt,
        intruder.controller.begin_restart,
        intruder.controller.complete_restart,
        intruder.controller.close,
    ):
        with pytest.raises(JournalConflict):
            await operation()
    with pytest.raises(JournalConflict):
        await intruder.controller.send(audio())

    assert intruder.adapter.operations == []
    assert await owner.kinds() == ["connect_requested", "connected"]


async def test_an_owner_that_lost_its_run_makes_no_other_call(stage: Stage) -> None:
    """Somebody else has written the next record: the one who comes late must not act on its own."""
    store = MemoryJournal()
    late = StagedSession(journal=RecordedJournal(store))
    await late.controller.connect()
    other = StagedSession(journal=RecordedJournal(MemoryJournal()))
    await other.controller.connect()
    await other.controller.send(text())
    store.append((await other.records())[2])
    late.provider.feed(RealtimeOutputFrame.audio(FRAME))

    with pytest.raises(JournalConflict):
        await late.controller.send(audio())
    with pytest.raises(JournalConflict):
        await late.controller.receive()
    with pytest.raises(JournalConflict):
        await late.controller.close()

    assert late.adapter.operations == ["connect"]
    await other.controller.close()


async def test_another_run_on_the_same_journal_goes_on(stage: Stage) -> None:
    journal = RecordedJournal(FaultyJournal(MemoryJournal(), fail_at=3, how="before", run_id="broken"))
    broken = StagedSession(journal=journal, run_id="broken")
    await broken.controller.connect()
    sound = await stage.connected(journal=journal, run_id="sound")

    with pytest.raises(JournalFailure):
        await broken.controller.send(text())
    await sound.controller.send(text())

    assert (await sound.kinds())[-1] == "input_sent"


async def test_a_journal_that_fails_one_session_stops_all_of_its_run(stage: Stage) -> None:
    journal = RecordedJournal(FaultyJournal(MemoryJournal(), fail_at=5, how=JournalFault.BEFORE))
    one = StagedSession(journal=journal, session_id="one")
    two = StagedSession(journal=journal, session_id="two")
    await one.controller.connect()
    await two.controller.connect()

    with pytest.raises(JournalFailure):
        await one.controller.send(text())
    with pytest.raises(JournalFailure):
        await two.controller.send(text())

    assert one.adapter.operations == two.adapter.operations == ["connect"]
