"""
An interrupt that meets no connection: wherever the connection has died in a turn, no answer follows.

Each test drops the connection before one of the messages that the provider sends, and interrupts before it restarts.
"""

from __future__ import annotations

import anyio
import pytest

from realtime_async import (
    ProviderConnectionLost,
    RealtimeInputFrame,
    RealtimeSessionController,
    RealtimeSessionSidecar,
    ResponseDone,
    ResponseStarted,
)
from realtime_async.adapters.gemini import GeminiLiveAdapter
from realtime_async.journals import MemoryJournal
from realtime_async.ports import RealtimeOutputFrame
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.gemini import GeminiAnswer, GeminiScript, LoopbackGemini
from realtime_async.testing.loopback.hearing import TurnsByNumber
from tests.adapters.gemini.gemini_side import KEY, config_for
from tests.adapters.gemini.test_drops import TURNS, Turn, messages_of

GOODBYE = RealtimeInputFrame.text("Goodbye.")


async def _heard_until_lost(controller: RealtimeSessionController) -> list[RealtimeOutputFrame]:
    heard: list[RealtimeOutputFrame] = []
    try:
        while (received := await controller.receive()) is not None:
            heard.append(received.frame)
    except ProviderConnectionLost:
        return heard
    raise AssertionError("the connection was not dropped")


async def _heard_through_goodbye(controller: RealtimeSessionController) -> list[RealtimeOutputFrame]:
    """Ask for one answer more, and hear all until it is complete."""
    heard = []
    await controller.send(GOODBYE)
    await controller.send(RealtimeInputFrame.request_response())
    async for frame in controller.frames():
        heard.append(frame)
        if frame.event == ResponseDone("completed", getattr(frame.event, "usage", None)):
            break
    return heard


async def _answers_after_an_interrupt(turn: Turn, message: int) -> tuple[int, int]:
    """
    Drop the connection before *message* of the provider's, and interrupt.

    Returns:
        How many answers were begun before that, and how many after the restart, the goodbye's included.
    """
    script = GeminiScript(
        answers=[GeminiAnswer(audio_ms=200)],
        otherwise=GeminiAnswer("Bye.", audio_ms=20),
        turns=TurnsByNumber([(1, 8)]),
    )
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
    with anyio.fail_after(20):
        async with LoopbackGemini(script, key=KEY) as server:
            server.at(message, lambda: server.drop(DropHow.END_OF_FILE))
            async with (
                GeminiLiveAdapter(config_for(server, **turn.config)) as adapter,
                RealtimeSessionController(sidecar, adapter, MemoryJournal(), run_id="call") as controller,
            ):
                await controller.connect()
                for frame in turn.question:
                    await controller.send(frame)
                before = await _heard_until_lost(controller)
                await controller.interrupt()
                await controller.restart()
                after = await _heard_through_goodbye(controller)
            assert [entry.refused for entry in server.log if entry.refused] == []
    return _begun(before), _begun(after)


def _begun(heard: list[RealtimeOutputFrame]) -> int:
    return sum(isinstance(frame.event, ResponseStarted) for frame in heard)


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
async def test_an_answer_interrupted_while_the_connection_is_away_does_not_come_again(turn: Turn) -> None:
    for message in range(2, 1 + await messages_of(turn)):
        before, after = await _answers_after_an_interrupt(turn, message)

        # Speech that nobody has begun to answer is said again, and the provider sees fit to answer it, or the goodbye.
        is_open = turn is TURNS["spoken, heard by the provider"] and not before
        assert after in ({1, 2} if is_open else {1}), f"message {message}"
