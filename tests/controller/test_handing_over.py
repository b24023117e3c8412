"""Leaving a session to another process: nothing goes on here, and nothing is lost."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from realtime_async import MediaSpan, RealtimeCompletionGate
from realtime_async._core.recovery import fold
from realtime_async.adapters.scripted import (
    Delay,
    Drop,
    Fault,
    FrameFate,
    Hang,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.errors import (
    DeadlineExceeded,
    JournalConflict,
    JournalFailure,
    ProviderFailure,
    SessionStateError,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeOutputFrame, StreamCursor
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.begun import begin
from tests.controller.staged import FRAME, Stage, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time

SPAN = MediaSpan(frames=50, seconds=60.0)


def with_fault(operation: str, fault: Fault) -> ScriptedAdapter:
    return ScriptedAdapter(Script(faults={(operation, 1): fault}))


async def test_whoever_resumes_it_goes_on_with_totals_that_are_exact(stage: Stage) -> None:
    """With spans too: nothing is in doubt, as nobody died."""
    before = await stage.connected(
        ScriptedAdapter(Script([RealtimeOutputFrame.audio(FRAME)])), sidecar=plain_sidecar(span=SPAN)
    )
    for _ in range(30):
        await before.controller.send(audio())
    await before.controller.receive()

    await before.controller.hand_over()
    after = await stage.resumed(before, ScriptedAdapter())
    for _ in range(20):
        await after.controller.send(audio())

    delivery = after.controller.delivery
    assert (delivery.sent, delivery.in_doubt, delivery.accepted) == (50, 0, 50)
    state = after.controller.state
    assert (state.send_cursor, state.receive_cursor.chunk_sequence) == (StreamCursor.chunk(50), 1)
    assert "outcome_unknown" not in await after.kinds()
    handed = (await after.kinds()).index("handed_over")
    assert (await after.kinds())[handed + 1 : handed + 4] == [
        "session_recovered",
        "connect_requested",
        "connected",
    ]


async def test_it_may_be_handed_on_and_on(stage: Stage) -> None:
    staged = await stage.connected()
    for _ in range(3):
        await staged.controller.send(text())
        await staged.controller.hand_over()
        staged = await stage.resumed(staged, ScriptedAdapter())

    await staged.controller.close()

    assert staged.controller.delivery.sent == 3
    assert (await staged.kinds()).count("handed_over") == 3


async def test_the_provider_is_left_before_the_last_record_and_never_called_again(stage: Stage) -> None:
    staged = await stage.connected(with_fault("close", Delay(1)))
    async with anyio.create_task_group() as tasks:
        handing = await begin(tasks, staged.controller.hand_over)
        assert (await staged.kinds())[-1] == "hand_over_requested"
        closing = await begin(tasks, staged.controller.close)

    assert handing.result is closing.result
    assert await staged.controller.receive() is None
    with pytest.raises(SessionStateError, match="handed_over: resume it"):
        await staged.controller.send(text())
    assert staged.adapter.operations == ["connect", "close"]


async def test_a_call_in_flight_is_waited_for_and_has_its_result(stage: Stage) -> None:
    staged = await stage.connected(with_fault("send", Delay(2)))
    async with anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(staged.controller.send, text()))

        await staged.controller.hand_over()

    assert sending.error is None
    assert staged.controller.delivery.sent == 1
    kinds = await staged.kinds()
    assert kinds.index("input_sent") < kinds.index("hand_over_requested")


async def test_what_waits_in_the_gate_is_recorded_as_dropped(stage: Stage) -> None:
    staged = await stage.connected(with_fault("send", Drop(FrameFate.NOT_SENT)))
    for number in (1, 2):
        await staged.controller.send(text(number))

    await staged.controller.hand_over()
    after = await stage.resumed(staged, ScriptedAdapter())

    assert after.controller.delivery.dropped == 2
    kinds = await after.kinds()
    assert kinds.index("input_dropped") < kinds.index("handed_over")


@pytest.mark.parametrize("fault, error", [(Refuse(), ProviderFailure), (Hang(), DeadlineExceeded)])
async def test_one_that_the_provider_would_not_end_can_be_resumed_all_the_same(
    stage: Stage, fault: Fault, error: type[Exception]
) -> None:
    staged = await stage.connected(with_fault("close", fault))
    await staged.controller.send(text())

    with pytest.raises(error):
        await staged.controller.hand_over()
    assert (await staged.kinds())[-1] == "hand_over_failed"
    after = await stage.resumed(staged, ScriptedAdapter())

    assert after.controller.delivery.sent == 1


async def test_a_journal_that_fails_is_raised_and_the_session_can_be_resumed(stage: Stage) -> None:
    inner = MemoryJournal()
    staged = await stage.connected(
        journal=FaultyJournal(inner, fail_at=3, how=JournalFault.REFUSE), sidecar=plain_sidecar()
    )

    with pytest.raises(JournalFailure):
        await staged.controller.hand_over()
    after = await stage.resumed(staged, ScriptedAdapter(), journal=inner)

    assert "close" not in staged.provider.calls
    assert after.provider.calls == ["connect"]


async def test_an_owner_that_was_superseded_hands_over_nothing(stage: Stage) -> None:
    before = await stage.connected()
    after = await stage.resumed(before, ScriptedAdapter())

    with pytest.raises(JournalConflict):
        await before.controller.hand_over()

    assert before.provider.calls == ["connect"]
    assert (await after.kinds())[-1] == "connected"


async def test_a_completion_gate_waits_for_whoever_resumes(stage: Stage) -> None:
    """The run is not complete here, and the gate must not say so."""
    gate = RealtimeCompletionGate()
    staged = await stage.connected(gate=gate)

    await staged.controller.hand_over()
    assert not gate.realtime_sessions_terminal
    after = await stage.resumed(staged, ScriptedAdapter(), gate=gate)
    await after.controller.close()

    assert gate.realtime_sessions_terminal


async def test_the_fold_shows_a_session_that_lives(stage: Stage) -> None:
    staged = await stage.connected()

    await staged.controller.hand_over()

    folded = fold(await staged.records())[staged.session_id]
    assert folded.terminal is None
    assert folded.open_intents == {}
    assert folded.state == staged.controller.state
