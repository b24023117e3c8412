"""
A voice bot without a network: it hears you, or a question in a WAV file, and answers.

    python examples/offline_bot.py
    python examples/offline_bot.py --input question.wav --output answer.wav --journal calls.db --restart-at 1.0
    python examples/offline_bot.py --microphone --speaker

It needs the extra local, and with --microphone or --speaker the extra audio.
A file takes the place of the microphone ten times as fast as a real one, unless the answer is heard, too.
With --restart-at the connection is replaced in the middle of the sentence, and the whole sentence is still heard.
Speak while it speaks, and it stops; say goodbye, and it hangs up.
SIGTERM and Ctrl-C let the sentence under way be answered, for at most ten seconds, and then end the call.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import uuid
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, nullcontext
from importlib.util import find_spec
from io import TextIOWrapper
from itertools import chain, repeat
from pathlib import Path

import anyio
import attrs
import structlog

from realtime_async import (
    AgentError,
    CursorRange,
    Delivery,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    RealtimeInputFrame,
    RealtimeSession,
    RealtimeSessionSidecar,
    ResponseDone,
    ResponseStarted,
    Restarted,
    RestartReport,
    RunId,
    SpeechStarted,
    SpeechStopped,
    open_session,
)
from realtime_async.audio import Microphone, SilentSpeaker, Speaker, paced
from realtime_async.journals import SqliteJournal

try:
    from rich.console import Console
    from rich.markup import escape
    from rich.status import Status

    from realtime_async.adapters.local import Brain, LocalSpeechAdapter, answer_command
    from realtime_async.adapters.local.wav import WavInput
except ImportError as missing:
    sys.exit(f"offline_bot: {missing.name} is missing: pip install -e '.[local]'")

QUESTION = Path(__file__).with_name("question.wav")
FRAME_S = 0.02
FASTER_THAN_LIFE = 10
# Longer than the adapter waits before it takes a sentence for finished.
LAST_SILENCE_S = 0.8
DRAIN_S = 10.0


@attrs.frozen
class Screen:
    """Lines as things happen; on a terminal a status below them says what happens now."""

    console: Console
    status: Status | None

    def tell(self, at_ms: int | None, style: str, text: str) -> None:
        at = f"{at_ms / 1000:6.2f} s" if at_ms is not None else ""
        self.console.print(f"[dim]{at:8}[/]  [{style}]{escape(text)}[/]")

    def show(self, what: str) -> None:
        if self.status is not None:
            self.status.update(what)


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
class Recording:
    """What was heard of the answers, in a WAV file: what was spoken over is not in it."""

    file: wave.Wave_write
    speaker: Speaker | SilentSpeaker
    written_bytes: int = 0
    # At most what the speaker holds.
    _unheard: bytearray = attrs.field(factory=bytearray)

    def add(self, pcm: bytes) -> None:
        self.catch_up()
        self._unheard += pcm

    def catch_up(self) -> None:
        heard = self.speaker.heard_bytes - self.written_bytes
        self.file.writeframesraw(self._unheard[:heard])
        self.written_bytes += heard
        del self._unheard[:heard]

    def cut(self) -> None:
        """The speaker has stopped: what it still held is heard by nobody."""
        self.catch_up()
        self._unheard.clear()


@attrs.define
class Call:
    """One call, and what came of it."""

    sound: AsyncGenerator[bytes, None]
    """What the caller says; a file's end ends the call, a microphone has none."""
    speaker: Speaker | SilentSpeaker
    recording: Recording
    restart_at_s: float | None
    screen: Screen
    turn: Turn = attrs.field(factory=Turn)
    restart_is_due: anyio.Event = attrs.field(factory=anyio.Event)
    restarts: list[RestartReport] = attrs.field(factory=list)
    frames_out: int = 0
    spoken_frames: int = 0

    async def run(self, session: RealtimeSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.talk, session)
            tasks.start_soon(self.restart, session)
            tasks.start_soon(self.drain_on_signal, tasks.cancel_scope)
            await self.listen(session)
            await self.speaker.finished()
            # Whoever leaves the session's block closes the session.
            tasks.cancel_scope.cancel()
        self.recording.catch_up()

    async def talk(self, session: RealtimeSession) -> None:
        """Let the bot hear the caller, and ask it to say goodbye where there is no more to hear."""
        await session.send_audio_from(self.microphone())
        await session.send(RealtimeInputFrame.request_response("goodbye"))

    async def microphone(self) -> AsyncGenerator[bytes, None]:
        heard_s = 0.0
        async with aclosing(self.sound) as sound:
            async for frame in sound:
                yield frame
                heard_s += FRAME_S
                if self.restart_at_s is not None and heard_s >= self.restart_at_s - FRAME_S / 2:
                    self.restart_is_due.set()

    async def restart(self, session: RealtimeSession) -> None:
        """Replace the connection while the microphone goes on."""
        await self.restart_is_due.wait()
        await session.restart()

    async def drain_on_signal(self, the_call: anyio.CancelScope) -> None:
        """Asked to stop, stop where nobody is cut off in a sentence, if that comes soon."""
        if sys.platform == "win32":
            return
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                self.screen.tell(None, "bold yellow", "asked to stop: this turn is the last")
                with anyio.move_on_after(DRAIN_S):
                    await self.turn.over()
                    await self.speaker.finished()
                the_call.cancel()

    async def listen(self, session: RealtimeSession) -> None:
        """Take down what the bot says, until it has said goodbye."""
        # What is said again after a restart is heard to begin again, too.
        is_speaking = is_asked = answers_question = False
        async for frame in session.frames():
            self.frames_out += not isinstance(frame.event, Restarted)
            match frame.event:
                case SpeechStarted(at_ms):
                    self.turn.begin()
                    await self.be_quiet(session, at_ms)
                    if not is_speaking:
                        self.screen.tell(at_ms, "dim", "somebody speaks")
                    is_speaking = True
                case SpeechStopped(at_ms):
                    is_speaking = False
                    self.screen.tell(at_ms, "dim", "and has finished")
                case InputTranscript(text):
                    self.hear(text)
                    # Who says goodbye is answered, and that is all.
                    is_asked = bool(text) and "goodbye" not in text
                case ResponseStarted():
                    self.turn.begin()
                    answers_question, is_asked = is_asked, False
                case OutputTranscript(text, final=False):
                    self.screen.tell(None, "bold green", f"said:  {text.strip()}")
                case OutputAudio() if isinstance(frame.payload, bytes):
                    self.spoken_frames += 1
                    self.recording.add(frame.payload)
                    await self.speaker.play(frame)
                case Restarted(report):
                    self.restarts.append(report)
                    self.screen.tell(None, "bold yellow", told(report))
                case ResponseDone("completed"):
                    if not answers_question:
                        return
                    self.turn.end()
            self.screen.show(
                "hearing you" if is_speaking else "answering" if self.turn.is_open else "listening"
            )

    def hear(self, text: str) -> None:
        self.screen.tell(None, "bold cyan", f"heard: {text or '(no words)'}")
        if not text:
            self.turn.end()

    async def be_quiet(self, session: RealtimeSession, at_ms: int | None) -> None:
        """Somebody speaks: stop talking, and tell the bot how much of it was heard."""
        if not self.speaker.is_playing:
            return
        played_ms = self.speaker.stop()
        self.recording.cut()
        self.screen.tell(
            at_ms, "bold magenta", f"spoken over: silent after {played_ms / 1000:.1f} s of its answer"
        )
        await session.interrupt(played_ms=played_ms)

    def sum_up(self, delivery: Delivery, unheard_s: float) -> list[tuple[str, str]]:
        forgotten = sum(count(report.unconfirmed) for report in self.restarts)
        lost = {
            "failed": delivery.failed,
            "dropped": delivery.dropped,
            "in doubt": delivery.in_doubt,
            "forgotten by the provider": forgotten,
            "not taken from the microphone in time": round(unheard_s / FRAME_S),
        }
        return [
            ("frames in", f"{delivery.sent} sent, {delivery.replayed} of them twice"),
            ("frames out", f"{self.frames_out}, {self.spoken_frames} of them speech"),
            ("restarts", str(len(self.restarts))),
            ("lost", ", ".join(f"{number} {how}" for how, number in lost.items() if number) or "nothing"),
        ]


