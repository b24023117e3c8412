"""
A voice bot without a network: it hears a spoken question in a WAV file, and answers in another.

    python examples/offline_bot.py
    python examples/offline_bot.py --input question.wav --output answer.wav --journal calls.db --restart-at 1.0

The file is its microphone, ten times as fast as a real one.
With --restart-at the connection is replaced in the middle of the sentence, and the whole sentence is still heard.
"""

from __future__ import annotations

import argparse
import logging
import sys
import uuid
import wave
from collections.abc import AsyncIterator, Sequence
from itertools import chain, repeat
from pathlib import Path

import anyio
import attrs
import structlog
from rich.console import Console
from rich.markup import escape

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
from realtime_async.adapters.local import Brain, LocalSpeechAdapter, answer_command
from realtime_async.adapters.local.wav import WavInput
from realtime_async.journals import SqliteJournal

QUESTION = Path(__file__).with_name("question.wav")
FRAME_S = 0.02
FASTER_THAN_LIFE = 10
# Longer than the adapter waits before it takes a sentence for finished.
LAST_SILENCE_S = 0.8


@attrs.define
class Call:
    """One call, and what came of it."""

    question: WavInput
    answer: wave.Wave_write
    restart_at_s: float | None
    screen: Console
    restart_is_due: anyio.Event = attrs.field(factory=anyio.Event)
    restarts: list[RestartReport] = attrs.field(factory=list)
    frames_out: int = 0
    spoken_frames: int = 0

    async def run(self, session: RealtimeSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.talk, session)
            tasks.start_soon(self.restart, session)
            await self.listen(session)
            tasks.cancel_scope.cancel()

    async def talk(self, session: RealtimeSession) -> None:
        """Play the question to the bot, and ask it to say goodbye."""
        await session.send_audio_from(self.microphone())
        await session.send(RealtimeInputFrame.request_response("goodbye"))

    async def microphone(self) -> AsyncIterator[bytes]:
        """Yield a frame whenever it is time for one."""
        silence = repeat(bytes(640), round(LAST_SILENCE_S / FRAME_S))
        begun = anyio.current_time()
        for number, frame in enumerate(chain(self.question, silence)):
            await anyio.sleep_until(begun + number * FRAME_S / FASTER_THAN_LIFE)
            yield frame
            if self.restart_at_s is not None and (number + 1) * FRAME_S >= self.restart_at_s:
                self.restart_is_due.set()

    async def restart(self, session: RealtimeSession) -> None:
        """Replace the connection while the microphone goes on."""
        await self.restart_is_due.wait()
        await session.restart()

    async def listen(self, session: RealtimeSession) -> None:
        """Take down what the bot says, until it has said goodbye."""
        # What is said again after a restart is heard to begin again, too.
        is_speaking = is_asked = answers_question = False
        async for frame in session.frames():
            self.frames_out += not isinstance(frame.event, Restarted)
            match frame.event:
                case SpeechStarted(at_ms) if not is_speaking:
                    is_speaking = True
                    self.tell(at_ms, "dim", "somebody speaks")
                case SpeechStopped(at_ms):
                    is_speaking = False
                    self.tell(at_ms, "dim", "and has finished")
                case InputTranscript(text):
                    is_asked = bool(text)
                    self.tell(None, "bold cyan", f"heard: {text or '(no words)'}")
                case ResponseStarted():
                    answers_question, is_asked = is_asked, False
                case OutputTranscript(text, final=False):
                    self.tell(None, "bold green", f"said:  {text.strip()}")
                case OutputAudio() if isinstance(frame.payload, bytes):
                    self.spoken_frames += 1
                    self.answer.writeframes(frame.payload)
                case Restarted(report):
                    self.restarts.append(report)
                    self.tell(None, "bold yellow", told(report))
                case ResponseDone("completed") if not answers_question:
                    await session.close()

    def tell(self, at_ms: int | None, style: str, text: str) -> None:
        at = f"{at_ms / 1000:6.2f} s" if at_ms is not None else ""
        self.screen.print(f"[dim]{at:8}[/]  [{style}]{escape(text)}[/]")

    def sum_up(self, delivery: Delivery) -> list[tuple[str, str]]:
        unheard = sum(count(report.unconfirmed) for report in self.restarts)
        lost = {
            "failed": delivery.failed,
            "dropped": delivery.dropped,
            "in doubt": delivery.in_doubt,
            "forgotten by the provider": unheard,
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


async def run(options: argparse.Namespace, brain: Brain, screen: Console) -> None:
    run_id = f"offline-bot.{uuid.uuid4().hex[:12]}"
    sidecar = RealtimeSessionSidecar.voice_defaults("offline-bot")
    adapter = LocalSpeechAdapter(brain)
    with WavInput(options.input) as question:
        if options.restart_at is not None and options.restart_at > question.duration_s:
            raise SystemExit(
                f"--restart-at {options.restart_at}: the question takes {question.duration_s:.1f} s"
            )
        screen.print(f"listening to {escape(str(options.input))}, {question.duration_s:.1f} s")
        with options.output.open("wb") as file, wave.open(file, "wb") as answer:
            answer.setparams((1, 2, adapter.output_format.sample_rate, 0, "NONE", ""))
            call = Call(question, answer, options.restart_at, screen)
            async with adapter, SqliteJournal.open(options.journal) as journal:
                async with open_session(sidecar, adapter, journal, run_id=run_id) as session:
                    await call.run(session)
                last = await journal.last(RunId(run_id))
    records = 0 if last is None else last.journal_seq
    for name, value in (
        *call.sum_up(session.delivery),
        ("answer", f"{options.output}, {call.spoken_frames * FRAME_S:.1f} s"),
        ("journal", f"{options.journal}, run {run_id}, {records} records"),
    ):
        screen.print(f"[bold]{name:>10}[/]  {escape(value)}")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Ask a voice bot, without a network.")
    parser.add_argument(
        "--input", type=Path, default=QUESTION, metavar="FILE.wav", help="the spoken question"
    )
    parser.add_argument("--output", type=Path, default=Path("answer.wav"), metavar="FILE.wav")
    parser.add_argument("--journal", type=Path, default=Path("calls.db"), metavar="FILE.db")
    parser.add_argument("--restart-at", type=float, metavar="SECONDS", help="replace the connection there")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None, *, brain: Brain = answer_command) -> None:
    options = parsed(arguments)
    try:
        anyio.run(run, options, brain, Console(highlight=False, soft_wrap=True), backend=options.backend)
    except (AgentError, ImportError, OSError) as error:
        sys.exit(f"offline_bot: {error}")


if __name__ == "__main__":
    # The session logs what happens to it; what the caller wants to see is printed above.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    main()
