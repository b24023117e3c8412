"""The upgrade from HTTP, over a stream that stands."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import anyio
import attrs
from anyio.abc import ByteStream
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from realtime_async.adapters._websocket.failures import HandshakeRefused, Unreachable

__all__ = ["Upgrade"]

# At DEBUG, `websockets` logs every frame and the handshake with its credentials.
_SILENCE = logging.Logger("realtime_async.websocket", level=logging.CRITICAL + 1)


@attrs.frozen
class Upgrade:
    """What is asked of the server."""

    address: WebSocketURI
    headers: Mapping[str, str] = attrs.field(repr=False)
    subprotocols: Sequence[str]
    max_message_bytes: int

    def __attrs_post_init__(self) -> None:
        for name, value in self.headers.items():
            if not (name + value).isprintable() or not (name + value).isascii():
                raise ValueError(f"header {name!r} isn't printable ASCII: take line breaks out of it")

    async def perform(self, stream: ByteStream) -> ClientProtocol:
        """
        Shake hands; what came after the answer is already in the protocol.

        Raises:
            HandshakeRefused: The answer has another status; redirects are not followed.
            Unreachable: There was no such answer.
        """
        protocol = ClientProtocol(
            self.address,
            subprotocols=[Subprotocol(name) for name in self.subprotocols] or None,
            max_size=self.max_message_bytes,
            logger=_SILENCE,
        )
        request = protocol.connect()
        for name, value in self.headers.items():
            request.headers[name] = value
        protocol.send_request(request)
        answer = b""
        try:
            await stream.send(b"".join(protocol.data_to_send()))
            while protocol.state is State.CONNECTING and protocol.handshake_exc is None:
                data = await stream.receive()
                answer = (answer + data)[: len(b"HTTP/1.1 000")]
                protocol.receive_data(data)
        except (anyio.BrokenResourceError, anyio.EndOfStream) as error:
            self._raise_for(answer)
            raise Unreachable(f"{self.address.host} hung up during the handshake") from error
        except anyio.get_cancelled_exc_class():
            # A refusal whose body never ends says enough.
            self._raise_for(answer)
            raise
        if protocol.handshake_exc is not None:
            self._raise_for(answer)
            raise Unreachable(f"{self.address.host} answered the handshake with what is no WebSocket upgrade")
        return protocol

    def _raise_for(self, answer: bytes) -> None:
        version, _, status = answer.partition(b" ")
        if version == b"HTTP/1.1" and status.isdigit() and len(status) == 3 and status != b"101":
            raise HandshakeRefused(
                f"{self.address.host} refused the handshake: HTTP {int(status)}", status=int(status)
            )