def told(report: RestartReport) -> str:
    return (
        f"connection replaced in {report.outage_s * 1000:.0f} ms: {count(report.replayed)} frames said again, "
        f"{count(report.gated)} held back meanwhile"
    )


def count(ranges: Sequence[CursorRange]) -> int:
    return sum(frames.frames for frames in ranges)


@asynccontextmanager
async def opened_speaker(
    options: argparse.Namespace, adapter: LocalSpeechAdapter
) -> AsyncIterator[Speaker | SilentSpeaker]:
    if not options.speaker:
        yield SilentSpeaker(adapter.output_format, speed=options.speed)
        return
    async with Speaker(adapter.output_format) as speaker:
        yield speaker


@contextmanager
def opened_answer(path: Path, sample_rate: int) -> Iterator[wave.Wave_write]:
    with path.open("wb") as file, wave.open(file, "wb") as answer:
        answer.setparams((1, 2, sample_rate, 0, "NONE", ""))
        yield answer


def sound_of(question: WavInput, speed: float) -> AsyncGenerator[bytes, None]:
    silence = repeat(bytes(640), round(LAST_SILENCE_S / FRAME_S))
    return paced(chain(question, silence), piece_s=FRAME_S, speed=speed)


async def run(options: argparse.Namespace, brain: Brain, console: Console) -> None:
    run_id = f"offline-bot.{uuid.uuid4().hex[:12]}"
    sidecar = RealtimeSessionSidecar.voice_defaults("offline-bot")
    adapter = LocalSpeechAdapter(brain)
    microphone = Microphone(adapter.input_format)
    async with AsyncExitStack() as stack:
        if options.microphone:
            sound = aiter(microphone)
            console.print("listening to the microphone: say goodbye to end the call")
        else:
            question = stack.enter_context(WavInput(options.input))
            if options.restart_at is not None and options.restart_at > question.duration_s:
                raise SystemExit(
                    f"--restart-at {options.restart_at}: the question takes {question.duration_s:.1f} s"
                )
            sound = sound_of(question, options.speed)
            console.print(f"listening to {escape(str(options.input))}, {question.duration_s:.1f} s")
        speaker = await stack.enter_async_context(opened_speaker(options, adapter))
        await stack.enter_async_context(adapter)
        journal = await stack.enter_async_context(SqliteJournal.open(options.journal))
        answer = stack.enter_context(opened_answer(options.output, adapter.output_format.sample_rate))
        status = stack.enter_context(console.status("listening") if console.is_terminal else nullcontext())
        recording = Recording(answer, speaker)
        call = Call(sound, speaker, recording, options.restart_at, Screen(console, status))
        async with open_session(sidecar, adapter, journal, run_id=run_id) as session:
            await call.run(session)
        last = await journal.last(RunId(run_id))
    records = 0 if last is None else last.journal_seq
    answer_s = recording.written_bytes / adapter.output_format.bytes_per_second
    for name, value in (
        *call.sum_up(session.delivery, microphone.lost_frames * FRAME_S),
        ("answer", f"{options.output}, {answer_s:.1f} s"),
        ("journal", f"{options.journal}, run {run_id}, {records} records"),
    ):
        console.print(f"[bold]{name:>10}[/]  {escape(value)}")


