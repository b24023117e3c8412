"""How the scripted adapter goes wrong, when its script says so."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

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
    Hang,
    HangShielded,
    NoRoom,
    NowaitScriptedAdapter,
    OnInterrupt,
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
from realtime_async.ports import GivesWithoutWaiting, TakesWithoutWaiting
from tests.adapters.scripted_side import (
    NORMAL,
    SESSION,
    asked,
    call,
    connect,
    said,
    send,
)


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


@pytest.mark.parametrize("offer", [TakesWithoutWaiting, GivesWithoutWaiting])
async def test_an_adapter_offers_not_to_wait_only_where_it_is_one_that_does(offer: type) -> None:
    assert not isinstance(ScriptedAdapter(), offer)
    assert isinstance(NowaitScriptedAdapter(), offer)


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


@pytest.mark.parametrize("fault", [Hang(), Delay(0), NoRoom()])
async def test_receive_nowait_gives_nothing_where_the_receive_would_wait(fault: Fault) -> None:
    adapter = NowaitScriptedAdapter(Script([said("one"), said("two")], faults={("receive", 2): fault}))
    await connect(adapter)

    given = [adapter.receive_nowait(SESSION), adapter.receive_nowait(SESSION)]

    assert [frame.payload if frame else None for frame in given] == ["one", None]
    assert adapter.calls == ["connect", "receive"]


async def test_receive_nowait_fails_where_the_script_says_so_and_loses_no_frame() -> None:
    adapter = NowaitScriptedAdapter(Script([said("one")], faults={("receive", 1): Refuse()}))
    await connect(adapter)

    with pytest.raises(ProviderFailure):
        adapter.receive_nowait(SESSION)
    frame = adapter.receive_nowait(SESSION)

    assert frame is not None
    assert frame.payload == "one"


@pytest.mark.parametrize("suspend", [None, anyio.lowlevel.checkpoint])
async def test_receive_nowait_leaves_the_end_to_receive(
    suspend: Callable[[], Awaitable[None]] | None,
) -> None:
    adapter = NowaitScriptedAdapter(Script([EndOfStream()]), suspend=suspend)
    await connect(adapter)

    given = [adapter.receive_nowait(SESSION), adapter.receive_nowait(SESSION)]
    ended = await adapter.receive(SESSION)
    given.append(adapter.receive_nowait(SESSION))

    assert given == [None, None, None]
    assert ended is None
    assert adapter.calls == ["connect", "receive"]


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


@pytest.mark.parametrize("call_number", [0, -1, True, "1"])
def test_a_fault_that_no_call_would_ever_suffer_is_refused(call_number: Any) -> None:
    with pytest.raises(ContractViolation, match=r"no send number .*: its calls are counted from 1"):
        Script(faults={("send", call_number): Drop()})


def test_what_is_no_fault_is_refused_before_an_adapter_meets_it() -> None:
    with pytest.raises(ContractViolation, match=r"a send cannot suffer a str: give a Drop, "):
        Script(faults={("send", 1): "drop"})  # type: ignore[dict-item]


def test_what_no_provider_says_is_refused_before_an_adapter_meets_it() -> None:
    adapter = ScriptedAdapter()

    with pytest.raises(ContractViolation, match=r"no place for a str among its frames"):
        Script(["a secret"])  # type: ignore[list-item]
    with pytest.raises(ContractViolation, match=r"no place for a str among its frames"):
        adapter.feed("a secret")  # type: ignore[arg-type]


def test_choices_may_be_given_as_they_are_serialised() -> None:
    script = Script(faults={("send", 1): Drop("arrived")}, on_interrupt="stop")

    assert script == Script(faults={("send", 1): Drop(FrameFate.ARRIVED)}, on_interrupt=OnInterrupt.STOP)
    assert script.on_interrupt is OnInterrupt.STOP
    with pytest.raises(ContractViolation, match="'lost': choose one of arrived, vanished, not_sent"):
        Drop("lost")


@pytest.mark.parametrize(
    "fields",
    [
        {"faults": None},
        {"faults": [("send", 1)]},
        {"faults": {"send": Drop()}},
        {"faults": {("shout", 1): Drop()}},
        {"kept_through": []},
        {"kept_through": None},
        {"kept_through": "all"},
        {"kept_through": [1]},
        {"on_interrupt": "perhaps"},
    ],
    ids=str,
)
def test_a_script_that_no_adapter_can_play_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ContractViolation):
        Script(**fields)


@pytest.mark.parametrize(
    "part, given",
    [
        (Drop, "lost"),
        (Refuse, None),
        (Delay, -1),
        (Delay, math.nan),
        (Delay, "long"),
        (AfterSent, "1"),
        (AfterSent, -1),
        (Afterwards, Afterwards(Drop())),
        (Afterwards, None),
    ],
    ids=str,
)
def test_a_part_of_a_script_that_cannot_be_is_refused(part: type[Any], given: object) -> None:
    """An adapter that met it would seem to fail, in the midst of a test."""
    with pytest.raises(ContractViolation):
        part(given)
