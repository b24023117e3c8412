"""The first program that a user writes, as it stands but for the devices: it greets, hears, is spoken over, and calls."""

from __future__ import annotations

from pathlib import Path

import anyio
import orjson

from realtime_async import RealtimeInputFrame, RealtimeSessionSidecar, open_session
from realtime_async.adapters.openai import OpenAIRealtimeAdapter, OpenAIRealtimeConfig
from realtime_async.audio import SilentSpeaker, paced
from realtime_async.journals import SqliteJournal
from realtime_async.ports import OutputAudio, Restarted, SpeechStarted, ToolCall
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.hearing import TurnsByNumber, numbered_audio
from realtime_async.testing.loopback.openai import Answer, Call, LoopbackOpenAI, OpenAIScript

ASKED = Call("book_table", '{"people": 2}')
SCRIPT = OpenAIScript(
    turns=TurnsByNumber([(10, 30)]),
    answers=[Answer("Hello!", audio_ms=60_000), Answer(text=None, calls=[ASKED]), Answer("It is booked.")],
)


def told(server: LoopbackOpenAI) -> list[str]:
    """The results of tools that the last connection was given."""
    items = [
        orjson.loads(message).get("item", {})
        for message in [*server.log[-1].received]
        if "item" in str(message)
    ]
    return [str(item["output"]) for item in items if item.get("type") == "function_call_output"]


async def test_the_first_program_runs_as_it_stands(tmp_path: Path) -> None:
    booked: list[int] = []
    restarted = anyio.Event()

    async def book_table(people: int) -> str:
        """Book a table."""
        booked.append(people)
        return "booked"

    async def main(config: OpenAIRealtimeConfig) -> None:
        async with (
            OpenAIRealtimeAdapter(config) as adapter,
            SqliteJournal.open(tmp_path / "calls.db") as journal,
            open_session(
                RealtimeSessionSidecar.voice_defaults("front-desk"), adapter, journal, run_id="call-42"
            ) as session,
            SilentSpeaker() as speaker,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(session.send_audio_from, paced(map(numbered_audio, range(1, 1_000_000))))
            await session.send(RealtimeInputFrame.request_response("Greet the caller."))
            async for frame in session.frames():
                match frame.event:
                    case OutputAudio():
                        await speaker.play(frame)
                    case SpeechStarted():
                        await session.interrupt(played_ms=speaker.stop())
                    case ToolCall() as call:
                        tasks.start_soon(session.answer, call, book_table)
                    case Restarted():
                        restarted.set()

    async with LoopbackOpenAI(SCRIPT) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(
            main,
            OpenAIRealtimeConfig(
                model="gpt-realtime",
                api_key=server.key,
                base_url=server.url,
                instructions="Be brief.",
                tools=[book_table],
            ),
        )
        await server.until(lambda: bool(server.log) and bool(told(server)))
        server.drop(DropHow.RESET)
        await restarted.wait()
        tasks.cancel_scope.cancel()

    assert booked == [2]
    assert server.log[0].session["tools"][0]["parameters"]["required"] == ["people"]
    assert len(server.log) == 2
