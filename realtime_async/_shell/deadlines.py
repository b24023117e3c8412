"""The limits that keep an unattended session alive."""

from __future__ import annotations

import math

import attrs

from realtime_async._core.given import is_number, shown
from realtime_async.errors import ContractViolation

__all__ = ["Deadlines"]


@attrs.frozen
class Deadlines:
    """Seconds that each operation may take; only `receive` may wait for ever."""

    connect: float = 15.0
    send: float = 10.0
    """From the call of `send`; for one frame of a drain or a replay, from its intent."""
    interrupt: float = 5.0
    restart: float = 15.0
    """For the adapter's `restart`; what is sent on the new connection has its own."""
    close: float = 5.0
    gate: float = 30.0
    """For room in a full gate, in place of `send`."""
    journal: float = 10.0
    """For one record to become durable; beyond it the run stops."""
    tool: float = 30.0
    """For a function that `RealtimeSession.answer` calls."""

    def __attrs_post_init__(self) -> None:
        for name, seconds in attrs.asdict(self, recurse=False).items():
            if not (is_number(seconds) and 0 < seconds < math.inf):
                raise ContractViolation(
                    f"the deadline {name} is {shown(seconds)}: give finite seconds above 0, as nothing but receive may wait for ever"
                )
