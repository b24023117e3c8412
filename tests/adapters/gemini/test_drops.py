"""
Wherever the connection dies in a turn, the question reaches a connection that lives.

Each test drops the connection before every message that the provider sends, one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import attrs
import pytest

from realtime_async import (
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    ResponseDone,
    Restarted,
    RestartPolicy,
    RestartReport,
    open_session,
)
from realtime_async.adapters.gemini import GeminiLiveAdapter, TextInput, TurnTaking
from realtime_async.journals import MemoryJournal
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.gemini import GeminiAnswer, GeminiScript, LoopbackGemini
from realtime_async.testing.loopback.hearing import TurnsByNumber
from tests.adapters.gemini.gemini_side import KEY, config_for
from tests.adapters.gemini.official import check_client
from tests.adapters.gemini.talking import speech

AT_ONCE = RestartPolicy(first_wait_s=0.01, max_wait_s=0.01)
QUESTION = range(1, 9)
SECOND = range(9, 13)
GOODBYE = 99
Frame = RealtimeInputFrame


@attrs.define
class Call:
    server: LoopbackGemini
    session: RealtimeSession
    reports: list[RestartReport] = attrs.field(factory=list)
    answers: int = 0

    async def listen(self, answers: int) -> None:
        """Hear what is said, through any number of connections, until so many answers are complete."""
        async for frame in self.session.frames():
            match frame.event:
                case Restarted(report):
                    self.reports.append(report)
                case ResponseDone("completed"):
                    self.answers += 1
            if self.answers >= answers:
                return

    async def say(self, frames: list[RealtimeInputFrame]) -> None:
        for frame in frames:
            await self.session.send(frame)

    async def say_goodbye(self) -> None:
        """Say one thing more, and wait until the provider knows it: then it knows what went before, too."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.listen, 1000)
            await self.say([Frame.text(f"frame {GOODBYE}"), Frame.request_response()])
            await self.server.until(lambda: GOODBYE in self.server.conversations[-1].known)
            tasks.cancel_scope.cancel()

    @property
    def replayed(self) -> set[int]:
        """Cursors of what was said again, which are the numbers of the frames."""
        return {
            number
            for report in self.reports
            for cursors in report.replayed
            for number in range(cursors.first, cursors.last + 1)
        }

    @property
    def heard(self) -> Counter[int]:
        return Counter(number for conversation in self.server.conversations for number in conversation.heard)


@asynccontextmanager
async def calling(**config: Any) -> AsyncIterator[Call]:
    script = GeminiScript(otherwise=GeminiAnswer(audio_ms=200), turns=TurnsByNumber([(1, 8), (9, 12)]))
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
    async with LoopbackGemini(script, key=KEY) as server:
        async with (
            GeminiLiveAdapter(config_for(server, **config)) as adapter,
            open_session(sidecar, adapter, MemoryJournal(), run_id="call", restart_policy=AT_ONCE) as session,
        ):
            with anyio.fail_after(20):
                yield Call(server, session)
        for entry in server.log:
            assert entry.refused is None
            for message in entry.received:
                check_client(message)


@attrs.frozen
class Turn:
    """How a question is asked."""

    config: dict[str, Any]
    question: list[RealtimeInputFrame]
    numbers: frozenset[int]


TURNS = {
    "spoken, heard by the provider": Turn({}, speech(*QUESTION), frozenset(QUESTION)),
    "spoken, ended by the program": Turn(
        {"turn_taking": TurnTaking.MANUAL}, [*speech(*QUESTION), Frame.end_of_turn()], frozenset(QUESTION)
    ),
    "written": Turn({}, [Frame.text("frame 1")], frozenset({1})),
    "written as content": Turn(
        {"model": "gemini-2.5-flash-native-audio", "text_input": TextInput.CONTENT},
        [Frame.text("frame 1"), Frame.request_response()],
        frozenset({1}),
    ),
}


async def messages_of(turn: Turn) -> int:
    """How many messages the provider sends for *turn*, when nothing goes wrong."""
    async with calling(**turn.config) as call:
        await call.say(turn.question)
        await call.listen(1)
        await call.server.until(lambda: "sessionResumptionUpdate" in call.server.log[0].sent[-1])
        return len(call.server.log[0].sent)


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
async def test_the_question_is_there_wherever_the_connection_dies(turn: Turn) -> None:
    for number in range(2, 2 + await messages_of(turn)):
        # Every other message arrives before the end, and the rest is lost on the way.
        how = DropHow.RESET if number % 2 else DropHow.END_OF_FILE
        async with calling(**turn.config) as call:
            call.server.at(number, lambda: call.server.drop(how))  # noqa: B023 - called in this round

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call.say, turn.question)
                await call.listen(1)
            await call.say_goodbye()

            assert turn.numbers <= set(call.server.conversations[-1].known), f"message {number}"
            twice = {heard for heard, times in call.heard.items() if times > 1}
            assert twice - {GOODBYE} <= call.replayed, f"message {number}"


async def test_of_two_questions_the_one_that_a_handle_holds_is_not_said_again() -> None:
    manual = {"turn_taking": TurnTaking.MANUAL}
    first = [*speech(*QUESTION), Frame.end_of_turn()]
    second = [*speech(*SECOND), Frame.end_of_turn()]
    for later in range(1, 7):
        async with calling(**manual) as call:
            await call.say(first)
            await call.listen(1)
            await call.server.until(lambda: "sessionResumptionUpdate" in call.server.log[0].sent[-1])
            before = len(call.server.log[0].sent)
            call.server.at(before + later, lambda: call.server.drop(DropHow.END_OF_FILE))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call.say, second)
                await call.listen(2)
            await call.say_goodbye()

            (conversation,) = call.server.conversations
            assert {*QUESTION, *SECOND} <= set(conversation.known)
            assert [call.heard[number] for number in QUESTION] == [1] * len(QUESTION), f"message {later}"


async def test_a_provider_that_goes_away_is_left_for_a_new_connection_of_the_same_conversation() -> None:
    async with calling() as call:
        await call.say([Frame.text("frame 1")])
        await call.listen(1)
        await call.server.until(lambda: "sessionResumptionUpdate" in call.server.log[0].sent[-1])
        call.server.go_away(1.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.listen, 2)
            await call.server.until(lambda: call.server.connections == 2)
            await call.say([Frame.text("frame 2")])

        (conversation,) = call.server.conversations
        assert conversation.known == [1, 2]
        assert [report.reason for report in call.reports] == ["go_away"]
        assert conversation.heard == [1, 2]
