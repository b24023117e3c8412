"""Tools that the model calls: each is run once, recorded, and answered once, whatever the connection does."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any

import anyio
import pytest

from realtime_async import Deadlines, RealtimeOverflowPolicy, RealtimeSession, RestartPolicy
from realtime_async.adapters.scripted import Delay, Drop, FrameFate, Hang, Refuse, Script, ScriptedAdapter
from realtime_async.errors import ContractViolation, RestartExhausted, SessionStateError
from realtime_async.ports import (
    RealtimeInputFrame,
    RealtimeMediaKind,
    RealtimeOutputFrame,
    StreamCursor,
    ToolCall,
    ToolCallCancelled,
)
from tests.controller.begun import begin, settled
from tests.controller.staged import SECRET, plain_sidecar
from tests.test_session import Call, next_frames

pytestmark = pytest.mark.virtual_time

BOOK = ToolCall("call.1", "book_table", '{"people": 2}')
TOOL_KINDS = {"tool_call_requested", "tool_call_completed", "tool_call_failed"}


class Tables:
    """The program's tool."""

    def __init__(self, seconds: float = 0.0, raises: Exception | None = None) -> None:
        self.booked: list[int] = []
        self.given_up = 0
        self._seconds = seconds
        self._raises = raises

    async def book(self, people: int) -> dict[str, object]:
        self.booked.append(people)
        try:
            await anyio.sleep(self._seconds)
        except BaseException:
            self.given_up += 1
            raise
        if self._raises is not None:
            raise self._raises
        return {"table": SECRET}


def results(call: Call) -> list[tuple[str | None, Any]]:
    """What the provider was told."""
    return [
        (frame.call_id, json.loads(str(frame.payload)))
        for frame in call.adapter.sent
        if frame.media_kind is RealtimeMediaKind.TOOL_RESULT
    ]


async def tool_kinds(call: Call) -> list[str]:
    return [kind for kind in await call.kinds() if kind in TOOL_KINDS]


ANSWERED = [("call.1", {"table": SECRET})]


async def test_a_tool_is_called_with_what_the_model_gave_and_its_result_is_sent() -> None:
    call, tables = Call(RealtimeOutputFrame.of(BOOK)), Tables(seconds=5)

    async with call.open() as session:
        (frame,) = await next_frames(session, 1)
        assert isinstance(frame.event, ToolCall)
        await session.answer(frame.event, tables.book)
        assert anyio.current_time() < 1, "the loop goes on"
        await anyio.sleep(6)

    assert tables.booked == [2]
    assert results(call) == ANSWERED
    assert [str(frame.signal) for frame in call.adapter.sent[1:]] == ["request_response"]
    assert await tool_kinds(call) == ["tool_call_requested", "tool_call_completed"]


async def test_the_records_name_the_call_and_the_frame_that_answers_it_and_nothing_that_was_said() -> None:
    call, tables = Call(), Tables()
    told = ToolCall("call.1", "book_table", json.dumps({"people": 2}))

    async with call.open() as session:
        await session.answer(told, tables.book)
        await call.adapter.until_sent(2)

    requested, completed = [record for record in await call.records() if str(record.kind) in TOOL_KINDS]
    assert requested.content_refs == completed.content_refs == ("realtime.tool_call.call.1",)
    assert completed.effect_intent_ref == requested.effect_intent_ref
    assert completed.frame_id == call.adapter.sent[0].frame_id
    assert SECRET not in str(await call.records())


async def test_the_intent_is_in_the_journal_before_the_tool_is_called() -> None:
    call, seen = Call(), []

    async def look() -> str:
        seen.extend(await call.kinds())
        return "ok"

    async with call.open() as session:
        await session.answer(ToolCall("call.1", "look"), look)
        await call.adapter.until_sent(1)

    assert "tool_call_requested" in seen
    assert call.adapter.sent[0].payload == "ok"


@pytest.mark.parametrize("times", [2, 5])
async def test_a_call_that_comes_again_is_neither_executed_nor_answered_again(times: int) -> None:
    call, tables = Call(), Tables(seconds=1)

    async with call.open() as session:
        for _ in range(times):
            await session.answer(BOOK, tables.book)
            await anyio.sleep(0.7)
        await anyio.sleep(5)
        await session.restart()
        await session.answer(BOOK, tables.book)
        await anyio.sleep(5)

    assert tables.booked == [2]
    assert results(call) == ANSWERED
    assert await tool_kinds(call) == ["tool_call_requested", "tool_call_completed"]


async def test_the_model_goes_on_when_it_has_the_last_of_several_results() -> None:
    call, quick, slow = Call(), Tables(seconds=1), Tables(seconds=2)

    async with call.open() as session:
        await session.answer(BOOK, quick.book)
        await session.answer(ToolCall("call.2", "book_table", '{"people": 3}'), slow.book)
        await anyio.sleep(3)

    kinds = [str(frame.media_kind) for frame in call.adapter.sent]
    assert kinds == ["tool_result", "tool_result", "control"]


