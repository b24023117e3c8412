"""
A voice bot with OpenAI Realtime: it hears a question, books a table with a tool, and answers.

    export OPENAI_API_KEY=...
    python examples/openai_bot.py
    python examples/openai_bot.py --input question.wav --output answer.wav --journal calls.db
    python examples/openai_bot.py --microphone

Without --microphone it hears a question from a WAV file, leaves its answer in another, and hangs up; where
nothing is answered for half a minute, it gives up.
With it (extra `audio`), speak while it speaks, and it stops.
A connection that dies is replaced, and the call goes on.
SIGTERM and Ctrl-C let the sentence under way be answered, for at most ten seconds, and then end the call.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import uuid
import wave
from array import array
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from io import TextIOWrapper
from itertools import chain, repeat
from pathlib import Path
from typing import Protocol

import anyio
import attrs
import structlog

from realtime_async import (
    AgentError,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    ProviderConnectionLost,
    ProviderWarning,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    ResponseDone,
    Restarted,
    SpeechStarted,
    ToolCall,
    open_session,
)
from realtime_async.audio import Microphone, SilentSpeaker, Speaker, paced
from realtime_async.journals import SqliteJournal

try:
    from realtime_async.adapters.openai import FunctionTool, OpenAIRealtimeAdapter, OpenAIRealtimeConfig
except ImportError as missing:
    sys.exit(f"openai_bot: {missing.name} is missing: pip install -e '.[openai]'")

QUESTION = Path(__file__).with_name("question.wav")
OPENAI = "wss://api.openai.com/v1/realtime"
RATE = 24_000
FRAME_BYTES = RATE // 50 * 2
DRAIN_S = 10.0
# How long an answer may take to begin, and to go on.
ANSWER_S = 30.0

BOOK_TABLE = FunctionTool(
    "book_table",
    "Book a table at the restaurant.",
    {
        "type": "object",
        "properties": {"people": {"type": "integer", "description": "How many will come."}},
        "required": ["people"],
    },
)


class Player(Protocol):
    """What the answer is spoken to."""

    @property
    def is_playing(self) -> bool: ...
    async def play(self, frame: RealtimeOutputFrame) -> None: ...
    def stop(self) -> int: ...
    async def finished(self) -> None: ...


@attrs.define
class FilePlayer:
    """Writes what it plays, and takes as long as a speaker would, or a fraction of that."""

    file: wave.Wave_write
    speaker: SilentSpeaker

    @property
    def is_playing(self) -> bool:
        return self.speaker.is_playing

    async def play(self, frame: RealtimeOutputFrame) -> None:
        if isinstance(frame.payload, bytes):
            self.file.writeframes(frame.payload)
        await self.speaker.play(frame)

    def stop(self) -> int:
        return self.speaker.stop()

    async def finished(self) -> None:
        await self.speaker.finished()


@attrs.define
class Patience:
    """Ends the wait for an answer to a question in a file; nobody answers one in which nobody speaks."""

    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _is_asked: bool = False

    def after(self, question: Iterable[bytes]) -> Iterator[bytes]:
        yield from question
        self._is_asked = True
        self.renew()

    def renew(self) -> None:
        """Somebody says something, so more may come."""
        if self._is_asked:
            self.scope.deadline = anyio.current_time() + ANSWER_S


def configured(options: argparse.Namespace) -> OpenAIRealtimeConfig:
    key = os.environ.get("OPENAI_API_KEY")
    if not key:
        raise SystemExit(
            "openai_bot: there is no key: put yours into the environment as OPENAI_API_KEY, "
            "or try examples/offline_bot.py, which needs none"
        )
    return OpenAIRealtimeConfig(
        model=options.model,
        api_key=key,
        base_url=options.base_url,
        voice=options.voice,
        instructions="You answer the telephone of a restaurant. Be brief, and speak the caller's language.",
        transcription="gpt-4o-mini-transcribe",
        tools=[BOOK_TABLE],
    )


async def main(options: argparse.Namespace, config: OpenAIRealtimeConfig) -> None:
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
    run_id = f"openai-bot.{uuid.uuid4().hex[:12]}"
    patience = Patience()
    async with (
        OpenAIRealtimeAdapter(config) as adapter,
        SqliteJournal.open(options.journal) as journal,
        open_session(sidecar, adapter, journal, run_id=run_id) as session,
        sound(options, patience) as (microphone, player),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(drain_on_signal, session, player, tasks.cancel_scope)
        tasks.start_soon(session.send_audio_from, microphone)
        with patience.scope:
            await talk(session, player, patience, hangs_up=not options.microphone)
        await player.finished()
        tasks.cancel_scope.cancel()
    print(f"journal: {options.journal}, run {run_id}")
    print(session.delivery)
    if patience.scope.cancelled_caught:
        raise TimeoutError(
            f"nothing was answered for {ANSWER_S:g} s: is there somebody who speaks in {options.input}?"
        )


async def drain_on_signal(session: RealtimeSession, player: Player, call: anyio.CancelScope) -> None:
    """Asked to stop, stop where nobody is cut off in a sentence, if that comes soon."""
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            print("asked to stop: this turn is the last", flush=True)
            with anyio.move_on_after(DRAIN_S):
                await session.between_turns()
                await player.finished()
            # Whoever leaves the session's block closes the session.
            call.cancel()


async def talk(session: RealtimeSession, player: Player, patience: Patience, *, hangs_up: bool) -> None:
    """Answer the caller; where it *hangs_up*, until a question has its answer."""
    has_called = False
    async for frame in session.frames():
        patience.renew()
        match frame.event:
            case OutputAudio():
                await player.play(frame)
            case InputTranscript(text, final=True):
                print(f"heard: {text}")
            case OutputTranscript(text, final=True):
                print(f"said:  {text}")
            case SpeechStarted():
                await be_quiet(session, player)
            case ToolCall() as call:
                has_called = True
                await tell(session, RealtimeInputFrame.tool_result(call.call_id, booked(call)))
            case Restarted(report):
                print(report)
            case ProviderWarning(code):
                print(f"the provider warns: {code}")
            case ResponseDone() if has_called:
                # All results are sent: what comes of them is said next.
                has_called = False
                await tell(session, RealtimeInputFrame.request_response())
            case ResponseDone("completed") if hangs_up:
                return


async def tell(session: RealtimeSession, frame: RealtimeInputFrame) -> None:
    # What a lost connection leaves in doubt is said again to the next one.
    with suppress(ProviderConnectionLost):
        await session.send(frame)


async def be_quiet(session: RealtimeSession, player: Player) -> None:
    """Somebody speaks: stop talking, and tell the model how much of it was heard."""
    if player.is_playing:
        await session.interrupt(played_ms=player.stop())


def booked(call: ToolCall) -> str:
    try:
        people = int(json.loads(call.arguments)["people"])
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return "Ask the caller for how many people it is to be."
    print(f"booked a table for {people}")
    return f"A table for {people} is booked."


@asynccontextmanager
async def sound(
    options: argparse.Namespace, patience: Patience
) -> AsyncIterator[tuple[AsyncIterable[bytes], Player]]:
    """Open a microphone and a speaker, or a file in place of each."""
    if options.microphone:
        async with Speaker() as speaker:
            yield Microphone(), speaker
        return
    # A question that cannot be read costs no answer that is there from before.
    question = [*frames_of(options.input)]
    # The last silence tells the provider that the question is over.
    frames = chain(patience.after(question), repeat(bytes(FRAME_BYTES)))
    with options.output.open("wb") as file, wave.open(file, "wb") as answer:
        answer.setparams((1, 2, RATE, 0, "NONE", ""))
        yield paced(frames, speed=options.speed), FilePlayer(answer, SilentSpeaker(speed=options.speed))


def frames_of(path: Path) -> Iterator[bytes]:
    """Yield the sound of a WAV file as OpenAI takes it, 20 ms at a time."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, sample_bytes, rate, count = file.getparams()[:4]
            sound = file.readframes(count)
    except (EOFError, wave.Error) as error:
        told = str(error) or "it is cut off"
        raise wave.Error(
            f"{path} is no WAV file that can be read ({told}): save it as mono of 16 bits"
        ) from None
    if (channels, sample_bytes) != (1, 2) or not rate:
        raise wave.Error(
            f"{path} has {channels} channel(s) of {8 * sample_bytes} bits at {rate} Hz: save it as mono of 16 bits"
        )
    # A file that was cut off may end within a sample.
    samples = array("h", sound[: len(sound) // 2 * 2])
    if not samples:
        raise wave.Error(f"{path} has no sound in it, so nobody would answer: give another")
    if sys.byteorder == "big":
        samples.byteswap()
    pcm = between(samples, rate)
    for start in range(0, len(pcm), FRAME_BYTES):
        yield pcm[start : start + FRAME_BYTES].ljust(FRAME_BYTES, b"\0")


def between(samples: Sequence[int], rate: int) -> bytes:
    """*samples* at OpenAI's rate: each is a point on the line between its neighbours, which will do for speech."""
    drawn = array("h")
    for number in range(len(samples) * RATE // rate):
        at, part = divmod(number * rate, RATE)
        after = samples[min(at + 1, len(samples) - 1)]
        drawn.append(samples[at] + (after - samples[at]) * part // RATE)
    if sys.byteorder == "big":
        drawn.byteswap()
    return drawn.tobytes()


def above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Talk to a voice bot with OpenAI Realtime.")
    parser.add_argument("--microphone", action="store_true", help="speak to it; needs the extra audio")
    parser.add_argument(
        "--input", type=Path, default=QUESTION, metavar="FILE.wav", help="the spoken question"
    )
    parser.add_argument("--output", type=Path, default=Path("answer.wav"), metavar="FILE.wav")
    parser.add_argument(
        "--speed", type=above_zero, default=1.0, help="how many times as fast as life files are played"
    )
    parser.add_argument("--journal", type=Path, default=Path("calls.db"), metavar="FILE.db")
    parser.add_argument("--model", default="gpt-realtime-2")
    parser.add_argument("--voice", help="the provider's own unless given")
    parser.add_argument("--base-url", default=OPENAI, help="of a compatible server, as wss://HOST/PATH")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args(arguments)
    if options.output.resolve() == options.input.resolve():
        parser.error(f"--output {options.output}: that is the question, which would be overwritten")
    if options.backend == "trio" and find_spec("trio") is None:
        parser.error("--backend trio: it is missing: pip install -e '.[trio]'")
    return options


def run(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # What is said may have letters that it has not.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Until there is a call to end, SIGTERM ends the program as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    failure: BaseException | None = None
    try:
        anyio.run(main, options, configured(options), backend=options.backend)
    except* KeyboardInterrupt:
        # Before there was a call to end.
        print("hung up")
    except* (AgentError, ImportError, OSError, wave.Error) as errors:
        failure = first_of(errors)
    if failure is not None:
        sys.exit(f"openai_bot: {failure}")


def first_of(error: BaseException) -> BaseException:
    """What a task group wraps."""
    return first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    # The session logs what happens to it; what the caller wants to see is printed above.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    run()
