"""What becomes of frames that wait in the gate, for whoever must know: their `send` has returned by then."""

from __future__ import annotations

import attrs

from realtime_async._shell.runtime import SessionRuntime
from realtime_async.errors import AgentError
from realtime_async.ports import RealtimeFrameId, RealtimeInputFrame

__all__ = ["Fate", "Fates"]


@attrs.define(eq=False)
class Fate:
    """How the sending of one frame ended."""

    is_known: bool = False
    error: AgentError | None = None
    """Why it was not sent, or may not have been."""
    number: int = 0
    """The last that was taken then: the frame's own where it is in doubt."""
    restarts: int = 0
    """Of the session, until then."""


class Fates:
    """Those of the frames that somebody follows: the results of tools, a few at a time."""

    def __init__(self, rt: SessionRuntime) -> None:
        self._rt = rt
        self._followed: dict[RealtimeFrameId, Fate] = {}

    def follow(self, frame: RealtimeInputFrame) -> Fate:
        """Have the fate of *frame* kept, from before it is sent until `leave`."""
        fate = self._followed[frame.frame_id] = Fate()
        return fate

    def leave(self, frame: RealtimeInputFrame) -> None:
        del self._followed[frame.frame_id]

    def settle(self, frame: RealtimeInputFrame, error: AgentError | None) -> None:
        """Take note of how it ended with *frame*, and tell whoever follows it."""
        fate = self._followed.get(frame.frame_id)
        if fate is None:
            return
        life = self._rt.life
        fate.is_known, fate.error = True, error
        fate.number, fate.restarts = life.send_cursor.chunk_sequence, life.restart_count
        self._rt.changed.notify()
