"""
A telephone bot with OpenAI Realtime: it takes calls as media streams over WebSocket, 8 kHz µ-law each way.

    export OPENAI_API_KEY=...
    python examples/phone_bot.py --port 8080 --journal calls.db

Let the telephone service open its stream to this address, through whatever gives it TLS and a public name: the bot itself
listens on this machine alone.
The stream is the JSON that such services publish: `start`, `media`, `mark` and `stop` come in, `media`, `mark` and
`clear` go out.
A caller who speaks over the bot has the rest of its answer cleared from the line, and the provider learns how much
of it was heard.  A connection to the provider that dies is replaced, and the call goes on.
A telephone whose connection died and told nobody is hung up on after 20 seconds without a word.
SIGTERM and Ctrl-C: it takes no more calls, lets the turn of each that it has be heard to its end, for at most ten seconds,
and hangs up.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import os
import select
import signal
import sys
import uuid
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, NoReturn

import anyio
import attrs
import structlog
from anyio.abc import ByteStream, SocketAttribute, SocketStream, TaskStatus
from anyio.streams.stapled import MultiListener

from realtime_async import (
    AgentError,
    AudioEncoding,
    AudioFormat,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    ProviderWarning,
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    Restarted,
    SpeechStarted,
    open_session,
)
from realtime_async.journals import SqliteJournal

try:
    from websockets.exceptions import InvalidState
    from websockets.frames import Frame, Opcode
    from websockets.http11 import Request
    from websockets.protocol import State
    from websockets.server import ServerProtocol

    from realtime_async.adapters.openai import OpenAIRealtimeAdapter, OpenAIRealtimeConfig
except ImportError as missing:
    sys.exit(f"phone_bot: {missing.name} is missing: pip install -e '.[openai]'")

OPENAI = "wss://api.openai.com/v1/realtime"
ULAW = AudioFormat(AudioEncoding.G711_ULAW, 8_000)
# A message of the telephone's has 20 ms of sound; one of this size is none of its.
MAX_MESSAGE_BYTES = 64 * 1024
# More has no number that the bot gave to a mark.
SIZE_DIGITS = 9
# How long a telephone may take to begin.
HANDSHAKE_S = 10
# After so long without a word it is asked whether it is there, and has as long to answer.
ALIVE_S = 10.0
DRAIN_S = 10.0
AGAIN_S = 0.5
# What was told, and waits for whoever reads it.
UNREAD: Final = deque[str]()
UNREAD_AT_MOST = 100
# Characters, of ten bytes at most.  A pipe that takes anything takes 4 KB.
PIECE = 400

_SILENCE = logging.Logger("phone_bot", level=logging.CRITICAL + 1)


class HungUp(Exception):
    """The caller is gone."""


class Line:
    """The telephone's WebSocket, from this side: the protocol of `websockets`, over a stream of either event loop."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._protocol = ServerProtocol(max_size=MAX_MESSAGE_BYTES, logger=_SILENCE)
        self._arrived: deque[bytes] = deque()
        self._pieces = bytearray()
        self._writes = anyio.Lock()

    async def accept(self) -> None:
        """
        Shake hands.

        Raises:
            HungUp: It was no WebSocket.
        """
        while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
            await self._read()
        if self._protocol.state is not State.OPEN:
            raise HungUp

    async def receive(self) -> dict[str, Any]:
        """
        Return the telephone's next message.

        Raises:
            HungUp: There is none.
        """
        while not self._arrived:
            if self._protocol.state is not State.OPEN:
                raise HungUp
            await self._read()
        try:
            message = json.loads(self._arrived.popleft())
        # One that is nested too deep is none of the telephone's either.
        except (ValueError, RecursionError):
            return {}
        return message if isinstance(message, dict) else {}

    async def send(self, message: dict[str, Any]) -> None:
        """
        Raises:
            HungUp: There is nobody to hear it.
        """
        try:
            self._protocol.send_text(json.dumps(message).encode())
        except InvalidState:
            raise HungUp from None
        await self._flush()

    async def _read(self) -> None:
        try:
            self._protocol.receive_data(await self._sign_of_life())
        except (anyio.EndOfStream, anyio.BrokenResourceError, InvalidState, TimeoutError):
            raise HungUp from None
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                self._pieces += event.data
                if event.fin:
                    self._arrived.append(bytes(self._pieces))
                    self._pieces.clear()
        await self._flush()

    async def _sign_of_life(self) -> bytes:
        with anyio.move_on_after(ALIVE_S):
            return await self._stream.receive()
        # Whose machine or network has died hangs up on nobody; a telephone that is there answers.
        with anyio.fail_after(ALIVE_S):
            self._protocol.send_ping(b"")
            await self._flush()
            return await self._stream.receive()

    async def _flush(self) -> None:
        # A call that is cancelled in here has ended, so half a message harms nobody.
        async with self._writes:
            for data in self._protocol.data_to_send():
                if not data:
                    continue
                try:
                    await self._stream.send(data)
                except anyio.BrokenResourceError:
                    raise HungUp from None


