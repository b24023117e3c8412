"""
Changes of the configuration that were asked for, until the provider confirms or refuses them.

Some servers confirm none, so that one is never confirmed is no failure; but what is kept of it must end all the same.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import attrs

from realtime_async.adapters.openai.config import OpenAIRealtimeConfig

__all__ = ["Updates"]


# One object of the protocol's, which is replaced whole; and the language alone would be no configuration.
_TOGETHER = frozenset({"transcription", "transcription_language"})


class Updates:
    """
    What each `session.update` changed that is neither confirmed nor refused; the oldest are taken for confirmed.

    Args:
        config: What holds at first.
    """

    # A refusal comes within a round trip, in which no program changes a session so often.
    UNCONFIRMED = 16

    def __init__(self, config: OpenAIRealtimeConfig) -> None:
        self._held = config
        """What holds without any of them."""
        self._asked: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._asked)

    def asked(self, event_id: str, before: OpenAIRealtimeConfig, after: OpenAIRealtimeConfig) -> None:
        """A message was made of the change from *before* to *after*."""
        self._asked[event_id] = _changes(before, after)
        if len(self._asked) > self.UNCONFIRMED:
            self._settle_first()
            self._forgotten += 1

    def made(self, before: OpenAIRealtimeConfig, after: OpenAIRealtimeConfig) -> None:
        """The change from *before* to *after* is none that the provider is told of."""
        self._held = attrs.evolve(self._held, **_changes(before, after))

    def confirmed(self) -> None:
        """The provider did the oldest: it answers in order, and doesn't say which."""
        if self._forgotten:
            self._forgotten -= 1
        elif self._asked:
            self._settle_first()

    def _settle_first(self) -> None:
        _, changes = self._asked.popitem(last=False)
        self._held = attrs.evolve(self._held, **changes)

    def refused(self, event_id: str) -> OpenAIRealtimeConfig | None:
        """Return what is asked for without *event_id*; None: that was no change, or one that is forgotten."""
        if self._asked.pop(event_id, None) is None:
            return None
        config = self._held
        for changes in self._asked.values():
            config = attrs.evolve(config, **changes)
        return config

    def disconnected(self, config: OpenAIRealtimeConfig) -> None:
        """Nothing is awaited any more: the next connection is configured as was asked for, not step by step."""
        self._held = config
        self._asked.clear()
        self._forgotten = 0


def _changes(before: OpenAIRealtimeConfig, after: OpenAIRealtimeConfig) -> dict[str, Any]:
    """The arguments in which *after* differs, with those that go over the wire together with one of these."""
    names = {
        field.name
        for field in attrs.fields(OpenAIRealtimeConfig)
        if getattr(after, field.name) != getattr(before, field.name)
    }
    if names & _TOGETHER:
        names |= _TOGETHER
    return {name: getattr(after, name) for name in names}
