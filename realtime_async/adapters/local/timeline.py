"""
Where each input frame lies in the session's audio.

A connection hears a replayed frame at another moment than the first time; its cursor says which frame it is, and
so positions stay those of the session.
"""

from __future__ import annotations

from collections import deque

import attrs

__all__ = ["InputTimeline"]


@attrs.define
class _Stretch:
    """Frames of equal length, with consecutive cursors."""

    first: int
    starts_at: int
    samples: int
    """Of each frame."""
    frames: int

    def start_of(self, number: int) -> int:
        return self.starts_at + (number - self.first) * self.samples


class InputTimeline:
    """
    The first sample of every frame that the session has sent.

    It remembers 2,048 stretches of frames of one length: an hour of 20 ms frames is one.
    A frame from before that is taken for the oldest one it knows.
    """

    STRETCHES = 2048

    def __init__(self) -> None:
        self._stretches: deque[_Stretch] = deque(maxlen=self.STRETCHES)

    @property
    def next_number(self) -> int:
        """The cursor that a frame without one is taken to have."""
        if not self._stretches:
            return 1
        last = self._stretches[-1]
        return last.first + last.frames

    def place(self, number: int, samples: int) -> int:
        """Return the first sample of frame *number*, which has *samples*; 0 where it is no audio."""
        if number >= self.next_number:
            return self._append(number, samples)
        for stretch in reversed(self._stretches):
            if number >= stretch.first:
                return stretch.start_of(number)
        return self._stretches[0].starts_at

    def _append(self, number: int, samples: int) -> int:
        if not self._stretches:
            self._stretches.append(_Stretch(number, 0, samples, 1))
            return 0
        last = self._stretches[-1]
        # Numbers that never came are frames that were lost on the way: most likely like the one before.
        last.frames = number - last.first
        starts_at = last.start_of(number)
        if samples == last.samples:
            last.frames += 1
            return starts_at
        self._stretches.append(_Stretch(number, starts_at, samples, 1))
        return starts_at

    def through(self, sample: int) -> int:
        """Return the last frame of which nothing lies after *sample*, nor of any before it; 0: there is none."""
        number = self.next_number - 1
        for stretch in reversed(self._stretches):
            if not stretch.samples:
                continue
            ended = max(0, sample - stretch.starts_at) // stretch.samples
            if ended >= stretch.frames:
                return number
            number = stretch.first + ended - 1
            if ended:
                return number
        return number

    def end_of(self, number: int) -> int:
        """Return the sample after frame *number*; 0 where it is not known."""
        for stretch in reversed(self._stretches):
            if number >= stretch.first:
                frames = min(number - stretch.first + 1, stretch.frames)
                return stretch.starts_at + frames * stretch.samples
        return 0