# -- restarts


@pytest.mark.parametrize("reason", ["drop", "restart"])
async def test_a_tool_goes_on_while_the_connection_is_replaced(reason: str) -> None:
    call, tables = Call(faults={("restart", 1): Delay(10)}), Tables(seconds=5)

    async with call.open() as session, anyio.create_task_group() as tasks:
        await session.answer(BOOK, tables.book)
        await settled()
        if reason == "drop":
            call.adapter.drop()
        else:
            tasks.start_soon(session.restart)
        await anyio.sleep(6)
        assert results(call) == []
        await anyio.sleep(6)

    assert tables.booked == [2]
    assert tables.given_up == 0
    assert results(call) == ANSWERED
    assert session.delivery.sent == 2


@pytest.mark.parametrize("fate", list(FrameFate))
async def test_a_result_whose_connection_died_under_it_is_there_once(fate: FrameFate) -> None:
    call, tables = Call(), Tables()
    # What the provider does not have, the new connection says that it does not know.
    call.adapter = ScriptedAdapter(
        Script(faults={("send", 1): Drop(fate)}, kept_through=[lambda has: StreamCursor.chunk(len(has))])
    )

    async with call.open() as session:
        await session.answer(BOOK, tables.book)
        await anyio.sleep(5)

    assert tables.booked == [2]
    assert results(call) == ANSWERED


@pytest.mark.parametrize("policy", list(RealtimeOverflowPolicy))
async def test_a_result_that_finds_the_gate_full_waits_for_room(policy: RealtimeOverflowPolicy) -> None:
    call, tables = Call(faults={("restart", 1): Delay(14)}), Tables()
    sidecar = plain_sidecar(queue_capacity=2, overflow_policy=policy)
    signal = RealtimeInputFrame.end_of_turn

    async with call.open(sidecar=sidecar, deadlines=Deadlines(gate=3)) as session:
        call.adapter.drop()
        await anyio.sleep(1)
        for _ in range(2):
            await session.send(signal())
        await session.answer(BOOK, tables.book)
        await anyio.sleep(60)

    assert results(call) == ANSWERED


# -- what goes wrong


@pytest.mark.parametrize(
    "arguments", ['{"people": ', "[2]", '{"guests": 2}', "{}", '"two"', "null", '{"people": 2, "x": 1}']
)
async def test_arguments_that_do_not_fit_reach_no_tool(arguments: str) -> None:
    call, tables = Call(), Tables()

    async with call.open() as session:
        await session.answer(ToolCall("call.1", "book_table", arguments), tables.book)
        await call.adapter.until_sent(2)

    assert tables.booked == []
    assert results(call) == [("call.1", {"error": "these arguments do not fit"})]
    assert await tool_kinds(call) == ["tool_call_requested", "tool_call_failed"]


async def a_set(people: int) -> object:
    return {people}


FAILING: dict[str, tuple[Callable[[], Callable[..., Awaitable[object]]], str, str]] = {
    "raises": (lambda: Tables(raises=ValueError(SECRET)).book, "it failed", "agent_error"),
    "raises ours": (lambda: Tables(raises=ContractViolation(SECRET)).book, "it failed", "agent_error"),
    "returns what is no JSON": (lambda: a_set, "it failed", "agent_error"),
    "hangs": (lambda: Tables(seconds=3600).book, "it took too long", "deadline_exceeded"),
}


@pytest.mark.parametrize("tool, told, kind", list(FAILING.values()), ids=list(FAILING))
async def test_a_tool_that_fails_is_answered_without_its_reason(
    tool: Callable[[], Callable[..., Awaitable[object]]], told: str, kind: str, heard: list[Any]
) -> None:
    call = Call()

    async with call.open() as session:
        await session.answer(BOOK, tool())
        await call.adapter.until_sent(2)

    assert results(call) == [("call.1", {"error": told})]
    failed = next(record for record in await call.records() if record.kind == "tool_call_failed")
    assert failed.error is not None
    assert str(failed.error.kind) == kind
    assert SECRET not in str(await call.records())
    assert "realtime_tool_call_failed" in [entry["event"] for entry in heard]
    assert SECRET not in str(heard)


async def test_the_log_says_what_a_tool_raised_and_not_why(heard: list[Any]) -> None:
    call = Call()

    async with call.open() as session:
        await session.answer(BOOK, Tables(raises=ValueError(SECRET)).book)
        await call.adapter.until_sent(2)

    (entry,) = [entry for entry in heard if entry["event"] == "tool_call_raised"]
    assert entry["raised"] == "ValueError"
    assert {"run_id", "session_id", "connection_id"} <= {*entry}