@attrs.define
class Call:
    """One caller, and the session that answers."""

    line: Line
    stream_id: str
    session: RealtimeSession
    cleared: int = 0
    """How often the line was cleared; marks from before that say nothing of what was heard."""
    _was_heard: anyio.Event = attrs.field(factory=anyio.Event)

    async def heard(self) -> AsyncIterator[bytes]:
        """Yield what the caller says, until the call ends."""
        while True:
            message = await self.line.receive()
            match message:
                case {"event": "media", "media": {"payload": str(payload)}}:
                    try:
                        yield base64.b64decode(payload, validate=True)
                    except ValueError:
                        continue
                case {"event": "mark", "mark": {"name": str(name)}}:
                    self._played(name)
                case {"event": "stop"}:
                    return

    async def play(self, sound: bytes) -> None:
        """Have the caller hear *sound*, and be told when that has happened."""
        payload = base64.b64encode(sound).decode()
        await self._send("media", media={"payload": payload})
        await self._send("mark", mark={"name": f"{self.cleared}.{len(sound)}"})

    async def fall_silent(self) -> None:
        """Take back what the caller has not heard, and stop the answer."""
        self.cleared += 1
        await self._send("clear")
        played_ms = self.session.playback.stop()
        self._notify()
        await self.session.interrupt(played_ms=played_ms)

    async def leave(self, leaving: anyio.Event, the_call: anyio.CancelScope) -> None:
        """When it is time to go, hang up where nobody is cut off in a sentence, if that comes soon."""
        await leaving.wait()
        with anyio.move_on_after(DRAIN_S):
            await self.session.between_turns()
            while self.session.playback.waiting_ms:
                await self._was_heard.wait()
        # Whoever leaves the session's block closes the session.
        the_call.cancel()

    async def _send(self, event: str, **value: dict[str, str]) -> None:
        # That the caller is gone is learned by whoever listens, who ends the call.
        with suppress(HungUp):
            await self.line.send({"event": event, "streamSid": self.stream_id, **value})

    def _played(self, name: str) -> None:
        # A telephone that is cleared sends all marks back at once, though nothing of them was heard.
        cleared, _, size = name.partition(".")
        if cleared == str(self.cleared) and size.isdecimal() and len(size) <= SIZE_DIGITS:
            self.session.playback.play(int(size))
            self._notify()

    def _notify(self) -> None:
        self._was_heard.set()
        self._was_heard = anyio.Event()

    async def talk(self) -> None:
        """Pass on what the provider says."""
        async for frame in self.session.frames():
            match frame.event:
                case OutputAudio() if isinstance(frame.payload, bytes):
                    await self.play(frame.payload)
                case SpeechStarted() if self.session.playback.waiting_ms:
                    await self.fall_silent()
                case InputTranscript(text, final=True):
                    tell(f"heard: {text}")
                case OutputTranscript(text, final=True):
                    tell(f"said:  {text}")
                case Restarted(report):
                    tell(report)
                case ProviderWarning(code):
                    tell(f"the provider warns: {code}")


def configured(options: argparse.Namespace) -> OpenAIRealtimeConfig:
    key = os.environ.get("OPENAI_API_KEY")
    if not key:
        raise SystemExit(
            "phone_bot: there is no key: put yours into the environment as OPENAI_API_KEY, "
            "or try examples/offline_bot.py, which needs none"
        )
    return OpenAIRealtimeConfig(
        model=options.model,
        api_key=key,
        base_url=options.base_url,
        instructions="You answer the telephone of a restaurant. Be brief, and speak the caller's language.",
        transcription="gpt-4o-mini-transcribe",
        # What a telephone speaks, so that nothing has to be converted.
        input_format=ULAW,
        output_format=ULAW,
    )


