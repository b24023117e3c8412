"""A call without a network: a question is spoken, heard, answered, and written down."""

from __future__ import annotations

import logging
import sys
import uuid
import wave
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
)
from itertools import chain, repeat
from pathlib import Path

import anyio
import attrs
import structlog

from realtime_async import (
    ContractViolation,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    ResponseDone,
    ResponseStarted,
    Restarted,
    SpeechStarted,
    open_session,
)
from realtime_async.audio import Microphone, SilentSpeaker, Speaker, paced
from realtime_async.cli._asking import Exit, masked
from realtime_async.cli._printing import as_json, line
from realtime_async.ports import AudioFormat, RunJournal

__all__ = ["Call", "Demo", "demo"]

FRAME_S = 0.02
# At 16 kHz, which the recogniser takes.
FRAME_BYTES = 640
FASTER_THAN_LIFE = 10.0
# Longer than the adapter waits before it takes a sentence for finished.
SILENCE_S = 0.8
SENTENCES_REMEMBERED = 1000
# Somebody waits at a terminal.
PATIENCE_S = 3.0


@attrs.frozen(kw_only=True)
class Demo:
    """What is asked, and where the answer goes."""

    question: str
    """Spoken by the machine, where neither a file nor the microphone is told."""
    input: Path | None = None
    microphone: bool = False
    speaker: bool = False
    output: Path | None = None
    restart_at_s: float | None = None

    @property
    def speed(self) -> float:
        """A file takes the place of the microphone faster than life, unless somebody listens."""
        return 1.0 if self.microphone or self.speaker else FASTER_THAN_LIFE


@attrs.define
class Call:
    """One call, and what came of it."""

    sound: AsyncGenerator[bytes, None]
    """What the caller says; the microphone's has no end."""
    speaker: Speaker | SilentSpeaker
    answer: wave.Wave_write | None
    restart_at_s: float | None
    is_shown: bool
    heard: deque[str] = attrs.field(factory=lambda: deque(maxlen=SENTENCES_REMEMBERED))
    said: deque[str] = attrs.field(factory=lambda: deque(maxlen=SENTENCES_REMEMBERED))
    restarts: int = 0
    _restart_is_due: anyio.Event = attrs.field(factory=anyio.Event)

    async def run(self, session: RealtimeSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._talk, session)
            tasks.start_soon(self._restart, session)
            await self._listen(session)
            await self.speaker.finished()
            tasks.cancel_scope.cancel()

    async def _talk(self, session: RealtimeSession) -> None:
        """Let the bot hear the caller, and say goodbye where there is no more to hear."""
        await session.send_audio_from(self._microphone())
        await session.send(RealtimeInputFrame.request_response("goodbye"))

    async def _microphone(self) -> AsyncGenerator[bytes, None]:
        spoken_s = 0.0
        async with aclosing(self.sound) as sound:
            async for piece in sound:
                yield piece
                spoken_s += FRAME_S
                if self.restart_at_s is not None and spoken_s >= self.restart_at_s:
                    self._restart_is_due.set()

    async def _restart(self, session: RealtimeSession) -> None:
        """Replace the connection while the question is spoken."""
        await self._restart_is_due.wait()
        await session.restart()

    async def _listen(self, session: RealtimeSession) -> None:
        """Take down what is said, until the bot has said goodbye."""
        is_asked = answers_question = False
        async for frame in session.frames():
            match frame.event:
                case SpeechStarted():
                    # Somebody speaks over it.
                    if self.speaker.is_playing:
                        await session.interrupt(played_ms=self.speaker.stop())
                case InputTranscript(text, final=True):
                    self.heard.append(text)
                    self._show("heard", text)
                    is_asked = bool(text) and "goodbye" not in text
                case ResponseStarted():
                    answers_question, is_asked = is_asked, False
                case OutputTranscript(text, final=False):
                    self.said.append(text.strip())
                    self._show("said", text.strip())
                case OutputAudio() if isinstance(frame.payload, bytes):
                    if self.answer is not None:
                        self.answer.writeframesraw(frame.payload)
                    await self.speaker.play(frame)
                case Restarted():
                    self.restarts += 1
                case ResponseDone("completed"):
                    if not answers_question:
                        return

    def _show(self, what: str, text: str) -> None:
        if self.is_shown:
            line(f"{what:8} {text}")


