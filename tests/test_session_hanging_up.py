"""A tool that ends the session that it was called in."""

from __future__ import annotations

import anyio
import pytest

from realtime_async import Deadlines, RealtimeSession
from realtime_async.adapters.scripted import Delay
from realtime_async.ports import (
    ToolCall,
)
from tests.controller.begun import settled
from tests.controller.staged import SECRET
from tests.test_session import Call
from tests.test_session_tools import BOOK, Tables, results, tool_kinds

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("how", ["close", "hand_over"])
@pytest.mark.parametrize("seconds", [0.0, 1.0])
@pytest.mark.parametrize("stays", [True, False], ids=["listens", "leaves"])
async def test_a_tool_may_hang_up(how: str, seconds: float, stays: bool) -> None:
    call = Call(faults={("close", 1): Delay(seconds)})
    ended: list[str] = []

    async with call.open(deadlines=Deadlines(tool=0.5)) as session:

        async def hang_up() -> str:
            async with anyio.create_task_group() as tasks:
                # However deep in the tool.
                tasks.start_soon(_end, session, how, ended)
            return "bye"

        await session.answer(ToolCall("call.1", "hang_up"), hang_up)
        if stays:
            async for _ in session.frames():
                pass
        else:
            await settled()

    assert ended == [f"{how}d" if how == "close" else "handed_over"]
    assert call.calls == ["connect", "close"]
    assert (await call.ending())[0] == ended[0]
    assert await tool_kinds(call) == ["tool_call_requested", "tool_call_failed"]


async def _end(session: RealtimeSession, how: str, ended: list[str]) -> None:
    record = await (session.close() if how == "close" else session.hand_over())
    ended.append(str(record.kind))


async def test_a_tool_that_hangs_up_cuts_the_others() -> None:
    call, tables = Call(), Tables(seconds=60)

    async with call.open() as session:
        await session.answer(BOOK, tables.book)
        await settled()
        await session.answer(ToolCall("call.2", "hang_up"), session.close)
        async for _ in session.frames():
            pass

    assert tables.given_up == 1
    assert await call.ending() == ("closed", "normal")
    assert (await tool_kinds(call)).count("tool_call_failed") == 2


async def test_a_tool_that_goes_on_after_it_has_hung_up_is_heard_no_more() -> None:
    call = Call()

    async def hang_up() -> str:
        await session.close()
        raise ValueError(SECRET)

    async with call.open() as session:
        await session.answer(ToolCall("call.1", "hang_up"), hang_up)
        async for _ in session.frames():
            pass
        await settled()

    assert await call.ending() == ("closed", "normal")
    assert results(call) == []
