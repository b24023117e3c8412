"""What listens: voice activity, end of sentence, and the recogniser, for one session at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import attrs

from realtime_async.adapters.local.endpointer import Endpointer, SpeechBegan, SpeechEnded, SpeechPiece
from realtime_async.adapters.local.recogniser import PIECE_BYTES, Recogniser
from realtime_async.adapters.local.vad import VoiceActivity

__all__ = ["Ears", "Heard", "SpeechBegan"]


@attrs.frozen
class Heard:
    """A sentence."""

    text: str = attrs.field(repr=False)
    """Empty where nothing was understood."""
    speech: SpeechEnded
    """Where it lies."""


class Ears:
    """
    Listens to one stream after the other.

    Every 20 ms of audio it lets other tasks run: what it calls holds the interpreter lock, so no thread would.
    """

    def __init__(self, activity: VoiceActivity, recogniser: Recogniser) -> None:
        self._endpointer = Endpointer(activity)
        self._recogniser = recogniser
        # Where a connection was replaced, its listener may still be on its way out.
        self._in_use = anyio.Lock()

    @asynccontextmanager
    async def listening(self, position: int) -> AsyncIterator[None]:
        """Have them for one stream, whose first sample is *position*."""
        async with self._in_use:
            self._recogniser.reset()
            self._endpointer.reset(position)
            yield

    @property
    def needs_from(self) -> int:
        """The first sample that may still become part of a sentence that has not ended."""
        return self._endpointer.needs_from

    async def listen(self, pcm: bytes, position: int) -> AsyncIterator[SpeechBegan | Heard]:
        """Listen to *pcm*, whose first sample is *position*, and yield what it brings."""
        for start in range(0, len(pcm), PIECE_BYTES):
            piece = pcm[start : start + PIECE_BYTES]
            async for event in self._follow(self._endpointer.feed(piece, position + start // 2)):
                yield event
            await anyio.lowlevel.checkpoint()

    async def end_sentence(self) -> AsyncIterator[SpeechBegan | Heard]:
        """End the sentence under way, if there is one, and yield it."""
        async for event in self._follow(self._endpointer.end()):
            yield event

    def forget(self, position: int) -> None:
        """Drop the sentence under way; what comes next begins at *position*."""
        self._recogniser.drop()
        self._endpointer.reset(position)

    async def _follow(
        self, events: Iterable[SpeechBegan | SpeechPiece | SpeechEnded]
    ) -> AsyncIterator[SpeechBegan | Heard]:
        for event in events:
            match event:
                case SpeechBegan():
                    self._recogniser.begin()
                    yield event
                case SpeechPiece(pcm):
                    await self._hear(pcm)
                case SpeechEnded():
                    yield Heard(self._recogniser.finish(), event)

    async def _hear(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), PIECE_BYTES):
            self._recogniser.feed(pcm[start : start + PIECE_BYTES])
            await anyio.lowlevel.checkpoint()
