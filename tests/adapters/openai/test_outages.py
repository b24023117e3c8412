"""
An interrupt that meets no connection: wherever the connection has died in a turn, no answer follows.

Each test drops the connection before one of the events that the provider sends, and interrupts before it restarts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import anyio
import pytest

from realtime_async import (
    ProviderConnectionLost,
    RealtimeInputFrame,
    RealtimeSessionController,
    RealtimeSessionRecordKind,
    RealtimeSessionSidecar,
)
from realtime_async.adapters.openai import OpenAIRealtimeAdapter
from realtime_async.journals import MemoryJournal
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.openai import LoopbackOpenAI, Moment, OpenAIConnection
from tests.adapters.openai.calls import SPOKEN, known_numbers, texts
from tests.adapters.openai.openai_side import config_for
from tests.adapters.openai.test_drops import QUESTION, TURNS, Turn, answers_on, events_of

# An answer to it shows that the provider has nothing else to say.
GOODBYE = "That is all."


async def _say_until_lost(
    controller: RealtimeSessionController, frames: Sequence[RealtimeInputFrame]
) -> None:
    """Say *frames*, and listen until the connection is lost, unless it is while they are said."""
    records = [await controller.send(frame) for frame in frames]
    if records[-1].kind is RealtimeSessionRecordKind.BACKPRESSURE_APPLIED:
        # Who receives now would wait for a restart.
        return
    with suppress(ProviderConnectionLost):
        async for _ in controller.frames():
            pass


async def _after_an_interrupt(turn: Turn, event: int) -> tuple[OpenAIConnection, list[str]]:
    """
    Drop the connection before *event*, interrupt, and restart.

    Returns:
        The connection after that, and what the first one had said.
    """
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
    with anyio.fail_after(20):
        async with LoopbackOpenAI(turn.script) as server:
            server.at(event, lambda: server.drop(DropHow.CLOSE), moment=Moment.BEFORE)
            async with (
                OpenAIRealtimeAdapter(config_for(server, **turn.fields())) as adapter,
                RealtimeSessionController(sidecar, adapter, MemoryJournal(), run_id="call") as controller,
            ):
                await controller.connect()
                await _say_until_lost(controller, turn.frames())
                await controller.interrupt(played_ms=0)
                await controller.restart()
                await controller.send(RealtimeInputFrame.text(GOODBYE))
                await server.until(lambda: GOODBYE in texts(server.log[-1]))
            return server.log[-1], [sent["type"] for sent in server.log[0].sent]


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
async def test_an_answer_interrupted_while_the_connection_is_away_does_not_come_again(turn: Turn) -> None:
    for event in range(3, 1 + await events_of(turn)):
        connection, said = await _after_an_interrupt(turn, event)

        is_taken = "is_written" in turn.config or "input_audio_buffer.committed" in said[:-1]
        if is_taken:
            assert answers_on(connection) == 0, f"event {event}"
        assert QUESTION in texts(connection) or known_numbers(connection) >= set(SPOKEN), f"event {event}"
        assert connection.errors == [], f"event {event}"
