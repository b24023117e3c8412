"""
How a connection fails; the adapter makes its own errors of these.

None of them shows what the peer said: it may repeat a credential or what a person said.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["End", "HandshakeRefused", "Unreachable", "Untrusted", "WebSocketClosed", "WebSocketFailure"]


class End(StrEnum):
    """Why a connection ended."""

    CLOSED_BY_PEER = "the peer closed it"
    CLOSED_BY_US = "it was closed on this side"
    ABORTED = "it was aborted on this side"
    DROPPED = "it broke without a close frame"
    SILENT = "the peer was silent past ping_every_s and dead_after_s"
    STALLED = "the peer took no data for write_s"
    TOO_BIG = "the peer sent a message larger than max_message_bytes"
    GARBLED = "the peer sent what is no WebSocket frame or no UTF-8"
    FAULT = "an error in the client ended it"


class WebSocketFailure(Exception):
    """The root of this module's exceptions."""


class Unreachable(WebSocketFailure):
    """There is no connection, and no HTTP status that says why."""


class Untrusted(Unreachable):
    """Whoever answered has no certificate for the host that was meant: nothing was told to them."""


class HandshakeRefused(WebSocketFailure):
    """The server, or the proxy, answered the handshake with another HTTP status."""

    def __init__(self, message: str, *, status: int, proxy: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.proxy = proxy
        """Host and port of the proxy that answered; None: the server did."""


class WebSocketClosed(WebSocketFailure):
    """The connection is gone."""

    def __init__(self, message: str, *, code: int, end: End, reason: str, before_written: bool) -> None:
        super().__init__(message)
        self.code = code
        """The peer's close code, else ours where we ended it for cause, else 1006."""
        self.end = end
        self.reason = reason
        """The peer's text: compare it with known ones, and show it to nobody."""
        self.before_written = before_written
        """Raised by a send: nothing of the message was handed to the socket."""
