"""
Changes of the configuration that were asked for, until the provider confirms or refuses them.

Some servers confirm none, so that one is never confirmed is no failure; but what is kept of it must end all the same.
"""

from __future__ import annotations

from collections import OrderedDict

from realtime_async.adapters.openai.config import OpenAIRealtimeConfig

__all__ = ["Updates"]


class Updates:
    """Per `session.update` that is neither confirmed nor refused, what held before: the oldest are forgotten."""

    # A refusal comes within a round trip, in which no program changes a session so often.
    UNCONFIRMED = 16

    def __init__(self) -> None:
        self._before: OrderedDict[str, OpenAIRealtimeConfig] = OrderedDict()
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._before)

    def asked(self, event_id: str, before: OpenAIRealtimeConfig) -> None:
        self._before[event_id] = before
        if len(self._before) > self.UNCONFIRMED:
            self._before.popitem(last=False)
            self._forgotten += 1

    def confirmed(self) -> None:
        """The provider did the oldest: it answers in order, and doesn't say which."""
        if self._forgotten:
            self._forgotten -= 1
        elif self._before:
            self._before.popitem(last=False)

    def refused(self, event_id: str) -> OpenAIRealtimeConfig | None:
        """Return what held before *event_id*, and holds again; None: that was no change, or one that is forgotten."""
        return self._before.pop(event_id, None)

    def clear(self) -> None:
        """Nothing is awaited any more: the connection is gone."""
        self._before.clear()
        self._forgotten = 0
