"""
Sound in and out: a microphone, a speaker, and one without a device that takes its time like one.

A device works in a thread of its own and meets the event loop in a bounded buffer, so neither waits for the other.
`Microphone` and `Speaker` need the extra `audio`, and import it when they are opened.
"""

from __future__ import annotations

from realtime_async.audio.devices import Microphone, Speaker
from realtime_async.audio.silent import SilentSpeaker, paced

__all__ = ["Microphone", "SilentSpeaker", "Speaker", "paced"]