async def test_a_call_that_the_provider_takes_back_is_cancelled_and_not_answered() -> None:
    call, tables = Call(), Tables(seconds=5)

    async with call.open() as session:
        await session.answer(BOOK, tables.book)
        await settled()
        call.adapter.feed(RealtimeOutputFrame.of(ToolCallCancelled(["call.1", "call.9"])))
        await anyio.sleep(10)
        await session.answer(ToolCall("call.9", "book_table", '{"people": 9}'), tables.book)
        await anyio.sleep(10)

    assert tables.booked == [2], "the other one was taken back before it was begun"
    assert tables.given_up == 1
    assert results(call) == []
    assert await tool_kinds(call) == ["tool_call_requested", "tool_call_failed"]


async def test_by_hand_too_a_call_that_is_taken_back_is_cancelled() -> None:
    call, tables = Call(Delay(1), RealtimeOutputFrame.of(ToolCallCancelled(["call.1"]))), Tables(seconds=5)

    async with call.open(restart_policy=None) as session:
        await session.answer(BOOK, tables.book)
        await next_frames(session, 1)
        await anyio.sleep(10)

    assert tables.given_up == 1
    assert results(call) == []


@pytest.mark.parametrize("how", ["close", "leave"])
async def test_a_session_that_ends_gives_up_its_tools(how: str) -> None:
    call, tables = Call(), Tables(seconds=5)

    async with call.open() as session:
        await session.answer(BOOK, tables.book)
        await settled()
        if how == "close":
            await session.close()

    assert tables.given_up == 1
    kinds = await call.kinds()
    assert kinds[-3:-1] == ["close_requested", "output_ended"]
    assert await tool_kinds(call) == ["tool_call_requested", "tool_call_failed"]


async def test_a_tool_of_a_session_without_hope_is_given_up() -> None:
    call = Call(faults={("restart", number): Refuse() for number in range(1, 9)})
    tables = Tables(seconds=3600)

    async def listen(session: RealtimeSession) -> None:
        with pytest.raises(RestartExhausted):
            await next_frames(session, 1)
        with pytest.raises(RestartExhausted):
            await session.answer(ToolCall("call.2"), tables.book)

    async with call.open(restart_policy=RestartPolicy(attempts=2)) as session:
        await session.answer(BOOK, tables.book)
        await settled()
        call.adapter.drop()
        await listen(session)

    assert tables.given_up == 1
    assert await tool_kinds(call) == ["tool_call_requested", "tool_call_failed"]


async def test_a_closed_session_calls_no_tool() -> None:
    call, tables = Call(), Tables()

    async with call.open() as session:
        await session.close()
        with pytest.raises(SessionStateError):
            await session.answer(BOOK, tables.book)

    assert tables.booked == []


@pytest.mark.parametrize(
    "told, tool", [("call.1", Tables().book), (BOOK, "book_table")], ids=["call", "tool"]
)
async def test_what_is_no_call_or_no_tool_is_refused(told: Any, tool: Any) -> None:
    call = Call()

    async with call.open() as session:
        with pytest.raises(ContractViolation):
            await session.answer(told, tool)


async def test_a_plain_function_is_a_tool_too_and_keeps_the_loop_as_long_as_it_takes() -> None:
    call, called = Call(), []

    def book(people: int) -> dict[str, int]:
        called.append(people)
        return {"table": 7}

    async with call.open() as session:
        await session.answer(BOOK, book)
        await call.adapter.until_sent(2)

    assert called == [2]
    assert results(call) == [("call.1", {"table": 7})]
    assert await tool_kinds(call) == ["tool_call_requested", "tool_call_completed"]


class Desk:
    """A tool that is an object."""

    async def __call__(self, people: int) -> str:
        return f'"{people} of us"'


def told_of(tool: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[str]]:
    @wraps(tool)
    def told(people: int) -> Awaitable[str]:
        return tool(people)

    return told


@pytest.mark.parametrize(
    "tool",
    [Desk(), partial(Desk().__call__), told_of(Desk().__call__), lambda people: Desk()(people=people)],
    ids=["object", "partial", "wrapped", "lambda"],
)
async def test_whatever_can_be_awaited_is_a_tool(tool: Any) -> None:
    call = Call()

    async with call.open() as session:
        await session.answer(BOOK, tool)
        await anyio.sleep(1)

    assert results(call) == [("call.1", "2 of us")]


async def test_a_tool_does_not_hold_up_a_restart() -> None:
    call, tables = Call(faults={("interrupt", 1): Hang()}), Tables(seconds=20)

    async with call.open() as session, anyio.create_task_group() as tasks:
        await session.answer(BOOK, tables.book)
        await settled()
        restart = await begin(tasks, session.restart)
        await restart.over()

        assert restart.error is None
        assert restart.ended_at < 1
