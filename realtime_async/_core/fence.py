"""Which output a listener must not hear any more: that of an interrupted answer, until it is done."""

from __future__ import annotations

from realtime_async._core.events import (
    OutputAudio,
    OutputText,
    OutputTranscript,
    ResponseDone,
    ResponseStarted,
)
from realtime_async._core.frames import RealtimeOutputFrame
from realtime_async._core.identifiers import RealtimeResponseId

__all__ = ["OutputFence"]

_OUTPUT = (OutputAudio, OutputText, OutputTranscript)


class OutputFence:
    """
    Keeps track of the answer that is being given, and of those that were interrupted.

    An answer whose frames bear no id is known as None; at most one such is given at a time.
    Of those that were interrupted and are not done yet the last 1024 are remembered; one that is done is forgotten
    at once.
    """

    def __init__(self) -> None:
        self._current: list[RealtimeResponseId | None] = []
        self._fenced: dict[RealtimeResponseId | None, None] = {}

    @property
    def current(self) -> RealtimeResponseId | None:
        """The id of the answer being given; None: there is none, or it has no id."""
        return self._current[0] if self._current else None

    def raise_against(self, response_id: RealtimeResponseId | None) -> list[RealtimeResponseId | None]:
        """
        Keep back the answer *response_id*; None: the one being given, if any.

        Returns:
            What `lift` takes to undo this.
        """
        raised: list[RealtimeResponseId | None] = []
        if response_id is not None:
            raised.append(response_id)
        # Where the provider gives no ids, whichever is named can only be the current one.
        if self._current and (response_id is None or self._current[0] is None):
            raised.append(self._current[0])
        raised = [response for response in raised if response not in self._fenced]
        self._fenced.update(dict.fromkeys(raised))
        while len(self._fenced) > _FENCES:
            del self._fenced[next(iter(self._fenced))]
        return raised

    def lift(self, raised: list[RealtimeResponseId | None]) -> None:
        """Let through again what *raised* kept back."""
        for response in raised:
            self._fenced.pop(response, None)

    def connection_replaced(self) -> None:
        """An answer without an id ended with its connection; one after it is another."""
        self._current.clear()
        self.lift([None])

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
                self.lift([None])
            case ResponseDone():
                if response is None or response == self.current or self.current is None:
                    self._current.clear()
                self.lift([response, None])
            case _:
                pass
        return True


# A provider may owe the end of many answers; more than this are never under way at once.
_FENCES = 1024
