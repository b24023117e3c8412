"""
What a speaker has still to play, and how much of the current answer was heard.

It is filled by the event loop and emptied by a device's thread; nothing here waits.
"""

from __future__ import annotations

import threading
from collections import deque

from realtime_async._core.media import given_format
from realtime_async.errors import ContractViolation
from realtime_async.ports import AudioFormat, RealtimeOutputFrame, RealtimeResponseId

__all__ = ["Playout", "format_of"]


def format_of(audio_format: object) -> AudioFormat:
    """
    What is played or heard in; None: pcm16, 24 kHz, mono.

    Raises:
        ContractViolation: It is no format.
    """
    return AudioFormat() if audio_format is None else given_format(audio_format)


_Piece = tuple[RealtimeResponseId | None, bytes]


class Playout:
    """
    A bounded queue of audio that knows which answer each piece belongs to.

    Args:
        audio_format: Of what is put and taken.
        max_s: How much waits at most.
    """

    def __init__(self, audio_format: AudioFormat, max_s: float) -> None:
        self._format = audio_format
        self._max_bytes = int(max_s * audio_format.bytes_per_second)
        # Held for a few operations on a deque: a device's thread isn't kept waiting.
        self._lock = threading.Lock()
        self._pieces: deque[_Piece] = deque()
        self._waiting_bytes = 0
        self._heard: RealtimeResponseId | None = None
        self._heard_bytes = 0
        self._total_bytes = 0

    @property
    def heard_bytes(self) -> int:
        """How much was taken, ever."""
        return self._total_bytes

    @property
    def waiting_s(self) -> float:
        return self._waiting_bytes / self._format.bytes_per_second

    @property
    def is_empty(self) -> bool:
        return not self._waiting_bytes

    def put(self, frame: RealtimeOutputFrame) -> bool:
        """
        Queue the audio of *frame*; False: there is no room for it now.

        Raises:
            ContractViolation: It has no audio.
        """
        if not isinstance(frame.payload, bytes):
            raise ContractViolation(
                f"a speaker plays audio, not a frame of {frame.media_kind}: give it the frames of OutputAudio"
            )
        with self._lock:
            if self._pieces and self._waiting_bytes + len(frame.payload) > self._max_bytes:
                return False
            self._pieces.append((frame.response_id, frame.payload))
            self._waiting_bytes += len(frame.payload)
        return True

    def take(self, size: int) -> bytes:
        """Take up to *size* bytes: they are heard now."""
        taken = bytearray()
        with self._lock:
            while self._pieces and len(taken) < size:
                response, pcm = self._pieces.popleft()
                part = pcm[: size - len(taken)]
                if len(part) < len(pcm):
                    self._pieces.appendleft((response, pcm[len(part) :]))
                if response != self._heard:
                    self._heard, self._heard_bytes = response, 0
                self._heard_bytes += len(part)
                taken += part
            self._waiting_bytes -= len(taken)
            self._total_bytes += len(taken)
        return bytes(taken)

    def stop(self) -> int:
        """Drop what waits, and return the milliseconds that were heard of the answer being played."""
        with self._lock:
            current = self._pieces[0][0] if self._pieces else self._heard
            heard_bytes = self._heard_bytes if current == self._heard else 0
            self._pieces.clear()
            self._waiting_bytes = 0
        return heard_bytes * 1000 // self._format.bytes_per_second
