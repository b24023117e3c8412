"""
A voice bot with Gemini Live: it hears a question in a WAV file or from a microphone, and answers aloud.

    export GEMINI_API_KEY=...
    python examples/gemini_bot.py
    python examples/gemini_bot.py --input question.wav --output answer.wav --journal calls.db
    python examples/gemini_bot.py --microphone

It needs the extra gemini, and with --microphone the extra audio; use headphones, or the bot hears itself.
The key is that of the Gemini API, from Google AI Studio; speaking costs what Google says.
Where nothing is answered to a file for half a minute, it gives up.
SIGTERM and Ctrl-C let the sentence under way be answered, for at most ten seconds, and then end the call; that
somebody speaks is known here by what Gemini has written down of it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import uuid
import wave
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from io import TextIOWrapper
from itertools import chain, repeat
from pathlib import Path
from typing import BinaryIO

import anyio
import attrs
import structlog

from realtime_async import (
    AgentError,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    RealtimeOutputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    ResponseDone,
    ResponseStarted,
    Restarted,
    SpeechStarted,
    open_session,
)
from realtime_async.audio import Microphone, SilentSpeaker, Speaker, paced
from realtime_async.journals import SqliteJournal

try:
    from realtime_async.adapters.gemini import ContextCompression, GeminiLiveAdapter, GeminiLiveConfig
except ImportError as missing:
    sys.exit(f"gemini_bot: {missing.name} is missing: pip install -e '.[gemini]'")

KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
QUESTION = Path(__file__).with_name("question.wav")
FRAME_BYTES = 640
DRAIN_S = 10.0
# How long an answer may take to begin, and to go on.
ANSWER_S = 30.0


@attrs.define
class Turn:
    """A sentence and its answer: what nobody wants to be cut off in."""

    is_open: bool = False
    _ended: anyio.Event = attrs.field(factory=anyio.Event)

    def begin(self) -> None:
        self.is_open = True

    def end(self) -> None:
        self.is_open = False
        self._ended.set()
        self._ended = anyio.Event()

    async def over(self) -> None:
        while self.is_open:
            await self._ended.wait()


@attrs.define
class Patience:
    """Ends the wait for an answer to a question in a file; nobody answers one in which nobody speaks."""

    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    _is_asked: bool = False

    def after(self, question: Iterator[bytes]) -> Iterator[bytes]:
        yield from question
        self._is_asked = True
        self.renew()

    def renew(self) -> None:
        """Somebody says something, so more may come."""
        if self._is_asked:
            self.scope.deadline = anyio.current_time() + ANSWER_S


async def run(options: argparse.Namespace, key: str) -> None:
    config = GeminiLiveConfig(
        model=options.model,
        api_key=key,
        base_url=options.base_url,
        instructions="You are a friendly assistant on the phone. Answer in one or two sentences.",
        voice=options.voice,
        # Without it, a call ends after some 15 minutes.
        compression=ContextCompression(),
    )
    sidecar = RealtimeSessionSidecar.voice_defaults("gemini-bot")
    run_id = f"gemini-bot.{uuid.uuid4().hex[:12]}"
    patience = Patience()
    async with (
        GeminiLiveAdapter(config) as adapter,
        SqliteJournal.open(options.journal) as journal,
        open_session(sidecar, adapter, journal, run_id=run_id) as session,
        sound(options, adapter, patience) as (microphone, speaker),
        anyio.create_task_group() as tasks,
    ):
        turn = Turn()
        tasks.start_soon(drain_on_signal, turn, speaker, tasks.cancel_scope)
        tasks.start_soon(session.send_audio_from, microphone)
        with patience.scope:
            await answer(session, speaker, turn, patience, hangs_up=not options.microphone)
        await speaker.finished()
        tasks.cancel_scope.cancel()
    print(f"{session.delivery}, journal {options.journal}, run {run_id}")
    if patience.scope.cancelled_caught:
        raise TimeoutError(
            f"nothing was answered for {ANSWER_S:g} s: is there somebody who speaks in {options.input}?"
        )


async def drain_on_signal(turn: Turn, speaker: Speaker | SilentSpeaker, call: anyio.CancelScope) -> None:
    """Asked to stop, stop where nobody is cut off in a sentence, if that comes soon."""
    if sys.platform == "win32":
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            print("asked to stop: this turn is the last", flush=True)
            with anyio.move_on_after(DRAIN_S):
                await turn.over()
                await speaker.finished()
            # Whoever leaves the session's block closes the session.
            call.cancel()


async def answer(
    session: RealtimeSession,
    speaker: Speaker | SilentSpeaker,
    turn: Turn,
    patience: Patience,
    *,
    hangs_up: bool,
) -> None:
    """Play and print what is said; where it *hangs_up*, until a question has its answer."""
    async for frame in session.frames():
        patience.renew()
        match frame.event:
            case OutputAudio():
                await speaker.play(frame)
            case InputTranscript(text, final=True):
                print(f"heard: {text.strip()}")
            case InputTranscript() | ResponseStarted():
                turn.begin()
            case OutputTranscript(text, final=True):
                print(f"said:  {text.strip()}")
            case SpeechStarted():
                turn.begin()
                if speaker.is_playing:
                    await session.interrupt(played_ms=speaker.stop())
            case Restarted(report):
                print(report)
            case ResponseDone("completed") if hangs_up:
                return
            case ResponseDone(status) if status != "cancelled":
                # Who has spoken over the last one is owed another.
                turn.end()


class Recording(SilentSpeaker):
    """Plays to a file, as fast as the answer comes."""

    def __init__(self, adapter: GeminiLiveAdapter, file: wave.Wave_write) -> None:
        super().__init__(adapter.output_format, speed=1000.0)
        file.setparams((1, 2, adapter.output_format.sample_rate, 0, "NONE", ""))
        self._file = file

    async def play(self, frame: RealtimeOutputFrame) -> None:
        if isinstance(frame.payload, bytes):
            self._file.writeframes(frame.payload)
        await super().play(frame)


@asynccontextmanager
async def sound(
    options: argparse.Namespace, adapter: GeminiLiveAdapter, patience: Patience
) -> AsyncIterator[tuple[AsyncIterable[bytes], Speaker | SilentSpeaker]]:
    """Open a microphone and a speaker, or a file in place of each."""
    if options.microphone:
        async with Speaker(adapter.output_format) as speaker:
            yield Microphone(adapter.input_format), speaker
        return
    pieces = pieces_of(options.input)
    # A question that cannot be read costs no answer that is there from before.
    question = chain([next(pieces)], pieces)
    with options.output.open("wb") as file, wave.open(file, "wb") as recording:
        # After the question nobody speaks any more, which is how the provider notices that it has ended.
        frames = chain(patience.after(question), repeat(bytes(FRAME_BYTES)))
        yield paced(frames, speed=options.speed), Recording(adapter, recording)


def pieces_of(path: Path) -> Iterator[bytes]:
    """
    Yield 20 ms at a time.

    Raises:
        ValueError: It isn't the audio that Gemini takes.
    """
    with path.open("rb") as file, opened(file, path) as question:
        given = question.getnchannels(), question.getsampwidth(), question.getframerate()
        if given != (1, 2, 16_000):
            raise ValueError(
                f"{path} has {given[0]} channel(s) of {8 * given[1]} bit at {given[2]} Hz: "
                "convert it to 1 channel of 16 bit at 16000 Hz"
            )
        piece = question.readframes(FRAME_BYTES // 2)
        if not piece:
            raise ValueError(f"{path} has no sound in it, so nobody would answer: give another")
        while piece:
            yield piece.ljust(FRAME_BYTES, b"\0")
            piece = question.readframes(FRAME_BYTES // 2)


def opened(file: BinaryIO, path: Path) -> wave.Wave_read:
    try:
        return wave.open(file, "rb")
    except (EOFError, wave.Error) as error:
        raise ValueError(
            f"{path} is no WAV file that can be read ({str(error) or 'it is cut off'})"
        ) from None


def above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Talk with Gemini Live.")
    parser.add_argument("--microphone", action="store_true", help="speak to it, and hear it")
    parser.add_argument(
        "--input", type=Path, default=QUESTION, metavar="FILE.wav", help="the spoken question"
    )
    parser.add_argument("--output", type=Path, default=Path("answer.wav"), metavar="FILE.wav")
    parser.add_argument("--journal", type=Path, default=Path("calls.db"), metavar="FILE.db")
    parser.add_argument("--model", default="gemini-3.8-live")
    parser.add_argument("--voice", help="such as Puck; Google chooses where it isn't given")
    parser.add_argument(
        "--speed", type=above_zero, default=1.0, help="how many times as fast as life to send the file"
    )
    parser.add_argument("--base-url", default="wss://generativelanguage.googleapis.com")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args(arguments)
    if options.output.resolve() == options.input.resolve():
        parser.error(f"--output {options.output}: that is the question, which would be overwritten")
    if options.backend == "trio" and find_spec("trio") is None:
        parser.error("--backend trio: it is missing: pip install -e '.[trio]'")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    key = next((os.environ[name] for name in KEYS if os.environ.get(name)), None)
    if key is None:
        sys.exit(
            f"gemini_bot: there is no key: set {KEYS[0]} to one from https://aistudio.google.com/apikey; "
            "examples/offline_bot.py needs none"
        )
    if isinstance(sys.stdout, TextIOWrapper):
        # What is said may have letters that it has not.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Until there is a call to end, SIGTERM ends the program as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    failure: BaseException | None = None
    try:
        anyio.run(run, options, key, backend=options.backend)
    except* KeyboardInterrupt:
        # Before there was a call to end.
        print("hung up")
    except* (AgentError, ImportError, OSError, ValueError, wave.Error) as errors:
        failure = first_of(errors)
    if failure is not None:
        sys.exit(f"gemini_bot: {failure}")


def first_of(error: BaseException) -> BaseException:
    """What a task group wraps."""
    return first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    # The session logs what happens to it; what the caller wants to see is printed above.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    main()
