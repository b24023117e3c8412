"""What bounds a connection, in seconds, bytes and messages."""

from __future__ import annotations

import attrs

__all__ = ["WebSocketLimits"]


@attrs.frozen(kw_only=True)
class WebSocketLimits:
    """The deadlines and bounds of one connection."""

    connect_s: float = 15.0
    """From looking up the host to the end of the handshake."""
    max_message_bytes: int = 16 * 2**20
    """
    A larger incoming message ends the connection with code 1009.

    OpenAI's `conversation.item.retrieved` goes well past the 1 MiB that `websockets` allows.
    """
    queued_messages: int = 1024
    """Outgoing, not yet handed to the socket."""
    queued_bytes: int = 4 * 2**20
    """Outgoing, not yet handed to the socket; a larger message goes when it is alone."""
    received_messages: int = 1024
    """Received and not taken; from there on nothing is read until half of them are taken."""
    received_bytes: int = 16 * 2**20
    """Received and not taken, as above; what one read brings may go beyond."""
    ping_every_s: float = 20.0
    """How long the peer may be silent before it is asked."""
    dead_after_s: float = 20.0
    """How long it may be silent after that; any data counts as life."""
    write_s: float = 10.0
    """How long the peer may take none of the next 64 KiB."""
    close_s: float = 2.0
    """From the first close frame to the end of the connection, after which it is aborted."""
