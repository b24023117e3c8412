"""The scripted adapter: what it plays, what it remembers, and how it goes wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from realtime_async.adapters.scripted import (
    AfterSent,
    Afterwards,
    CallEnded,
    CallOutcome,
    CallStarted,
    Delay,
    Drop,
    EndOfStream,
    Fault,
    FrameFate,
    FrameTaken,
    Hang,
    HangShielded,
    NoRoom,
    NowaitScriptedAdapter,
    OnInterrupt,
    Operation,
    Played,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.errors import (
    ContractViolation,
    ProviderConnectionLost,
    ProviderFailure,
    RetryClassification,
    SessionStateError,
)
from realtime_async.ports import (
    OutputText,
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeResponseId,
    RealtimeSessionId,
    ResponseDone,
    StreamCursor,
    TakesWithoutWaiting,
)
from realtime_async.testing.adapter_contract import AdapterContract
from tests.adapters.scripted_side import ScriptedSide

SESSION = RealtimeSessionId("session.1")
OTHER_SESSION = RealtimeSessionId("session.2")
NORMAL = RealtimeCloseReason.NORMAL


async def connect(adapter: ScriptedAdapter, session_id: RealtimeSessionId = SESSION) -> RealtimeConnectionId:
    request = RealtimeConnectRequest(
        session_id=session_id, provider_route_ref="provider.test", realtime_capability_ref="realtime.voice"
    )
    return (await adapter.connect(request)).connection_id


def said(text: str, response_id: str | None = None) -> RealtimeOutputFrame:
    return RealtimeOutputFrame.of(OutputText(text), response_id=response_id, payload=text)


def asked(text: str) -> RealtimeInputFrame:
    return RealtimeInputFrame.text(text)


async def test_without_a_script_it_takes_everything_and_waits_until_it_is_closed() -> None:
    adapter = ScriptedAdapter()
    await connect(adapter)

    await adapter.send(SESSION, asked("hello"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(adapter.receive, SESSION)
        await adapter.until_called("receive")
        await adapter.close(SESSION, NORMAL)

    assert adapter.calls == ["connect", "send", "receive", "close"]
    assert [frame.payload for frame in adapter.sent] == ["hello"]
    assert await adapter.receive(SESSION) is None


async def test_it_plays_frames_given_before_and_fed_later_in_order() -> None:
    adapter = ScriptedAdapter(Script(frames=[said("a")]))
    adapter.feed(said("b"))
    await connect(adapter)
    adapter.feed(said("c"), said("d"))

    received = [await adapter.receive(SESSION) for _ in range(4)]

    assert [frame.payload for frame in received if frame] == ["a", "b", "c", "d"]


async def test_a_waiting_receive_gets_a_frame_that_is_fed() -> None:
    adapter = ScriptedAdapter()
    await connect(adapter)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(adapter.receive, SESSION)
        await adapter.until_called("receive")
        adapter.feed(said("at last"))

    last = adapter.log[-1]
    assert isinstance(last, CallEnded)
    assert last.frame is not None
    assert last.frame.payload == "at last"


async def test_the_log_numbers_calls_frames_and_ends_in_their_order() -> None:
    adapter = ScriptedAdapter()
    connection_id = await connect(adapter)
    frame = asked("hello")

    await adapter.send(SESSION, frame)

    started, taken, ended = adapter.log[2:]
    assert started == CallStarted(
        step=3, operation=Operation.SEND, session_id=SESSION, connection_id=connection_id, frame=frame
    )
    assert taken == FrameTaken(step=4, session_id=SESSION, connection_id=connection_id, frame=frame)
    assert ended == CallEnded(
        step=5,
        started=3,
        operation=Operation.SEND,
        session_id=SESSION,
        connection_id=connection_id,
        outcome=CallOutcome.RETURNED,
    )


async def test_payloads_are_in_no_repr_of_the_log() -> None:
    adapter = ScriptedAdapter(Script(frames=[said("secret answer")]))
    await connect(adapter)

    await adapter.send(SESSION, asked("secret question"))
    await adapter.receive(SESSION)

    assert "secret" not in repr(adapter.log)


@pytest.mark.parametrize(
    "fate, delivered, arrived",
    [
        (FrameFate.ARRIVED, None, True),
        (FrameFate.VANISHED, None, False),
        (FrameFate.NOT_SENT, False, False),
    ],
)
@pytest.mark.parametrize("adapter_type", [ScriptedAdapter, NowaitScriptedAdapter])
async def test_a_drop_in_a_send_decides_what_the_provider_has_and_what_the_caller_is_told(
    adapter_type: type[ScriptedAdapter], fate: FrameFate, delivered: bool | None, arrived: bool
) -> None:
    adapter = adapter_type(Script(faults={("send", 2): Drop(fate)}))
    await connect(adapter)
    await send(adapter, asked("one"))

    with pytest.raises(ProviderConnectionLost) as caught:
        await send(adapter, asked("two"))

    assert caught.value.delivered is delivered
    assert [frame.payload for frame in adapter.sent] == (["one", "two"] if arrived else ["one"])
    assert not adapter.is_connected()


async def send(adapter: ScriptedAdapter, frame: RealtimeInputFrame) -> None:
    if not isinstance(adapter, TakesWithoutWaiting) or not adapter.send_nowait(SESSION, frame):
        await adapter.send(SESSION, frame)


async def test_after_a_drop_every_call_but_close_says_that_the_connection_is_lost() -> None:
    adapter = ScriptedAdapter()
    await connect(adapter)
    adapter.drop()

    with pytest.raises(ProviderConnectionLost) as caught:
        await adapter.send(SESSION, asked("hello"))
    with pytest.raises(ProviderConnectionLost):
        await adapter.receive(SESSION)
    with pytest.raises(ProviderConnectionLost):
        await adapter.interrupt(SESSION, None)
    await adapter.close(SESSION, NORMAL)

    assert caught.value.delivered is False


async def test_a_drop_wakes_a_waiting_receive() -> None:
    adapter = ScriptedAdapter()
    await connect(adapter)

    with pytest.RaisesGroup(ProviderConnectionLost):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(adapter.receive, SESSION)
            await adapter.until_called("receive")
            adapter.drop()


async def test_what_a_connection_had_delivered_comes_before_its_loss_and_before_the_next_connection() -> None:
    adapter = ScriptedAdapter()
    connection_id = await connect(adapter)
    adapter.feed(said("a"), said("b"), AfterSent(1), said("c"))
    adapter.drop()

    first = await adapter.receive(SESSION)
    await adapter.restart(SESSION, connection_id)
    second = await adapter.receive(SESSION)
    await adapter.send(SESSION, asked("go on"))
    third = await adapter.receive(SESSION)

    assert [frame.payload for frame in (first, second, third) if frame] == ["a", "b", "c"]


async def test_a_drop_among_the_frames_is_raised_by_the_receive_that_comes_to_it() -> None:
    adapter = ScriptedAdapter(Script(frames=[said("a"), Drop(), said("b")]))
    connection_id = await connect(adapter)

    first = await adapter.receive(SESSION)
    with pytest.raises(ProviderConnectionLost):
        await adapter.receive(SESSION)
    await adapter.restart(SESSION, connection_id)
    second = await adapter.receive(SESSION)

    assert [frame.payload for frame in (first, second) if frame] == ["a", "b"]


async def test_a_drop_at_a_receive_leaves_the_frames_to_the_next_connection() -> None:
    adapter = ScriptedAdapter(Script(frames=[said("a")], faults={("receive", 1): Drop()}))
    connection_id = await connect(adapter)

    with pytest.raises(ProviderConnectionLost):
        await adapter.receive(SESSION)
    await adapter.restart(SESSION, connection_id)
    frame = await adapter.receive(SESSION)

    assert frame is not None
    assert frame.payload == "a"


async def test_a_receive_that_waits_goes_on_with_the_new_connection() -> None:
    adapter = ScriptedAdapter(suspend=anyio.lowlevel.checkpoint)
    connection_id = await connect(adapter)
    received: list[RealtimeOutputFrame | None] = []

    async def receive() -> None:
        received.append(await adapter.receive(SESSION))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await adapter.until_called("receive")
        await adapter.restart(SESSION, connection_id)
        adapter.feed(said("on the new one"))

    assert [frame.payload for frame in received if frame] == ["on the new one"]


@pytest.mark.parametrize("operation", ["connect", "send", "receive", "interrupt", "restart", "close"])
@pytest.mark.parametrize(
    "fault, error",
    [(Refuse("overloaded"), ProviderFailure), (Drop(), ProviderConnectionLost)],
)
async def test_every_operation_can_fail_at_its_second_call_and_works_at_its_third(
    operation: str, fault: Fault, error: type[ProviderFailure]
) -> None:
    adapter = ScriptedAdapter(
        Script(frames=[said("a"), said("b")], faults={(operation, 2): fault}),
    )
    await connect(adapter)
    if operation != "connect":
        await call(adapter, operation)

    with pytest.raises(error):
        await call(adapter, operation)

    await connect(adapter)
    await call(adapter, operation)


async def call(adapter: ScriptedAdapter, operation: str) -> None:
    connection_id = next(
        entry.connection_id
        for entry in reversed(adapter.log)
        if isinstance(entry, CallEnded) and entry.connection_id
    )
    match Operation(operation):
        case Operation.CONNECT:
            await connect(adapter)
        case Operation.SEND:
            await adapter.send(SESSION, asked("hello"))
        case Operation.RECEIVE:
            await adapter.receive(SESSION)
        case Operation.INTERRUPT:
            await adapter.interrupt(SESSION, RealtimeResponseId("response.1"), played_ms=20)
        case Operation.RESTART:
            await adapter.restart(SESSION, connection_id)
        case Operation.CLOSE:
            await adapter.close(SESSION, NORMAL)


async def test_a_refusal_says_its_code_and_whether_to_try_again() -> None:
    adapter = ScriptedAdapter(
        Script(faults={("send", 1): Refuse("invalid_request", RetryClassification.NOT_RETRYABLE)})
    )
    await connect(adapter)

    with pytest.raises(ProviderFailure) as caught:
        await adapter.send(SESSION, asked("hello"))

    assert caught.value.code == "invalid_request"
    assert caught.value.retry is RetryClassification.NOT_RETRYABLE
    assert adapter.is_connected()


async def test_a_call_that_hangs_ends_when_it_is_cancelled() -> None:
    adapter = ScriptedAdapter(Script(faults={("send", 1): Hang()}))
    await connect(adapter)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(adapter.send, SESSION, asked("hello"))
        await adapter.until_called("send")
        tasks.cancel_scope.cancel()

    last = adapter.log[-1]
    assert isinstance(last, CallEnded)
    assert last.outcome is CallOutcome.CANCELLED
    assert adapter.sent == []


async def test_a_call_that_hangs_afterwards_has_had_its_effect() -> None:
    adapter = ScriptedAdapter(Script(faults={("send", 1): Afterwards(Hang())}))
    await connect(adapter)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(adapter.send, SESSION, asked("hello"))
        await adapter.until_sent(1)
        tasks.cancel_scope.cancel()

    assert len(adapter.sent) == 1


async def test_a_call_that_hangs_shielded_ends_only_when_it_is_released() -> None:
    adapter = ScriptedAdapter(Script(faults={("send", 1): HangShielded()}))
    await connect(adapter)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(adapter.send, SESSION, asked("hello"))
        await adapter.until_called("send")
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
        assert isinstance(adapter.log[-1], CallStarted)
        adapter.release()

    assert isinstance(adapter.log[-1], CallEnded)


async def test_several_faults_befall_a_call_in_order() -> None:
    adapter = ScriptedAdapter(Script(faults={("send", 1): [Delay(0), Refuse(), Drop()]}))
    await connect(adapter)

    with pytest.raises(ProviderFailure) as caught:
        await adapter.send(SESSION, asked("hello"))

    assert type(caught.value) is ProviderFailure
    assert adapter.is_connected()


async def test_injected_faults_befall_the_next_calls_of_that_operation() -> None:
    adapter = ScriptedAdapter()
    await connect(adapter)
    adapter.inject("send", Refuse("overloaded"))
    adapter.inject("send", Refuse("timeout"))

    codes = []
    for _ in range(2):
        with pytest.raises(ProviderFailure) as caught:
            await adapter.send(SESSION, asked("hello"))
        codes.append(caught.value.code)
    await adapter.send(SESSION, asked("hello"))

    assert codes == ["overloaded", "timeout"]
    assert len(adapter.sent) == 1


def test_a_receive_cannot_fail_after_it_took_a_frame() -> None:
    with pytest.raises(ContractViolation):
        Script(faults={("receive", 1): Afterwards(Hang())})


async def test_the_end_of_the_stream_is_none_until_a_restart() -> None:
    adapter = ScriptedAdapter(Script(frames=[EndOfStream(), said("again")]))
    connection_id = await connect(adapter)

    ends = [await adapter.receive(SESSION), await adapter.receive(SESSION)]
    await adapter.restart(SESSION, connection_id)
    frame = await adapter.receive(SESSION)

    assert ends == [None, None]
    assert frame is not None


async def test_each_connection_has_an_id_of_its_own_and_says_what_it_kept() -> None:
    adapter = ScriptedAdapter(
        Script(kept_through=[StreamCursor.chunk(0), lambda sent: StreamCursor.chunk(len(sent))])
    )
    first = await connect(adapter)
    await adapter.send(SESSION, asked("one"))

    second = await adapter.restart(SESSION, first)
    await adapter.send(SESSION, asked("two"))
    third = await adapter.restart(SESSION, second.connection_id)
    fourth = await adapter.restart(SESSION, third.connection_id)

    assert len({first, second.connection_id, third.connection_id, fourth.connection_id}) == 4
    assert second.input_kept_through == StreamCursor.chunk(0)
    assert third.input_kept_through == fourth.input_kept_through == StreamCursor.chunk(2)
    assert [frame.payload for frame in adapter.sent_on[second.connection_id]] == ["two"]


async def test_a_connect_cancelled_behind_its_effect_drops_what_it_opened() -> None:
    adapter = ScriptedAdapter(Script(faults={("connect", 1): Afterwards(Hang())}))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connect, adapter)
        await adapter.until_called("connect")
        await anyio.lowlevel.checkpoint()
        assert adapter.is_connected()
        tasks.cancel_scope.cancel()

    assert not adapter.is_connected()
    with pytest.raises(SessionStateError):
        await adapter.send(SESSION, asked("hello"))


async def test_a_send_that_took_longer_than_its_connection_never_meets_the_next_one() -> None:
    adapter = ScriptedAdapter(Script(faults={("send", 1): HangShielded()}))
    connection_id = await connect(adapter)

    with pytest.RaisesGroup(ProviderConnectionLost):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(adapter.send, SESSION, asked("late"))
            await adapter.until_called("send")
            await adapter.restart(SESSION, connection_id)
            adapter.release()

    assert adapter.sent == []


async def test_a_restart_of_another_connection_than_the_current_one_is_refused() -> None:
    adapter = ScriptedAdapter()
    connection_id = await connect(adapter)
    await adapter.restart(SESSION, connection_id)

    with pytest.raises(SessionStateError):
        await adapter.restart(SESSION, connection_id)


async def test_an_interrupt_leaves_the_script_as_it_is_unless_told_otherwise() -> None:
    adapter = ScriptedAdapter(Script(frames=[said("a", "response.1"), said("b", "response.1")]))
    await connect(adapter)
    await adapter.receive(SESSION)

    await adapter.interrupt(SESSION, None, played_ms=20)
    frame = await adapter.receive(SESSION)

    assert frame is not None
    assert frame.payload == "b"


@pytest.mark.parametrize("response_id", [None, RealtimeResponseId("response.1")])
async def test_an_interrupt_that_stops_skips_to_the_end_of_that_answer(
    response_id: RealtimeResponseId | None,
) -> None:
    script = Script(
        frames=[
            said("a", "response.1"),
            said("b", "response.1"),
            RealtimeOutputFrame.of(ResponseDone(), response_id="response.1"),
            said("c", "response.2"),
        ],
        on_interrupt=OnInterrupt.STOP,
    )
    adapter = ScriptedAdapter(script)
    await connect(adapter)
    await adapter.receive(SESSION)

    await adapter.interrupt(SESSION, response_id)
    done, following = await adapter.receive(SESSION), await adapter.receive(SESSION)

    assert done is not None
    assert done.event == ResponseDone("cancelled")
    assert done.response_id == "response.1"
    assert following is not None
    assert following.payload == "c"


@pytest.mark.virtual_time
async def test_the_pauses_of_a_stopped_answer_are_left_out_with_it() -> None:
    word: list[Played] = [Delay(1), said("word", "response.1")]
    script = Script([*word, *word, *word, Delay(5), said("next")], on_interrupt=OnInterrupt.STOP)
    adapter = ScriptedAdapter(script)
    await connect(adapter)
    await adapter.receive(SESSION)
    began = anyio.current_time()

    await adapter.interrupt(SESSION, None)
    await adapter.receive(SESSION)
    done_after = anyio.current_time() - began
    await adapter.receive(SESSION)

    assert done_after == 0
    assert anyio.current_time() - began == pytest.approx(5)


async def test_an_interrupt_of_an_answer_that_is_over_stops_nothing() -> None:
    adapter = ScriptedAdapter(Script(on_interrupt=OnInterrupt.STOP))
    await connect(adapter)
    adapter.feed(RealtimeOutputFrame.of(ResponseDone(), response_id="response.1"), said("next"))
    await adapter.receive(SESSION)

    await adapter.interrupt(SESSION, RealtimeResponseId("response.1"))
    frame = await adapter.receive(SESSION)

    assert frame is not None
    assert frame.payload == "next"


async def test_an_adapter_offers_send_nowait_only_where_it_is_one_that_does() -> None:
    assert not isinstance(ScriptedAdapter(), TakesWithoutWaiting)
    assert isinstance(NowaitScriptedAdapter(), TakesWithoutWaiting)


@pytest.mark.parametrize("fault", [Hang(), Delay(0), NoRoom(), Afterwards(Delay(0))])
async def test_send_nowait_says_no_where_the_send_would_wait(fault: Fault) -> None:
    adapter = NowaitScriptedAdapter(Script(faults={("send", 2): fault}))
    await connect(adapter)

    taken = [adapter.send_nowait(SESSION, asked("one")), adapter.send_nowait(SESSION, asked("two"))]

    assert taken == [True, False]
    assert [frame.payload for frame in adapter.sent] == ["one"]


async def test_send_nowait_fails_after_taking_where_the_script_says_so() -> None:
    adapter = NowaitScriptedAdapter(Script(faults={("send", 1): Afterwards(Refuse())}))
    await connect(adapter)

    with pytest.raises(ProviderFailure):
        adapter.send_nowait(SESSION, asked("one"))

    assert len(adapter.sent) == 1


async def test_sessions_are_played_their_own_scripts_side_by_side() -> None:
    adapter = ScriptedAdapter(Script(frames=[said("a")]), scripts={OTHER_SESSION: Script(frames=[said("z")])})
    await connect(adapter)
    await connect(adapter, OTHER_SESSION)
    adapter.drop(SESSION)

    first, second = await adapter.receive(SESSION), await adapter.receive(OTHER_SESSION)
    await adapter.send(OTHER_SESSION, asked("still there"))

    assert first is not None
    assert second is not None
    assert (first.payload, second.payload) == ("a", "z")


async def test_with_two_sessions_it_must_be_said_which_is_meant() -> None:
    adapter = ScriptedAdapter()
    await connect(adapter)
    await connect(adapter, OTHER_SESSION)

    with pytest.raises(SessionStateError):
        adapter.drop()


async def test_a_session_that_never_connected_is_unknown() -> None:
    with pytest.raises(SessionStateError):
        await ScriptedAdapter().send(SESSION, asked("hello"))


@pytest.mark.virtual_time
async def test_a_delay_among_the_frames_counts_from_the_frame_before_it() -> None:
    adapter = ScriptedAdapter(Script(frames=[Delay(1), said("a"), Delay(2), Delay(3), said("b")]))
    await connect(adapter)
    began = anyio.current_time()

    await adapter.receive(SESSION)
    heard_first = anyio.current_time() - began
    await anyio.sleep(1)
    await adapter.receive(SESSION)
    heard_second = anyio.current_time() - began

    assert [heard_first, heard_second] == pytest.approx([1, 6])


@pytest.mark.virtual_time
async def test_a_delay_that_is_fed_counts_from_the_receive_that_meets_it() -> None:
    adapter = ScriptedAdapter()
    await connect(adapter)
    adapter.feed(Delay(2), said("a"))
    await anyio.sleep(1)
    began = anyio.current_time()

    await adapter.receive(SESSION)

    assert anyio.current_time() - began == pytest.approx(2)


async def test_a_refusal_among_the_frames_is_raised_and_the_connection_lives_on() -> None:
    adapter = ScriptedAdapter(Script([Refuse("overloaded"), said("a")]))
    await connect(adapter)

    with pytest.raises(ProviderFailure) as caught:
        await adapter.receive(SESSION)
    frame = await adapter.receive(SESSION)

    assert caught.value.code == "overloaded"
    assert frame is not None


@pytest.mark.virtual_time
async def test_a_call_can_take_longer() -> None:
    adapter = ScriptedAdapter(Script(faults={("send", 1): Delay(4)}))
    await connect(adapter)
    began = anyio.current_time()

    await adapter.send(SESSION, asked("hello"))

    assert anyio.current_time() - began == pytest.approx(4)


@pytest.mark.virtual_time
class TestScripted(AdapterContract):
    @pytest.fixture(
        autouse=True,
        params=[
            ScriptedAdapter,
            NowaitScriptedAdapter,
            partial(ScriptedAdapter, suspend=anyio.lowlevel.checkpoint),
        ],
        ids=["plain", "nowait", "suspending"],
    )
    def adapter(self, request: pytest.FixtureRequest) -> None:
        self.make: Callable[[Script], ScriptedAdapter] = request.param

    @asynccontextmanager
    async def open_adapter(self) -> AsyncIterator[ScriptedSide]:
        yield ScriptedSide(self.make(Script(on_interrupt=OnInterrupt.STOP)))
