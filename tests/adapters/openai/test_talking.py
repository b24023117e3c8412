"""What goes over a connection that lives: answers one at a time, frames without waiting, and words that nobody knows."""

from __future__ import annotations

import pytest

from realtime_async.adapters.openai import OpenAIRealtimeAdapter
from realtime_async.errors import ProviderFailure
from realtime_async.ports import OutputAudio, ResponseDone, ResponseStarted
from realtime_async.testing.loopback.openai import Answer, LoopbackOpenAI, OpenAIScript
from tests.adapters.openai.openai_side import ASK, REQUEST, SESSION, config_for, open_openai_side, until
from tests.adapters.openai.talks import audio


async def test_an_answer_is_stopped_at_the_provider_too() -> None:
    async with open_openai_side() as side:
        await side.adapter.connect(REQUEST)
        await side.adapter.send(SESSION, ASK)
        await until(side.adapter, OutputAudio)

        await side.adapter.interrupt(SESSION, None, played_ms=60)
        done = await until(side.adapter, ResponseDone)
        await side.server.until(lambda: "conversation.item.truncated" in repr(side.server.log[0].sent))

        assert done == ResponseDone("cancelled")
        assert side.server.log[0].errors == []


async def test_one_answer_is_given_at_a_time() -> None:
    script = OpenAIScript(otherwise=Answer(audio_ms=100))
    async with LoopbackOpenAI(script) as server, OpenAIRealtimeAdapter(config_for(server)) as adapter:
        await adapter.connect(REQUEST)
        for _ in range(3):
            await adapter.send(SESSION, ASK)

        for _ in range(3):
            await until(adapter, ResponseStarted)
            await until(adapter, ResponseDone)

        assert server.log[0].errors == []


async def test_frames_are_taken_without_waiting_while_the_provider_does_not_read() -> None:
    async with open_openai_side() as side:
        await side.adapter.connect(REQUEST)
        side.server.stall()

        taken = [side.adapter.send_nowait(SESSION, frame) for frame in audio(500)]
        side.server.release()
        await side.server.until(lambda: side.server.log[0].heard_ms == 10_000)

        assert all(taken)


async def test_there_is_an_end_to_what_is_taken_without_waiting() -> None:
    async with open_openai_side() as side:
        await side.adapter.connect(REQUEST)
        side.server.stall()
        [frame] = audio()

        taken = 0
        while side.adapter.send_nowait(SESSION, frame):
            taken += 1
        side.server.release()
        await side.adapter.send(SESSION, frame)
        await side.server.until(lambda: side.server.log[0].heard_ms == 20 * (taken + 1))

        assert taken >= 500


async def test_a_malformed_message_is_raised_once_and_the_session_goes_on() -> None:
    async with open_openai_side() as side:
        await side.adapter.connect(REQUEST)
        side.server.say("no json, but secret")
        await side.say(SESSION, 7)

        with pytest.raises(ProviderFailure) as raised:
            await side.adapter.receive(SESSION)
        frame = await side.adapter.receive(SESSION)

        assert "secret" not in str(raised.value)
        assert frame is not None
        assert side.number_of(frame) == 7


async def test_what_nobody_knows_is_counted() -> None:
    async with open_openai_side() as side:
        await side.adapter.connect(REQUEST)
        side.server.say('{"type": "response.dance"}')
        await side.say(SESSION, 1)
        await side.adapter.receive(SESSION)

        assert side.adapter.unknown_events(SESSION) == 1
