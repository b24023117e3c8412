"""Which output a listener must not hear any more: that of an interrupted answer, until it is done."""

from __future__ import annotations

import attrs

from realtime_async._core.events import (
    OutputAudio,
    OutputText,
    OutputTranscript,
    ResponseDone,
    ResponseStarted,
)
from realtime_async._core.frames import RealtimeOutputFrame
from realtime_async._core.identifiers import RealtimeResponseId

__all__ = ["OutputFence", "Raised"]

_OUTPUT = (OutputAudio, OutputText, OutputTranscript)


@attrs.frozen(eq=False)
class Raised:
    """What one interrupt keeps back, until it is known how that ended."""

    responses: tuple[RealtimeResponseId | None, ...]


class OutputFence:
    """
    Keeps track of the answer that is being given, and of those that were interrupted.

    An answer whose frames bear no id is known as None; at most one such is given at a time.
    Of those that were interrupted and are not done yet the last 1024 are remembered; one that is done is forgotten
    at once.
    """

    def __init__(self) -> None:
        self._current: list[RealtimeResponseId | None] = []
        # By whom, as far as they may still be refused; None: it is kept back until it is done.
        self._fenced: dict[RealtimeResponseId | None, set[Raised] | None] = {}

    @property
    def current(self) -> RealtimeResponseId | None:
        """The id of the answer being given; None: there is none, or it has no id."""
        return self._current[0] if self._current else None

    def raise_against(self, response_id: RealtimeResponseId | None) -> Raised:
        """
        Keep back the answer *response_id*; None: the one being given, if any.

        Returns:
            What `lift` takes to undo this, or `keep` to have it for good.
        """
        responses: list[RealtimeResponseId | None] = [] if response_id is None else [response_id]
        # Where the provider gives no ids, whichever is named can only be the current one.
        if self._current and (response_id is None or self._current[0] is None):
            responses.append(self._current[0])
        raised = Raised(tuple(responses))
        for response in responses:
            raisers = self._fenced.setdefault(response, set())
            if raisers is not None:
                raisers.add(raised)
        while len(self._fenced) > _FENCES:
            del self._fenced[next(iter(self._fenced))]
        return raised

    def lift(self, raised: Raised) -> None:
        """Let through again what *raised* alone kept back."""
        for response in raised.responses:
            raisers = self._fenced.get(response)
            if raisers is not None:
                raisers.discard(raised)
                if not raisers:
                    del self._fenced[response]

    def keep(self, raised: Raised) -> None:
        """Keep back until it is done what *raised* keeps back; who else does has no say in it any more."""
        for response in raised.responses:
            # The answer may be done by now, and its id that of another.
            if raised in (self._fenced.get(response) or ()):
                self._fenced[response] = None

    def connection_replaced(self) -> None:
        """An answer without an id ended with its connection; one after it is another."""
        self._current.clear()
        self._forget(None)

    def passes(self, frame: RealtimeOutputFrame) -> bool:
        """Follow *frame*, and say whether the listener may have it."""
        response = frame.response_id
        match frame.event:
            # First what nearly every frame is.
            case event if isinstance(event, _OUTPUT):
                if response in self._fenced:
                    return False
                if response is not None or not self._current:
                    self._current[:] = [response]
                return self._current[0] not in self._fenced
            case ResponseStarted():
                self._current[:] = [response]
                # A new beginning is not the answer that was cut off, ids or no ids.
                self._forget(None)
            case ResponseDone():
                if response is None or response == self.current or self.current is None:
                    self._current.clear()
                self._forget(response, None)
            case _:
                pass
        return True

    def _forget(self, *responses: RealtimeResponseId | None) -> None:
        for response in responses:
            self._fenced.pop(response, None)


# A provider may owe the end of many answers; more than this are never under way at once.
_FENCES = 1024
