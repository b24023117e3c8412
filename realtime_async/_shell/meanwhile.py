"""
Interrupts that met no connection, until the adapter may know of them.

It is told under the intent of the restart, right before its call or while that lasts: from then on it is the
adapter's affair not to ask a new connection for what nobody wants to hear.
"""

from __future__ import annotations

from collections import deque

from realtime_async.ports import (
    LearnsOfInterrupts,
    RealtimeConnectionId,
    RealtimeConnectResponse,
    RealtimeProviderAdapter,
    RealtimeResponseId,
    RealtimeSessionId,
)

__all__ = ["Meanwhile"]

# More answers than that are never interrupted in one outage; the latest count.
_INTERRUPTS = 16


class Meanwhile:
    def __init__(self, adapter: RealtimeProviderAdapter, session_id: RealtimeSessionId) -> None:
        self._adapter = adapter
        self._session_id = session_id
        self._untold: deque[tuple[RealtimeResponseId | None, int | None]] = deque(maxlen=_INTERRUPTS)
        self._is_restarting = False

    def interrupted(self, response_id: RealtimeResponseId | None, played_ms: int | None) -> None:
        """Have the adapter know of an interrupt as soon as it may be told."""
        self._untold.append((response_id, played_ms))
        if self._is_restarting:
            self._tell()

    async def restart(self, connection_id: RealtimeConnectionId) -> RealtimeConnectResponse:
        """Have the adapter restart; its intent is durable."""
        self._is_restarting = True
        try:
            self._tell()
            return await self._adapter.restart(self._session_id, connection_id)
        finally:
            self._is_restarting = False

    def _tell(self) -> None:
        adapter = self._adapter
        while self._untold:
            response_id, played_ms = self._untold.popleft()
            if isinstance(adapter, LearnsOfInterrupts):
                adapter.interrupted_meanwhile(self._session_id, response_id, played_ms=played_ms)
