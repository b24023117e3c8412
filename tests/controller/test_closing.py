"""Closing: whatever is under way ends, everybody wakes, and it is over in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest

from realtime_async import RealtimeCompletionGate
from realtime_async._core.restarts import RestartPolicy
from realtime_async._core.sidecar import RealtimeOverflowPolicy
from realtime_async.adapters.scripted import (
    Delay,
    Drop,
    Fault,
    FrameFate,
    Hang,
    HangShielded,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.controller import Deadlines, RealtimeSessionController
from realtime_async.errors import (
    DeadlineExceeded,
    PolicyDenied,
    ProviderConnectionLost,
    ProviderFailure,
    SessionStateError,
)
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeCloseReason
from realtime_async.testing.journals import FaultyJournal, JournalFault
from tests.controller.begun import Begun, begin, settled
from tests.controller.staged import Stage, StagedSession, audio, plain_sidecar, text

pytestmark = pytest.mark.virtual_time


def with_fault(operation: str, fault: Fault) -> ScriptedAdapter:
    return ScriptedAdapter(Script(faults={(operation, 1): fault}))


async def test_a_call_that_ends_within_half_the_deadline_is_waited_for(stage: Stage) -> None:
    staged = await stage.connected(with_fault("send", Delay(2)))
    async with anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(staged.controller.send, text()))

        record = await staged.controller.close()

    assert sending.error is None
    assert record.kind == "closed"
    assert staged.controller.delivery.sent == 1


async def test_a_call_that_takes_longer_is_cut_and_recorded(stage: Stage) -> None:
    staged = await stage.connected(with_fault("send", Delay(4)))
    async with anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(staged.controller.send, text()))
        began = anyio.current_time()

        await staged.controller.close()

        assert anyio.current_time() - began == pytest.approx(2.5)

    assert sending.error is not None
    assert staged.controller.delivery.in_doubt == 1
    kinds = await staged.kinds()
    assert kinds.index("input_send_failed") < kinds.index("closed")


Operation = Callable[[], Awaitable[object]]
CALLS = ["connect", "send", "receive", "interrupt", "restart"]


async def hanging_in(stage: Stage, tasks: anyio.abc.TaskGroup, operation: str) -> tuple[StagedSession, Begun]:
    """A session whose first *operation* hangs."""
    staged = stage.session(with_fault(operation, Hang()))
    controller = staged.controller
    if operation == "connect":
        return staged, await begin(tasks, controller.connect)
    await controller.connect()
    if operation == "restart":
        await controller.begin_restart()
        return staged, await begin(tasks, controller.complete_restart)
    operations: dict[str, Operation] = {
        "send": partial(controller.send, text()),
        "receive": controller.receive,
    }
    return staged, await begin(tasks, operations.get(operation, controller.interrupt))


@pytest.mark.parametrize("operation", CALLS)
async def test_whatever_hangs_is_over_when_the_session_is_closed(stage: Stage, operation: str) -> None:
    async with anyio.create_task_group() as tasks:
        staged, begun = await hanging_in(stage, tasks, operation)
        began = anyio.current_time()

        record = await staged.controller.close()

        assert anyio.current_time() - began <= 5
        assert record.kind == "closed"
        await settled()
        assert begun.is_over

    await staged.check()


async def test_who_waits_for_its_turn_is_woken_by_the_close(stage: Stage) -> None:
    staged = await stage.connected(with_fault("send", Hang()))
    async with anyio.create_task_group() as tasks:
        sends = [await begin(tasks, partial(staged.controller.send, text())) for _ in range(3)]

        await staged.controller.close()
        await settled()

        assert all(each.is_over for each in sends)

    assert [type(each.error) for each in sends[1:]] == [SessionStateError, SessionStateError]
    assert staged.controller.delivery.accepted == 1


async def test_a_restart_that_waits_for_the_frame_in_flight_is_woken_by_the_close(stage: Stage) -> None:
    staged = await stage.connected(with_fault("send", Hang()))
    async with anyio.create_task_group() as tasks:
        await begin(tasks, partial(staged.controller.send, text()))
        restart = await begin(tasks, staged.controller.begin_restart)

        await staged.controller.close()
        await settled()

        assert restart.is_over

    assert isinstance(restart.error, SessionStateError)
    assert "restart_requested" not in await staged.kinds()


async def test_who_waits_between_two_attempts_of_a_restart_is_woken_by_the_close(stage: Stage) -> None:
    staged = await stage.connected(with_fault("restart", Refuse()))
    async with anyio.create_task_group() as tasks:
        restart = await begin(
            tasks, partial(staged.controller.restart, policy=RestartPolicy(first_wait_s=60, max_wait_s=60))
        )

        await staged.controller.close()
        await anyio.sleep(100)

        assert restart.is_over
        assert restart.error is not None


async def test_a_close_ends_in_time_though_the_adapter_hangs_everywhere(stage: Stage) -> None:
    faults = {("send", 1): Hang(), ("interrupt", 1): Hang(), ("close", 1): Hang()}
    staged = await stage.connected(ScriptedAdapter(Script(faults=faults)))
    async with anyio.create_task_group() as tasks:
        begun = [
            await begin(tasks, partial(staged.controller.send, text())),
            await begin(tasks, staged.controller.receive),
            await begin(tasks, staged.controller.interrupt),
        ]
        began = anyio.current_time()

        with pytest.raises(DeadlineExceeded):
            await staged.controller.close()

        assert anyio.current_time() - began == pytest.approx(5, abs=0.1)
        await settled()
        assert all(each.is_over for each in begun)

    assert (await staged.kinds())[-1] == "close_failed"


@pytest.mark.parametrize("operation", ["send", "interrupt"])
async def test_a_call_that_shields_itself_is_given_up_and_named(operation: str) -> None:
    provider = with_fault(operation, HangShielded())
    staged = StagedSession(provider)
    await staged.controller.connect()
    async with anyio.create_task_group() as tasks:
        calls: dict[str, Operation] = {
            "send": partial(staged.controller.send, text()),
            "interrupt": staged.controller.interrupt,
        }
        shielded = await begin(tasks, calls[operation])
        closing = await begin(tasks, staged.controller.close)
        await anyio.sleep(60)
        kinds, was_over = await staged.kinds(), closing.is_over
        provider.release()

    assert was_over
    assert isinstance(closing.error, DeadlineExceeded)
    assert operation in str(closing.error)
    assert kinds[-1] == "close_failed"
    assert await staged.kinds() == kinds
    assert shielded.error is not None


async def test_a_close_that_shields_itself_ends_the_session_when_it_lets_go() -> None:
    provider = with_fault("close", HangShielded())
    staged = StagedSession(provider)
    await staged.controller.connect()
    async with anyio.create_task_group() as tasks:
        closing = await begin(tasks, staged.controller.close)
        await anyio.sleep(60)
        provider.release()

    assert closing.is_over
    assert (await staged.kinds())[-1] in {"closed", "close_failed"}
    await staged.check()


async def test_detaching_tells_the_adapter_and_ends_in_detached(stage: Stage) -> None:
    staged = await stage.connected()

    record = await staged.controller.close(RealtimeCloseReason.HOST_OWNED_DETACH)

    assert (record.kind, record.status) == ("closed", "detached")
    assert staged.controller.state.lifecycle_status == "detached"
    assert staged.adapter.operations == ["connect", "close"]


async def test_a_connection_lost_while_closing_ends_the_session_all_the_same(stage: Stage) -> None:
    staged = await stage.connected(with_fault("close", Drop()))

    with pytest.raises(ProviderConnectionLost):
        await staged.controller.close()

    assert (await staged.kinds())[-1] == "close_failed"
    assert staged.controller.state.lifecycle_status == "failed"


async def test_a_frame_lost_on_a_closing_session_has_failed(stage: Stage) -> None:
    staged = await stage.connected()
    staged.provider.inject("send", Delay(1), Drop(FrameFate.NOT_SENT))
    async with anyio.create_task_group() as tasks:
        sending = await begin(tasks, partial(staged.controller.send, text()))
        await staged.controller.close()
        await settled()

    assert sending.is_over
    delivery = staged.controller.delivery
    assert (delivery.accepted, delivery.queued, delivery.sent) == (1, 0, 0)


async def test_leaving_the_block_closes_the_session(stage: Stage) -> None:
    staged = stage.session()

    async with staged.controller as controller:
        await controller.connect()

    record = (await staged.records())[-1].payload
    assert (record.kind, record.close_reason) == ("closed", "normal")


def told_late_that_it_failed() -> tuple[ScriptedAdapter, FaultyJournal]:
    """A connect that is refused, and waits for the record of that."""
    journal = FaultyJournal(MemoryJournal(), fail_at=2, how=JournalFault.STALL, stall_s=1.0)
    return with_fault("connect", Refuse()), journal


async def test_a_session_can_be_closed_while_its_connect_waits_for_the_record_that_it_failed(
    stage: Stage,
) -> None:
    adapter, journal = told_late_that_it_failed()
    gate = RealtimeCompletionGate()
    staged = stage.session(adapter, journal=journal, gate=gate)
    async with anyio.create_task_group() as tasks:
        connecting = await begin(tasks, staged.controller.connect)

        await staged.controller.close()

    assert isinstance(connecting.error, ProviderFailure)
    assert await staged.kinds() == ["connect_requested", "connect_failed", "close_requested", "closed"]
    assert gate.realtime_sessions_terminal
    await staged.check()


async def test_a_session_can_be_connected_again_while_its_connect_waits_for_that_record(stage: Stage) -> None:
    adapter, journal = told_late_that_it_failed()
    staged = stage.session(adapter, journal=journal)
    async with anyio.create_task_group() as tasks:
        connecting = await begin(tasks, staged.controller.connect)

        connected = await staged.controller.connect()

    assert isinstance(connecting.error, ProviderFailure)
    assert connected.kind == "connected"
    other = RealtimeSessionController(
        plain_sidecar(), ScriptedAdapter(), staged.journal, run_id=staged.run_id
    )
    with pytest.raises(SessionStateError):
        await other.connect()
    await staged.check()


async def test_entering_the_block_does_not_connect(stage: Stage) -> None:
    staged = stage.session()

    async with staged.controller:
        assert staged.adapter.operations == []


async def raised_in_the_block(staged: StagedSession, error: BaseException) -> None:
    async with staged.controller as controller:
        await controller.connect()
        raise error


@pytest.mark.parametrize(
    "error, reason",
    [
        (ProviderFailure("refused"), "provider_failure"),
        (ProviderConnectionLost("gone"), "provider_failure"),
        (ExceptionGroup("several", [ProviderFailure("refused")]), "provider_failure"),
        (PolicyDenied("not here"), "policy_denial"),
        (KeyboardInterrupt(), "cancel"),
        (ValueError("of the program"), "normal"),
    ],
    ids=["refused", "lost", "in a group", "policy", "interrupted by hand", "of the program"],
)
async def test_leaving_the_block_with_an_error_says_so(
    stage: Stage, error: BaseException, reason: str
) -> None:
    staged = stage.session()

    with pytest.raises(type(error)):
        await raised_in_the_block(staged, error)

    assert (await staged.records())[-1].payload.close_reason == reason


async def test_leaving_the_block_cancelled_says_so(stage: Stage) -> None:
    staged = stage.session()
    with anyio.CancelScope() as scope:
        async with staged.controller as controller:
            await controller.connect()
            scope.cancel()
            await anyio.sleep_forever()

    record = (await staged.records())[-1].payload
    assert (record.kind, record.close_reason) == ("closed", "cancel")
    assert staged.adapter.operations == ["connect", "close"]


async def test_an_error_in_the_block_is_not_hidden_by_a_close_that_fails(stage: Stage) -> None:
    staged = stage.session(with_fault("close", Hang()))

    with pytest.raises(ZeroDivisionError):
        await raised_in_the_block(staged, ZeroDivisionError())


async def test_sends_that_wait_for_room_are_refused_by_a_close(stage: Stage) -> None:
    sidecar = plain_sidecar(queue_capacity=1, overflow_policy=RealtimeOverflowPolicy.GATE_DURING_RESTART)
    staged = await stage.connected(sidecar=sidecar, deadlines=Deadlines(close=1))
    await staged.controller.begin_restart()
    await staged.controller.send(audio())
    async with anyio.create_task_group() as tasks:
        waiting = [await begin(tasks, partial(staged.controller.send, audio())) for _ in range(4)]
        await staged.controller.close()
        await settled()
        assert all(each.is_over for each in waiting)

    assert {type(each.error) for each in waiting} == {SessionStateError}
    assert staged.controller.delivery.dropped == 1
