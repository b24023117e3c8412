"""The provider's side of the adapter contract, and one session as its tests hold it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from realtime_async.ports import (
    GivesWithoutWaiting,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeProviderAdapter,
    RealtimeSessionId,
    TakesWithoutWaiting,
)

__all__ = ["SESSION", "Connected", "ProviderSide", "connect"]

SESSION = RealtimeSessionId("session.contract")


class ProviderSide(Protocol):
    """An adapter, and the provider it talks to, as the test sees it."""

    @property
    def adapter(self) -> RealtimeProviderAdapter: ...

    def input_frame(self, number: int) -> RealtimeInputFrame:
        """Build a frame that `heard` can tell from the others."""
        ...

    def secret_frame(self, text: str) -> RealtimeInputFrame:
        """Build a frame with *text* in its payload."""
        ...

    async def heard(self, session_id: RealtimeSessionId, last: int) -> Sequence[int]:
        """Wait until the provider has the frame with the number *last*; return the numbers of all, in order."""
        ...

    async def say(self, session_id: RealtimeSessionId, number: int) -> None:
        """Let the provider say something that `number_of` can tell from all else."""
        ...

    def number_of(self, frame: RealtimeOutputFrame) -> int | None:
        """Which `say` brought *frame*; None: it was something else."""
        ...

    async def start_answer(self, session_id: RealtimeSessionId) -> None:
        """Let the provider begin an answer that doesn't end unless it is interrupted."""
        ...

    async def drop(self, session_id: RealtimeSessionId) -> None:
        """Let the connection die, without a word."""
        ...

    async def connections(self) -> int:
        """Return how many connections are open, once those that were let go have ended."""
        ...


@attrs.define
class Connected:
    """A provider side with one session, and what was received from it."""

    side: ProviderSide
    connection_id: RealtimeConnectionId
    received: list[int] = attrs.field(factory=list)

    async def receive_until(self, number: int) -> list[int]:
        """Receive on until the provider's *number*; return all numbers so far."""
        while number not in self.received:
            self._note(await self.side.adapter.receive(SESSION))
        return self.received

    async def take_until(self, number: int) -> list[int]:
        """Do the same as a controller does: without waiting, where the adapter offers that and has something."""
        while number not in self.received:
            self._note(self.given() or await self.side.adapter.receive(SESSION))
        return self.received

    def given(self) -> RealtimeOutputFrame | None:
        """Take what the adapter gives without waiting; None: nothing, or it offers no such thing."""
        adapter = self.side.adapter
        return adapter.receive_nowait(SESSION) if isinstance(adapter, GivesWithoutWaiting) else None

    def _note(self, frame: RealtimeOutputFrame | None) -> None:
        assert frame is not None, "receive returned None, but nobody asked for an end"
        said = self.side.number_of(frame)
        if said is not None:
            self.received.append(said)

    async def hand_over(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        """Send *frame* without waiting, where the adapter offers that and has room."""
        adapter = self.side.adapter
        if not isinstance(adapter, TakesWithoutWaiting) or not adapter.send_nowait(session_id, frame):
            await adapter.send(session_id, frame)


async def connect(side: ProviderSide, session_id: RealtimeSessionId = SESSION) -> RealtimeConnectionId:
    request = RealtimeConnectRequest(
        session_id=session_id,
        provider_route_ref="provider.contract",
        realtime_capability_ref="realtime.voice",
    )
    return (await side.adapter.connect(request)).connection_id
