"""A call without a network: a question is spoken, heard, answered, and written down."""

from __future__ import annotations

import logging
import sys
import uuid
import wave
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import structlog

from realtime_async import (
    ContractViolation,
    InputTranscript,
    OutputAudio,
    OutputTranscript,
    RealtimeSession,
    RealtimeSessionSidecar,
    ResponseDone,
    Restarted,
    open_session,
)
from realtime_async.audio import paced
from realtime_async.cli._asking import Exit
from realtime_async.cli._printing import as_json, line

__all__ = ["demo"]

FRAME_S = 0.02
# At 16 kHz, which the recogniser takes.
FRAME_BYTES = 640
FASTER_THAN_LIFE = 10
# Longer than the adapter waits before it takes a sentence for finished.
SILENCE_S = 0.8


async def demo(
    url: str | None, question: str, output: Path | None, restart_at_s: float | None, *, json: bool
) -> Exit:
    scheme, _, path = (url or "").partition(":")
    if scheme != "sqlite" or not path:
        raise ContractViolation("the demo writes its journal to a file: give --journal sqlite:FILE")
    # What speaks and hears is an extra.
    from realtime_async.adapters.local import LocalSpeechAdapter, Voice  # noqa: PLC0415
    from realtime_async.journals import SqliteJournal  # noqa: PLC0415

    run_id = f"demo.{uuid.uuid4().hex[:12]}"
    heard: list[str] = []
    said: list[str] = []
    answer = bytearray()
    restarted = 0
    voice = Voice("en-us")
    sidecar = RealtimeSessionSidecar.voice_defaults("demo")
    async with (
        _logging_on_stderr(),
        LocalSpeechAdapter() as adapter,
        SqliteJournal.open(path) as journal,
        open_session(sidecar, adapter, journal, run_id=run_id) as session,
        anyio.create_task_group() as tasks,
    ):
        speech = _at_rate(voice.speak(question), voice.sample_rate, adapter.input_format.sample_rate)
        restart_is_due = anyio.Event()
        tasks.start_soon(_restart, session, restart_is_due)
        tasks.start_soon(session.send_audio_from, _microphone(speech, restart_at_s, restart_is_due))
        async for frame in session.frames():
            match frame.event:
                case InputTranscript(text, final=True):
                    heard.append(text)
                case OutputTranscript(text, final=False):
                    said.append(text.strip())
                case OutputAudio() if isinstance(frame.payload, bytes):
                    answer += frame.payload
                case Restarted():
                    restarted += 1
                case ResponseDone("completed"):
                    tasks.cancel_scope.cancel()
    if output is not None:
        await anyio.to_thread.run_sync(_write, output, bytes(answer), adapter.output_format.sample_rate)
    told = {
        "run_id": run_id,
        "heard": heard,
        "said": said,
        "restarts": restarted,
        "sent": session.delivery.sent,
        "journal": url,
    }
    if json:
        as_json(told)
        return Exit.FINE
    line(f"heard    {' '.join(heard)}")
    line(f"said     {' '.join(said)}")
    line(
        f"frames   {session.delivery.sent} sent, {session.delivery.replayed} of them twice, {restarted} restarts"
    )
    line(f"journal  realtime-async report {run_id} --journal {url}")
    return Exit.FINE


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


async def _microphone(
    speech: bytes, restart_at_s: float | None, restart_is_due: anyio.Event
) -> AsyncGenerator[bytes, None]:
    pieces = [speech[begin : begin + FRAME_BYTES] for begin in range(0, len(speech), FRAME_BYTES)]
    spoken_s = 0.0
    async for piece in paced(pieces, piece_s=FRAME_S, speed=FASTER_THAN_LIFE):
        yield piece
        spoken_s += FRAME_S
        if restart_at_s is not None and spoken_s >= restart_at_s:
            restart_is_due.set()


async def _restart(session: RealtimeSession, is_due: anyio.Event) -> None:
    """Replace the connection while the question is spoken."""
    await is_due.wait()
    await session.restart()


def _write(path: Path, pcm: bytes, rate: int) -> None:
    with path.open("wb") as raw, wave.open(raw, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(pcm)
