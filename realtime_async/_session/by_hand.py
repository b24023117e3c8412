"""A session that its program restarts: frames are taken as they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar

import anyio

from realtime_async._core.accounting import RealtimeRestartReason, RestartReport
from realtime_async._core.restarts import RestartPolicy
from realtime_async.controller import RealtimeReceived, RealtimeSessionController
from realtime_async.errors import RestartExhausted
from realtime_async.ports import (
    RealtimeEvent,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeSessionRecord,
    Restarted,
)

__all__ = ["ByHand"]


class ByHand:
    """Nothing happens that the program does not ask for."""

    outlives_connections: ClassVar[bool] = False
    ended_by: RestartExhausted | None = None

    def __init__(self, controller: RealtimeSessionController, heard: Callable[[RealtimeEvent], None]) -> None:
        self._controller = controller
        self._heard = heard
        # One entry a restart, taken out by the loop; a loop that never reads needs no more than the last.
        self._news: deque[RestartReport] = deque(maxlen=64)
        self._waiting: anyio.CancelScope | None = None

    def sent(self, frame: RealtimeInputFrame, record: RealtimeSessionRecord) -> None:
        """Nobody counts."""

    def closed(self) -> None:
        """A session that has ended says no more."""
        self._news.clear()

    @property
    def is_drained(self) -> bool:
        """Nothing is taken ahead of the loop."""
        return True

    async def next_frame(self) -> RealtimeOutputFrame | None:
        while True:
            if self._news:
                return RealtimeOutputFrame.of(Restarted(self._news.popleft()))
            received = await self._receive()
            if received is not None:
                self._heard(received.frame.event)
                return received.frame
            if not self._news:
                return None

    async def _receive(self) -> RealtimeReceived | None:
        """Receive; None also where a restart has news."""
        received = None
        with anyio.CancelScope() as scope:
            # A second loop is refused by the controller; it must not take the first one's place here.
            is_first = self._waiting is None
            if is_first:
                self._waiting = scope
            try:
                received = await self._controller.receive()
            finally:
                if is_first:
                    self._waiting = None
        return received

    async def interrupt(self, response_id: str | None, played_ms: int | None) -> RealtimeSessionRecord:
        return await self._controller.interrupt(response_id, played_ms)

    async def restart(self, reason: RealtimeRestartReason) -> RestartReport:
        report = await self._controller.restart(reason, RestartPolicy())
        self._news.append(report)
        if self._waiting is not None:
            # A receive that is cancelled loses nothing, so the loop may hear of this first.
            self._waiting.cancel()
        return report