def above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Talk to a voice bot, without a network.",
        epilog="SIGTERM and Ctrl-C let the sentence under way be answered, and then end the call.",
    )
    heard = parser.add_mutually_exclusive_group()
    heard.add_argument(
        "--input",
        type=Path,
        default=QUESTION,
        metavar="FILE.wav",
        help="the spoken question: 16 bit, mono or stereo, at any rate",
    )
    heard.add_argument("--microphone", action="store_true", help="speak to it; needs the extra audio")
    parser.add_argument("--speaker", action="store_true", help="hear its answers; needs the extra audio")
    parser.add_argument("--output", type=Path, default=Path("answer.wav"), metavar="FILE.wav")
    parser.add_argument("--journal", type=Path, default=Path("calls.db"), metavar="FILE.db")
    parser.add_argument(
        "--restart-at", type=above_zero, metavar="SECONDS", help="replace the connection there"
    )
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args(arguments)
    if options.output.resolve() == options.input.resolve():
        parser.error(f"--output {options.output}: that is the question, which would be overwritten")
    if options.backend == "trio" and find_spec("trio") is None:
        parser.error("--backend trio: it is missing: pip install -e '.[trio]'")
    options.speed = 1 if options.microphone or options.speaker else FASTER_THAN_LIFE
    return options


def main(arguments: Sequence[str] | None = None, *, brain: Brain = answer_command) -> None:
    options = parsed(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # A file may be called what it has no letters for.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Until there is a call to end, SIGTERM ends the program as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    failure: BaseException | None = None
    try:
        anyio.run(run, options, brain, Console(highlight=False, soft_wrap=True), backend=options.backend)
    except* KeyboardInterrupt:
        # Before there was a call to end.
        print("hung up")
    except* (AgentError, ImportError, OSError) as errors:
        failure = first_of(errors)
    if failure is not None:
        sys.exit(f"offline_bot: {failure}")


def first_of(error: BaseException) -> BaseException:
    """What task groups wrap."""
    return first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    # The session logs what happens to it; what the caller wants to see is printed above.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    main()
