"""
How a bot is tested: against a provider that does what a script says, and against a call as it really went.

    pytest examples/test_my_bot.py

The bot below is the one under test; yours would be imported.
Each test runs on asyncio and on Trio, in time that jumps: a minute in which nothing happens takes none.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from realtime_async import (
    InputTranscript,
    JournalRecord,
    OutputAudio,
    OutputTranscript,
    ProviderConnectionLost,
    ProviderFailure,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeSession,
    RealtimeSessionRecord,
    RealtimeSessionSidecar,
    ResponseDone,
    ResponseStarted,
    Restarted,
    RetryClassification,
    RunId,
    RunJournal,
    SpeechStarted,
    StreamCursor,
    ToolCall,
    open_session,
)
from realtime_async.adapters.scripted import (
    AfterSent,
    Delay,
    Drop,
    FrameFate,
    Played,
    Refuse,
    Script,
    ScriptedAdapter,
)
from realtime_async.journals import MemoryJournal
from realtime_async.testing import Pace, script_of

pytest_plugins = ["realtime_async.testing.plugin"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_time_backend: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return virtual_time_backend


# The bot


@attrs.define
class Bot:
    """It greets, books tables, is quiet when it is spoken over, and notes where its connection was replaced."""

    heard: list[str] = attrs.field(factory=list)
    audio_frames: int = 0
    restarts: int = 0

    async def serve(self, session: RealtimeSession) -> None:
        await session.send(RealtimeInputFrame.request_response("Greet the caller."))
        async for frame in session.frames():
            match frame.event:
                case OutputAudio():
                    self.audio_frames += 1
                case SpeechStarted():
                    await session.interrupt(played_ms=20 * self.audio_frames)
                case ToolCall(call_id, "book_table", arguments):
                    people = json.loads(arguments)["people"]
                    await session.send(RealtimeInputFrame.tool_result(call_id, f"booked for {people}"))
                case Restarted():
                    self.restarts += 1
                case InputTranscript(text):
                    self.heard.append(text)
                    if text == "goodbye":
                        return


async def call(script: Script, journal: RunJournal, run_id: str = "call-1") -> tuple[Bot, ScriptedAdapter]:
    """Let a new bot serve one call."""
    bot, adapter = Bot(), ScriptedAdapter(script)
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
    async with open_session(sidecar, adapter, journal, run_id=run_id) as session:
        await bot.serve(session)
    return bot, adapter


# What a provider says in a script


def says(*words: str) -> list[Played]:
    """An answer: 20 ms of sound a word."""
    return [
        RealtimeOutputFrame.of(ResponseStarted(), response_id="answer.1"),
        *(RealtimeOutputFrame.audio(bytes(960), response_id="answer.1") for _ in words),
        RealtimeOutputFrame.of(OutputTranscript(" ".join(words), final=True), response_id="answer.1"),
        RealtimeOutputFrame.of(ResponseDone(), response_id="answer.1"),
    ]


def hears(text: str) -> RealtimeOutputFrame:
    return RealtimeOutputFrame.of(InputTranscript(text, final=True))


# Against a script


async def test_a_tool_is_called_and_its_result_is_sent(memory_journal: MemoryJournal) -> None:
    wants_a_table = RealtimeOutputFrame.of(ToolCall("call.1", "book_table", '{"people": 2}'))
    script = Script([AfterSent(1), wants_a_table, AfterSent(2), hears("goodbye")])

    _, adapter = await call(script, memory_journal)

    assert [frame.payload for frame in adapter.sent] == ["Greet the caller.", "booked for 2"]


async def test_it_is_quiet_when_it_is_spoken_over(memory_journal: MemoryJournal) -> None:
    begun, *answer = says("Good", "evening", "and", "welcome")
    spoken_over = RealtimeOutputFrame.of(SpeechStarted())
    script = Script([AfterSent(1), begun, *answer[:2], spoken_over, *answer[2:], hears("goodbye")])

    bot, adapter = await call(script, memory_journal)

    # What still came of the answer was kept back by the session.
    assert bot.audio_frames == 2
    assert "interrupt" in adapter.calls


async def test_what_the_provider_forgot_is_said_again_on_the_next_connection(
    memory_journal: MemoryJournal,
) -> None:
    script = Script(
        [AfterSent(2), hears("goodbye")],
        faults={("send", 1): Drop(FrameFate.ARRIVED), ("restart", 1): Delay(8)},
        kept_through=[StreamCursor.chunk(0)],
    )
    adapter = ScriptedAdapter(script)
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
    outage_s = 0.0

    async with open_session(sidecar, adapter, memory_journal, run_id="call-1") as session:
        with pytest.raises(ProviderConnectionLost):
            await session.send(RealtimeInputFrame.text("A table, please."))
        # The session takes a new connection by itself, and tells the loop.
        async for frame in session.frames():
            if isinstance(frame.event, Restarted):
                outage_s = frame.event.report.outage_s
                break

    assert [frame.payload for frame in adapter.sent] == ["A table, please."] * 2
    assert outage_s >= 8


# Against a call that was recorded


@pytest.fixture
async def recorded() -> list[JournalRecord]:
    """
    The records of a call in which the connection died in the middle of an answer.

    Yours come from the `SqliteJournal` of a call that went wrong; these are made here.
    """
    answer = says("Good", "evening")
    script = Script(
        [AfterSent(1), *answer[:2], Delay(3), Drop(), *answer, hears("a table"), Delay(40), hears("goodbye")]
    )
    journal = MemoryJournal()
    await call(script, journal, "call-42")
    return [record async for record in journal.read(RunId("call-42"))]


def fill(record: RealtimeSessionRecord, frame: RealtimeOutputFrame) -> RealtimeOutputFrame:
    """Put back what no journal holds: here, what the caller said."""
    match frame.event:
        case InputTranscript():
            return attrs.evolve(frame, event=InputTranscript("goodbye", final=True), payload="goodbye")
        case _:
            return frame


async def test_a_call_that_went_wrong_goes_well_with_this_bot(
    recorded: list[JournalRecord], memory_journal: MemoryJournal
) -> None:
    bot, adapter = await call(script_of(recorded, fill=fill, pace=Pace.AT_ONCE), memory_journal)

    assert bot.restarts == 1
    # Of the answer that broke off, what the loop had not taken yet went with its connection.
    assert bot.audio_frames in {2, 3}
    assert adapter.calls.count("restart") == 1


# And against its own errors


async def test_what_the_caller_said_is_in_no_record(memory_journal: MemoryJournal) -> None:
    await call(Script([AfterSent(1), *says("a", "secret"), hears("goodbye")]), memory_journal)

    records = [record async for record in memory_journal.read(RunId("call-1"))]
    assert records[-1].event_kind == "realtime_closed"
    assert not any("secret" in repr(record) or "Greet" in repr(record) for record in records)


async def test_a_provider_that_refuses_ends_the_call(memory_journal: MemoryJournal) -> None:
    with pytest.raises(ProviderFailure):
        await call(
            Script([AfterSent(1), Refuse("insufficient_quota", RetryClassification.NOT_RETRYABLE)]),
            memory_journal,
        )
