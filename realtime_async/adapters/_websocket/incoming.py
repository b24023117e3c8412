"""What was received and not taken yet."""

from __future__ import annotations

from collections import deque

from websockets.frames import Frame, Opcode

from realtime_async.adapters._websocket.limits import WebSocketLimits

__all__ = ["Incoming"]


class Incoming:
    """Whole messages in order, put together from their frames; nothing here waits."""

    def __init__(self, limits: WebSocketLimits) -> None:
        self._limits = limits
        self._messages: deque[str | bytes] = deque()
        self._bytes = 0
        self._opcode = Opcode.TEXT
        self._fragments = bytearray()

    @property
    def is_full(self) -> bool:
        """Nothing more should be read."""
        limits = self._limits
        return len(self._messages) >= limits.received_messages or self._bytes >= limits.received_bytes

    @property
    def is_half_empty(self) -> bool:
        """Reading may go on; at each message taken would mean a system call for each."""
        limits = self._limits
        return (
            len(self._messages) <= limits.received_messages // 2 and self._bytes <= limits.received_bytes // 2
        )

    def put(self, frame: Frame) -> bool:
        """
        Take in a frame, and say whether it ends a message.

        Raises:
            UnicodeDecodeError: The message is text, and no UTF-8.
        """
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._opcode = opcode
            if frame.fin:
                self._append(frame.data)
                return True
            self._fragments = bytearray(frame.data)
        elif opcode is Opcode.CONT:
            self._fragments += frame.data
            if frame.fin:
                self._append(self._fragments)
                self._fragments = bytearray()
                return True
        return False

    def _append(self, data: bytes | bytearray | memoryview) -> None:
        message = str(data, "utf-8") if self._opcode is Opcode.TEXT else bytes(data)
        self._messages.append(message)
        self._bytes += len(message)

    def take(self) -> str | bytes | None:
        """Remove the oldest message and return it; None: there is none."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._bytes -= len(message)
        return message
