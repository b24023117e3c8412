"""Opening the session's first connection."""

from __future__ import annotations

import anyio

from realtime_async._core.lifecycle import Happening, Operation, Phase
from realtime_async._shell.flights import Flight
from realtime_async._shell.lane import Appended
from realtime_async._shell.restarting import checked_response
from realtime_async._shell.runtime import SessionRuntime, recorded
from realtime_async.errors import AgentError
from realtime_async.ports import (
    RealtimeConnectRequest,
    RealtimeConnectResponse,
    RealtimeSessionRecord,
    RealtimeSessionRecordKind,
)

__all__ = ["begin_connection", "connect"]

_Kind = RealtimeSessionRecordKind


async def connect(rt: SessionRuntime) -> RealtimeSessionRecord:
    connected = (
        rt.untold if rt.untold is not None and rt.life.phase is Phase.OPEN else await begin_connection(rt)
    )
    rt.untold = None
    try:
        # Whoever is told that a connect was cancelled takes the session for new, and this one has its connection.
        with anyio.CancelScope(shield=True):
            await rt.durable(connected)
    except BaseException:
        # Native cancellation passes through the shield.
        rt.untold = connected
        raise
    return connected.record.payload


async def begin_connection(rt: SessionRuntime) -> Appended:
    """Connect; the record that says so is begun, and not yet waited for."""
    rt.given_sidecar.validate()
    rt.check()
    rt.life.demand(Operation.CONNECT)
    rt.lane.claim(rt.life.session_id)
    rt.keep_loop()
    rt.life.happen(Happening.CONNECT_BEGUN)
    try:
        return await _attempt(rt)
    except BaseException:
        # The session is new again, and whoever connects it next may be another controller.
        if rt.life.phase is Phase.NEW:
            rt.lane.disclaim()
        raise


async def _attempt(rt: SessionRuntime) -> Appended:
    intent = rt.append(_Kind.CONNECT_REQUESTED)

    def failed(error: AgentError, flight: Flight) -> Appended:
        rt.life.happen(Happening.CONNECT_FAILED)
        return rt.append(_Kind.CONNECT_FAILED, intent, error=recorded(error))

    request = RealtimeConnectRequest(
        session_id=rt.life.session_id,
        provider_route_ref=rt.sidecar.provider_route_ref,
        realtime_capability_ref=rt.sidecar.realtime_capability_ref,
        previous_connection_id=rt.previous_connection_id,
    )

    async def call() -> RealtimeConnectResponse:
        return checked_response(await rt.adapter.connect(request), rt.adapter.adapter_ref, "connect")

    response = await rt.effect(Flight("connect", failed), intent, rt.deadlines.connect, call)
    rt.life.connection_id = response.connection_id
    rt.has_connected = True
    if response.input_kept_through is not None:
        last = rt.life.send_cursor.chunk_sequence
        rt.totals.confirm(min(response.input_kept_through.chunk_sequence, last))
    rt.life.happen(Happening.CONNECTED)
    rt.changed.notify()
    return rt.append(_Kind.CONNECTED, intent)
