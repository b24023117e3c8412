"""What each operation appends: which records, in which order, and what they say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from realtime_async.adapters.scripted import Drop, EndOfStream, FrameFate, Refuse, Script, ScriptedAdapter
from realtime_async.controller import RealtimeSessionController
from realtime_async.errors import AgentError, ProviderConnectionLost, ProviderFailure
from realtime_async.ports import (
    RealtimeCloseReason,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    StreamCursor,
)
from tests.controller.staged import FRAME, SECRET, Stage, StagedSession, audio, kinds_of, text

pytestmark = pytest.mark.virtual_time

Controlled = Callable[[RealtimeSessionController], Awaitable[object]]


async def test_connect_appends_its_intent_and_its_result(stage: Stage) -> None:
    staged = stage.session()

    record = await staged.controller.connect()

    requested, connected = [each.payload for each in await staged.records()]
    assert kinds_of([requested, connected]) == ["connect_requested", "connected"]
    assert requested.connection_id.startswith("realtime.connection.pending.")
    assert record == connected
    assert connected.connection_id == "adapter.scripted.connection.1"
    assert [requested.status, connected.status] == ["connecting", "connected"]


async def test_send_appends_its_intent_and_its_result(stage: Stage) -> None:
    staged = await stage.connected()
    frame = text()

    record = await staged.controller.send(frame)

    requested, sent = [each.payload for each in (await staged.records())[2:]]
    assert kinds_of([requested, sent]) == ["input_send_requested", "input_sent"]
    assert record == sent
    assert requested.frame_id == sent.frame_id == frame.frame_id
    assert sent.send_cursor.chunk_sequence == 1
    assert sent.status == "input_sent"
    assert staged.provider.sent[0].cursor == sent.send_cursor


async def test_receive_appends_its_intent_and_its_result(stage: Stage) -> None:
    staged = await stage.connected()
    frame = RealtimeOutputFrame.audio(FRAME, response_id="answer-1")
    staged.provider.feed(frame)

    received = await staged.controller.receive()

    requested, output = [each.payload for each in (await staged.records())[2:]]
    assert kinds_of([requested, output]) == ["output_receive_requested", "output_received"]
    assert received is not None
    assert received.record == output
    assert (received.frame.payload, received.frame.event) == (frame.payload, frame.event)
    assert received.frame.cursor is not None
    assert received.frame.cursor.chunk_sequence == output.receive_cursor.chunk_sequence == 1
    assert (output.frame_id, output.response_id) == (frame.frame_id, "answer-1")
    assert output.status == "output_received"


async def test_interrupt_appends_its_intent_and_its_result(stage: Stage) -> None:
    staged = await stage.connected()

    record = await staged.controller.interrupt("answer-1", played_ms=420)

    requested, interrupted = [each.payload for each in (await staged.records())[2:]]
    assert kinds_of([requested, interrupted]) == ["interrupt_requested", "interrupted"]
    assert record == interrupted
    assert requested.response_id == interrupted.response_id == "answer-1"
    assert interrupted.status == "interrupted"


async def test_begin_restart_appends_that_it_is_asked_for_and_the_intent(stage: Stage) -> None:
    staged = await stage.connected()

    records = await staged.controller.begin_restart()

    assert records == [each.payload for each in (await staged.records())[2:]]
    assert kinds_of(records) == ["restart_requested", "restart_started"]
    assert [record.status for record in records] == ["restart_requested", "restart_started"]
    assert {record.restart_reason for record in records} == {"requested"}
    assert {record.restart_count for record in records} == {0}
    assert staged.adapter.operations == ["connect"]


async def test_complete_restart_appends_its_result_then_the_tail_then_the_gated_frames(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script(kept_through=[StreamCursor.chunk(0)])))
    await staged.controller.send(audio())
    await staged.controller.begin_restart()
    await staged.controller.send(text())
    before = len(await staged.records())

    records = await staged.controller.complete_restart()

    appended = [each.payload for each in (await staged.records())[before:]]
    assert kinds_of(appended) == [
        "restart_completed", "input_replay_requested", "input_replayed", "input_send_requested", "input_sent",
    ]  # fmt: skip
    assert [record for record in appended if record in records] == records
    assert (records[0], records[-1]) == (appended[0], appended[-1])
    assert records[0].restart_count == 1
    assert records[0].connection_id == "adapter.scripted.connection.2"
    assert [frame.media_kind for frame in staged.provider.sent] == ["audio", "audio", "text"]
    await staged.check()


async def test_close_appends_its_intent_and_its_result(stage: Stage) -> None:
    staged = await stage.connected()

    record = await staged.controller.close()

    requested, closed = [each.payload for each in (await staged.records())[2:]]
    assert kinds_of([requested, closed]) == ["close_requested", "closed"]
    assert record == closed
    assert (requested.close_reason, closed.close_reason) == ("normal", "normal")
    assert closed.status == "closed"


@pytest.mark.parametrize("reason", list(RealtimeCloseReason))
async def test_a_close_says_why_and_tells_the_adapter(stage: Stage, reason: RealtimeCloseReason) -> None:
    staged = await stage.connected()

    record = await staged.controller.close(reason)

    told = [entry for entry in staged.provider.log if getattr(entry, "reason", None) is not None]
    assert record.close_reason == reason
    assert [getattr(entry, "reason", None) for entry in told] == [reason]
    assert record.status == ("detached" if reason == "host_owned_detach" else "closed")
    await staged.check()


async def test_close_ends_all_that_is_open_before_it_says_so(stage: Stage) -> None:
    """A gated frame, a restart under way and a receive outstanding."""
    staged = await stage.connected()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(staged.controller.receive)
        await anyio.wait_all_tasks_blocked()
        await staged.controller.begin_restart()
        frame = text()
        await staged.controller.send(frame)
        before = len(await staged.records())

        await staged.controller.close()

    ended = [each.payload for each in (await staged.records())[before:]]
    assert ended[0].kind == "close_requested"
    assert ended[-1].kind == "closed"
    assert sorted(kinds_of(ended[1:-1])) == ["input_dropped", "output_ended", "restart_failed"]
    assert next(each.frame_id for each in ended if each.kind == "input_dropped") == frame.frame_id
    await staged.check()


async def open_session(stage: Stage, **faults: object) -> StagedSession:
    """A connected session whose first call of each given operation suffers that fault."""
    script = Script(faults={(operation, 1): fault for operation, fault in faults.items()})  # type: ignore[misc]  # the faults of a script
    return await stage.connected(ScriptedAdapter(script))


FAILURES: list[tuple[str, Controlled, list[str]]] = [
    ("send", lambda c: c.send(text()), ["input_send_requested", "input_send_failed"]),
    ("receive", lambda c: c.receive(), ["output_receive_requested", "output_receive_failed"]),
    ("interrupt", lambda c: c.interrupt(), ["interrupt_requested", "interrupt_failed"]),
    ("close", lambda c: c.close(), ["close_requested", "close_failed"]),
]


@pytest.mark.parametrize("operation, call, kinds", FAILURES, ids=[each[0] for each in FAILURES])
async def test_what_the_provider_refuses_is_recorded_and_raised(
    stage: Stage, operation: str, call: Controlled, kinds: list[str]
) -> None:
    staged = await open_session(stage, **{operation: Refuse("rate_limit_exceeded")})

    with pytest.raises(ProviderFailure) as refusal:
        await call(staged.controller)

    requested, failed = [each.payload for each in (await staged.records())[2:]]
    assert kinds_of([requested, failed]) == kinds
    assert failed.error is not None
    assert (failed.error.kind, failed.error.retry) == (refusal.value.kind, refusal.value.retry)
    assert failed.error.code == "rate_limit_exceeded"
    await staged.check()


async def test_a_refused_connect_is_recorded_and_raised(stage: Stage) -> None:
    staged = stage.session(ScriptedAdapter(Script(faults={("connect", 1): Refuse("invalid_api_key")})))

    with pytest.raises(ProviderFailure):
        await staged.controller.connect()

    assert await staged.kinds() == ["connect_requested", "connect_failed"]
    await staged.check()


async def test_a_refused_restart_is_recorded_and_returned(stage: Stage) -> None:
    staged = await open_session(stage, restart=Refuse("overloaded"))
    await staged.controller.begin_restart()

    records = await staged.controller.complete_restart()

    assert kinds_of(records) == ["restart_failed"]
    assert records[0].error is not None
    assert records[0].error.code == "overloaded"
    assert records[0].status == "restart_failed"
    assert records[0].restart_count == 0
    await staged.check()


async def test_an_attempt_after_a_failed_one_has_an_intent_of_its_own(stage: Stage) -> None:
    staged = await open_session(stage, restart=Refuse())
    await staged.controller.begin_restart()
    await staged.controller.complete_restart()

    records = await staged.controller.complete_restart()

    assert kinds_of(records) == ["restart_started", "restart_completed"]
    await staged.check()


async def test_a_provider_s_code_that_nobody_knows_is_not_repeated(stage: Stage) -> None:
    staged = await open_session(stage, send=Refuse(f"you said {SECRET}"))

    with pytest.raises(ProviderFailure):
        await staged.controller.send(text())

    failed = (await staged.records())[-1].payload
    assert failed.error is not None
    assert failed.error.code == "other"
    await staged.check()


async def test_a_frame_that_certainly_did_not_arrive_goes_to_the_gate(stage: Stage) -> None:
    staged = await open_session(stage, send=Drop(FrameFate.NOT_SENT))
    frame = text()

    record = await staged.controller.send(frame)

    records = [each.payload for each in (await staged.records())[2:]]
    assert kinds_of(records) == ["input_send_requested", "input_send_failed", "backpressure_applied"]
    assert record == records[-1]
    assert {each.frame_id for each in records} == {frame.frame_id}
    await staged.check()


@pytest.mark.parametrize("fate", [FrameFate.ARRIVED, FrameFate.VANISHED])
async def test_a_frame_that_may_have_arrived_is_in_doubt(stage: Stage, fate: FrameFate) -> None:
    staged = await open_session(stage, send=Drop(fate))

    with pytest.raises(ProviderConnectionLost) as lost:
        await staged.controller.send(text())

    failed = (await staged.records())[-1].payload
    assert lost.value.delivered is None
    assert failed.error is not None
    assert (failed.kind, failed.error.retry) == ("input_send_failed", "unknown_outcome")
    assert failed.send_cursor.chunk_sequence == 1
    await staged.check()


async def test_a_stream_that_ends_is_recorded_as_ended_and_can_be_restarted(stage: Stage) -> None:
    staged = await stage.connected(ScriptedAdapter(Script([EndOfStream()])))

    received = await staged.controller.receive()

    assert received is None
    assert await staged.kinds(after=2) == ["output_receive_requested", "output_ended"]
    await staged.controller.begin_restart()
    await staged.check()


async def test_two_writers_never_write_the_same_record_id(stage: Stage) -> None:
    one = await stage.connected()
    two = await stage.connected()

    ids = {record.record_id for staged in (one, two) for record in await staged.records()}

    assert len(ids) == 4


async def test_the_state_follows_the_records(stage: Stage) -> None:
    staged = await stage.connected()
    controller = staged.controller
    statuses = [controller.state.lifecycle_status]

    await controller.send(text())
    statuses.append(controller.state.lifecycle_status)
    await controller.begin_restart()
    statuses.append(controller.state.lifecycle_status)
    await controller.complete_restart()
    statuses.append(controller.state.lifecycle_status)
    await controller.close()
    statuses.append(controller.state.lifecycle_status)

    assert statuses == ["connected", "input_sent", "restart_started", "restart_completed", "closed"]
    assert controller.state.restart_count == 1
    assert controller.state.provider_route_ref == "provider.acme"


async def test_a_call_that_raises_what_no_adapter_may_is_a_failure_all_the_same(stage: Stage) -> None:
    staged = await stage.connected()

    async def broken(session_id: str, frame: RealtimeInputFrame) -> None:
        raise RuntimeError(SECRET)

    staged.provider.send = broken  # type: ignore[method-assign]  # a broken adapter
    with pytest.raises(AgentError) as failure:
        await staged.controller.send(text())

    assert SECRET not in str(failure.value)
    assert (await staged.kinds())[-1] == "input_send_failed"
    await staged.check()
