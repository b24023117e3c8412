"""What a provider on loopback can do to its clients."""

from __future__ import annotations

from collections import deque
from enum import StrEnum

import attrs

__all__ = ["DropHow", "Outages", "Refusals"]


class DropHow(StrEnum):
    """How a connection ends."""

    RESET = "reset"
    """TCP RST: what the client has not read is gone too."""
    END_OF_FILE = "end_of_file"
    """TCP FIN, without a close frame."""
    CLOSE = "close"
    """A close frame, 1000 unless told."""
    GOING_AWAY = "going_away"
    """A close frame with code 1001 and a reason."""


@attrs.define
class Refusals:
    """Handshakes that are not to succeed."""

    times: int = 0
    until: float = 0.0
    """On the server's clock."""
    status: int | None = 503

    def due(self, now: float) -> bool:
        """Whether the handshake of *now* is one of them; it is counted."""
        if self.times > 0:
            self.times -= 1
            return True
        return now < self.until


@attrs.define
class Outages:
    """What happens to messages on their way out, from the next one on."""

    duplicates: int = 0
    held: int = 0
    """To be sent late."""
    behind: int = 0
    """How many later messages overtake them."""
    _late: deque[str | bytes] = attrs.field(factory=deque)
    _overtaken: int = 0

    def on_the_wire(self, message: str | bytes) -> list[str | bytes]:
        """Return what is sent when *message* is due."""
        if self.held:
            self.held -= 1
            self._late.append(message)
            self._overtaken = 0
            return []
        sent = [message]
        if self.duplicates:
            self.duplicates -= 1
            sent.append(message)
        self._overtaken += 1
        if self._late and self._overtaken >= self.behind:
            sent.extend(self._late)
            self._late.clear()
        return sent