async def main(
    options: argparse.Namespace,
    config: OpenAIRealtimeConfig,
    *,
    task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Take calls until it is told to go; it has started with the port on which it listens."""
    async with (
        OpenAIRealtimeAdapter(config) as adapter,
        SqliteJournal.open(options.journal) as journal,
        told_to_go() as leaving,
        # They go on when nobody listens for others any more.
        anyio.create_task_group() as calls,
        await listening(options) as listener,
    ):

        async def take(stream: ByteStream) -> None:
            async with stream:
                # One call that fails is no reason to hang up on the others.
                try:
                    await take_call(Line(stream), adapter, journal, leaving)
                except* HungUp:
                    tell("hung up")
                except* AgentError as errors:
                    tell(f"call failed: {first_of(errors)}")

        at = listener.extra(SocketAttribute.local_port)
        tell(f"listening on ws://{options.host}:{at}/")
        task_status.started(at)
        async with until(leaving):
            while True:
                try:
                    await listener.serve(take, calls)
                except* (OSError, anyio.BrokenResourceError):
                    # So many call that no more sockets may be open: some of them will hang up.
                    await anyio.sleep(AGAIN_S)


async def listening(options: argparse.Namespace) -> MultiListener[SocketStream]:
    try:
        return await anyio.create_tcp_listener(local_host=options.host, local_port=options.port)
    except OSError as error:
        raise OSError(f"it cannot listen on {options.host}:{options.port}: {error}") from error


async def take_call(
    line: Line, adapter: OpenAIRealtimeAdapter, journal: SqliteJournal, leaving: anyio.Event
) -> None:
    stream_id: str | None = None
    async with until(leaving):
        # Whoever says nothing after the handshake is no telephone either.
        with anyio.move_on_after(HANDSHAKE_S):
            await line.accept()
            stream_id = await started(line)
    if stream_id is None:
        return
    sidecar = RealtimeSessionSidecar.voice_defaults("telephone")
    run_id = f"phone-bot.{uuid.uuid4().hex[:12]}"
    async with (
        open_session(sidecar, adapter, journal, run_id=run_id) as session,
        anyio.create_task_group() as tasks,
    ):
        call = Call(line, stream_id, session)
        tasks.start_soon(call.talk)
        tasks.start_soon(call.leave, leaving, tasks.cancel_scope)
        await session.send(RealtimeInputFrame.request_response("Greet the caller."))
        with suppress(HungUp):
            await session.send_audio_from(call.heard())
        tasks.cancel_scope.cancel()
    tell(f"run {run_id}: {session.delivery}")


@asynccontextmanager
async def told_to_go() -> AsyncIterator[anyio.Event]:
    """An event that SIGTERM and Ctrl-C set."""
    leaving = anyio.Event()

    async def watch(*, task_status: TaskStatus[None]) -> None:
        if sys.platform == "win32":
            task_status.started()
            return
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for _ in signals:
                tell("asked to stop: the calls end with this turn")
                leaving.set()

    async with anyio.create_task_group() as tasks:
        await tasks.start(watch)
        yield leaving
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def until(event: anyio.Event) -> AsyncIterator[None]:
    """Do what is in this block, and break it off when *event* is set."""

    async def break_off(scope: anyio.CancelScope) -> None:
        await event.wait()
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(break_off, tasks.cancel_scope)
        yield
        tasks.cancel_scope.cancel()


async def started(line: Line) -> str:
    """Wait for the beginning of the call's sound; its stream's id."""
    while True:
        match await line.receive():
            case {"event": "start", "start": {"streamSid": str(stream_id)}}:
                return stream_id
            case {"event": "stop"}:
                raise HungUp


def port(text: str) -> int:
    if not text.isdecimal() or not int(text) < 1 << 16:
        raise argparse.ArgumentTypeError(
            f"{text} is no port: give one up to 65535, or 0 for any that is free"
        )
    return int(text)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Answer the telephone with OpenAI Realtime.")
    parser.add_argument("--host", default="127.0.0.1", help="on which to listen")
    parser.add_argument("--port", type=port, default=8080)
    parser.add_argument("--journal", type=Path, default=Path("calls.db"), metavar="FILE.db")
    parser.add_argument("--model", default="gpt-realtime-2")
    parser.add_argument("--base-url", default=OPENAI, help="of a compatible server, as wss://HOST/PATH")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args(arguments)
    if options.backend == "trio" and find_spec("trio") is None:
        parser.error("--backend trio: it is missing: pip install -e '.[trio]'")
    return options


def run(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # Words that it has no letters for end no call.
        sys.stdout.reconfigure(errors="backslashreplace")
    failure: BaseException | None = None
    try:
        anyio.run(main, options, configured(options), backend=options.backend)
    except* KeyboardInterrupt:
        # Before there was anything to end.
        tell("no more calls")
    except* (AgentError, OSError) as errors:
        failure = first_of(errors)
    if failure is not None:
        sys.exit(f"phone_bot: {failure}")


def tell(line: object) -> None:
    """Print *line*; that nobody reads it is no reason to hang up, nor to keep a caller waiting."""
    if len(UNREAD) > UNREAD_AT_MOST:
        UNREAD.clear()
        UNREAD.append("(lines are missing here: nobody read them)\n")
    text = f"{line}\n"
    UNREAD.extend(text[at : at + PIECE] for at in range(0, len(text), PIECE))
    try:
        while UNREAD and is_read():
            print(UNREAD.popleft(), end="", flush=True)
    except OSError as error:
        # A disk that is full may have room again.  A reader who is gone stays away, and at its end the interpreter
        # would complain once more.
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_read() -> bool:
    """
    Whether standard output takes a piece at once: whoever reads it may have stopped, as a pager does.

    A pipe does then; a terminal that comes to a stop amid a piece is waited for.
    """
    try:
        return bool(select.select([], [sys.stdout], [], 0)[1])
    except (OSError, TypeError, ValueError):
        # There is none, or it is nothing that a system can be asked about.
        return True


def told(_logger: object, _method: str, event: object) -> NoReturn:
    """What the session logs is printed no other way."""
    tell(event)
    raise structlog.DropEvent


def first_of(error: BaseException) -> BaseException:
    """What a task group wraps."""
    return first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    # The session logs what happens to it; what the operator wants to see is printed above.
    structlog.configure(
        processors=[*structlog.get_config()["processors"], told],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
    run()
