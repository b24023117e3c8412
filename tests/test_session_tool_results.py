"""The result of a tool that is in doubt, or cannot be sent: the model is told, and goes on, once."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from realtime_async import Deadlines
from realtime_async.adapters.scripted import Delay, Drop, FrameFate, Hang, Refuse, Script, ScriptedAdapter
from realtime_async.errors import ProviderConnectionLost
from realtime_async.ports import (
    RealtimeOutputFrame,
    StreamCursor,
    ToolCall,
    ToolCallCancelled,
)
from tests.controller.begun import settled
from tests.controller.staged import audio, plain_sidecar
from tests.test_session import Call
from tests.test_session_tools import ANSWERED, BOOK, Tables, results, tool_kinds

pytestmark = pytest.mark.virtual_time


def asked(call: Call) -> list[str]:
    """The media of what the provider was told, in order."""
    return [str(frame.signal or frame.media_kind) for frame in call.adapter.sent]


@pytest.mark.parametrize("tail_s", [0.0, 15.0])
@pytest.mark.parametrize("fate", list(FrameFate))
@pytest.mark.parametrize("number", [1, 2], ids=["result", "request"])
async def test_a_model_whose_connection_died_under_its_answer_is_asked_to_go_on(
    number: int, fate: FrameFate, tail_s: float
) -> None:
    call, tables = Call(), Tables()
    call.adapter = ScriptedAdapter(
        Script(faults={("send", number): Drop(fate)}, kept_through=[lambda has: StreamCursor.chunk(len(has))])
    )

    async with call.open(sidecar=plain_sidecar(replay_tail_s=tail_s)) as session:
        await session.answer(BOOK, tables.book)
        await anyio.sleep(5)

    assert results(call) == ANSWERED
    assert asked(call) == ["tool_result", "request_response"]


async def test_what_the_tail_would_say_twice_is_not_said_again_by_hand() -> None:
    """The connection that is told of the result by the tail dies under that, too."""
    call, tables = Call(), Tables()
    drop = Drop(FrameFate.VANISHED)
    call.adapter = ScriptedAdapter(
        Script(
            faults={("send", 1): drop, ("send", 2): drop},
            kept_through=[lambda has: StreamCursor.chunk(len(has))],
        )
    )

    async with call.open() as session:
        await session.answer(BOOK, tables.book)
        await anyio.sleep(15)

    assert results(call) == ANSWERED
    assert asked(call) == ["tool_result", "request_response"]


async def test_the_model_is_asked_once_though_one_of_two_results_was_in_doubt() -> None:
    call, quick, slow = Call(faults={("send", 1): Drop(FrameFate.VANISHED)}), Tables(), Tables(seconds=0.01)
    call.adapter = ScriptedAdapter(
        Script(
            faults={("send", 1): Drop(FrameFate.VANISHED), ("restart", 1): Delay(1)},
            kept_through=[StreamCursor.chunk(0)],
        )
    )

    async with call.open() as session:
        await session.answer(BOOK, quick.book)
        await session.answer(ToolCall("call.2", "book_table", '{"people": 3}'), slow.book)
        await anyio.sleep(5)

    assert asked(call) == ["tool_result", "tool_result", "request_response"]


@pytest.mark.parametrize("fault", [Refuse(), Hang()], ids=["refused", "out of time"])
async def test_a_model_is_told_that_a_result_cannot_be_sent(fault: Any, heard: list[Any]) -> None:
    call, tables = Call(faults={("send", 1): fault}), Tables()

    async with call.open(deadlines=Deadlines(send=1)) as session:
        await session.answer(BOOK, tables.book)
        await anyio.sleep(3)
        await session.send(audio())

    assert results(call) == [("call.1", {"error": "there is a result, but it cannot be sent"})]
    assert asked(call) == ["tool_result", "request_response", "audio"]
    assert await tool_kinds(call) == ["tool_call_requested", "tool_call_completed"]
    assert [said["event"] for said in heard].count("tool_result_not_sent") == 1


async def test_a_model_is_told_that_a_result_is_too_large() -> None:
    call = Call()

    async def recite() -> str:
        return "a" * 2048

    async with call.open(sidecar=plain_sidecar(max_frame_bytes=1024)) as session:
        await session.answer(ToolCall("call.1", "recite"), recite)
        await anyio.sleep(1)

    assert results(call) == [("call.1", {"error": "there is a result, but it cannot be sent"})]
    assert asked(call) == ["tool_result", "request_response"]


async def test_a_provider_that_refuses_every_result_ends_nothing(heard: list[Any]) -> None:
    call, tables = Call(faults={("send", number): Refuse() for number in (1, 2)}), Tables()

    async with call.open() as session:
        await session.answer(BOOK, tables.book)
        await anyio.sleep(1)
        await session.send(audio())

    assert asked(call) == ["audio"]
    assert [said["event"] for said in heard].count("tool_result_not_sent") == 2


async def test_a_call_whose_id_no_result_can_bear_has_failed() -> None:
    """The function was called, and the journal must not say that nobody knows how that ended."""
    call = Call()

    async with call.open() as session:
        await session.answer(ToolCall("\ud800", "book_table", '{"people": 2}'), Tables().book)
        await settled()

    assert results(call) == []
    assert await tool_kinds(call) == ["tool_call_requested", "tool_call_failed"]


async def test_a_model_that_takes_the_last_of_two_calls_back_goes_on_with_the_result_of_the_first() -> None:
    call, quick, slow = Call(), Tables(), Tables(seconds=5)

    async with call.open() as session:
        await session.answer(BOOK, quick.book)
        await session.answer(ToolCall("call.2", "book_table", '{"people": 3}'), slow.book)
        await anyio.sleep(1)
        assert asked(call) == ["tool_result"], "the second is waited for"
        call.adapter.feed(RealtimeOutputFrame.of(ToolCallCancelled(["call.2"])))
        await anyio.sleep(1)

    assert slow.given_up == 1
    assert asked(call) == ["tool_result", "request_response"]


async def test_a_model_that_cannot_be_given_the_last_of_two_results_goes_on_with_the_first() -> None:
    call, quick, slow = (
        Call(faults={("send", 2): Refuse(), ("send", 3): Refuse()}),
        Tables(),
        Tables(seconds=5),
    )

    async with call.open() as session:
        await session.answer(BOOK, quick.book)
        await session.answer(ToolCall("call.2", "book_table", '{"people": 3}'), slow.book)
        await anyio.sleep(10)

    assert asked(call) == ["tool_result", "request_response"]


# -- results that waited in the gate, whose `send` has returned long before


def away(*, fault: Any, **script: Any) -> Call:
    """The connection is lost while the tool is at work, and the first frame that the next one is given meets *fault*."""
    call = Call()
    faults = {("restart", 1): Delay(3), ("send", 1): fault}
    call.adapter = ScriptedAdapter(Script([Delay(0.5), Drop()], faults=faults, **script))
    return call


@pytest.mark.parametrize("fault", [Refuse(), Hang()], ids=["refused", "out of time"])
async def test_a_model_is_told_that_a_result_that_waited_cannot_be_sent(fault: Any, heard: list[Any]) -> None:
    call = away(fault=fault)

    async with call.open(deadlines=Deadlines(send=2)) as session:
        await session.answer(BOOK, Tables(seconds=1).book)
        await anyio.sleep(20)

    assert results(call) == [("call.1", {"error": "there is a result, but it cannot be sent"})]
    assert asked(call) == ["tool_result", "request_response"]
    assert "tool_result_not_sent" in {entry["event"] for entry in heard}


@pytest.mark.parametrize("tail_s", [0.0, 15.0])
@pytest.mark.parametrize("fate", list(FrameFate))
async def test_a_result_that_waited_is_there_once_though_its_connection_died_under_it(
    fate: FrameFate, tail_s: float
) -> None:
    call = away(fault=Drop(fate), kept_through=[lambda has: StreamCursor.chunk(len(has))])

    async with call.open(sidecar=plain_sidecar(replay_tail_s=tail_s)) as session:
        await session.answer(BOOK, Tables(seconds=1).book)
        await anyio.sleep(20)

    assert results(call) == ANSWERED
    assert asked(call) == ["tool_result", "request_response"]


async def test_a_model_is_told_that_a_result_has_waited_too_long() -> None:
    call = away(fault=Delay(0))

    async with call.open(sidecar=plain_sidecar(stale_after_s=1.0)) as session:
        await session.answer(BOOK, Tables(seconds=1).book)
        await anyio.sleep(20)

    assert results(call) == [("call.1", {"error": "there is a result, but it cannot be sent"})]
    assert asked(call) == ["tool_result", "request_response"]


async def test_a_model_hears_of_a_result_whose_drain_was_cancelled_under_it() -> None:
    call = away(fault=Hang())

    async with call.open(restart_policy=None) as session:
        await session.answer(BOOK, Tables(seconds=1).book)
        with pytest.raises(ProviderConnectionLost):
            await anext(session.frames())
        await anyio.sleep(1)
        with anyio.move_on_after(4):
            await session.restart()
        await anyio.sleep(20)

    assert results(call) == [("call.1", {"error": "there is a result, but it cannot be sent"})]
    assert asked(call) == ["tool_result", "request_response"]


async def test_a_session_that_ends_waits_for_no_result_in_its_gate() -> None:
    call = away(fault=Delay(0))

    async with call.open() as session:
        await session.answer(BOOK, Tables(seconds=1).book)
        await anyio.sleep(2)
        await session.close()
        with anyio.fail_after(1):
            await session.between_turns()

    assert results(call) == []
    assert session.delivery.dropped == 1
