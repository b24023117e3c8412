"""Opening a connection, in a task that outlives whoever asked for it."""

from __future__ import annotations

import math
import ssl
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import anyio
import attrs
from anyio.abc import TaskGroup
from websockets.exceptions import InvalidURI
from websockets.uri import WebSocketURI, parse_uri

from realtime_async.adapters._websocket.connection import WebSocket
from realtime_async.adapters._websocket.dialing import dialled
from realtime_async.adapters._websocket.failures import Unreachable, WebSocketFailure
from realtime_async.adapters._websocket.handshake import Upgrade
from realtime_async.adapters._websocket.limits import WebSocketLimits

__all__ = ["open_websocket"]


async def open_websocket(
    tasks: TaskGroup,
    uri: str,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    subprotocols: Sequence[str] = (),
    limits: WebSocketLimits = WebSocketLimits(),
    ssl_context: ssl.SSLContext | None = None,
) -> WebSocket:
    """
    Connect to *uri*, through the proxy that the environment names for it, if any.

    The connection lives in *tasks* and ends with them; how it ends never ends them.
    Cancelled, the attempt ends too.

    Args:
        uri: Of scheme ws or wss; what stands after the host is in no message.
        headers: Sent to that host, and to no other: redirects are not followed.
        ssl_context: None: the system's certificates.

    Raises:
        HandshakeRefused: The server or the proxy answered with another HTTP status.
        Unreachable: There was no answer, or none within `connect_s`.
        ValueError: *uri* or a header can't be sent.
    """
    opening = _Opening(_address(uri), limits, ssl_context)
    upgrade = Upgrade(opening.address, dict(headers), tuple(subprotocols), limits.max_message_bytes)
    tasks.start_soon(opening.run, upgrade, name=f"WebSocket to {opening.address.host}")
    try:
        await opening.is_decided.wait()
    except BaseException:
        opening.scope.cancel()
        raise
    if opening.websocket is None:
        assert opening.failure is not None
        raise opening.failure
    return opening.websocket


def _address(uri: str) -> WebSocketURI:
    try:
        return parse_uri(uri)
    except (InvalidURI, ValueError):
        # Its text has the query, which may hold a key.
        raise ValueError("the URI of a WebSocket is ws://host/path or wss://host/path") from None


@attrs.define(eq=False)
class _Opening:
    address: WebSocketURI
    limits: WebSocketLimits
    ssl_context: ssl.SSLContext | None
    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    is_decided: anyio.Event = attrs.field(factory=anyio.Event)
    websocket: WebSocket | None = None
    failure: WebSocketFailure | None = None

    async def run(self, upgrade: Upgrade) -> None:
        """Open the connection and serve it until it ends."""
        self.scope.deadline = anyio.current_time() + self.limits.connect_s
        try:
            with self.scope:
                await self._serve(upgrade)
        except WebSocketFailure as failure:
            self.failure = failure
        except Exception as error:  # noqa: BLE001 - the task group has other connections in it
            self.failure = Unreachable(f"the client failed: {type(error).__name__}")
            self.failure.__cause__ = error
        finally:
            self._decide()

    async def _serve(self, upgrade: Upgrade) -> None:
        async with dialled(self.address, self.ssl_context) as stream:
            protocol = await upgrade.perform(stream)
            self.scope.deadline = math.inf
            self.websocket = WebSocket(protocol, self.limits, self.scope)
            self.is_decided.set()
            await self.websocket.run(stream)

    def _decide(self) -> None:
        if self.websocket is not None:
            self.websocket.finish()
        elif self.failure is None:
            self.failure = Unreachable(
                f"no WebSocket with {self.address.host}:{self.address.port} within {self.limits.connect_s} s"
            )
        self.is_decided.set()
