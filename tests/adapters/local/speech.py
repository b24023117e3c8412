"""Speech for tests, synthesised where it is needed: pcm16 at 16 kHz, mono."""

from __future__ import annotations

from functools import cache

import numpy as np
import soxr

from realtime_async.adapters.local.vad import SAMPLE_RATE
from realtime_async.adapters.local.voice import Voice

__all__ = ["FRAME_BYTES", "frames", "noise", "noisy", "silence", "spoken", "word_errors"]

FRAME_BYTES = SAMPLE_RATE // 50 * 2


@cache
def spoken(text: str, voice: str = "en-us") -> bytes:
    """*text*, in the given voice."""
    speaker = Voice(voice)
    samples = np.frombuffer(speaker.speak(text), dtype="<i2")
    resampled: bytes = soxr.resample(samples, speaker.sample_rate, SAMPLE_RATE).astype("<i2").tobytes()
    return resampled


def silence(seconds: float) -> bytes:
    return bytes(round(seconds * SAMPLE_RATE) * 2)


def noise(seconds: float, rms: float, seed: int = 1) -> bytes:
    samples = np.random.default_rng(seed).normal(0, rms, round(seconds * SAMPLE_RATE))
    return samples.round().astype("<i2").tobytes()


def noisy(pcm: bytes, decibels: float, seed: int = 1) -> bytes:
    """*pcm* in white noise that lies so far below what is loud in it."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(float)
    speech = samples[np.abs(samples) > 100]
    rms = np.sqrt(np.mean(speech**2)) / 10 ** (decibels / 20)
    samples += np.random.default_rng(seed).normal(0, rms, len(samples))
    return samples.clip(-32768, 32767).astype("<i2").tobytes()


def frames(pcm: bytes) -> list[bytes]:
    """*pcm* in frames of 20 ms, the last one filled up with silence."""
    padded = pcm + bytes(-len(pcm) % FRAME_BYTES)
    return [padded[start : start + FRAME_BYTES] for start in range(0, len(padded), FRAME_BYTES)]


def word_errors(said: str, heard: str) -> int:
    """Words to insert, delete or replace."""
    row = list(range(len(heard.split()) + 1))
    for number, word in enumerate(said.split(), 1):
        before, row[0] = row[:], number
        for position, other in enumerate(heard.split(), 1):
            row[position] = min(
                before[position] + 1, row[position - 1] + 1, before[position - 1] + (word != other)
            )
    return row[-1]
