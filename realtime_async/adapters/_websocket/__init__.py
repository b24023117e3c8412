"""
A WebSocket client for adapters: one connection, its writer and reader in the adapter's task group.

The protocol is that of `websockets`, without its I/O; the bytes travel over an anyio stream.
Nothing here knows a provider.
"""

from __future__ import annotations

from realtime_async.adapters._websocket.connection import WebSocket
from realtime_async.adapters._websocket.failures import (
    End,
    HandshakeRefused,
    Unreachable,
    Untrusted,
    WebSocketClosed,
    WebSocketFailure,
)
from realtime_async.adapters._websocket.limits import WebSocketLimits
from realtime_async.adapters._websocket.opening import open_websocket

__all__ = [
    "End",
    "HandshakeRefused",
    "Unreachable",
    "Untrusted",
    "WebSocket",
    "WebSocketClosed",
    "WebSocketFailure",
    "WebSocketLimits",
    "open_websocket",
]
