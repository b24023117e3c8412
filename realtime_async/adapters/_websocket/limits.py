"""What bounds a connection, in seconds, bytes and messages."""

from __future__ import annotations

import attrs

from realtime_async.adapters._given import number, whole

__all__ = ["WebSocketLimits"]


@attrs.frozen(kw_only=True)
class WebSocketLimits:
    """The deadlines and bounds of one connection."""

    connect_s: float = attrs.field(default=15.0, validator=number(above=0))
    """From looking up the host to the end of the handshake."""
    max_message_bytes: int = attrs.field(default=16 * 2**20, validator=whole(1))
    """
    A larger incoming message ends the connection with code 1009.

    OpenAI's `conversation.item.retrieved` goes well past the 1 MiB that `websockets` allows.
    """
    queued_messages: int = attrs.field(default=1024, validator=whole(1))
    """Outgoing, not yet handed to the socket."""
    queued_bytes: int = attrs.field(default=4 * 2**20, validator=whole(1))
    """Outgoing, not yet handed to the socket; a larger message goes when it is alone."""
    received_messages: int = attrs.field(default=1024, validator=whole(1))
    """Received and not taken; from there on nothing is read until half of them are taken."""
    received_bytes: int = attrs.field(default=16 * 2**20, validator=whole(1))
    """Received and not taken, as above; what one read brings may go beyond."""
    ping_every_s: float = attrs.field(default=20.0, validator=number(above=0))
    """How long the peer may be silent before it is asked."""
    dead_after_s: float = attrs.field(default=20.0, validator=number(above=0))
    """How long it may be silent after that; any data counts as life."""
    write_s: float = attrs.field(default=10.0, validator=number(above=0))
    """How long the peer may take none of the next 64 KiB."""
    close_s: float = attrs.field(default=2.0, validator=number(above=0))
    """From the first close frame to the end of the connection, after which it is aborted."""
