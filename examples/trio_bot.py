"""
The smallest voice bot, on Trio: it greets, hears, books a table with a tool, and is quiet when spoken over.

    python examples/trio_bot.py
    python examples/trio_bot.py --microphone

It needs the extras local and trio, and with --microphone the extra audio.
Without --microphone it hears a question from a file, ten times as fast as life, and speaks to nobody.
Say "please book a table for two" to it, with any number up to five; it hangs up when that is done.
SIGTERM and Ctrl-C let the sentence under way be answered, for at most ten seconds, and then end the call.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain, repeat
from pathlib import Path

import structlog

from realtime_async import (
    AgentError,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    RealtimeInputFrame,
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
    import trio

    from realtime_async.adapters.local import LocalSpeechAdapter
    from realtime_async.adapters.local.wav import WavInput
except ImportError as missing:
    sys.exit(f"trio_bot: {missing.name} is missing: pip install -e '.[local,trio]'")

QUESTION = Path(__file__).with_name("question.wav")
FASTER_THAN_LIFE = 10
DRAIN_S = 10.0


async def main(options: argparse.Namespace) -> None:
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
    booked = trio.Event()

    async def book_table(people: str) -> str:
        booked.set()
        return f"A table for {people} is booked."

    is_done = False
    async with (
        LocalSpeechAdapter(tools=["book_table"]) as adapter,
        SqliteJournal.open(options.journal) as journal,
        open_session(sidecar, adapter, journal, run_id=f"trio-bot.{uuid.uuid4().hex[:12]}") as session,
        sound(options, adapter) as (microphone, speaker),
        trio.open_nursery() as tasks,
    ):
        tasks.start_soon(drain_on_signal, session, speaker, tasks.cancel_scope)
        tasks.start_soon(session.send_audio_from, microphone)
        await session.send(RealtimeInputFrame.request_response("Greet the caller."))
        async for frame in session.frames():
            match frame.event:
                case OutputAudio():
                    await speaker.play(frame)
                case InputTranscript(text):
                    print(f"heard: {text}")
                case OutputTranscript(text, final=True):
                    print(f"said:  {text}")
                    is_done = booked.is_set()
                case SpeechStarted() if speaker.is_playing:
                    await session.interrupt(played_ms=speaker.stop())
                case ToolCall() as call:
                    tasks.start_soon(session.answer, call, book_table)
                case Restarted(report):
                    print(report)
                case ResponseDone() if is_done:
                    break
        await speaker.finished()
        tasks.cancel_scope.cancel()
    print(session.delivery)


async def drain_on_signal(
    session: RealtimeSession, speaker: Speaker | SilentSpeaker, call: trio.CancelScope
) -> None:
    """Asked to stop, stop where nobody is cut off in a sentence, if that comes soon."""
    if sys.platform == "win32":
        return
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            print("asked to stop: this turn is the last", flush=True)
            with trio.move_on_after(DRAIN_S):
                await session.between_turns()
                await speaker.finished()
            # Whoever leaves the session's block closes the session.
            call.cancel()


@asynccontextmanager
async def sound(
    options: argparse.Namespace, adapter: LocalSpeechAdapter
) -> AsyncIterator[tuple[AsyncIterable[bytes], Speaker | SilentSpeaker]]:
    """Open a microphone and a speaker, or a file in place of the one and nothing in place of the other."""
    if options.microphone:
        async with Speaker(adapter.output_format) as speaker:
            yield Microphone(adapter.input_format), speaker
        return
    second_of_silence = [bytes(640)] * 50
    with WavInput(QUESTION) as question:
        # The greeting is heard out, and after the question nobody speaks any more.
        frames = chain(second_of_silence * 3, question, repeat(bytes(640)))
        yield (
            paced(frames, speed=FASTER_THAN_LIFE),
            SilentSpeaker(adapter.output_format, speed=FASTER_THAN_LIFE),
        )


def run(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Have a table booked by a small voice bot on Trio.")
    parser.add_argument("--microphone", action="store_true", help="speak to it; needs the extra audio")
    parser.add_argument("--journal", type=Path, default=Path("calls.db"), metavar="FILE.db")
    options = parser.parse_args(arguments)
    # Until there is a call to end, SIGTERM ends the program as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    failure: BaseException | None = None
    try:
        trio.run(main, options)
    except* KeyboardInterrupt:
        # Before there was a call to end.
        print("hung up")
    except* (AgentError, ImportError, OSError) as errors:
        failure = first_of(errors)
    if failure is not None:
        sys.exit(f"trio_bot: {failure}")


def first_of(error: BaseException) -> BaseException:
    """What a nursery wraps."""
    return first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    # The session logs what happens to it; what the caller wants to see is printed above.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    run()
