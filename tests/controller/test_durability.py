"""What waits for a record to be durable, and what may have changed by then."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from realtime_async import MediaSpan, RealtimeRestartReason
from realtime_async.adapters.scripted import (
    Delay,
    Drop,
    NowaitScriptedAdapter,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.errors import JournalFailure, ProviderConnectionLost
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeInputFrame, RealtimeOutputFrame
from realtime_async.testing.journals import FaultyJournal
from tests.controller.begun import begin, settled
from tests.controller.staged import FRAME, Stage, StagedSession, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize(
    "frame, span", [(text(), None), (audio(), MediaSpan(3, 60.0))], ids=["alone", "span"]
)
@pytest.mark.parametrize("kind", [ScriptedAdapter, NowaitScriptedAdapter], ids=["waiting", "nowait"])
async def test_no_frame_is_handed_over_before_its_intent_is_durable(
    stage: Stage, kind: type[ScriptedAdapter], frame: RealtimeInputFrame, span: MediaSpan | None
) -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=3, how="stall", stall_s=2.0)
    staged = await stage.connected(kind(), journal=journal, sidecar=plain_sidecar(span=span))
    async with anyio.create_task_group() as tasks:
        await begin(tasks, partial(staged.controller.send, frame))

        await anyio.sleep(1)
        assert staged.adapter.operations == ["connect"]
        await anyio.sleep(2)

    assert [each.frame_id for each in staged.provider.sent] == [frame.frame_id]


@pytest.mark.parametrize("span", [None, MediaSpan(3, 60.0)], ids=["alone", "span"])
@pytest.mark.parametrize("kind", [ScriptedAdapter, NowaitScriptedAdapter], ids=["waiting", "nowait"])
async def test_no_frame_is_taken_before_its_intent_is_durable(
    stage: Stage, kind: type[ScriptedAdapter], span: MediaSpan | None
) -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=3, how="stall", stall_s=2.0)
    script = Script([RealtimeOutputFrame.audio(FRAME)])
    staged = await stage.connected(kind(script), journal=journal, sidecar=plain_sidecar(span=span))
    async with anyio.create_task_group() as tasks:
        receiving = await begin(tasks, staged.controller.receive)

        await anyio.sleep(1)
        assert staged.adapter.operations == ["connect"]
        await anyio.sleep(2)

    assert receiving.result is not None


async def connected_to_a_slow_journal(stage: Stage) -> StagedSession:
    """A session whose journal takes 2 s over what follows the intent of its receive."""
    journal = FaultyJournal(MemoryJournal(), fail_at=4, how="stall", stall_s=2.0)
    return await stage.connected(journal=journal)


async def test_a_connection_lost_while_an_intent_becomes_durable_is_not_given_the_frame(stage: Stage) -> None:
    staged = await connected_to_a_slow_journal(stage)
    async with anyio.create_task_group() as tasks:
        receiving = await begin(tasks, staged.controller.receive)
        sending = await begin(tasks, partial(staged.controller.send, text()))

        staged.provider.drop()
        await anyio.sleep(3)

    assert isinstance(receiving.error, ProviderConnectionLost)
    assert sending.error is None
    assert staged.adapter.operations == ["connect", "receive"]
    assert staged.controller.delivery.queued == 1


@pytest.mark.parametrize("then", ["begin_restart", "close"])
async def test_such_a_frame_is_not_sent_either_where_the_connection_is_replaced_or_the_session_closed_by_then(
    stage: Stage, then: str
) -> None:
    staged = await connected_to_a_slow_journal(stage)
    async with anyio.create_task_group() as tasks:
        await begin(tasks, staged.controller.receive)
        sending = await begin(tasks, partial(staged.controller.send, text()))

        staged.provider.drop()
        await settled()
        going_on = await begin(tasks, getattr(staged.controller, then))
        await anyio.sleep(3)

    assert sending.is_over
    assert going_on.error is None
    assert "send" not in staged.adapter.operations
    assert staged.controller.delivery.in_doubt == 0


@pytest.mark.parametrize("then", ["lost", "begin_restart", "close"])
async def test_a_connection_lost_while_an_intent_becomes_durable_is_not_told_of_an_interrupt(
    stage: Stage, then: str
) -> None:
    staged = await connected_to_a_slow_journal(stage)
    async with anyio.create_task_group() as tasks:
        await begin(tasks, staged.controller.receive)
        interrupting = await begin(tasks, staged.controller.interrupt)

        staged.provider.drop()
        await settled()
        if then != "lost":
            await begin(tasks, getattr(staged.controller, then))
        await anyio.sleep(3)

    assert isinstance(interrupting.error, ProviderConnectionLost)
    assert "interrupt" not in staged.adapter.operations
    assert (await staged.kinds()).count("interrupt_failed") == 1


@pytest.mark.parametrize("reason", list(RealtimeRestartReason))
async def test_an_answer_whose_interrupt_came_too_late_for_its_connection_is_not_heard_on_the_next(
    stage: Stage, reason: RealtimeRestartReason
) -> None:
    staged = await connected_to_a_slow_journal(stage)
    async with anyio.create_task_group() as tasks:
        await begin(tasks, staged.controller.receive)
        await begin(tasks, partial(staged.controller.interrupt, "answer.1"))

        staged.provider.drop()
        await settled()
        await begin(tasks, partial(staged.controller.begin_restart, reason))
        await anyio.sleep(3)
    await staged.controller.complete_restart()
    for response_id in ("answer.1", "answer.2"):
        staged.provider.feed(RealtimeOutputFrame.audio(FRAME, response_id=response_id))
    received = await staged.controller.receive()

    assert received is not None
    assert received.frame.response_id == "answer.2"


async def test_a_connection_lost_while_the_session_closes_is_not_told_of_an_interrupt_either(
    stage: Stage,
) -> None:
    journal = FaultyJournal(MemoryJournal(), fail_at=4, how="stall", stall_s=2.0)
    script = Script(faults={("send", 1): [Delay(1.0), Drop()]})
    staged = await stage.connected(ScriptedAdapter(script), journal=journal)
    async with anyio.create_task_group() as tasks:
        await begin(tasks, partial(staged.controller.send, text()))
        interrupting = await begin(tasks, staged.controller.interrupt)
        closing = await begin(tasks, staged.controller.close)

    assert isinstance(interrupting.error, ProviderConnectionLost)
    assert closing.error is None
    assert staged.adapter.operations == ["connect", "send", "close"]


async def test_a_refusal_that_the_journal_did_not_take_is_a_failure_of_the_journal() -> None:
    """The caller would go on as if the journal held how the call ended."""
    journal = FaultyJournal(MemoryJournal(), fail_at=4, how="before")
    script = Script(faults={("interrupt", 1): Refuse()})
    staged = StagedSession(ScriptedAdapter(script), journal=journal)
    await staged.controller.connect()

    with pytest.raises(JournalFailure):
        await staged.controller.interrupt()
