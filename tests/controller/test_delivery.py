"""The totals: every accepted frame is somewhere, and what was not accepted is counted beside."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import anyio
import attrs
import pytest

from realtime_async import Delivery, MediaSpan, RealtimeOverflowPolicy, RealtimeSessionController
from realtime_async.adapters.scripted import Drop, Fault, FrameFate, Hang, Refuse, Script, ScriptedAdapter
from realtime_async.errors import AgentError, ContractViolation, JournalFailure, SessionStateError
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeRestartReason, StreamCursor
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.begun import begin
from tests.controller.staged import Stage, StagedSession, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time


async def test_a_session_that_did_nothing_has_no_totals(stage: Stage) -> None:
    staged = await stage.connected()

    assert staged.controller.delivery == Delivery()


@pytest.mark.parametrize("span", [None, MediaSpan(3, 1.0)], ids=["alone", "spans"])
async def test_all_that_can_happen_to_a_frame_is_counted_once(stage: Stage, span: MediaSpan | None) -> None:
    staged = await stage.connected(
        ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(0)])),
        sidecar=plain_sidecar(
            span=span, queue_capacity=2, overflow_policy=RealtimeOverflowPolicy.DROP_NONCRITICAL
        ),
    )
    controller, provider = staged.controller, staged.provider
    await controller.send(audio())
    provider.inject("send", Refuse())
    with suppress(AgentError):
        await controller.send(audio())
    provider.inject("send", Drop(FrameFate.VANISHED))
    with suppress(AgentError):
        await controller.send(audio())
    for _ in range(3):
        await controller.send(audio())
    gated = controller.delivery
    await staged.check()
    await controller.restart(RealtimeRestartReason.CONNECTION_LOST)

    delivery = controller.delivery

    assert (gated.queued, gated.accepted) == (2, 6)
    assert (delivery.sent, delivery.failed, delivery.in_doubt, delivery.dropped) == (3, 1, 1, 1)
    assert (delivery.queued, delivery.replayed, delivery.refused) == (0, 2, 0)
    assert delivery.accepted == 6


@pytest.mark.parametrize("span", [None, MediaSpan(3, 1.0)], ids=["alone", "spans"])
async def test_a_frame_in_flight_is_queued(stage: Stage, span: MediaSpan | None) -> None:
    staged = await stage.connected(
        ScriptedAdapter(Script(faults={("send", 1): Hang()})), sidecar=plain_sidecar(span=span)
    )
    async with anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(staged.controller.send, audio()))

        delivery = staged.controller.delivery
        await staged.check()
        sending.scope.cancel()

    assert (delivery.queued, delivery.accepted) == (1, 1)
    assert staged.controller.delivery.in_doubt == 1


async def test_a_frame_that_waits_for_its_turn_is_not_accepted_yet(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("send", 1): Hang()})))
    async with anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(staged.controller.send, text()))
        waiting = await begin(tasks, partial(staged.controller.send, text()))
        accepted = staged.controller.delivery.accepted
        waiting.scope.cancel()
        sending.scope.cancel()

    assert accepted == 1
    assert staged.controller.delivery.refused == 1


async def test_mistakes_of_the_program_are_not_counted(stage: Stage) -> None:
    staged = await stage.connected(sidecar=plain_sidecar(max_frame_bytes=10))
    with pytest.raises(ContractViolation):
        await staged.controller.send(audio())
    await staged.controller.close()
    with pytest.raises(SessionStateError):
        await staged.controller.send(text())

    assert staged.controller.delivery == Delivery()


async def test_the_totals_given_away_do_not_change(stage: Stage) -> None:
    staged = await stage.connected()
    before = staged.controller.delivery

    await staged.controller.send(text())

    assert (before.sent, staged.controller.delivery.sent) == (0, 1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        before.sent = 7  # type: ignore[misc]  # it is frozen


async def test_frames_that_a_close_gives_up_are_all_accounted_for(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(faults={("send", 2): Hang()})))
    controller = staged.controller
    await controller.send(text())
    async with anyio.create_task_group() as tasks:
        await begin(tasks, partial(controller.send, text()))
        await begin(tasks, controller.begin_restart)
        for _ in range(3):
            await controller.send(text())

        await controller.close()

    delivery = controller.delivery
    assert (delivery.accepted, delivery.sent, delivery.in_doubt, delivery.dropped) == (5, 1, 1, 3)


async def many_sends(staged: StagedSession, sender: int, frames: int) -> None:
    for number in range(frames):
        with suppress(AgentError):
            await staged.controller.send(text(sender * 100 + number))


@pytest.mark.parametrize("policy", list(RealtimeOverflowPolicy))
async def test_with_many_senders_and_restarts_the_totals_add_up(
    stage: Stage, policy: RealtimeOverflowPolicy
) -> None:
    faults: dict[tuple[str, int], Fault] = {
        ("send", 7): Drop(FrameFate.NOT_SENT),
        ("send", 19): Drop(FrameFate.VANISHED),
        ("send", 23): Refuse(),
    }
    staged = await stage.connected(
        ScriptedAdapter(Script(faults=faults, kept_through=[StreamCursor.chunk(3)])),
        sidecar=plain_sidecar(queue_capacity=4, overflow_policy=policy),
    )
    async with anyio.create_task_group() as tasks:
        for sender in range(10):
            tasks.start_soon(many_sends, staged, sender + 1, 5)
        for _ in range(6):
            await anyio.sleep(1)
            with suppress(SessionStateError):
                await staged.controller.restart()
            await staged.check()

    delivery = staged.controller.delivery
    assert delivery.accepted + delivery.refused == 50
    assert delivery.queued == 0


@pytest.mark.parametrize("span", [None, MediaSpan(3, 1.0)], ids=["alone", "spans"])
async def test_what_a_controller_gives_up_that_was_superseded_is_accounted_for(
    span: MediaSpan | None,
) -> None:
    """It can write no record of it; the new controller does, and both have the same totals."""
    journal, sidecar = MemoryJournal(), plain_sidecar(span=span)
    provider = ScriptedAdapter(Script(faults={("send", 2): Hang()}))
    before = RealtimeSessionController(sidecar, provider, journal, run_id="run-1")
    await before.connect()
    await before.send(text())
    async with anyio.create_task_group() as tasks:
        await begin(tasks, partial(before.send, text()))
        await begin(tasks, before.begin_restart)
        for _ in range(3):
            await before.send(audio())

        after = await RealtimeSessionController.resume(sidecar, ScriptedAdapter(), journal, run_id="run-1")

    delivery = before.delivery
    assert (delivery.accepted, delivery.sent, delivery.in_doubt, delivery.dropped) == (5, 1, 1, 3)
    assert delivery == after.delivery
    held = before.state.backpressure_state
    assert (held.queued_frames, held.dropped_frames) == (0, 3)
    await after.close()


async def test_a_frame_whose_intent_the_journal_did_not_take_was_not_accepted() -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=3, how=JournalFault.BEFORE)
    staged = StagedSession(journal=journal)
    await staged.controller.connect()

    with pytest.raises(JournalFailure):
        await staged.controller.send(text())

    assert staged.controller.delivery == Delivery()


async def test_a_frame_that_the_gate_could_not_record_is_not_in_it() -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=5, how=JournalFault.REFUSE)
    staged = StagedSession(journal=journal)
    await staged.controller.connect()
    await staged.controller.begin_restart()

    with pytest.raises(JournalFailure):
        await staged.controller.send(text())
    with pytest.raises(JournalFailure):
        await staged.controller.close()

    assert staged.controller.delivery == Delivery()
    held = staged.controller.state.backpressure_state
    assert (held.queued_frames, held.gated_frames) == (0, 0)


@pytest.mark.parametrize("span", [None, MediaSpan(3, 1.0)], ids=["alone", "spans"])
@pytest.mark.parametrize("how", [JournalFault.REFUSE, JournalFault.BEFORE])
async def test_a_frame_that_left_the_gate_when_the_journal_failed_is_accounted_for(
    how: JournalFault, span: MediaSpan | None
) -> None:
    # connect_requested and connected, two of the restart, three of the gate, restart_completed, two of the first frame.
    memory, sidecar = MemoryJournal(), plain_sidecar(span=span)
    journal = FaultyJournal(memory, fail_at=11, how=how)
    controller = RealtimeSessionController(sidecar, ScriptedAdapter(), journal, run_id="run-1")
    await controller.connect()
    await controller.begin_restart()
    for _ in range(3):
        await controller.send(audio())

    with pytest.raises(JournalFailure):
        await controller.complete_restart()
    with pytest.raises(JournalFailure):
        await controller.close()

    assert controller.delivery == Delivery(sent=1, dropped=2)
    held = controller.state.backpressure_state
    assert (held.queued_frames, held.dropped_frames) == (0, 2)
    resumed = await RealtimeSessionController.resume(sidecar, ScriptedAdapter(), memory, run_id="run-1")
    assert resumed.delivery == controller.delivery
    await resumed.close()


@pytest.mark.parametrize(
    "fault, fail_at, expected",
    [
        (Refuse(), 4, Delivery(in_doubt=1)),
        (Drop(FrameFate.NOT_SENT), 4, Delivery(in_doubt=1)),
        # That it waits in the gate is what could not be recorded.
        (Drop(FrameFate.NOT_SENT), 5, Delivery(failed=1)),
    ],
    ids=["refused", "lost", "not-gated"],
)
async def test_a_frame_whose_failure_could_not_be_recorded_is_what_the_next_owner_finds(
    fault: Fault, fail_at: int, expected: Delivery
) -> None:
    # connect_requested and connected, input_send_requested and input_send_failed.
    memory, sidecar = MemoryJournal(), plain_sidecar()
    journal = FaultyJournal(memory, fail_at=fail_at, how=JournalFault.REFUSE)
    provider = ScriptedAdapter(Script(faults={("send", 1): fault}))
    controller = RealtimeSessionController(sidecar, provider, journal, run_id="run-1")
    await controller.connect()

    with pytest.raises(JournalFailure):
        await controller.send(text())
    with pytest.raises(JournalFailure):
        await controller.close()

    assert controller.delivery == expected
    assert controller.state.backpressure_state.queued_frames == 0
    resumed = await RealtimeSessionController.resume(sidecar, ScriptedAdapter(), memory, run_id="run-1")
    assert resumed.delivery == expected
    await resumed.close()


def out_of_order(memory: MemoryJournal) -> FaultyJournal:
    """A journal that keeps whoever drains two frames waiting for the intent of the first, and takes nothing more."""
    # connect_requested and connected, two of the restart, two of the gate, restart_completed.
    full = FaultyJournal(memory, fail_at=9, how=JournalFault.REFUSE)
    return FaultyJournal(full, fail_at=8, how=JournalFault.STALL)


async def test_a_frame_that_ran_out_of_time_while_it_was_drained_is_counted_once() -> None:
    controller = StagedSession(journal=out_of_order(MemoryJournal())).controller
    await controller.connect()
    await controller.begin_restart()
    for _ in range(2):
        await controller.send(text())

    with pytest.raises(JournalFailure):
        await controller.complete_restart()
    with pytest.raises(JournalFailure):
        await controller.close()

    assert controller.delivery == Delivery(dropped=2)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_drain_is_given_up_at_once_and_its_frame_counted(is_cancelled: bool) -> None:
    controller = StagedSession(journal=out_of_order(MemoryJournal())).controller
    await controller.connect()
    await controller.begin_restart()
    for _ in range(2):
        await controller.send(text())

    async with anyio.create_task_group() as tasks:
        draining = await begin(tasks, controller.complete_restart)
        began = anyio.current_time()
        # It joins the drain.
        with pytest.raises(JournalFailure):
            await controller.send(text())
        if is_cancelled:
            draining.scope.cancel()
        with pytest.raises(JournalFailure):
            await controller.close()

    assert draining.ended_at == began or is_cancelled
    assert isinstance(draining.error, JournalFailure) != is_cancelled
    assert controller.delivery == Delivery(dropped=2)
    held = controller.state.backpressure_state
    assert (held.queued_frames, held.dropped_frames) == (0, 2)


async def test_what_a_close_could_not_record_as_dropped_is_dropped_all_the_same() -> None:
    # connect_requested and connected, two of the restart, three of the gate, close_requested, and one that is dropped.
    journal = FaultyJournal(MemoryJournal(), fail_at=10, how=JournalFault.REFUSE)
    staged = StagedSession(journal=journal)
    controller = staged.controller
    await controller.connect()
    await controller.begin_restart()
    for _ in range(3):
        await controller.send(text())

    with pytest.raises(JournalFailure):
        await controller.close()

    assert controller.delivery == Delivery(dropped=3)
    held = controller.state.backpressure_state
    assert (held.queued_frames, held.dropped_frames) == (0, 3)
