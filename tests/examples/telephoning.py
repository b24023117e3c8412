"""A telephone service's end of a call, and the bot that answers it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest
from anyio.abc import TaskStatus
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from examples import phone_bot
from realtime_async import RunId
from realtime_async.journals import SqliteJournal
from realtime_async.testing.loopback.hearing import numbered_audio
from realtime_async.testing.loopback.openai import Answer, LoopbackOpenAI, OpenAIScript
from tests.testing.loopback.openai_types import misfits

__all__ = ["HELD", "LOUD", "QUIET", "SCRIPT", "Telephone", "last_record", "telephone"]

SCRIPT = OpenAIScript(
    otherwise=Answer(text="A table for two is booked.", audio_ms=600),
    transcript_otherwise="Please book a table for two.",
)
HELD = OpenAIScript(otherwise=Answer(text="Good evening.", audio_ms=600, hold_after=2))
LOUD = [numbered_audio(number, frame_bytes=160) for number in range(1, 9)]
QUIET = [b"\xff" * 160] * 30


@attrs.define
class Telephone:
    """A caller's end of the stream, as the telephone service has it."""

    connection: ClientConnection
    heard: bytearray = attrs.field(factory=bytearray)
    """What the caller can hear, and nobody has cleared."""
    marks: list[str] = attrs.field(factory=list)
    clears: int = 0
    bot_ended: anyio.Event = attrs.field(factory=anyio.Event)

    async def say(self, **message: Any) -> None:
        await anyio.to_thread.run_sync(self.connection.send, json.dumps(message))

    async def play(self, *names: str) -> None:
        """Tell the bot what the caller has heard."""
        for name in names:
            await self.say(event="mark", streamSid="MZ1", mark={"name": name})

    async def ping(self) -> None:
        """Let the bot come round some times."""
        for _ in range(5):
            pong = await anyio.to_thread.run_sync(self.connection.ping)
            await anyio.to_thread.run_sync(pong.wait, 1.0)
            await anyio.wait_all_tasks_blocked()

    async def speak(self, *frames: bytes) -> None:
        for frame in frames:
            media = {"track": "inbound", "payload": base64.b64encode(frame).decode()}
            await self.say(event="media", streamSid="MZ1", media=media)

    async def dial(self) -> None:
        await self.say(event="connected", protocol="Call", version="1.0.0")
        format_ = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        await self.say(event="start", streamSid="MZ1", start={"streamSid": "MZ1", "mediaFormat": format_})

    async def listen(self) -> str:
        """Take one message in, and return what it was."""
        text = await anyio.to_thread.run_sync(partial(self.connection.recv, timeout=10))
        message = json.loads(text)
        assert message["streamSid"] == "MZ1"
        match message:
            case {"event": "media", "media": {"payload": payload}}:
                self.heard += base64.b64decode(payload)
            case {"event": "mark", "mark": {"name": name}}:
                self.marks.append(name)
            case {"event": "clear"}:
                self.clears += 1
            case _:
                pytest.fail(f"no telephone knows {message['event']!r}")
        return str(message["event"])

    async def listen_to_the_end(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                await self.listen()

    async def listen_for(self, size: int) -> None:
        """Take in so many bytes of sound, with the mark that follows."""
        while len(self.heard) < size or await self.listen() != "mark":
            if len(self.heard) < size:
                await self.listen()


@asynccontextmanager
async def telephone(script: OpenAIScript, folder: Path) -> AsyncIterator[tuple[Telephone, LoopbackOpenAI]]:
    """Run the bot, and dial it."""
    async with LoopbackOpenAI(script) as server:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("OPENAI_API_KEY", server.key)
            arguments = ["--base-url", server.url, "--port", "0", "--journal", str(folder / "calls.db")]
            options = phone_bot.parsed(arguments)
            config = phone_bot.configured(options)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                ended = anyio.Event()

                async def bot(*, task_status: TaskStatus[int]) -> None:
                    await phone_bot.main(options, config, task_status=task_status)
                    ended.set()

                port = await tasks.start(bot)
                dial = partial(connect, f"ws://127.0.0.1:{port}/", compression=None, proxy=None)
                dialled = await anyio.to_thread.run_sync(dial)
                phone = Telephone(dialled.__enter__(), bot_ended=ended)
                try:
                    await phone.dial()
                    yield phone, server
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.to_thread.run_sync(dialled.__exit__, None, None, None)
                    tasks.cancel_scope.cancel()
        for entry in server.log:
            assert misfits(entry.received[:20] + entry.received[-20:], "client") == []
            assert entry.errors == []


async def last_record(folder: Path, run_id: str) -> str:
    async with SqliteJournal.open(folder / "calls.db") as journal:
        return [record.event_kind async for record in journal.read(RunId(run_id))][-1]
