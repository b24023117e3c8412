"""An adapter that gives or raises what no adapter should: that is its failure, and the session keeps its promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from realtime_async import MediaSpan
from realtime_async.adapters.scripted import NowaitScriptedAdapter, Script, ScriptedAdapter
from realtime_async.controller import RealtimeReceived
from realtime_async.errors import (
    AgentError,
    AgentErrorKind,
    JournalConflict,
    JournalFailure,
    ProviderFailure,
)
from realtime_async.ports import (
    GoAway,
    InputCommitted,
    RealtimeConnectionId,
    RealtimeConnectResponse,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeSessionId,
    RealtimeSessionRecordKind,
    ResponseDone,
    StreamCursor,
    ToolCall,
)
from tests.controller.begun import begin
from tests.controller.staged import SECRET, Stage, StagedSession, audio, plain_sidecar, text
from tests.controller.whole_call import WholeCall, answering, sidecar

pytestmark = pytest.mark.virtual_time

ODD_POSITIONS: list[Any] = [0, "1", True, b"x", StreamCursor("a"), StreamCursor(-1), StreamCursor(1.5)]  # type: ignore[arg-type]  # odd
OPERATIONS = ["connect", "send", "receive", "interrupt", "restart", "close"]


class Keeping(ScriptedAdapter):
    """Says of a new connection, as often as told, that it keeps what is no position."""

    def __init__(self, position: Any, *calls: str) -> None:
        super().__init__()
        self._position = position
        self._calls = list(calls)
        self._last = RealtimeConnectionId("none")

    async def connect(self, request: Any) -> RealtimeConnectResponse:
        return self._odd("connect", await super().connect(request))

    async def restart(self, session_id: Any, connection_id: Any) -> RealtimeConnectResponse:
        # It knows of the connection that it has told in vain.
        return self._odd("restart", await super().restart(session_id, self._last))

    def _odd(self, call: str, response: RealtimeConnectResponse) -> RealtimeConnectResponse:
        self._last = response.connection_id
        if call not in self._calls:
            return response
        self._calls.remove(call)
        return RealtimeConnectResponse(response.connection_id, input_kept_through=self._position)


@pytest.mark.parametrize("position", ODD_POSITIONS, ids=repr)
async def test_a_connect_that_keeps_what_is_no_position_has_failed_and_may_be_tried_again(
    stage: Stage, position: Any
) -> None:
    staged = stage.session(Keeping(position, "connect"))

    with pytest.raises(ProviderFailure, match="returned from connect that input is kept through"):
        await staged.controller.connect()
    assert await staged.kinds() == ["connect_requested", "connect_failed"]
    await staged.controller.connect()

    assert (await staged.controller.send(text())).kind is RealtimeSessionRecordKind.INPUT_SENT


@pytest.mark.parametrize("position", ODD_POSITIONS, ids=repr)
async def test_a_restart_that_keeps_what_is_no_position_has_failed_and_may_be_tried_again(
    stage: Stage, position: Any
) -> None:
    staged = await stage.connected(Keeping(position, "restart"))
    await staged.controller.send(text())
    await staged.controller.begin_restart()

    failed = await staged.controller.complete_restart()
    again = await staged.controller.complete_restart()

    assert [str(record.kind) for record in failed] == ["restart_failed"]
    assert failed[0].error is not None
    assert failed[0].error.kind is AgentErrorKind.PROVIDER_FAILURE
    assert [str(record.kind) for record in again] == ["restart_started", "restart_completed"]


def keeps_a_store(kind: type[ScriptedAdapter], operation: str, error: JournalFailure) -> ScriptedAdapter:
    """An adapter with a journal of its own, which fails at the first call of *operation*."""
    adapter = answering(kind)
    failing = [operation]

    def failing_first(name: str) -> None:
        method = getattr(adapter, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            if operation in failing:
                failing.remove(operation)
                raise error
            return await method(*arguments, **options)

        def call_now(*arguments: Any, **options: Any) -> Any:
            if operation in failing:
                failing.remove(operation)
                raise error
            return method(*arguments, **options)

        setattr(adapter, name, call_now if name.endswith("_nowait") else call)

    failing_first(operation)
    if kind is NowaitScriptedAdapter and operation in ("send", "receive"):
        failing_first(f"{operation}_nowait")
    return adapter


@pytest.mark.parametrize(
    "error", [JournalFailure("its own"), JournalConflict("its own")], ids=["failure", "conflict"]
)
@pytest.mark.parametrize(
    "kind, span",
    [
        pytest.param(ScriptedAdapter, None, id="alone"),
        pytest.param(NowaitScriptedAdapter, MediaSpan(2, 60.0), id="spans, nowait"),
    ],
)
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_an_adapter_whose_own_journal_fails_is_an_adapter_that_fails(
    operation: str, kind: type[ScriptedAdapter], span: MediaSpan | None, error: JournalFailure
) -> None:
    staged = StagedSession(keeps_a_store(kind, operation, error), sidecar=sidecar(span))
    call = WholeCall(staged)

    await call.take(staged.check_fold)

    await staged.check()
    assert [raised for raised in call.errors if isinstance(raised, JournalFailure)] == []
    assert call.receiver_ended
    assert (await staged.kinds())[-1] in {"closed", "close_failed"}
    told = [record.payload.error for record in await staged.records() if record.payload.error is not None]
    assert AgentErrorKind.PROVIDER_FAILURE in [error.kind for error in told]
    assert {error.kind for error in told}.isdisjoint(
        {AgentErrorKind.JOURNAL_FAILURE, AgentErrorKind.JOURNAL_CONFLICT}
    )


async def test_a_restart_that_the_adapter_s_own_journal_stops_is_returned_as_failed(stage: Stage) -> None:
    staged = await stage.connected(keeps_a_store(ScriptedAdapter, "restart", JournalFailure("its own")))
    await staged.controller.begin_restart()

    records = await staged.controller.complete_restart()

    assert [str(record.kind) for record in records] == ["restart_failed"]


async def test_a_close_that_the_adapter_s_own_journal_stops_has_failed_at_the_provider(stage: Stage) -> None:
    staged = await stage.connected(keeps_a_store(ScriptedAdapter, "close", JournalFailure("its own")))

    with pytest.raises(ProviderFailure, match="raised JournalFailure in close"):
        await staged.controller.close()
    again = await staged.controller.close()

    assert again.kind is RealtimeSessionRecordKind.CLOSE_FAILED
    assert (await staged.kinds())[-1] == "close_failed"


@pytest.mark.parametrize("kind", [ScriptedAdapter, NowaitScriptedAdapter])
@pytest.mark.parametrize(
    "event, told",
    [
        (InputCommitted(math.inf), "InputCommitted whose audio_end_ms is inf"),  # type: ignore[arg-type]  # odd
        (InputCommitted(SECRET), "InputCommitted whose audio_end_ms is of type str"),  # type: ignore[arg-type]  # odd
        (GoAway(math.nan), "GoAway whose time_left_s is nan"),
        (ToolCall(SECRET, None), "ToolCall whose name is None"),  # type: ignore[arg-type]  # odd
    ],
    ids=["infinite", "said", "not a number", "nameless"],
)
async def test_an_event_that_cannot_be_true_is_the_adapter_s_failure_and_settles_nothing(
    stage: Stage, kind: type[ScriptedAdapter], event: Any, told: str
) -> None:
    staged = await stage.connected(kind(Script(kept_through=[StreamCursor.chunk(0)])))
    await staged.controller.send(audio())
    staged.provider.feed(RealtimeOutputFrame.of(event))
    staged.provider.feed(RealtimeOutputFrame.of(ResponseDone()))

    with pytest.raises(ProviderFailure, match=told) as raised:
        await staged.controller.receive()
    await staged.controller.receive()
    await staged.controller.restart()

    assert SECRET not in str(raised.value)
    assert (await staged.kinds()).count("output_receive_failed") == 1
    assert staged.controller.delivery.replayed == 1


class Stopped(NowaitScriptedAdapter):
    """Ctrl-C comes right when a frame has been taken."""

    is_due = False

    def send_nowait(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> bool:
        super().send_nowait(session_id, frame)
        if self.is_due:
            self.is_due = False
            raise KeyboardInterrupt
        return True


@pytest.mark.parametrize("span", [None, MediaSpan(3, 60.0)], ids=["alone", "spans"])
@pytest.mark.parametrize("frame", [audio, text])
async def test_a_frame_that_was_being_taken_when_the_program_was_stopped_is_in_doubt(
    stage: Stage, frame: Callable[[], RealtimeInputFrame], span: MediaSpan | None
) -> None:
    provider = Stopped()
    staged = await stage.connected(provider, sidecar=plain_sidecar(span=span))
    await staged.controller.send(audio())
    provider.is_due = True

    with pytest.raises(KeyboardInterrupt):
        await staged.controller.send(frame())
    await staged.controller.send(audio())

    delivery = staged.controller.delivery
    assert (delivery.sent, delivery.in_doubt, delivery.queued) == (2, 1, 0)
    await staged.check()
    await staged.controller.close()
    assert (await staged.kinds())[-1] == "closed"


def with_tasks(operation: str) -> ScriptedAdapter:
    """An adapter whose *operation* never ends, in a task that fails when it is cancelled."""
    adapter = ScriptedAdapter()

    async def fail_at_the_end() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError(SECRET)

    async def call(*_: Any, **__: Any) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail_at_the_end)
            await anyio.sleep_forever()

    setattr(adapter, operation, call)
    return adapter


async def taken(staged: StagedSession, operation: str) -> object:
    """Connect, and do what calls *operation*."""
    controller = staged.controller
    await controller.connect()
    match operation:
        case "send":
            await controller.send(text())
        case "receive":
            await controller.receive()
        case "interrupt":
            await controller.interrupt()
        case "restart":
            await controller.begin_restart()
            return (await controller.complete_restart())[-1].error
        case _:
            await controller.close()
    return None


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each != "receive"])
async def test_what_an_adapter_s_tasks_raise_when_they_are_out_of_time_is_for_nobody(operation: str) -> None:
    staged = StagedSession(with_tasks(operation))

    raised: object = None
    try:
        raised = await taken(staged, operation)
    except AgentError as error:
        raised = error

    # A task group of anyio on asyncio raises the failure instead of the cancellation.
    kinds = {AgentErrorKind.DEADLINE_EXCEEDED, AgentErrorKind.PROVIDER_FAILURE}
    assert getattr(raised, "kind", None) in kinds
    assert SECRET not in str(raised)
    with suppress(AgentError):
        await staged.controller.close()
    await staged.check()


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_what_an_adapter_s_tasks_raise_when_the_call_is_cancelled_is_for_nobody(operation: str) -> None:
    staged = StagedSession(with_tasks(operation))

    with anyio.move_on_after(1), suppress(AgentError):
        await taken(staged, operation)

    with suppress(AgentError):
        await staged.controller.close()
    await staged.check()


async def test_a_receive_whose_tasks_fail_when_it_is_cut_goes_on_with_the_next_connection(
    stage: Stage,
) -> None:
    provider = with_tasks("receive")
    staged = await stage.connected(provider)
    async with anyio.create_task_group() as tasks:
        receive = await begin(tasks, staged.controller.receive)
        await staged.controller.begin_restart()
        del provider.receive
        provider.feed(RealtimeOutputFrame.of(ResponseDone()))
        await staged.controller.complete_restart()

    assert isinstance(receive.result, RealtimeReceived)
