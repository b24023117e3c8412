"""
Wherever the connection dies in a turn, the question reaches a connection that lives, and one answer follows.

Each test drops the connection at every event that the provider sends, one after the other.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import attrs
import pytest

from realtime_async import RealtimeInputFrame
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.openai import Answer, Moment, OpenAIScript, Transcribes
from realtime_async.testing.loopback.openai import Call as FunctionCall
from tests.adapters.openai.calls import QUIET, SPOKEN, Call, calling, known_numbers, loud, texts

SILENCE = [RealtimeInputFrame.audio(QUIET)] * 30
ANSWER = Answer(text="A table for two is booked.", audio_ms=200)
QUESTION = "Please book a table."
REQUEST = RealtimeInputFrame.request_response


@attrs.frozen
class Turn:
    """What is said, and how the provider is to hear it."""

    config: dict[str, Any]
    script: OpenAIScript

    def frames(self) -> list[RealtimeInputFrame]:
        if self.config.get("is_written"):
            return [RealtimeInputFrame.text(QUESTION), REQUEST()]
        if self.config.get("turns", self) is None:
            return [*loud(), RealtimeInputFrame.end_of_turn(), REQUEST()]
        return [*loud(), *SILENCE]

    def fields(self) -> dict[str, Any]:
        return {name: value for name, value in self.config.items() if name != "is_written"}


def script(**fields: Any) -> OpenAIScript:
    return OpenAIScript(otherwise=ANSWER, transcript_otherwise=QUESTION, **fields)


TURNS = {
    "spoken, with its words before the answer": Turn({"transcription": "whisper-1"}, script()),
    "spoken, with its words after the answer": Turn(
        {"transcription": "whisper-1"}, script(transcribes=Transcribes.AFTER)
    ),
    "spoken, without words": Turn({}, script()),
    "ended by the program": Turn({"turns": None}, script(turns=None)),
    "written": Turn({"is_written": True}, script()),
    "written, answered in writing": Turn({"is_written": True, "output_modality": "text"}, script()),
}


async def converse(call: Call, turn: Turn) -> None:
    """Ask, and hear one answer."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call.say, turn.frames())
        await call.listen(lambda call: call.answers == 1)


def answers_on(connection: Any) -> int:
    return sum(event["type"] == "response.created" for event in connection.sent)


async def events_of(turn: Turn) -> int:
    """How many events the provider sends for *turn*."""
    async with calling(turn.script, **turn.fields()) as call:
        await converse(call, turn)
        return len(call.server.log[0].sent)


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
async def test_one_answer_follows_wherever_the_connection_dies(turn: Turn) -> None:
    for number in range(3, 1 + await events_of(turn)):
        # Every other event arrives before the end, and the rest is lost on the way.
        how = DropHow.RESET if number % 2 else DropHow.CLOSE
        async with calling(turn.script, **turn.fields()) as call:
            call.server.at(number, partial(call.server.drop, how), moment=Moment.BEFORE)

            await converse(call, turn)
            assert call.answers == 1
            last = await call.say_goodbye()

            assert call.answers == 2, f"event {number}"
            # The one that was cut off, the same once more, and the goodbye.
            assert sum(answers_on(connection) for connection in call.server.log) <= 3
            assert QUESTION in texts(last) or known_numbers(last) >= set(SPOKEN), f"event {number}"
            assert last.errors == [], f"event {number}"


async def test_a_tool_is_called_once_and_its_result_is_known_wherever_the_connection_dies() -> None:
    answers = [Answer(text=None, calls=[FunctionCall("book", '{"persons": 2}')])]

    async def talk(number: int) -> int:
        async with calling(OpenAIScript(answers=answers, otherwise=ANSWER)) as call:
            if number:
                call.server.at(number, lambda: call.server.drop(DropHow.RESET), moment=Moment.BEFORE)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call.say, [RealtimeInputFrame.text(QUESTION), REQUEST()])
                await call.listen(lambda call: "A table" in str(spoken(call)), call.answer_calls)
            last = await call.say_goodbye()

            assert last.errors == [], f"event {number}"
            assert QUESTION in texts(last)
            return len(call.server.log[0].sent)

    for number in range(3, 1 + await talk(0)):
        await talk(number)


def spoken(call: Call) -> list[str]:
    return [str(frame.payload) for frame in call.frames if frame.media_kind == "transcript"]