async def demo(url: str | None, options: Demo, *, json: bool) -> Exit:
    if options.microphone and options.input is not None:
        raise ContractViolation("the demo hears one of them: give --input or --microphone")
    if options.input and options.output and options.input.resolve() == options.output.resolve():
        raise ContractViolation(
            f"--output {options.output}: that is the question, which would be overwritten"
        )
    run_id = f"demo.{uuid.uuid4().hex[:12]}"
    sidecar = RealtimeSessionSidecar.voice_defaults("demo")
    opening = _journal_at(url)
    # What speaks and hears is an extra.
    from realtime_async.adapters.local import LocalSpeechAdapter  # noqa: PLC0415

    adapter = LocalSpeechAdapter()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_logging_on_stderr())
        sound = _sound(options, adapter.input_format, stack)
        answer = stack.enter_context(_opened_answer(options.output, adapter.output_format.sample_rate))
        speaker = await stack.enter_async_context(_opened_speaker(options, adapter.output_format))
        await stack.enter_async_context(adapter)
        journal = await stack.enter_async_context(opening)
        call = Call(sound, speaker, answer, options.restart_at_s, is_shown=not json)
        async with open_session(sidecar, adapter, journal, run_id=run_id) as session:
            await call.run(session)
    delivery = session.delivery
    where = masked(url or "")
    if json:
        as_json({
            "run_id": run_id,
            "heard": list(call.heard),
            "said": list(call.said),
            "restarts": call.restarts,
            "sent": delivery.sent,
            "journal": where,
        })  # fmt: skip
        return Exit.FINE
    line(f"frames   {delivery.sent} sent, {delivery.replayed} of them twice, {call.restarts} restarts")
    line(f"journal  realtime-async report {run_id} --journal {where}")
    return Exit.FINE


def _journal_at(url: str | None) -> AbstractAsyncContextManager[RunJournal]:
    """
    Say how the journal is opened to be written.

    Raises:
        ContractViolation: The URL names none.
    """
    scheme, _, path = (url or "").partition(":")
    if scheme in {"postgresql", "postgres"} and url:
        from realtime_async.journals import PostgresJournal  # noqa: PLC0415 - its driver is an extra

        return PostgresJournal.open(url, patience_s=PATIENCE_S)
    if scheme != "sqlite" or not path:
        raise ContractViolation(
            "the demo writes a journal: give --journal sqlite:FILE, or postgresql://USER@HOST:PORT/DATABASE, migrated"
        )
    from realtime_async.journals import SqliteJournal  # noqa: PLC0415

    return SqliteJournal.open(path)


def _sound(options: Demo, input_format: AudioFormat, stack: AsyncExitStack) -> AsyncGenerator[bytes, None]:
    """
    Say what is heard.

    Raises:
        ContractViolation: It is no WAV file that can be heard, or it ends before the connection is to be replaced.
        OSError: The file cannot be read.
    """
    if options.microphone:
        return aiter(Microphone(input_format))
    from realtime_async.adapters.local import Voice  # noqa: PLC0415
    from realtime_async.adapters.local.wav import WavInput  # noqa: PLC0415

    if options.input is not None:
        file = stack.enter_context(WavInput(options.input))
        pieces: Iterable[bytes] = file
        length_s = file.duration_s
    else:
        voice = Voice("en-us")
        speech = _at_rate(voice.speak(options.question), voice.sample_rate, input_format.sample_rate)
        pieces = (speech[begin : begin + FRAME_BYTES] for begin in range(0, len(speech), FRAME_BYTES))
        length_s = len(speech) / input_format.bytes_per_second
    if options.restart_at_s is not None and options.restart_at_s > length_s:
        raise ContractViolation(f"--restart-at {options.restart_at_s}: the question takes {length_s:.1f} s")
    silence = repeat(bytes(FRAME_BYTES), round(SILENCE_S / FRAME_S))
    return paced(chain(pieces, silence), piece_s=FRAME_S, speed=options.speed)


@asynccontextmanager
async def _opened_speaker(
    options: Demo, output_format: AudioFormat
) -> AsyncIterator[Speaker | SilentSpeaker]:
    if not options.speaker:
        yield SilentSpeaker(output_format, speed=options.speed)
        return
    async with Speaker(output_format) as speaker:
        yield speaker


@contextmanager
def _opened_answer(path: Path | None, sample_rate: int) -> Iterator[wave.Wave_write | None]:
    if path is None:
        yield None
        return
    with path.open("wb") as raw, wave.open(raw, "wb") as answer:
        answer.setparams((1, 2, sample_rate, 0, "NONE", ""))
        yield answer


@asynccontextmanager
async def _logging_on_stderr() -> AsyncIterator[None]:
    """Keep what the session logs out of what is printed, and of that only what is worth a warning."""
    before = structlog.get_config()
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _at_rate(speech: bytes, rate: int, wanted: int) -> bytes:
    import numpy as np  # noqa: PLC0415 - of the extra
    import soxr  # noqa: PLC0415

    resampled = soxr.resample(np.frombuffer(speech, dtype="<i2"), rate, wanted).astype("<i2").tobytes()
    silence = bytes(2 * round(SILENCE_S * wanted))
    return silence + bytes(resampled) + silence
