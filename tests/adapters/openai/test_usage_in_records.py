"""What the provider's answers cost is in the journal, once, wherever in the turn the connection was lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from realtime_async import (
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    ResponseDone,
    open_session,
)
from realtime_async.adapters.openai import OpenAIRealtimeAdapter
from realtime_async.journals import MemoryJournal
from realtime_async.ports import ResponseUsage, RunId
from realtime_async.reports import UsageTold, report_of
from realtime_async.testing.journal_contract import read_all
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.openai import LoopbackOpenAI, Moment, OpenAIConnection
from tests.adapters.openai.calls import AT_ONCE
from tests.adapters.openai.openai_side import config_for
from tests.adapters.openai.test_drops import TURNS, Turn, events_of


def billed(log: Sequence[OpenAIConnection]) -> UsageTold:
    """What the provider said, less the event before which each connection but the last was lost."""
    told = UsageTold()
    for connection in log:
        for event in connection.sent if connection is log[-1] else connection.sent[:-1]:
            if event["type"] == "response.done":
                told = told.plus(_usage(event["response"].get("usage")))
    return told


def _usage(usage: Any) -> ResponseUsage:
    if usage is None:
        return ResponseUsage()
    taken, given = usage["input_token_details"], usage["output_token_details"]
    return ResponseUsage(
        taken["text_tokens"],
        taken["audio_tokens"],
        taken["cached_tokens"],
        given["text_tokens"],
        given["audio_tokens"],
    )


async def _until_answered(session: RealtimeSession) -> None:
    async for frame in session.frames():
        if isinstance(frame.event, ResponseDone) and frame.event.status == "completed":
            return


async def _call(turn: Turn, event: int) -> tuple[UsageTold, UsageTold]:
    """
    Lose the connection before *event*, and once more ask something.

    Returns:
        What the provider said that the call cost, and what the journal says.
    """
    sidecar, journal = RealtimeSessionSidecar.voice_defaults("front-desk"), MemoryJournal()
    async with LoopbackOpenAI(turn.script) as server:
        server.at(event, lambda: server.drop(DropHow.CLOSE), moment=Moment.BEFORE)
        async with (
            OpenAIRealtimeAdapter(config_for(server, **turn.fields())) as adapter,
            open_session(sidecar, adapter, journal, run_id="call", restart_policy=AT_ONCE) as session,
        ):
            for frame in turn.frames():
                await session.send(frame)
            await _until_answered(session)
            await session.send(RealtimeInputFrame.text("Thank you."))
            await session.send(RealtimeInputFrame.request_response())
            await _until_answered(session)
        (report,) = report_of(await read_all(journal, RunId("call"))).sessions
        return billed(server.log), report.usage


@pytest.mark.parametrize("name", ["spoken, with its words after the answer", "written"])
async def test_wherever_the_connection_is_lost_each_answer_is_billed_once(name: str) -> None:
    turn = TURNS[name]
    for event in range(3, 1 + await events_of(turn)):
        with anyio.fail_after(20):
            billed_by_provider, told = await _call(turn, event)

        assert (told.answers, told.tokens) == (billed_by_provider.answers, billed_by_provider.tokens), (
            f"event {event}"
        )
        assert told.answers >= 2
        # Of one that was cut off nobody said anything.
        assert told.answers_untold <= 1
        assert told.tokens.output_text_tokens
