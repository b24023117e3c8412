"""
The adapter contract finds an adapter that is deaf to being cancelled.

It is cancelled again and again meanwhile, so no clock that jumps when nothing happens would ever jump.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.lowlevel
import pytest

from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.ports import RealtimeOutputFrame, RealtimeSessionId
from realtime_async.testing.adapter_contract import AdapterContract
from tests.adapters.scripted_side import ScriptedSide


class WaitsOnInACancelledReceive(ScriptedAdapter):
    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        while True:
            try:
                return await super().receive(session_id)
            except anyio.get_cancelled_exc_class():
                await anyio.lowlevel.cancel_shielded_checkpoint()


class Contract(AdapterContract):
    patience_s = 1

    @asynccontextmanager
    async def open_adapter(self) -> AsyncIterator[ScriptedSide]:
        yield ScriptedSide(WaitsOnInACancelledReceive())


async def test_a_receive_that_waits_on_though_it_is_cancelled_is_found() -> None:
    with pytest.raises(AssertionError, match="went on waiting"):
        await Contract().test_a_cancelled_receive_ends_though_nothing_comes()
