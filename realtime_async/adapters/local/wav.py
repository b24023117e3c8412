"""A WAV file in place of a microphone."""

from __future__ import annotations

import os
import wave
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Self

import numpy as np

from realtime_async.adapters.local._extra import import_extra
from realtime_async.adapters.local.vad import SAMPLE_RATE
from realtime_async.errors import ContractViolation

__all__ = ["WavInput"]

# The acoustic model hears up to 7 kHz, and takes the silence above a telephone's 4 kHz for another sound.  The lower
# half, mirrored into the upper one, is nearer to what a mouth does: of 204 sentences in six voices, with and without
# noise, 149 are then heard right instead of 128.
TELEPHONE_RATE = 8_000
MIRRORED = 0.25

Samples = np.ndarray[tuple[int], np.dtype[np.int16]]


class WavInput:
    """
    The sound of a WAV file as the local adapter takes it, 20 ms at a time; the last frame is filled up with silence.

    It is read as it is iterated over, once.
    At 8 kHz the upper half of speech is missing and made up from the lower one: of the recogniser's own sentences it
    then hears three in four right, fewer in some voices.

    Raises:
        ContractViolation: It is no WAV file of 16-bit samples with one or two channels.
        OSError: It cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        self._file = _opened(name)
        channels, sample_bytes, self._rate, samples = self._file.getparams()[:4]
        if sample_bytes != 2 or channels > 2 or not self._rate:
            self.close()
            raise ContractViolation(
                f"{name!r} has {channels} channel(s) of {8 * sample_bytes} bits at {self._rate} Hz: "
                "save it as mono or stereo of 16 bits"
            )
        self._channels = channels
        self.duration_s = samples / self._rate

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        frame_bytes = SAMPLE_RATE // 50 * 2
        pending = b""
        for piece in self._resampled():
            pending += piece
            while len(pending) >= frame_bytes:
                yield pending[:frame_bytes]
                pending = pending[frame_bytes:]
        if pending:
            yield pending.ljust(frame_bytes, b"\0")

    def _resampled(self) -> Iterator[bytes]:
        if self._rate == SAMPLE_RATE:
            # The resampler would add its dither.
            yield from (samples.tobytes() for samples in self._mono())
            return
        resampler: Any = import_extra("soxr").ResampleStream(self._rate, SAMPLE_RATE, 1, dtype="int16")
        pieces = (resampler.resample_chunk(samples) for samples in self._mono())
        last = (resampler.resample_chunk(np.zeros(0, np.int16), last=True) for _ in range(1))
        heard = chain(pieces, last)
        for samples in _widened(heard) if self._rate <= TELEPHONE_RATE else heard:
            yield samples.tobytes()

    def _mono(self) -> Iterator[Samples]:
        while data := self._file.readframes(max(1, self._rate // 50)):
            # A file that was cut off may end within a sample.
            whole = len(data) - len(data) % (2 * self._channels)
            samples = np.frombuffer(data[:whole], dtype="<i2").reshape(-1, self._channels)
            yield samples.mean(axis=1).round().astype(np.int16)


def _widened(pieces: Iterable[Samples]) -> Iterator[Samples]:
    # To turn every other sample round is to mirror the spectrum at a quarter of the rate.
    mirror = 1
    for samples in pieces:
        factors = np.full(len(samples), 1 + MIRRORED * mirror)
        factors[1::2] = 1 - MIRRORED * mirror
        mirror *= -1 if len(samples) % 2 else 1
        yield (samples * factors).round().clip(-32768, 32767).astype(np.int16)


def _opened(name: str) -> wave.Wave_read:
    try:
        # It is closed by WavInput, not here.
        return wave.open(name, "rb")
    except (wave.Error, EOFError) as error:
        raise ContractViolation(
            f"{name!r} is no WAV file that can be read ({str(error) or 'it is cut off'}): save it as 16-bit PCM"
        ) from error
