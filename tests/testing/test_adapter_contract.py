"""The adapter contract finds the adapters that break it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio.lowlevel
import pytest

from realtime_async.adapters.scripted import OnInterrupt, Operation, Script, ScriptedAdapter
from realtime_async.errors import ProviderConnectionLost
from realtime_async.ports import (
    RealtimeCloseReason,
    RealtimeConnectionId,
    RealtimeConnectRequest,
    RealtimeConnectResponse,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    RealtimeResponseId,
    RealtimeSessionId,
)
from realtime_async.testing.adapter_contract import AdapterContract
from tests.adapters.scripted_side import ScriptedSide

pytestmark = pytest.mark.virtual_time


class LosesAFrameInACancelledReceive(ScriptedAdapter):
    broken = AdapterContract.test_a_cancelled_receive_loses_nothing

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        frame = await super().receive(session_id)
        await anyio.lowlevel.checkpoint()
        return frame


class KeepsTheConnectionOfACancelledConnect(ScriptedAdapter):
    broken = AdapterContract.test_a_cancelled_connect_drops_what_it_opened

    async def connect(self, request: RealtimeConnectRequest) -> RealtimeConnectResponse:
        response = await super().connect(request)
        await anyio.lowlevel.checkpoint()
        return response


class GivesEveryConnectionTheSameId(ScriptedAdapter):
    broken = AdapterContract.test_every_connection_has_an_id_of_its_own

    async def restart(
        self, session_id: RealtimeSessionId, connection_id: RealtimeConnectionId
    ) -> RealtimeConnectResponse:
        return RealtimeConnectResponse(connection_id)


class SendsTheSecondFrameFirst(ScriptedAdapter):
    broken = AdapterContract.test_frames_arrive_in_the_order_in_which_they_were_sent

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        if frame.payload == "1":
            return
        await super().send(session_id, frame)
        if frame.payload == "2":
            await super().send(session_id, RealtimeInputFrame.text("1"))


class SendsAFrameAgainAfterACancellation(ScriptedAdapter):
    broken = AdapterContract.test_a_cancelled_send_leaves_the_wire_whole

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        try:
            await super().send(session_id, frame)
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class():
            with self._call(Operation.SEND, session_id, frame=frame) as call:
                self._take(call)
            raise


class EndsTheStreamWhereTheConnectionIsLost(ScriptedAdapter):
    broken = AdapterContract.test_a_waiting_receive_learns_that_the_connection_is_lost

    async def receive(self, session_id: RealtimeSessionId) -> RealtimeOutputFrame | None:
        try:
            return await super().receive(session_id)
        except ProviderConnectionLost:
            return None


class TakesFramesWithoutAConnection(ScriptedAdapter):
    broken = AdapterContract.test_a_lost_connection_is_raised_by_every_call_until_a_restart

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        if self.is_connected():
            await super().send(session_id, frame)


class IsDeafToInterrupts(ScriptedAdapter):
    broken = AdapterContract.test_an_interrupt_stops_the_answer

    async def interrupt(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        return


class HearsNothingAfterAnInterrupt(ScriptedAdapter):
    broken = AdapterContract.test_an_interrupt_stops_the_answer
    was_interrupted = False

    async def interrupt(
        self,
        session_id: RealtimeSessionId,
        response_id: RealtimeResponseId | None,
        *,
        played_ms: int | None = None,
    ) -> None:
        await super().interrupt(session_id, response_id, played_ms=played_ms)
        self.was_interrupted = True

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        if not self.was_interrupted:
            await super().send(session_id, frame)


class ClosesOnceOnly(ScriptedAdapter):
    broken = AdapterContract.test_a_session_can_be_closed_twice_and_for_any_reason
    arguments = (RealtimeCloseReason.NORMAL,)

    async def close(self, session_id: RealtimeSessionId, reason: RealtimeCloseReason) -> None:
        if not self.is_connected():
            raise ProviderConnectionLost("closed already")
        await super().close(session_id, reason)


class QuotesWhatWasSaid(ScriptedAdapter):
    broken = AdapterContract.test_payloads_are_in_no_repr_and_in_no_error

    async def send(self, session_id: RealtimeSessionId, frame: RealtimeInputFrame) -> None:
        try:
            await super().send(session_id, frame)
        except ProviderConnectionLost as error:
            raise ProviderConnectionLost(f"could not send {frame.payload!r}") from error


class DropsAllSessionsAtOnce(ScriptedAdapter):
    broken = AdapterContract.test_sessions_live_side_by_side

    def drop(self, session_id: str | None = None) -> None:
        for each in self._sessions:
            super().drop(each)


# As which a contract's test tells that a promise is broken.
FOUND = (AssertionError, ExceptionGroup, ProviderConnectionLost, TimeoutError, pytest.fail.Exception)


@pytest.mark.parametrize(
    "faulty",
    [
        LosesAFrameInACancelledReceive,
        KeepsTheConnectionOfACancelledConnect,
        GivesEveryConnectionTheSameId,
        SendsTheSecondFrameFirst,
        SendsAFrameAgainAfterACancellation,
        EndsTheStreamWhereTheConnectionIsLost,
        TakesFramesWithoutAConnection,
        IsDeafToInterrupts,
        HearsNothingAfterAnInterrupt,
        ClosesOnceOnly,
        QuotesWhatWasSaid,
        DropsAllSessionsAtOnce,
    ],
)
async def test_a_broken_promise_is_found_by_its_test(faulty: Any) -> None:
    class Contract(AdapterContract):
        patience_s = 5

        @asynccontextmanager
        async def open_adapter(self) -> AsyncIterator[ScriptedSide]:
            yield ScriptedSide(faulty(Script(on_interrupt=OnInterrupt.STOP)))

    with pytest.raises(FOUND):
        await faulty.broken(Contract(), *getattr(faulty, "arguments", ()))
